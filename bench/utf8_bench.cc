// Checking text: ASCII, and a text of two- and three-byte characters; whole and in pieces of 100.

#include <string>

#include <benchmark/benchmark.h>

#include "wire/utf8.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

std::string text_of(std::size_t size, bool ascii) {
    const std::string unit = ascii ? "the price is 104.25 " : "\xce\xba\xcf\x8c\xe2\x82\xac price ";
    std::string text;
    while (text.size() < size)
        text += unit;
    while (!utf8_valid(as_bytes(text.substr(0, size))))
        size--;
    return text.substr(0, size);
}

void valid(benchmark::State& state) {
    const std::string text = text_of(static_cast<std::size_t>(state.range(0)), state.range(1) == 0);
    for (auto _ : state)
        benchmark::DoNotOptimize(utf8_valid(as_bytes(text)));
    state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
}

void stream(benchmark::State& state) {
    const std::string text = text_of(static_cast<std::size_t>(state.range(0)), state.range(1) == 0);
    constexpr std::size_t piece = 100;
    for (auto _ : state) {
        Utf8 utf8;
        Bytes rest = as_bytes(text);
        while (!rest.empty()) {
            const Bytes next = rest.first(std::min(piece, rest.size()));
            benchmark::DoNotOptimize(utf8.feed(next));
            rest = rest.subspan(next.size());
        }
        benchmark::DoNotOptimize(utf8.complete());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
}

}  // namespace

BENCHMARK(valid)->ArgNames({"size", "wide"})->ArgsProduct({{20, 100, 1024, 64 * 1024}, {0, 1}});
BENCHMARK(stream)->ArgNames({"size", "wide"})->ArgsProduct({{1024, 64 * 1024}, {0, 1}});

BENCHMARK_MAIN();
