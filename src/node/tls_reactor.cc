#include "node/tls_reactor.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace ringcast::node {

namespace {

// Of a turn, for handshakes: as many as fit, one at least, and so many at most.
constexpr Nanos handshake_time = nanos_per_ms;
constexpr std::uint32_t steps_max = 16;
// A received view is never larger, and plaintext never longer than its ciphertext.
constexpr std::size_t plaintext_size = std::size_t{64} * 1024;
// A batch of parts that are as large as they may be is several rounds; small ones fit in one.
constexpr std::size_t records_size = std::size_t{256} * 1024;

// With its memory, which `= {}` would keep.
void release(std::vector<std::byte>& bytes) noexcept {
    std::vector<std::byte>().swap(bytes);
}

[[nodiscard]] Bytes rest_of(const std::vector<std::byte>& bytes, std::size_t from) noexcept {
    return Bytes(bytes).subspan(from);
}

}  // namespace

std::string describe(const TlsCounters& counters) {
    return "handshakes " + std::to_string(counters.handshakes) + ", resumed " +
           std::to_string(counters.resumed) + ", failed " + std::to_string(counters.failed) +
           ", waited " + std::to_string(counters.waited) + ", put off " +
           std::to_string(counters.put_off) + ", cut " + std::to_string(counters.cut);
}

TlsReactor::TlsReactor(std::unique_ptr<io::Reactor> below,
                       wire::TlsContext context,
                       const Options& options) noexcept
    : below_(std::move(below)),
      context_(std::move(context)),
      options_(options),
      links_(options.capacity),
      plaintext_(plaintext_size + io::receive_padding) {
    RC_CHECK(options.handshakes_max > 0);
    records_.reserve(records_size + tls_part_max + 2 * wire::tls_record_overhead);
    below_->set_handler(*this);
}

TlsReactor::~TlsReactor() {
    delete offered_.load();
}

void TlsReactor::offer(wire::TlsContext context) noexcept {
    delete offered_.exchange(new wire::TlsContext(std::move(context)));
    below_->wake();
}

void TlsReactor::take_offer() noexcept {
    if (offered_.load(std::memory_order_relaxed) == nullptr) return;
    const std::unique_ptr<wire::TlsContext> offered(offered_.exchange(nullptr));
    context_ = std::move(*offered);
}

void TlsReactor::wait(Nanos deadline) noexcept {
    take_offer();
    const bool room = shaking_ < options_.handshakes_max;
    const bool busy = !turns_.empty() || !outputs_.empty() || (room && waiters_ > 0);
    wire::TlsTickets* tickets = options_.tickets;
    // A key of tickets goes when its time is over, not when the next client comes.
    const Nanos latest = tickets == nullptr ? deadline : std::min(deadline, tickets->due());
    below_->wait(busy ? 0 : latest);
    if (tickets != nullptr) tickets->tend(below_->now());
    run_handshakes();
    flush_outputs();
}

// What comes from below.

void TlsReactor::on_accepted(io::ConnIndex conn, std::uint32_t listener) noexcept {
    if (listener >= options_.first_listener) links_.emplace(conn);
    handler_->on_accepted(conn, listener);
}

void TlsReactor::on_received(io::ConnIndex conn, MutBytes bytes) noexcept {
    Link* link = links_.find(conn);
    if (link == nullptr) {
        handler_->on_received(conn, bytes);
        return;
    }
    if (link->closed || link->told_end) return;
    if (link->open) {
        decrypt(conn, *link, bytes);
    } else {
        put_aside(conn, *link, bytes);
    }
}

void TlsReactor::on_ended(io::ConnIndex conn, int os_error) noexcept {
    Link* link = links_.find(conn);
    if (link == nullptr) {
        handler_->on_ended(conn, os_error);
        return;
    }
    // The end of its handshake, and what it had to say, may be there all the same.
    if (os_error == 0 && link->counted && link->in_turns) {
        link->end = os_error;
        return;
    }
    tell_end(conn, *link, os_error);
}

