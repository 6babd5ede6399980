#pragma once

// What a shard counts: plain numbers, written by its own thread only. Snapshots travel as mail.

#include <cstdint>
#include <string>

namespace ringcast::node {

struct Counters {
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;             // over the connection limit, answered 503
    std::uint64_t crowded = 0;        // ... 429: too many connections of the address
    std::uint64_t hasty = 0;          // ... 429: it connects too often
    std::uint64_t crowded_users = 0;  // ... too many connections of the user
    std::uint64_t evicted = 0;        // cut before they were let in: too many were trying
    std::uint64_t bad_proxies = 0;    // proxies not trusted, or not understood
    std::uint64_t handshake_failures = 0;  // answered with another status than 101 or 200
    std::uint64_t closed = 0;
    std::uint64_t messages_in = 0;  // data messages from clients
    std::uint64_t published = 0;    // records numbered here, as their topic's home
    std::uint64_t delivered = 0;    // records that went whole into a socket
    std::uint64_t sends = 0;        // slices given to the kernel
    std::uint64_t sent_bytes = 0;
    std::uint64_t blocked = 0;    // sends that the socket did not take whole
    std::uint64_t gaps = 0;       // gap notices
    std::uint64_t recovered = 0;  // subscriptions that went on where they had stopped
    std::uint64_t repeats = 0;    // publications that were there already, here at their home
    std::uint64_t committed = 0;  // durable records that are on disk, here at their home
    std::uint64_t uncommitted =
        0;                         // ... publications that were refused, since it did not take them
    std::uint64_t acks = 0;        // records that subscribers acknowledged
    std::uint64_t sent_again = 0;  // ... that they got once more
    std::uint64_t acks_missed = 0;     // ... that they did not acknowledge in time
    std::uint64_t slow_closed = 0;     // clients closed for being slow
    std::uint64_t memory_cut = 0;      // clients cut for what they held, when memory was short
    std::uint64_t rate_limited = 0;    // messages refused by the rate
    std::uint64_t tokens_refused = 0;  // that were not good
    std::uint64_t tokens_expired = 0;  // clients closed since theirs had, or since they showed none
    std::uint64_t pong_timeouts = 0;
    std::uint64_t stalls = 0;          // clients closed because their socket took nothing
    std::uint64_t long_turns = 0;      // turns that used over 5 ms of CPU
    std::uint64_t hindered_turns = 0;  // that took so long with less: the machine was busy
    std::uint64_t late_turns = 0;      // turns that began late (Shard::wait)
    std::uint64_t publish_pauses = 0;  // clients made to wait for another shard
    std::uint64_t turns = 0;
};

// "accepted 3, refused 0, ...": all of them in one line, for the log.
[[nodiscard]] std::string describe(const Counters& counters);

}  // namespace ringcast::node
