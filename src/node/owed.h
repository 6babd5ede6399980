#pragma once

// What a client has not acknowledged of one topic: what it takes along from one connection to the
// next of its session.

#include <cstdint>
#include <string>
#include <vector>

#include "feed/pool.h"

namespace ringcast::node {

struct Owed {
    std::string topic;
    std::uint64_t epoch = 0;
    std::vector<feed::Seq> open;  // offsets, increasing, at most feed::AckWindow::span
};

// How many subscribers missed a record.
struct Missed {
    feed::Seq offset = 0;
    std::uint64_t clients = 0;
};

// Memory of it, about.
[[nodiscard]] inline std::size_t held_bytes(const Owed& owed) noexcept {
    return sizeof(Owed) + owed.topic.capacity() + owed.open.capacity() * sizeof(feed::Seq) + 32;
}

}  // namespace ringcast::node
