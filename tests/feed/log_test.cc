// A log on its own against a vector of strings; a second log on the same pool pushes it out.

#include "feed/log.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/feed/support.h"

using namespace ringcast;
using feed::Log;
using feed::page_size;
using feed::Seq;
using feed::Slice;
using test::publish;
using test::random_text;
using test::WatchedArena;

namespace {

constexpr std::size_t unlimited = std::size_t{1} << 40;

// Reads every record once more before it goes: the hook must come before the bytes are gone.
struct Witness {
    const Log* log = nullptr;
    const std::vector<std::string>* texts = nullptr;
    Seq retired = 1;  // records below this are gone

    static void retire(void* context, Seq first, Seq end) noexcept {
        auto& self = *static_cast<Witness*>(context);
        REQUIRE(first == self.retired);
        REQUIRE(first < end);
        Seq good = first;
        while (good < end && as_text(self.log->rest_of(good, 0)) == (*self.texts)[good])
            good++;
        REQUIRE(good == end);
        self.retired = end;
    }
};

void check_reading(const Log& log, const std::vector<std::string>& texts, Random& random) {
    if (log.first() == log.next()) return;
    const Seq seq = log.first() + random.below(log.next() - log.first());
    const auto sent = static_cast<std::uint32_t>(random.below(texts[seq].size()));
    const Slice slice = log.slice_from(seq, sent);
    std::string want = texts[seq].substr(sent);
    for (Seq after = seq + 1; after < slice.end; after++)
        want += texts[after];
    REQUIRE(as_text(slice.bytes) == want);
    REQUIRE(as_text(log.rest_of(seq, sent)) == texts[seq].substr(sent));

    const std::size_t taken = random.below(slice.bytes.size() + 1);
    Log::Place expected{.seq = seq, .sent = sent + static_cast<std::uint32_t>(taken)};
    while (expected.seq < slice.end && expected.sent >= texts[expected.seq].size()) {
        expected.sent -= static_cast<std::uint32_t>(texts[expected.seq].size());
        expected.seq++;
    }
    const Log::Place place = log.place_after(slice, {.seq = seq, .sent = sent}, taken);
    const bool same = place.seq == expected.seq && place.sent == expected.sent;
    REQUIRE(same);
}

void simulate(std::uint64_t seed) {
    CAPTURE(seed);
    Random random{seed};
    WatchedArena memory(std::size_t{16} << random.below(4));
    feed::SegmentPool pool(memory.arena());
    std::vector<std::string> texts{""};  // texts[seq]
    Witness witness;
    const std::size_t size_max =
        random.chance(1, 2) ? unlimited : page_size * (1 + random.below(30));
    Log log(pool, 1, size_max, {.call = &Witness::retire, .context = &witness});
    Log other(pool, 1, unlimited, {});
    witness.log = &log;
    witness.texts = &texts;

    for (int step = 0; step < 1500; step++) {
        const std::uint64_t dice = random.below(100);
        if (dice < 40) {
            std::size_t size = 1 + random.below(random.chance(1, 3) ? 5000 : 50);
            if (random.chance(1, 50)) size = log.record_size_max();
            if (random.chance(1, 20)) static_cast<void>(log.reserve(1 + random.below(9000)));
            texts.push_back(random_text(random, size));
            REQUIRE(publish(log, texts.back()) == texts.size() - 1);
        } else if (dice < 44) {
            publish(other, random_text(random, 1 + random.below(6000)));
        } else if (dice < 46) {
            const Seq needed = log.first() + random.below(log.next() - log.first() + 1);
            log.trim(needed);
            REQUIRE(log.first() <= needed);
        } else if (dice < 47) {
            log.drop_all();
            REQUIRE(log.first() == log.next());
        } else if (dice < 48) {
            log.release();
            REQUIRE(log.first() == log.next());
            REQUIRE(log.held_bytes() == 0);
        } else if (log.first() != log.next()) {
            check_reading(log, texts, random);
            const Slice slice = log.slice_from(log.next() - 1, 0);
            if (random.chance(1, 2)) {
                slice.segment->by_reference = true;
                memory.sent_by_reference(slice.bytes);
            }
        }
        REQUIRE(log.next() == texts.size());
        REQUIRE(log.first() == witness.retired);
        REQUIRE(log.held_bytes() + other.held_bytes() == pool.bytes_in_use());
        REQUIRE(memory.unchanged());
    }
}

}  // namespace

TEST_CASE("log: what it holds is what was published, until the hook was told it goes") {
    for (std::uint64_t seed = 1; seed <= 60; seed++)
        simulate(seed);
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

TEST_CASE("log: the largest record and the smallest both fit") {
    WatchedArena memory(16);
    feed::SegmentPool pool(memory.arena());
    Log log(pool, 7, 1, {});  // a limit below everything: one segment is still kept
    CHECK(publish(log, std::string(log.record_size_max(), 'x')) == 7);
    CHECK(log.slice_from(7, 0).bytes.size() == 4 * page_size - 4);
    CHECK(publish(log, "y") == 8);
    CHECK(log.first() == 8);
}
