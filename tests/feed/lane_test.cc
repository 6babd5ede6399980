// Lanes against a model: for each lane all texts ever published, for each reader its place and
// whether it is owed anything. Several lanes share a small arena, so that they push each other out.
//
// Each step publishes, subscribes, leaves, or lets a reader take some bytes; the lane must show
// every reader exactly the bytes the model says, and may only move on by a tail that it saved or a
// gap that it shows (lapped). A failure prints the seed: run that seed again to see it again.

#include "feed/lane.h"

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/feed/support.h"

using namespace ringcast;
using feed::Lane;
using feed::Seq;
using feed::Slice;
using test::publish;
using test::random_text;
using test::WatchedArena;

namespace {

struct ModelReader {
    std::size_t lane = 0;
    std::uint32_t row = 0;
    Seq seq = 0;
    std::uint32_t sent = 0;
    bool here = false;
    bool leaving = false;
};

struct Settings {
    std::size_t pages = 16;
    std::size_t lanes = 3;
    std::size_t size_max = std::size_t{1} << 30;
    std::size_t record_max = 3000;
    std::uint64_t by_reference_one_in = 3;
    bool history = false;
    bool may_lose = true;
};

class World {
  public:
    World(std::uint64_t seed, const Settings& settings)
        : random_{seed}, settings_(settings), arena_(settings.pages), pool_(arena_.arena()) {
        for (std::size_t i = 0; i < settings.lanes; i++) {
            const Seq next = 1 + random_.below(3);
            lanes_.push_back(std::make_unique<Lane>(
                pool_,
                next,
                settings.size_max,
                feed::LaneSink{.save_tail = &World::save_tail, .context = this}));
            lanes_.back()->keep_history(settings.history);
            texts_.emplace_back(next);  // texts_[lane][seq]
            firsts_.push_back(next);
        }
    }

    void run(int steps) {
        for (int step = 0; step < steps; step++) {
            const std::uint64_t dice = random_.below(100);
            if (dice < 25) {
                publish_some();
            } else if (dice < 32) {
                join();
            } else if (dice < 35) {
                leave();
            } else if (dice < 36) {
                lanes_[random_.below(lanes_.size())]->release_if_drained();
            } else {
                take();
            }
            check();
        }
    }

    std::uint64_t tails = 0;
    std::uint64_t laps = 0;
    [[nodiscard]] std::uint64_t punched() const { return arena_.punched(); }
    [[nodiscard]] std::uint64_t evictions() const { return pool_.evictions(); }

  private:
    static void save_tail(void* context, feed::Reader reader, Bytes rest) noexcept {
        World& world = *static_cast<World*>(context);
        ModelReader& at = world.readers_[reader];
        REQUIRE(at.here);
        REQUIRE(at.sent > 0);
        REQUIRE(as_text(rest) == world.texts_[at.lane][at.seq].substr(at.sent));
        at.seq++;
        at.sent = 0;
        world.tails++;
    }

    void publish_some() {
        const std::size_t lane = random_.below(lanes_.size());
        std::size_t size = 1 + random_.below(60);
        if (random_.chance(1, 4)) size = 1 + random_.below(settings_.record_max);
        if (random_.chance(1, 60)) size = lanes_[lane]->log().record_size_max() - random_.below(3);
        if (!settings_.may_lose) size = 1 + random_.below(60);
        const std::string text = random_text(random_, size);
        texts_[lane].push_back(text);
        REQUIRE(publish(*lanes_[lane], text) == texts_[lane].size() - 1);
    }

    void join() {
        std::size_t slot = 0;
        while (slot < readers_.size() && readers_[slot].here)
            slot++;
        if (slot == 12) return;
        if (slot == readers_.size()) readers_.emplace_back();
        const std::size_t number = random_.below(lanes_.size());
        Lane& lane = *lanes_[number];
        const Seq from =
            lane.log().first() + random_.below(lane.log().next() - lane.log().first() + 1);
        const auto reader = static_cast<feed::Reader>(slot);
        const std::uint32_t row = lane.subscribe(reader, reader + 100, from);
        REQUIRE(row + 1 == lane.size());
        readers_[slot] = {.lane = number, .row = row, .seq = from, .here = true};
    }

    void leave() {
        if (readers_.empty()) return;
        ModelReader& at = readers_[random_.below(readers_.size())];
        if (!at.here) return;
        Lane& lane = *lanes_[at.lane];
        const std::uint64_t tails_before = tails;
        const bool inside = at.sent > 0;
        lane.unsubscribe(at.row);
        REQUIRE(tails - tails_before == (inside ? 1 : 0));
        at.here = false;
        if (at.row < lane.size()) readers_[lane.row(at.row).reader].row = at.row;
    }

