// The mail queue: what a parcel costs the sender and the receiver, alone and between two cores.

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include <benchmark/benchmark.h>

#include "base/mpsc.h"

namespace {

using ringcast::MpscNode;
using ringcast::MpscQueue;

// One thread does both: the instructions, without the traffic between caches.
void BM_push_and_pop(benchmark::State& state) {
    MpscQueue queue;
    std::array<MpscNode, 64> nodes;
    for (auto _ : state) {
        for (MpscNode& node : nodes) {
            benchmark::DoNotOptimize(queue.push_and_needs_wake(node));
        }
        while (MpscNode* node = queue.pop()) {
            benchmark::DoNotOptimize(node);
        }
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(nodes.size()));
}
BENCHMARK(BM_push_and_pop);

// A node goes to another thread and comes back: two crossings between cores an iteration.
void BM_round_trip(benchmark::State& state) {
    MpscQueue there;
    MpscQueue back;
    std::atomic<bool> stop{false};
    std::thread echo([&] {
        while (!stop.load(std::memory_order_relaxed)) {
            if (MpscNode* node = there.pop()) back.push(*node);
        }
    });
    MpscNode node;
    for (auto _ : state) {
        there.push(node);
        while (back.pop() == nullptr) {
        }
    }
    stop.store(true, std::memory_order_relaxed);
    echo.join();
}
BENCHMARK(BM_round_trip)->UseRealTime();

void BM_prepare_sleep_and_awake(benchmark::State& state) {
    MpscQueue queue;
    for (auto _ : state) {
        benchmark::DoNotOptimize(queue.prepare_sleep());
        queue.awake();
    }
}
BENCHMARK(BM_prepare_sleep_and_awake);

}  // namespace

BENCHMARK_MAIN();
