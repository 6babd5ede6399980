// Random walks against the model of log_walk.h, and what it cannot say: sizes and limits.

#include "feed/log.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/feed/log_walk.h"
#include "tests/feed/support.h"

using namespace ringcast;
using feed::Log;
using feed::page_size;
using test::publish;
using test::WatchedArena;

namespace {

constexpr std::size_t unlimited = std::size_t{1} << 40;

}  // namespace

TEST_CASE("log: what it holds is what was published, until the hook was told it goes") {
    for (std::uint64_t seed = 1; seed <= 60; seed++) {
        CAPTURE(seed);
        Random random(seed);
        test::LogSettings settings{.pages = std::size_t{16} << random.below(4)};
        if (random.chance(1, 2)) settings.size_max = page_size * (1 + random.below(30));
        test::LogWalk walk(random, settings);
        for (int step = 0; step < 1500; step++)
            walk.step();
    }
}

TEST_CASE("log: segments double while nobody drains it, and a slice is then large") {
    WatchedArena memory(4096);
    feed::SegmentPool pool(memory.arena());
    Log log(pool, 1, unlimited, {});
    publish(log, "x");
    CHECK(log.held_bytes() == page_size);
    std::vector<std::size_t> sizes;
    for (int i = 0; i < 4000; i++) {
        const std::size_t before = log.held_bytes();
        publish(log, std::string(996, 'x'));
        if (log.held_bytes() != before) sizes.push_back((log.held_bytes() - before) / page_size);
    }
    CHECK(sizes == std::vector<std::size_t>{2, 4, 8, 16, 32, 64, 128, 256, 512});
}

TEST_CASE("log: a limit is shared by several segments, so that reaching it costs a part only") {
    WatchedArena memory(4096);
    feed::SegmentPool pool(memory.arena());
    constexpr std::size_t size_max = 256 * 1024;
    Log log(pool, 1, size_max, {});
    for (int i = 0; i < 4000; i++) {
        publish(log, std::string(996, 'x'));
        REQUIRE(log.held_bytes() <= size_max);
    }
    CHECK((log.next() - log.first()) * 1000 >= size_max / 2);
}

TEST_CASE("log: dropping everything keeps a small segment, unless it went by reference") {
    struct Row {
        std::size_t record;
        bool by_reference;
        std::size_t kept;
    };
    for (const Row& row : {Row{100, false, page_size},
                           Row{100, true, 0},
                           Row{60000, false, 64 * 1024},
                           Row{100000, false, 0}}) {
        CAPTURE(row.record);
        CAPTURE(row.by_reference);
        WatchedArena memory(256);
        feed::SegmentPool pool(memory.arena());
        Log log(pool, 1, unlimited, {});
        publish(log, std::string(row.record, 'x'));
        log.slice_from(1, 0).segment->by_reference = row.by_reference;
        log.drop_all();
        CHECK(log.held_bytes() == row.kept);
        CHECK(log.first() == 2);
        CHECK(publish(log, "y") == 2);
        CHECK(as_text(log.slice_from(2, 0).bytes) == "y");
        CHECK(log.slice_from(2, 0).bytes.size() == 1);
    }
}

// Bursts come in rows: the second one should be one slice, not one for each time a segment doubled.
TEST_CASE("log: a burst like the one before lies in one piece") {
    WatchedArena memory(2048);
    feed::SegmentPool pool(memory.arena());
    Log log(pool, 1, unlimited, {});
    const auto burst = [&](std::size_t count, std::size_t size) {
        const feed::Seq first = log.next();
        for (std::size_t i = 0; i < count; i++) {
            publish(log, std::string(size, 'x'));
        }
        const std::size_t in_one_piece = log.slice_from(first, 0).bytes.size();
        log.slice_from(first, 0).segment->by_reference = true;
        log.drop_all();
        return in_one_piece;
    };
    CHECK(burst(32, 16000) < 32 * 16000);
    CHECK(burst(32, 16000) == 32 * 16000);
    CHECK(burst(36, 16000) == 36 * 16000);  // a little more has room too
    // A small one after it takes the large segment for the last time.
    CHECK(burst(1, 100) == 100);
    publish(log, "y");
    CHECK(log.held_bytes() == page_size);
}

TEST_CASE("log: what the last burst needed is not taken from others") {
    WatchedArena memory(256);
    feed::SegmentPool pool(memory.arena());
    Log bursty(pool, 1, unlimited, {});
    for (int i = 0; i < 20; i++) {
        publish(bursty, std::string(10'000, 'x'));
    }
    bursty.slice_from(1, 0).segment->by_reference = true;
    bursty.drop_all();
    Log steady(pool, 1, unlimited, {});
    while (pool.largest_free() > 64 * 1024) {
        publish(steady, std::string(1000, 'x'));
    }
    const std::uint64_t before = pool.evictions();
    publish(bursty, "y");
    CHECK(pool.evictions() == before);
    CHECK(steady.first() == 1);
}

TEST_CASE("log: the largest record and the smallest both fit") {
    WatchedArena memory(16);
    feed::SegmentPool pool(memory.arena());
    Log log(pool, 7, 1, {});  // a limit below everything: one segment is still kept
    CHECK(publish(log, std::string(log.record_size_max(), 'x')) == 7);
    CHECK(log.slice_from(7, 0).bytes.size() == 4 * page_size - 4);
    CHECK(publish(log, "y") == 8);
    CHECK(log.first() == 8);
}
