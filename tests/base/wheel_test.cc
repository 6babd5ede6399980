#include "base/wheel.h"

#include <cstdint>
#include <map>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using ringcast::Random;
using ringcast::Tick;
using ringcast::Wheel;

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

std::int32_t distance(Tick from, Tick to) {
    return static_cast<std::int32_t>(to - from);
}

// The plain model: due ticks in order, counted from the first tick so that they do not wrap.
class Model {
  public:
    explicit Model(std::uint32_t id_count) : entry_of_(id_count, entries_.end()) {}

    void arm(std::uint32_t id, std::int64_t due) {
        cancel(id);
        entry_of_[id] = entries_.emplace(due, id);
    }
    void cancel(std::uint32_t id) {
        if (entry_of_[id] == entries_.end()) return;
        entries_.erase(entry_of_[id]);
        entry_of_[id] = entries_.end();
    }
    [[nodiscard]] bool armed(std::uint32_t id) const { return entry_of_[id] != entries_.end(); }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::int64_t earliest() const { return entries_.begin()->first; }
    // Due tick of `id`, which leaves.
    std::int64_t take(std::uint32_t id) {
        const std::int64_t due = entry_of_[id]->first;
        cancel(id);
        return due;
    }

  private:
    std::multimap<std::int64_t, std::uint32_t> entries_;
    std::vector<std::multimap<std::int64_t, std::uint32_t>::iterator> entry_of_;
};

// Distances of all sizes, so that every level is used.
std::int64_t any_distance(Random& random) {
    return static_cast<std::int64_t>(random.next() >> random.between(33, 63));
}

struct Walk {
    Walk(Random& chance, Tick start, std::uint32_t id_count)
        : random(chance), first(start), wheel(start, id_count), model(id_count), ids(id_count) {}

    [[nodiscard]] Tick tick(std::int64_t at) const { return first + static_cast<Tick>(at); }

    void arm(std::uint32_t id, std::int64_t due) {
        wheel.arm(id, tick(due));
        model.arm(id, std::max(due, now));  // what is overdue counts as due now
    }

    static void on_fire(void* context, std::uint32_t id) noexcept {
        auto& walk = *static_cast<Walk*>(context);
        REQUIRE(walk.model.armed(id));
        REQUIRE_FALSE(walk.wheel.armed(id));
        const std::int64_t due = walk.model.take(id);
        REQUIRE(due >= walk.last_due);
        REQUIRE(due <= walk.now);
        walk.last_due = due;
        walk.fired++;
        if (walk.random.chance(1, 4)) {
            walk.rearmed.emplace_back(id, walk.now + any_distance(walk.random) - 2);
            walk.wheel.arm(id, walk.tick(walk.rearmed.back().second));
        }
        if (walk.random.chance(1, 8)) {
            const auto other = static_cast<std::uint32_t>(walk.random.below(walk.ids));
            walk.wheel.cancel(other);
            walk.model.cancel(other);
            std::erase_if(walk.rearmed, [&](const auto& entry) { return entry.first == other; });
        }
    }

    void advance(std::int64_t to) {
        now = to;
        last_due = INT64_MIN;
        wheel.advance(tick(now), on_fire, this);
        REQUIRE((model.empty() || model.earliest() > now));
        for (const auto& [id, due] : rearmed) {
            model.arm(id, std::max(due, now));
        }
        rearmed.clear();
    }

    void check() {
        REQUIRE(wheel.armed_count() == model.size());
        const Tick fallback = tick(now) + 12345;
        const Tick next = wheel.next_due(fallback);
        if (model.empty()) {
            REQUIRE(next == fallback);
        } else {
            REQUIRE(distance(next, tick(model.earliest())) >= 0);
            REQUIRE(distance(tick(now), next) >= (model.earliest() > now ? 1 : 0));
        }
    }

    Random& random;
    Tick first;
    Wheel wheel;
    Model model;
    std::uint32_t ids;
    std::int64_t now = 0;
    std::int64_t last_due = 0;
    std::uint64_t fired = 0;
    std::vector<std::pair<std::uint32_t, std::int64_t>> rearmed;
};

}  // namespace

TEST_CASE("wheel: any walk fires what a sorted map would, in its order, never early") {
    for (std::uint64_t seed = 0; seed < 60; seed++) {
        CAPTURE(seed);
        Random random(seed);
        // Half of the walks start shortly before ticks wrap.
        const Tick start = seed % 2 == 0 ? static_cast<Tick>(random.next())
                                         : static_cast<Tick>(0 - random.below(5000));
        Walk walk(random, start, static_cast<std::uint32_t>(random.between(1, 300)));
        for (int step = 0; step < 3000; step++) {
            const auto id = static_cast<std::uint32_t>(random.below(walk.ids));
            switch (random.below(8)) {
                case 0:
                    walk.wheel.cancel(id);
                    walk.model.cancel(id);
                    break;
                case 1:
                    walk.advance(walk.now + any_distance(random));
                    break;
                case 2:
                    walk.advance(walk.now + distance(walk.tick(walk.now),
                                                     walk.wheel.next_due(walk.tick(walk.now))));
                    break;
                default:
                    walk.arm(id, walk.now + any_distance(random) - 3);
            }
            REQUIRE(walk.wheel.armed(id) == walk.model.armed(id));
            walk.check();
        }
        REQUIRE(walk.fired > 0);
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
        REQUIRE(distance(wheel.now(), next) > 0);
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
