// The JSON envelope: reading a publish, and writing the record that every subscriber gets, for
// payloads of a tick, a chat line and a document.

#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "wire/envelope_writer.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

std::string payload_of(std::size_t size) {
    std::string json = "{\"price\":[";
    while (json.size() + 14 < size)
        json += "{\"a\":104.25},";
    return json + "0]}";
}

void parse_publish(benchmark::State& state) {
    Result<EnvelopeParser> made = EnvelopeParser::make(64 * 1024);
    std::string text = R"({"type":"publish","id":"a1b2c3d4","timestamp":1700000000.123,)"
                       R"("topic":"prices/eurusd","payload":)" +
                       payload_of(static_cast<std::size_t>(state.range(0))) + "}";
    const std::size_t size = text.size();
    text.resize(size + 64);
    Inbound inbound;
    for (auto _ : state) {
        if (made.value().parse(as_bytes(text).first(size), inbound) != EnvelopeError::none) {
            state.SkipWithError("refused");
        }
        benchmark::DoNotOptimize(inbound.payload.data());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(size) * state.iterations());
}

void write_update(benchmark::State& state, PayloadForm form) {
    const std::string payload = payload_of(static_cast<std::size_t>(state.range(0)));
    std::vector<std::byte> out(2 * payload.size() + 256);
    const DataUpdate update{.id = "a1b2c3d4",
                            .wall_ns = 1'700'000'000'123'000'000,
                            .topic = "prices/eurusd",
                            .offset = 123'456,
                            .payload = {.bytes = as_bytes(payload), .form = form}};
    for (auto _ : state) {
        const std::size_t size = encoded_size(update);
        encode(update, MutBytes(out).first(size));
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(payload.size()) * state.iterations());
}

void write_json(benchmark::State& state) {
    write_update(state, PayloadForm::json);
}
void write_text(benchmark::State& state) {
    write_update(state, PayloadForm::text);
}
void write_base64(benchmark::State& state) {
    write_update(state, PayloadForm::base64);
}

}  // namespace

BENCHMARK(parse_publish)->Arg(40)->Arg(512)->Arg(16 * 1024)->Arg(60 * 1024);
BENCHMARK(write_json)->Arg(40)->Arg(512)->Arg(16 * 1024);
BENCHMARK(write_text)->Arg(40)->Arg(512)->Arg(16 * 1024);
BENCHMARK(write_base64)->Arg(40)->Arg(512)->Arg(16 * 1024);

BENCHMARK_MAIN();
