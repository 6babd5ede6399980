#include "wire/base64.h"

#include <string>

#include <doctest/doctest.h>

using namespace ringcast;
using namespace ringcast::wire;

TEST_CASE("base64: the vectors of RFC 4648, section 10") {
    struct Row {
        const char* plain;
        const char* encoded;
    };
    const Row rows[] = {{"", ""},
                        {"f", "Zg=="},
                        {"fo", "Zm8="},
                        {"foo", "Zm9v"},
                        {"foob", "Zm9vYg=="},
                        {"fooba", "Zm9vYmE="},
                        {"foobar", "Zm9vYmFy"},
                        {"\xff\xef\xbe", "/+++"}};
    for (const Row& row : rows) {
        CAPTURE(row.plain);
        const std::string_view plain = row.plain;
        std::string out(base64_size(plain.size()), '?');
        base64_encode(out.data(), as_bytes(plain));
        CHECK(out == row.encoded);
        CHECK(base64_is_of_size(out, plain.size()));
        CHECK_FALSE(base64_is_of_size(out, plain.size() + 1));
        if (!plain.empty()) CHECK_FALSE(base64_is_of_size(out, plain.size() - 1));
    }
}

TEST_CASE("base64: padding, alphabet and size are all tested") {
    const char* const bad[] = {"Zg=", "Zg", "Z===", "Zg=A", "Zg==\n", "Z-==", "=Zg=", "Zg== "};
    for (const char* text : bad) {
        CAPTURE(text);
        CHECK_FALSE(base64_is_of_size(text, 1));
    }
    CHECK(base64_is_of_size("Zh==", 1));  // leftover bits are nobody's business
}

TEST_CASE("base64url: of some bytes there is one form, and nothing else is read") {
    std::string bytes;
    std::string read;
    for (int size = 0; size < 70; size++) {
        const std::string text = base64url_encode(bytes);
        CHECK(text.find_first_of("+/=") == std::string::npos);
        REQUIRE(base64url_decode(text, read));
        CHECK(read == bytes);
        bytes += static_cast<char>(255 - 37 * size);
    }
    CHECK(base64url_encode("\xff\xef\xbe") == "_---");
    for (const char* bad :
         {"A", "Zg=", "Zg==", "Zh", "Zm9", "Zg\n", " Zg", "Zg.", "Zm9v+", "Zm9v/"}) {
        CAPTURE(bad);
        CHECK_FALSE(base64url_decode(bad, read));
    }
}

TEST_CASE("base64url: another alphabet, and no padding") {
    struct Row {
        std::string_view plain;
        std::string_view encoded;
    };
    using std::string_view_literals::operator""sv;
    for (const Row& row : {Row{"", ""},
                           {"f", "Zg"},
                           {"fo", "Zm8"},
                           {"foo", "Zm9v"},
                           {"\xfb\xff\xfe"sv, "-__-"},
                           {"\x00\xff"sv, "AP8"}}) {
        CAPTURE(row.encoded);
        std::string out(base64url_size(row.plain.size()), '?');
        base64url_encode(out.data(), as_bytes(row.plain));
        CHECK(out == row.encoded);
    }
}
