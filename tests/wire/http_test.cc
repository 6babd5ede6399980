#include "wire/http.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/wire/wall.h"

using namespace ringcast;
using namespace ringcast::wire;
using std::string_literals::operator""s;

namespace {

const std::string upgrade_lines =
    "Host: example.org\r\n"
    "Upgrade: websocket\r\n"
    "Connection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n";

std::string get(const std::string& lines) {
    return "GET /ws HTTP/1.1\r\n" + lines + "\r\n";
}

struct Outcome {
    RequestParser::Status status = RequestParser::Status::need_more;
    int error = 0;
    std::string reason;
    std::size_t consumed = 0;
    std::string view;  // everything the request says, as text

    bool operator==(const Outcome& other) const {
        return status == other.status && error == other.error && consumed == other.consumed &&
               view == other.view;
    }
};

std::string show(const Request& r) {
    std::string text;
    for (const std::string_view part : {r.path,
                                        r.query,
                                        r.host,
                                        r.origin,
                                        r.authorization,
                                        r.forwarded_for,
                                        r.if_none_match,
                                        r.key}) {
        text += std::string(part) + "|";
    }
    for (const int n : {int{r.head_size},
                        int{r.header_lines},
                        int{r.version_minor},
                        int{r.host_count},
                        int{r.origin_count},
                        int{r.upgrade_count},
                        int{r.key_count},
                        int{r.websocket_version_count},
                        int{r.upgrade_websocket},
                        int{r.connection_upgrade},
                        int{r.websocket_version_13},
                        int{r.offers_protocols},
                        int{r.offers_ringcast_v1}}) {
        text += std::to_string(n) + ",";
    }
    return text;
}

test::Wall wall;

// Feeds pieces of the sizes that `next_size` says, each from a buffer that ends at a wall.
template <typename NextSize>
Outcome run(std::string_view text, NextSize next_size) {
    auto parser = std::make_unique<RequestParser>();
    Outcome outcome;
    while (!text.empty() && outcome.status == RequestParser::Status::need_more) {
        const std::size_t size = std::min<std::size_t>(next_size(), text.size());
        const MutBytes piece = wall.hold(as_bytes(text.substr(0, size)));
        std::size_t consumed = 0;
        outcome.status = parser->feed(piece, consumed);
        CHECK(consumed <= size);
        if (outcome.status == RequestParser::Status::need_more) CHECK(consumed == size);
        outcome.consumed += consumed;
        text.remove_prefix(size);
    }
    if (outcome.status == RequestParser::Status::done) outcome.view = show(parser->request());
    if (outcome.status == RequestParser::Status::failed) {
        outcome.error = parser->error_status();
        outcome.reason = parser->error_reason();
        outcome.consumed = 0;
        std::size_t consumed = 7;
        CHECK(parser->feed(as_bytes("GET"), consumed) == RequestParser::Status::failed);
        CHECK(consumed == 0);
    }
    return outcome;
}

Outcome whole(std::string_view text) {
    return run(text, [] { return std::size_t{1} << 20; });
}

Outcome bytewise(std::string_view text) {
    return run(text, [] { return std::size_t{1}; });
}

struct Row {
    const char* name;
    std::string text;
    int error;  // 0: a complete request
};

std::string repeat(const std::string& text, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; i++)
        out += text;
    return out;
}

