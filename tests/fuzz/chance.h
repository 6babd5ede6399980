#pragma once

// The questions of base/random.h answered from a fuzzer's input, so that a fuzzer can walk the
// models of the unit tests and shrink a walk that failed. Small answers take few bytes: then one
// byte changed is one decision changed. When the input is used up every answer is zero: ask over()
// before each step.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace ringcast::test {

class FuzzChance {
  public:
    explicit FuzzChance(Bytes input) : rest_(input) {}

    [[nodiscard]] bool over() const { return rest_.empty(); }

    std::uint64_t next() { return take(sizeof(std::uint64_t)); }
    std::uint64_t below(std::uint64_t n) {
        std::size_t size = 1;
        while (size < sizeof(n) && (n - 1) >> (8 * size) != 0)
            size++;
        return take(size) % n;
    }
    std::uint64_t between(std::uint64_t low, std::uint64_t high) {
        return low + below(high - low + 1);
    }
    bool chance(std::uint64_t part, std::uint64_t whole) { return below(whole) < part; }

  private:
    std::uint64_t take(std::size_t size) {
        std::uint64_t value = 0;
        for (const std::byte byte : rest_.first(std::min(size, rest_.size())))
            value = value << 8 | static_cast<std::uint64_t>(byte);
        rest_ = rest_.subspan(std::min(size, rest_.size()));
        return value;
    }

    Bytes rest_;
};

}  // namespace ringcast::test
