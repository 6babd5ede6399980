// Random walks against the model of compact_walk.h, and what it cannot say: windows, memory, and
// what an append costs at most.

#include "feed/compact.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

#include "base/random.h"
#include "feed/lane.h"
#include "tests/feed/compact_walk.h"
#include "tests/feed/support.h"

using namespace ringcast;
using feed::CompactLog;
using feed::Lane;
using feed::page_size;
using feed::SegmentPool;
using test::WatchedArena;
using Refusal = feed::CompactLog::Refusal;

namespace {

constexpr CompactLog::Limits plenty{.keys_max = 1'000'000, .bytes_max = std::size_t{1} << 30};
// A quarter of it is the window: 256 KiB.
constexpr CompactLog::Limits small_window{.keys_max = 1'000'000, .bytes_max = std::size_t{1} << 20};

void ignore_tail(void*, feed::Reader, Bytes) noexcept {}

struct World {
    explicit World(std::size_t pages, const CompactLog::Limits& limits = plenty)
        : memory(pages),
          pool(memory.arena()),
          lane(pool, 1, limits, 1, {.save_tail = &ignore_tail}) {}

    Refusal put(std::string_view key, std::string_view text, bool tombstone = false) {
        const CompactLog::Room room =
            lane.reserve({.key = as_bytes(key), .size = text.size(), .tombstone = tombstone});
        if (room.refusal != Refusal::none) return room.refusal;
        std::memcpy(room.bytes.data(), text.data(), text.size());
        lane.commit();
        return Refusal::none;
    }
    // All that row `row` gets until it is at the head.
    std::string read(std::uint32_t row) {
        std::string text;
        while (lane.row(row).seq != lane.next()) {
            const feed::Slice slice = lane.peek(row);
            REQUIRE(!slice.bytes.empty());
            text += as_text(slice.bytes);
            lane.advance(row, slice, slice.bytes.size(), false);
        }
        return text;
    }

    WatchedArena memory;
    SegmentPool pool;
    Lane lane;
};

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
    std::uint64_t gathered = 0;
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
        gathered += walk.gathered;
    }
    CHECK(tails > 100);  // the walk must reach the interesting places
    CHECK(laps > 100);
    CHECK(skips > 100);
    CHECK(refusals > 100);
    CHECK(punched > 100);
    CHECK(gathered > 100);
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

TEST_CASE("compact: the fast get every record, a snapshot and the slow the latest of each key") {
    World world(64);
    const std::uint32_t fast = world.lane.subscribe(0, 0, 1);
    const std::uint32_t strict = world.lane.subscribe(1, 0, 1);
    world.lane.set_latest_only(strict, true);
    for (const auto& [key, text] : {std::pair("a", "<a1>"),
                                    std::pair("b", "<b1>"),
                                    std::pair("a", "<a2>"),
                                    std::pair("c", "<c1>"),
                                    std::pair("b", "<b2>")})
        REQUIRE(world.put(key, text) == Refusal::none);
    const std::uint32_t late = world.lane.subscribe(2, 0, 1);
    const std::uint32_t back = world.lane.subscribe(3, 0, 2);
    CHECK(world.read(fast) == "<a1><b1><a2><c1><b2>");
    CHECK(world.read(strict) == "<a2><c1><b2>");
    CHECK(world.read(late) == "<a2><c1><b2>");
    CHECK(world.read(back) == "<b1><a2><c1><b2>");
    REQUIRE(world.put("a", "<a3>") == Refusal::none);
    REQUIRE(world.put("a", "<a4>") == Refusal::none);
    CHECK(world.read(late) == "<a3><a4>");  // it has caught up, and is fast now
    CHECK(world.read(strict) == "<a4>");
}

TEST_CASE("compact: whoever falls behind the window skips what is superseded until the head") {
    World world(1024, small_window);
    const std::uint32_t slow = world.lane.subscribe(0, 0, 1);
    const std::string text(1000, 'x');
    for (int i = 0; i < 250; i++)
        REQUIRE(world.put("key" + std::to_string(i % 10), text) == Refusal::none);
    CHECK(world.lane.compact().fresh_first() == 1);
    for (int i = 0; i < 750; i++)
        REQUIRE(world.put("key" + std::to_string(i % 10), text) == Refusal::none);
    CHECK(world.lane.compact().fresh_first() > 1);
    CHECK(world.lane.next() - world.lane.compact().fresh_first() >= 256);
    CHECK_FALSE(world.lane.lapped(slow));
    CHECK(world.read(slow).size() == 10 * text.size());
    CHECK(world.lane.held_bytes() < 420 * 1024);
    world.lane.release_if_drained();
    CHECK(world.lane.held_bytes() <= 4 * page_size);  // 10 records of 1016
    CHECK(world.lane.compact().keys() == 10);
}

