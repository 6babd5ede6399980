#include "node/origin.h"

#include <array>

#include <doctest/doctest.h>

using namespace ringcast;
using node::host_allowed;
using node::origin_allowed;

namespace {

wire::Request request(std::string_view host) {
    wire::Request request;
    request.host = host;
    request.host_count = 1;
    return request;
}
wire::Request request(std::string_view host, std::string_view origin) {
    wire::Request with = request(host);
    with.origin = origin;
    with.origin_count = 1;
    return with;
}

Config dev_config(std::vector<std::string> origins = {}) {
    Config config;
    config.dev = true;
    config.origin = std::move(origins);
    return config;
}

}  // namespace

TEST_CASE("origin: with --dev the Host is this machine's, whatever names point to it") {
    for (const char* host : {"localhost",
                             "LocalHost:8080",
                             "127.0.0.1",
                             "127.0.0.1:8080",
                             "127.255.0.9:1",
                             "[::1]",
                             "[::1]:65535"}) {
        CAPTURE(host);
        CHECK(host_allowed(dev_config(), request(host)));
    }
    for (const char* host : {"",
                             "evil.example",
                             "evil.example:8080",
                             "localhost.evil.example",
                             "127.0.0.1.evil.example",
                             "127.1",
                             "0.0.0.0",
                             "10.0.0.1:8080",
                             "[::2]",
                             "[::]:80",
                             "[::1",
                             "[::1]x",
                             "::1",
                             "localhost:",
                             "localhost:0",
                             "localhost:080",
                             "localhost:65536",
                             "localhost:80:90",
                             "127.0.0.1:80x"}) {
        CAPTURE(host);
        CHECK_FALSE(host_allowed(dev_config(), request(host)));
        CHECK(host_allowed(Config(), request(host)));
    }
    const Config config = dev_config({"null", "http://dev.example:3000", "https://other.example"});
    CHECK(host_allowed(config, request("dev.example:3000")));
    CHECK(host_allowed(config, request("Other.Example")));
    CHECK_FALSE(host_allowed(config, request("dev.example")));
    CHECK_FALSE(host_allowed(config, request("other.example:443")));
    CHECK_FALSE(host_allowed(config, request("")));
}

TEST_CASE("origin: with --dev only the server's own pages, those named, and what is no browser") {
    const Config config = dev_config({"https://friend.example", "null"});
    struct Row {
        const char* host;
        const char* origin;
        bool allowed;
    };
    for (const Row& row :
         std::array<Row, 16>{{{"localhost:8080", "http://localhost:8080", true},
                              {"LOCALHOST:8080", "http://localhost:8080", true},
                              {"localhost", "https://localhost", true},
                              {"[::1]:8080", "http://[::1]:8080", true},
                              {"127.0.0.1:8080", "https://friend.example", true},
                              {"127.0.0.1:8080", "null", true},
                              {"friend.example", "https://friend.example", true},
                              {"127.0.0.1:8080", "http://localhost:8080", false},
                              {"127.0.0.1:8080", "http://127.0.0.1:8081", false},
                              {"127.0.0.1:8080", "http://127.0.0.1", false},
                              {"127.0.0.1:8080", "http://friend.example", false},
                              {"127.0.0.1:8080", "https://friend.example.evil.example", false},
                              {"127.0.0.1:8080", "https://evil.example", false},
                              {"127.0.0.1:8080", "file://127.0.0.1:8080", false},
                              {"127.0.0.1:8080", "127.0.0.1:8080", false},
                              {"127.0.0.1:8080", "", false}}}) {
        CAPTURE(row.host);
        CAPTURE(row.origin);
        CHECK(origin_allowed(config, request(row.host, row.origin)) == row.allowed);
    }
    CHECK(origin_allowed(config, request("localhost")));
    CHECK_FALSE(origin_allowed(dev_config(), request("localhost", "null")));
}

