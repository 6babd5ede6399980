#include "wire/utf8.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/wire/naive.h"
#include "tests/wire/wall.h"

using namespace ringcast;
using namespace ringcast::wire;
using std::string_literals::operator""s;
using test::naive_utf8;
using test::Text;

namespace {

Text judge(const Utf8& utf8, bool alive) {
    if (!alive) return Text::invalid;
    return utf8.complete() ? Text::valid : Text::unfinished;
}

test::Wall wall;

bool feed(Utf8& utf8, const std::string& piece) {
    return utf8.feed(wall.hold(as_bytes(piece)));
}

Text whole(const std::string& text) {
    Utf8 utf8;
    const bool alive = feed(utf8, text);
    return judge(utf8, alive);
}

// Autobahn 6.x and the edges of every range of Unicode's table 3-7.
const std::vector<std::string> sequences = {
    "",
    "plain",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
    "\x00"s,
    "\x7f",
    "\xc2\x80",
    "\xdf\xbf",
    "\xe0\xa0\x80",
    "\xef\xbf\xbf",
    "\xf0\x90\x80\x80",
    "\xf4\x8f\xbf\xbf",
    "\xf4\x90\x80\x80",
    "\xf5\x80\x80\x80",
    "\xf7\xbf\xbf\xbf",
    "\xf8\x88\x80\x80\x80",
    "\xfb\xbf\xbf\xbf\xbf",
    "\xfc\x84\x80\x80\x80\x80",
    "\xfd\xbf\xbf\xbf\xbf\xbf",
    "\xfe",
    "\xff",
    "\xfe\xfe\xff\xff",
    "\x80",
    "\xbf",
    "\x80\xbf\x80\xbf",
    "\xc0\xaf",
    "\xc0\x80",
    "\xc1\xbf",
    "\xe0\x80\xaf",
    "\xe0\x9f\xbf",
    "\xf0\x80\x80\xaf",
    "\xf0\x8f\xbf\xbf",
    "\xed\x9f\xbf",
    "\xed\xa0\x80",
    "\xed\xad\xbf",
    "\xed\xae\x80",
    "\xed\xaf\xbf",
    "\xed\xb0\x80",
    "\xed\xbf\xbf",
    "\xed\xa0\x80\xed\xb0\x80",
    "\xee\x80\x80",
    "\xef\xbf\xbd",
    "\xef\xb7\x90",
    "\xef\xbf\xbe",
    "\xf0\x9f\xbf\xbe",
    "\xf4\x8f\xbf\xbe",
    "\xef\xbb\xbf",
    "\xc2",
    "\xe1\x80",
    "\xf1\x80\x80",
    "\xc3\x28",
    "\xe2\x28\xa1",
    "\xe2\x82\x28",
    "\xf0\x28\x8c\xbc",
    "\xf0\x90\x28\xbc",
    "\xf0\x90\x8c\x28",
    "\xce\xce",
};

}  // namespace

TEST_CASE("utf8: every sequence, in any surroundings, at every pair of cuts, is judged alike") {
    const std::string around[] = {
        "", "a", "abcdefg", std::string(63, 'x'), std::string(200, 'y'), "\xe2\x82\xac"};
    for (const std::string& sequence : sequences) {
        for (const std::string& before : around) {
            for (const std::string& after : {std::string(), std::string("z")}) {
                const std::string text = before + sequence + after;
                CAPTURE(text);
                const Text expected = naive_utf8(text);
                CHECK(whole(text) == expected);
                CHECK(utf8_valid(as_bytes(text)) == (expected == Text::valid));
                const std::size_t from = before.size() > 4 ? before.size() - 4 : 0;
                for (std::size_t first = from; first <= text.size(); first++) {
                    for (std::size_t second = first; second <= text.size(); second++) {
                        Utf8 utf8;
                        const bool alive = feed(utf8, text.substr(0, first)) &&
                                           feed(utf8, text.substr(first, second - first)) &&
                                           feed(utf8, text.substr(second));
                        REQUIRE(judge(utf8, alive) == expected);
                    }
                }
            }
        }
    }
}

TEST_CASE("utf8: a text fails at its first hopeless byte, never later") {
    for (const std::string& sequence : sequences) {
        Utf8 utf8;
        for (std::size_t i = 0; i < sequence.size(); i++) {
            const Text expected = naive_utf8(sequence.substr(0, i + 1));
            const bool alive = feed(utf8, sequence.substr(i, 1));
            REQUIRE(judge(utf8, alive) == expected);
        }
    }
}

TEST_CASE("utf8: a failed text stays failed until it is reset") {
    Utf8 utf8;
    CHECK_FALSE(feed(utf8, "\xff"));
    CHECK_FALSE(feed(utf8, "plain"));
    CHECK_FALSE(feed(utf8, ""));
    CHECK_FALSE(utf8.complete());
    utf8.reset();
    CHECK(feed(utf8, "plain"));
    CHECK(utf8.complete());
}

TEST_CASE("utf8: all strings of four bytes at the edges of ranges agree with the naive decoder") {
    // Bytes that stand for their class: every byte that opens or closes a range.
    const std::string edges =
        "\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf"
        "\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"s;
    for (const char a : edges) {
        for (const char b : edges) {
            for (const char c : edges) {
                for (const char d : edges) {
                    const std::string text{a, b, c, d};
                    Utf8 utf8;
                    const bool alive = utf8.feed(as_bytes(text));
                    REQUIRE(judge(utf8, alive) == naive_utf8(text));
                }
            }
        }
    }
}

TEST_CASE("utf8: random texts in random pieces agree with the naive decoder") {
    for (std::uint32_t seed = 1; seed <= 300; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::string text;
        while (text.size() < 300) {
            const std::string& piece = sequences[random.below(14)];  // mostly good ones
            if (random.chance(1, 40)) text += sequences[random.below(sequences.size())];
            if (naive_utf8(piece) == Text::valid) text += piece;
        }
        Utf8 utf8;
        std::size_t at = 0;
        bool alive = true;
        while (at < text.size()) {
            const std::size_t size = std::min<std::size_t>(1 + random.below(90), text.size() - at);
            alive = feed(utf8, text.substr(at, size));
            at += size;
            REQUIRE(judge(utf8, alive) == naive_utf8(text.substr(0, at)));
        }
    }
}
