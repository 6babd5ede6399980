// The outbox against a string.

#include "feed/outbox.h"

#include <string>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/feed/support.h"

using namespace ringcast;
using feed::Outbox;
using test::random_text;

TEST_CASE("outbox: bytes leave in order, the rest of a record first, and the limit holds") {
    std::uint64_t refused = 0;
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        CAPTURE(seed);
        Random random{seed};
        Outbox outbox;
        std::string front;  // what push_front() put there, then what push() did
        std::string frames;
        const std::size_t size_max = 64 + random.below(4000);
        for (int step = 0; step < 1000; step++) {
            const std::uint64_t dice = random.below(10);
            if (dice < 4) {
                const std::string frame = random_text(random, 1 + random.below(300));
                const bool fits = frames.size() + frame.size() <= size_max;
                REQUIRE(outbox.push(as_bytes(frame), size_max) == fits);
                if (fits) frames += frame;
                refused += fits ? 0 : 1;
            } else if (dice == 4 && front.empty()) {
                const std::string rest = random_text(random, 1 + random.below(3000));
                outbox.push_front(as_bytes(rest));
                front = rest;
            } else {
                const std::size_t size = random.below(outbox.pending().size() + 1);
                outbox.consume(random.chance(1, 8) ? outbox.pending().size() : size);
                const std::size_t gone = front.size() + frames.size() - outbox.pending().size();
                const std::size_t of_front = std::min(gone, front.size());
                front.erase(0, of_front);
                frames.erase(0, gone - of_front);
            }
            REQUIRE(as_text(outbox.pending()) == front + frames);
            REQUIRE(outbox.empty() == (front + frames).empty());
            if (outbox.empty()) REQUIRE(outbox.held_bytes() == 0);
            REQUIRE(outbox.held_bytes() <= 2 * (size_max + 3000) + 128);
        }
    }
    CHECK(refused > 100);  // the walk must reach the interesting places
}

TEST_CASE("outbox: a small frame holds 128 bytes, an empty outbox none") {
    Outbox outbox;
    CHECK(outbox.held_bytes() == 0);
    CHECK(outbox.pending().empty());
    REQUIRE(outbox.push(as_bytes("pong"), 16));
    CHECK(outbox.held_bytes() == 128);
    outbox.consume(4);
    CHECK(outbox.held_bytes() == 0);
    REQUIRE(outbox.push(as_bytes("pong"), 16));
    outbox.clear();
    CHECK(outbox.empty());
}

TEST_CASE("outbox: a large rest does not use up the limit for frames") {
    Outbox outbox;
    outbox.push_front(as_bytes(std::string(100000, 'r')));
    CHECK(outbox.push(as_bytes("0123456789"), 10));
    CHECK_FALSE(outbox.push(as_bytes("x"), 10));
    outbox.consume(100001);
    CHECK(as_text(outbox.pending()) == "123456789");
    CHECK(outbox.push(as_bytes("x"), 10));
}
