#pragma once

// The hash for everything that comes from outside: topic names, keys, client ids.
//
// XXH3 with a seed: without knowing the seed nobody can prepare names that meet in one slot of a
// table. Draw the seed once a process (Reactor::random) and never show hashes outside. All
// shards must use the same seed, since a topic's home shard is chosen by its hash. The function
// itself is fixed by its specification, but nothing may depend on that: hashes are never stored.

#include <cstdint>

#include "base/bytes.h"

namespace ringcast {

[[nodiscard]] std::uint64_t hash_bytes(Bytes bytes, std::uint64_t seed) noexcept;

}  // namespace ringcast