TEST_CASE("compact: where every other record is superseded, what is left comes in few slices") {
    World world(4096, small_window);
    const std::uint32_t slow = world.lane.subscribe(0, 0, 1);
    const std::uint32_t slower = world.lane.subscribe(1, 0, 1);
    Random random(1);
    const std::string text(130, 'x');
    std::map<std::string, int> latest;
    for (int i = 0; i < 20'000; i++) {
        const std::string key = "key" + std::to_string(random.below(1'000));
        latest[key] = i;
        REQUIRE(world.put(key, text + std::to_string(1'000'000 + i)) == Refusal::none);
    }
    std::set<int> order;
    for (const auto& [key, number] : latest)
        order.insert(number);
    std::string want;
    for (const int number : order)
        want += text + std::to_string(1'000'000 + number);

    // One takes all there is, the other stops in the middle of records; both are in one state.
    std::string all;
    std::string parts;
    int slices = 0;
    for (; world.lane.row(slow).seq != world.lane.next(); slices++) {
        const feed::Slice slice = world.lane.peek(slow);
        all += as_text(slice.bytes);
        const feed::Slice other = world.lane.peek(slower);
        const std::size_t taken = other.bytes.size() / 2 + 1;
        parts += as_text(other.bytes.first(taken));
        world.lane.advance(slower, other, taken, false);
        world.lane.advance(slow, slice, slice.bytes.size(), false);
    }
    CHECK(all == want);
    CHECK(slices <= 8);  // 137 kB, where runs have 3 records in the mean
    CHECK(want.starts_with(parts));
    CHECK(world.lane.compact().heap_bytes() > want.size());  // what is gathered counts
    parts += world.read(slower);
    CHECK(parts == want);
    world.lane.release_if_drained();
    CHECK(world.lane.compact().heap_bytes() < 256 * 1024);
}

TEST_CASE("compact: a refused record changes nothing, and says which limit it met") {
    World world(64, {.keys_max = 2, .bytes_max = 100});
    CHECK(world.put("a", std::string(40, 'a')) == Refusal::none);
    CHECK(world.put("b", std::string(40, 'b')) == Refusal::none);
    CHECK(world.put("c", "c") == Refusal::too_many_keys);
    CHECK(world.put("a", std::string(61, 'A')) == Refusal::bytes_full);
    CHECK(world.put("a", std::string(60, 'A')) == Refusal::none);
    CHECK(world.put("b", std::string(200, '-'), true) ==
          Refusal::none);  // gone, and so there is room
    CHECK(world.put("c", std::string(40, 'c')) == Refusal::none);
    CHECK(world.put("b", "b") == Refusal::too_many_keys);
    CHECK(world.lane.compact().live_bytes() == 100);
    const std::size_t too_large = world.lane.compact().record_size_max() + 1;
    World other(64);
    CHECK(other.put("a", std::string(too_large, 'x')) == Refusal::no_memory);
    CHECK(other.put("a", std::string(too_large - 1, 'x')) == Refusal::none);
}

TEST_CASE("compact: what does not fit beside the state is refused, and other logs do not suffer") {
    World world(256);
    feed::Log other(world.pool, 1, std::size_t{1} << 40, {});
    int accepted = 0;
    while (world.put("key" + std::to_string(accepted), std::string(1000, 'x')) == Refusal::none)
        accepted++;
    CHECK(accepted > 300);  // half of the arena, and some of it is left for the sweep
    CHECK(accepted <= 512);
    CHECK(world.pool.bytes_pinned() <= 128 * page_size);
    test::publish(other, std::string(other.record_size_max(), 'x'));
    // The keys that are there can be written further on, and deleted.
    for (int i = 0; i < 5000; i++) {
        const std::string key = "key" + std::to_string(i * 7919 % accepted);
        const std::size_t size = 1000 - static_cast<std::size_t>(i) / 1000;  // never more
        REQUIRE(world.put(key, std::string(size, 'y')) == Refusal::none);
        if (i % 100 == 0) world.lane.compact().check();
    }
    for (int i = 0; i < accepted; i++)
        REQUIRE(world.put("key" + std::to_string(i), "gone", true) == Refusal::none);
    CHECK(world.put("new", std::string(1000, 'z')) == Refusal::none);
}

TEST_CASE("compact: who has not seen a tombstone before it is forgotten is told, and starts over") {
    World world(64, {.keys_max = 100, .bytes_max = 10000, .tombstones_max = 4});
    const std::uint32_t slow = world.lane.subscribe(0, 0, 1);
    REQUIRE(world.put("a", "<a>") == Refusal::none);
    CHECK(world.read(slow) == "<a>");
    REQUIRE(world.put("a", "<->", true) == Refusal::none);
    const std::uint32_t fresh = world.lane.subscribe(1, 0, world.lane.next());
    CHECK(world.lane.compact().recoverable(2));
    for (int i = 0; i < 4; i++)
        REQUIRE(world.put("b" + std::to_string(i), "<->", true) == Refusal::none);
    CHECK_FALSE(world.lane.lapped(slow));
    REQUIRE(world.put("c", "<c>") == Refusal::none);  // five are too many: the two oldest go
    CHECK(world.lane.compact().tombstones() == 3);
    CHECK(world.lane.compact().forgotten() == 3);
    CHECK_FALSE(world.lane.compact().recoverable(2));
    CHECK_FALSE(world.lane.compact().recoverable(3));
    CHECK(world.lane.compact().recoverable(4));
    CHECK(world.lane.lapped(slow));
    CHECK(world.lane.peek(slow).bytes.empty());
    CHECK(world.lane.lapped(fresh));
    world.lane.skip_to(slow, world.lane.next());
    CHECK_FALSE(world.lane.lapped(slow));
    CHECK(world.read(world.lane.subscribe(2, 0, 1)) == "<-><-><-><c>");
}

TEST_CASE("compact: a reader inside a record that moves goes on at its new place") {
    World world(1024, {.keys_max = 1000, .bytes_max = 64 * 1024});
    const std::string kept(300, 'k');
    REQUIRE(world.put("kept", kept) == Refusal::none);
    const std::uint32_t row = world.lane.subscribe(0, 0, 1);
    const feed::Slice slice = world.lane.peek(row);
    world.memory.sent_by_reference(slice.bytes.first(100));
    world.lane.advance(row, slice, 100, true);
    for (int i = 0; i < 1000; i++) {
        REQUIRE(world.put("other", std::string(500, 'o')) == Refusal::none);
        if (i % 50 == 0) REQUIRE(world.put("few" + std::to_string(i), "<few>") == Refusal::none);
    }
    CHECK(world.memory.unchanged());
    CHECK(world.memory.punched() > 0);  // so it did move
    CHECK(world.lane.row(row).sent == 100);
    CHECK(as_text(world.lane.rest_of(row)) == kept.substr(100));
    CHECK(world.read(row).size() == 200 + 20 * 5 + 500);
}

TEST_CASE("compact: a copy of the state with its numbers is as good as the state") {
    World world(64);
    for (int i = 0; i < 300; i++)
        REQUIRE(world.put("key" + std::to_string(i * i % 37), "<" + std::to_string(i) + ">") ==
                Refusal::none);
    World copy(64);
    for (feed::Seq seq = 1; seq < world.lane.next();) {
        const CompactLog::Record record = world.lane.compact().latest_from(seq);
        const CompactLog::Room room = copy.lane.reserve({.key = record.key,
                                                         .size = record.bytes.size(),
                                                         .tombstone = record.tombstone,
                                                         .seq = record.seq});
        std::copy(record.bytes.begin(), record.bytes.end(), room.bytes.begin());
        REQUIRE(copy.lane.commit() == record.seq);
        seq = record.seq + 1;
    }
    copy.lane.set_forgotten(world.lane.compact().forgotten());
    CHECK(copy.lane.next() == world.lane.next());
    CHECK(copy.read(copy.lane.subscribe(0, 0, 1)) == world.read(world.lane.subscribe(0, 0, 1)));
}

TEST_CASE("compact: the pool counts what keys take beside the arena, and no log leaves any of it") {
    WatchedArena memory(64);
    SegmentPool pool(memory.arena());
    {
        CompactLog first(pool, 1, plenty, 1, {});
        CompactLog second(pool, 1, plenty, 1, {});
        for (int i = 0; i < 500; i++) {
            const std::string key = "key-" + std::to_string(i % 300);
            CompactLog& log = i % 2 == 0 ? first : second;
            const CompactLog::Room room = log.reserve({.key = as_bytes(key), .size = 8});
            REQUIRE(room.refusal == Refusal::none);
            log.commit();
            CHECK(pool.heap_bytes() == first.heap_bytes() + second.heap_bytes());
        }
        CHECK(pool.heap_bytes() > 300 * sizeof(feed::Key));
    }
    CHECK(pool.heap_bytes() == 0);
}
