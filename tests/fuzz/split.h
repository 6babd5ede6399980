#pragma once

// How fuzz targets cut their input: the first byte seeds the sizes of the pieces, the rest is the
// input. Zero means whole.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "base/bytes.h"

namespace ringcast::test {

class Cutter {
  public:
    explicit Cutter(std::uint8_t seed) : state_(seed) {}

    // The next piece of `rest`, and `rest` without it.
    Bytes cut(Bytes& rest) {
        std::size_t size = rest.size();
        if (state_ != 0) {
            state_ = state_ * 1'103'515'245U + 12'345U;
            const std::uint32_t drawn = state_ >> 16;
            size = std::min<std::size_t>(size, 1 + drawn % ((drawn & 64) != 0 ? 200 : 5));
        }
        const Bytes piece = rest.first(size);
        rest = rest.subspan(size);
        return piece;
    }

  private:
    std::uint32_t state_;
};

// Ends the run: the property is broken.
inline void demand(bool property, const char* what) {
    if (property) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

}  // namespace ringcast::test
