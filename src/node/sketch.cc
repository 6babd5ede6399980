#include "node/sketch.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "base/check.h"

namespace ringcast::node {

namespace {

constexpr std::uint64_t width_min = 1024;
constexpr std::uint64_t width_max = std::uint64_t{1} << 24;

template <typename T>
[[nodiscard]] std::atomic_ref<T> shared(T& cell) noexcept {
    return std::atomic_ref<T>(cell);
}

}  // namespace

std::uint32_t sketch_width(std::uint64_t count_max) noexcept {
    const std::uint64_t wanted = std::clamp(count_max / 4, width_min, width_max);
    return static_cast<std::uint32_t>(std::bit_ceil(wanted));
}

template <typename T>
SketchCells<T>::SketchCells(std::uint32_t width) noexcept
    : width_(width),
      cells_(static_cast<T*>(std::calloc(std::size_t{width} * sketch_rows, sizeof(T)))) {
    RC_CHECK(std::has_single_bit(width));
    RC_CHECK(cells_ != nullptr);
}

template class SketchCells<std::uint32_t>;
template class SketchCells<Nanos>;

std::uint32_t CountSketch::add(std::uint64_t key) noexcept {
    std::uint32_t least = UINT32_MAX;
    for (std::uint32_t row = 0; row < sketch_rows; row++) {
        const std::uint32_t before =
            shared(cells_.at(row, key)).fetch_add(1, std::memory_order_relaxed);
        least = std::min(least, before + 1);
    }
    return least;
}

bool CountSketch::add_within(std::uint64_t key, std::uint64_t limit) noexcept {
    if (add(key) <= limit || limit == 0) return true;
    remove(key);
    return false;
}

void CountSketch::remove(std::uint64_t key) noexcept {
    for (std::uint32_t row = 0; row < sketch_rows; row++) {
        const std::uint32_t before =
            shared(cells_.at(row, key)).fetch_sub(1, std::memory_order_relaxed);
        RC_CHECK(before > 0);
    }
}

std::uint32_t CountSketch::count(std::uint64_t key) noexcept {
    std::uint32_t least = UINT32_MAX;
    for (std::uint32_t row = 0; row < sketch_rows; row++) {
        least = std::min(least, shared(cells_.at(row, key)).load(std::memory_order_relaxed));
    }
    return least;
}

std::uint64_t CountSketch::total() noexcept {
    std::uint64_t sum = 0;
    for (std::uint32_t cell = 0; cell < cells_.width(); cell++) {
        sum += shared(cells_.at(0, cell)).load(std::memory_order_relaxed);
    }
    return sum;
}

bool RateSketch::take(std::uint64_t key, Rate rate, Nanos now) noexcept {
    if (rate.interval == 0) return true;
    Nanos least = INT64_MAX;
    for (std::uint32_t row = 0; row < sketch_rows; row++) {
        least = std::min(least, shared(cells_.at(row, key)).load(std::memory_order_relaxed));
    }
    const Nanos ready = std::max(least, now);
    if (ready - now > rate.slack) return false;
    const Nanos next = ready + rate.interval;
    // Conservative: no cell is raised above what this key alone needs.
    for (std::uint32_t row = 0; row < sketch_rows; row++) {
        auto cell = shared(cells_.at(row, key));
        Nanos seen = cell.load(std::memory_order_relaxed);
        while (seen < next && !cell.compare_exchange_weak(seen, next, std::memory_order_relaxed)) {
        }
    }
    return true;
}

}  // namespace ringcast::node
