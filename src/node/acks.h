#pragma once

// Records that are sent again until their subscribers have acknowledged them.
//
// It takes both sides: who published a record said `ack_required`, and who subscribed said `acks`
// (the lesser of two wishes holds, as MQTT has it: 4.3 of its version 3.1.1). What a subscriber
// owes is a place in the lane and 64 bits (feed/ack_window.h); what is sent again is copied from
// the log into its outbox, but only when nothing else waits there. The log keeps what somebody owes
// for that, within its own limit.
//
// A record is missed by a subscriber that did not acknowledge it before it expired, or after so
// many rounds, or when the log had to let go of it. Home counts these for the publisher.
//
// The lanes concerned are looked at every quarter of the time-out, a part of them each turn. An
// ack that names its record by id alone is looked for among the first 256 that are open.
//
// One thread owns an Acks.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "io/reactor.h"
#include "node/counters.h"
#include "node/home.h"
#include "node/owed.h"
#include "node/sessions.h"
#include "wire/envelope.h"

namespace ringcast::node {

class Acks {
  public:
    Acks(const Config& config,
         std::uint32_t shard,
         io::Reactor& reactor,
         Mesh& mesh,
         Sessions& sessions,
         feed::TopicTable& topics,
         Home& home,
         Counters& counters) noexcept;
    Acks(const Acks&) = delete;
    Acks& operator=(const Acks&) = delete;

    // Row `row` of this lane of envelopes, which has no keys, acknowledges from now on. What its
    // session still owed of the topic is sent again at once, or missed; how many are.
    std::uint32_t ask(io::ConnIndex conn, const feed::Topic& topic, std::uint32_t row) noexcept;

    // The lane goes with its last reader.
    void end(const feed::Topic& topic) noexcept;
    // The subscription ends, and a new one of the same topic may go on with what it owes.
    void keep(io::ConnIndex conn, const Subscription& at) noexcept;

    // A record was acknowledged, by topic and offset or by id, as this client wrote. False: nothing
    // there waited for it.
    [[nodiscard]] bool acknowledge(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;

    // What the client owes now, in all topics.
    [[nodiscard]] std::vector<Owed> owed(io::ConnIndex conn) noexcept;
    // Nobody will acknowledge this any more.
    void miss(const Owed& owed) noexcept;

    // Sends again what is due. True: there is more to do in the next turn.
    [[nodiscard]] bool run() noexcept;
    // When run() has something to do next, if anybody owes anything.
    [[nodiscard]] bool empty() const noexcept { return asked_.empty(); }
    [[nodiscard]] Tick due() const noexcept { return due_; }
    [[nodiscard]] std::uint64_t held_bytes() const noexcept { return held_; }

  private:
    [[nodiscard]] feed::Lane* lane_of(const Subscription& at) noexcept;
    [[nodiscard]] Owed owed_by(const Subscription& at) noexcept;
    [[nodiscard]] std::vector<feed::Seq> take_owed(io::ConnIndex conn,
                                                   const feed::Topic& topic) noexcept;
    void find_demands(feed::Lane& lane, feed::Seq from) noexcept;
    [[nodiscard]] bool confirm(io::ConnIndex conn,
                               const Subscription& at,
                               const wire::Inbound& inbound,
                               std::uint32_t& left) noexcept;
    void send_again(feed::Lane& lane, std::uint32_t row) noexcept;
    [[nodiscard]] bool settle(const feed::Topic& topic, feed::Lane& lane) noexcept;
    void forget_next() noexcept;
    void tell_missed(std::string_view topic,
                     std::uint64_t epoch,
                     std::span<const Missed> all) noexcept;

    const Config& config_;
    std::uint32_t shard_;
    io::Reactor& reactor_;
    Mesh& mesh_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    Home& home_;
    Counters& counters_;
    feed::AckWindow::Policy policy_;
    Tick period_;
    std::vector<std::uint32_t> asked_;  // topics whose lane has a window
    Tick due_ = 0;                      // of the next look at all of them
    std::size_t next_ = 0;              // of `asked_`, in the look that is under way
    std::uint32_t row_ = 0;             // of that one
    bool looking_ = false;
    std::uint64_t held_ = 0;      // by the windows, when they were looked at ...
    std::uint64_t counting_ = 0;  // ... and in the look that is under way
};

}  // namespace ringcast::node
