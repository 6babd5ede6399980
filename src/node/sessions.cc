#include "node/sessions.h"

#include <algorithm>
#include <cstdlib>

#include "base/check.h"
#include "base/plant.h"
#include "base/scratch.h"
#include "node/close_codes.h"
#include "wire/deflate.h"
#include "wire/frame.h"

namespace ringcast::node {

void Sessions::FreeArray::operator()(std::uint8_t* array) const noexcept {
    std::free(array);
}

Sessions::Sessions(const Config& config,
                   io::Reactor& reactor,
                   Wheel& wheel,
                   Counters& counters,
                   std::uint32_t capacity) noexcept
    : config_(config),
      reactor_(reactor),
      wheel_(wheel),
      counters_(counters),
      timings_{.ping_interval = ticks_of(config.ping_interval),
               .pong_timeout = ticks_of(config.pong_timeout),
               .handshake_timeout = ticks_of(config.handshake_timeout),
               .close_timeout = ticks_of(config.close_timeout),
               .stall_timeout = ticks_of(config.stall_timeout)},
      slab_(capacity),
      // calloc: pages of indexes that were never used stay untouched.
      gates_(static_cast<std::uint8_t*>(std::calloc(capacity, 1))) {
    RC_CHECK(gates_ != nullptr);
    RC_CHECK(timings_.ping_interval > 0);
}

Session& Sessions::create(io::ConnIndex conn) noexcept {
    Session& session = slab_.emplace(conn);
    session.become(State::accepted);
    session.serial = next_serial_++;
    session.accepted_at = reactor_.now();
    session.heard = now_;
    session.phase = now_ - static_cast<Tick>(reactor_.random() % timings_.ping_interval);
    session.deadline = now_ + timings_.handshake_timeout;
    // Its predecessor may still stand on the ready list: that entry serves the new one.
    gates_[conn] = static_cast<std::uint8_t>((gates_[conn] & gate::ready) | gate::not_open);
    count_++;
    arm(conn);
    return session;
}

void Sessions::erase(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    session.become(State::gone);
    RC_CHECK(session.subscriptions.size() == 0);
    RC_CHECK(held_ >= session.counted);
    RC_CHECK(links_ >= session.counted_links);
    held_ -= session.counted;
    links_ -= session.counted_links;
    wheel_.cancel(conn);
    gates_[conn] = static_cast<std::uint8_t>(gates_[conn] & (gate::ready | gate::leaving));
    slab_.erase(conn);
    RC_CHECK(count_ > 0);
    count_--;
}

Session* Sessions::find(io::ConnIndex conn, std::uint64_t serial) noexcept {
    Session* session = slab_.find(conn);
    if (RC_PLANT(11)) return session;
    return session != nullptr && session->serial == serial ? session : nullptr;
}

void Sessions::mark_ready(io::ConnIndex conn) noexcept {
    if ((gates_[conn] & gate::ready) != 0) return;
    gates_[conn] |= gate::ready;
    ready_.push_back(conn);
}

void Sessions::push(io::ConnIndex conn, Bytes frame) noexcept {
    Session& session = slab_[conn];
    // RFC 6455, 5.5.1: nothing goes behind a close frame.
    const bool closing = session.state == State::closing && !RC_PLANT(19);
    if (closing || session.state == State::draining) return;
    if (!session.outbox.push(frame, config_.outbox_max + outbox_slack)) {
        counters_.slow_closed++;
        close(conn, close_codes::slow_consumer, "replies are not read");
        return;
    }
    if (session.outbox.pending().size() > config_.outbox_max) pause(conn, pause::outbox);
    gates_[conn] |= gate::outbox;
    recount(conn);
    mark_ready(conn);
}

void Sessions::push_unlimited(io::ConnIndex conn, Bytes frame) noexcept {
    Session& session = slab_[conn];
    if (session.state == State::closing || session.state == State::draining) return;
    const bool taken = session.outbox.push(frame, SIZE_MAX / 2);
    RC_CHECK(taken);
    gates_[conn] |= gate::outbox;
    recount(conn);
    mark_ready(conn);
}

void Sessions::push_tail(io::ConnIndex conn, Bytes rest) noexcept {
    Session& session = slab_[conn];
    RC_CHECK((gates_[conn] & gate::torn) != 0);
    gates_[conn] &= static_cast<std::uint8_t>(~gate::torn);
    session.torn = no_link;
    if (session.state == State::draining) return;
    session.outbox.push_front(rest);
    gates_[conn] |= gate::outbox;
    recount(conn);
    mark_ready(conn);
}

void Sessions::pause(io::ConnIndex conn, std::uint8_t why) noexcept {
    Session& session = slab_[conn];
    if (session.state != State::open || (session.pauses & why) != 0) return;
    if (session.pauses == 0) reactor_.pause_recv(conn);
    session.pauses |= why;
    if (why == pause::credit) waiting_.push_back({.conn = conn, .serial = session.serial});
}

void Sessions::resume(io::ConnIndex conn, std::uint8_t why) noexcept {
    Session& session = slab_[conn];
    if ((session.pauses & why) == 0) return;
    session.pauses &= static_cast<std::uint8_t>(~why);
    if (session.pauses != 0 || session.state == State::draining) return;
    session.heard = now_;  // it was us who did not listen
    reactor_.resume_recv(conn);
}

void Sessions::resume_waiting() noexcept {
    for (const Waiting& waiting : waiting_) {
        if (RC_PLANT(18)) continue;
        if (find(waiting.conn, waiting.serial) != nullptr) resume(waiting.conn, pause::credit);
    }
    waiting_.clear();
}

void Sessions::leave(io::ConnIndex conn) noexcept {
    gates_[conn] |= gate::not_open;
    if ((gates_[conn] & gate::leaving) != 0) return;
    gates_[conn] |= gate::leaving;
    leaving_.push_back(conn);
}

void Sessions::begin_closing(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    session.become(State::closing);
    session.deadline = now_ + timings_.close_timeout;
    resume(conn, pause::all);
    leave(conn);
    arm(conn);
    mark_ready(conn);
}

void Sessions::close(io::ConnIndex conn, std::uint16_t code, std::string_view reason) noexcept {
    Session& session = slab_[conn];
    if (session.state == State::closing || session.state == State::draining) return;
    if (session.state != State::open) {
        abort(conn);
        return;
    }
    Scratch<std::byte, wire::control_frame_size_max> frame;
    const std::size_t size = wire::encode_close(frame.data(), code, reason);
    push_unlimited(conn, Bytes(frame.data(), size));
    begin_closing(conn);
}

void Sessions::close_for_restart(io::ConnIndex conn) noexcept {
    close(conn, wire::close_code::service_restart, "the server restarts");
}

void Sessions::restart(io::ConnIndex conn) noexcept {
    if (slab_[conn].state != State::open) {
        close_for_restart(conn);
        return;
    }
    gates_[conn] |= gate::ends;
    if (RC_PLANT(20)) close_for_restart(conn);
    mark_ready(conn);
}

void Sessions::wind_up(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    RC_CHECK(session.peer_closed);
    if (session.state == State::open) {
        session.deadline = now_ + timings_.close_timeout;
        gates_[conn] |= gate::ends;
        arm(conn);
    }
    mark_ready(conn);
}

void Sessions::caught_up(io::ConnIndex conn) noexcept {
    RC_CHECK(slab_[conn].state == State::open);
    RC_CHECK((gates_[conn] & gate::ends) != 0);
    if (slab_[conn].peer_closed) {
        finish(conn);
    } else {
        close_for_restart(conn);
    }
}

void Sessions::finish(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    if (session.state == State::closing || session.state == State::draining) return;
    if (session.state == State::accepted) {
        abort(conn);
        return;
    }
    begin_closing(conn);
}

void Sessions::abort(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    if (session.state == State::draining) return;
    session.become(State::draining);
    session.outbox.clear();
    session.body = {};
    recount(conn);
    wheel_.cancel(conn);
    leave(conn);
    reactor_.close(conn);
}

void Sessions::flushed(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    RC_CHECK(session.state == State::closing);
    RC_CHECK(session.outbox.empty());
    if (session.peer_closed) {
        abort(conn);
        return;
    }
    // RFC 6455, 7.1.1: after both close frames the server closes. Until the peer's is here we wait;
    // a peer that is past talking to (HTTP, broken frames) gets our FIN, and then we wait for its
    // own, since closing with unread input would reset the connection under our last bytes.
    if ((session.role == Role::http || session.deaf) && !session.finished_sending) {
        session.finished_sending = true;
        reactor_.shutdown_send(conn);
    }
}

void Sessions::recount(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    const std::uint32_t links = session.subscriptions.size();
    std::size_t held = session.framer.held_bytes() + session.outbox.held_bytes();
    held += links * subscription_bytes + session.pattern_bytes;
    if (session.deflate.keeps_context) {
        held += wire::InflateStream::memory_of(session.deflate.client_window_bits);
    }
    if (session.request != nullptr) held += sizeof(wire::RequestParser);
    if (session.secure) held += reactor_.held_bytes(conn);
    if (session.client_id != nullptr) held += name_bytes;
    if (session.publish_topic != nullptr) held += name_bytes;
    if (session.session_name != nullptr) held += name_bytes;
    if (session.identity != nullptr) held += session.identity->held_bytes();
    if (session.owed != nullptr) {
        for (const Owed& owed : *session.owed) {
            held += node::held_bytes(owed);
        }
    }
    if (RC_PLANT(39)) held = std::max<std::size_t>(held, session.counted);
    held_ += held - session.counted;
    links_ += links - std::uint64_t{session.counted_links};
    session.counted = static_cast<std::uint32_t>(held);
    session.counted_links = static_cast<std::uint16_t>(links);
    RC_CHECK(session.counted == held);  // a message, an outbox and 65,535 subscriptions are less
}

void Sessions::cut_largest(std::uint64_t size) noexcept {
    constexpr std::uint32_t next_to_nothing = 4096;
    struct Holder {
        std::uint32_t held = 0;
        io::ConnIndex conn = io::no_conn;
    };
    std::vector<Holder> holders;
    slab_.for_each([&](std::uint32_t conn, Session& session) noexcept {
        if (session.state == State::draining) return;
        recount(conn);
        if (session.counted <= next_to_nothing) return;
        holders.push_back({.held = session.counted, .conn = conn});
    });
    std::sort(holders.begin(), holders.end(), [](const Holder& a, const Holder& b) {
        return a.held != b.held ? a.held > b.held : a.conn < b.conn;
    });
    std::uint64_t freed = 0;
    for (const Holder& holder : holders) {
        if (freed >= size) return;
        freed += holder.held;
        counters_.memory_cut++;
        abort(holder.conn);
        // Here nobody is looking at a message of it, so it need not be kept until on_closed.
        slab_[holder.conn].framer.stop();
        recount(holder.conn);
    }
}

void Sessions::bound(io::ConnIndex conn) noexcept {
    constexpr Tick ticks_max = 1U << 30;  // half of what lies ahead on the clock of ticks: 124 days
    Session& session = slab_[conn];
    session.bounded = true;
    if (!session.unproven) {
        RC_CHECK(session.identity != nullptr);
        const Nanos left = std::max<Nanos>(session.identity->expires_at - reactor_.now(), 0);
        session.deadline = now_ + static_cast<Tick>(std::min<Nanos>(
                                      (left + tick_length - 1) / tick_length, ticks_max));
    }
    arm(conn);
}

// Its time is over: no token was shown, or the one that was has expired. That is told by the clock
// and not by ticks, from which absences are left out: a token is no time-out.
bool Sessions::close_if_over(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    // Behind a FIN there is another deadline, and a near one.
    if (session.state != State::open || session.peer_closed) return false;
    if (session.unproven) {
        if (static_cast<std::int32_t>(now_ - session.deadline) < 0) return false;
        counters_.tokens_expired++;
        close(conn, close_codes::unauthorized, "no token was shown in time");
        return true;
    }
    if (reactor_.now() < session.identity->expires_at) {
        bound(conn);
        return false;
    }
    counters_.tokens_expired++;
    close(conn, close_codes::token_expired, "the token has expired");
    return true;
}

void Sessions::set_blocked(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    RC_CHECK((gates_[conn] & gate::blocked) == 0);
    gates_[conn] |= gate::blocked;
    session.blocked = now_;
    reactor_.want_writable(conn);
    if (session.secure) recount(conn);  // what it did not take may be kept
    arm(conn);
}

void Sessions::arm(io::ConnIndex conn) noexcept {
    const bool blocked = (gates_[conn] & gate::blocked) != 0;
    wheel_.arm(conn, next_due(slab_[conn], blocked, timings_, now_));
}

void Sessions::on_timer(io::ConnIndex conn) noexcept {
    Session& session = slab_[conn];
    recount(conn);
    if (session.bounded && close_if_over(conn)) return;
    const bool blocked = (gates_[conn] & gate::blocked) != 0;
    switch (look(session, blocked, timings_, now_)) {
        case Due::nothing:
            break;
        case Due::ping: {
            Scratch<std::byte, wire::control_frame_size_max> frame;
            const std::size_t size = wire::encode_control(frame.data(), wire::Opcode::ping, {});
            push_unlimited(conn, Bytes(frame.data(), size));  // one at a time, so bounded
            break;
        }
        case Due::pong_missing:
            counters_.pong_timeouts++;
            abort(conn);
            return;
        case Due::stalled:
            counters_.stalls++;
            abort(conn);
            return;
        case Due::deadline_passed:
            abort(conn);
            return;
    }
    arm(conn);
}

}  // namespace ringcast::node
