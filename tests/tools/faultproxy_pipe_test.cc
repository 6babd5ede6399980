#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "faultproxy/pipe.h"

using namespace ringcast;
using namespace ringcast::faultproxy;

namespace {

constexpr Nanos ms = nanos_per_ms;

struct World {
    explicit World(std::uint64_t seed = 1) : pipe(seed), chance(seed + 1) {}

    void add(Kind kind, std::uint64_t a = 0, std::uint64_t b = 0) {
        pipe.apply({.kind = kind, .a = a, .b = b, .id = ++faults}, now);
    }
    void push(std::string_view text) { pipe.push(as_bytes(text), now); }

    // Moves all that may move at this moment.
    void pump() {
        for (;;) {
            const Pipe::Next next = pipe.next(now);
            at = next.at;
            if (next.end != End::open) {
                ended = next.end;
                if (next.end == End::finished) pipe.told();
                return;
            }
            if (next.bytes.empty()) return;
            writes.push_back(next.bytes.size());
            got += as_text(next.bytes);
            pipe.took(next.bytes.size(), now);
        }
    }
    // Lets time pass, moment by moment, as far as `end`.
    void run_until(Nanos end) {
        for (pump(); at <= end && ended == End::open; pump()) {
            REQUIRE(at > now);  // else a caller would spin
            now = at;
        }
        now = end;
    }

    Pipe pipe;
    Random chance;
    Nanos now = 1'000 * ms;
    std::uint32_t faults = 0;
    std::string got;
    std::vector<std::size_t> writes;
    End ended = End::open;
    Nanos at = 0;
};

}  // namespace

TEST_CASE("pipe: without faults everything passes at once, then the end") {
    World world;
    world.push("hello ");
    world.push("world");
    world.pump();
    CHECK(world.got == "hello world");
    CHECK(world.at == never);
    CHECK(world.ended == End::open);
    world.pipe.end(End::finished, world.now);
    CHECK(world.pipe.room() == 0);
    world.pump();
    CHECK(world.ended == End::finished);
    CHECK(world.pipe.over());
    CHECK(world.pipe.passed() == 11);
}

TEST_CASE("pipe: latency holds each piece for its time, and jitter never changes the order") {
    World world;
    world.add(Kind::latency, 50, 20);
    std::string sent;
    for (int i = 0; i < 200; i++) {
        const std::string text = std::to_string(i) + ",";
        world.push(text);
        sent += text;
        const Nanos pushed = world.now;
        world.run_until(pushed + 1 * ms);
        CHECK(world.got.size() < sent.size());  // 30 ms at least
    }
    world.run_until(world.now + 29 * ms);
    CHECK(world.got.size() < sent.size());
    world.pipe.end(End::finished, world.now);
    world.run_until(world.now + 140 * ms);  // the end too has its latency
    CHECK(world.got == sent);
    CHECK(world.ended == End::finished);
}

