#pragma once

// What one address, one user and all newcomers together may have of the whole server: the counts
// that all shards share. Who asks is node/guard.h.
//
// Any thread.

#include <atomic>
#include <cstdint>

#include "ringcast/config.h"

#include "node/bucket.h"
#include "node/sketch.h"

namespace ringcast::node {

class Quotas {
  public:
    // `connections_max`: of all shards together. `hash_seed` of the hashes that are keys: never
    // shown.
    Quotas(const Config& config, std::uint64_t connections_max, std::uint64_t hash_seed) noexcept;
    Quotas(const Quotas&) = delete;
    Quotas& operator=(const Quotas&) = delete;

    // What it may come to use.
    [[nodiscard]] static std::uint64_t bytes(std::uint64_t connections_max) noexcept;
    // --pending-max, or what stands for it.
    [[nodiscard]] static std::uint64_t pending_max_of(const Config& config,
                                                      std::uint64_t connections_max) noexcept;

    // 0: no limit.
    const std::uint64_t per_address;
    const std::uint64_t per_user;
    const std::uint64_t pending_per_address;
    const std::uint64_t pending_max;
    const Rate connects;
    const std::uint64_t seed;

    CountSketch addresses;          // connections that were let in, or may be
    CountSketch users;              // connections
    CountSketch pending_addresses;  // connections that were not let in yet
    RateSketch arrivals;            // of connections, by address
    alignas(64) std::atomic<std::uint64_t> pending{0};
};

}  // namespace ringcast::node
