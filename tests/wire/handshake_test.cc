#include "wire/handshake.h"

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace ringcast;
using namespace ringcast::wire;
using std::string_literals::operator""s;

namespace {

Decision ask(const std::string& version, const std::string& lines) {
    auto parser = std::make_unique<RequestParser>();
    const std::string text = "GET /ws " + version + "\r\nHost: a\r\n" + lines + "\r\n";
    std::size_t consumed = 0;
    REQUIRE(parser->feed(as_bytes(text), consumed) == RequestParser::Status::done);
    return decide(parser->request());
}

const std::string upgrade = "Upgrade: websocket\r\n";
const std::string connection = "Connection: Upgrade\r\n";
const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const std::string version = "Sec-WebSocket-Version: 13\r\n";
const std::string all = upgrade + connection + key + version;

std::string key_of(const std::string& value) {
    return upgrade + connection + version + "Sec-WebSocket-Key: " + value + "\r\n";
}

}  // namespace

TEST_CASE("handshake: the example of RFC 6455 gets the accept value of RFC 6455") {
    const Decision decision = ask("HTTP/1.1", all);
    REQUIRE(decision.kind == Decision::Kind::websocket);
    CHECK(decision.status == 101);
    CHECK(std::string(decision.accept.data(), 28) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(decision.protocol.empty());
}

TEST_CASE("handshake: a request is a page, an upgrade, or refused for one reason") {
    struct Row {
        const char* name;
        std::string http;
        std::string lines;
        int status;  // 200 page, 101 upgrade
    };
    const std::vector<Row> rows = {
        {"plain", "HTTP/1.1", "", 200},
        {"plain 1.0", "HTTP/1.0", "", 200},
        {"upgrade", "HTTP/1.1", all, 101},
        {"upgrade over 1.0", "HTTP/1.0", all, 400},
        {"h2c is ignored", "HTTP/1.1", "Upgrade: h2c\r\n" + connection, 200},
        {"CVE-2025-11677: Upgrade of another kind, with a key",
         "HTTP/1.1",
         "Upgrade: mqtt\r\n" + connection + key + version,
         400},
        {"CVE-2024-37890: no Upgrade, but the rest", "HTTP/1.1", connection + key + version, 400},
        {"no Connection", "HTTP/1.1", upgrade + key + version, 400},
        {"Connection: close", "HTTP/1.1", upgrade + "Connection: close\r\n" + key + version, 400},
        {"Upgrade twice", "HTTP/1.1", upgrade + all, 400},
        {"no version (hixie)", "HTTP/1.1", upgrade + connection + key, 400},
        {"version 1777 (smuggling)",
         "HTTP/1.1",
         upgrade + connection + key + "Sec-WebSocket-Version: 1777\r\n",
         426},
        {"version 8", "HTTP/1.1", upgrade + connection + key + "Sec-WebSocket-Version: 8\r\n", 426},
        {"version 013",
         "HTTP/1.1",
         upgrade + connection + key + "Sec-WebSocket-Version: 013\r\n",
         426},
        {"version list",
         "HTTP/1.1",
         upgrade + connection + key + "Sec-WebSocket-Version: 13, 8\r\n",
         426},
        {"version empty",
         "HTTP/1.1",
         upgrade + connection + key + "Sec-WebSocket-Version:\r\n",
         426},
        {"version twice", "HTTP/1.1", all + version, 400},
        {"no key", "HTTP/1.1", upgrade + connection + version, 400},
        {"key twice", "HTTP/1.1", all + key, 400},
        {"key empty", "HTTP/1.1", key_of(""), 400},
        {"CVE-2026-5067: over-long key", "HTTP/1.1", key_of(std::string(2000, 'A')), 400},
        {"key of 15 bytes", "HTTP/1.1", key_of("AAAAAAAAAAAAAAAAAAAA"), 400},
        {"key of 17 bytes", "HTTP/1.1", key_of("AAAAAAAAAAAAAAAAAAAAAAA="), 400},
        {"key of 18 bytes", "HTTP/1.1", key_of("AAAAAAAAAAAAAAAAAAAAAAAA"), 400},
        {"key of 16 bytes without padding", "HTTP/1.1", key_of("AAAAAAAAAAAAAAAAAAAAAA"), 400},
        {"key with a foreign letter", "HTTP/1.1", key_of("AAAAAAAAAA-AAAAAAAAAAA=="), 400},
        {"key with blanks", "HTTP/1.1", key_of("AAAAAAAAAA AAAAAAAAAAA=="), 400},
        {"key with leftover bits", "HTTP/1.1", key_of("AAAAAAAAAAAAAAAAAAAAAB=="), 101},
        {"extensions are declined",
         "HTTP/1.1",
         all + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n",
         101},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        const Decision decision = ask(row.http, row.lines);
        CAPTURE(decision.reason);
        CHECK(decision.status == row.status);
        const auto kind = row.status == 200   ? Decision::Kind::http
                          : row.status == 101 ? Decision::Kind::websocket
                                              : Decision::Kind::refuse;
        CHECK(decision.kind == kind);
        CHECK((kind == Decision::Kind::refuse) == !std::string_view(decision.reason).empty());
    }
}

TEST_CASE("handshake: our protocol is chosen when it is offered, and only then named") {
    const Decision chosen = ask("HTTP/1.1", all + "Sec-WebSocket-Protocol: a, ringcast.v1\r\n");
    CHECK(chosen.protocol == "ringcast.v1");
    CHECK(ask("HTTP/1.1", all + "Sec-WebSocket-Protocol: a, b\r\n").protocol.empty());

    std::array<std::byte, switching_protocols_size_max> out{};
    std::size_t size = write_switching_protocols(out, chosen.accept, chosen.protocol);
    CHECK(as_text(Bytes(out).first(size)) ==
          "HTTP/1.1 101 Switching Protocols\r\n"
          "Upgrade: websocket\r\n"
          "Connection: Upgrade\r\n"
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
          "Sec-WebSocket-Protocol: ringcast.v1\r\n"
          "\r\n");
    size = write_switching_protocols(out, chosen.accept, {});
    CHECK(as_text(Bytes(out).first(size)).find("Protocol:") == std::string_view::npos);
}

TEST_CASE("handshake: an answer states its length and ends the connection") {
    std::array<std::byte, 512> out{};
    const std::size_t size =
        write_http_response(out, 200, "X-A: b\r\n", "application/json", "{\"a\":1}");
    CHECK(as_text(Bytes(out).first(size)) ==
          "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Type: application/json\r\n"
          "Connection: close\r\nX-A: b\r\n\r\n{\"a\":1}");
}

TEST_CASE("handshake: a refusal carries the header that its status calls for") {
    struct Row {
        int status;
        const char* has;
    };
    const Row rows[] = {
        {400, "HTTP/1.1 400 Bad Request\r\n"},
        {401, "\r\nWWW-Authenticate: Bearer\r\n"},
        {405, "\r\nAllow: GET\r\n"},
        {414, "HTTP/1.1 414 URI Too Long\r\n"},
        {426, "\r\nSec-WebSocket-Version: 13\r\n"},
        {426, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"},
        {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
        {503, "\r\nRetry-After: 4294967295\r\n"},
        {505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
        {599, "HTTP/1.1 599 Unknown\r\n"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.status);
        std::array<std::byte, refusal_size_max> out{};
        const std::size_t size = write_refusal(out, row.status, std::string(200, 'r'), UINT32_MAX);
        const std::string text(as_text(Bytes(out).first(size)));
        CHECK(text.find(row.has) != std::string::npos);
        CHECK(text.find("\r\nConnection: close\r\n") != std::string::npos);
        CHECK(text.find("\r\nContent-Length: 129\r\n") != std::string::npos);
        CHECK(text.size() - text.find("\r\n\r\n") - 4 == 129);
    }
}
