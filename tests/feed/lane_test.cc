// Random walks against the model of lane_walk.h, and what it cannot say: how much memory lanes
// hold. A failure prints the seed: run that seed again to see it again.

#include "feed/lane.h"

#include <string>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/feed/lane_walk.h"
#include "tests/feed/support.h"

using namespace ringcast;
using feed::Lane;
using feed::Slice;
using test::publish;
using test::WatchedArena;

namespace {

void run(test::LaneWalk<Random>& walk) {
    for (int step = 0; step < 2000; step++)
        walk.step();
}

void ignore_tail(void*, feed::Reader, Bytes) noexcept {}

}  // namespace

TEST_CASE("lane: every reader sees exactly what was published, a saved tail, or a gap") {
    std::uint64_t tails = 0;
    std::uint64_t laps = 0;
    std::uint64_t punched = 0;
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        CAPTURE(seed);
        Random random(seed);
        test::LaneWalk walk(random,
                            {.pages = std::size_t{8} << (seed % 3), .history = seed % 4 == 0});
        run(walk);
        tails += walk.tails;
        laps += walk.laps;
        punched += walk.punched();
        CHECK(walk.evictions() > 0);
    }
    CHECK(tails > 100);  // the walk must reach the interesting places
    CHECK(laps > 100);
    CHECK(punched > 100);
}

TEST_CASE(
    "lane: who wants the packed form gets it, or what everybody gets, and never half of each") {
    std::uint64_t packed = 0;
    std::uint64_t plain = 0;
    std::uint64_t tails = 0;
    std::uint64_t laps = 0;
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const bool small = seed % 3 == 0;
        test::LaneWalk walk(random,
                            {.pages = small ? std::size_t{256} : std::size_t{8} << (seed % 3),
                             .size_max = small ? std::size_t{16384} : std::size_t{1} << 30,
                             .history = seed % 4 == 0,
                             .packed = true});
        run(walk);
        packed += walk.packed_slices;
        plain += walk.plain_slices;
        tails += walk.tails;
        laps += walk.laps;
    }
    CHECK(packed > 1000);
    CHECK(plain > 1000);
    CHECK(tails > 100);
    CHECK(laps > 100);
}

TEST_CASE("lane: the packed form is there while somebody reads it, and costs nothing then") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    const std::uint32_t plain = lane.subscribe(1, 0, 1);
    CHECK_FALSE(lane.packs());
    publish(lane, "first");
    const std::uint32_t row = lane.subscribe(2, 0, 1);
    lane.read_packed(row, 1 << 20);
    CHECK(lane.packs());
    publish(lane, "second");
    lane.append_packed(as_bytes("2"));
    CHECK(as_text(lane.newest()) == "second");
    CHECK(as_text(lane.peek(plain).bytes) == "firstsecond");
    // What was there before comes as it is.
    Slice slice = lane.peek(row);
    CHECK(as_text(slice.bytes) == "firstsecond");
    lane.advance(row, slice, 5, false);
    slice = lane.peek(row);
    CHECK(as_text(slice.bytes) == "2");
    CHECK(slice.packed);
    lane.advance(row, slice, 1, false);
    CHECK(lane.peek(row).bytes.empty());
    CHECK(lane.packed_bytes() > 0);
    CHECK(lane.held_bytes() == lane.packed_bytes() + lane.log().held_bytes());
    lane.unsubscribe(row);
    CHECK_FALSE(lane.packs());
    CHECK(lane.packed_bytes() == 0);
    publish(lane, "third");
    CHECK(as_text(lane.peek(plain).bytes) == "firstsecondthird");
}

TEST_CASE("lane: the packed form ends where a reader has to confirm first") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    const std::uint32_t row = lane.subscribe(1, 0, 1);
    lane.read_packed(row, 1 << 20);
    static_cast<void>(lane.ask_acks(row, {}, 0));
    std::string all;
    for (int i = 0; i < 100; i++) {
        publish(lane, "a record that is longer");
        lane.acks()->demand(lane.next() - 1, 1000);
        const std::string packed = "<" + std::to_string(i) + ">";
        lane.append_packed(as_bytes(packed));
        if (i < 64) all += packed;
    }
    const Slice slice = lane.peek(row);
    CHECK(slice.packed);
    CHECK(as_text(slice.bytes) == all);
    CHECK(slice.end == 65);
}

TEST_CASE("lane: a log keeps to its own limit, and a record larger than that still goes through") {
    std::uint64_t laps = 0;
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        test::LaneWalk walk(random, {.pages = 256, .size_max = std::size_t{16384} << (seed % 3)});
        run(walk);
        laps += walk.laps;
    }
    CHECK(laps > 10);
}

