#pragma once

// Records of a log on their way to another shard, many in one mail: each behind its size.

#include <cstdint>

#include "base/bytes.h"
#include "feed/compact.h"
#include "feed/log.h"
#include "node/mesh.h"

namespace ringcast::node {

// Records of `log` from `from` on, whole ones, as many as fit into `size_max` bytes but at least
// one; none when `from` is the next one. `end`: the record after the last of them.
// Precondition: log.first() <= from <= log.next().
[[nodiscard]] Parcel pack(const feed::Log& log,
                          feed::Seq from,
                          std::size_t size_max,
                          feed::Seq& end) noexcept;

// The same of what is the latest of each key; `from` may be below what there is.
[[nodiscard]] Parcel pack(const feed::CompactLog& log,
                          feed::Seq from,
                          std::size_t size_max,
                          feed::Seq& end) noexcept;

// Takes the first record off the front of what pack() made. Empty when there is none left.
[[nodiscard]] Bytes unpack(Bytes& packed) noexcept;

// ... with its key and number. No bytes when there is none left.
[[nodiscard]] feed::CompactLog::Record unpack_keyed(Bytes& packed) noexcept;

}  // namespace ringcast::node
