// The pool as an allocator (a map of pages finds overlaps), and whom it takes memory from.

#include "feed/pool.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "feed/log.h"
#include "tests/feed/support.h"

using namespace ringcast;
using feed::Log;
using feed::page_size;
using feed::Segment;
using feed::SegmentPool;
using test::publish;
using test::WatchedArena;

namespace {

constexpr std::size_t unlimited = std::size_t{1} << 40;

}  // namespace

TEST_CASE("pool: segments never overlap, and all memory comes together again") {
    for (std::uint64_t seed = 1; seed <= 30; seed++) {
        CAPTURE(seed);
        Random random{seed};
        const std::size_t pages = std::size_t{4} << random.below(8);
        WatchedArena memory(pages);
        SegmentPool pool(memory.arena());
        Log owner(pool, 1, unlimited, {});
        std::vector<Segment*> taken_by(pages, nullptr);
        std::vector<Segment*> live;
        std::size_t in_use = 0;
        for (int step = 0; step < 2000; step++) {
            const std::size_t size = 1 + random.below(pool.segment_size_max());
            if (random.chance(1, 2) && SegmentPool::rounded(size) <= pool.largest_free()) {
                const bool pinned = seed % 3 == 0;
                Segment* const taken =
                    pinned ? pool.take_pinned(size, size, 0) : &pool.take(size, size, owner);
                if (taken == nullptr) continue;
                Segment& segment = *taken;
                REQUIRE(segment.size == SegmentPool::rounded(size));
                REQUIRE(segment.owner == (pinned ? nullptr : &owner));
                REQUIRE(segment.pinned == pinned);
                const auto offset = static_cast<std::size_t>(pool.offset_of(segment.bytes));
                REQUIRE(offset % segment.size == 0);
                if (pinned) REQUIRE(offset >= pages * page_size / 2);
                for (std::size_t i = 0; i < segment.size / page_size; i++) {
                    REQUIRE(taken_by[offset / page_size + i] == nullptr);
                    taken_by[offset / page_size + i] = &segment;
                }
                live.push_back(&segment);
                in_use += segment.size;
                REQUIRE(pool.resident_bytes() >= in_use);
            } else if (!live.empty()) {
                std::swap(live[random.below(live.size())], live.back());
                Segment& segment = *live.back();
                live.pop_back();
                in_use -= segment.size;
                for (Segment*& by : taken_by)
                    if (by == &segment) by = nullptr;
                segment.by_reference = random.chance(1, 2);
                const std::uint64_t punched = memory.punched();
                const bool must_punch = segment.by_reference;
                pool.give_back(segment);
                REQUIRE(memory.punched() - punched == (must_punch ? 1 : 0));
            }
            REQUIRE(pool.bytes_in_use() == in_use);
            pool.check();
        }
        for (Segment* segment : live)
            pool.give_back(*segment);
        CHECK(pool.bytes_in_use() == 0);
        CHECK(pool.bytes_pinned() == 0);
        CHECK(pool.largest_free() == pages * page_size / 2);
        CHECK(pool.evictions() == 0);
    }
}

TEST_CASE("pool: the oldest segment of all logs goes first, whoever asks") {
    WatchedArena memory(4);
    SegmentPool pool(memory.arena());
    Log a(pool, 1, unlimited, {});
    Log b(pool, 1, unlimited, {});
    const std::string page(page_size - 4, 'x');
    publish(a, page);
    publish(b, page);
    publish(b, page);
    publish(a, page);
    publish(b, page);  // takes the first page of a
    CHECK(a.first() == 2);
    CHECK(b.first() == 1);
    publish(b, page);  // takes the first page of b itself
    CHECK(a.first() == 2);
    CHECK(b.first() == 2);
    CHECK(pool.evictions() == 2);
}

TEST_CASE("pool: a page that is refilled in place counts as young") {
    WatchedArena memory(4);
    SegmentPool pool(memory.arena());
    Log hot(pool, 1, unlimited, {});
    Log quiet(pool, 1, unlimited, {});
    Log busy(pool, 1, unlimited, {});
    const std::string page(page_size - 4, 'x');
    publish(hot, page);
    publish(quiet, page);
    hot.drop_all();
    publish(hot, page);
    publish(busy, page);
    publish(busy, page);
    publish(busy, page);
    CHECK(hot.first() == 2);
    CHECK(hot.next() == 3);  // still there
    CHECK(quiet.first() == quiet.next());
}

TEST_CASE("pool: a log alone on the arena can always write, its own tail gives way") {
    WatchedArena memory(64);
    SegmentPool pool(memory.arena());
    Log log(pool, 1, unlimited, {});
    for (int i = 0; i < 100; i++) {
        publish(log, std::string(log.record_size_max(), 'x'));
        pool.check();
        REQUIRE(pool.bytes_in_use() <= 64 * page_size);
    }
    CHECK(log.first() == 97);
}

TEST_CASE("pool: a large record in an arena of scattered small ones costs few of them") {
    constexpr std::size_t pages = 1024;
    WatchedArena memory(pages);
    SegmentPool pool(memory.arena());
    std::vector<std::unique_ptr<Log>> logs;
    for (std::size_t i = 0; i < pages; i++)
        logs.push_back(std::make_unique<Log>(pool, 1, unlimited, Log::RetireHook{}));
    // Ages in an order that has nothing to do with the places.
    std::vector<std::size_t> order(pages);
    for (std::size_t i = 0; i < pages; i++)
        order[i] = i * 389 % pages;
    for (const auto& log : logs)
        publish(*log, "x");
    for (const std::size_t i : order) {
        logs[i]->drop_all();
        publish(*logs[i], "y");
    }
    REQUIRE(pool.bytes_in_use() == pages * page_size);

    Log large(pool, 1, unlimited, {});
    publish(large, std::string(16 * page_size - 4, 'z'));
    CHECK(pool.evictions() <= 32);
    CHECK(large.held_bytes() == 16 * page_size);
}

