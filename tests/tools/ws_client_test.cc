#include "ws_client.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::tools;

namespace {

// Unmasks what append_frame made, bit by bit as RFC 6455 5.3 says, and checks the header.
std::string unmasked(const std::string& frame, Opcode opcode) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(frame.at(i)); };
    CHECK(byte(0) == (0x80 | static_cast<unsigned>(opcode)));
    CHECK((byte(1) & 0x80) != 0);
    std::size_t at = 2;
    std::uint64_t length = byte(1) & 0x7f;
    if (length >= 126) {
        const std::size_t wide = length == 126 ? 2 : 8;
        length = 0;
        for (std::size_t i = 0; i < wide; i++) {
            length = length << 8 | byte(at++);
        }
    }
    CHECK(frame.size() == at + 4 + length);
    std::string payload;
    for (std::size_t i = 0; i < length; i++) {
        payload += static_cast<char>(byte(at + 4 + i) ^ byte(at + i % 4));
    }
    return payload;
}

struct Seen {
    Opcode opcode;
    bool fin;
    std::string payload;
    bool operator==(const Seen&) const = default;
};

// Feeds `stream` in pieces that end where `cuts` say.
std::vector<Seen> split(const std::string& stream, const std::vector<std::size_t>& cuts) {
    std::vector<Seen> seen;
    Splitter splitter;
    std::size_t from = 0;
    for (const std::size_t to : cuts) {
        Bytes chunk = as_bytes(std::string_view(stream).substr(from, to - from));
        while (!chunk.empty()) {
            const Parse result = splitter.take(chunk, [&](const Frame& frame) {
                seen.push_back({frame.opcode, frame.fin, std::string(as_text(frame.payload))});
            });
            REQUIRE(result != Parse::bad);
        }
        from = to;
    }
    CHECK(splitter.empty());
    return seen;
}

}  // namespace

TEST_CASE("ws_client: a frame carries its payload masked, at every size of the length field") {
    Random random(1);
    for (const std::size_t size :
         {0U, 1U, 3U, 4U, 7U, 8U, 9U, 125U, 126U, 127U, 65535U, 65536U, 70001U}) {
        CAPTURE(size);
        std::string payload(size, '\0');
        for (char& c : payload) {
            c = static_cast<char>(random.next());
        }
        std::string frame;
        append_frame(frame, Opcode::binary, as_bytes(payload), 0xa1b2c3d4);
        CHECK(unmasked(frame, Opcode::binary) == payload);
    }
}

TEST_CASE("ws_client: the example of RFC 6455 5.7, masked Hello") {
    std::string frame;
    append_frame(frame, Opcode::text, as_bytes("Hello"), 0x3d21fa37);
    CHECK(frame == "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    frame.clear();
    append_close(frame, 1000);
    CHECK(unmasked(frame, Opcode::close) == std::string("\x03\xe8"));
}

TEST_CASE("ws_client: a stream is cut into the same frames wherever reads end") {
    std::string stream;
    std::vector<Seen> want;
    for (const std::size_t size : {0U, 5U, 125U, 126U, 300U, 65535U, 65536U}) {
        const std::string payload(size, static_cast<char>('a' + size % 26));
        append_server_frame(stream, Opcode::text, as_bytes(payload));
        want.push_back({Opcode::text, true, payload});
    }
    append_server_frame(stream, Opcode::ping, as_bytes("?"));
    want.push_back({Opcode::ping, true, "?"});
    CHECK(split(stream, {stream.size()}) == want);
    for (std::size_t cut = 0; cut < 700; cut++) {
        CAPTURE(cut);
        CHECK(split(stream, {cut, stream.size()}) == want);
        CHECK(split(stream, {cut, cut + 1, cut + 2, stream.size()}) == want);
    }
    std::vector<std::size_t> every;
    for (std::size_t i = 1; i <= 700; i++) {
        every.push_back(i);
    }
    every.push_back(stream.size());
    CHECK(split(stream, every) == want);
}

TEST_CASE("ws_client: random cuts change nothing") {
    for (std::uint64_t seed = 1; seed <= 50; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::string stream;
        std::vector<Seen> want;
        for (int i = 0; i < 40; i++) {
            const std::string payload(random.below(random.chance(1, 8) ? 70'000 : 300), 'x');
            append_server_frame(stream, Opcode::binary, as_bytes(payload));
            want.push_back({Opcode::binary, true, payload});
        }
        std::vector<std::size_t> cuts;
        for (std::size_t at = 0; at < stream.size();) {
            at = std::min(stream.size(), at + 1 + random.below(random.chance(1, 2) ? 9 : 20'000));
            cuts.push_back(at);
        }
        CHECK(split(stream, cuts) == want);
    }
}

TEST_CASE("ws_client: what a server must not send is bad") {
    const struct {
        const char* what;
        std::string bytes;
    } rows[] = {
        {"reserved bit", std::string("\xc1\x00", 2)},
        {"masked", std::string("\x81\x80", 2)},
        {"reserved opcode 3", std::string("\x83\x00", 2)},
        {"reserved opcode 11", std::string("\x8b\x00", 2)},
        {"fragmented ping", std::string("\x09\x00", 2)},
        {"long ping", std::string("\x89\x7e", 2)},
        {"length 125 in two bytes", std::string("\x82\x7e\x00\x7d", 4)},
        {"length 65535 in eight bytes", std::string("\x82\x7f\0\0\0\0\0\0\xff\xff", 10)},
        {"length of an exabyte", std::string("\x82\x7f\x10\0\0\0\0\0\0\0", 10)},
    };
    for (const auto& row : rows) {
        CAPTURE(row.what);
        Frame frame;
        CHECK(parse_frame(as_bytes(row.bytes), frame) == Parse::bad);
        for (std::size_t cut = 0; cut < 2; cut++) {
            CHECK(parse_frame(as_bytes(row.bytes.substr(0, cut)), frame) == Parse::need_more);
        }
    }
}

TEST_CASE("ws_client: the handshake is accepted only with everything in it") {
    const std::string accept = accept_value("dGhlIHNhbXBsZSBub25jZQ==");  // RFC 6455, 1.3
    CHECK(accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const std::string good =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection:  Upgrade \r\n"
        "Sec-WebSocket-Accept: " +
        accept + "\r\n\r\n";
    const auto without = [&](const std::string& part) {
        std::string text = good;
        return text.erase(text.find(part), part.size());
    };
    const struct {
        const char* what;
        std::string text;
        Upgrade want;
    } rows[] = {
        {"good", good, Upgrade::accepted},
        {"good and a frame", good + "\x81", Upgrade::accepted},
        {"not whole", good.substr(0, good.size() - 1), Upgrade::need_more},
        {"other status", "HTTP/1.1 503 Busy\r\n\r\n", Upgrade::refused},
        {"other protocol", "SSH-2.0-x\r\n\r\n", Upgrade::bad},
        {"no upgrade", without("upgrade: WebSocket\r\n"), Upgrade::bad},
        {"no connection", without("Connection:  Upgrade \r\n"), Upgrade::bad},
        {"wrong accept", without("s3pP"), Upgrade::bad},
        {"endless", std::string(20'000, 'x'), Upgrade::bad},
    };
    for (const auto& row : rows) {
        CAPTURE(row.what);
        CHECK(check_upgrade(row.text, accept).result == row.want);
    }
    CHECK(check_upgrade(good + "\x81", accept).size == good.size());
    CHECK(check_upgrade("HTTP/1.1 503 Busy\r\n\r\n", accept).status == 503);
}