TEST_CASE("lane: where memory suffices nobody is ever lapped") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        test::LaneWalk walk(random, {.pages = 2048, .history = seed % 2 == 0, .may_lose = false});
        run(walk);
        CHECK(walk.laps == 0);
        CHECK(walk.evictions() == 0);
    }
}

TEST_CASE("lane: steady traffic that everybody has stays in one hot page") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    const std::uint32_t row = lane.subscribe(0, 0, 1);
    const std::byte* place = nullptr;
    for (int i = 0; i < 1000; i++) {
        publish(lane, std::string(256, 'x'));
        const Slice slice = lane.peek(row);
        REQUIRE(slice.bytes.size() == 256);
        if (place == nullptr) place = slice.bytes.data();
        REQUIRE(slice.bytes.data() == place);
        lane.advance(row, slice, 256, false);
    }
    CHECK(pool.bytes_in_use() == feed::page_size);
    lane.release_if_drained();
    CHECK(pool.bytes_in_use() == 0);
}

TEST_CASE("lane: a reader sent by reference makes the next record lie elsewhere or be punched") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    const std::uint32_t row = lane.subscribe(0, 0, 1);
    for (int i = 0; i < 100; i++) {
        publish(lane, std::string(256, static_cast<char>('a' + i % 26)));
        const Slice slice = lane.peek(row);
        arena.sent_by_reference(slice.bytes);
        lane.advance(row, slice, slice.bytes.size(), true);
        REQUIRE(arena.unchanged());
    }
    CHECK(arena.punched() == 99);
}

TEST_CASE("lane: a reader that is always a little behind costs a few pages, after a burst too") {
    WatchedArena arena(1024);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    const std::uint32_t slow = lane.subscribe(0, 0, 1);
    const auto steady = [&] {
        for (int i = 0; i < 4000; i++) {
            publish(lane, std::string(100, 'x'));
            const Slice slice = lane.peek(slow);
            if (lane.log().next() - lane.row(slow).seq < 10) continue;
            lane.advance(slow, slice, std::min<std::size_t>(slice.bytes.size(), 150), false);
        }
        CHECK_FALSE(lane.lapped(slow));
        CHECK(lane.log().held_bytes() <= 2 * feed::page_size);
    };
    steady();
    for (int i = 0; i < 5000; i++)
        publish(lane, std::string(100, 'x'));
    CHECK(lane.log().held_bytes() >= 64 * feed::page_size);
    while (!lane.lapped(slow) && lane.log().next() - lane.row(slow).seq > 10) {
        const Slice slice = lane.peek(slow);
        lane.advance(slow, slice, std::min<std::size_t>(slice.bytes.size(), 950), false);
    }
    steady();
    steady();
}

TEST_CASE("lane: with history on those who come back find what everybody else has") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    lane.keep_history({.records = 50, .bytes = 64 * 1024});
    const std::uint32_t row = lane.subscribe(0, 0, 1);
    for (int i = 0; i < 100; i++) {
        publish(lane, "<" + std::to_string(i) + ">");
        const Slice slice = lane.peek(row);
        lane.advance(row, slice, slice.bytes.size(), i % 2 == 0);
    }
    CHECK(lane.behind() == 0);
    CHECK(lane.log().next() == 101);
    CHECK(lane.recoverable_from() == 51);
    const std::uint32_t back = lane.subscribe(1, 0, 98);
    CHECK(lane.behind() == 1);
    CHECK(as_text(lane.peek(back).bytes) == "<97><98><99>");
    lane.skip_to(back, lane.log().next());
    lane.release_if_drained();
    CHECK(lane.recoverable_from() == 51);  // that nobody is behind is no reason to forget
    lane.forget_before(99);
    CHECK(lane.recoverable_from() == 99);
    lane.forget_before(101);
    CHECK(lane.log().held_bytes() == 0);
}

TEST_CASE("lane: history has its bytes, whatever its number of records") {
    WatchedArena arena(256);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    lane.keep_history({.records = 1'000'000, .bytes = 64 * 1024});
    const std::string text(500, 'x');
    std::uint64_t least = UINT64_MAX;
    for (int i = 0; i < 5000; i++) {
        publish(lane, text);
        REQUIRE(lane.log().held_bytes() <= 64 * 1024 + 16 * 1024);
        if (i > 1000) least = std::min(least, lane.log().next() - lane.recoverable_from());
    }
    CHECK(least >= 64 * 1024 / 2 / 504);
}

TEST_CASE("lane: when a reader leaves, the last row fills the hole") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    for (feed::Reader reader = 0; reader < 1000; reader++)
        REQUIRE(lane.subscribe(reader, 0, 1) == reader);
    publish(lane, "hello");
    CHECK(lane.behind() == 1000);
    lane.unsubscribe(0);
    CHECK(lane.row(0).reader == 999);
    CHECK(lane.behind() == 999);
    while (lane.size() > 0)
        lane.unsubscribe(lane.size() - 1);
    CHECK(lane.behind() == 0);
}

