#pragma once

// The books of one shard: what its parts hold must add up, and stay within what was configured. For
// tests; between turns, on the shard's own thread. It visits everything, so it is slow.

#include <cstddef>
#include <cstdint>

#include "ringcast/config.h"

#include "feed/pool.h"
#include "feed/topic.h"
#include "node/sessions.h"

namespace ringcast::node {

struct Holdings {
    std::size_t log_bytes = 0;      // segments
    std::size_t outbox_bytes = 0;   // memory of frames that wait for one client
    std::size_t message_bytes = 0;  // memory of messages that are not complete
    std::uint64_t rows = 0;         // subscriptions that home has answered
};

// Checks, and ends the process where something is wrong (RC_CHECK):
// - every segment in use is some log's, and the rest of the arena is free;
// - cursors and subscriptions refer to each other, no cursor is beyond its log, and a connection
//   stands inside a record of one subscription at most, the one that it says;
// - what the sessions count as held is not less than what they hold;
// - no log, outbox, message or number of subscriptions is larger than its limit allows.
// `capacity`: connection indexes that the reactor may give out.
[[nodiscard]] Holdings audit(const Config& config,
                             Sessions& sessions,
                             feed::TopicTable& topics,
                             const feed::SegmentPool& pool,
                             std::uint32_t capacity) noexcept;

}  // namespace ringcast::node
