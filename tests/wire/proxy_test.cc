// Headers of the PROXY protocol, and X-Forwarded-For.

#include "wire/proxy.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

using Status = ProxyParser::Status;

struct Outcome {
    Status status = Status::need_more;
    std::size_t consumed = 0;
    std::string source;  // empty: none

    bool operator==(const Outcome&) const = default;
};

Outcome run(std::string_view text, Random* random = nullptr) {
    ProxyParser parser;
    Outcome outcome;
    while (!text.empty() && outcome.status == Status::need_more) {
        const std::size_t size = random == nullptr ? text.size() : random->between(1, text.size());
        const std::string piece(text.substr(0, size));
        std::size_t consumed = 0;
        outcome.status = parser.feed(as_bytes(piece), consumed);
        outcome.consumed += consumed;
        text.remove_prefix(size);
    }
    if (outcome.status == Status::failed) outcome.consumed = 0;
    if (outcome.status == Status::done && parser.has_source()) {
        outcome.source = format_ip(parser.source());
    }
    return outcome;
}

std::string bytes(std::initializer_list<int> numbers) {
    std::string text;
    for (const int number : numbers) {
        text += static_cast<char>(number);
    }
    return text;
}

// Version 2: `rest` behind the size, which is its own unless said otherwise.
std::string v2(int version_command, int family, const std::string& rest, int size = -1) {
    const int said = size < 0 ? static_cast<int>(rest.size()) : size;
    return std::string("\r\n\r\n\0\r\nQUIT\n", 12) +
           bytes({version_command, family, said >> 8, said & 0xff}) + rest;
}

const std::string inet = bytes({192, 0, 2, 1, 10, 0, 0, 1, 0xd4, 0x31, 0, 80});
const std::string inet6 = bytes({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}) +
                          bytes({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6}) +
                          bytes({1, 2, 3, 4});

}  // namespace

