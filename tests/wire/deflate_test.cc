#include "wire/deflate.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/inflate.h"

using namespace ringcast;
using namespace ringcast::wire;
using std::string_literals::operator""s;
using test::Compressor;
using test::inflate_message;

namespace {

using Context = InflateStream::Context;

// Exactly as much room as is allowed, and one; so that ASan sees what goes beyond it.
struct Result {
    Inflated kind = Inflated::corrupt;
    std::string text;
};

Result inflate(InflateStream& stream, const std::string& message, std::size_t limit = 100'000) {
    const std::vector<std::byte> exact(as_bytes(message).begin(), as_bytes(message).end());
    std::vector<std::byte> room(limit + 1);
    std::size_t size = 0;
    Result result;
    result.kind = stream.message(exact, room, size);
    if (result.kind == Inflated::whole) {
        REQUIRE(size <= limit);
        result.text = as_text(Bytes(room).first(size));
    }
    return result;
}

Result inflate(const std::string& message, std::size_t limit = 100'000) {
    InflateStream stream(15, Context::none);
    return inflate(stream, message, limit);
}

std::string deflated(Deflater& deflater, std::string_view text, std::uint8_t window_bits = 15) {
    std::vector<std::byte> room(text.size() + text.size() / 32 + 100);
    const std::size_t size = deflater.message(as_bytes(text), window_bits, room);
    REQUIRE(size > 0);
    return std::string(as_text(Bytes(room).first(size)));
}

// Text that compresses as JSON does, or not at all.
std::string some_text(Random& random, std::size_t size) {
    std::string text;
    const bool noise = random.chance(1, 4);
    while (text.size() < size) {
        if (noise || random.chance(1, 3)) {
            text += static_cast<char>(random.below(256));
        } else if (text.size() > 4 && random.chance(1, 2)) {
            const std::size_t from = random.below(text.size());
            text += text.substr(from, 1 + random.below(300));
        } else {
            text += R"({"symbol":"AAPL","price":)" + std::to_string(random.below(1000));
        }
    }
    text.resize(size);
    return text;
}

}  // namespace

