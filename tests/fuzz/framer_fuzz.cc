// Property: for any bytes, cut anywhere, Framer gives exactly the events of the naive framer, and
// never holds more than twice the bytes that arrived plus a constant. In front of the input stand
// the cuts (split.h), then a byte that tells whether masks are put right, so that deep states are
// reached quickly, and whether compression was agreed upon.

#include <string>
#include <vector>

#include "tests/fuzz/split.h"
#include "tests/wire/naive.h"
#include "wire/framer.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

// Without compression, and with it.
constexpr FramerLimits all_limits[] = {
    {.message_size_max = 600, .fragments_max = 5},
    {.message_size_max = 600, .fragments_max = 5, .compressed_size_max = 700}};

std::string show(const Framer::Event& event) {
    const std::string payload(as_text(event.payload));
    switch (event.kind) {
        case FramerEvent::message:
            return (event.compressed ? "c" : "") +
                   std::string(event.opcode == Opcode::text ? "text:" : "binary:") + payload;
        case FramerEvent::ping:
            return "ping:" + payload;
        case FramerEvent::pong:
            return "pong:" + payload;
        case FramerEvent::close:
            return "close" + std::to_string(event.close_code) + ":" + payload;
        case FramerEvent::error:
            return "error" + std::to_string(event.close_code);
        case FramerEvent::need_more:
            break;
    }
    return "?";
}

// Sets the mask bit of every frame that the bytes seem to hold.
void put_masks(std::string& bytes) {
    std::size_t at = 0;
    while (at + 2 <= bytes.size()) {
        bytes[at + 1] = static_cast<char>(bytes[at + 1] | '\x80');
        FrameHeader header;
        if (!decode_header(as_bytes(std::string_view(bytes).substr(at)), header)) return;
        if (header.payload_size > bytes.size()) return;
        at += header.size + header.payload_size;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes input = std::as_bytes(std::span(data, size));
    test::Cutter cutter(input);
    if (input.empty()) return 0;
    std::string bytes(as_text(input.subspan(1)));
    const auto choice = std::to_integer<unsigned>(input[0]);
    if (choice % 4 != 0) put_masks(bytes);
    const FramerLimits& limits = all_limits[choice / 4 % 2];

    const std::vector<std::string> expected =
        test::NaiveFramer(limits.message_size_max, limits.fragments_max, limits.compressed_size_max)
            .read(bytes);
    Framer framer;
    Bytes rest = as_bytes(bytes);
    std::size_t arrived = 0;
    std::size_t seen = 0;
    while (!rest.empty()) {
        const Bytes piece = cutter.cut(rest);
        std::vector<std::byte> copy(piece.begin(), piece.end());
        copy.shrink_to_fit();
        arrived += copy.size();
        MutBytes arriving = copy;
        while (true) {
            const Framer::Event event = framer.next(arriving, limits);
            if (event.kind == FramerEvent::need_more) break;
            test::demand(seen < expected.size(), "more events than the naive framer");
            test::demand(show(event) == expected[seen], "the event of the naive framer");
            seen++;
        }
        test::demand(arriving.empty(), "all input is consumed");
        test::demand(framer.held_bytes() <= 2 * arrived + 512, "memory follows the bytes");
    }
    test::demand(seen == expected.size(), "as many events as the naive framer");
    return 0;
}
