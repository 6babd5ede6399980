#include "keyed_checker.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::tools;

namespace {

constexpr std::uint64_t before = 100;  // the topic's newest offset when all begin
constexpr std::uint32_t readers = 6;   // of which 0 to 3 are fast
constexpr std::uint32_t fast = 4;
constexpr std::uint32_t keys = 5;

struct Others final : KeyedChecker::Listener {
    void on_other(std::uint32_t id, const Frame&) noexcept override { seen[id]++; }
    std::map<std::uint32_t, int> seen;
};

// A server that numbers what is published, and what its readers get.
struct World {
    explicit World(std::size_t reference_size = std::size_t{2} << 20)
        : checker({.topic = "t",
                   .readers = readers,
                   .fast = fast,
                   .keys = keys,
                   .publishers = 2,
                   .payload_size = 40,
                   .reference_size = reference_size},
                  others),
          splitters(readers) {
        for (std::uint32_t id = 0; id < readers; id++) {
            checker.join(id, before);
        }
    }

    // One more record, at offset before + its number + 1.
    void publish() {
        const std::uint64_t seq = checker.published();
        const std::uint64_t offset = before + records.size() + 1;
        std::string text(checker.publish(1'000 * static_cast<Nanos>(seq)));
        const std::string_view published = R"({"type":"publish",)";
        REQUIRE(text.starts_with(published));
        text.replace(0,
                     published.size(),
                     R"({"type":"data_update","id":"","offset":)" + std::to_string(offset) + ",");
        records.push_back(frame_of(text));
    }
    void publish(std::uint64_t count) {
        for (; count > 0; count--) {
            publish();
        }
    }
    static std::string frame_of(std::string_view text) {
        std::string frame;
        append_server_frame(frame, Opcode::text, as_bytes(text));
        return frame;
    }
    bool feed(std::uint32_t id, std::string_view bytes, Nanos now = 1'000'000) {
        return checker.feed(id, splitters[id], as_bytes(bytes), now);
    }
    void deliver(std::uint32_t id, std::uint64_t offset) {
        REQUIRE(feed(id, records[offset - before - 1]));
    }
    void deliver_all(std::uint32_t id) {
        for (std::uint64_t i = 0; i < records.size(); i++) {
            deliver(id, before + 1 + i);
        }
    }
    // Whether a later record has the key of this one.
    [[nodiscard]] bool superseded(std::uint64_t index) const {
        for (std::uint64_t later = index + 1; later < records.size(); later++) {
            if (checker.key_of(later) == checker.key_of(index)) return true;
        }
        return false;
    }
    void give_up() {
        for (std::uint32_t id = 0; id < readers; id++) {
            checker.give_up(id);
        }
    }
    [[nodiscard]] KeyedCounts counts(bool slow = false) const { return checker.counts(slow); }

    Others others;
    KeyedChecker checker;
    std::vector<Splitter> splitters;
    std::vector<std::string> records;  // as frames
};

struct Row {
    const char* offence;
    void (*fault)(World& world);
    std::uint64_t KeyedCounts::*counter;
};
// Twenty records; reader 1 has the first two, and reader 0 has all.
const Row rows[] = {
    {"lost the newest of a key", [](World&) {}, &KeyedCounts::lost},
    {"lost the newest of a key",
     [](World& world) {  // all but the newest record of one key
         std::uint64_t hole = 18;
         while (world.superseded(hole)) {
             hole--;
         }
         for (std::uint64_t i = 2; i < 20; i++) {
             if (i != hole) world.deliver(1, before + 1 + i);
         }
     },
     &KeyedCounts::lost},
    {"duplicated", [](World& world) { world.deliver(1, 102); }, &KeyedCounts::duplicated},
    {"duplicated",
     [](World& world) {  // of an earlier run
         world.feed(1,
                    World::frame_of(R"({"type":"data_update","topic":"t","key":"a",)"
                                    R"("offset":7,"payload":1})"));
     },
     &KeyedCounts::duplicated},
    {"out of order",
     [](World& world) {
         world.deliver(1, 110);
         world.deliver(1, 105);
     },
     &KeyedCounts::reordered},
    {"a corrupt record",
     [](World& world) {
         std::string frame = world.records[2];
         frame[frame.size() - 4] ^= 1;
         world.feed(1, frame);
     },
     &KeyedCounts::wrong},
    {"a corrupt record",
     [](World& world) {
         std::string frame = world.records[2];
         frame[frame.find("key", frame.find("\"key\":") + 6) + 3] ^= 1;
         world.feed(1, frame);
     },
     &KeyedCounts::wrong},
    {"another record at the same offset",
     [](World& world) {
         std::string frame = world.records[3];
         frame[frame.find("104") + 2] = '3';
         world.feed(1, frame);
     },
     &KeyedCounts::wrong},
    {"another record at the same offset",
     [](World& world) {  // that there cannot be
         std::string frame = world.records[3];
         frame[frame.find("104")] = '9';
         world.feed(1, frame);
     },
     &KeyedCounts::wrong},
    {"no record of this topic",
     [](World& world) {
         std::string frame = world.records[2];
         frame[frame.find("\"topic\":\"t\"") + 9] = 'u';
         world.feed(1, frame);
     },
     &KeyedCounts::wrong},
    {"no frame", [](World& world) { CHECK_FALSE(world.feed(1, "\xff\xff")); }, &KeyedCounts::wrong},
    {"subscribed twice", [](World& world) { world.checker.join(1, before); }, &KeyedCounts::wrong},
};

}  // namespace

TEST_CASE("keyed checker: who gets everything, and who gets the latest of each key, is right") {
    World world;
    world.publish(200);
    for (std::uint32_t id = 0; id < fast; id++) {
        world.deliver_all(id);
    }
    for (std::uint32_t id = fast; id < readers; id++) {
        for (std::uint64_t i = 0; i < world.records.size(); i++) {
            if (!world.superseded(i)) world.deliver(id, before + 1 + i);
        }
    }
    world.give_up();
    CHECK(world.counts().sound());
    CHECK(world.counts(true).sound());
    CHECK(world.counts().delivered == 4 * 200);
    CHECK(world.counts().conflated == 0);
    CHECK(world.counts(true).delivered == 2 * keys);
    CHECK(world.counts(true).conflated == 2 * (200 - keys));
    CHECK(world.checker.misplaced() == 0);
    CHECK(world.checker.first_offence().empty());
    CHECK(world.checker.latency().count() == 4 * 200);
}

TEST_CASE("keyed checker: latency counts from the time an update should have left, of the fast") {
    World world;
    world.publish(3);  // due at 0, 1,000 and 2,000
    REQUIRE(world.feed(0, world.records[0], 5'000));
    REQUIRE(world.feed(1, world.records[0] + world.records[1] + world.records[2], 5'000));
    REQUIRE(world.feed(fast, world.records[0], 900'000));
    CHECK(world.checker.latency().count() == 4);
    CHECK(world.checker.latency().min() == 3'000);
    CHECK(world.checker.latency().max() == 5'000);
    world.checker.clear_figures();
    CHECK(world.checker.latency().count() == 0);
    CHECK(world.counts().delivered == 0);
}

TEST_CASE("keyed checker: every fault is found and counted where it belongs") {
    for (const Row& row : rows) {
        CAPTURE(row.offence);
        World world;
        world.publish(20);
        world.deliver_all(0);
        world.deliver(1, 101);
        world.deliver(1, 102);
        REQUIRE(world.counts().sound());
        row.fault(world);
        world.checker.give_up(0);
        world.checker.give_up(1);
        CHECK_FALSE(world.counts().sound());
        CHECK(world.counts().*row.counter > 0);
        CHECK(world.counts(true).sound());
        CHECK(world.checker.first_offence().starts_with(std::string(row.offence) +
                                                        ": connection 1 behind offset 1"));
    }
}

TEST_CASE("keyed checker: what is not in the topic, or twice, or in another order, is misplaced") {
    World missing;
    missing.publish(10);
    missing.records.pop_back();
    missing.deliver_all(0);
    CHECK(missing.checker.misplaced() == 1);
    missing.checker.give_up(0);
    CHECK(missing.counts().lost == 1);  // the newest of its key

    // Two messages of one publisher change places.
    World swapped;
    swapped.publish(10);
    std::uint64_t second = 1;
    while (swapped.checker.publisher_of(second) != swapped.checker.publisher_of(0)) {
        second++;
    }
    const auto number = [&](std::uint64_t seq, const char* offset) {
        std::string& frame = swapped.records[seq];
        frame.replace(frame.find("\"offset\":") + 9, 3, offset);
    };
    number(0, std::to_string(before + 1 + second).c_str());
    number(second, "101");
    std::swap(swapped.records[0], swapped.records[second]);
    swapped.deliver_all(0);
    CHECK(swapped.checker.misplaced() > 0);
    CHECK(swapped.checker.first_offence() == "misplaced: messages of a publisher");
}

TEST_CASE("keyed checker: one who begins anew is judged by what comes behind it") {
    World world;
    world.publish(50);
    world.deliver_all(0);
    world.deliver(fast, 101);
    world.checker.restart(fast);
    // The latest of a key that only earlier runs had, then those of ours.
    REQUIRE(world.feed(fast,
                       World::frame_of(R"({"type":"data_update","topic":"t","key":"old",)"
                                       R"("offset":7,"payload":1})")));
    for (std::uint64_t i = 0; i < 50; i++) {
        if (!world.superseded(i)) world.deliver(fast, before + 1 + i);
    }
    world.checker.give_up(fast);
    CHECK(world.counts(true).sound());
    CHECK(world.counts(true).restarts == 1);
}

// Readers of any speed, in reads of any size, with control frames in between: all are right, and
// those who keep up are never taken for conflated. The reference is so short that some lose it.
TEST_CASE("keyed checker: a random walk of right readers finds no fault") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        World world(4'096);
        const std::string ping = std::string("\x89\x01x", 3);
        struct Stream {
            std::uint64_t next = 0;  // record
            std::string bytes;       // of what was sent and is not read
        };
        std::vector<Stream> streams(readers);
        std::uint64_t conflated = 0;
        int pings = 0;
        for (int step = 0; step < 3'000; step++) {
            if (step < 2'500 && random.chance(1, 2)) world.publish(random.between(1, 4));
            const auto id = static_cast<std::uint32_t>(random.below(readers));
            Stream& stream = streams[id];
            if (random.chance(1, 20)) {
                stream.bytes += ping;
                pings++;
            }
            const bool skips = id >= fast && random.chance(1, 4);
            const std::uint64_t most = random.between(0, 8);
            for (std::uint64_t i = 0; i < most && stream.next < world.records.size(); i++) {
                if (skips && world.superseded(stream.next)) {
                    conflated++;
                } else {
                    stream.bytes += world.records[stream.next];
                }
                stream.next++;
            }
            const std::size_t count =
                std::min<std::size_t>(random.between(0, 2'000), stream.bytes.size());
            REQUIRE(world.feed(id, stream.bytes.substr(0, count)));
            stream.bytes.erase(0, count);
        }
        for (std::uint32_t id = 0; id < readers; id++) {
            for (; streams[id].next < world.records.size(); streams[id].next++) {
                streams[id].bytes += world.records[streams[id].next];
            }
            REQUIRE(world.feed(id, streams[id].bytes));
        }
        world.give_up();
        CHECK(world.checker.first_offence() == "");
        CHECK(world.counts().sound());
        CHECK(world.counts(true).sound());
        CHECK(world.counts().conflated == 0);
        CHECK(world.counts(true).conflated == conflated);
        CHECK(world.counts().delivered == fast * world.records.size());
        CHECK(world.counts(true).delivered + conflated == 2 * world.records.size());
        CHECK(world.checker.latency().count() == fast * world.records.size());
        int seen = 0;
        for (const auto& [id, count] : world.others.seen) {
            seen += count;
        }
        CHECK(seen == pings);
        CHECK(world.checker.misplaced() == 0);
    }
}

TEST_CASE("of payloads alone, offsets are the order of their publishing") {
    Others others;
    KeyedChecker checker(
        {.topic = "t", .readers = 3, .fast = 2, .keys = 2, .payload_size = 40, .raw = true},
        others);
    std::vector<Splitter> splitters(3);
    std::vector<std::string> frames;
    std::vector<std::string> updates;  // what the slow one gets
    for (std::uint32_t id = 0; id < 3; id++) {
        checker.join(id, 0);
    }
    for (int i = 0; i < 50; i++) {
        const std::string text(checker.publish(1));
        const std::size_t at = text.find(R"("payload":)") + 10;
        updates.push_back(World::frame_of(R"({"type":"data_update","offset":)" +
                                          std::to_string(i + 1) + text.substr(17)));
        frames.push_back(World::frame_of(text.substr(at, 42)));
    }
    const auto feed = [&](std::uint32_t id, std::string_view bytes) {
        return checker.feed(id, splitters[id], as_bytes(bytes), 2);
    };
    for (const std::string& frame : frames) {
        REQUIRE(feed(0, frame));
        REQUIRE(feed(1, frame.substr(0, 5)));
        REQUIRE(feed(1, frame.substr(5)));
    }
    for (std::size_t i = 1; i < 50; i += 2) {  // conflated, but has the end
        REQUIRE(feed(2, updates[i]));
    }
    CHECK(checker.counts(false).delivered == 100);
    CHECK(checker.counts(false).conflated == 0);
    CHECK(checker.counts(true).conflated == 25);
    CHECK(checker.offset(2) == 50);
    CHECK(checker.first_offence() == "");
    SUBCASE("twice") {
        REQUIRE(feed(0, frames[49]));
        CHECK(checker.counts(false).duplicated == 1);
    }
    SUBCASE("changed") {
        frames[49][20] ^= 1;
        REQUIRE(feed(1, frames[49]));
        CHECK(checker.counts(false).wrong == 1);
    }
    SUBCASE("out of order") {
        REQUIRE(feed(2, updates[4]));
        CHECK(checker.counts(true).reordered == 1);
    }
}
