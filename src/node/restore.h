#pragma once

// What the store has of durable topics, brought to their homes before the shards run.

#include <cstdint>
#include <span>
#include <string>

#include "ringcast/config.h"

#include "base/time.h"
#include "io/store.h"
#include "node/shard.h"

namespace ringcast::node {

struct Restored {
    std::uint64_t topics = 0;
    std::uint64_t records = 0;    // whole ones
    std::uint64_t strangers = 0;  // topics whose rule does not say durable: left as they are
    std::string problem;          // not empty: the server cannot start
};

// Trims each topic by its rule first. Blocks for as long as the disk takes; the shards must exist
// and not run, whatever their threads are. O(records).
[[nodiscard]] Restored restore(const Config& config,
                               io::Store& store,
                               Nanos wall_now,
                               std::span<Shard* const> shards) noexcept;

}  // namespace ringcast::node
