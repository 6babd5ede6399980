#pragma once

// What the benchmarks of lanes have in common: 64 MiB for their logs, in plain memory.

#include <cstddef>
#include <cstdlib>
#include <memory>

#include "feed/lane.h"

namespace ringcast::bench {

constexpr std::size_t arena_size = std::size_t{64} << 20;
constexpr std::size_t record_size = 256;

struct FreeArena {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
};

struct Arena {
    std::unique_ptr<std::byte, FreeArena> bytes{
        static_cast<std::byte*>(std::aligned_alloc(feed::page_size, arena_size))};
    feed::SegmentPool pool{{.base = bytes.get(), .size = arena_size}};
};

// Nobody is left in the middle of a record here.
inline void ignore_tail(void* /*context*/, feed::Reader /*reader*/, Bytes /*rest*/) noexcept {}

}  // namespace ringcast::bench