TEST_CASE("proxy: whole headers, whoever they are about, cut anywhere") {
    const struct {
        std::string header;
        const char* source;
    } rows[] = {
        {"PROXY TCP4 192.0.2.1 10.0.0.1 54321 80\r\n", "192.0.2.1"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"},
        {"PROXY TCP4 192.0.2.1 10.0.0.1 0 0\r\n", "192.0.2.1"},
        {"PROXY TCP6 2001:db8::5 2001:db8::6 1 2\r\n", "2001:db8::5"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"PROXY UNKNOWN\r\n", ""},
        {"PROXY UNKNOWN whatever  stands here 0\r\n", ""},
        {v2(0x21, 0x11, inet), "192.0.2.1"},
        {v2(0x21, 0x12, inet), "192.0.2.1"},
        {v2(0x21, 0x21, inet6), "2001:db8::5"},
        {v2(0x21, 0x11, inet + std::string("\x03\0\x04tail", 7)), "192.0.2.1"},
        {v2(0x21, 0x11, inet + std::string(4096 - 16 - 12, 'x')), "192.0.2.1"},
        {v2(0x21, 0x31, std::string(216, '/')), ""},
        {v2(0x21, 0x00, ""), ""},
        {v2(0x21, 0x00, "ignored"), ""},
        {v2(0x20, 0x00, ""), ""},
        {v2(0x20, 0x11, inet), ""},
        {v2(0x20, 0x11, ""), ""},
    };
    Random random(11);
    for (const auto& row : rows) {
        const std::string& header = row.header;
        CAPTURE(header);
        const Outcome expected{
            .status = Status::done, .consumed = header.size(), .source = row.source};
        CHECK(run(header) == expected);
        for (const char* behind : {"GET / HTTP/1.1\r\n", "PROXY UNKNOWN\r\n", "\r\n", "\0"}) {
            CHECK(run(header + behind) == expected);
        }
        for (int i = 0; i < 50; i++) {
            REQUIRE(run(header + "GET", &random) == expected);
        }
        for (std::size_t size = 0; size < header.size(); size++) {
            REQUIRE(run(header.substr(0, size)).status == Status::need_more);
        }
    }
}

TEST_CASE("proxy: what is no header") {
    const std::vector<std::string> rows = {
        "GET / HTTP/1.1\r\n",
        "\x16\x03\x01",
        "PROXX",
        "PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\rx",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1\t10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 +2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n",
        "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 nobody 1 2\r\n",
        "PROXY TCP4 2001:db8::5 2001:db8::6 1 2\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY TCP6 [::1] [::1] 1 2\r\n",
        "PROXY TCP6 ::1%lo ::1 1 2\r\n",
        "PROXY UNKNOWN " + std::string(92, 'x') + "\r\n",  // 108 bytes
        std::string("\r\n\r\n\0\r\nQUIX", 11),
        std::string("\r\n\r\n\r"),
        v2(0x11, 0x11, inet),
        v2(0x31, 0x11, inet),
        v2(0x22, 0x11, inet),
        v2(0x2f, 0x11, inet),
        v2(0x21, 0x41, std::string(300, 'x')),
        v2(0x21, 0x13, inet),
        v2(0x21, 0x11, inet, 11),
        v2(0x21, 0x21, inet6, 35),
        v2(0x21, 0x31, std::string(216, '/'), 215),
        v2(0x21, 0x11, inet, 4096 - 15),
        v2(0x21, 0x11, inet, 65535),
    };
    Random random(12);
    for (const std::string& text : rows) {
        CAPTURE(text);
        CHECK(run(text).status == Status::failed);
        for (int i = 0; i < 20; i++) {
            REQUIRE(run(text, &random).status == Status::failed);
        }
    }
}

TEST_CASE("proxy: after its verdict a parser takes nothing more") {
    for (const char* text : {"PROXY UNKNOWN\r\n", "nonsense"}) {
        ProxyParser parser;
        std::size_t consumed = 0;
        const Status status = parser.feed(as_bytes(std::string_view(text)), consumed);
        CHECK(status != Status::need_more);
        CHECK(parser.feed(as_bytes(std::string_view("PROXY UNKNOWN\r\n")), consumed) == status);
        CHECK(consumed == 0);
    }
}

TEST_CASE("forwarded: the last hop that is no proxy of ours") {
    IpNetwork ours[2];
    REQUIRE(parse_network("10.0.0.0/8", ours[0]));
    REQUIRE(parse_network("2001:db8:1::/48", ours[1]));
    const struct {
        const char* list;
        const char* client;  // null: not to be understood
    } rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {" 192.0.2.1\t", "192.0.2.1"},
        {"203.0.113.5, 192.0.2.1", "192.0.2.1"},
        {"203.0.113.5,192.0.2.1", "192.0.2.1"},
        {"203.0.113.5, 192.0.2.1, 10.1.2.3", "192.0.2.1"},
        {"203.0.113.5, 10.1.2.3, 10.1.2.4", "203.0.113.5"},
        {"192.0.2.1, 2001:db8:1::7", "192.0.2.1"},
        {"192.0.2.1, ::ffff:10.0.0.1", "192.0.2.1"},
        {"10.0.0.9, 10.0.0.8", "10.0.0.9"},  // all ours: where it began
        {"10.0.0.9", "10.0.0.9"},
        {"192.0.2.1:4711", "192.0.2.1"},
        {"[2001:db8::5]", "2001:db8::5"},
        {"[2001:db8::5]:443", "2001:db8::5"},
        {"2001:db8::5", "2001:db8::5"},
        {"junk, 192.0.2.1", "192.0.2.1"},  // what the client wrote is never looked at
        {",,,, 192.0.2.1", "192.0.2.1"},
        {"junk, 192.0.2.1, 10.0.0.1", "192.0.2.1"},
        {"", nullptr},
        {",", nullptr},
        {"192.0.2.1,", nullptr},
        {"192.0.2.1, , 10.0.0.1", nullptr},
        {"junk, 10.0.0.1", nullptr},
        {"unknown", nullptr},
        {"_hidden", nullptr},
        {"192.0.2.1:", nullptr},
        {"192.0.2.1:http", nullptr},
        {"192.0.2.1:65536", nullptr},
        {"192.0.2.1 10.0.0.1", nullptr},
        {"[192.0.2.1]", nullptr},
        {"[2001:db8::5", nullptr},
        {"[2001:db8::5]443", nullptr},
        {"\"192.0.2.1\"", nullptr},
        {"for=192.0.2.1", nullptr},
    };
    for (const auto& row : rows) {
        const char* const list = row.list;
        const char* const client = row.client;
        CAPTURE(list);
        Ip found;
        REQUIRE(forwarded_client(list, ours, found) == (client != nullptr));
        if (client != nullptr) CHECK(format_ip(found) == client);
    }
}
