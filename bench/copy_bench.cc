// copy_bytes() against memcpy, at distances inside the alias trap (1 to 15 modulo 4096) and
// outside.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <benchmark/benchmark.h>

#include "base/copy.h"

namespace {

constexpr std::size_t page_size = 4096;

struct Free {
    void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
};
using Pages = std::unique_ptr<std::byte[], Free>;

Pages pages(std::size_t size) {
    const std::size_t whole = (size / page_size + 2) * page_size;
    auto* bytes = static_cast<std::byte*>(std::aligned_alloc(page_size, whole));
    std::memset(bytes, 1, whole);
    return Pages(bytes);
}

// range(0): size; range(1): how far past the source modulo 4096 the target lies.
template <typename Copy>
void run(benchmark::State& state, Copy copy) {
    const auto size = static_cast<std::size_t>(state.range(0));
    const Pages source = pages(size);
    const Pages target = pages(size);
    std::byte* to = target.get() + state.range(1);
    for (auto _ : state) {
        copy(to, source.get(), size);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

void BM_memcpy(benchmark::State& state) {
    run(state, [](std::byte* target, const std::byte* source, std::size_t size) {
        std::memcpy(target, source, size);
    });
}
void BM_copy_bytes(benchmark::State& state) {
    run(state, ringcast::copy_bytes);
}

void sizes_and_distances(benchmark::internal::Benchmark* bench) {
    for (const std::int64_t size : {64, 512, 1024, 2048, 4096, 16384, 65536}) {
        for (const std::int64_t distance : {0, 4, 10, 64}) {
            bench->Args({size, distance});
        }
    }
}
BENCHMARK(BM_memcpy)->Apply(sizes_and_distances);
BENCHMARK(BM_copy_bytes)->Apply(sizes_and_distances);

}  // namespace

BENCHMARK_MAIN();
