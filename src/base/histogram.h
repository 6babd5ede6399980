#pragma once

// A histogram of latencies from 1 ns to 292 years, with a bounded relative error.
//
// Log-linear buckets, as in HdrHistogram: values below 256 ns have a bucket each; above, every
// power of two is cut into 128 equal buckets. So a bucket is at most 2^-7 (0.79 %) of the values in
// it wide. percentile() answers with the largest value of its bucket, hence never less than the
// true one, and never more than 0.79 % above it; count, mean, min and max are exact.
//
// 57 KiB, allocated once; record() is a few instructions and one counter. One thread owns it;
// shards keep one each and merge() for the reader.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace ringcast {

class Histogram {
  public:
    Histogram() noexcept;

    // A negative value counts as 0: two machines' clocks can make one.
    void record(Nanos value, std::uint64_t count = 1) noexcept;
    void merge(const Histogram& other) noexcept;
    void clear() noexcept;

    // The smallest value such that at least `percent` of 100 of all are not above it, rounded up to
    // the end of its bucket, but never above max(). 0 when nothing was recorded.
    [[nodiscard]] Nanos percentile(double percent) const noexcept;
    [[nodiscard]] double mean() const noexcept;  // 0 when nothing was recorded, as are min and max
    [[nodiscard]] Nanos min() const noexcept { return count_ == 0 ? 0 : min_; }
    [[nodiscard]] Nanos max() const noexcept { return max_; }
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    // Values recorded up to `bound`, exact when `bound` ends a bucket (as powers of two less one
    // do), else without those of the bucket that it lies in. For cumulative exports.
    [[nodiscard]] std::uint64_t count_up_to(Nanos bound) const noexcept;

    // Appends lines of "percent  microseconds  count above", then mean and count.
    void append_table(std::string& text) const noexcept;

  private:
    static constexpr std::uint32_t precision_bits = 7;
    // The last bucket holds INT64_MAX: 63 bits wide, so 55 are cut off.
    static constexpr std::size_t bucket_count = (63 - precision_bits - 1 + 2) << precision_bits;

    [[nodiscard]] static std::size_t bucket_of(std::uint64_t value) noexcept;
    [[nodiscard]] static std::uint64_t last_of(std::size_t bucket) noexcept;

    __extension__ using Sum = unsigned __int128;

    std::vector<std::uint64_t> buckets_;
    std::uint64_t count_ = 0;
    Sum sum_ = 0;
    Nanos min_ = never;
    Nanos max_ = 0;
};

}  // namespace ringcast
