#include "base/random.h"

#include <cstdint>

#include <doctest/doctest.h>

using ringcast::Random;

TEST_CASE("random: a seed names one sequence, the same on every machine") {
    Random random(0);
    Random same(0);
    Random other(1);
    CHECK(random.next() == 0x99ec5f36cb75f2b4);
    CHECK(random.next() == 0xbf6e1f784956452a);
    (void)same.next();
    CHECK(same.next() == 0xbf6e1f784956452a);
    CHECK(other.next() != 0x99ec5f36cb75f2b4);
}

TEST_CASE("random: below is even, also where n does not divide 2^64") {
    Random random(7);
    std::uint32_t seen[6] = {};
    for (int i = 0; i < 60'000; i++) {
        seen[random.below(6)]++;
    }
    for (const std::uint32_t count : seen) {  // 10,000 expected each, with a deviation of 91
        CHECK(count > 9'500);
        CHECK(count < 10'500);
    }
    // Without rejection two thirds would be below a third of such an n.
    constexpr std::uint64_t n = std::uint64_t{3} << 62;
    int small = 0;
    for (int i = 0; i < 30'000; i++) {
        small += random.below(n) < n / 3 ? 1 : 0;
    }
    CHECK(small > 9'500);
    CHECK(small < 10'500);
    CHECK(random.below(1) == 0);
}

TEST_CASE("random: between takes in both ends, of any range") {
    Random random(9);
    bool low = false;
    bool high = false;
    for (int i = 0; i < 1000; i++) {
        const std::uint64_t value = random.between(10, 13);
        CHECK(value >= 10);
        CHECK(value <= 13);
        low = low || value == 10;
        high = high || value == 13;
    }
    CHECK(low);
    CHECK(high);
    CHECK(random.between(5, 5) == 5);
    CHECK(random.between(0, UINT64_MAX) != random.between(0, UINT64_MAX));
}

TEST_CASE("random: chance keeps its odds") {
    Random random(3);
    int hits = 0;
    for (int i = 0; i < 40'000; i++) {
        hits += random.chance(1, 4) ? 1 : 0;
        CHECK_FALSE(random.chance(0, 10));
        CHECK(random.chance(10, 10));
    }
    CHECK(hits > 9'500);
    CHECK(hits < 10'500);
}
