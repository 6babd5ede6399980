// Latency histogram: recording is on the path of every measured message.

#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/histogram.h"
#include "base/random.h"

namespace {

using ringcast::Histogram;
using ringcast::Nanos;

// Times round 100 us with a tail, as a fan-out has them.
std::vector<Nanos> latencies() {
    ringcast::Random random(1);
    std::vector<Nanos> values(4096);
    for (Nanos& value : values) {
        value = static_cast<Nanos>(50'000 + random.below(100'000) * random.between(1, 50) / 10);
    }
    return values;
}

void BM_record(benchmark::State& state) {
    const std::vector<Nanos> values = latencies();
    Histogram histogram;
    for (auto _ : state) {
        for (const Nanos value : values) {
            histogram.record(value);
        }
    }
    benchmark::DoNotOptimize(histogram.count());
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(values.size()));
}
BENCHMARK(BM_record);

void BM_percentile(benchmark::State& state) {
    Histogram histogram;
    for (const Nanos value : latencies()) {
        histogram.record(value);
    }
    for (auto _ : state) {
        benchmark::DoNotOptimize(histogram.percentile(99.9));
    }
}
BENCHMARK(BM_percentile);

void BM_merge(benchmark::State& state) {
    Histogram total;
    const Histogram shard;
    for (auto _ : state) {
        total.merge(shard);
    }
}
BENCHMARK(BM_merge);

}  // namespace

BENCHMARK_MAIN();
