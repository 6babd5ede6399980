// What a log costs without its readers: appending, and the slices of readers that are behind.

#include <cstdlib>
#include <cstring>
#include <memory>

#include <benchmark/benchmark.h>

#include "feed/log.h"

namespace {

using namespace ringcast;
using feed::Log;
using feed::Slice;

struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
};

struct Memory {
    static constexpr std::size_t size = std::size_t{64} << 20;
    std::unique_ptr<std::byte, Free> bytes{
        static_cast<std::byte*>(std::aligned_alloc(feed::page_size, size))};
    feed::SegmentPool pool{{.base = bytes.get(), .size = size}};
};

// range(0): the size of a record. The copy of the record is part of it. The log takes the whole
// arena, so that every page is retired and filled anew.
void bm_append(benchmark::State& state) {
    const auto size = static_cast<std::size_t>(state.range(0));
    Memory memory;
    Log log(memory.pool, 1, Memory::size, {});
    const std::unique_ptr<std::byte[]> record = std::make_unique<std::byte[]>(size);
    for (auto _ : state) {
        std::memcpy(log.reserve(size).data(), record.get(), size);
        benchmark::DoNotOptimize(log.commit());
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

// The same when every record is dropped before the next: the page stays in the cache.
void bm_append_drained(benchmark::State& state) {
    const auto size = static_cast<std::size_t>(state.range(0));
    Memory memory;
    Log log(memory.pool, 1, Memory::size, {});
    const std::unique_ptr<std::byte[]> record = std::make_unique<std::byte[]>(size);
    for (auto _ : state) {
        log.drop_all();
        std::memcpy(log.reserve(size).data(), record.get(), size);
        benchmark::DoNotOptimize(log.commit());
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

// A reader at a place where nobody was before takes an odd number of bytes. range(0): records held.
void bm_slice_anywhere(benchmark::State& state) {
    Memory memory;
    Log log(memory.pool, 1, Memory::size, {});
    for (std::int64_t i = 0; i < state.range(0); i++) {
        std::memset(log.reserve(256).data(), 1, 256);
        log.commit();
    }
    feed::Seq seq = 1;
    for (auto _ : state) {
        seq = 1 + (seq * 7919 + 1) % (log.next() - 1);
        const Slice slice = log.slice_from(seq, 0);
        benchmark::DoNotOptimize(
            log.place_after(slice, {.seq = seq, .sent = 0}, slice.bytes.size() / 2 + 1));
    }
}

BENCHMARK(bm_append)->Arg(64)->Arg(256)->Arg(4096);
BENCHMARK(bm_append_drained)->Arg(64)->Arg(256)->Arg(4096);
BENCHMARK(bm_slice_anywhere)->Arg(100)->Arg(10'000)->Arg(200'000);

}  // namespace

BENCHMARK_MAIN();
