// The timing wheel under the load of heartbeats: one deadline a connection, moved with every sign
// of life, and rarely reached.

#include <cstdint>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "base/wheel.h"

namespace {

using ringcast::Random;
using ringcast::Tick;
using ringcast::Wheel;

constexpr Tick heartbeat = 2500;  // 25 s

void BM_rearm(benchmark::State& state) {
    const auto id_count = static_cast<std::uint32_t>(state.range(0));
    Wheel wheel(0, id_count);
    Random random(1);
    for (auto _ : state) {
        const auto draw = static_cast<std::uint32_t>(random.next());
        wheel.arm(draw % id_count, heartbeat + draw % 512);
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_rearm)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);

struct Again {
    Wheel wheel;
    std::uint64_t fired = 0;
};

// A tick of a server whose every id fires once in 25 s and is armed again: cost per fired id,
// moving down the levels included.
void BM_fire_and_rearm(benchmark::State& state) {
    const auto id_count = static_cast<std::uint32_t>(state.range(0));
    Again again{.wheel = Wheel(0, id_count)};
    for (std::uint32_t id = 0; id < id_count; id++) {
        again.wheel.arm(id, 1 + id % heartbeat);
    }
    Tick now = 0;
    for (auto _ : state) {
        again.wheel.advance(
            ++now,
            [](void* context, std::uint32_t id) noexcept {
                auto& self = *static_cast<Again*>(context);
                self.wheel.arm(id, self.wheel.now() + heartbeat);
                self.fired++;
            },
            &again);
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(again.fired));
}
BENCHMARK(BM_fire_and_rearm)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);

void BM_next_due(benchmark::State& state) {
    Wheel wheel(0, 1);
    wheel.arm(0, static_cast<Tick>(state.range(0)));
    for (auto _ : state) {
        benchmark::DoNotOptimize(wheel.next_due(0));
    }
}
BENCHMARK(BM_next_due)->Arg(1)->Arg(heartbeat)->Arg(1 << 30);

}  // namespace

BENCHMARK_MAIN();
