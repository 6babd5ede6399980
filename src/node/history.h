#pragma once

// What a topic's log still has, for a client that asks without subscribing.
//
// Pure functions of the topic, for its home: nothing is kept, created or changed.

#include <cstdint>
#include <string_view>

#include "feed/topic.h"
#include "node/mesh.h"

namespace ringcast::node {

// Of records in one answer, together.
constexpr std::size_t history_size_max = std::size_t{256} * 1024;

struct HistoryWish {
    std::string_view id{};  // of the client's message
    std::string_view topic{};
    feed::Seq from = 0;       // the first wanted record; older ones than are kept begin there
    std::uint32_t limit = 0;  // records
};

// The answer, a whole frame: the records that were sent as they were sent, as many as fit; or the
// error `too_large` when not even the first one does. `topic`: null if nobody knows the name.
[[nodiscard]] Parcel history_frame(const feed::Topic* topic,
                                   const HistoryWish& wish,
                                   std::int64_t wall_ns) noexcept;

}  // namespace ringcast::node
