#include "node/resume.h"

#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "tests/feed/support.h"

using namespace ringcast;
using namespace ringcast::node;

namespace {

void save_nothing(void* /*context*/, feed::Reader /*reader*/, Bytes /*rest*/) noexcept {}

struct Shelf {
    Shelf() : pool(arena.arena()), topics() {
        topic = &topics.create("t", 1);
        topic->epoch = 7;
    }
    void fill(MutBytes room) { std::fill(room.begin(), room.end(), std::byte{'x'}); }

    test::WatchedArena arena{64};
    feed::SegmentPool pool;
    feed::TopicTable topics;
    feed::Topic* topic = nullptr;
    feed::LaneSink sink{.save_tail = &save_nothing, .context = nullptr};
};

}  // namespace

TEST_CASE("resume: where a reader of a log begins, and what it missed") {
    Shelf shelf;
    feed::Lane lane(shelf.pool, 1, 64 * 1024, shelf.sink);
    lane.keep_history({.records = 3, .bytes = 16 * 1024});
    for (int i = 0; i < 10; i++) {
        shelf.fill(lane.reserve(100));
        static_cast<void>(lane.commit());
    }
    const auto begin = [&](const Resume& resume) { return begin_of(*shelf.topic, lane, resume); };
    CHECK(begin({}).seq == 11);
    CHECK_FALSE(begin({}).recovered);
    CHECK(begin({}).reason == nullptr);

    // What lies within the history, and not a record more.
    for (feed::Seq offset = 0; offset < 12; offset++) {
        CAPTURE(offset);
        const Begin at = begin({.wanted = true, .offset = offset, .epoch = 7});
        const bool kept = offset + 1 >= lane.recoverable_from() && offset <= 10;
        CHECK(at.recovered == kept);
        CHECK(at.seq == (kept ? offset + 1 : 11));
        CHECK((at.reason == nullptr) == kept);
        if (kept) continue;
        CHECK(std::string_view(at.reason) == (offset > 10 ? "unknown_offset" : "history"));
        CHECK(at.from == (offset > 10 ? 11 : offset + 1));
    }
    const Begin other = begin({.wanted = true, .offset = 9, .epoch = 8});
    CHECK(std::string_view(other.reason) == "new_epoch");
    CHECK(other.from == 1);
    CHECK(other.seq == 11);
}

TEST_CASE("resume: of a topic with keys, from there on, or the latest of each, or what is next") {
    Shelf shelf;
    feed::Lane lane(shelf.pool, 1, {.keys_max = 8, .bytes_max = 32 * 1024}, 1, shelf.sink);
    for (int i = 0; i < 10; i++) {
        const std::string key(1, static_cast<char>('a' + i % 4));
        shelf.fill(lane.reserve({.key = as_bytes(key), .size = 50}).bytes);
        static_cast<void>(lane.commit());
    }
    const auto begin = [&](const Resume& resume) { return begin_of(*shelf.topic, lane, resume); };
    CHECK(begin({}).snapshot);
    CHECK(begin({}).seq == 1);
    CHECK(begin({.snapshot = false}).seq == 11);
    CHECK_FALSE(begin({.snapshot = false}).snapshot);
    for (feed::Seq offset = 0; offset <= 10; offset++) {
        const Begin at = begin({.wanted = true, .offset = offset, .epoch = 7});
        CHECK(at.recovered);
        CHECK(at.seq == offset + 1);
    }
    // Where it cannot go on, as it wishes.
    lane.set_forgotten(5);
    CHECK(begin({.wanted = true, .offset = 5, .epoch = 7}).recovered);
    CHECK(begin({.wanted = true, .offset = 4, .epoch = 7}).snapshot);
    const Begin lost = begin({.wanted = true, .offset = 4, .epoch = 7, .snapshot = false});
    CHECK(std::string_view(lost.reason) == "history");
    CHECK(lost.from == 5);
    CHECK(lost.seq == 11);
    CHECK(begin({.wanted = true, .offset = 4, .epoch = 8}).snapshot);
    const Begin other = begin({.wanted = true, .offset = 4, .epoch = 8, .snapshot = false});
    CHECK(std::string_view(other.reason) == "new_epoch");
}