    void take() {
        if (readers_.empty()) return;
        ModelReader& at = readers_[random_.below(readers_.size())];
        if (!at.here) return;
        Lane& lane = *lanes_[at.lane];
        if (lane.lapped(at.row)) {
            REQUIRE(lane.peek(at.row).bytes.empty());
            laps++;
            at.seq = random_.chance(1, 2) ? lane.log().first() : lane.log().next();
            lane.skip_to(at.row, at.seq);
        }
        const Slice slice = lane.peek(at.row);
        if (slice.bytes.empty()) {
            REQUIRE(at.seq == lane.log().next());
            return;
        }
        std::string want = texts_[at.lane][at.seq].substr(at.sent);
        for (Seq seq = at.seq + 1; seq < slice.end; seq++)
            want += texts_[at.lane][seq];
        REQUIRE(as_text(slice.bytes) == want);
        REQUIRE(slice.file_offset == slice.bytes.data() - arena_.arena().base);

        std::size_t taken = slice.bytes.size();
        if (!random_.chance(1, 3)) taken = random_.below(taken + 1);
        if (random_.chance(1, 3)) taken = std::min(taken, std::size_t{1} + random_.below(40));
        const bool by_reference = random_.chance(1, settings_.by_reference_one_in);
        if (by_reference) arena_.sent_by_reference(slice.bytes.first(taken));
        lane.advance(at.row, slice, taken, by_reference);
        std::size_t left = at.sent + taken;
        while (at.seq < slice.end && left >= texts_[at.lane][at.seq].size()) {
            left -= texts_[at.lane][at.seq].size();
            at.seq++;
        }
        at.sent = static_cast<std::uint32_t>(left);
    }

    void check() {
        REQUIRE(arena_.unchanged());
        std::vector<std::uint32_t> behind(lanes_.size());
        for (std::size_t i = 0; i < lanes_.size(); i++) {
            const feed::Log& log = lanes_[i]->log();
            REQUIRE(log.next() == texts_[i].size());
            const bool forward = firsts_[i] <= log.first() && log.first() <= log.next();
            REQUIRE(forward);
            firsts_[i] = log.first();
            const std::size_t single = feed::SegmentPool::rounded(log.record_size_max() + 4);
            REQUIRE(log.held_bytes() <= std::max(settings_.size_max, single));
        }
        for (std::size_t slot = 0; slot < readers_.size(); slot++) {
            const ModelReader& at = readers_[slot];
            if (!at.here) continue;
            const Lane& lane = *lanes_[at.lane];
            const feed::Subscriber& row = lane.row(at.row);
            const bool whose = row.reader == slot && row.link == slot + 100;
            REQUIRE(whose);
            const bool where = row.seq == at.seq && row.sent == at.sent;
            REQUIRE(where);
            const bool lapped = at.seq < lane.log().first();
            REQUIRE(lane.lapped(at.row) == lapped);
            const bool may_be_lapped = at.sent == 0 && settings_.may_lose;
            REQUIRE((!lapped || may_be_lapped));
            if (at.seq < lane.log().next()) behind[at.lane]++;
        }
        for (std::size_t i = 0; i < lanes_.size(); i++)
            REQUIRE(lanes_[i]->behind() == behind[i]);
    }

    Random random_;
    Settings settings_;
    WatchedArena arena_;
    feed::SegmentPool pool_;
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::vector<std::vector<std::string>> texts_;
    std::vector<Seq> firsts_;
    std::vector<ModelReader> readers_;
};

void ignore_tail(void*, feed::Reader, Bytes) noexcept {}

}  // namespace

TEST_CASE("lane: every reader sees exactly what was published, a saved tail, or a gap") {
    std::uint64_t tails = 0;
    std::uint64_t laps = 0;
    std::uint64_t punched = 0;
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        CAPTURE(seed);
        World world(seed, {.pages = std::size_t{8} << (seed % 3), .history = seed % 4 == 0});
        world.run(2000);
        tails += world.tails;
        laps += world.laps;
        punched += world.punched();
        CHECK(world.evictions() > 0);
    }
    CHECK(tails > 100);  // the walk must reach the interesting places
    CHECK(laps > 100);
    CHECK(punched > 100);
}

TEST_CASE("lane: a log keeps to its own limit, and a record larger than that still goes through") {
    std::uint64_t laps = 0;
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        World world(seed, {.pages = 256, .size_max = std::size_t{16384} << (seed % 3)});
        world.run(2000);
        laps += world.laps;
    }
    CHECK(laps > 10);
}

TEST_CASE("lane: where memory suffices nobody is ever lapped") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        World world(seed, {.pages = 2048, .history = seed % 2 == 0, .may_lose = false});
        world.run(2000);
        CHECK(world.laps == 0);
        CHECK(world.evictions() == 0);
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
    lane.keep_history(true);
    const std::uint32_t row = lane.subscribe(0, 0, 1);
    for (int i = 0; i < 100; i++) {
        publish(lane, "<" + std::to_string(i) + ">");
        const Slice slice = lane.peek(row);
        lane.advance(row, slice, slice.bytes.size(), i % 2 == 0);
    }
    CHECK(lane.behind() == 0);
    CHECK(lane.log().first() == 1);
    const std::uint32_t back = lane.subscribe(1, 0, 98);
    CHECK(lane.behind() == 1);
    CHECK(as_text(lane.peek(back).bytes) == "<97><98><99>");
    lane.skip_to(back, lane.log().next());
    lane.release_if_drained();
    CHECK(lane.log().first() == lane.log().next());
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
