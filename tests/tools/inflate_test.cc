#include "inflate.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "checker.h"
#include "payload.h"
#include "tests/support/inflate.h"
#include "ws_client.h"

using namespace ringcast;
using namespace ringcast::tools;
using test::Compressor;

namespace {

constexpr std::size_t size = 120;

struct Nobody final : Checker::Listener {
    void on_other(Reader&, const Frame&) noexcept override { others++; }
    int others = 0;
};

std::string compressed_frame(std::string_view text) {
    std::string frame;
    append_server_frame(frame, Opcode::text, as_bytes(Compressor().message(text)));
    frame[0] = static_cast<char>(frame[0] | 0x40);
    return frame;
}

std::string envelope(std::uint64_t seq) {
    std::string payload(size, '\0');
    write_payload({.topic = 0, .seq = seq, .sent_at = 1000}, payload);
    return R"({"type":"data_update","topic":"t.0","offset":)" + std::to_string(seq + 1) +
           R"(,"payload":")" + payload + R"("})";
}

}  // namespace

TEST_CASE("tools inflate: messages come back as they were, and what is none does not") {
    Inflate inflate;
    std::string plain;
    for (const std::size_t length : {0UL, 1UL, 500UL, 70'000UL, 5'000'000UL}) {
        const std::string text(length, 'x');
        REQUIRE(inflate.message(as_bytes(Compressor().message(text)), plain));
        CHECK(plain == text);
        CHECK_FALSE(inflate.message(as_bytes(std::string_view("\xff\xff")), plain));
    }
    CHECK_FALSE(inflate.message(as_bytes(Compressor().message(std::string(65 << 20, 'x'))), plain));
}

TEST_CASE("tools inflate: compressed frames are judged by what is in them, and weighed") {
    Nobody nobody;
    Checker checker({.topics = 1,
                     .payload_size = size,
                     .slots = 16,
                     .payload_only = false,
                     .envelope = true,
                     .topic_prefix = "t.",
                     .compressed = true},
                    nobody);
    std::vector<Reader> readers(3);
    for (Reader& reader : readers)
        checker.join(reader);
    std::uint64_t plain = 0;
    std::uint64_t wire = 0;
    for (std::uint64_t seq = 0; seq < 10; seq++) {
        checker.publish(0, 1000, {});
        const std::string frame = compressed_frame(envelope(seq));
        plain += 3 * (envelope(seq).size() + 4);
        wire += 3 * frame.size();
        REQUIRE(checker.feed(readers[0], as_bytes(frame), 2000));
        REQUIRE(checker.feed(readers[1], as_bytes(frame), 2000));
        for (const char& byte : frame)  // in pieces
            REQUIRE(checker.feed(readers[2], as_bytes(std::string_view(&byte, 1)), 2000));
    }
    CHECK(checker.counts().delivered == 30);
    CHECK(checker.counts().corrupt == 0);
    CHECK(checker.counts().frame_bytes == wire);
    CHECK(checker.counts().plain_bytes == plain);
    CHECK(wire < plain);

    checker.publish(0, 1000, {});
    std::string frame = compressed_frame(envelope(10));
    frame.back() = '\x7f';
    REQUIRE(checker.feed(readers[0], as_bytes(frame), 2000));
    CHECK(checker.counts().corrupt == 1);
    REQUIRE(checker.feed(readers[1], as_bytes(compressed_frame(R"({"type":"other"})")), 2000));
    CHECK(nobody.others == 1);
}

TEST_CASE("tools inflate: without compression RSV1 is no frame") {
    Nobody nobody;
    Checker checker({.topics = 1, .payload_size = size, .topic_prefix = ""}, nobody);
    Reader reader;
    checker.join(reader);
    CHECK_FALSE(checker.feed(reader, as_bytes(compressed_frame("x")), 2000));
    for (const auto& [first, sound] : {std::pair{'\xc1', true},
                                      {'\xc2', true},
                                      {'\xc0', false},
                                      {'\xc9', false},
                                      {'\xe1', false},
                                      {'\x91', false}}) {
        const std::string bytes{first, '\0'};
        Frame frame;
        CHECK((parse_frame(as_bytes(bytes), frame, true) == Parse::frame) == sound);
        CHECK(parse_frame(as_bytes(bytes), frame) == Parse::bad);
    }
}

TEST_CASE("tools inflate: compression is asked for, and its answer is seen") {
    const std::string asked = upgrade_request("h", "/p", "key", true);
    CHECK(asked.find("Sec-WebSocket-Extensions: permessage-deflate\r\n") != asked.npos);
    CHECK(upgrade_request("h", "/p", "key").find("Extensions") == std::string::npos);
    const std::string answer =
        "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        "a\r\n";
    CHECK_FALSE(check_upgrade(answer + "\r\n", "a").compresses);
    const std::string extension = "Sec-WebSocket-Extensions: permessage-deflate";
    CHECK(
        check_upgrade(answer + extension + "; server_no_context_takeover\r\n\r\n", "a").compresses);
    CHECK_FALSE(check_upgrade(answer + extension + "\r\n\r\n", "a").compresses);
}
