#include "base/wheel.h"

#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/base/wheel_walk.h"

using namespace ringcast;

namespace {

using Ids = std::vector<std::uint32_t>;

void collect_id(void* context, std::uint32_t id) noexcept {
    static_cast<Ids*>(context)->push_back(id);
}

Ids fired_by(Wheel& wheel, Tick now) {
    Ids ids;
    wheel.advance(now, collect_id, &ids);
    return ids;
}

}  // namespace

TEST_CASE("wheel: any walk fires what a sorted map would, in its order, never early") {
    for (std::uint64_t seed = 0; seed < 60; seed++) {
        CAPTURE(seed);
        Random random(seed);
        // Half of the walks start shortly before ticks wrap.
        const Tick start = seed % 2 == 0 ? static_cast<Tick>(random.next())
                                         : static_cast<Tick>(0 - random.below(5000));
        test::WheelWalk walk(random, start, static_cast<std::uint32_t>(random.between(1, 300)));
        for (int step = 0; step < 3000; step++)
            walk.step();
        REQUIRE(walk.fired() > 0);
    }
}

TEST_CASE("wheel: an entry fires at its tick, at every distance and over the wrap") {
    for (const Tick start : {0U, 1U, 63U, 64U, 4095U, 0x3fffffffU, 0x7fffffffU, 0xfffffff0U}) {
        for (Tick ahead = 1; ahead < (1U << 31); ahead = ahead * 2 + ahead % 3) {
            CAPTURE(start);
            CAPTURE(ahead);
            Wheel wheel(start, 1);
            wheel.arm(0, start + ahead);
            CHECK(fired_by(wheel, start + ahead - 1).empty());
            CHECK(wheel.next_due(start) == start + ahead);
            CHECK(fired_by(wheel, start + ahead) == Ids{0});
            CHECK_FALSE(wheel.armed(0));
        }
    }
}

TEST_CASE("wheel: following next_due reaches an entry in a few steps, however far it is") {
    Wheel wheel(0xfffff000U, 1);
    wheel.arm(0, 0xfffff000U + 0x7fffffffU);
    int steps = 0;
    while (wheel.armed(0)) {
        const Tick next = wheel.next_due(0);
        REQUIRE(test::distance(wheel.now(), next) > 0);
        (void)fired_by(wheel, next);
        steps++;
    }
    CHECK(steps <= 6);
}

TEST_CASE("wheel: what is overdue fires in the next advance, even to the same tick") {
    Wheel wheel(100, 3);
    wheel.arm(0, 100);
    wheel.arm(1, 5);
    wheel.arm(2, 101);
    CHECK(wheel.next_due(0) == 100);
    CHECK(fired_by(wheel, 100) == Ids{0, 1});
    CHECK(fired_by(wheel, 101) == Ids{2});
}

TEST_CASE("wheel: a callback that arms its own id as overdue fires once an advance") {
    struct Loop {
        Wheel wheel{0, 1};
        int count = 0;
    } loop;
    loop.wheel.arm(0, 1);
    const auto fire = [](void* context, std::uint32_t id) noexcept {
        auto& self = *static_cast<Loop*>(context);
        self.count++;
        self.wheel.arm(id, self.wheel.now() - 1);
    };
    for (int round = 1; round <= 5; round++) {
        loop.wheel.advance(10, fire, &loop);
        CHECK(loop.count == round);
    }
}

TEST_CASE("wheel: a callback may cancel what is due in the same advance") {
    Wheel wheel(0, 3);
    wheel.arm(0, 5);
    wheel.arm(1, 6);
    wheel.arm(2, 7);
    struct Seen {
        Wheel& wheel;
        Ids ids;
    } seen{wheel, {}};
    wheel.advance(
        10,
        [](void* context, std::uint32_t id) noexcept {
            auto& self = *static_cast<Seen*>(context);
            self.ids.push_back(id);
            if (id == 0) self.wheel.cancel(1);
        },
        &seen);
    CHECK(seen.ids == Ids{0, 2});
    CHECK(wheel.armed_count() == 0);
}

TEST_CASE("wheel: heartbeats of all ids, armed again and again, leave one entry each") {
    constexpr std::uint32_t id_count = 10'000;
    Wheel wheel(0, id_count);
    for (Tick now = 0; now < 500; now += 10) {
        for (std::uint32_t id = 0; id < id_count; id++) {
            wheel.arm(id, now + 2500 + id % 100);
        }
        CHECK(fired_by(wheel, now + 10).empty());
    }
    CHECK(wheel.armed_count() == id_count);
    CHECK(fired_by(wheel, 490 + 2500 + 99).size() == id_count);
    CHECK(wheel.next_due(7) == 7);
}
