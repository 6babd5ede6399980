#include "checker.h"

#include <deque>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::tools;

namespace {

constexpr std::size_t size = 40;

// A checker with some readers, and the frames that a right server would send.
struct World final : Checker::Listener {
    explicit World(std::size_t reader_count,
                   bool raw = true,
                   std::uint64_t slots = 16,
                   bool windowed = false)
        : payload_only(raw),
          checker({.topics = 1,
                   .payload_size = size,
                   .slots = slots,
                   .payload_only = raw,
                   .envelope = !raw,
                   .topic_prefix = "t.",
                   .windowed = windowed},
                  *this),
          readers(reader_count) {
        for (std::size_t i = 0; i < reader_count; i++) {
            readers[i].id = static_cast<std::uint32_t>(i);
            checker.join(readers[i]);
        }
    }

    void on_other(Reader& reader, const Frame& frame) noexcept override {
        others++;
        const std::string_view text = as_text(frame.payload);
        Gap gap;
        if (json_number(text, "from", gap.from) && json_number(text, "to", gap.to) &&
            json_number(text, "next", gap.next)) {
            checker.tell_gap(reader, gap);
        }
    }
    static std::string gap_frame(const Gap& gap) {
        std::string frame;
        append_server_frame(
            frame,
            Opcode::text,
            as_bytes(R"({"type":"gap","from":)" + std::to_string(gap.from) + R"(,"to":)" +
                     std::to_string(gap.to) + R"(,"next":)" + std::to_string(gap.next) + "}"));
        return frame;
    }

    void publish(Nanos at = 1'000) {
        const std::uint64_t seq = checker.next_seq(0);
        std::string payload(size, '\0');
        write_payload({.topic = 0, .seq = seq, .sent_at = at}, payload);
        std::string frame;
        if (payload_only) {
            append_server_frame(frame, Opcode::text, as_bytes(payload));
            checker.publish(0, at, as_bytes(frame));
        } else {
            const std::string text = R"({"type":"data_update","topic":"t.0","offset":)" +
                                     std::to_string(seq + offset_base) + R"(,"payload":")" +
                                     payload + "\"}";
            append_server_frame(frame, Opcode::text, as_bytes(text));
            checker.publish(0, at, {});
        }
        frames.push_back(frame);
    }

    bool feed(std::size_t reader, std::string_view bytes, Nanos now = 2'000) {
        return checker.feed(readers[reader], as_bytes(bytes), now);
    }
    const Counts& counts() const { return checker.counts(); }

    bool payload_only;
    std::uint64_t offset_base = 1;
    int others = 0;
    Checker checker;
    std::vector<Reader> readers;
    std::vector<std::string> frames;
};

}  // namespace

