// Random walks against the model of compact_walk.h, and what it cannot say: windows, memory, and
// what an append costs at most.

#include "feed/compact.h"

#include <string>

#include <doctest/doctest.h>

#include "base/random.h"
#include "feed/lane.h"
#include "tests/feed/compact_walk.h"
#include "tests/feed/support.h"

using namespace ringcast;

namespace {

void run(test::CompactWalk<Random>& walk) {
    for (int step = 0; step < 3000; step++)
        walk.step();
}

}  // namespace

TEST_CASE(
    "compact: every reader gets what is right, and at the head knows the newest of all keys") {
    std::uint64_t tails = 0;
    std::uint64_t laps = 0;
    std::uint64_t skips = 0;
    std::uint64_t refusals = 0;
    std::uint64_t punched = 0;
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        CAPTURE(seed);
        Random random(seed);
        test::CompactSettings settings{.pages = std::size_t{16} << (seed % 4)};
        settings.keys = std::size_t{3} << (seed % 7);
        settings.limits.tombstones_max = 1 + seed % 20;
        if (seed % 3 == 0) settings.limits.bytes_max = 1000 * seed;
        if (seed % 5 == 0) settings.limits.keys_max = settings.keys / 2 + 1;
        test::CompactWalk walk(random, settings);
        run(walk);
        tails += walk.tails;
        laps += walk.laps;
        skips += walk.skips;
        refusals += walk.refusals;
        punched += walk.punched();
    }
    CHECK(tails > 100);  // the walk must reach the interesting places
    CHECK(laps > 100);
    CHECK(skips > 100);
    CHECK(refusals > 100);
    CHECK(punched > 100);
}

TEST_CASE("compact: where memory suffices it holds twice what is live, and copies in measure") {
    std::uint64_t copied = 0;
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        test::CompactSettings settings{.pages = 4096, .lanes = 1, .roomy = true};
        settings.keys = std::size_t{10} << (seed % 7);
        settings.limits.bytes_max = std::size_t{16384} << (seed % 4);
        test::CompactWalk walk(random, settings);
        run(walk);
        CHECK(walk.copied() <= 2 * walk.appended());
        copied += walk.copied();
    }
    CHECK(copied > 1000);
}
