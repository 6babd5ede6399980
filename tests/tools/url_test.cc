#include "url.h"

#include <doctest/doctest.h>

using namespace ringcast::tools;

TEST_CASE("url: what is a ws:// address, and what it says") {
    const struct {
        const char* text;
        bool good;
        const char* host;
        int port;
        const char* path;
    } rows[] = {
        {"ws://127.0.0.1:8080", true, "127.0.0.1", 8080, "/"},
        {"ws://example.org/a/b?c=d", true, "example.org", 80, "/a/b?c=d"},
        {"ws://h:1?x=y", true, "h", 1, "/?x=y"},
        {"ws://[::1]:9000/x", true, "::1", 9000, "/x"},
        {"ws://[::1]", true, "::1", 80, "/"},
        {"http://h", false, "", 0, ""},
        {"wss://h", true, "h", 443, "/"},
        {"wss://h:80/x", true, "h", 80, "/x"},
        {"wss:/h", false, "", 0, ""},
        {"ws://", false, "", 0, ""},
        {"ws://:80", false, "", 0, ""},
        {"ws://h:", false, "", 0, ""},
        {"ws://h:0", false, "", 0, ""},
        {"ws://h:65536", false, "", 0, ""},
        {"ws://h:8x", false, "", 0, ""},
        {"ws://[::1", false, "", 0, ""},
    };
    for (const auto& row : rows) {
        CAPTURE(row.text);
        Url url;
        REQUIRE(parse_url(row.text, url) == row.good);
        if (!row.good) continue;
        CHECK(url.host == row.host);
        CHECK(url.port == row.port);
        CHECK(url.path == row.path);
        CHECK(url.secure == std::string_view(row.text).starts_with("wss"));
    }
}

TEST_CASE("url: topics are escaped, templates filled in") {
    CHECK(percent_encoded("a.b-c_d~1") == "a.b-c_d~1");
    CHECK(percent_encoded("a b&c=d/\xc3\xa4") == "a%20b%26c%3Dd%2F%C3%A4");
    CHECK(with_replaced("/x/{t}/{t}?", "{t}", "y") == "/x/y/y?");
    CHECK(with_replaced("none", "{t}", "y") == "none");
    CHECK(with_replaced("{t}", "{t}", "{t}") == "{t}");
}
