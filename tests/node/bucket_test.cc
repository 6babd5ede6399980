#include "node/bucket.h"

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::node;

namespace {

// The bucket of the textbook: tokens, refilled by the time that passed.
struct Naive {
    double tokens;
    double burst;
    double per_nano;
    Nanos last = 0;

    void refill(Nanos now) {
        tokens = std::min(burst, tokens + static_cast<double>(now - last) * per_nano);
        last = now;
    }
};

}  // namespace

TEST_CASE("bucket: what is charged behind is paid before anything else is taken") {
    const Rate rate = Rate::of(10, 5);
    Bucket bucket;
    CHECK(bucket.take(rate, 0));
    bucket.charge(rate, 0, 14);  // 15 of 5
    CHECK(!bucket.take(rate, nanos_per_s));
    CHECK(bucket.take(rate, nanos_per_s + nanos_per_s / 10));
    bucket.charge(Rate{}, nanos_per_s, 100);  // no limit, no debt
    CHECK(bucket.take(rate, 2 * nanos_per_s));
}

TEST_CASE("bucket: takes what a bucket of tokens would take") {
    for (std::uint64_t seed = 1; seed <= 100; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const std::uint64_t per_second = random.between(1, 2000);
        const std::uint64_t burst = random.between(1, 50);
        const Rate rate = Rate::of(per_second, burst);
        Naive naive{.tokens = static_cast<double>(burst),
                    .burst = static_cast<double>(burst),
                    .per_nano = 1.0 / static_cast<double>(rate.interval)};
        Bucket bucket;
        Nanos now = 0;
        for (int i = 0; i < 2000; i++) {
            now += static_cast<Nanos>(random.below(static_cast<std::uint64_t>(rate.interval) * 2));
            naive.refill(now);
            const bool taken = bucket.take(rate, now);
            // Too close to call for a double: whatever the bucket says.
            if (std::abs(naive.tokens - 1.0) > 1e-4) CHECK(taken == (naive.tokens > 1.0));
            if (taken) naive.tokens -= 1.0;
        }
    }
}

TEST_CASE("bucket: a burst, then the steady rate, and a refused one costs nothing") {
    const Rate rate = Rate::of(100, 5);
    Bucket bucket;
    const Nanos now = 1'000'000'000'000;
    for (int i = 0; i < 5; i++) {
        CHECK(bucket.take(rate, now));
    }
    for (int i = 0; i < 1000; i++) {
        CHECK(!bucket.take(rate, now));
    }
    CHECK(!bucket.take(rate, now + 9'999'999));
    CHECK(bucket.take(rate, now + 10'000'000));
    CHECK(!bucket.take(rate, now + 10'000'000));
}

TEST_CASE("bucket: no limit takes everything, and the fastest rate is one a nanosecond") {
    Bucket bucket;
    for (int i = 0; i < 100; i++) {
        CHECK(bucket.take(Rate::of(0, 1), 5));
    }
    CHECK(Rate::of(1'000'000'000, 1).interval == 1);
    const Rate fastest = Rate::of(1'000'000'000, 1'000'000'000);
    for (int i = 0; i < 100; i++) {
        CHECK(bucket.take(fastest, 5));
    }
    // The slowest with the longest burst does not overflow.
    CHECK(Rate::of(1, 1'000'000'000).slack == (1'000'000'000LL - 1) * nanos_per_s);
}

TEST_CASE("excess: a thousand refused are borne, one more is enough, and stays so") {
    Excess excess;
    for (int i = 0; i < 1000; i++)
        CHECK_FALSE(excess.refused());
    for (int i = 0; i < 100'000; i++)
        CHECK(excess.refused());
}

TEST_CASE("excess: nine refused to one allowed are borne for ever, ten are not") {
    for (const int refused : {9, 10}) {
        CAPTURE(refused);
        Excess excess;
        bool enough = false;
        for (int second = 0; second < 2000; second++) {
            excess.allowed();
            for (int i = 0; i < refused; i++)
                enough = excess.refused() || enough;
        }
        CHECK(enough == (refused == 10));
    }
}

TEST_CASE("excess: good behaviour is not saved up") {
    Excess excess;
    for (int i = 0; i < 10'000; i++)
        excess.allowed();
    for (int i = 0; i < 1000; i++)
        CHECK_FALSE(excess.refused());
    CHECK(excess.refused());
}
