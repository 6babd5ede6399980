#include "node/pacer.h"

#include <map>
#include <utility>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::node;

TEST_CASE("pacer: each comes after its interval, in the order of time, until it is removed") {
    Pacer pacer;
    CHECK(pacer.empty());
    pacer.add({.interval = 5, .topic = 1, .serial = 1}, 100);
    pacer.add({.interval = 3, .topic = 1, .serial = 2}, 100);
    CHECK(pacer.due() == 103);
    CHECK(pacer.next(102) == nullptr);
    const Paced* first = pacer.next(105);
    REQUIRE(first != nullptr);
    CHECK(first->serial == 2);
    const Paced* second = pacer.next(105);
    REQUIRE(second != nullptr);
    CHECK(second->serial == 1);
    CHECK(pacer.next(105) == nullptr);
    CHECK(pacer.due() == 108);
    pacer.remove(2, 1);
    CHECK(pacer.next(109) == nullptr);
    CHECK(pacer.due() == 110);
    pacer.remove(1, 1);
    CHECK(pacer.next(110) == nullptr);
    CHECK(pacer.empty());
}

TEST_CASE("pacer: nobody comes more often than it should, and everybody comes") {
    Random random(3);
    Pacer pacer;
    std::map<std::pair<std::uint64_t, std::uint32_t>, std::pair<Tick, Tick>>
        model;                    // interval, last
    Tick now = UINT32_MAX - 500;  // the clock wraps on the way
    for (int step = 0; step < 20'000; step++) {
        now += static_cast<Tick>(random.below(3));
        const std::uint64_t serial = random.below(20);
        const auto topic = static_cast<std::uint32_t>(random.below(3));
        if (random.chance(1, 10)) {
            const auto interval = static_cast<Tick>(random.between(1, 50));
            pacer.add({.interval = interval, .topic = topic, .serial = serial}, now);
            model[{serial, topic}] = {interval, now};
        } else if (random.chance(1, 20)) {
            pacer.remove(serial, topic);
            model.erase({serial, topic});
        }
        while (const Paced* paced = pacer.next(now)) {
            const auto found = model.find({paced->serial, paced->topic});
            REQUIRE(found != model.end());
            REQUIRE(now - found->second.second >= found->second.first);
            found->second.second = now;
        }
        for (const auto& [key, state] : model)
            REQUIRE(now - state.second < state.first);
    }
}
