#pragma once

// The network of the simulation: virtual time, and links between clients (the world's side, see
// tests/sim) and the shards' reactors (io/sim.h).
//
// A link is one TCP connection: two byte streams with a delay, a window, and faults. Bytes that
// were accepted stay in the sender's window until the other end has read them and the ack is back.
// A clog holds everything back for a while, a hole until heal(); a cut is an RST out of nowhere,
// seen by the two ends at different times. Bytes are delivered in any pieces.
//
// Slices of the log file that go by reference are spliced into a pipe: the pipe holds the pages, as
// a socket would, and they are read when the peer reads them. So a page that is written too early
// reaches the client as corruption, and one that was punched out first does not.
//
// Everything that happens is an event on one heap, in order of (time, serial). All chance comes
// from one SimRandom, all that is decided is a function of the seed or of the tape that it plays;
// trace() folds it into a hash.
// One thread owns all of it.

#include <cstdint>
#include <deque>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "io/sim_random.h"
#include "io/socket.h"

namespace ringcast::io {

using LinkId = std::uint32_t;
constexpr LinkId no_link_id = UINT32_MAX;

// How often what goes wrong, out of 1024 unless it says otherwise. All zeros: a calm day.
struct SimChances {
    std::uint32_t slow = 0;                // a piece takes fifty times as long
    std::uint32_t split = 0;               // bytes sent together arrive in several pieces
    std::uint32_t lossy_reset = 0;         // an RST takes away what the receiver has not read yet
    std::uint32_t short_send = 0;          // a send takes a part of what would fit
    std::uint32_t refused_send = 0;        // ... or nothing
    std::uint32_t broken_send = 0;         // out of 65536: an error, and the connection is gone
    std::uint32_t single_bytes = 0;        // bytes are handed over one by one
    std::uint32_t cut_view = 0;            // ... or in two views
    std::uint32_t starved = 0;             // no buffer: this connection is read a moment later
    std::uint32_t late_close = 0;          // on_closed() takes its time
    std::uint32_t accept_pause = 0;        // no descriptors: the backlog waits
    std::uint32_t leak_pause = 0;          // bytes come although reading is paused: they were there
    std::uint32_t late_writable = 0;       // the socket has room, and we hear of it later
    std::uint32_t slow_work = 0;           // a look at the clock finds a millisecond gone
    std::uint32_t completions_max = 4096;  // of one wait()
};

// A pipe that holds pages of the log.
struct SimPipe {
    Fd reader;
    Fd writer;
};

// One direction of a link. `read` <= `arrived` <= `accepted` are counts over its life.
struct SimStream {
    struct Piece {
        std::string bytes;
        std::size_t begin = 0;
        SimPipe pages;  // instead of bytes
        std::size_t left = 0;
    };

    std::deque<Piece> pieces;
    std::uint64_t accepted = 0;
    std::uint64_t arrived = 0;
    std::uint64_t read = 0;
    std::size_t window = std::size_t{64} * 1024;
    std::size_t unacked = 0;  // of the window
    std::size_t held = 0;     // arrivals that a hole keeps
    std::size_t held_ack = 0;
    Nanos last_arrival = 0;
    Nanos last_accepted = 0;
    Nanos last_writable = 0;  // its sender was told that there is room again
    bool fin = false;         // behind everything accepted
    bool fin_arrived = false;

    [[nodiscard]] std::size_t room() const noexcept {
        return unacked < window ? window - unacked : 0;
    }
    [[nodiscard]] std::size_t ready() const noexcept {
        return static_cast<std::size_t>(arrived - read);
    }
    [[nodiscard]] bool at_end() const noexcept { return fin_arrived && arrived == accepted; }
};

enum SimSide : std::uint8_t { client_side, server_side };

struct SimLink {
    SimStream stream[2];            // by the side that sends
    int broken[2] = {0, 0};         // errno that this side sees: an RST came, or it gave up itself
    bool gone[2] = {false, false};  // this side has closed: nobody reads there any more
    bool held_reset[2] = {false, false};  // an RST for this side, kept by a hole
    bool holed = false;
    Nanos accepted_at = never;  // by the reactor
    Nanos clogged_until = 0;
    Nanos delay = 0;  // one way, at least
    std::uint32_t reactor = 0;
    std::uint32_t conn = UINT32_MAX;  // the reactor's index while it is live
    bool touched = false;             // on the reactor's list
};

class SimNet {
  public:
    // What the world hears of. `alarm`: the time that it asked for has come, value is its own.
    enum class EventKind : std::uint8_t { nothing, readable, room, alarm };
    struct Event {
        EventKind kind = EventKind::nothing;
        std::uint64_t value = 0;  // a link, or what alarm() was told
    };

    SimNet(std::uint64_t seed, std::uint32_t reactor_count, SimTape* tape = nullptr) noexcept;

    [[nodiscard]] SimTape* tape() const noexcept { return tape_; }
    [[nodiscard]] Nanos now() const noexcept { return now_; }
    [[nodiscard]] Nanos wall() const noexcept { return now_ + wall_skew; }
    [[nodiscard]] Nanos next_at() const noexcept { return heap_.empty() ? never : heap_.top().at; }
    // Moves the clock to the next event and handles it. Precondition: there is one.
    Event step() noexcept;
    void advance(Nanos to) noexcept;  // no event may be due before
    void alarm(Nanos at, std::uint64_t value) noexcept;

