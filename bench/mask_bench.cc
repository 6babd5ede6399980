// Unmasking: what every inbound byte pays. Sizes of a tick, a chat line, a document, a bulk upload.
// Debian's libbenchmark prints "Library was built as DEBUG": harness overhead only.

#include <vector>

#include <benchmark/benchmark.h>

#include "wire/mask.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

constexpr MaskKey key{std::byte{0x37}, std::byte{0xfa}, std::byte{0x21}, std::byte{0x3d}};

template <void (*Mask)(MutBytes, const MaskKey&, std::size_t) noexcept>
void unmask(benchmark::State& state) {
    const auto size = static_cast<std::size_t>(state.range(0));
    std::vector<std::byte> bytes(size + 16);
    const MutBytes payload = MutBytes(bytes).subspan(6, size);  // behind a header: not aligned
    for (auto _ : state) {
        Mask(payload, key, 0);
        benchmark::DoNotOptimize(bytes.data());
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(size) * state.iterations());
}

}  // namespace

BENCHMARK(unmask<apply_mask>)
    ->Arg(16)
    ->Arg(64)
    ->Arg(125)
    ->Arg(1024)
    ->Arg(16 * 1024)
    ->Arg(64 * 1024);
BENCHMARK(unmask<apply_mask_scalar>)->Arg(16)->Arg(125)->Arg(1024)->Arg(64 * 1024);

BENCHMARK_MAIN();
