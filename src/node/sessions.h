#pragma once

// All sessions of one shard, and the few things that every other file does to a session: queue a
// frame, close it, cut it, set its timer.
//
// Nothing here sends or unsubscribes. push() and close() put the session on the ready list, from
// which node/pump.h sends; close() and abort() put it on the leaving list, from which the shard
// takes it out of its topics at a moment when nobody walks them.
//
// What is still owed when a session ends. A restart and a FIN of the peer wait for it, bounded in
// time: the one is our doing, and behind the other somebody may still read (RFC 793, 3.5). A close
// frame is answered "as soon as practical" (RFC 6455, 5.5.1), that is behind the frame that has
// begun and the answers that wait: its sender need not look at records any more, and most do not,
// while they all wait for the answer. A client that was replaced (4501) is somewhere else already;
// its old connection is often a dead one, and nobody must receive the same twice. All other endings
// are for what the peer did wrong.
//
// Gates: one byte a connection, in an array of their own, so that a fan-out over ten thousand
// readers touches ten kilobytes and no session. A closed gate keeps lane records back.
//
// Memory. What a session can grow by is counted when it grows, and what it gave back by
// recount(), at the latest when its timer fires: the sum is never too small.
//
// One thread owns all of it.

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "ringcast/config.h"

#include "base/bytes.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "io/reactor.h"
#include "node/counters.h"
#include "node/heartbeat.h"
#include "node/session.h"

namespace ringcast::node {

namespace gate {
constexpr std::uint8_t blocked = 1;   // the socket is full: on_writable() will come
constexpr std::uint8_t in_batch = 2;  // has a slice in the batch being built
constexpr std::uint8_t not_open = 4;  // no records: not open yet, or closing
constexpr std::uint8_t outbox = 8;    // frames wait that go first
constexpr std::uint8_t torn = 16;     // inside a record: the rest of it goes first
constexpr std::uint8_t keeps_back = 31;
constexpr std::uint8_t ready = 32;    // on the ready list
constexpr std::uint8_t leaving = 64;  // on the leaving list
constexpr std::uint8_t ends = 128;    // is ended as soon as it has every record
}  // namespace gate

// The answers to a receive buffer of small requests, and to those that were under way.
constexpr std::size_t outbox_slack = std::size_t{512} * 1024;
// For a connection whatever it does: its session, slot, timer and gate, places on lists, and what
// is known of its address.
constexpr std::size_t connection_bytes = sizeof(Session) + 224;
// For one subscription: its entry and its row in vectors that double, and the wait for home.
constexpr std::size_t subscription_bytes =
    2 * sizeof(Subscription) + 2 * sizeof(feed::Subscriber) + 128;
// For a lane, which has a reader at least: the object itself.
constexpr std::size_t lane_bytes = sizeof(feed::Lane) + 16;
// A client id with its place in the registry, or the topic that a raw client publishes to.
constexpr std::size_t name_bytes = 512;
// What a token says: 64 patterns in each of three lists would be 8 KiB of text already.
constexpr std::size_t identity_bytes_max = std::size_t{24} * 1024;

class Sessions {
  public:
    // `capacity`: connection indexes that the reactor may give out.
    Sessions(const Config& config,
             io::Reactor& reactor,
             Wheel& wheel,
             Counters& counters,
             std::uint32_t capacity) noexcept;
    Sessions(const Sessions&) = delete;
    Sessions& operator=(const Sessions&) = delete;

    // The clock of this turn; everything below reads it.
    void set_now(Tick now) noexcept { now_ = now; }
    [[nodiscard]] Tick now() const noexcept { return now_; }

    Session& create(io::ConnIndex conn) noexcept;
    void erase(io::ConnIndex conn) noexcept;
    [[nodiscard]] Session& operator[](io::ConnIndex conn) noexcept { return slab_[conn]; }
    // The session if it is the one of that serial, or null: the index may belong to another by now.
    [[nodiscard]] Session* find(io::ConnIndex conn, std::uint64_t serial) noexcept;
    [[nodiscard]] Session* find(io::ConnIndex conn) noexcept { return slab_.find(conn); }
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

    [[nodiscard]] std::uint8_t& gate_of(io::ConnIndex conn) noexcept { return gates_[conn]; }
    [[nodiscard]] std::uint8_t* gates() noexcept { return gates_.get(); }