TEST_CASE("checker: everybody gets everything: all is delivered and nothing is owed") {
    for (const bool raw : {true, false}) {
        CAPTURE(raw);
        World world(3, raw);
        for (int i = 0; i < 10; i++) {
            world.publish();
            CHECK(world.checker.outstanding(0) == 1);
            for (std::size_t r = 0; r < 3; r++) {
                CHECK(world.feed(r, world.frames.back()));
            }
            CHECK(world.checker.outstanding(0) == 0);
        }
        CHECK(world.counts().delivered == 30);
        CHECK(world.counts().bytes == 30 * size);
        CHECK(world.checker.owed() == 0);
        CHECK(world.checker.latency().count() == 30);
        CHECK(world.checker.latency().max() == 1'000);
        CHECK(world.checker.first_offence().empty());
    }
}

TEST_CASE("checker: a message is outstanding until the last reader has it or is gone") {
    World world(3);
    world.publish();
    world.publish();
    world.feed(0, world.frames[0] + world.frames[1]);
    world.feed(1, world.frames[0]);
    CHECK(world.checker.outstanding(0) == 2);
    CHECK(world.checker.owed() == 3);
    world.checker.leave(world.readers[2]);
    CHECK(world.checker.outstanding(0) == 1);
    world.feed(1, world.frames[1]);
    CHECK(world.checker.outstanding(0) == 0);
    CHECK(world.checker.owed() == 0);
    CHECK(world.counts().lost == 0);
}

TEST_CASE("checker: planted faults are found, and named") {
    const struct {
        const char* what;
        std::vector<int> order;  // of five messages
        std::uint64_t delivered, lost, duplicated, reordered;
        const char* offence;
    } rows[] = {
        {"nothing", {0, 1, 2, 3, 4}, 5, 0, 0, 0, ""},
        {"loss", {0, 1, 3, 4}, 4, 1, 0, 0, "lost: connection 0, topic 0, message 2"},
        {"loss of two", {0, 3, 4}, 3, 2, 0, 0, "lost: connection 0, topic 0, message 1"},
        {"loss of the first", {1, 2, 3, 4}, 4, 1, 0, 0, "lost: connection 0, topic 0, message 0"},
        {"twice", {0, 1, 1, 2, 3, 4}, 5, 0, 1, 0, "duplicated: connection 0, topic 0, message 1"},
        {"twice, later",
         {0, 1, 2, 0, 3, 4},
         5,
         0,
         1,
         0,
         "duplicated: connection 0, topic 0, message 0"},
        {"swapped", {0, 2, 1, 3, 4}, 5, 0, 0, 1, "lost: connection 0, topic 0, message 1"},
        {"late, and twice",
         {0, 2, 3, 1, 1, 4},
         5,
         0,
         1,
         1,
         "lost: connection 0, topic 0, message 1"},
        {"backwards", {4, 3, 2, 1, 0}, 5, 0, 0, 4, "lost: connection 0, topic 0, message 0"},
    };
    for (const auto& row : rows) {
        for (const bool raw : {true, false}) {
            for (const bool known : {false, true}) {  // another reader has seen them before
                CAPTURE(row.what);
                CAPTURE(raw);
                CAPTURE(known);
                World world(2, raw);
                for (int i = 0; i < 5; i++) {
                    world.publish();
                    if (known) world.feed(1, world.frames.back());
                }
                std::string stream;
                for (const int i : row.order) {
                    stream += world.frames[static_cast<std::size_t>(i)];
                }
                CHECK(world.feed(0, stream));
                CHECK(world.counts().delivered == row.delivered + (known ? 5 : 0));
                CHECK(world.counts().lost == row.lost);
                CHECK(world.counts().duplicated == row.duplicated);
                CHECK(world.counts().reordered == row.reordered);
                CHECK(world.counts().corrupt == 0);
                CHECK(world.checker.first_offence() == row.offence);
                CHECK(world.checker.owed() == (known ? 0 : 5));
            }
        }
    }
}

TEST_CASE("checker: a change of any byte of a frame is noticed") {
    for (const bool raw : {true, false}) {
        World prototype(1, raw);
        prototype.publish();
        const std::size_t payload_at = prototype.frames[0].find("rc1");
        for (std::size_t i = 0; i < size; i++) {
            CAPTURE(raw);
            CAPTURE(i);
            World world(1, raw);
            world.publish();
            world.publish();
            std::string stream = world.frames[0] + world.frames[1];
            stream[payload_at + i] ^= 1;
            world.feed(0, stream);
            // Without its magic, a message in an envelope is a message of another kind: then the
            // one behind it shows that one is missing.
            const bool hidden = !raw && i < 3;
            CHECK(world.counts().corrupt == (hidden ? 0 : 1));
            CHECK(world.counts().lost == 1);
            CHECK(world.counts().delivered == 1);
        }
    }
}

TEST_CASE("checker: a stamp that was never given out is corrupt") {
    World world(1);
    world.publish();
    std::string forged(size, '\0');
    write_payload({.topic = 0, .seq = 0, .sent_at = 999}, forged);  // sound, but not what was sent
    std::string frame;
    append_server_frame(frame, Opcode::text, as_bytes(forged));
    world.feed(0, frame);
    CHECK(world.counts().corrupt == 1);
    write_payload({.topic = 0, .seq = 1, .sent_at = 1'000}, forged);  // from the future
    frame.clear();
    append_server_frame(frame, Opcode::text, as_bytes(forged));
    world.feed(0, frame);
    CHECK(world.counts().corrupt == 2);
    write_payload({.topic = 1, .seq = 0, .sent_at = 1'000}, forged);  // of another topic
    frame.clear();
    append_server_frame(frame, Opcode::text, as_bytes(forged));
    world.feed(0, frame);
    CHECK(world.counts().corrupt == 3);
    CHECK(world.counts().delivered == 0);
}

TEST_CASE("checker: bytes that are no frame end the stream") {
    World world(1);
    world.publish();
    CHECK_FALSE(world.feed(0, "\xff\xff\xff\xff"));
    CHECK(world.counts().corrupt == 1);
}

TEST_CASE("checker: what nobody gets is given up as lost") {
    World world(2);
    world.publish();
    world.publish();
    world.feed(0, world.frames[0]);
    world.checker.give_up(world.readers[0]);
    world.checker.give_up(world.readers[1]);
    CHECK(world.counts().lost == 3);
    CHECK(world.checker.owed() == 0);
    CHECK(world.checker.outstanding(0) == 0);
}

TEST_CASE("checker: gaps that the server told are no losses, others stay losses") {
    World world(1, false);
    for (int i = 0; i < 10; i++) {
        world.publish();
    }
    const std::string gap = World::gap_frame({.from = 2, .to = 4, .next = 5});
    world.feed(0, world.frames[0] + gap + world.frames[4] + world.frames[7]);
    CHECK(world.others == 1);
    CHECK(world.counts().told == 3);  // 1 to 3
    CHECK(world.counts().lost == 2);  // 5 and 6
    CHECK(world.checker.first_offence() == "lost: connection 0, topic 0, message 5");
}

TEST_CASE("checker: a gap that tells less than is missing leaves the rest lost") {
    World world(1, false);
    for (int i = 0; i < 10; i++) {
        world.publish();
    }
    const std::string gap = World::gap_frame({.from = 2, .to = 3, .next = 4});
    world.feed(0, world.frames[0] + gap + world.frames[8]);
    CHECK(world.counts().told == 2);  // 1 and 2
    CHECK(world.counts().lost == 5);  // 3 to 7
}

TEST_CASE("checker: a gap told before any offset was seen, or after the last message, counts") {
    for (const bool offset_seen : {true, false}) {
        CAPTURE(offset_seen);
        World world(2, false);
        for (int i = 0; i < 10; i++) {
            world.publish();
        }
        if (offset_seen) world.feed(1, world.frames[0]);
        world.feed(0, World::gap_frame({.from = 1, .to = 4, .next = 5}));
        world.feed(0, World::gap_frame({.from = 5, .to = 10, .next = 11}));
        CHECK(world.counts().told == (offset_seen ? 10 : 0));
        if (!offset_seen) world.feed(1, world.frames[0]);
        world.checker.give_up(world.readers[0]);
        CHECK(world.counts().told == 10);
        CHECK(world.counts().lost == 0);
        CHECK(world.checker.owed() == 9);  // to the other one
    }
}

TEST_CASE("checker: of a gap only what fits with what came is believed") {
    const struct {
        const char* what;
        Gap gap;
        std::uint64_t told, lost, corrupt;
    } rows[] = {
        // 1 and 2 came, then the gap, then 6
        {"right", {3, 5, 6}, 3, 0, 0},
        {"begins too late", {4, 5, 6}, 2, 1, 0},
        {"begins with what came", {2, 5, 6}, 3, 0, 1},
        {"is nothing but what came", {1, 2, 3}, 0, 3, 1},
        {"goes on behind a hole", {3, 4, 6}, 2, 1, 1},
        {"is empty", {3, 2, 3}, 0, 3, 1},
        {"reaches what was never published", {3, 11, 12}, 0, 3, 1},
        {"has no numbers", {0, 0, 0}, 0, 3, 1},
        {"has wild numbers", {UINT64_MAX, UINT64_MAX, 0}, 0, 3, 1},
    };
    for (const auto& row : rows) {
        CAPTURE(row.what);
        World world(1, false);
        for (int i = 0; i < 10; i++) {
            world.publish();
        }
        const std::string start = world.frames[0] + world.frames[1];
        world.feed(0, start + World::gap_frame(row.gap) + world.frames[5]);
        CHECK(world.counts().told == row.told);
        CHECK(world.counts().lost == row.lost);
        CHECK(world.counts().corrupt == row.corrupt);
        CHECK(world.counts().delivered == 3);
        CHECK(world.checker.owed() == 4);
    }
}

TEST_CASE("checker: offsets and topics of envelopes are held to what the first one said") {
    const struct {
        const char* what;
        const char* from;
        const char* to;
    } rows[] = {
        {"an offset ahead", "\"offset\":2", "\"offset\":3"},
        {"an offset again", "\"offset\":2", "\"offset\":1"},
        {"no offset", "\"offset\":2", "\"onset\":22"},
        {"another topic", "t.0", "t.1"},
        {"no topic", "topic", "tonic"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.what);
        World world(1, false);
        for (int i = 0; i < 3; i++) {
            world.publish();
        }
        std::string& second = world.frames[1];
        const std::string from = row.from;
        second.replace(second.find(from), from.size(), row.to);
        world.feed(0, world.frames[0] + second + world.frames[2]);
        CHECK(world.counts().corrupt == 1);
        CHECK(world.counts().lost == 1);
        CHECK(world.counts().delivered == 2);
    }
}

TEST_CASE("checker: where a subscription begins tells where the offsets do") {
    World world(2, false);
    world.checker.tell_start(world.readers[0], 0);
    CHECK(world.counts().corrupt == 0);
    world.checker.tell_start(world.readers[1], 3);
    CHECK(world.counts().corrupt == 1);
    world.publish();
    world.publish();
    world.feed(0, World::gap_frame({.from = 1, .to = 1, .next = 2}) + world.frames[1]);
    CHECK(world.counts().told == 1);
    CHECK(world.counts().lost == 0);
}

TEST_CASE("checker: text is text, binary is binary, and a message is one frame") {
    for (const bool raw : {true, false}) {
        for (const char first : {'\x82', '\x01', '\x02', '\x80', '\x00'}) {
            CAPTURE(raw);
            CAPTURE(first);
            World world(1, raw);
            world.publish();
            world.publish();
            std::string wrong = world.frames[0];
            wrong[0] = first;
            CHECK(world.feed(0, wrong + world.frames[1]));
            CHECK(world.counts().corrupt == 1);
            CHECK(world.counts().lost == 1);
            CHECK(world.others == 0);
        }
    }
    World world(1, false);
    std::string chatter;
    append_server_frame(chatter, Opcode::binary, as_bytes("hello"));
    world.feed(0, chatter);
    CHECK(world.counts().corrupt == 1);
}

TEST_CASE("checker: faults of the warm-up are not forgotten, and late ones count once") {
    World world(1);
    for (int i = 0; i < 3; i++) {
        world.publish();
    }
    world.feed(0, world.frames[1]);
    world.checker.clear_figures();
    CHECK(world.counts().lost == 1);
    CHECK(world.counts().delivered == 0);
    world.feed(0, world.frames[0] + world.frames[2]);
    CHECK(world.counts().lost == 0);
    CHECK(world.counts().reordered == 1);
}

TEST_CASE("checker: control frames between messages, and inside reads, disturb nothing") {
    World world(1);
    std::string ping;
    append_server_frame(ping, Opcode::ping, as_bytes("hello"));
    std::string stream;
    for (int i = 0; i < 5; i++) {
        world.publish();
        stream += world.frames.back() + ping;
    }
    for (const char c : stream) {
        CHECK(world.feed(0, std::string_view(&c, 1)));
    }
    CHECK(world.others == 5);
    CHECK(world.counts().delivered == 5);
    CHECK(world.checker.first_offence().empty());
}

TEST_CASE("checker: slow readers are judged, but nobody waits for them") {
    World world(0);
    Reader slow;
    slow.slow = true;
    slow.id = 9;
    world.checker.join(slow);
    for (int i = 0; i < 40; i++) {  // further than the references reach back
        world.publish();
        CHECK(world.checker.outstanding(0) == 0);
    }
    std::string stream;
    for (std::size_t i = 0; i < 40; i++) {
        if (i != 5) stream += world.frames[i];
    }
    CHECK(world.checker.feed(slow, as_bytes(stream), 5'000));
    CHECK(world.counts().delivered == 39);
    CHECK(world.counts().lost == 1);
    CHECK(world.counts().corrupt == 0);
}

// A server that loses, repeats, delays and garbles at random, against a plain model of what the
// counts must be; streams arrive in random pieces and interleaved.
TEST_CASE("checker: a random walk agrees with a plain model") {
    for (std::uint64_t seed = 1; seed <= 200; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const bool raw = random.chance(1, 2);
        const bool windowed = random.chance(1, 2);
        World world(4, raw, 8, windowed);
        Counts model;
        std::vector<std::string> streams(4);
        std::vector<std::uint64_t> expected(4);
        const bool faults = random.chance(3, 4);
        for (int i = 0; i < 60; i++) {
            world.publish(1'000 + i / 3);
            const std::uint64_t seq = world.frames.size() - 1;
            for (std::size_t r = 0; r < 4; r++) {
                const std::uint64_t fault = faults ? random.below(20) : 99;
                std::string frame = world.frames.back();
                if (fault == 0) continue;  // lost, if something comes behind it
                if (fault == 1) {
                    frame[frame.find("rc1") + 3 + random.below(size - 3)] ^= 0x40;
                    model.corrupt++;
                    streams[r] += frame;
                    continue;
                }
                model.lost += seq - expected[r];
                expected[r] = seq + 1;
                model.delivered++;
                streams[r] += frame;
                if (fault == 2) {
                    streams[r] += frame;
                    model.duplicated++;
                }
            }
            for (std::size_t r = 0; r < 4; r++) {
                if (random.chance(1, 3) && !windowed) continue;
                // With a window nobody falls behind further than it; 8 messages here.
                const bool all = windowed && i % 4 == 3;
                const std::size_t count =
                    all ? streams[r].size() : random.below(streams[r].size() + 1);
                REQUIRE(world.feed(r, streams[r].substr(0, count)));
                streams[r].erase(0, count);
            }
        }
        for (std::size_t r = 0; r < 4; r++) {
            REQUIRE(world.feed(r, streams[r]));
            world.checker.give_up(world.readers[r]);
            model.lost += world.frames.size() - expected[r];
        }
        CHECK(world.counts().delivered == model.delivered);
        CHECK(world.counts().lost == model.lost);
        CHECK(world.counts().duplicated == model.duplicated);
        CHECK(world.counts().corrupt == model.corrupt);
        CHECK(world.counts().reordered == 0);
        CHECK(world.checker.owed() == 0);
        CHECK(world.checker.outstanding(0) == 0);
        CHECK(world.checker.latency().count() == model.delivered);
    }
}

TEST_CASE("checker: numbers are found in JSON by their name") {
    std::uint64_t value = 0;
    CHECK(json_number(R"({"a": 1, "offset" : 42})", "offset", value));
    CHECK(value == 42);
    CHECK_FALSE(json_number(R"({"offset":"7"})", "offset", value));
    CHECK_FALSE(json_number(R"({"of":7})", "offset", value));
    CHECK_FALSE(json_number(R"("offset")", "offset", value));
    CHECK_FALSE(json_number(R"("offset":)", "offset", value));
    std::string_view word;
    CHECK(json_true(R"({"a":false,"b": true})", "b"));
    CHECK_FALSE(json_true(R"({"a":false,"b": true})", "a"));
    CHECK_FALSE(json_true(R"({"a":false,"b":)", "b"));
    CHECK_FALSE(json_true(R"({"a":false})", "b"));
    CHECK(json_word(R"({"a": "b", "topic" : "x y"})", "topic", word));
    CHECK(word == "x y");
    CHECK_FALSE(json_word(R"({"topic": 7})", "topic", word));
    CHECK_FALSE(json_word(R"({"topic": "a\"b"})", "topic", word));
    CHECK_FALSE(json_word(R"({"topic": "open)", "topic", word));
}

TEST_CASE("checker: who joins under traffic is owed what lies behind its offset") {
    World world(1, false);
    world.publish();  // 0 to 2
    world.publish();
    world.publish();
    Reader late;
    late.id = 7;
    late.slow = true;  // it never was in
    world.checker.take_out(late);
    CHECK(Checker::out(late));
    CHECK(world.checker.owed() == 3);
    world.feed(0, world.frames[0]);                      // teaches the numbering
    world.checker.join_behind(late, world.offset_base);  // behind 0: it gets 1 and 2
    CHECK_FALSE(Checker::out(late));
    CHECK(world.checker.owed() == 4);
    SUBCASE("and gets it") {
        for (std::size_t seq = 1; seq < 3; seq++) {
            CHECK(world.checker.feed(late, as_bytes(world.frames[seq]), 2'000));
            world.feed(0, world.frames[seq]);
        }
        CHECK(world.checker.owed() == 0);
        CHECK(world.checker.outstanding(0) == 0);
        CHECK(world.checker.counts().lost == 0);
        CHECK(world.checker.counts().delivered == 5);
    }
    SUBCASE("and misses the first of it") {
        CHECK(world.checker.feed(late, as_bytes(world.frames[2]), 2'000));
        CHECK(world.checker.counts().lost == 1);
    }
    SUBCASE("and gets one from before it") {
        CHECK(world.checker.feed(late, as_bytes(world.frames[0]), 2'000));
        CHECK(world.checker.counts().duplicated == 1);
    }
    SUBCASE("and goes again: nothing is owed to it, and nothing was lost") {
        world.checker.take_out(late);
        CHECK(world.checker.owed() == 2);
        world.checker.give_up(late);
        CHECK(world.checker.counts().lost == 0);
    }
}

TEST_CASE("checker: the first answer to a subscription teaches the numbering") {
    World world(0, false);
    Reader first;
    first.slow = true;
    world.checker.take_out(first);
    world.checker.join_behind(first, world.offset_base - 1);
    world.publish();
    Reader second;
    second.id = 1;
    second.slow = true;
    world.checker.take_out(second);
    world.checker.join_behind(second, world.offset_base - 1);
    CHECK(world.checker.owed() == 2);
    Reader liar;
    liar.id = 2;
    liar.slow = true;
    world.checker.take_out(liar);
    world.checker.join_behind(liar, world.offset_base + 1);  // behind what was never published
    CHECK(world.checker.counts().corrupt == 1);
    world.checker.join_behind(liar, world.offset_base);
    CHECK(world.checker.counts().corrupt == 2);
    CHECK(world.checker.first_offence().find("no such message") != std::string::npos);
}
