// Counts and rates of many keys: never too low, and hardly ever too high.

#include "node/sketch.h"

#include <algorithm>
#include <thread>
#include <unordered_map>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::node;

TEST_CASE("sketch: widths are powers of two, a quarter of what is counted") {
    for (const std::uint64_t count : {0U, 1U, 4096U, 4097U, 20'000U, 1'000'000U, UINT32_MAX}) {
        const std::uint32_t width = sketch_width(count);
        CAPTURE(count);
        CHECK((width & (width - 1)) == 0);
        CHECK(width >= 1024);
        CHECK(width >= std::min<std::uint64_t>(count / 4, 1 << 24));
    }
}

TEST_CASE("sketch: a walk against exact counts") {
    Random random(5);
    CountSketch sketch(1024);
    std::unordered_map<std::uint64_t, std::uint32_t> exact;
    std::vector<std::uint64_t> keys;
    for (int i = 0; i < 200; i++) {
        keys.push_back(random.next());
    }
    std::uint64_t wrong = 0;
    constexpr std::uint32_t limit = 20;
    for (int step = 0; step < 100'000; step++) {
        const std::uint64_t key = keys[random.below(keys.size())];
        if (random.chance(1, 2)) {
            const bool room = exact[key] < limit;
            const bool added = sketch.add_within(key, limit);
            REQUIRE((room || !added));
            wrong += room != added ? 1 : 0;
            exact[key] += added ? 1U : 0U;
        } else if (exact[key] > 0) {
            sketch.remove(key);
            exact[key]--;
        }
        REQUIRE(sketch.count(key) >= exact[key]);
    }
    CHECK(wrong < 100);  // 200 keys in 1,024 cells: four of one key are hardly ever all shared
    for (const auto& [key, count] : exact) {
        for (std::uint32_t i = 0; i < count; i++) {
            sketch.remove(key);
        }
    }
    CHECK(sketch.total() == 0);
    for (const std::uint64_t key : keys) {
        CHECK(sketch.count(key) == 0);
    }
}

TEST_CASE("sketch: as many as are let in by the server do not keep strangers out") {
    constexpr std::uint32_t connections = 20'000;
    constexpr std::uint32_t limit = 100;
    Random random(6);
    CountSketch sketch(sketch_width(connections));
    for (std::uint32_t address = 0; address < connections / limit; address++) {
        const std::uint64_t key = random.next();
        for (std::uint32_t i = 0; i < limit; i++) {
            REQUIRE(sketch.add_within(key, limit));
        }
    }
    std::uint32_t refused = 0;
    for (int i = 0; i < 20'000; i++) {
        const std::uint64_t key = random.next();
        if (sketch.add_within(key, limit)) {
            sketch.remove(key);
        } else {
            refused++;
        }
    }
    CHECK(refused <= 1);
}

TEST_CASE("sketch: no limit is no limit") {
    CountSketch sketch(1024);
    for (int i = 0; i < 1000; i++) {
        REQUIRE(sketch.add_within(1, 0));
    }
    CHECK(sketch.count(1) == 1000);
    CHECK(sketch.total() == 1000);
}

TEST_CASE("sketch: several threads lose no count and let nobody in beyond the last place") {
    CountSketch sketch(1024);
    constexpr std::uint32_t rounds = 20'000;
    constexpr std::uint32_t limit = 3;
    std::vector<std::thread> threads;
    for (std::uint64_t who = 0; who < 2; who++) {
        threads.emplace_back([&sketch, who] {
            Random random(who);
            std::uint32_t mine = 0;
            for (std::uint32_t i = 0; i < rounds; i++) {
                if (random.chance(1, 2)) {
                    mine += sketch.add_within(77, limit) ? 1U : 0U;
                } else if (mine > 0) {
                    sketch.remove(77);
                    mine--;
                }
            }
            for (; mine > 0; mine--) {
                sketch.remove(77);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(sketch.count(77) == 0);
}

TEST_CASE("rate sketch: each key has the bucket that it would have alone") {
    constexpr Rate rate{.interval = 50, .slack = 50 * 9};
    Random random(7);
    RateSketch sketch(1024);
    std::unordered_map<std::uint64_t, Bucket> exact;
    std::vector<std::uint64_t> keys;
    for (int i = 0; i < 100; i++) {
        keys.push_back(random.next());
    }
    Nanos now = 1'000'000;
    std::uint64_t wrong = 0;
    for (int step = 0; step < 100'000; step++) {
        now += static_cast<Nanos>(random.below(3));
        const std::uint64_t key = keys[random.below(keys.size())];
        const bool allowed = exact[key].take(rate, now);
        const bool taken = sketch.take(key, rate, now);
        REQUIRE((allowed || !taken));
        wrong += allowed != taken ? 1 : 0;
        if (allowed && !taken) exact.erase(key);
    }
    CHECK(wrong < 100);
    CHECK(sketch.take(1, {}, now));  // no rate is no limit
}