    // The client's side of a link.
    [[nodiscard]] LinkId dial(std::uint32_t reactor,
                              Nanos delay,
                              std::size_t up_window,
                              std::size_t down_window) noexcept;
    [[nodiscard]] std::size_t send(LinkId link, std::string_view bytes) noexcept;
    // At most `most` bytes behind `into`; how many.
    std::size_t read(LinkId link, std::string& into, std::size_t most) noexcept;
    void shutdown(LinkId link) noexcept;
    void close(LinkId link) noexcept;  // RST if something is unread
    void reset(LinkId link) noexcept;
    [[nodiscard]] bool ended(LinkId link) noexcept;  // FIN, and everything before it was read
    [[nodiscard]] bool broken(LinkId link) noexcept;

    // Faults.
    void clog(LinkId link, Nanos until) noexcept;
    void hole(LinkId link) noexcept;
    void cut(LinkId link) noexcept;
    // Ends holes: what was kept arrives. Clogs end by themselves; the last one then.
    [[nodiscard]] Nanos heal() noexcept;

    // For the reactors.
    [[nodiscard]] SimLink& link(LinkId id) noexcept { return links_[id]; }
    [[nodiscard]] const SimLink& link(LinkId id) const noexcept { return links_[id]; }
    [[nodiscard]] std::vector<LinkId>& touched(std::uint32_t reactor) noexcept {
        return touched_[reactor];
    }
    [[nodiscard]] std::deque<LinkId>& backlog(std::uint32_t reactor) noexcept {
        return backlogs_[reactor];
    }
    void touch(LinkId link) noexcept;
    void touch_later(LinkId link, Nanos after) noexcept;
    void stop_listening(std::uint32_t reactor) noexcept;
    // Its process is gone: whatever it still had in its backlog or in its hands is nobody's.
    void forget(std::uint32_t reactor) noexcept;
    // Another reactor of that number takes its place.
    void listen(std::uint32_t reactor) noexcept { listening_[reactor] = true; }
    // Puts `bytes` on their way; by page reference when `file` is a descriptor and pipes are left.
    // The caller has seen to it that there is room. True: by reference.
    bool transmit(LinkId link, SimSide from, Bytes bytes, int file, std::int64_t offset) noexcept;
    void take(SimStream& stream, std::string& into, std::size_t size) noexcept;
    void acknowledge(LinkId link, SimSide reader, std::size_t size) noexcept;
    void finish(LinkId link, SimSide from) noexcept;  // FIN
    // `from` has no socket any more, or an RST comes for it; the other end hears of it.
    void abandon(LinkId link, SimSide from) noexcept;
    void disconnect(LinkId link, SimSide from, bool orderly) noexcept;
    [[nodiscard]] bool listening(std::uint32_t reactor) const noexcept {
        return listening_[reactor];
    }

    void trace(std::uint64_t word) noexcept {
        hash_ = (hash_ ^ word) * 0x9e3779b97f4a7c15;
        hash_ ^= hash_ >> 29;
    }
    [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
    [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
    [[nodiscard]] std::uint32_t pipes() const noexcept { return pipes_; }
    [[nodiscard]] std::uint64_t by_reference() const noexcept { return by_reference_; }
    [[nodiscard]] std::uint64_t faults() const noexcept { return faults_; }
    void count_fault() noexcept { faults_++; }
    [[nodiscard]] bool happens(std::uint32_t chance, std::uint32_t whole = 1024) noexcept;

    SimChances chances;
    Nanos wall_skew = 1'700'000'000 * nanos_per_s;

  private:
    enum class Kind : std::uint8_t { connect, arrive, fin, ack, reset, touch, alarm, readable };
    struct Entry {
        Nanos at = 0;
        std::uint64_t serial = 0;
        std::uint64_t value = 0;
        LinkId link = 0;
        Kind kind = Kind::alarm;
        SimSide side = client_side;  // the receiving one

        [[nodiscard]] bool operator>(const Entry& other) const noexcept {
            return at != other.at ? at > other.at : serial > other.serial;
        }
    };

    void push(Nanos at, Kind kind, LinkId link, SimSide side, std::uint64_t value) noexcept;
    [[nodiscard]] Nanos travel(const SimLink& link) noexcept;
    void schedule_arrival(LinkId id, SimSide from, std::size_t size) noexcept;
    [[nodiscard]] bool splice(SimStream& stream, Bytes bytes, int file, std::int64_t at) noexcept;
    Event handle(const Entry& entry) noexcept;
    Event arrive(const Entry& entry) noexcept;
    Event see_reset(const Entry& entry) noexcept;
    void clear(SimStream& stream) noexcept;
    [[nodiscard]] SimPipe take_pipe() noexcept;

    SimTape* const tape_;
    SimRandom random_;
    Nanos now_ = 1000 * nanos_per_s;
    std::uint64_t serial_ = 0;
    std::uint64_t hash_ = 0xcbf29ce484222325;
    std::uint64_t events_ = 0;
    std::uint64_t faults_ = 0;
    std::uint64_t by_reference_ = 0;
    std::uint32_t pipes_ = 0;  // that hold something
    std::vector<SimPipe> empty_pipes_;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap_;
    std::deque<SimLink> links_;
    std::vector<std::vector<LinkId>> touched_;
    std::vector<std::deque<LinkId>> backlogs_;
    std::vector<bool> listening_;
};

}  // namespace ringcast::io
