#pragma once

// Counts and rates of very many keys in memory that does not depend on how many there are: the
// count-min sketch (G. Cormode, S. Muthukrishnan, "An improved data stream summary", 2005). Each
// key has a cell in each of four rows; what is known of it is the least of the four. So nothing is
// ever counted too low, and too high only where four other keys share its cells by chance: keys
// are seeded hashes, so nobody can arrange that.
//
// Nothing is entered, looked for or evicted, which is why all shards can share one without a lock:
// plain relaxed additions, touched a few times a connection. Two shards that add the same key at
// the same moment may both be let in at the last place.
//
// Any thread.

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/time.h"
#include "node/bucket.h"

namespace ringcast::node {

constexpr std::uint32_t sketch_rows = 4;

// Cells in a row for so many counted things: a quarter of them. With a limit of 100 for one key,
// those who are at it fill one cell in 25 at most, so a stranger meets four of them once in 390,000
// times.
[[nodiscard]] std::uint32_t sketch_width(std::uint64_t count_max) noexcept;

// The cells of a sketch: zeroed memory whose pages stay untouched until they are used.
template <typename T>
class SketchCells {
  public:
    explicit SketchCells(std::uint32_t width) noexcept;
    // The cell of `key` in `row`.
    [[nodiscard]] T& at(std::uint32_t row, std::uint64_t key) noexcept {
        const auto first = static_cast<std::uint32_t>(key);
        const auto step = static_cast<std::uint32_t>(key >> 32) | 1U;
        return cells_[std::size_t{row} * width_ + ((first + row * step) & (width_ - 1))];
    }

    [[nodiscard]] std::uint32_t width() const noexcept { return width_; }

  private:
    struct Free {
        void operator()(T* cells) const noexcept { std::free(cells); }
    };
    std::uint32_t width_;  // a power of two
    std::unique_ptr<T[], Free> cells_;
};

class CountSketch {
  public:
    explicit CountSketch(std::uint32_t width) noexcept : cells_(width) {}

    // One more under `key`; how many there are now, or seem to be.
    std::uint32_t add(std::uint64_t key) noexcept;
    // The same unless there are `limit` already. False: nothing has changed. `limit` 0: no limit.
    [[nodiscard]] bool add_within(std::uint64_t key, std::uint64_t limit) noexcept;
    // Precondition: it was added.
    void remove(std::uint64_t key) noexcept;
    [[nodiscard]] std::uint32_t count(std::uint64_t key) noexcept;
    // Under all keys together. Looks at a whole row: for tests.
    [[nodiscard]] std::uint64_t total() noexcept;

  private:
    SketchCells<std::uint32_t> cells_;
};

// A Bucket for each key (node/bucket.h): what is kept is the moment at which it would be full.
class RateSketch {
  public:
    explicit RateSketch(std::uint32_t width) noexcept : cells_(width) {}

    // Takes one if the rate allows it at `now`; a refused one costs nothing.
    [[nodiscard]] bool take(std::uint64_t key, Rate rate, Nanos now) noexcept;

  private:
    SketchCells<Nanos> cells_;
};

}  // namespace ringcast::node