// The classes of known failures are named after who failed.
std::vector<Row> limit_rows() {
    const std::string base = upgrade_lines;
    const std::string pad_line = "X-P: y\r\n";
    return {
        {"a browser's upgrade", get(base), 0},
        {"a plain GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"HTTP/1.0 without Host", "GET /x HTTP/1.0\r\n\r\n", 0},
        {"CVE-2024-37890: 2000 header lines", get(repeat(pad_line, 2000) + base), 431},
        {"64 header lines", get(base + repeat(pad_line, 64 - 5)), 0},
        {"65 header lines", get(base + repeat(pad_line, 65 - 5)), 431},
        {"CVE-2023-43669: one header of 20 million characters",
         get("X-A: " + std::string(20'000'000, 'a') + "\r\n" + base),
         431},
        {"head of exactly 8 KiB",
         get(base + "X: " + std::string(8192 - get(base).size() - 5, 'a') + "\r\n"),
         0},
        {"head of 8 KiB and a byte",
         get(base + "X: " + std::string(8193 - get(base).size() - 5, 'a') + "\r\n"),
         431},
        {"CVE-2021-32640: protocols with 30000 blanks",
         get(base + "Sec-WebSocket-Protocol: b" + std::string(30000, ' ') + "x\r\n"),
         431},
        {"protocols with 2900 blanks",
         get(base + "Sec-WebSocket-Protocol: b" + std::string(2900, ' ') + "x\r\n"),
         0},
        {"kept headers over the text area",
         get(base + "Authorization: " + std::string(3060, 'a') + "\r\n"),
         431},
        {"CVE-2020-7662: unclosed quoted extension",
         get(base + "Sec-WebSocket-Extensions: a;b=\"" + repeat("\\c", 1000) + "\r\n"),
         0},
        {"GHSA-5v72: extension named constructor",
         get(base + "Sec-WebSocket-Extensions: ,;constructor\r\n"),
         0},
    };
}

std::vector<Row> body_rows() {
    const std::string base = upgrade_lines;
    return {
        {"CVE-2023-34188: negative Content-Length", get(base + "Content-Length: -180\r\n"), 400},
        {"Content-Length 0", get(base + "Content-Length: 0\r\n"), 0},
        {"Content-Length 5", get(base + "Content-Length: 5\r\n"), 400},
        {"Content-Length +0", get(base + "Content-Length: +0\r\n"), 400},
        {"Content-Length twice", get(base + "Content-Length: 0\r\nContent-Length: 0\r\n"), 400},
        {"Content-Length empty", get(base + "Content-Length:\r\n"), 400},
        {"Transfer-Encoding chunked", get(base + "Transfer-Encoding: chunked\r\n"), 400},
        {"Transfer-Encoding identity", get(base + "Transfer-Encoding: identity\r\n"), 400},
        {"both lengths", get(base + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400},
    };
}

std::vector<Row> request_line_rows() {
    return {
        {"websocketpp 524: target is not a path", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"absolute form", "GET http://a:80/ws?x=1 HTTP/1.1\r\nHost: b\r\n\r\n", 0},
        {"absolute form, capitals", "GET HTTPS://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 0},
        {"absolute form, no path", "GET http://a HTTP/1.1\r\nHost: b\r\n\r\n", 0},
        {"absolute form, no host", "GET http:///ws HTTP/1.1\r\nHost: b\r\n\r\n", 400},
        {"absolute form, user", "GET http://u@a/ws HTTP/1.1\r\nHost: b\r\n\r\n", 400},
        {"absolute form, no Host", "GET http://a/ws HTTP/1.1\r\n\r\n", 400},
        {"a scheme alone", "GET http:// HTTP/1.1\r\nHost: b\r\n\r\n", 400},
        {"some other scheme", "GET htp://a/ws HTTP/1.1\r\nHost: b\r\n\r\n", 400},
        {"a WebSocket scheme", "GET ws://a/ws HTTP/1.1\r\nHost: b\r\n\r\n", 400},
        {"no scheme", "GET http HTTP/1.1\r\nHost: b\r\n\r\n", 400},
        {"websocketpp 524: no target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"HTTP/0.9", "GET /\r\n\r\n", 400},
        {"two blanks before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"blank behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
        {"blank in front of the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"empty line in front", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"asterisk form", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"octet above ASCII in the target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"NUL in the target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"s, 400},
        {"target of 2 KiB", "GET /" + std::string(2047, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"target of 2 KiB and a byte",
         "GET /" + std::string(2048, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n",
         414},
        {"POST", "POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405},
        {"HEAD", "HEAD /ws HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"CONNECT", "CONNECT /ws HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"unknown method", "FROB /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"lower-case method", "get /ws HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405},
        {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400},
        {"HTTP/9", "GET / HTTP/9\r\nHost: a\r\n\r\n", 400},
        {"TLS hello", "\x16\x03\x01\x02\x00\x01\x00"s, 400},
    };
}

std::vector<Row> host_rows() {
    return {
        {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
        {"no Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n", 400},
        {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
        {"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
        {"Host with a comma", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
        {"Host with IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
    };
}

std::vector<Row> header_rows() {
    const std::string base = upgrade_lines;
    return {
        {"websocketpp 456: value of blanks only", get(base + "X-A:    \t  \r\n"), 0},
        {"websocketpp 0.7: empty value", get(base + "X-A:\r\n"), 0},
        {"empty header name", get(base + ": x\r\n"), 400},
        {"blank before the colon", get(base + "X-A : b\r\n"), 400},
        {"blank before the colon of Host", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"tab before the colon", get(base + "X-A\t: b\r\n"), 400},
        {"folded header", get(base + "X-A: b\r\n c\r\n"), 400},
        {"folded header by a tab", get(base + "X-A: b\r\n\tc\r\n"), 400},
        {"fold before the first header", "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", 400},
        {"bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
        {"bare LF behind a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"bare CR in a value", get(base + "X-A: b\rc\r\n"), 400},
        {"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400},
        {"NUL in a value", get(base + "X-A: b\0c\r\n"s), 400},
        {"NUL in a name", get(base + "X\0A: b\r\n"s), 400},
        {"escape character in a value", get(base + "X-A: b\x1b[0m\r\n"), 400},
        {"DEL in a value", get(base + "X-A: b\x7f\r\n"), 400},
        {"tab in a value", get(base + "X-A: b\tc\r\n"), 0},
        {"octet above ASCII in a value", get(base + "X-A: \xff\xc3\r\n"), 0},
        {"octet above ASCII in a name", get(base + "X-\xc3: a\r\n"), 400},
        {"header line without a colon", get(base + "nonsense\r\n"), 400},
        {"two Origins", get(base + "Origin: https://a\r\nOrigin: https://a\r\n"), 400},
        {"two Authorizations", get(base + "Authorization: a\r\nAuthorization: b\r\n"), 400},
        {"a name longer than any of ours", get(base + "X-" + std::string(300, 'n') + ": a\r\n"), 0},
    };
}

std::vector<Row> all_rows() {
    std::vector<Row> rows;
    for (auto* const some : {limit_rows, body_rows, request_line_rows, host_rows, header_rows}) {
        for (Row& row : some())
            rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace

TEST_CASE("http: every request is accepted or refused with its status, however it is cut") {
    for (const Row& row : all_rows()) {
        CAPTURE(row.name);
        const Outcome outcome = whole(row.text);
        CAPTURE(outcome.reason);
        CHECK(outcome.error == row.error);
        CHECK(outcome.status ==
              (row.error == 0 ? RequestParser::Status::done : RequestParser::Status::failed));
        CHECK(outcome == bytewise(row.text.substr(0, 20'000)));
        for (std::uint64_t seed = 1; seed <= 10; seed++) {
            CAPTURE(seed);
            Random random(seed);
            const Outcome cut = run(std::string_view(row.text).substr(0, 20'000),
                                    [&] { return 1 + random.below(97); });
            CHECK(outcome == cut);
        }
    }
}

TEST_CASE("http: every proper prefix of a request asks for more") {
    const std::string text = get(upgrade_lines);
    for (std::size_t size = 0; size < text.size(); size++) {
        CHECK(whole(text.substr(0, size)).status == RequestParser::Status::need_more);
        CHECK(bytewise(text.substr(0, size)).status == RequestParser::Status::need_more);
    }
}

TEST_CASE("http: bytes behind the head are left to the caller") {
    const std::string head = get(upgrade_lines);
    const std::string frames = "\x81\x85\x01\x02\x03\x04hello";
    const Outcome outcome = whole(head + frames);
    CHECK(outcome.status == RequestParser::Status::done);
    CHECK(outcome.consumed == head.size());
    CHECK(whole("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n").consumed == 27);
}

TEST_CASE("http: the request says what its lines said") {
    auto parser = std::make_unique<RequestParser>();
    const std::string text =
        "GET /raw?topic=a&topic=b HTTP/1.1\r\n"
        "hOsT:example.org:8080  \r\n"
        "Upgrade:  h2c , WebSocket\r\n"
        "Connection: keep-alive\r\n"
        "Connection:\tupgrade\r\n"
        "Origin: https://example.org\r\n"
        "Authorization: Bearer abc\r\n"
        "X-Forwarded-For: 1.1.1.1\r\n"
        "X-Forwarded-For: 2.2.2.2\r\n"
        "If-None-Match:  \"a\", W/\"b\"\r\n"
        "Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: chat\r\n"
        "Sec-WebSocket-Protocol: x, ringcast.v1\r\n"
        "\r\n";
    std::size_t consumed = 0;
    REQUIRE(parser->feed(as_bytes(text), consumed) == RequestParser::Status::done);
    const Request& request = parser->request();
    CHECK(request.path == "/raw");
    CHECK(request.query == "topic=a&topic=b");
    CHECK(request.host == "example.org:8080");
    CHECK(request.origin == "https://example.org");
    CHECK(request.authorization == "Bearer abc");
    CHECK(request.forwarded_for == "2.2.2.2");
    CHECK(request.if_none_match == "\"a\", W/\"b\"");
    CHECK(request.key == "dGhlIHNhbXBsZSBub25jZQ==");
    CHECK(request.head_size == text.size());
    CHECK(request.header_lines == 13);
    CHECK(request.version_minor == 1);
    CHECK(request.upgrade_websocket);
    CHECK(request.connection_upgrade);
    CHECK(request.websocket_version_13);
    CHECK(request.offers_protocols);
    CHECK(request.offers_ringcast_v1);
}

TEST_CASE("http: of a target in absolute form the authority counts, not Host") {
    struct Row {
        const char* target;
        const char* host;
        const char* path;
        const char* query;
    };
    const Row rows[] = {
        {"http://a.example:81/ws?topic=t", "a.example:81", "/ws", "topic=t"},
        {"HTTPS://[::1]/raw", "[::1]", "/raw", ""},
        {"http://a", "a", "/", ""},
        {"http://a?b=/c", "a", "/", "b=/c"},
        {"/http://a", "b", "/http://a", ""},
    };
    for (const Row& row : rows) {
        CAPTURE(row.target);
        const std::string head = "GET " + std::string(row.target) + " HTTP/1.1\r\nHost: b\r\n\r\n";
        RequestParser parser;
        std::size_t consumed = 0;
        REQUIRE(parser.feed(as_bytes(head), consumed) == RequestParser::Status::done);
        CHECK(parser.request().host == row.host);
        CHECK(parser.request().path == row.path);
        CHECK(parser.request().query == row.query);
    }
}

TEST_CASE("http: lists are compared by whole elements") {
    struct ListRow {
        const char* line;
        bool upgrade;
        bool connection;
        bool protocol;
    };
    const ListRow list_rows[] = {
        {"Upgrade: websockets\r\n", false, false, false},
        {"Upgrade: web socket\r\n", false, false, false},
        {"Upgrade: WEBSOCKET\r\n", true, false, false},
        {"Upgrade: ,,websocket,,\r\n", true, false, false},
        {"Connection: xupgrade, upgradex\r\n", false, false, false},
        {"Connection: close,UPGRADE\r\n", false, true, false},
        {"Sec-WebSocket-Protocol: RINGCAST.V1\r\n", false, false, false},
        {"Sec-WebSocket-Protocol: a,ringcast.v1\r\n", false, false, true},
        {"Sec-WebSocket-Protocol: ringcast.v10\r\n", false, false, false},
        {"Sec-WebSocket-Protocol:\r\n", false, false, false},
    };
    for (const ListRow& row : list_rows) {
        CAPTURE(row.line);
        auto parser = std::make_unique<RequestParser>();
        std::size_t consumed = 0;
        const std::string text = get("Host: a\r\n"s + row.line);
        REQUIRE(parser->feed(as_bytes(text), consumed) == RequestParser::Status::done);
        CHECK(parser->request().upgrade_websocket == row.upgrade);
        CHECK(parser->request().connection_upgrade == row.connection);
        CHECK(parser->request().offers_ringcast_v1 == row.protocol);
    }
}

TEST_CASE("http: a token among the protocols is kept, and counted") {
    struct TokenRow {
        const char* lines;
        const char* token;
        int count;
    };
    const TokenRow token_rows[] = {
        {"Sec-WebSocket-Protocol: ringcast.v1, ringcast.token.a.b-c\r\n", "a.b-c", 1},
        {"Sec-WebSocket-Protocol: ringcast.token.a,ringcast.token.b\r\n", "b", 2},
        {"Sec-WebSocket-Protocol: ringcast.token.a\r\nSec-WebSocket-Protocol: ringcast.v1\r\n",
         "a",
         1},
        {"Sec-WebSocket-Protocol: ringcast.token.a\r\n"
         "Sec-WebSocket-Protocol: xringcast.token.b\r\nX: y\r\n",
         "a",
         1},
        {"Sec-WebSocket-Protocol: ringcast.token.\r\n", "", 1},
        {"Sec-WebSocket-Protocol: ringcast.token, RINGCAST.TOKEN.a\r\n", "", 0},
        {"X-Protocol: ringcast.token.a\r\n", "", 0},
    };
    for (const TokenRow& row : token_rows) {
        CAPTURE(row.lines);
        auto parser = std::make_unique<RequestParser>();
        std::size_t consumed = 0;
        const std::string text = get("Host: a\r\n"s + row.lines);
        REQUIRE(parser->feed(as_bytes(text), consumed) == RequestParser::Status::done);
        CHECK(parser->request().protocol_token == row.token);
        CHECK(parser->request().protocol_token_count == row.count);
        CHECK(parser->request().host == "a");
    }
}

TEST_CASE("http: a query is walked pair by pair, decoded, and refused when it is malformed") {
    struct QueryRow {
        std::string query;
        std::string items;  // name=value; for each, then E (end) or B (bad)
    };
    const QueryRow query_rows[] = {
        {"", "E"},
        {"&&&", "E"},
        {"topic=a&topic=b", "topic=a;topic=b;E"},
        {"a", "a=;E"},
        {"=b", "=b;E"},
        {"a=b=c", "a=b=c;E"},
        {"a=%41%2f%2B+b", "a=A/+ b;E"},
        {"t%6fpic=x", "topic=x;E"},
        {"a=%", "B"},
        {"a=%4", "B"},
        {"a=%4&b=1", "B"},
        {"ok=1&a=%zz", "ok=1;B"},
        {"a=%00", "a="s + '\0' + ";E"},
        {repeat("a&", 256), repeat("a=;", 256) + "E"},
        {repeat("a&", 257), repeat("a=;", 256) + "B"},
    };
    for (const QueryRow& row : query_rows) {
        CAPTURE(row.query);
        std::string items;
        std::array<char, 64> scratch{};
        QueryReader reader(row.query);
        QueryReader::Item item;
        QueryReader::Status status = reader.next(scratch, item);
        while (status == QueryReader::Status::item) {
            items += std::string(item.name) + "=" + std::string(item.value) + ";";
            status = reader.next(scratch, item);
        }
        items += status == QueryReader::Status::end ? "E" : "B";
        CHECK(items == row.items);
    }
}

TEST_CASE("http: a query item that does not fit into the scratch is bad, one that does is not") {
    std::array<char, 8> scratch{};
    QueryReader::Item item;
    CHECK(QueryReader("abcd=efgh").next(scratch, item) == QueryReader::Status::item);
    CHECK(item.name == "abcd");
    CHECK(item.value == "efgh");
    CHECK(QueryReader("abcd=efghi").next(scratch, item) == QueryReader::Status::bad);
    std::array<char, 16> larger{};
    CHECK(query_value("x=1&token=s%65cret&token=2", "token", larger) == "secret");
    CHECK(query_value("x=1", "token", larger).empty());
}

TEST_CASE("http: the limits of the head are those that were asked for, to the byte and the line") {
    const std::string head = get(upgrade_lines);
    const auto lines = static_cast<std::size_t>(std::count(head.begin(), head.end(), '\n')) - 2;
    struct LimitRow {
        std::size_t size_max;
        std::size_t lines_max;
        int error;
    };
    const LimitRow limit_rows[] = {
        {head.size(), lines, 0},
        {head.size() - 1, lines, 431},
        {head.size(), lines - 1, 431},
        {UINT16_MAX, UINT8_MAX, 0},
    };
    for (const LimitRow& row : limit_rows) {
        CAPTURE(row.size_max);
        CAPTURE(row.lines_max);
        RequestParser parser({.head_size_max = static_cast<std::uint16_t>(row.size_max),
                              .head_lines_max = static_cast<std::uint8_t>(row.lines_max)});
        std::size_t consumed = 0;
        const auto status = parser.feed(as_bytes(head), consumed);
        CHECK((status == RequestParser::Status::done) == (row.error == 0));
        CHECK(parser.error_status() == row.error);
    }
    // The largest that can be asked for: the counters do not wrap.
    const RequestLimits most{.head_size_max = UINT16_MAX, .head_lines_max = UINT8_MAX};
    const std::string endless_line = "GET / HTTP/1.1\r\nX: " + std::string(100'000, 'a');
    const std::string endless_lines = "GET / HTTP/1.1\r\n" + repeat("X: y\r\n", 1000);
    for (const std::string& text : {endless_line, endless_lines}) {
        RequestParser parser(most);
        std::size_t consumed = 0;
        CHECK(parser.feed(as_bytes(text), consumed) == RequestParser::Status::failed);
        CHECK(parser.error_status() == 431);
        CHECK(consumed <= UINT16_MAX);
    }
}