TEST_CASE("lane: who comes or leaves during a walk makes every row due again") {
    WatchedArena arena(16);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 4096, {.save_tail = &ignore_tail});
    for (feed::Reader reader = 0; reader < 3; reader++)
        REQUIRE(lane.subscribe(reader, 0, 1) == reader);
    lane.walk = {.at = 2, .left = 3, .queued = true};
    REQUIRE(lane.subscribe(3, 0, 1) == 3);
    CHECK(lane.walk.left == 4);  // or row 1 would be left out
    lane.walk.left = 1;
    lane.unsubscribe(0);
    CHECK(lane.walk.left == 3);
    lane.walk = {};
    lane.unsubscribe(0);
    CHECK(lane.walk.left == 0);
}

TEST_CASE("lane: a reserve that was lost, and every reader lapped, is no reason to die") {
    WatchedArena arena(16);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 4096, {.save_tail = &ignore_tail});
    REQUIRE(lane.subscribe(0, 0, 1) == 0);
    publish(lane, std::string(100, 'a'));
    // Another lane needs all the memory there is.
    Lane other(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    REQUIRE(other.subscribe(1, 0, 1) == 0);
    for (int i = 0; i < 40; i++)
        publish(other, std::string(8000, 'b'));
    REQUIRE(lane.lapped(0));
    REQUIRE(lane.reserve(100).size() == 100);  // and no commit()
    publish(lane, std::string(8000, 'c'));
    CHECK(lane.lapped(0));
    lane.skip_to(0, lane.log().first());
    CHECK(as_text(lane.peek(0).bytes) == std::string(8000, 'c'));
}

TEST_CASE("lane: who confirms gets nothing behind the limit, whole records only, and others all") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    const std::uint32_t row = lane.subscribe(0, 0, 1);
    const std::uint32_t other = lane.subscribe(1, 0, 1);
    CHECK(lane.ask_acks(row, {}, 0).empty());
    for (feed::Seq seq = 1; seq <= 100; seq++) {
        publish(lane, std::string(100, 'x'));
        if (seq % 2 == 0) lane.acks()->demand(seq, 1000);  // 64 of them: up to 128
    }
    CHECK(lane.peek(row).bytes.size() == lane.peek(other).bytes.size());
    for (feed::Seq seq = 101; seq <= 200; seq++) {
        publish(lane, std::string(100, 'x'));
        if (seq % 2 == 0) lane.acks()->demand(seq, 1000);
    }
    std::size_t got = 0;
    for (Slice slice = lane.peek(row); !slice.bytes.empty(); slice = lane.peek(row)) {
        const std::size_t taken = std::min<std::size_t>(slice.bytes.size(), 333);  // torn
        lane.advance(row, slice, taken, false);
        got += taken;
    }
    CHECK(got == 129 * 100);
    CHECK(lane.row(row).seq == 130);
    CHECK(lane.row(row).sent == 0);
    CHECK(lane.behind() == 2);
    CHECK(lane.acks()->confirm(row, 4, true, lane.row(row).seq) == 2);
    CHECK(lane.peek(row).bytes.size() == 400);
    lane.lift_limit(row);
    CHECK(lane.peek(row).bytes.size() > 400);
}

TEST_CASE("lane: what is to be confirmed stays in the log though everybody has it") {
    WatchedArena arena(64);
    feed::SegmentPool pool(arena.arena());
    Lane lane(pool, 1, 1 << 20, {.save_tail = &ignore_tail});
    const std::uint32_t row = lane.subscribe(0, 0, 1);
    CHECK(lane.ask_acks(row, {}, 0).empty());
    const auto read_all = [&] {
        for (Slice slice = lane.peek(row); !slice.bytes.empty(); slice = lane.peek(row)) {
            lane.advance(row, slice, slice.bytes.size(), false);
        }
    };
    publish(lane, "to be kept");
    lane.acks()->demand(1, 1000);
    read_all();
    for (int i = 0; i < 200; i++) {
        publish(lane, std::string(100, 'x'));
        read_all();
        if (i % 50 == 0) lane.release_if_drained();
    }
    REQUIRE(lane.log().holds(1));
    CHECK(as_text(lane.log().rest_of(1, 0)) == "to be kept");
    CHECK(lane.acks()->confirm(row, 1, false, lane.next()) == 1);
    CHECK_FALSE(lane.acks()->settle(1, lane.log().first(), [](const feed::AckWindow::Demand&) {}));
    lane.release_if_drained();
    CHECK(pool.bytes_in_use() == 0);
    lane.unsubscribe(row);
    lane.close_acks();
    CHECK(lane.acks() == nullptr);
}
