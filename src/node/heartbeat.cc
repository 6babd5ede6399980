#include "node/heartbeat.h"

#include <algorithm>

#include "base/check.h"
#include "base/plant.h"

namespace ringcast::node {

namespace {

// a is before b on a clock of 32 bits that wraps.
[[nodiscard]] bool before(Tick a, Tick b) noexcept {
    return static_cast<std::int32_t>(a - b) < 0;
}

// From one tick of a phase to the next: twice an interval.
[[nodiscard]] Tick step_of(const Timings& timings) noexcept {
    return std::max<Tick>(1, timings.ping_interval / 2);
}

// The last tick of the session's phase that lies within an interval of silence. (Ticks are
// unsigned: all of this is right on a clock that wraps.)
[[nodiscard]] Tick ping_due(const Session& session, const Timings& timings) noexcept {
    const Tick latest = session.heard + timings.ping_interval;
    return latest - (latest - session.phase) % step_of(timings);
}

// Not in the middle of its life: shaking hands, closing, or open while the peer has ended.
[[nodiscard]] bool has_deadline(const Session& session) noexcept {
    return session.state != State::open || session.peer_closed;
}

}  // namespace

Tick next_due(const Session& session, bool blocked, const Timings& timings, Tick now) noexcept {
    RC_CHECK(session.state != State::gone);
    if (has_deadline(session)) return session.deadline;

    Tick due = ping_due(session, timings);
    if (session.awaiting_pong) {
        // The answer may be here long before the time-out, and a ping be due again before it.
        const Tick step = step_of(timings);
        const Tick again = now + step - (now - session.phase) % step;
        due = session.pinged + timings.pong_timeout;
        if (before(again, due)) due = again;
    }
    if (blocked) {
        const Tick stalled = session.blocked + timings.stall_timeout;
        if (before(stalled, due)) due = stalled;
    }
    if (session.bounded && before(session.deadline, due)) due = session.deadline;
    return due;
}

Due look(Session& session, bool blocked, const Timings& timings, Tick now) noexcept {
    RC_CHECK(session.state != State::gone);
    if (has_deadline(session)) {
        return before(now, session.deadline) ? Due::nothing : Due::deadline_passed;
    }
    if (blocked && !before(now, session.blocked + timings.stall_timeout)) return Due::stalled;

    if (session.awaiting_pong) {
        // A peer that we do not read from cannot prove that it lives.
        const bool alive =
            !before(session.heard, session.pinged) || session.pauses != 0 || RC_PLANT(13);
        if (!alive) {
            return before(now, session.pinged + timings.pong_timeout) ? Due::nothing
                                                                      : Due::pong_missing;
        }
        session.awaiting_pong = false;
        if (session.pauses != 0) session.heard = now;
    }
    if (before(now, ping_due(session, timings))) return Due::nothing;
    session.awaiting_pong = true;
    session.pinged = now;
    // Life in the very tick of the ping must not count as its answer.
    if (session.heard == now) session.heard = now - 1;
    return Due::ping;
}

}  // namespace ringcast::node
