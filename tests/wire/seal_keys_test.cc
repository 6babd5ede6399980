#include "ringcast/seal_keys.h"

#include <string>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;

namespace {

constexpr const char* one = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr const char* two = "FF0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";

std::string line(std::string_view name, std::string_view id, std::string_view key) {
    return std::string(name) + ' ' + std::string(id) + ' ' + std::string(key) + '\n';
}

}  // namespace

TEST_CASE("seal keys: a line is a name, an id and a key; the first of a name seals") {
    SealKeys keys;
    const std::string text = "# rotated in autumn\n\n" + line("prices", "p-2", one) +
                             "  chat\tc.1 \t" + two + "\r\n" +
                             line("prices", "p-1", std::string(62, '0') + "01").substr(0, 75);
    CHECK(parse_seal_keys(text, keys).empty());
    REQUIRE(keys.size() == 3);
    CHECK(find_seal_key(keys, "prices") == &keys[0]);
    CHECK(keys[0].id == "p-2");
    CHECK(keys[0].secret.bytes[31] == std::byte{0x1f});
    CHECK(find_seal_key(keys, "chat")->secret.bytes[0] == std::byte{0xff});
    CHECK(find_seal_key(keys, "c.1") == nullptr);
    CHECK(keys[2].id == "p-1");
}

TEST_CASE("seal keys: whatever is wrong is told by its line, and nothing of it is repeated") {
    struct Row {
        std::string line;
        const char* what;
    };
    const std::string other(two);
    for (const Row& row : {Row{"a b\n", "a line is NAME ID KEY"},
                           {line("a", "b", other + " c"), "a line is NAME ID KEY"},
                           {line("a", other, "b"), "a key has 64 hexadecimal digits"},
                           {line("a", "b", other.substr(1)), "a key has 64 hexadecimal digits"},
                           {line("a", "b", other + "0"), "a key has 64 hexadecimal digits"},
                           {line("a", "b", "g" + other.substr(1)), "a key has 64 hexadecimal"},
                           {line("a/", "b", other), "a name has 1 to 64"},
                           {line(std::string(65, 'a'), "b", other), "a name has 1 to 64"},
                           {line("a", "\xc3\xa9", other), "an id has 1 to 64"},
                           {line("a", "b", std::string(64, '0')), "all bytes of the key are"},
                           {line("a", "b", std::string(64, 'a')), "all bytes of the key are"},
                           {line("a", "first", other), "this id is there already"},
                           {line("a", "b", one), "this key is there under another id"}}) {
        SealKeys keys;
        const std::string problem = parse_seal_keys(line("a", "first", one) + row.line, keys);
        CAPTURE(problem);
        CHECK(problem.starts_with(std::string("line 2: ") + row.what));
        CHECK(problem.find(other.substr(1, 8)) == std::string::npos);
        CHECK(keys.empty());
    }
    SealKeys keys;
    CHECK(parse_seal_keys("", keys) == "no key is in it");
    CHECK(parse_seal_keys("# a b c\n \n", keys) == "no key is in it");
}

TEST_CASE("seal keys: there may be 1024, and not one more") {
    Random random(1);
    std::string text;
    for (std::size_t i = 0; i <= seal_keys_max; i++) {
        std::string digits;
        while (digits.size() < 64)
            digits += "0123456789abcdef"[random.below(16)];
        SealKeys keys;
        text += line("n", std::to_string(i), digits);
        if (i + 2 < seal_keys_max) continue;
        const std::string problem = parse_seal_keys(text, keys);
        CHECK(problem == (i < seal_keys_max ? "" : "line 1025: more than 1024 keys"));
        CHECK(keys.size() == (i < seal_keys_max ? i + 1 : 0));
    }
}
