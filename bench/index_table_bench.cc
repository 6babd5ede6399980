// Looking up a topic by name: hash, probe, compare; and what growing the table costs.

#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/hash.h"
#include "base/index_table.h"
#include "base/random.h"

namespace {

using ringcast::as_bytes;
using ringcast::hash_bytes;
using ringcast::IndexTable;

constexpr std::uint64_t seed = 7;

std::vector<std::string> names(std::uint32_t count) {
    std::vector<std::string> names(count);
    for (std::uint32_t i = 0; i < count; i++) {
        names[i] = "market/prices/" + std::to_string(i);
    }
    return names;
}

void BM_hash(benchmark::State& state) {
    const std::string name(static_cast<std::size_t>(state.range(0)), 'x');
    for (auto _ : state) {
        benchmark::DoNotOptimize(hash_bytes(as_bytes(name), seed));
    }
}
BENCHMARK(BM_hash)->Arg(8)->Arg(24)->Arg(255);

void BM_find(benchmark::State& state) {
    const auto count = static_cast<std::uint32_t>(state.range(0));
    const std::vector<std::string> all = names(count);
    IndexTable table;
    for (std::uint32_t id = 0; id < count; id++) {
        table.insert(hash_bytes(as_bytes(all[id]), seed), id);
    }
    ringcast::Random random(1);
    for (auto _ : state) {
        const std::string& name = all[random.next() % count];
        benchmark::DoNotOptimize(table.find(hash_bytes(as_bytes(name), seed),
                                            [&](std::uint32_t id) { return all[id] == name; }));
    }
}
BENCHMARK(BM_find)->Arg(100)->Arg(10'000)->Arg(1'000'000);

// The pause when a full table doubles.
void BM_grow(benchmark::State& state) {
    const auto count = static_cast<std::uint32_t>(state.range(0));
    ringcast::Random random(1);
    for (auto _ : state) {
        state.PauseTiming();
        IndexTable table;
        for (std::uint32_t id = 0; id < count; id++) {
            table.insert(random.next(), id);
        }
        state.ResumeTiming();
        table.reserve(2 * count);
    }
    state.SetItemsProcessed(state.iterations() * count);
}
BENCHMARK(BM_grow)->Arg(12'288)->Arg(786'432);

}  // namespace

BENCHMARK_MAIN();
