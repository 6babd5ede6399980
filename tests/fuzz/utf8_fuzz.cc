// Property: for any bytes, cut anywhere, Utf8 agrees with the naive decoder after every piece, and
// utf8_valid() agrees on the whole. The cuts stand in front (split.h).

#include <string>

#include "tests/fuzz/split.h"
#include "tests/wire/naive.h"
#include "wire/utf8.h"

using namespace ringcast;
using namespace ringcast::wire;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes input = std::as_bytes(std::span(data, size));
    test::Cutter cutter(input);
    const bool valid = test::naive_utf8(std::string(as_text(input))) == test::Text::valid;
    test::demand(utf8_valid(input) == valid, "the whole is judged alike");

    Utf8 utf8;
    Bytes rest = input;
    std::string before;
    while (!rest.empty()) {
        const std::string piece(as_text(cutter.cut(rest)));
        before += piece;
        const test::Text expected = test::naive_utf8(before);
        const bool alive = utf8.feed(as_bytes(piece));
        test::demand(alive == (expected != test::Text::invalid), "it fails at the right piece");
        test::demand(utf8.complete() == (expected == test::Text::valid), "it knows the end");
    }
    return 0;
}