    // Queues a whole frame; nothing happens when the session is closing. A client that lets more
    // than outbox_max wait is not read from until it has taken all of it, so that it makes no more.
    // What comes nevertheless (answers of other shards, notices) is bounded by outbox_slack, behind
    // which it is closed as slow.
    void push(io::ConnIndex conn, Bytes frame) noexcept;
    // The same without a limit but the memory of the caller's own making (echo, HTTP).
    void push_unlimited(io::ConnIndex conn, Bytes frame) noexcept;
    // The rest of a record that is about to go.
    void push_tail(io::ConnIndex conn, Bytes rest) noexcept;

    // Sends a close frame behind what waits and ends the connection in an orderly way; no records
    // any more. Does nothing when it is closing already.
    void close(io::ConnIndex conn, std::uint16_t code, std::string_view reason) noexcept;
    // Closes it with 1012 as soon as it has every record that there is (node/pump.h sees that).
    // Until then it stays open, so whoever calls this bounds the time.
    void restart(io::ConnIndex conn) noexcept;
    void close_for_restart(io::ConnIndex conn) noexcept;  // now
    // The peer sent FIN and no close frame (1006 to its application: RFC 6455, 7.1.5). It may still
    // read, so an open one is ended when it has every record that there is, or cut at the close
    // time-out; whoever is gone for good answers the first send with a reset.
    void wind_up(io::ConnIndex conn) noexcept;
    // It has every record, and gate::ends is set: ends it.
    void caught_up(io::ConnIndex conn) noexcept;
    // Ends it when what waits is sent, without a close frame (HTTP, or the peer is gone halfway).
    void finish(io::ConnIndex conn) noexcept;
    // Cuts it now.
    void abort(io::ConnIndex conn) noexcept;
    // Everything is sent and the session is closing: takes the next step towards the end.
    void flushed(io::ConnIndex conn) noexcept;

    // Stops and goes on reading from a client, for one reason; it is read when none is left.
    void pause(io::ConnIndex conn, std::uint8_t why) noexcept;
    void resume(io::ConnIndex conn, std::uint8_t why) noexcept;
    // Everybody who waits for credit goes on.
    void resume_waiting() noexcept;
    [[nodiscard]] bool anyone_waiting() const noexcept { return !waiting_.empty(); }

    // Counts what the session holds now, beside connection_bytes.
    void recount(io::ConnIndex conn) noexcept;
    [[nodiscard]] std::uint64_t held_bytes() const noexcept { return held_; }
    [[nodiscard]] std::uint64_t subscriptions() const noexcept { return links_; }
    // Cuts those that hold most until `size` bytes are free; nobody who holds next to nothing.
    // O(sessions).
    void cut_largest(std::uint64_t size) noexcept;

    // It is closed when its token ends, or, while it is unproven, at the end of its handshake's
    // time.
    void bound(io::ConnIndex conn) noexcept;
    void set_blocked(io::ConnIndex conn) noexcept;
    void mark_ready(io::ConnIndex conn) noexcept;
    void arm(io::ConnIndex conn) noexcept;  // the timer, from the session's state
    // A connection's timer fired.
    void on_timer(io::ConnIndex conn) noexcept;

    [[nodiscard]] std::vector<io::ConnIndex>& ready() noexcept { return ready_; }
    [[nodiscard]] std::vector<io::ConnIndex>& leaving() noexcept { return leaving_; }
    [[nodiscard]] const Timings& timings() const noexcept { return timings_; }

  private:
    void leave(io::ConnIndex conn) noexcept;
    void begin_closing(io::ConnIndex conn) noexcept;
    [[nodiscard]] bool close_if_over(io::ConnIndex conn) noexcept;

    const Config& config_;
    io::Reactor& reactor_;
    Wheel& wheel_;
    Counters& counters_;
    Timings timings_;
    Slab<Session> slab_;
    struct FreeArray {
        void operator()(std::uint8_t* array) const noexcept;
    };
    std::unique_ptr<std::uint8_t[], FreeArray> gates_;
    std::vector<io::ConnIndex> ready_;
    std::vector<io::ConnIndex> leaving_;
    struct Waiting {
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
    };
    std::vector<Waiting> waiting_;  // paused for credit
    std::uint64_t next_serial_ = 1;
    std::uint64_t held_ = 0;   // bytes, as counted
    std::uint64_t links_ = 0;  // subscriptions, as counted
    std::uint32_t count_ = 0;
    Tick now_ = 0;
};

}  // namespace ringcast::node