void TlsReactor::on_writable(io::ConnIndex conn) noexcept {
    Link* link = links_.find(conn);
    if (link == nullptr) {
        handler_->on_writable(conn);
        return;
    }
    link->awaited = false;
    link->full = false;
    if (!link->closed) add_output(conn, *link);
}

void TlsReactor::on_connected(io::ConnIndex conn, int os_error) noexcept {
    handler_->on_connected(conn, os_error);
}

void TlsReactor::on_closed(io::ConnIndex conn) noexcept {
    if (Link* link = links_.find(conn); link != nullptr) {
        static_cast<void>(take_unread(conn, *link));
        leave_waiting(*link);
        links_.erase(conn);
    }
    handler_->on_closed(conn);
}

// Handshakes.

void TlsReactor::hold(io::ConnIndex conn, Link& link) noexcept {
    if (link.held) return;
    link.held = true;
    below_->pause_recv(conn);
}

void TlsReactor::put_aside(io::ConnIndex conn, Link& link, Bytes bytes) noexcept {
    keep_unread(conn, link, bytes);
    // Behind the end of a handshake that is under way its first request may have come.
    if (link.unread.size() > (link.counted ? wire::tls_hello_size_max : tls_hello_max)) {
        static_cast<void>(take_unread(conn, link));
        counters_.failed++;
        tell_end(conn, link, EPROTO);
        return;
    }
    while (unread_size_ > tls_unread_max) {
        end_largest();
    }
    if (link.closed || link.told_end) return;
    if (link.in_turns || link.in_waiting) {
        hold(conn, link);
        return;
    }
    const bool room = shaking_ < options_.handshakes_max && waiters_ == 0;
    if (link.counted || room) {
        link.in_turns = true;
        turns_.push_back(conn);
        if (turns_.size() > steps_max) hold(conn, link);
    } else {
        counters_.waited++;
        link.in_waiting = true;
        waiters_++;
        waiting_.push_back(conn);
        hold(conn, link);
    }
}

void TlsReactor::keep_unread(io::ConnIndex conn, Link& link, Bytes bytes) noexcept {
    unread_.erase({link.unread.size(), conn});
    link.unread.insert(link.unread.end(), bytes.begin(), bytes.end());
    unread_.insert({link.unread.size(), conn});
    unread_size_ += bytes.size();
}

std::vector<std::byte> TlsReactor::take_unread(io::ConnIndex conn, Link& link) noexcept {
    RC_CHECK(unread_size_ >= link.unread.size());
    unread_.erase({link.unread.size(), conn});
    unread_size_ -= link.unread.size();
    return std::exchange(link.unread, std::vector<std::byte>());
}

// Not the one that came last: many that hold much would keep out all who come with little.
void TlsReactor::end_largest() noexcept {
    RC_CHECK(!unread_.empty());
    const io::ConnIndex conn = std::prev(unread_.end())->second;
    Link* link = links_.find(conn);
    RC_CHECK(link != nullptr);
    static_cast<void>(take_unread(conn, *link));
    counters_.cut++;
    tell_end(conn, *link, ENOBUFS);
}

// At most one for each who waits.
void TlsReactor::cut_slow() noexcept {
    std::uint32_t wanted = waiters_;
    while (!begun_.empty()) {
        const Begun oldest = begun_.front();
        Link* link = links_.find(oldest.conn);
        const bool over = link == nullptr || !link->counted || link->began != oldest.at;
        if (!over && (wanted == 0 || below_->now() < oldest.at + tls_patience)) return;
        begun_.pop_front();
        if (over) continue;
        counters_.cut++;
        wanted--;
        tell_end(oldest.conn, *link, ETIMEDOUT);
    }
}

void TlsReactor::admit_waiting() noexcept {
    for (std::uint32_t room = options_.handshakes_max - shaking_; room > 0 && !waiting_.empty();) {
        const io::ConnIndex conn = waiting_.front();
        waiting_.pop_front();
        Link* link = links_.find(conn);
        if (link == nullptr || !leave_waiting(*link)) continue;
        link->in_turns = true;
        turns_.push_back(conn);
        room--;
    }
    if (waiters_ == 0) waiting_.clear();
}

