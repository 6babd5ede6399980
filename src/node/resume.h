#pragma once

// How a client wants a subscription, and where the cursor of it begins.
//
// Everything here is a function of its arguments. One thread at a time, as for the lane.

#include <cstdint>
#include <string>

#include "base/wheel.h"
#include "feed/topic.h"

namespace ringcast::node {

// Where a client that comes back stopped: it wants every record after `offset` of that epoch. And
// what it wants of presence, and says of itself there (node/presence.h).
struct Resume {
    bool wanted = false;
    bool presence = false;
    feed::Seq offset = 0;
    std::uint64_t epoch = 0;
    // Of a topic with keys: the latest of each first, where it cannot go on; and, if not 0, how
    // much time lies between two batches at least.
    bool snapshot = true;
    Tick interval = 0;
    std::string info = {};     // JSON text
    bool acks = false;         // it acknowledges records (node/acks.h), ...
    std::string session = {};  // ... and is told its token
};

// Where a reader begins, and what it has to be told that it missed.
struct Begin {
    feed::Seq seq = 0;
    bool recovered = false;
    bool snapshot = false;         // with keys: the latest of each first
    const char* reason = nullptr;  // of the gap, if there is one ...
    feed::Seq from = 0;            // ... that begins here
};

[[nodiscard]] Begin begin_of(const feed::Topic& topic,
                             const feed::Lane& lane,
                             const Resume& resume) noexcept;

}  // namespace ringcast::node
