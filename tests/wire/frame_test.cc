#include "wire/frame.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "wire/utf8.h"

using namespace ringcast;
using namespace ringcast::wire;

TEST_CASE("frame: a header has its shortest form and decodes to what was encoded") {
    struct Row {
        std::uint64_t payload_size;
        std::size_t header;
    };
    const Row rows[] = {{0, 2},
                        {1, 2},
                        {125, 2},
                        {126, 4},
                        {127, 4},
                        {65535, 4},
                        {65536, 10},
                        {1 << 20, 10},
                        {UINT32_MAX, 10},
                        {INT64_MAX, 10}};
    const MaskKey key{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    for (const Row& row : rows) {
        CAPTURE(row.payload_size);
        CHECK(header_size(row.payload_size) == row.header);
        std::array<std::byte, masked_header_size_max> out{};
        CHECK(encode_header(out.data(), Opcode::binary, row.payload_size) == row.header);
        FrameHeader header;
        for (std::size_t size = 0; size < row.header; size++) {
            CHECK_FALSE(decode_header(Bytes(out).first(size), header));
        }
        REQUIRE(decode_header(Bytes(out).first(row.header), header));
        CHECK(header.fin);
        CHECK(header.reserved == 0);
        CHECK(header.opcode == Opcode::binary);
        CHECK_FALSE(header.masked);
        CHECK(header.size == row.header);
        CHECK(header.payload_size == row.payload_size);

        CHECK(encode_masked_header(out.data(), Opcode::text, row.payload_size, key) ==
              row.header + 4);
        CHECK_FALSE(decode_header(Bytes(out).first(row.header + 3), header));
        REQUIRE(decode_header(out, header));
        CHECK(header.opcode == Opcode::text);
        CHECK(header.masked);
        CHECK(header.key == key);
        CHECK(header.payload_size == row.payload_size);
    }
}

TEST_CASE("frame: which close codes may arrive, and which we may send") {
    struct Row {
        std::uint16_t first;
        std::uint16_t last;
        bool valid;
    };
    const Row rows[] = {{0, 999, false},
                        {1000, 1003, true},
                        {1004, 1006, false},
                        {1007, 1014, true},
                        {1015, 2999, false},
                        {3000, 4999, true},
                        {5000, 65535, false}};
    for (const Row& row : rows) {
        for (std::uint32_t code = row.first; code <= row.last; code++) {
            CAPTURE(code);
            const auto narrow = static_cast<std::uint16_t>(code);
            REQUIRE(close_code_valid_on_wire(narrow) == row.valid);
            REQUIRE(close_code_sendable(narrow) == (row.valid && code != 1010));
        }
    }
}

TEST_CASE("frame: a close frame holds its code and as much of the reason as fits") {
    std::array<std::byte, control_frame_size_max> out{};
    CHECK(encode_close(out.data(), close_code::no_status, "ignored") == 2);
    CHECK(encode_close(out.data(), close_code::normal, "") == 4);
    CHECK(out[0] == std::byte{0x88});
    CHECK(out[1] == std::byte{2});
    CHECK(load_be16(&out[2]) == 1000);

    CHECK(encode_close(out.data(), 1010, "echoed") == 10);
    CHECK(encode_close(out.data(), 4001, std::string(123, 'r')) == 127);
    CHECK(encode_close(out.data(), 4001, std::string(124, 'r')) == 127);

    // A euro sign across the edge goes as a whole.
    for (std::size_t before = 118; before <= 124; before++) {
        const std::string reason = std::string(before, 'r') + "\xe2\x82\xac\xe2\x82\xac";
        const std::size_t size = encode_close(out.data(), 4001, reason);
        CHECK(size <= out.size());
        CHECK(size >= out.size() - 2);
        CHECK(utf8_valid(Bytes(out).subspan(4, size - 4)));
    }
}

TEST_CASE("frame: a control frame is its header and its payload") {
    std::array<std::byte, control_frame_size_max> out{};
    CHECK(encode_control(out.data(), Opcode::ping, {}) == 2);
    CHECK(encode_control(out.data(), Opcode::pong, as_bytes("abc")) == 5);
    CHECK(as_text(Bytes(out).first(5)) ==
          "\x8a\x03"
          "abc");
    CHECK(encode_control(out.data(), Opcode::ping, as_bytes(std::string(125, 'p'))) == 127);
}