// Whoever is admitted, or is gone.
bool TlsReactor::leave_waiting(Link& link) noexcept {
    if (!std::exchange(link.in_waiting, false)) return false;
    RC_CHECK(waiters_ > 0);
    waiters_--;
    return true;
}

void TlsReactor::run_handshakes() noexcept {
    cut_slow();
    admit_waiting();
    if (turns_.empty()) return;
    const Nanos end = below_->present() + handshake_time;
    for (std::uint32_t steps = 0; !turns_.empty();) {
        if (steps == steps_max || (steps > 0 && below_->present() >= end)) {
            counters_.put_off++;
            return;
        }
        const io::ConnIndex conn = turns_.front();
        turns_.pop_front();
        Link* link = links_.find(conn);
        if (link == nullptr || !std::exchange(link->in_turns, false)) continue;
        if (link->closed || link->told_end || !begin(conn, *link)) continue;
        step(conn, *link);
        steps++;
    }
}

// False: too many are under way, so it waits in front of those who came later.
bool TlsReactor::begin(io::ConnIndex conn, Link& link) noexcept {
    if (link.counted) return true;
    if (shaking_ == options_.handshakes_max) {
        counters_.waited++;
        link.in_waiting = true;
        waiters_++;
        waiting_.push_front(conn);
        hold(conn, link);
        return false;
    }
    link.counted = true;
    link.began = below_->now();
    begun_.push_back({.conn = conn, .at = link.began});
    shaking_++;
    link.filter = std::make_unique<wire::TlsFilter>(context_);
    return true;
}

void TlsReactor::step(io::ConnIndex conn, Link& link) noexcept {
    // First, since the owner may pause it from now on.
    if (std::exchange(link.held, false)) below_->resume_recv(conn);
    const std::vector<std::byte> bytes = take_unread(conn, link);
    decrypt(conn, link, bytes);
    if (link.end >= 0) tell_end(conn, link, link.end);
}

void TlsReactor::leave_handshake(Link& link) noexcept {
    if (!std::exchange(link.counted, false)) return;
    RC_CHECK(shaking_ > 0);
    shaking_--;
}

// Receiving.

void TlsReactor::decrypt(io::ConnIndex conn, Link& link, Bytes ciphertext) noexcept {
    const MutBytes room(plaintext_.data(), plaintext_size);
    std::size_t size = 0;
    do {
        made_.clear();
        size = link.filter->receive(ciphertext, room, made_);
        if (!made_.empty()) {
            link.unsent.insert(link.unsent.end(), made_.begin(), made_.end());
            add_output(conn, link);
        }
        const wire::TlsStage stage = link.filter->stage();
        if (!link.open && (stage == wire::TlsStage::open || size > 0)) {
            link.open = true;
            leave_handshake(link);
            counters_.handshakes++;
            if (link.filter->resumed()) counters_.resumed++;
        }
        if (size > 0) handler_->on_received(conn, room.first(size));
        if (link.closed || !note_stage(conn, link)) return;
    } while (size == room.size());
}

// False: nothing more comes of it.
bool TlsReactor::note_stage(io::ConnIndex conn, Link& link) noexcept {
    // Whoever has us answer (alerts, new keys) and takes no answer ends so, too.
    const bool broken =
        link.filter->stage() == wire::TlsStage::failed || link.unsent.size() > tls_unsent_max;
    if (broken) {
        counters_.failed++;
        tell_end(conn, link, EPROTO);
        return false;
    }
    if (link.filter->stage() == wire::TlsStage::ended) {
        tell_end(conn, link, 0);
        return false;
    }
    return true;
}

void TlsReactor::tell_end(io::ConnIndex conn, Link& link, int os_error) noexcept {
    if (link.closed || std::exchange(link.told_end, true)) return;
    leave_handshake(link);
    leave_waiting(link);
    handler_->on_ended(conn, os_error);
}

std::size_t TlsReactor::held_bytes(io::ConnIndex conn) noexcept {
    const Link* link = links_.find(conn);
    return link == nullptr ? 0 : link->unsent.capacity() + link->unread.capacity();
}

