// The opening handshake as a browser and as a bare client begin it: read the request, compute the
// accept key, write the answer. `cut` feeds the same request in pieces of 16 bytes, as a client
// that trickles; `accept_key` is SHA-1 and base64 alone, the part that no parser can spare.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

#include "wire/handshake.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";

constexpr std::string_view bare =
    "GET /ws HTTP/1.1\r\n"
    "Host: 127.0.0.1:8080\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: ringcast.v1\r\n"
    "\r\n";

// What Chromium sends, behind a proxy that adds its line.
constexpr std::string_view browser =
    "GET /ws?topic=prices%2Feurusd HTTP/1.1\r\n"
    "Host: feed.example.org\r\n"
    "Connection: Upgrade\r\n"
    "Pragma: no-cache\r\n"
    "Cache-Control: no-cache\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36\r\n"
    "Upgrade: websocket\r\n"
    "Origin: https://www.example.org\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    "X-Forwarded-For: 203.0.113.7\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "Sec-WebSocket-Protocol: ringcast.v1\r\n"
    "\r\n";

void shake_hands(benchmark::State& state, std::string_view request, std::size_t piece_size) {
    std::array<std::byte, switching_protocols_size_max> answer{};
    for (auto _ : state) {
        RequestParser parser;
        auto status = RequestParser::Status::need_more;
        for (Bytes rest = as_bytes(request); !rest.empty();) {
            std::size_t consumed = 0;
            status = parser.feed(rest.first(std::min(piece_size, rest.size())), consumed);
            rest = rest.subspan(consumed);
        }
        if (status != RequestParser::Status::done) return state.SkipWithError("not read");
        const Decision decision = decide(parser.request());
        if (decision.kind != Decision::Kind::websocket) return state.SkipWithError("refused");
        benchmark::DoNotOptimize(
            write_switching_protocols(answer, decision.accept, decision.protocol));
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations());
    state.SetBytesProcessed(static_cast<std::int64_t>(request.size()) * state.iterations());
}

void accept_key(benchmark::State& state) {
    std::array<char, 28> accept{};
    for (auto _ : state) {
        if (!accept_value(key, accept)) return state.SkipWithError("no SHA-1");
        benchmark::ClobberMemory();
    }
}

}  // namespace

BENCHMARK_CAPTURE(shake_hands, bare, bare, SIZE_MAX);
BENCHMARK_CAPTURE(shake_hands, browser, browser, SIZE_MAX);
BENCHMARK_CAPTURE(shake_hands, browser_cut, browser, 16);
BENCHMARK(accept_key);

BENCHMARK_MAIN();