TEST_CASE("pool: a log that grows takes what is there rather than what others hold") {
    WatchedArena memory(64);
    SegmentPool pool(memory.arena());
    Log other(pool, 1, unlimited, {});
    Log log(pool, 1, unlimited, {});
    for (int i = 0; i < 16; i++)
        publish(other, std::string(3 * page_size, 'o'));
    const std::uint64_t before = pool.evictions();
    publish(log, "x");
    CHECK(pool.evictions() - before <= 1);
}

TEST_CASE("pool: what is shed is no longer in memory, free pages first, then the oldest") {
    WatchedArena memory(128);
    SegmentPool pool(memory.arena());
    Log a(pool, 1, unlimited, {});
    Log b(pool, 1, unlimited, {});
    for (int i = 0; i < 40; i++) {
        publish(i < 20 ? a : b, std::string(page_size - 4, 'x'));
    }
    const std::size_t full = pool.resident_bytes();
    CHECK(full == pool.bytes_in_use());
    a.drop_all();
    a.release();
    const std::size_t used = pool.bytes_in_use();
    CHECK(used < full);
    CHECK(pool.resident_bytes() == full);  // free, and still there

    const std::uint64_t evictions = pool.evictions();
    pool.shed(used, SIZE_MAX);
    CHECK(pool.resident_bytes() == used);
    CHECK(pool.evictions() == evictions);
    CHECK(memory.punched() > 0);

    pool.shed(0, 1);
    CHECK(pool.resident_bytes() < used);
    CHECK(pool.evictions() == evictions + 1);
    CHECK(b.first() > 1);
    CHECK(b.first() < b.next());
    pool.shed(8 * page_size, SIZE_MAX);
    CHECK(pool.resident_bytes() <= 8 * page_size);
    pool.check();
    publish(b, "still here");
    pool.shed(0, SIZE_MAX);
    CHECK(pool.resident_bytes() == 0);
    CHECK(pool.bytes_in_use() == 0);
    CHECK(b.first() == b.next());
}

TEST_CASE("pool: beside pins wherever they may be, a record of any size finds room") {
    std::uint64_t refused = 0;
    std::uint64_t evicted = 0;
    for (std::uint64_t seed = 1; seed <= 30; seed++) {
        CAPTURE(seed);
        Random random{seed};
        const std::size_t pages = std::size_t{8} << random.below(6);
        WatchedArena memory(pages);
        SegmentPool pool(memory.arena());
        std::vector<std::unique_ptr<Log>> logs;
        for (int i = 0; i < 5; i++)
            logs.push_back(std::make_unique<Log>(pool, 1, unlimited, Log::RetireHook{}));
        std::vector<Segment*> pins;
        const std::size_t leave = random.below(pages / 4) * page_size;
        for (int step = 0; step < 1000; step++) {
            const std::uint64_t dice = random.below(10);
            Log& log = *logs[random.below(logs.size())];
            if (dice < 5) {
                std::size_t size = 1 + random.below(2 * page_size - 4);
                if (random.chance(1, 8)) size = log.record_size_max() - random.below(3);
                publish(log, std::string(std::min(size, log.record_size_max()), 'x'));
            } else if (dice < 6) {
                log.release();
            } else if (dice < 8) {
                const std::size_t size_min = 1 + random.below(pool.pinned_size_max() + 3);
                Segment* const pin = pool.take_pinned(size_min, size_min * 2, leave);
                refused += pin == nullptr ? 1 : 0;
                if (pin == nullptr) continue;
                REQUIRE(pin->size >= size_min);
                REQUIRE(pool.bytes_pinned() + leave <= pages * page_size / 2);
                std::fill_n(pin->bytes, pin->size, std::byte{'p'});
                pins.push_back(pin);
            } else if (!pins.empty()) {
                std::swap(pins[random.below(pins.size())], pins.back());
                pool.give_back(*pins.back());
                pins.pop_back();
            }
            pool.check();
        }
        for (Segment* pin : pins) {
            const bool kept = std::all_of(pin->bytes, pin->bytes + pin->size, [](std::byte byte) {
                return byte == std::byte{'p'};
            });
            CHECK(kept);
            pool.give_back(*pin);
        }
        evicted += pool.evictions();
    }
    CHECK(refused > 100);
    CHECK(evicted > 100);
}

TEST_CASE("pool: a pin takes the oldest segment of the upper half, and no more than it needs") {
    constexpr std::size_t pages = 64;
    WatchedArena memory(pages);
    SegmentPool pool(memory.arena());
    std::vector<std::unique_ptr<Log>> logs;
    for (std::size_t i = 0; i < pages; i++) {
        logs.push_back(std::make_unique<Log>(pool, 1, unlimited, Log::RetireHook{}));
        publish(*logs.back(), "x");
    }
    REQUIRE(pool.bytes_in_use() == pages * page_size);
    Segment* const pin = pool.take_pinned(1, page_size, 0);
    REQUIRE(pin != nullptr);
    CHECK(pool.evictions() == 1);
    CHECK(logs[pages / 2]->first() == 2);
    Segment* const none = pool.take_pinned(1, page_size, pages / 2 * page_size - 1);
    CHECK(none == nullptr);
    pool.give_back(*pin);
}
