#include "io/clock.h"

#include <set>

#include <doctest/doctest.h>

namespace ringcast::io::test {

TEST_CASE("clock: stands still until it is read, and never goes back") {
    Clock clock;
    Nanos before = clock.now();
    CHECK(before > 0);
    CHECK(clock.wall() > 1'600'000'000 * nanos_per_s);  // some time after 2020
    for (int i = 0; i < 1000; i++) {
        CHECK(clock.now() == before);
        clock.read();
        REQUIRE(clock.now() >= before);
        before = clock.now();
    }
}

TEST_CASE("clock: what is left until a deadline is counted from this moment") {
    Clock clock;
    CHECK(clock.left_until(0) == 0);
    CHECK(clock.left_until(clock.now()) == 0);
    CHECK(clock.left_until(clock.now() + 1) == 0);  // passed since the clock was read
    const Nanos left = clock.left_until(clock.now() + nanos_per_s);
    CHECK(left > 0);
    CHECK(left < nanos_per_s);
    CHECK(clock.left_until(never) > nanos_per_s);
}

TEST_CASE("chance: numbers differ, also across the page they come from") {
    Chance chance;
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 1000; i++)
        seen.insert(chance.next());
    CHECK(seen.size() == 1000);
    Chance other;
    CHECK(seen.count(other.next()) == 0);
}

}  // namespace ringcast::io::test