TEST_CASE("origin: without --dev all may, unless some are named") {
    Config config;
    CHECK(origin_allowed(config, request("x", "https://anybody.example")));
    CHECK(origin_allowed(config, request("x", "")));
    config.origin = {"https://a.example", "https://b.example:8443"};
    CHECK(origin_allowed(config, request("x")));
    CHECK(origin_allowed(config, request("x", "https://a.example")));
    CHECK(origin_allowed(config, request("x", "https://b.example:8443")));
    for (const char* origin : {"https://c.example",
                               "http://a.example",
                               "https://A.example",
                               "https://a.example:443",
                               "https://a.example/",
                               "https://x",
                               "http://localhost",
                               "null",
                               ""}) {
        CAPTURE(origin);
        CHECK_FALSE(origin_allowed(config, request("x", origin)));
    }
}

TEST_CASE("origin: one that no browser would send is not taken") {
    for (const char* text : {"null",
                             "http://a",
                             "https://a.example:8443",
                             "http://[::1]:8000",
                             "http://a.example:443",
                             "capacitor://localhost",
                             "chrome-extension://abcdefghij",
                             "http://xn--bcher-kva.example",
                             "http://_dmarc.a-b.example"}) {
        CAPTURE(text);
        CHECK(node::origin_well_formed(text));
    }
    for (const char* text : {"",
                             "*",
                             "a.example",
                             "://a",
                             "http://",
                             "http:///",
                             "http://a/",
                             "http://a/b",
                             "http://a?b",
                             "http://A.example",
                             "HTTP://a.example",
                             "http://a.example:80",
                             "https://a.example:443",
                             "http://a:",
                             "http://a:0",
                             "http://a:65536",
                             "http://a:b",
                             "http://u@a",
                             "http://a b",
                             "http://*.a",
                             "http://::1",
                             "http://[::1",
                             "http://[::g]",
                             "http://[]"}) {
        CAPTURE(text);
        CHECK_FALSE(node::origin_well_formed(text));
    }
    CHECK_FALSE(node::origin_well_formed("http://" + std::string(600, 'a')));
}

TEST_CASE("origin: forty of them against a list") {
    Config config;
    config.origin = {"https://app.example.com",
                     "https://app.example.com:8443",
                     "http://[2001:db8::1]",
                     "https://xn--bcher-kva.example",
                     "capacitor://localhost"};
    for (const std::string& origin : config.origin) {
        CHECK(node::origin_well_formed(origin));
    }
    struct Row {
        const char* origin;
        bool allowed;
    };
    for (const Row& row : std::array<Row, 40>{{
             {"https://app.example.com", true},
             {"https://app.example.com:8443", true},
             {"http://[2001:db8::1]", true},
             {"https://xn--bcher-kva.example", true},
             {"capacitor://localhost", true},
             // Of another scheme or port.
             {"http://app.example.com", false},
             {"wss://app.example.com", false},
             {"https://app.example.com:443", false},
             {"https://app.example.com:80", false},
             {"https://app.example.com:8444", false},
             {"https://app.example.com:84430", false},
             {"https://app.example.com:", false},
             {"http://[2001:db8::1]:80", false},
             {"http://[2001:db8::2]", false},
             {"http://[2001:0db8::1]", false},
             // With something in front or behind.
             {"https://evil-app.example.com", false},
             {"https://evil.app.example.com", false},
             {"https://app.example.com.evil.example", false},
             {"https://app.example.comevil", false},
             {"https://app.example.co", false},
             {"https://example.com", false},
             {"https://app.example.com/", false},
             {"https://app.example.com/path", false},
             {"https://app.example.com?x", false},
             {"https://app.example.com#x", false},
             {"https://app.example.com@evil.example", false},
             {"https://evil.example@app.example.com", false},
             {"https://app.example.com,https://evil.example", false},
             {"https://app.example.com https://evil.example", false},
             {"https://evil.example https://app.example.com", false},
             // Written another way.
             {"https://APP.example.com", false},
             {"HTTPS://app.example.com", false},
             {"https://app.example.com.", false},
             {"https://app%2eexample.com", false},
             {"https://b\xc3\xbc\x63her.example", false},
             {"https://xn--bcher-kvb.example", false},
             {"app.example.com", false},
             {"null", false},
             {"*", false},
             {"", false},
         }}) {
        CAPTURE(row.origin);
        CHECK(origin_allowed(config, request("app.example.com", row.origin)) == row.allowed);
    }
    CHECK(origin_allowed(config, request("app.example.com")));  // a program: node/door.cc says more
}
