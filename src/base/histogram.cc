#include "base/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

#include "base/check.h"

namespace ringcast {

Histogram::Histogram() noexcept : buckets_(bucket_count) {
    static_assert(bucket_count == 7296);
}

// With `shift` bits cut off, what remains is 128 to 255 (or less, when nothing is cut off); each
// shift has 128 buckets of its own, behind those of the shifts before it.
std::size_t Histogram::bucket_of(std::uint64_t value) noexcept {
    const auto width = static_cast<int>(std::bit_width(value | 1));  // gcc 12: not yet an int
    const auto shift = static_cast<unsigned>(std::max(width - int{precision_bits + 1}, 0));
    return (std::size_t{shift} << precision_bits) + (value >> shift);
}

std::uint64_t Histogram::last_of(std::size_t bucket) noexcept {
    constexpr std::size_t half = std::size_t{1} << precision_bits;
    if (bucket < 2 * half) return bucket;
    const std::size_t shift = bucket / half - 1;
    return ((std::uint64_t{bucket % half + half} + 1) << shift) - 1;
}

void Histogram::record(Nanos value, std::uint64_t count) noexcept {
    if (count == 0) return;
    value = std::max<Nanos>(value, 0);
    buckets_[bucket_of(static_cast<std::uint64_t>(value))] += count;
    count_ += count;
    sum_ += static_cast<Sum>(value) * count;
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
}

void Histogram::merge(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < bucket_count; i++) {
        buckets_[i] += other.buckets_[i];
    }
    count_ += other.count_;
    sum_ += other.sum_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
}

void Histogram::clear() noexcept {
    std::fill(buckets_.begin(), buckets_.end(), 0);
    count_ = 0;
    sum_ = 0;
    min_ = never;
    max_ = 0;
}

Nanos Histogram::percentile(double percent) const noexcept {
    RC_CHECK(percent >= 0);
    RC_CHECK(percent <= 100);
    if (count_ == 0) return 0;
    // The rank is rounded up, so that of 10 values the 91st percentile is the last. But 99.9 is not
    // a binary number, and 99.9 % of 1,000 comes out as a little more than 999: what is above by no
    // more than the product's own error is meant to be whole.
    constexpr double rounding = 1e-12;
    const double exact = percent / 100 * static_cast<double>(count_);
    const auto rank = static_cast<std::uint64_t>(std::ceil(exact - exact * rounding));
    const std::uint64_t wanted = std::clamp<std::uint64_t>(rank, 1, count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < bucket_count; i++) {
        seen += buckets_[i];
        if (seen >= wanted) return std::min(static_cast<Nanos>(last_of(i)), max_);
    }
    return max_;
}

double Histogram::mean() const noexcept {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

std::uint64_t Histogram::count_up_to(Nanos bound) const noexcept {
    if (bound < 0) return 0;
    const auto value = static_cast<std::uint64_t>(bound);
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < bucket_count && last_of(i) <= value; i++) {
        total += buckets_[i];
    }
    return total;
}

void Histogram::append_table(std::string& text) const noexcept {
    constexpr double percents[] = {50, 75, 90, 99, 99.9, 99.99, 99.999, 100};
    char line[96];
    const auto append = [&](int size) noexcept {
        text.append(line, static_cast<std::size_t>(size));
    };
    append(std::snprintf(line, sizeof line, "%9s %15s %15s\n", "percent", "microseconds", "above"));
    for (const double percent : percents) {
        const Nanos value = percentile(percent);
        const std::uint64_t above = count_ - count_up_to(value == max_ ? never : value);
        append(std::snprintf(line,
                             sizeof line,
                             "%9.3f %15.3f %15llu\n",
                             percent,
                             static_cast<double>(value) / 1e3,
                             static_cast<unsigned long long>(above)));
    }
    append(std::snprintf(line,
                         sizeof line,
                         "%9s %15.3f\n%9s %15llu\n",
                         "mean",
                         mean() / 1e3,
                         "count",
                         static_cast<unsigned long long>(count_)));
}

}  // namespace ringcast
