#include "io/sim.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/copy.h"

namespace ringcast::io {

namespace {

constexpr Nanos accept_retry = 100 * nanos_per_ms;
constexpr Nanos late_close_max = 100 * nanos_per_ms;
constexpr std::byte padding{0xa5};

}  // namespace

SimReactor::SimReactor(SimNet& net,
                       std::uint32_t number,
                       std::uint64_t seed,
                       const ReactorOptions& options) noexcept
    : net_(net),
      number_(number),
      options_(options),
      random_(seed, net.tape()),
      schedule_(seed ^ 0x5c4ed01e, net.tape()),
      slots_(options.connections_max),
      now_(net.now()),
      wall_(net.wall()) {}

SimReactor::~SimReactor() {
    for (ConnIndex conn = 0; conn < slots_.touched(); conn++) {
        const Slot& slot = slots_[conn];
        if ((slot.flags & (live | closing)) == live) {
            net_.disconnect(slot.link_id, server_side, false);
        }
    }
}

bool SimReactor::pending() noexcept {
    if (woken_ || !net_.touched(number_).empty()) return true;
    return !net_.backlog(number_).empty() && !slots_.full() && accept_at_ <= net_.now();
}

SimReactor::Slot& SimReactor::usable(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    RC_CHECK((slot.flags & live) != 0);
    RC_CHECK((slot.flags & closing) == 0);
    return slot;
}

Result<Done> SimReactor::listen(Fd listener) noexcept {
    static_cast<void>(listener);
    return Done{};
}

void SimReactor::stop_listening() noexcept {
    listening_ = false;
    net_.stop_listening(number_);
}

Result<ConnIndex> SimReactor::connect(const Address& peer) noexcept {
    static_cast<void>(peer);
    return Error{.code = Errc::busy};
}

Result<Address> SimReactor::peer(ConnIndex conn) noexcept {
    constexpr LinkId addresses = 7;
    const auto last = static_cast<std::uint8_t>(usable(conn).link_id % addresses);
    return Address{.v6 = false, .port = 1, .ip = {10, 0, 0, last}};
}

void SimReactor::wake() noexcept {
    net_.trace(number_);
    woken_ = true;
}

// What the owner asks for.

void SimReactor::send(std::span<Send> batch) noexcept {
    RC_CHECK(!batch.empty());
    RC_CHECK(batch.size() <= send_batch_max);
    RC_CHECK(!calling_back_);  // sends start when the events are told, not among them
    for (std::size_t i = 0; i < batch.size(); i++) {
        for (std::size_t j = 0; j < i; j++) {
            RC_CHECK(batch[i].conn != batch[j].conn);
        }
        send_one(batch[i]);
        net_.trace((std::uint64_t{batch[i].conn} << 32) |
                   static_cast<std::uint32_t>(batch[i].result));
    }
}

void SimReactor::send_one(Send& send) noexcept {
    const Slot& slot = usable(send.conn);
    SimLink& link = link_of(slot);
    RC_CHECK(!send.bytes.empty());
    RC_CHECK((slot.flags & shut) == 0);
    send.by_reference = false;
    if (link.broken[server_side] == 0 && net_.happens(net_.chances.broken_send, 65536)) {
        link.broken[server_side] = EPIPE;
        net_.abandon(slot.link_id, server_side);
        net_.touch(slot.link_id);
    }
    if (link.broken[server_side] != 0) {
        send.result = -link.broken[server_side];
        return;
    }
    std::size_t taken = std::min(send.bytes.size(), link.stream[server_side].room());
    if (taken > 0 && net_.happens(net_.chances.short_send)) taken = schedule_.between(1, taken);
    if (net_.happens(net_.chances.refused_send)) taken = 0;
    send.result = static_cast<std::int32_t>(taken);
    if (taken == 0) return;
    const bool pages = options_.log_file >= 0 && send.file_offset >= 0 &&
                       send.bytes.size() >= options_.sendfile_min;
    send.by_reference = net_.transmit(slot.link_id,
                                      server_side,
                                      send.bytes.first(taken),
                                      pages ? options_.log_file : -1,
                                      send.file_offset);
}

void SimReactor::want_writable(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    RC_CHECK((slot.flags & wants_writable) == 0);
    slot.flags |= wants_writable;
    net_.touch(slot.link_id);
}

void SimReactor::pause_recv(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    RC_CHECK((slot.flags & paused) == 0);
    slot.flags |= paused;
    const std::size_t ready = link_of(slot).stream[client_side].ready();
    slot.leaking = 0;
    if (ready > 0 && net_.happens(net_.chances.leak_pause)) {
        slot.leaking = static_cast<std::uint32_t>(schedule_.between(1, ready));
        net_.touch(slot.link_id);
    }
}

void SimReactor::resume_recv(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    RC_CHECK((slot.flags & paused) != 0);
    slot.flags = static_cast<std::uint16_t>(slot.flags & ~paused);
    slot.leaking = 0;
    net_.touch(slot.link_id);
}

void SimReactor::shutdown_send(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    RC_CHECK((slot.flags & shut) == 0);
    slot.flags |= shut;
    net_.finish(slot.link_id, server_side);
}

void SimReactor::close(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    slot.flags |= closing;
    net_.disconnect(slot.link_id, server_side, true);
    slot.not_before = now_;
    if (net_.happens(net_.chances.late_close)) {
        slot.not_before += static_cast<Nanos>(schedule_.below(late_close_max));
    }
    net_.touch(slot.link_id);
}

// What the owner hears.

void SimReactor::wait(Nanos deadline) noexcept {
    RC_CHECK(handler_ != nullptr);
    RC_CHECK(!calling_back_);
    static_cast<void>(deadline);  // the world sees to it
    woken_ = false;
    now_ = net_.now();
    worked_ = 0;
    wall_ = net_.wall();
    budget_ = std::max<std::uint32_t>(net_.chances.completions_max, 1);
    told_ = 0;
    calling_back_ = true;
    accept_some();
    visiting_.clear();
    visiting_.swap(net_.touched(number_));
    for (const LinkId id : visiting_) {
        net_.link(id).touched = false;
    }
    for (std::size_t i = visiting_.size(); i > 1; i--) {
        std::swap(visiting_[i - 1], visiting_[schedule_.below(i)]);
    }
    for (const LinkId id : visiting_) {
        const ConnIndex conn = net_.link(id).conn;
        if (conn == no_conn) continue;
        if (budget_ == 0) {
            net_.touch(id);  // for the next wait()
        } else {
            tell(conn);
        }
    }
    calling_back_ = false;
}

void SimReactor::accept_some() noexcept {
    std::deque<LinkId>& backlog = net_.backlog(number_);
    while (listening_ && !backlog.empty() && !slots_.full() && budget_ > 0) {
        if (accept_at_ > now_) return;
        if (net_.happens(net_.chances.accept_pause)) {
            accept_at_ = now_ + accept_retry;
            net_.touch_later(backlog.front(), accept_retry);
            return;
        }
        budget_--;
        told_++;
        const LinkId id = backlog.front();
        backlog.pop_front();
        const ConnIndex conn = slots_.take();
        slots_[conn] = {.link_id = id, .link = 0, .leaking = 0, .flags = live, .not_before = 0};
        SimLink& link = net_.link(id);
        link.conn = conn;
        link.accepted_at = now_;
        net_.trace(id);
        handler_->on_accepted(conn, 0);
        net_.touch(id);  // its first bytes may be here
    }
}

// One thing may wait for the next wait() although it is there. Never all of it: buffers run out
// only because others used them, so a wait() without a single callback means that nothing is there.
Nanos SimReactor::present() const noexcept {
    if (net_.happens(net_.chances.slow_work)) worked_ += nanos_per_ms;
    return now_ + worked_;
}

bool SimReactor::delayed(const Slot& slot, std::uint32_t chance) noexcept {
    if (told_ == 0 || !net_.happens(chance)) return false;
    net_.touch(slot.link_id);
    return true;
}

void SimReactor::tell(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & closing) != 0) {
        tell_closed(conn);
        return;
    }
    const bool writable_first = schedule_.chance(1, 2);
    if (writable_first) tell_writable(conn);
    if ((slot.flags & closing) == 0) tell_input(conn);
    if ((slot.flags & closing) == 0) tell_end(conn);
    if ((slot.flags & closing) == 0 && !writable_first) tell_writable(conn);
    if (budget_ == 0) net_.touch(slot.link_id);  // there may be more: look again
}

