#include "base/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using ringcast::Histogram;
using ringcast::Nanos;
using ringcast::Random;

namespace {

// The documented bound: never below the truth, at most 2^-7 above it, exact below 256.
bool is_within_bound(Nanos answer, Nanos truth) {
    return answer >= truth && answer - truth <= (truth < 256 ? 0 : truth / 128);
}

}  // namespace

TEST_CASE("histogram: an empty one answers zero") {
    const Histogram histogram;
    CHECK(histogram.percentile(50) == 0);
    CHECK(histogram.min() == 0);
    CHECK(histogram.max() == 0);
    CHECK(histogram.mean() == doctest::Approx(0));
    CHECK(histogram.count_up_to(ringcast::never) == 0);
}

TEST_CASE("histogram: every value keeps within its bound, at both edges of every bucket") {
    for (int bit = 0; bit < 63; bit++) {
        const std::uint64_t power = std::uint64_t{1} << bit;
        for (std::uint64_t part = 0; part < 128; part++) {
            // The first value of a bucket and the one before it.
            const std::uint64_t edge = power + power / 128 * part;
            for (const std::uint64_t value : {edge - 1, edge}) {
                const auto truth = static_cast<Nanos>(value);
                Histogram histogram;
                histogram.record(truth);
                histogram.record(INT64_MAX);  // so that max() does not cut the answer
                CAPTURE(truth);
                REQUIRE(is_within_bound(histogram.percentile(50), truth));
            }
            if (part % 16 != 0) part += 6;  // not all: a Histogram is large
        }
    }
}

TEST_CASE("histogram: the longest time, and times that cannot be") {
    Histogram histogram;
    histogram.record(INT64_MAX);
    CHECK(histogram.percentile(100) == INT64_MAX);
    CHECK(histogram.max() == INT64_MAX);
    histogram.record(-5);
    CHECK(histogram.min() == 0);
    CHECK(histogram.percentile(50) == 0);
}

TEST_CASE("histogram: percentiles of any sample agree with the sorted sample") {
    for (std::uint64_t seed = 0; seed < 40; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::vector<Nanos> sample(random.between(1, 3000));
        Histogram halves[2];
        double sum = 0;
        for (Nanos& value : sample) {
            value = static_cast<Nanos>(random.next() >> random.between(1, 60));
            halves[random.below(2)].record(value);
            sum += static_cast<double>(value);
        }
        Histogram& all = halves[0];
        all.merge(halves[1]);
        std::sort(sample.begin(), sample.end());
        for (const double percent : {0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
            const auto size = static_cast<double>(sample.size());
            const auto rank = std::max(std::ceil(percent / 100 * size), 1.0);
            const Nanos truth = sample[static_cast<std::size_t>(rank) - 1];
            CAPTURE(percent);
            REQUIRE(is_within_bound(all.percentile(percent), truth));
        }
        CHECK(all.percentile(100) == sample.back());
        CHECK(all.min() == sample.front());
        CHECK(all.max() == sample.back());
        CHECK(all.count() == sample.size());
        CHECK(all.mean() == doctest::Approx(sum / static_cast<double>(sample.size())));
    }
}

TEST_CASE("histogram: a percentile that is a whole rank is that one, not the one above") {
    for (const std::uint64_t count : {1'000ULL, 10'000ULL, 1'000'000ULL, 1'000'000'000ULL}) {
        CAPTURE(count);
        // The values have buckets of their own, however many there are of each.
        for (const std::uint64_t mille : {1ULL, 7ULL, 290ULL, 580ULL, 999ULL}) {
            CAPTURE(mille);
            Histogram histogram;
            histogram.record(1, count / 1000 * mille);
            histogram.record(2, count - count / 1000 * mille);
            CHECK(histogram.percentile(static_cast<double>(mille) / 10) == 1);
            CHECK(histogram.percentile(static_cast<double>(mille) / 10 + 1e-7) == 2);
        }
    }
}

TEST_CASE("histogram: recording a count is recording that many times") {
    Histogram once;
    Histogram often;
    once.record(777, 1000);
    once.record(5, 0);
    for (int i = 0; i < 1000; i++) {
        often.record(777);
    }
    CHECK(once.count() == often.count());
    CHECK(once.percentile(99) == often.percentile(99));
    CHECK(once.mean() == doctest::Approx(777));
    CHECK(once.min() == 777);
}

TEST_CASE("histogram: count_up_to is exact at the ends of buckets") {
    Histogram histogram;
    for (Nanos value = 0; value < 10'000; value++) {
        histogram.record(value);
    }
    for (const Nanos bound : {0, 1, 200, 255, 511, 1023, 4095, 8191}) {
        CHECK(histogram.count_up_to(bound) == static_cast<std::uint64_t>(bound) + 1);
    }
    CHECK(histogram.count_up_to(-1) == 0);
    CHECK(histogram.count_up_to(512) == 512);  // 512 to 515 share a bucket
    CHECK(histogram.count_up_to(ringcast::never) == 10'000);
    histogram.clear();
    CHECK(histogram.count() == 0);
    CHECK(histogram.count_up_to(ringcast::never) == 0);
}

TEST_CASE("histogram: the table has a line a percentile, the mean and the count") {
    Histogram histogram;
    for (Nanos value = 1; value <= 100; value++) {
        histogram.record(value * 1000);
    }
    std::string text = "latency\n";
    histogram.append_table(text);
    CHECK(text ==
          "latency\n"
          "  percent    microseconds           above\n"
          "   50.000          50.175              50\n"
          "   75.000          75.263              25\n"
          "   90.000          90.111              10\n"
          "   99.000          99.327               1\n"
          "   99.900         100.000               0\n"
          "   99.990         100.000               0\n"
          "   99.999         100.000               0\n"
          "  100.000         100.000               0\n"
          "     mean          50.500\n"
          "    count             100\n");
}