// What connections have to say by themselves, and their ends.

void TlsReactor::add_output(io::ConnIndex conn, Link& link) noexcept {
    if (std::exchange(link.in_outputs, true)) return;
    outputs_.push_back(conn);
}

void TlsReactor::await(io::ConnIndex conn, Link& link) noexcept {
    if (std::exchange(link.awaited, true)) return;
    below_->want_writable(conn);
}

void TlsReactor::want_writable(io::ConnIndex conn) noexcept {
    Link* link = links_.find(conn);
    if (link == nullptr) {
        below_->want_writable(conn);
        return;
    }
    link->wanted = true;
    await(conn, *link);
}

void TlsReactor::shutdown_send(io::ConnIndex conn) noexcept {
    Link* link = links_.find(conn);
    if (link == nullptr) {
        below_->shutdown_send(conn);
        return;
    }
    RC_CHECK(!link->closed);
    if (link->open) link->filter->close(link->unsent);
    link->finishing = true;
    add_output(conn, *link);
}

void TlsReactor::close(io::ConnIndex conn) noexcept {
    Link* link = links_.find(conn);
    if (link == nullptr) {
        below_->close(conn);
        return;
    }
    RC_CHECK(!link->closed);
    link->closed = true;
    leave_handshake(*link);
    leave_waiting(*link);
    // Behind a record that is cut it would not be understood.
    if (link->open && link->unsent.empty()) link->filter->close(link->unsent);
    add_output(conn, *link);
}

void TlsReactor::flush_outputs() noexcept {
    if (outputs_.empty()) return;
    const std::vector<io::ConnIndex> conns = std::exchange(outputs_, {});
    for (std::size_t at = 0; at < conns.size(); at += io::send_batch_max) {
        const std::size_t count = std::min(conns.size() - at, io::send_batch_max);
        flush_batch(std::span(conns).subspan(at, count));
    }
}

void TlsReactor::flush_batch(std::span<const io::ConnIndex> conns) noexcept {
    std::size_t count = 0;
    for (const io::ConnIndex conn : conns) {
        Link* link = links_.find(conn);
        // What stands there twice, or for the one before of this index, is done once.
        if (link == nullptr || !std::exchange(link->in_outputs, false)) continue;
        if (link->unsent.empty() || link->full) {
            settle_output(conn, *link);
        } else {
            sends_[count++] = io::Send{.conn = conn, .bytes = link->unsent};
        }
    }
    if (count == 0) return;
    below_->send(std::span(sends_.data(), count));
    for (std::size_t i = 0; i < count; i++) {
        Link* link = links_.find(sends_[i].conn);
        RC_CHECK(link != nullptr);
        sent_output(sends_[i].conn, *link, sends_[i].result);
    }
}

void TlsReactor::sent_output(io::ConnIndex conn, Link& link, std::int32_t result) noexcept {
    if (result < 0) {
        release(link.unsent);
        if (link.closed) {
            settle_output(conn, link);
            return;
        }
        tell_end(conn, link, -result);
        // Behind the peer's end nothing more is told, so who waits for room has to see for himself
        // that it is broken, as he does where there is no TLS (io/reactor.h).
        if (!link.closed && std::exchange(link.wanted, false)) handler_->on_writable(conn);
        return;
    }
    const auto taken = static_cast<std::size_t>(result);
    link.full = taken < link.unsent.size();
    if (link.full) {
        const Bytes rest = rest_of(link.unsent, taken);
        link.unsent = std::vector<std::byte>(rest.begin(), rest.end());
    } else {
        release(link.unsent);
    }
    settle_output(conn, link);
}

// What could be sent is sent.
void TlsReactor::settle_output(io::ConnIndex conn, Link& link) noexcept {
    if (link.closed) {
        link.filter.reset();
        release(link.unsent);
        static_cast<void>(take_unread(conn, link));
        below_->close(conn);
        return;
    }
    if (!link.unsent.empty()) {
        await(conn, link);
        return;
    }
    if (std::exchange(link.finishing, false)) below_->shutdown_send(conn);
    if (std::exchange(link.wanted, false)) handler_->on_writable(conn);
}

