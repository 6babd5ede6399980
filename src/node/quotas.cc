#include "node/quotas.h"

#include <algorithm>

namespace ringcast::node {

namespace {

constexpr std::uint64_t pending_least = 4096;  // what a backlog may bring at once

}  // namespace

Quotas::Quotas(const Config& config,
               std::uint64_t connections_max,
               std::uint64_t hash_seed) noexcept
    : per_address(config.connections_per_address),
      per_user(config.connections_per_user),
      pending_per_address(config.pending_per_address),
      pending_max(pending_max_of(config, connections_max)),
      connects(Rate::of(config.connects_per_second, config.connects_burst)),
      seed(hash_seed),
      addresses(sketch_width(connections_max)),
      users(sketch_width(connections_max)),
      pending_addresses(sketch_width(connections_max)),
      arrivals(sketch_width(connections_max)) {}

std::uint64_t Quotas::bytes(std::uint64_t connections_max) noexcept {
    const std::uint64_t cells = std::uint64_t{sketch_width(connections_max)} * sketch_rows;
    return cells * (3 * sizeof(std::uint32_t) + sizeof(Nanos));
}

std::uint64_t Quotas::pending_max_of(const Config& config, std::uint64_t connections_max) noexcept {
    if (config.pending_max != 0) return config.pending_max;
    return std::max(connections_max / 2, pending_least);
}

}  // namespace ringcast::node
