#include "node/heartbeat.h"

#include <doctest/doctest.h>

#include "ringcast/config.h"

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::node;

namespace {

constexpr Timings timings{.ping_interval = 250,
                          .pong_timeout = 100,
                          .handshake_timeout = 1000,
                          .close_timeout = 500,
                          .stall_timeout = 300};

struct Row {
    const char* name;
    State state;
    Tick heard;
    bool awaiting_pong;
    Tick pinged;
    std::uint8_t pauses;
    bool blocked;
    Tick blocked_since;
    Tick deadline;
    Tick now;
    Due due;
};

// Everything relative to a moment 0, which the test moves about.
constexpr Row rows[] = {
    {"accepted, before the deadline",
     State::accepted,
     0,
     false,
     0,
     0,
     false,
     0,
     1000,
     999,
     Due::nothing},
    {"accepted, at the deadline",
     State::accepted,
     0,
     false,
     0,
     0,
     false,
     0,
     1000,
     1000,
     Due::deadline_passed},
    {"handshaking, life does not help",
     State::handshaking,
     999,
     false,
     0,
     0,
     false,
     0,
     1000,
     1000,
     Due::deadline_passed},
    {"closing, before", State::closing, 0, false, 0, 0, false, 0, 500, 499, Due::nothing},
    {"closing, at", State::closing, 0, false, 0, 0, false, 0, 500, 500, Due::deadline_passed},
    {"closing, a stall is not looked at",
     State::closing,
     0,
     false,
     0,
     0,
     true,
     0,
     500,
     400,
     Due::nothing},
    {"open, silent for less than an interval",
     State::open,
     0,
     false,
     0,
     0,
     false,
     0,
     0,
     249,
     Due::nothing},
    {"open, silent for an interval", State::open, 0, false, 0, 0, false, 0, 0, 250, Due::ping},
    {"open, late look", State::open, 0, false, 0, 0, false, 0, 0, 90'000, Due::ping},
    {"pinged, pong may still come", State::open, 0, true, 250, 0, false, 0, 0, 349, Due::nothing},
    {"pinged, no pong", State::open, 0, true, 250, 0, false, 0, 0, 350, Due::pong_missing},
    {"pinged, and heard since", State::open, 251, true, 250, 0, false, 0, 0, 350, Due::nothing},
    {"pinged, and heard in that tick",
     State::open,
     250,
     true,
     250,
     0,
     false,
     0,
     0,
     350,
     Due::nothing},
    {"pinged, heard long ago", State::open, 251, true, 250, 0, false, 0, 0, 501, Due::ping},
    {"pinged, but not read from",
     State::open,
     0,
     true,
     250,
     pause::credit,
     false,
     0,
     0,
     350,
     Due::nothing},
    {"blocked, not long", State::open, 250, false, 0, 0, true, 0, 0, 299, Due::nothing},
    {"blocked, too long", State::open, 250, false, 0, 0, true, 0, 0, 300, Due::stalled},
    {"blocked too long, though it talks",
     State::open,
     300,
     false,
     0,
     0,
     true,
     0,
     0,
     300,
     Due::stalled},
    {"blocked and not read from",
     State::open,
     0,
     false,
     0,
     pause::outbox,
     true,
     0,
     0,
     300,
     Due::stalled},
};

// A peer is heard at random moments; it is looked at when next_due() says.
void walk(std::uint64_t seed, Tick origin, const Timings& given) {
    CAPTURE(seed);
    CAPTURE(given.pong_timeout);
    Random random(seed);
    Session session;
    session.state = State::open;
    session.heard = origin;
    session.phase = origin - static_cast<Tick>(random.below(given.ping_interval));
    Tick last_heard = origin;
    Tick pinged = origin;
    bool waiting = false;
    const bool dies = random.chance(1, 2);
    const Tick silence = dies ? static_cast<Tick>(random.below(2000)) : 5000;
    Tick age = 0;
    Tick due = next_due(session, false, given, origin);
    for (; age < 5000; age++) {
        const Tick now = origin + age;
        if (age < silence && random.chance(1, 80)) {
            session.heard = now;
            last_heard = now;
        }
        if (due != now) continue;
        const Due found = look(session, false, given, now);
        if (found == Due::ping) {
            CHECK(now - last_heard > given.ping_interval / 2);  // never early
            CHECK(now - last_heard <= given.ping_interval);     // never late
            pinged = now;
            waiting = true;
        } else if (found == Due::pong_missing) {
            REQUIRE(waiting);
            CHECK(now - pinged >= given.pong_timeout);
            CHECK(static_cast<std::int32_t>(last_heard - pinged) < 0);
            CHECK(now - last_heard <= given.ping_interval + given.pong_timeout + 1);
            return;
        }
        due = next_due(session, false, given, now);
        REQUIRE(static_cast<std::int32_t>(due - now) > 0);
    }
    CHECK(!dies);  // or it would have been found
}

}  // namespace

TEST_CASE("heartbeat: what is due in each state, wherever the clock stands") {
    for (const Tick origin : {Tick{0},
                              Tick{12345},
                              Tick{UINT32_MAX - 120},
                              Tick{UINT32_MAX - 270},
                              Tick{UINT32_MAX - 340},
                              Tick{UINT32_MAX}}) {
        for (const Row& row : rows) {
            CAPTURE(origin);
            CAPTURE(row.name);
            Session session;
            session.state = row.state;
            session.heard = origin + row.heard;
            session.phase = origin;
            session.awaiting_pong = row.awaiting_pong;
            session.pinged = origin + row.pinged;
            session.pauses = row.pauses;
            session.blocked = origin + row.blocked_since;
            session.deadline = origin + row.deadline;
            CHECK(look(session, row.blocked, timings, origin + row.now) == row.due);
            if (row.due == Due::ping) {
                const bool awaiting = session.awaiting_pong;
                CHECK(awaiting);
                CHECK(session.pinged == origin + row.now);
            }
        }
    }
}

TEST_CASE("heartbeat: the timer is set to the earliest that may be due") {
    Session session;
    session.state = State::open;
    session.heard = UINT32_MAX - 100;
    session.phase = session.heard;
    CHECK(next_due(session, false, timings, UINT32_MAX - 40) == Tick{149});
    session.blocked = UINT32_MAX - 200;
    CHECK(next_due(session, true, timings, UINT32_MAX - 40) == Tick{99});
    session.awaiting_pong = true;
    session.pinged = 24;  // a tick of its phase
    CHECK(next_due(session, false, timings, 24) == Tick{124});
    CHECK(next_due(session, true, timings, 24) == Tick{99});
    Timings patient = timings;
    patient.pong_timeout = 900;
    CHECK(next_due(session, false, patient, 24) == Tick{149});
    CHECK(next_due(session, false, patient, 920) == Tick{924});
    session.bounded = true;  // its token ends
    session.deadline = 60;
    CHECK(next_due(session, true, timings, 24) == Tick{60});
    session.deadline = 400;
    CHECK(next_due(session, true, timings, 24) == Tick{99});
    session.state = State::closing;
    session.deadline = 7;
    CHECK(next_due(session, true, timings, UINT32_MAX - 40) == Tick{7});
}

TEST_CASE("heartbeat: who sent FIN while open has a deadline, and nothing else") {
    Session session;
    session.state = State::open;
    session.peer_closed = true;
    session.deadline = 2000;
    for (const bool blocked : {false, true}) {
        CHECK(next_due(session, blocked, timings, 100) == 2000);
        CHECK(look(session, blocked, timings, 1999) == Due::nothing);
        CHECK(look(session, blocked, timings, 2000) == Due::deadline_passed);
    }
}

TEST_CASE("heartbeat: the ping is the last of its phase within an interval of silence") {
    struct Step {
        Tick phase;
        Tick heard;
        Tick due;
    };
    // Pings may be due at phase, phase + 125, phase + 250, ...
    constexpr Step steps[] = {
        {0, 0, 250},
        {0, 1, 250},
        {0, 124, 250},
        {0, 125, 375},
        {7, 124, 257},
        {7, 132, 382},
        {7, 131, 257},
        {1'000, 1'001, 1'250},
    };
    for (const Tick origin : {Tick{0}, Tick{UINT32_MAX - 130}, Tick{UINT32_MAX - 1'100}}) {
        for (const Step& step : steps) {
            CAPTURE(origin);
            CAPTURE(step.phase);
            CAPTURE(step.heard);
            Session session;
            session.state = State::open;
            session.phase = origin + step.phase;
            session.heard = origin + step.heard;
            CHECK(next_due(session, false, timings, session.heard) == origin + step.due);
        }
    }
    Session session;
    session.state = State::open;
    constexpr Timings shortest{.ping_interval = 1, .pong_timeout = 1};
    CHECK(next_due(session, false, shortest, 0) == 1);
}

TEST_CASE("heartbeat: a live peer is never closed, a dead one is found in time") {
    for (std::uint64_t seed = 1; seed <= 200; seed++) {
        const auto origin = static_cast<Tick>(seed % 2 == 0 ? 0 : UINT32_MAX - seed * 20);
        walk(seed, origin, timings);
        // An answer that comes at once is no reason to sleep until the time-out.
        Timings patient = timings;
        patient.pong_timeout = 900;
        walk(seed, origin, patient);
    }
}

TEST_CASE("heartbeat: spans become ticks that are never too short") {
    CHECK(ticks_of(1) == 1);
    CHECK(ticks_of(10'000'000) == 1);
    CHECK(ticks_of(10'000'001) == 2);
    CHECK(ticks_of(25 * units::s) == 2500);
    CHECK(ticks_of(units::hour) == 360'000);
}
