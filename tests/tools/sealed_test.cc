// What /raw hands out of a sealed topic, opened: by a box that other code made (Python's
// cryptography, AES-GCM and HKDF of its own), and nothing else.

#include "sealed.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace ringcast::tools;

namespace {

constexpr const char* key_lines =
    "# a comment\n"
    "\n"
    "prices k1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    "other\tk2  ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

std::vector<ReaderKey> keys() {
    std::vector<ReaderKey> all;
    CHECK(parse_reader_keys(key_lines, all).empty());
    return all;
}

SealedText parsed(std::string_view text) {
    SealedText sealed;
    REQUIRE(parse_sealed(text, sealed));
    return sealed;
}

}  // namespace

namespace {

constexpr std::string_view head =
    R"({"sealed":{"v":1,"alg":"A256GCM","kid":"k1","topic":"prices","epoch":"5f1e6f35ce265273",)"
    R"("offset":7,"key":"AAPL","data":")";
constexpr std::string_view data =
    "QEFCQ0RFRkdISUpLTE1OT4CBgoOEhYaHiImKi1n5EgKpJFQLp73FM-g9gD9DDaJRosfwQg";

std::string message() {
    return std::string(head) + std::string(data) + "\"}}";
}

}  // namespace

TEST_CASE("sealed: a message of a sealed topic is opened with its key") {
    std::string payload;
    CHECK(open_sealed(parsed(message()), keys(), payload).empty());
    CHECK(payload == R"({"p":1})");
}

TEST_CASE("sealed: what was changed anywhere is not opened, and it is said why") {
    std::string payload;
    const std::string text = message();
    std::size_t refused = 0;
    for (std::size_t at = 0; at < text.size(); at++) {
        std::string changed = text;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        SealedText sealed;
        if (!parse_sealed(changed, sealed)) {
            refused++;
            continue;
        }
        CAPTURE(changed);
        const std::string problem = open_sealed(sealed, keys(), payload);
        CHECK_FALSE(problem.empty());
    }
    CHECK(refused > 0);
    CHECK(refused < text.size());
    std::vector<ReaderKey> wrong(keys());
    wrong.erase(wrong.begin());
    CHECK(open_sealed(parsed(text), wrong, payload) == "the key k1 is not in the key file");
    wrong.front().id = "k1";
    CHECK(open_sealed(parsed(text), wrong, payload) ==
          "it is not what was sealed with the key k1, or not for this place");
    CHECK(open_sealed(parsed(std::string(head) + "QEFC\"}}"), keys(), payload) ==
          "it is cut short");
}

TEST_CASE("sealed: names with quotes, and records without a key") {
    const SealedText sealed =
        parsed(R"({"sealed":{"v":1,"alg":"A256GCM","kid":"a","topic":"q\"\\","epoch":)"
               R"("0000000000000001","offset":18446744073709551615,"data":"AA"}})");
    CHECK(sealed.topic == "q\"\\");
    CHECK(sealed.epoch == 1);
    CHECK(sealed.offset == UINT64_MAX);
    CHECK(sealed.key.empty());
    CHECK(sealed.data == std::string(1, '\0'));
    SealedText other;
    for (const std::string_view text :
         {"", "1", R"({"sealed":{"v":2})", R"({"sealed":1})", R"({"sealed":{"v":1,"alg":"x"}})"}) {
        CHECK_FALSE(parse_sealed(text, other));
    }
    CHECK_FALSE(parse_sealed(message() + " ", other));
    CHECK_FALSE(parse_sealed(std::string(head) + "A\"}}", other));   // six bits are no byte
    CHECK_FALSE(parse_sealed(std::string(head) + "AB\"}}", other));  // nor is there half of one
}

TEST_CASE("sealed: a key file has NAME ID KEY on each line") {
    CHECK(keys().size() == 2);
    for (const std::string& line : {std::string("a k"),
                                    std::string("a k 00"),
                                    "a k " + std::string(64, 'g'),
                                    "a k " + std::string(64, '0') + " 00"}) {
        std::vector<ReaderKey> none;
        CHECK(parse_reader_keys("\n" + line + "\n", none).starts_with("line 2: "));
    }
    std::vector<ReaderKey> none;
    CHECK(parse_reader_keys("# nothing\n", none) == "no key is in it");
}
