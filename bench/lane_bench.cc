// The fan-out without its sends: what the log itself adds to a delivery.

#include <cstring>

#include <benchmark/benchmark.h>

#include "bench/arena.h"
#include "feed/lane.h"

namespace {

using namespace ringcast;
using namespace ringcast::bench;
using feed::Lane;
using feed::Slice;

struct Crowd {
    Arena arena;
    Lane lane{arena.pool, 1, arena_size, {.save_tail = &ignore_tail}};

    explicit Crowd(std::int64_t rows) {
        for (std::int64_t i = 0; i < rows; i++) {
            static_cast<void>(lane.subscribe(static_cast<feed::Reader>(i), 0, lane.log().next()));
        }
    }
    void publish(std::int64_t records) {
        for (std::int64_t i = 0; i < records; i++) {
            std::memset(lane.reserve(record_size).data(), 1, record_size);
            lane.commit();
        }
    }
};

void report(benchmark::State& state) {
    const std::int64_t deliveries = state.iterations() * state.range(0);
    state.counters["row"] = benchmark::Counter(
        static_cast<double>(deliveries), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// range(1) records are published, then every one of range(0) rows takes all of them at once.
void bm_fan_out(benchmark::State& state) {
    Crowd crowd(state.range(0));
    Lane& lane = crowd.lane;
    for (auto _ : state) {
        crowd.publish(state.range(1));
        for (std::uint32_t row = 0; row < lane.size(); row++) {
            const Slice slice = lane.peek(row);
            benchmark::DoNotOptimize(slice.bytes.data());
            lane.advance(row, slice, slice.bytes.size(), false);
        }
    }
    report(state);
}

// The same for sockets that take a part: every row stops inside a record, then gets the rest.
void bm_fan_out_in_parts(benchmark::State& state) {
    Crowd crowd(state.range(0));
    Lane& lane = crowd.lane;
    for (auto _ : state) {
        crowd.publish(state.range(1));
        for (std::uint32_t row = 0; row < lane.size(); row++) {
            const Slice slice = lane.peek(row);
            lane.advance(row, slice, slice.bytes.size() / 2 + row % 100, false);
        }
        for (std::uint32_t row = 0; row < lane.size(); row++) {
            const Slice slice = lane.peek(row);
            lane.advance(row, slice, slice.bytes.size(), false);
        }
    }
    report(state);
}

// The walk when there is nothing to do for anybody.
void bm_walk_idle(benchmark::State& state) {
    Crowd crowd(state.range(0));
    for (auto _ : state) {
        for (std::uint32_t row = 0; row < crowd.lane.size(); row++) {
            benchmark::DoNotOptimize(crowd.lane.peek(row).bytes.data());
        }
    }
    report(state);
}

BENCHMARK(bm_fan_out)->ArgsProduct({{1'000, 10'000, 100'000}, {1, 64}});
BENCHMARK(bm_fan_out_in_parts)->ArgsProduct({{1'000, 10'000}, {1, 64}});
BENCHMARK(bm_walk_idle)->Arg(10'000);

}  // namespace

BENCHMARK_MAIN();