TEST_CASE("deflate: the messages of RFC 7692, section 7.2.3") {
    struct Row {
        std::string message;
        std::string text;
    };
    const std::vector<Row> rows{
        {"\xf2\x48\xcd\xc9\xc9\x07\x00"s, "Hello"},
        {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"s, "Hello"},          // a stored block
        {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s, "Hello"},                      // a final block
        {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"s, "Hello"},  // two blocks
        {"\x00"s, ""},                                                       // 7.2.3.6
        {"\xf3\x48\xcd\xc9\xc9\x07\x00"s, "Hello"},  // final, and nothing behind it
        {"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00"s, "HelloHello"},
        {"\x03\x00\x03\x00\x03\x00\x00"s, ""},  // empty final blocks
        {"\x02\x00"s, ""},
        {"\x00\x00\x00\xff\xff\x00"s, ""},
    };
    for (const Context context : {Context::none, Context::kept}) {
        for (const Row& row : rows) {
            InflateStream stream(15, context);
            for (int turn = 0; turn < 3; turn++) {
                const Result result = inflate(stream, row.message);
                REQUIRE(result.kind == Inflated::whole);
                CHECK(result.text == row.text);
            }
        }
    }
}

TEST_CASE("deflate: with context a message refers to the one before, also over a final block") {
    // Section 7.2.3.2: the second one is shorter.
    const std::string first = "\xf2\x48\xcd\xc9\xc9\x07\x00"s;
    const std::string second = "\xf2\x00\x11\x00\x00"s;
    InflateStream kept(15, Context::kept);
    CHECK(inflate(kept, first).text == "Hello");
    CHECK(inflate(kept, second).text == "Hello");
    CHECK(inflate(kept, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"s).text == "Hello");
    CHECK(inflate(kept, second).text == "Hello");
    CHECK(inflate(kept, "\xf3\x48\xcd\xc9\xc9\x07\x00"s).text == "Hello");
    CHECK(inflate(kept, second).text == "Hello");

    InflateStream none(15, Context::none);
    CHECK(inflate(none, first).text == "Hello");
    CHECK(inflate(none, second).kind == Inflated::corrupt);  // it refers to nothing
    CHECK(inflate(none, first).text == "Hello");             // and harms nobody else
}

TEST_CASE("deflate: what is no message is corrupt, and the next one is not") {
    const std::vector<std::string> rows{
        "",      // not even the octet of an empty one
        "\xff",  // reserved block type
        "\x07",
        "\x06\xff\xff\xff"s,
        "\xf2\x48\xcd\xc9"s,  // cut within a block
        "\xf2"s,
        "\x00\x05\x00\xfa\xff"s,                          // a stored block that is cut
        "\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00"s,  // its length and the complement differ
        "\xf2\x48\xcd\xc9\xc9\x07\x00\xff"s,
        "\x04\x80\x80"s,
        std::string(1000, '\xff'),
    };
    InflateStream shared(15, Context::none);
    for (std::size_t i = 0; i < rows.size(); i++) {
        CAPTURE(i);
        CHECK(inflate(shared, rows[i]).kind == Inflated::corrupt);
        CHECK(inflate(shared, "\xf2\x48\xcd\xc9\xc9\x07\x00"s).text == "Hello");
    }
}

TEST_CASE("deflate: the limit holds to the octet, and a bomb stops there") {
    for (const std::size_t size : {1UL, 2UL, 125UL, 4096UL, 65'535UL, 65'536UL, 65'537UL}) {
        CAPTURE(size);
        const std::string text(size, 'x');
        const std::string message = Compressor().message(text);
        CHECK(inflate(message, size).text == text);
        CHECK(inflate(message, size + 1).text == text);
        CHECK(inflate(message, size - 1).kind == Inflated::too_large);
        CHECK(inflate(Compressor().message(text, Z_FINISH), size).text == text);
        CHECK(inflate(Compressor().message(text, Z_FINISH), size - 1).kind == Inflated::too_large);
    }
    // About 1,000 to 1.
    const std::string bomb = Compressor(15, 9).message(std::string(16 << 20, '\0'));
    CHECK(bomb.size() < 20'000);
    CHECK(inflate(bomb, 65'536).kind == Inflated::too_large);
    CHECK(inflate("\x00"s, 0).kind == Inflated::whole);
}

TEST_CASE("deflate: a message ends at any boundary of a buffer, and nothing is written behind it") {
    // CVE-2026-29035: payloads that fill a buffer exactly, and the four octets behind them.
    Random random(7);
    for (std::size_t size = 4080; size <= 4110; size++) {
        std::string noise;
        for (std::size_t i = 0; i < size; i++)
            noise += static_cast<char>(random.below(256));
        const std::string stored = Compressor(15, 0).message(noise);
        CHECK(inflate(stored, size).text == noise);
        const std::string message = Compressor().message(noise);
        CHECK(inflate(message, size).text == noise);
    }
}

TEST_CASE("deflate: what is compressed inflates to itself, in all windows, for all levels") {
    for (std::uint64_t seed = 1; seed <= 12; seed++) {
        CAPTURE(seed);
        Random random(seed);
        Deflater deflater(static_cast<int>(1 + seed % 9));
        for (int turn = 0; turn < 40; turn++) {
            const auto bits = static_cast<std::uint8_t>(random.between(9, 15));
            CAPTURE(int{bits});
            const std::size_t size =
                random.chance(1, 8) ? random.below(100'000) : random.below(2000);
            const std::string text = some_text(random, size);
            const std::string message = deflated(deflater, text, bits);
            std::string plain;
            REQUIRE(inflate_message(message, plain));
            CHECK(plain == text);
            // In the window that was promised, and no larger one.
            InflateStream stream(bits, Context::none);
            CHECK(inflate(stream, message, size).text == text);
        }
    }
}

TEST_CASE("deflate: every message is the same whatever came before it") {
    Deflater warm(6);
    Random random(3);
    for (int turn = 0; turn < 50; turn++) {
        const std::string text = some_text(random, random.below(5000));
        Deflater fresh(6);
        CHECK(deflated(warm, text) == deflated(fresh, text));
    }
}

TEST_CASE("deflate: with too little room there is no message, and the next one is whole") {
    Deflater deflater(6);
    Random random(9);
    std::string noise;
    for (int i = 0; i < 300; i++)
        noise += static_cast<char>(random.below(256));
    const std::string want = deflated(deflater, noise);
    for (std::size_t room = 1; room < want.size() + 20; room++) {
        std::vector<std::byte> out(room);
        const std::size_t size = deflater.message(as_bytes(noise), 15, out);
        CHECK((size == 0 || size == want.size()));
        if (room >= want.size() + 8) CHECK(size == want.size());
        CHECK(deflated(deflater, "Hello") == "\xf2\x48\xcd\xc9\xc9\x07\x00"s);
    }
    CHECK(deflated(deflater, "") == "\0"s);
}

TEST_CASE("deflate: clients that keep context are understood, whatever they compress with") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const auto bits = static_cast<std::uint8_t>(random.between(9, 15));
        const int strategy = random.chance(1, 4) ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY;
        Compressor client(bits, static_cast<int>(random.below(10)), strategy);
        InflateStream stream(bits, Context::kept);
        for (int turn = 0; turn < 60; turn++) {
            const std::string text = some_text(random, random.below(3000));
            const int flush = random.chance(1, 6) ? Z_FINISH : Z_SYNC_FLUSH;
            const Result result = inflate(stream, client.message(text, flush), 3000);
            REQUIRE(result.kind == Inflated::whole);
            REQUIRE(result.text == text);
        }
    }
}

TEST_CASE("deflate: one who agreed to a window of 8 bits and uses 9 is understood") {
    InflateStream stream(8, Context::kept);
    Compressor client(9);
    Random random(1);
    for (int turn = 0; turn < 20; turn++) {
        const std::string text = some_text(random, 2000);
        CHECK(inflate(stream, client.message(text)).text == text);
    }
}

TEST_CASE("deflate: a message with one bit wrong is refused or means something, within its room") {
    for (std::uint64_t seed = 1; seed <= 300; seed++) {
        Random random(seed);
        std::string message = Compressor().message(some_text(random, random.below(600)));
        message[random.below(message.size())] ^= static_cast<char>(1U << random.below(8));
        InflateStream stream(15, Context::none);
        static_cast<void>(inflate(stream, message, random.below(600)));
        CHECK(inflate(stream, "\xf2\x48\xcd\xc9\xc9\x07\x00"s).text == "Hello");
    }
}

TEST_CASE("deflate: many final blocks cost no more than their octets") {
    std::string message;
    while (message.size() < 3'600)
        message += "\x03\x00"s;  // an empty final block
    InflateStream stream(15, Context::kept);
    for (int turn = 0; turn < 20; turn++) {
        CHECK(inflate(stream, message).kind == Inflated::whole);
        CHECK(stream.blocks() == 1800);
    }
    while (message.size() < 65'000)
        message += "\x03\x00"s;
    CHECK(inflate(stream, message).kind == Inflated::wasteful);
}

TEST_CASE("deflate: blocks are counted, and there are only so many for so much room") {
    const std::string hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"s;  // one, and one that ends it
    const std::string four = "\x02\x08\x20\x80\x00"s;           // empty ones, of ten bits each
    struct Row {
        std::size_t fours;
        std::size_t limit;
        Inflated kind;
    };
    CHECK(InflateStream::blocks_max(101) == 257);
    CHECK(InflateStream::blocks_max(10'001) == 412);
    for (const Context context : {Context::none, Context::kept}) {
        for (const Row& row : {Row{0, 100, Inflated::whole},
                               Row{1, 100, Inflated::whole},
                               Row{63, 100, Inflated::whole},
                               Row{64, 100, Inflated::wasteful},
                               Row{102, 10'000, Inflated::whole},
                               Row{103, 10'000, Inflated::wasteful},
                               Row{13'000, 10'000, Inflated::wasteful}}) {
            CAPTURE(row.fours);
            InflateStream stream(15, context);
            std::string message;
            for (std::size_t i = 0; i < row.fours; i++)
                message += four;
            const Result result = inflate(stream, message + hello, row.limit);
            CHECK(result.kind == row.kind);
            const bool whole = row.kind == Inflated::whole;
            CHECK(result.text == (whole ? "Hello" : ""));
            CHECK(stream.blocks() ==
                  (whole ? 4 * row.fours + 2 : InflateStream::blocks_max(row.limit + 1) + 1));
            if (whole || context == Context::none) CHECK(inflate(stream, hello).text == "Hello");
        }
    }
}

TEST_CASE("deflate: whatever compresses whole messages has blocks enough") {
    Random random(11);
    std::string noise;
    for (int i = 0; i < 60'000; i++)
        noise += static_cast<char>(random.below(256));
    for (const int memory_level : {1, 8}) {
        // The smallest blocks that zlib makes by itself: 128 symbols, here of an octet each.
        z_stream small{};
        REQUIRE(deflateInit2(&small, 9, Z_DEFLATED, -15, memory_level, Z_HUFFMAN_ONLY) == Z_OK);
        std::string message(100'000, '\0');
        small.next_in = reinterpret_cast<Bytef*>(noise.data());
        small.avail_in = static_cast<uInt>(noise.size());
        small.next_out = reinterpret_cast<Bytef*>(message.data());
        small.avail_out = static_cast<uInt>(message.size());
        REQUIRE(deflate(&small, Z_SYNC_FLUSH) == Z_OK);
        message.resize(message.size() - small.avail_out - 4);
        deflateEnd(&small);
        InflateStream stream(15, Context::none);
        CHECK(inflate(stream, message, noise.size()).text == noise);
        CHECK(stream.blocks() >= (memory_level == 1 ? 400 : 2));
        CHECK(stream.blocks() <= (memory_level == 1 ? 600 : 8));
    }
}
