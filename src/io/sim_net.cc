#include "io/sim_net.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"

namespace ringcast::io {

namespace {

// What one pipe holds by default is 16 pages, and a slice may begin and end inside one.
constexpr std::size_t spliced_max = std::size_t{15} * 4096;
// All pipes of a user together may hold 16384 pages before the kernel makes them smaller.
constexpr std::uint32_t pipes_max = 192;

[[nodiscard]] SimSide other(SimSide side) noexcept {
    return side == client_side ? server_side : client_side;
}

}  // namespace

SimNet::SimNet(std::uint64_t seed, std::uint32_t reactor_count, SimTape* tape) noexcept
    : tape_(tape),
      random_(seed, tape),
      touched_(reactor_count),
      backlogs_(reactor_count),
      listening_(reactor_count, true) {}

bool SimNet::happens(std::uint32_t chance, std::uint32_t whole) noexcept {
    if (chance == 0) return false;
    if (!random_.chance(chance, whole)) return false;
    faults_++;
    return true;
}

void SimNet::push(Nanos at, Kind kind, LinkId link, SimSide side, std::uint64_t value) noexcept {
    heap_.push({.at = std::max(at, now_),
                .serial = serial_++,
                .value = value,
                .link = link,
                .kind = kind,
                .side = side});
}

void SimNet::alarm(Nanos at, std::uint64_t value) noexcept {
    push(at, Kind::alarm, no_link_id, client_side, value);
}

void SimNet::advance(Nanos to) noexcept {
    RC_CHECK(to <= next_at());
    now_ = std::max(now_, to);
}

SimNet::Event SimNet::step() noexcept {
    RC_CHECK(!heap_.empty());
    const Entry entry = heap_.top();
    heap_.pop();
    now_ = std::max(now_, entry.at);
    events_++;
    trace(static_cast<std::uint64_t>(entry.at));
    trace((std::uint64_t{entry.link} << 32) | (static_cast<std::uint64_t>(entry.kind) << 8) |
          entry.side);
    trace(entry.value);
    return handle(entry);
}

SimNet::Event SimNet::handle(const Entry& entry) noexcept {
    if (entry.kind == Kind::alarm) return {.kind = EventKind::alarm, .value = entry.value};
    SimLink& link = links_[entry.link];
    const bool travels = entry.kind != Kind::touch && entry.kind != Kind::readable;
    if (travels && !link.holed && link.clogged_until > now_) {
        push(link.clogged_until, entry.kind, entry.link, entry.side, entry.value);
        return {};
    }
    switch (entry.kind) {
        case Kind::connect:
            if (!listening_[link.reactor]) {
                push(now_ + link.delay, Kind::reset, entry.link, client_side, 0);
            } else {
                backlogs_[link.reactor].push_back(entry.link);
            }
            return {};
        case Kind::arrive:
        case Kind::fin:
            return arrive(entry);
        case Kind::reset:
            return see_reset(entry);
        case Kind::ack: {
            SimStream& stream = link.stream[entry.side];
            if (link.holed) {
                stream.held_ack += entry.value;
                return {};
            }
            RC_CHECK(stream.unacked >= entry.value);
            stream.unacked -= entry.value;
            if (entry.side == client_side) return {.kind = EventKind::room, .value = entry.link};
            touch(entry.link);
            return {};
        }
        case Kind::touch:
            touch(entry.link);
            return {};
        case Kind::readable:
            return {.kind = EventKind::readable, .value = entry.link};
        case Kind::alarm:
            break;
    }
    RC_CHECK(false);
    return {};
}

SimNet::Event SimNet::arrive(const Entry& entry) noexcept {
    SimLink& link = links_[entry.link];
    const SimSide from = other(entry.side);
    SimStream& stream = link.stream[from];
    if (link.holed) {
        if (entry.kind == Kind::fin) return {};  // heal() looks at stream.fin
        stream.held += entry.value;
        return {};
    }
    if (link.broken[entry.side] != 0) return {};
    if (link.gone[from] && link.broken[from] != 0) return {};  // it was aborted: its bytes are gone
    if (link.gone[entry.side]) {
        // Nobody reads there: an RST goes back. A bare FIN is fine.
        if (entry.kind == Kind::arrive && link.broken[from] == 0) {
            push(now_ + travel(link), Kind::reset, entry.link, from, 0);
        }
        return {};
    }
    if (entry.kind == Kind::fin) {
        stream.fin_arrived = true;
    } else {
        stream.arrived += entry.value;
        RC_CHECK(stream.arrived <= stream.accepted);
    }
    if (entry.side == client_side) return {.kind = EventKind::readable, .value = entry.link};
    touch(entry.link);
    return {};
}

SimNet::Event SimNet::see_reset(const Entry& entry) noexcept {
    SimLink& link = links_[entry.link];
    if (link.holed) {
        link.held_reset[entry.side] = true;
        return {};
    }
    if (link.broken[entry.side] != 0 || link.gone[entry.side]) return {};
    link.broken[entry.side] = ECONNRESET;
    SimStream& stream = link.stream[other(entry.side)];
    if (happens(chances.lossy_reset)) {
        stream.arrived = stream.read;
        clear(stream);
    }
    if (entry.side == client_side) return {.kind = EventKind::readable, .value = entry.link};
    touch(entry.link);
    return {};
}

Nanos SimNet::travel(const SimLink& link) noexcept {
    Nanos time = link.delay;
    if (time > 0) time += static_cast<Nanos>(random_.below(static_cast<std::uint64_t>(time)));
    if (happens(chances.slow)) time *= 50;
    return time;
}

void SimNet::touch(LinkId id) noexcept {
    SimLink& link = links_[id];
    if (link.touched || link.conn == UINT32_MAX) return;
    link.touched = true;
    touched_[link.reactor].push_back(id);
}

void SimNet::touch_later(LinkId link, Nanos after) noexcept {
    push(now_ + after, Kind::touch, link, server_side, 0);
}

LinkId SimNet::dial(std::uint32_t reactor,
                    Nanos delay,
                    std::size_t up_window,
                    std::size_t down_window) noexcept {
    RC_CHECK(reactor < touched_.size());
    const auto id = static_cast<LinkId>(links_.size());
    SimLink& link = links_.emplace_back();
    link.reactor = reactor;
    link.delay = delay;
    link.stream[client_side].window = up_window;
    link.stream[server_side].window = down_window;
    push(now_ + travel(link), Kind::connect, id, server_side, 0);
    return id;
}

void SimNet::stop_listening(std::uint32_t reactor) noexcept {
    listening_[reactor] = false;
    for (const LinkId id : backlogs_[reactor]) {
        push(now_ + links_[id].delay, Kind::reset, id, client_side, 0);
    }
    backlogs_[reactor].clear();
}

void SimNet::forget(std::uint32_t reactor) noexcept {
    stop_listening(reactor);
    touched_[reactor].clear();
    for (SimLink& link : links_) {
        if (link.reactor != reactor) continue;
        link.touched = false;
        link.conn = UINT32_MAX;
    }
}

void SimNet::schedule_arrival(LinkId id, SimSide from, std::size_t size) noexcept {
    SimLink& link = links_[id];
    SimStream& stream = link.stream[from];
    while (size > 0) {
        std::size_t part = size;
        if (size > 1 && happens(chances.split)) part = random_.between(1, size - 1);
        stream.last_arrival = std::max(stream.last_arrival, now_ + travel(link));
        push(stream.last_arrival, Kind::arrive, id, other(from), part);
        size -= part;
    }
}

SimPipe SimNet::take_pipe() noexcept {
    if (!empty_pipes_.empty()) {
        SimPipe pipe = std::move(empty_pipes_.back());
        empty_pipes_.pop_back();
        return pipe;
    }
    int ends[2] = {-1, -1};
    RC_CHECK(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    return {.reader = Fd(ends[0]), .writer = Fd(ends[1])};
}

bool SimNet::splice(SimStream& stream, Bytes bytes, int file, std::int64_t at) noexcept {
    SimStream::Piece piece;
    piece.pages = take_pipe();
    off64_t offset = at;
    std::size_t left = bytes.size();
    while (left > 0) {
        const ssize_t moved = ::splice(file, &offset, piece.pages.writer.get(), nullptr, left, 0);
        RC_CHECK(moved > 0);  // spliced_max fits into a pipe
        left -= static_cast<std::size_t>(moved);
    }
    piece.left = bytes.size();
    stream.pieces.push_back(std::move(piece));
    pipes_++;
    by_reference_++;
    return true;
}

bool SimNet::transmit(LinkId id,
                      SimSide from,
                      Bytes bytes,
                      int file,
                      std::int64_t offset) noexcept {
    SimLink& link = links_[id];
    SimStream& stream = link.stream[from];
    RC_CHECK(!stream.fin);
    RC_CHECK(bytes.size() <= stream.room());
    const std::size_t size = bytes.size();
    stream.accepted += size;
    stream.last_accepted = now_;
    stream.unacked += size;
    const bool by_reference = file >= 0 && pipes_ + size / spliced_max + 1 <= pipes_max;
    while (by_reference && !bytes.empty()) {
        const Bytes part = bytes.first(std::min(bytes.size(), spliced_max));
        static_cast<void>(splice(stream, part, file, offset));
        offset += static_cast<std::int64_t>(part.size());
        bytes = bytes.subspan(part.size());
    }
    if (!bytes.empty()) {
        SimStream::Piece piece;
        piece.bytes = as_text(bytes);
        piece.left = bytes.size();
        stream.pieces.push_back(std::move(piece));
    }
    schedule_arrival(id, from, size);
    return by_reference;
}

void SimNet::take(SimStream& stream, std::string& into, std::size_t size) noexcept {
    RC_CHECK(size <= stream.ready());
    stream.read += size;
    while (size > 0) {
        SimStream::Piece& piece = stream.pieces.front();
        const std::size_t part = std::min(size, piece.left);
        if (piece.pages.reader.valid()) {
            const std::size_t before = into.size();
            into.resize(before + part);
            const ssize_t got = ::read(piece.pages.reader.get(), into.data() + before, part);
            RC_CHECK(got == static_cast<ssize_t>(part));
        } else {
            into.append(piece.bytes, piece.begin, part);
            piece.begin += part;
        }
        piece.left -= part;
        size -= part;
        if (piece.left > 0) return;
        if (piece.pages.reader.valid()) {
            pipes_--;
            empty_pipes_.push_back(std::move(piece.pages));
        }
        stream.pieces.pop_front();
    }
}

void SimNet::clear(SimStream& stream) noexcept {
    for (const SimStream::Piece& piece : stream.pieces) {
        if (piece.pages.reader.valid()) pipes_--;
    }
    stream.pieces.clear();
}

void SimNet::acknowledge(LinkId id, SimSide reader, std::size_t size) noexcept {
    if (size == 0) return;
    push(now_ + travel(links_[id]), Kind::ack, id, other(reader), size);
}

void SimNet::finish(LinkId id, SimSide from) noexcept {
    SimLink& link = links_[id];
    SimStream& stream = link.stream[from];
    if (stream.fin || link.broken[from] != 0) return;
    stream.fin = true;
    stream.last_arrival = std::max(stream.last_arrival, now_ + travel(link));
    push(stream.last_arrival, Kind::fin, id, other(from), 0);
}

void SimNet::abandon(LinkId id, SimSide from) noexcept {
    push(now_ + travel(links_[id]), Kind::reset, id, other(from), 0);
}

void SimNet::disconnect(LinkId id, SimSide from, bool orderly) noexcept {
    SimLink& link = links_[id];
    if (link.gone[from]) return;
    const bool unread = link.stream[other(from)].ready() > 0;
    if (link.broken[from] == 0 && (!orderly || unread)) {
        abandon(id, from);
    } else {
        finish(id, from);
    }
    link.gone[from] = true;
    clear(link.stream[other(from)]);
    link.stream[other(from)].arrived = link.stream[other(from)].read;
    // What a peer that gave up still had to send is nobody's: free the pages.
    if (link.gone[other(from)] || !orderly) clear(link.stream[from]);
    if (!orderly) link.stream[from].arrived = link.stream[from].read;
    if (!orderly) link.broken[from] = ECONNRESET;
}

// The client's side.

std::size_t SimNet::send(LinkId id, std::string_view bytes) noexcept {
    SimLink& link = links_[id];
    SimStream& stream = link.stream[client_side];
    if (link.broken[client_side] != 0 || link.gone[client_side] || stream.fin) return 0;
    const std::size_t size = std::min(bytes.size(), stream.room());
    if (size > 0) {
        static_cast<void>(transmit(id, client_side, as_bytes(bytes.substr(0, size)), -1, 0));
    }
    return size;
}

std::size_t SimNet::read(LinkId id, std::string& into, std::size_t most) noexcept {
    SimLink& link = links_[id];
    if (link.gone[client_side]) return 0;
    SimStream& stream = link.stream[server_side];
    const std::size_t size = std::min(most, stream.ready());
    take(stream, into, size);
    acknowledge(id, client_side, size);
    return size;
}

void SimNet::shutdown(LinkId link) noexcept {
    finish(link, client_side);
}

void SimNet::close(LinkId link) noexcept {
    disconnect(link, client_side, true);
}

void SimNet::reset(LinkId link) noexcept {
    disconnect(link, client_side, false);
}

bool SimNet::ended(LinkId id) noexcept {
    const SimStream& stream = links_[id].stream[server_side];
    return stream.at_end() && stream.ready() == 0;
}

bool SimNet::broken(LinkId id) noexcept {
    const SimLink& link = links_[id];
    return link.broken[client_side] != 0 && link.stream[server_side].ready() == 0;
}

// Faults.

void SimNet::clog(LinkId link, Nanos until) noexcept {
    links_[link].clogged_until = std::max(links_[link].clogged_until, until);
    faults_++;
}

void SimNet::hole(LinkId link) noexcept {
    links_[link].holed = true;
    faults_++;
}

void SimNet::cut(LinkId link) noexcept {
    push(now_ + travel(links_[link]), Kind::reset, link, client_side, 0);
    push(now_ + travel(links_[link]), Kind::reset, link, server_side, 0);
    faults_++;
}

Nanos SimNet::heal() noexcept {
    Nanos last = now_;
    for (LinkId id = 0; id < links_.size(); id++) {
        SimLink& link = links_[id];
        last = std::max(last, link.clogged_until);
        if (!std::exchange(link.holed, false)) continue;
        for (const SimSide side : {client_side, server_side}) {
            SimStream& stream = link.stream[side];
            schedule_arrival(id, side, std::exchange(stream.held, 0));
            if (stream.fin) {
                stream.last_arrival = std::max(stream.last_arrival, now_ + travel(link));
                push(stream.last_arrival, Kind::fin, id, other(side), 0);
            }
            const std::size_t acks = std::exchange(stream.held_ack, 0);
            if (acks > 0) push(now_ + link.delay, Kind::ack, id, side, acks);
            if (std::exchange(link.held_reset[side], false)) {
                push(now_ + travel(link), Kind::reset, id, side, 0);
            }
        }
    }
    return last;
}

}  // namespace ringcast::io
