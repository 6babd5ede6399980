#pragma once

// The one place where sends start.
//
// Two kinds of work wait here. A *ready session* has bytes of its own to get rid of (replies, the
// rest of a begun record, records it missed while it was blocked). A *walk* is a lane that got new
// records: its rows are visited once, in order, each that is free gets one slice from its cursor to
// the head. Records that arrive during a walk make the remaining slices longer, not the walk.
//
// Slices are gathered into batches of up to io::send_batch_max, at most one per connection, and
// answered before anything else moves, so no row changes its place while a slice of it is out.
// Connections that fail in a batch are only noted and cut after it.
//
// Where a topic's rule has a flush interval, a walk begins so long after the first record that the
// last one did not bring to everybody, and brings what came meanwhile as one slice. Whoever is on
// the ready list does not wait for that.
//
// A turn's work is bounded by a budget; what is left waits for the next turn, behind everybody
// else's (walks rotate), so one busy topic starves no other.

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "io/reactor.h"
#include "node/counters.h"
#include "node/sessions.h"
#include "node/slow_policies.h"

namespace ringcast::node {

class Pump {
  public:
    Pump(const Config& config,
         io::Reactor& reactor,
         Sessions& sessions,
         feed::TopicTable& topics,
         Counters& counters) noexcept;
    Pump(const Pump&) = delete;
    Pump& operator=(const Pump&) = delete;

    // What happens to those who fall off the log.
    [[nodiscard]] SlowPolicies& policies() noexcept { return policies_; }
    // New records were appended to this lane of `topic`.
    void mark(feed::Topic& topic, feed::LaneKind kind) noexcept;
    // When the next lane has gathered for long enough (reactor time); far in the future: none does.
    // Until then idle() may be true.
    [[nodiscard]] Nanos next_due() const noexcept;
    // Records so far.
    [[nodiscard]] std::uint64_t marked() const noexcept { return marked_; }
    // One turn's worth of sends.
    void run() noexcept;
    // Closes a client of a server that stops and has no time left for what it is still owed. It is
    // told what that is by a `gap` per topic; one who reads payloads only, by the close code.
    void cut_short(io::ConnIndex conn) noexcept;
    // The next walk has not begun, and what its readers have to get by now takes many turns:
    // records that come a moment later are worth waiting for, since they cost little in the same
    // slices.
    [[nodiscard]] bool long_walk_ahead() noexcept;
    // Nothing waits but what a full socket holds up.
    [[nodiscard]] bool idle() const noexcept;

  private:
    // What a slice of the batch was taken from. No lane: the outbox, or the static body.
    struct Origin {
        feed::Lane* lane = nullptr;
        std::uint32_t row = 0;
        bool body = false;
        feed::Slice slice;
    };
    struct WalkEntry {
        std::uint32_t topic = 0;
        feed::LaneKind kind = feed::LaneKind::envelope;
    };

    // A walk that may not begin before `due`.
    struct Held {
        Nanos due = 0;
        WalkEntry walk;
    };

    void mark_gathering(feed::Lane& lane, const WalkEntry& entry) noexcept;
    void hold(feed::Lane& lane, const WalkEntry& entry, Nanos due) noexcept;
    void release_held() noexcept;
    [[nodiscard]] feed::Topic& topic_of(const Subscription& subscription) noexcept;
    [[nodiscard]] bool spent(std::int64_t floor) noexcept;
    void serve_ready(std::int64_t floor) noexcept;
    void serve_walks(std::int64_t floor) noexcept;
    [[nodiscard]] bool offer(io::ConnIndex conn) noexcept;
    [[nodiscard]] bool offer_torn(io::ConnIndex conn, Session& session) noexcept;
    [[nodiscard]] bool offer_records(io::ConnIndex conn, Session& session) noexcept;
    void lapse(io::ConnIndex conn,
               feed::Topic& topic,
               feed::Lane& lane,
               const Subscription& at) noexcept;
    void restart(io::ConnIndex conn,
                 const feed::Topic& topic,
                 feed::Lane& lane,
                 const Subscription& at) noexcept;
    void walk_front(std::int64_t floor) noexcept;
    void walk(feed::Lane& lane, std::int64_t floor) noexcept;
    void add(io::ConnIndex conn,
             Bytes bytes,
             std::int64_t file_offset,
             const Origin& origin) noexcept;
    void add_record(io::ConnIndex conn,
                    feed::Lane& lane,
                    std::uint32_t row,
                    feed::Slice slice) noexcept;
    void flush() noexcept;
    void settle(const io::Send& send, const Origin& origin) noexcept;
    void settle_record(const io::Send& send, const Origin& origin) noexcept;

    io::Reactor& reactor_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    Counters& counters_;
    SlowPolicies policies_;
    std::array<io::Send, io::send_batch_max> sends_;
    std::array<Origin, io::send_batch_max> origins_;
    std::uint32_t count_ = 0;
    std::int64_t budget_ = 0;
    Nanos began_ = 0;   // this turn's share
    Nanos looked_ = 0;  // at the clock, last
    bool walks_first_ = false;
    std::uint64_t marked_ = 0;
    std::deque<WalkEntry> walks_;
    std::vector<Held> held_;               // a heap, the earliest in front
    std::vector<io::ConnIndex> visiting_;  // were ready; those before visited_ have been served
    std::size_t visited_ = 0;
    std::vector<io::ConnIndex> failed_;
};

}  // namespace ringcast::node