void SimReactor::tell_input(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & ended) != 0) return;
    SimLink& link = link_of(slot);
    SimStream& stream = link.stream[client_side];
    if (stream.ready() == 0 || delayed(slot, net_.chances.starved)) return;
    const bool singly = net_.happens(net_.chances.single_bytes);
    while (stream.ready() > 0 && (slot.flags & closing) == 0) {
        std::size_t size = std::min<std::size_t>(stream.ready(), options_.receive_buffer_size);
        if ((slot.flags & paused) != 0) {
            if (slot.leaking == 0) return;
            size = std::min<std::size_t>(size, slot.leaking);
        }
        if (budget_ == 0) {
            net_.touch(slot.link_id);
            return;
        }
        budget_--;
        if (singly) {
            size = 1;
        } else if (size > 1 && net_.happens(net_.chances.cut_view)) {
            size = schedule_.between(1, size - 1);
        }
        if ((slot.flags & paused) != 0) slot.leaking -= static_cast<std::uint32_t>(size);
        hand_over(conn, size);
    }
}

void SimReactor::hand_over(ConnIndex conn, std::size_t size) noexcept {
    const Slot& slot = slots_[conn];
    view_.clear();
    net_.take(link_of(slot).stream[client_side], view_, size);
    net_.acknowledge(slot.link_id, server_side, size);
    handed_ += size;
    told_++;
    net_.trace((std::uint64_t{conn} << 32) | size);
    // Exactly as long as promised, so that a sanitizer sees what reads further.
    const auto bytes = std::make_unique_for_overwrite<std::byte[]>(size + receive_padding);
    copy_bytes(bytes.get(), as_bytes(view_).data(), size);
    std::fill_n(bytes.get() + size, receive_padding, padding);
    handler_->on_received(conn, MutBytes(bytes.get(), size));
}

