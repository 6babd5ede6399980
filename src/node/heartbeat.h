#pragma once

// When a session needs its timer next, and what is due when it fires. Pure functions of the session
// and the tick: no clock, no effect but on the session's own fields.
//
// Any byte from the peer is life, and so is progress of our own sends: a peer that takes bytes is
// there, even when it has not got as far as our ping. Dead peers without a byte in either direction
// are found within interval + time-out + one tick of the shard's time (RFC 6455, 5.5.2 asks for no
// particular policy).
//
// Each session has a phase, drawn when it is made, and is pinged at ticks of that phase only: at
// the last one within an interval of silence, so after more than half an interval of it. Clients
// who spoke together (all of them after a restart, or in answer to one record) are thus not pinged
// together, and a client who does nothing but answer pings still has one an interval.

#include "base/time.h"
#include "base/wheel.h"
#include "node/session.h"

namespace ringcast::node {

constexpr Nanos tick_length = 10 * nanos_per_ms;

// Rounded up, so that nothing is ever early; at least one tick.
[[nodiscard]] constexpr Tick ticks_of(std::uint64_t nanos) noexcept {
    return static_cast<Tick>((nanos + static_cast<std::uint64_t>(tick_length) - 1) /
                             static_cast<std::uint64_t>(tick_length));
}

struct Timings {
    Tick ping_interval = 0;
    Tick pong_timeout = 0;
    Tick handshake_timeout = 0;
    Tick close_timeout = 0;
    Tick stall_timeout = 0;
};

enum class Due : std::uint8_t {
    nothing,          // not yet: look at next_due() again
    ping,             // send one; the session is marked as awaiting its pong
    pong_missing,     // close: the peer is dead
    stalled,          // close: its socket took no byte for too long
    deadline_passed,  // close: handshake or closing took too long
};

// The tick at which something may be due: behind `now`, unless it is overdue. `blocked`: the socket
// takes nothing at present. What is heard later only puts things off, so it need not be told here.
[[nodiscard]] Tick next_due(const Session& session,
                            bool blocked,
                            const Timings& timings,
                            Tick now) noexcept;

// What is due at `now`. On Due::ping the session's fields are already updated.
[[nodiscard]] Due look(Session& session, bool blocked, const Timings& timings, Tick now) noexcept;

}  // namespace ringcast::node
