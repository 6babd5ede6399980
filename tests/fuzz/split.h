#pragma once

// How fuzz targets cut their input. The first byte says how many of the bytes behind it are sizes
// of pieces (none to 31; none: the input stays whole). The sizes are used in turn, round and round;
// what follows them is the input. So a fuzzer moves one cut by changing one byte.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "base/bytes.h"

namespace ringcast::test {

class Cutter {
  public:
    Cutter() = default;  // leaves everything whole
    // Takes the sizes from the front of `input`.
    explicit Cutter(Bytes& input) {
        if (input.empty()) return;
        const auto asked = std::to_integer<std::size_t>(input[0]) % 32;
        const std::size_t count = std::min(asked, input.size() - 1);
        sizes_ = input.subspan(1, count);
        input = input.subspan(1 + count);
    }

    // The next piece of `rest`, and `rest` without it.
    Bytes cut(Bytes& rest) {
        std::size_t size = rest.size();
        if (!sizes_.empty()) {
            size = std::min(size, 1 + std::to_integer<std::size_t>(sizes_[turn_]));
            turn_ = (turn_ + 1) % sizes_.size();
        }
        const Bytes piece = rest.first(size);
        rest = rest.subspan(size);
        return piece;
    }

  private:
    Bytes sizes_;
    std::size_t turn_ = 0;
};

// Ends the run: the property is broken.
inline void demand(bool property, const char* what) {
    if (property) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

}  // namespace ringcast::test