TEST_CASE("pipe: bandwidth is what comes out") {
    World world;
    world.add(Kind::bandwidth, 10'000);
    world.push(std::string(10'000, 'x'));
    const Nanos start = world.now;
    world.run_until(start + 500 * ms);
    CHECK(world.got.size() >= 4'900);
    CHECK(world.got.size() <= 5'200);
    world.run_until(start + 1'001 * ms);
    CHECK(world.got.size() == 10'000);
}

TEST_CASE("pipe: slices are as small as asked, to single bytes, with pauses between") {
    World world;
    world.add(Kind::slice, 1);
    world.push("single bytes");
    world.pump();
    CHECK(world.got == "single bytes");
    CHECK(world.writes == std::vector<std::size_t>(12, 1));

    World paused;
    paused.add(Kind::slice, 10, 1'000);
    paused.push(std::string(1'000, 'y'));
    paused.run_until(paused.now + 50 * ms);
    CHECK(paused.writes.size() == 51);
    for (const std::size_t size : paused.writes) {
        CHECK(size >= 1);
        CHECK(size <= 10);
    }
}

TEST_CASE("pipe: flips turn over about as many bits as asked, one a byte, and move nothing") {
    World world;
    world.add(Kind::flip, 100'000);
    const std::string sent(50'000, 'z');
    world.push(sent);
    world.pump();
    REQUIRE(world.got.size() == sent.size());
    int flipped = 0;
    for (std::size_t i = 0; i < sent.size(); i++) {
        const auto differing = static_cast<unsigned>(world.got[i] ^ sent[i]) & 0xff;
        CHECK((differing & (differing - 1)) == 0);
        flipped += differing != 0 ? 1 : 0;
    }
    CHECK(flipped > 4'500);
    CHECK(flipped < 5'500);
}

TEST_CASE("pipe: a black hole holds bytes and ends, is silent, and gives them back") {
    World world;
    world.push("before");
    world.pump();
    world.add(Kind::blackhole);
    world.push("behind");
    world.pump();
    CHECK(world.got == "before");
    CHECK(world.at == never);
    SUBCASE("in order, when it is lifted") {
        world.pipe.end(End::finished, world.now);
        world.run_until(world.now + 1'000 * ms);
        CHECK(world.got == "before");
        world.pipe.lift(1);
        world.pump();
        CHECK(world.got == "beforebehind");
        CHECK(world.ended == End::finished);
    }
    SUBCASE("a reset too is not heard before") {
        world.pipe.end(End::reset, world.now);
        world.run_until(world.now + 1'000 * ms);
        CHECK(world.ended == End::open);
        world.pipe.lift_all();
        world.pump();
        CHECK(world.ended == End::reset);
    }
}

TEST_CASE("pipe: a held pipe stops taking, at its capacity and at its count of pieces") {
    World world;
    world.add(Kind::blackhole);
    world.push(std::string(Pipe::capacity - 1, 'a'));
    CHECK(world.pipe.room() == 1);
    world.push("b");
    CHECK(world.pipe.room() == 0);

    World pieces;
    pieces.add(Kind::blackhole);
    std::size_t count = 0;
    while (pieces.pipe.room() > 0) {
        pieces.push("c");
        pieces.now++;
        count++;
    }
    CHECK(count == Pipe::chunks_max);
}

TEST_CASE("pipe: half and reset let so many bytes pass, not one more") {
    World world;
    world.add(Kind::half, 5);
    world.push("12345678");
    world.pump();
    CHECK(world.got == "12345");
    CHECK(world.ended == End::finished);
    CHECK(world.pipe.room() == Pipe::capacity);
    world.push("swallowed");
    world.pump();
    CHECK(world.got == "12345");
    CHECK_FALSE(world.pipe.over());
    world.pipe.end(End::finished, world.now);
    CHECK(world.pipe.over());

    World cut;
    cut.add(Kind::reset, 3);
    cut.push("12345678");
    cut.pump();
    CHECK(cut.got == "123");
    CHECK(cut.ended == End::reset);

    World at_once;
    at_once.add(Kind::reset);
    at_once.pump();
    CHECK(at_once.ended == End::reset);
}

TEST_CASE("pipe: a reset overtakes what the receiver does not take") {
    World world;
    world.push("unread");
    world.pipe.end(End::reset, world.now);
    world.pump();
    CHECK(world.got.empty());
    CHECK(world.ended == End::reset);
}

TEST_CASE("pipe: once the receiver is gone, everything is dropped") {
    World world;
    world.push("late");
    world.pipe.sink();
    world.push("later");
    world.pump();
    CHECK(world.got.empty());
    CHECK(world.pipe.size() == 0);
    CHECK_FALSE(world.pipe.over());
    world.pipe.end(End::finished, world.now);
    CHECK(world.pipe.over());
}

TEST_CASE("pipe: swizzle stops in its first half and goes on in its second") {
    for (std::uint64_t seed = 0; seed < 50; seed++) {
        CAPTURE(seed);
        World world(seed);
        const Nanos start = world.now;
        world.add(Kind::swizzle, 100);
        Nanos longest = 0;
        Nanos moved_at = start;
        while (world.now < start + 110 * ms) {
            world.push("t");
            const std::size_t before = world.got.size();
            world.pump();
            if (world.got.size() == before) {
                longest = std::max(longest, world.now - moved_at);
            } else {
                moved_at = world.now;
            }
            world.now += ms;
        }
        CHECK(world.got.size() == 110);
        CHECK(longest <= 100 * ms);
    }
}

TEST_CASE("pipe: whatever faults of time come and go, the stream is the stream") {
    for (std::uint64_t seed = 0; seed < 200; seed++) {
        CAPTURE(seed);
        World world(seed);
        Random& chance = world.chance;
        std::string sent;
        for (int step = 0; step < 300; step++) {
            switch (chance.below(8)) {
                case 0:
                    world.add(Kind::latency, chance.below(20), 0);
                    break;
                case 1:
                    world.add(Kind::bandwidth, chance.between(100, 100'000));
                    break;
                case 2:
                    world.add(Kind::slice, chance.between(1, 100), chance.below(100));
                    break;
                case 3:
                    world.add(chance.chance(1, 4) ? Kind::blackhole : Kind::swizzle, 20);
                    break;
                case 4:
                    world.pipe.lift(static_cast<std::uint32_t>(chance.below(world.faults + 1)));
                    break;
                default: {
                    const std::size_t size =
                        chance.below(std::min<std::size_t>(world.pipe.room() + 1, 300));
                    std::string text(size, '\0');
                    for (char& byte : text) {
                        byte = static_cast<char>(chance.below(256));
                    }
                    world.push(text);
                    sent += text;
                }
            }
            CHECK(world.pipe.size() == sent.size() - world.got.size());
            world.run_until(world.now + static_cast<Nanos>(chance.below(5'000'000)));
        }
        CHECK(sent.starts_with(world.got));
        world.pipe.lift_all();
        world.pipe.end(End::finished, world.now);
        world.run_until(world.now + 3'600'000 * ms);
        CHECK(world.got == sent);
        CHECK(world.ended == End::finished);
    }
}

TEST_CASE("pipe: the same seed makes the same choices") {
    const auto writes = [](std::uint64_t seed) {
        World world(seed);
        world.add(Kind::slice, 50, 10);
        world.add(Kind::latency, 30, 30);
        world.add(Kind::flip, 1'000);
        world.push(std::string(5'000, 'q'));
        world.run_until(world.now + 1'000 * ms);
        return std::pair(world.writes, world.got);
    };
    CHECK(writes(7) == writes(7));
    CHECK(writes(7) != writes(8));
}