void SimReactor::tell_end(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & (ended | paused)) != 0 || budget_ == 0) return;
    SimLink& link = link_of(slot);
    SimStream& stream = link.stream[client_side];
    const int error = link.broken[server_side];
    if (stream.ready() > 0 || (error == 0 && !stream.at_end())) return;
    slot.flags |= ended;
    budget_--;
    told_++;
    net_.trace((std::uint64_t{conn} << 32) | static_cast<std::uint32_t>(error));
    handler_->on_ended(conn, error);
}

void SimReactor::tell_writable(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & wants_writable) == 0 || budget_ == 0) return;
    const SimLink& link = link_of(slot);
    const bool broken = link.broken[server_side] != 0;
    if (!broken && link.stream[server_side].room() == 0) return;
    if (!broken && delayed(slot, net_.chances.late_writable)) return;
    budget_--;
    told_++;
    slot.flags = static_cast<std::uint16_t>(slot.flags & ~wants_writable);
    link_of(slot).stream[server_side].last_writable = now_;
    net_.trace(conn);
    handler_->on_writable(conn);
}

void SimReactor::tell_closed(ConnIndex conn) noexcept {
    const Slot& slot = slots_[conn];
    if (slot.not_before > now_) {
        net_.touch_later(slot.link_id, slot.not_before - now_);
        return;
    }
    budget_--;
    told_++;
    const LinkId id = slot.link_id;
    net_.trace(conn);
    handler_->on_closed(conn);
    slots_[conn].flags = 0;
    net_.link(id).conn = no_conn;
    slots_.give_back(conn);
}

}  // namespace ringcast::io
