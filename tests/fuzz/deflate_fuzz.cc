// Property: whatever is inflated, nothing is written beyond the room, and what is found whole is no
// larger than allowed and is what zlib makes of it in one go; whatever is compressed inflates to
// itself in the window that was promised. The first byte chooses: bytes to be inflated as one
// message, or several that share context; or bytes to be compressed. The second is the limit's, or
// the window's and the level's.

#include <string>
#include <vector>

#include "tests/fuzz/split.h"
#include "tests/support/inflate.h"
#include "wire/deflate.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

constexpr std::size_t limit_max = 1 << 16;

// Room of exactly one octet more than is allowed, so that a sanitizer sees the next one.
Inflated inflate(InflateStream& stream, Bytes message, std::size_t limit, std::string& text) {
    const std::vector<std::byte> exact(message.begin(), message.end());
    std::vector<std::byte> room(limit + 1);
    std::size_t size = 0;
    const Inflated result = stream.message(exact, room, size);
    if (result != Inflated::whole) return result;
    test::demand(size <= limit, "whole is within the limit");
    text = as_text(Bytes(room).first(size));
    return result;
}

void one(Bytes message, std::size_t limit) {
    InflateStream stream(15, InflateStream::Context::none);
    std::string text;
    const Inflated result = inflate(stream, message, limit, text);
    test::demand(stream.blocks() <= InflateStream::blocks_max(limit + 1) + 1,
                 "it stops behind the first block too many");
    if (result == Inflated::whole) {
        std::string larger;
        InflateStream other(15, InflateStream::Context::kept);
        test::demand(inflate(other, message, limit + 100, larger) == Inflated::whole,
                     "whole stays whole with more room");
        test::demand(text == larger, "and is the same");
        if (!text.empty()) {
            std::string none;
            const Inflated small = inflate(stream, message, text.size() - 1, none);
            test::demand(small == Inflated::too_large || small == Inflated::wasteful,
                         "with less room it is too large, or is found wasteful before");
        }
    }
    // Whatever came before it, a stream without context knows nothing of it.
    const std::string hello = "\xf2\x48\xcd\xc9\xc9\x07";
    const std::string whole = hello + '\0';
    test::demand(inflate(stream, as_bytes(whole), 5, text) == Inflated::whole && text == "Hello",
                 "the next message is whole");
}

void several(test::Cutter cutter, Bytes input, std::size_t limit) {
    InflateStream stream(9, InflateStream::Context::kept);
    std::string text;
    while (!input.empty()) {
        if (inflate(stream, cutter.cut(input), limit, text) != Inflated::whole) return;
    }
}

void there_and_back(Bytes input, unsigned choice) {
    const auto bits = static_cast<std::uint8_t>(9 + choice % 7);
    Deflater deflater(static_cast<int>(1 + choice / 7 % 9));
    for (int turn = 0; turn < 2; turn++) {
        std::vector<std::byte> room(input.size() + input.size() / 32 + 64);
        const std::size_t size = deflater.message(input, bits, room);
        test::demand(size > 0, "there is room for it");
        InflateStream stream(bits, InflateStream::Context::none);
        std::string text;
        test::demand(
            inflate(stream, Bytes(room).first(size), input.size(), text) == Inflated::whole &&
                text == as_text(input),
            "it comes back as it was");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    Bytes input = std::as_bytes(std::span(data, size)).subspan(2);
    const std::size_t limit = data[1] < 200 ? data[1] : limit_max;
    switch (data[0] % 3) {
        case 0:
            one(input, limit);
            break;
        case 1: {
            const test::Cutter cutter(input);
            several(cutter, input, limit);
            break;
        }
        default:
            there_and_back(input, data[1]);
            break;
    }
    return 0;
}
