// The receiving path: a full read of 64 KiB with frames of one size, as a publisher that pipelines
// fills it. Time is per frame, unmasking and the UTF-8 check included. `cut` feeds the same bytes
// in pieces of 1448 (one segment of Ethernet), so that frames are torn.

#include <algorithm>
#include <vector>

#include <benchmark/benchmark.h>

#include "wire/framer.h"
#include "wire/mask.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

constexpr FramerLimits limits{.message_size_max = 64 * 1024, .fragments_max = 1024};
constexpr MaskKey key{std::byte{0x37}, std::byte{0xfa}, std::byte{0x21}, std::byte{0x3d}};

struct Stream {
    std::vector<std::byte> bytes;
    std::int64_t frames = 0;
};

Stream stream_of(Opcode opcode, std::size_t payload_size) {
    Stream stream;
    while (stream.frames == 0 || stream.bytes.size() + payload_size + 14 <= 64 * 1024) {
        std::array<std::byte, masked_header_size_max> header{};
        const std::size_t size = encode_masked_header(header.data(), opcode, payload_size, key);
        stream.bytes.insert(stream.bytes.end(), header.begin(), header.begin() + size);
        std::vector<std::byte> payload(payload_size, std::byte{'x'});
        apply_mask(payload, key, 0);
        stream.bytes.insert(stream.bytes.end(), payload.begin(), payload.end());
        stream.frames++;
    }
    return stream;
}

void receive(benchmark::State& state, Opcode opcode, std::size_t piece_size) {
    const Stream stream = stream_of(opcode, static_cast<std::size_t>(state.range(0)));
    std::vector<std::byte> copy(stream.bytes.size() + payload_padding);
    Framer framer;
    std::int64_t messages = 0;
    for (auto _ : state) {
        // Unmasking destroys the input; the copy stands for the kernel's.
        std::copy(stream.bytes.begin(), stream.bytes.end(), copy.begin());
        MutBytes rest = MutBytes(copy).first(stream.bytes.size());
        while (!rest.empty()) {
            MutBytes input = rest.first(std::min(piece_size, rest.size()));
            rest = rest.subspan(input.size());
            while (framer.next(input, limits).kind == FramerEvent::message)
                messages++;
        }
    }
    if (messages != stream.frames * state.iterations()) state.SkipWithError("frames are missing");
    state.SetItemsProcessed(messages);
    state.SetBytesProcessed(static_cast<std::int64_t>(stream.bytes.size()) * state.iterations());
}

void text(benchmark::State& state) {
    receive(state, Opcode::text, SIZE_MAX);
}
void binary(benchmark::State& state) {
    receive(state, Opcode::binary, SIZE_MAX);
}
void cut(benchmark::State& state) {
    receive(state, Opcode::text, 1448);
}

}  // namespace

BENCHMARK(text)->Arg(16)->Arg(125)->Arg(512)->Arg(4096)->Arg(60'000);
BENCHMARK(binary)->Arg(16)->Arg(125)->Arg(512)->Arg(4096)->Arg(60'000);
BENCHMARK(cut)->Arg(125)->Arg(512)->Arg(4096)->Arg(60'000);

BENCHMARK_MAIN();
