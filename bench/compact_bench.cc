// The log of a topic with keys: what an append costs with the sweep behind it, and what it adds to
// a delivery: to those who are fast, and to those who want the whole state.

#include <cstring>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "bench/arena.h"
#include "feed/lane.h"

namespace {

using namespace ringcast;
using namespace ringcast::bench;
using feed::Lane;
using feed::Slice;

struct Topic {
    Arena arena;
    Lane lane{arena.pool,
              1,
              {.keys_max = 1'000'000, .bytes_max = std::size_t{16} << 20},
              1,
              {.save_tail = &ignore_tail}};
    std::vector<std::string> keys;
    Random random{1};

    explicit Topic(std::int64_t count) {
        for (std::int64_t i = 0; i < count; i++)
            keys.push_back("instrument/" + std::to_string(100'000 + i));
        for (std::int64_t i = 0; i < 20 * count; i++)
            publish();
    }
    // Of any key, so that every segment has holes.
    void publish() {
        const std::string& key = keys[random.below(keys.size())];
        const auto room = lane.reserve({.key = as_bytes(key), .size = record_size});
        std::memset(room.bytes.data(), 1, record_size);
        lane.commit();
    }
    void join(std::int64_t rows, feed::Seq from) {
        for (std::int64_t i = 0; i < rows; i++)
            static_cast<void>(lane.subscribe(static_cast<feed::Reader>(i), 0, from));
    }
};

// range(0): keys. The lookup, the copy of the record and the sweep are part of it.
void bm_append(benchmark::State& state) {
    Topic topic(state.range(0));
    const std::uint64_t before = topic.lane.compact().copied_bytes();
    for (auto _ : state)
        topic.publish();
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(record_size));
    const auto copied = static_cast<double>(topic.lane.compact().copied_bytes() - before);
    state.counters["copied"] =
        copied / static_cast<double>(record_size) / static_cast<double>(state.iterations());
    state.counters["held_to_live"] = static_cast<double>(topic.lane.held_bytes()) /
                                     static_cast<double>(topic.lane.compact().live_bytes());
}

void report(benchmark::State& state, std::int64_t rows) {
    state.counters["row"] =
        benchmark::Counter(static_cast<double>(state.iterations() * rows),
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// range(1) records are published, then every one of range(0) rows takes all of them at once.
void bm_fan_out(benchmark::State& state) {
    Topic topic(1'000);
    Lane& lane = topic.lane;
    topic.join(state.range(0), lane.next());
    for (auto _ : state) {
        for (std::int64_t i = 0; i < state.range(1); i++)
            topic.publish();
        for (std::uint32_t row = 0; row < lane.size(); row++) {
            while (lane.row(row).seq != lane.next()) {
                const Slice slice = lane.peek(row);
                benchmark::DoNotOptimize(slice.bytes.data());
                lane.advance(row, slice, slice.bytes.size(), false);
            }
        }
    }
    report(state, state.range(0));
}

// The latest of range(0) keys for one reader: the sends that it takes are counted.
void bm_snapshot(benchmark::State& state) {
    Topic topic(state.range(0));
    Lane& lane = topic.lane;
    std::int64_t slices = 0;
    for (auto _ : state) {
        const std::uint32_t row = lane.subscribe(0, 0, 1);
        while (lane.row(row).seq != lane.next()) {
            const Slice slice = lane.peek(row);
            benchmark::DoNotOptimize(slice.bytes.data());
            lane.advance(row, slice, slice.bytes.size(), false);
            slices++;
        }
        lane.unsubscribe(row);
        state.PauseTiming();
        topic.publish();
        state.ResumeTiming();
    }
    state.counters["slices"] =
        static_cast<double>(slices) / static_cast<double>(state.iterations());
}

BENCHMARK(bm_append)->Arg(10)->Arg(1'000)->Arg(10'000);
BENCHMARK(bm_fan_out)->ArgsProduct({{1'000, 10'000}, {1, 64}});
BENCHMARK(bm_snapshot)->Arg(100)->Arg(10'000);

}  // namespace

BENCHMARK_MAIN();