// Sending.

void TlsReactor::send(std::span<io::Send> batch) noexcept {
    RC_CHECK(batch.size() <= io::send_batch_max);
    bool secure = false;
    for (std::size_t i = 0; i < batch.size(); i++) {
        passages_[i] = Passage{.slice = &batch[i], .link = links_.find(batch[i].conn)};
        secure = secure || passages_[i].link != nullptr;
    }
    if (!secure) {
        below_->send(batch);
        return;
    }
    const std::span<Passage> passages(passages_.data(), batch.size());
    for (Passage& passage : passages) {
        prepare(passage);
    }
    const auto over = [](const Passage& passage) noexcept { return passage.over; };
    while (!std::all_of(passages.begin(), passages.end(), over)) {
        send_round(passages);
    }
}

void TlsReactor::prepare(Passage& passage) noexcept {
    if (passage.link == nullptr) return;
    Link& link = *passage.link;
    io::Send& slice = *passage.slice;
    RC_CHECK(!link.closed);
    slice.by_reference = false;
    if (!link.open || !link.unsent.empty()) {
        slice.result = 0;
        passage.over = true;
        return;
    }
    passage.done = std::exchange(link.owed, false) ? 1 : 0;
    if (passage.done < slice.bytes.size()) return;
    slice.result = static_cast<std::int32_t>(passage.done);
    passage.over = true;
}

// A part of each slice that is not over, as far as the buffer has room.
void TlsReactor::send_round(std::span<Passage> passages) noexcept {
    std::array<Passage*, io::send_batch_max> chosen;  // NOLINT(*-member-init): the first `count`
    std::size_t count = 0;
    records_.clear();
    for (Passage& passage : passages) {
        if (passage.over) continue;
        if (passage.link != nullptr) {
            if (records_.size() > records_size || !encrypt(passage)) continue;
        }
        sends_[count] = *passage.slice;
        chosen[count++] = &passage;
    }
    for (std::size_t i = 0; i < count; i++) {
        if (chosen[i]->link == nullptr) continue;
        sends_[i].bytes = rest_of(records_, chosen[i]->begin).first(chosen[i]->size);
        sends_[i].file_offset = -1;
    }
    if (count == 0) return;
    below_->send(std::span(sends_.data(), count));
    for (std::size_t i = 0; i < count; i++) {
        settle(*chosen[i], sends_[i]);
    }
}

bool TlsReactor::encrypt(Passage& passage) noexcept {
    const Bytes rest = passage.slice->bytes.subspan(passage.done);
    passage.part = std::min(rest.size(), tls_part_max);
    passage.begin = records_.size();
    if (!passage.link->filter->send(rest.first(passage.part), records_)) {
        passage.slice->result = -EPROTO;
        passage.over = true;
        return false;
    }
    passage.size = records_.size() - passage.begin;
    return true;
}

void TlsReactor::settle(Passage& passage, const io::Send& sent) noexcept {
    io::Send& slice = *passage.slice;
    if (passage.link == nullptr || sent.result < 0) {
        slice.result = sent.result;
        slice.by_reference = sent.by_reference;
        passage.over = true;
        return;
    }
    Link& link = *passage.link;
    const auto taken = static_cast<std::size_t>(sent.result);
    RC_CHECK(taken <= passage.size);
    passage.done += passage.part;
    if (taken < passage.size) {
        const Bytes rest = sent.bytes.subspan(taken);
        link.unsent.assign(rest.begin(), rest.end());
        link.full = true;
        link.owed = passage.done == slice.bytes.size();
        slice.result = static_cast<std::int32_t>(passage.done - (link.owed ? 1 : 0));
        passage.over = true;
    } else if (passage.done == slice.bytes.size() || passage.done >= tls_slice_max) {
        slice.result = static_cast<std::int32_t>(passage.done);
        passage.over = true;
    }
}

}  // namespace ringcast::node
