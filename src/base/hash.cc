#include "base/hash.h"

// The whole of xxHash as static inline functions; no library to link. Here and nowhere else, as it
// is 6,000 lines.
#define XXH_INLINE_ALL  // NOLINT: xxHash names it
#include <xxhash.h>

namespace ringcast {

std::uint64_t hash_bytes(Bytes bytes, std::uint64_t seed) noexcept {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace ringcast
