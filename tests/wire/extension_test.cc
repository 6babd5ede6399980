#include "wire/extension.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace ringcast;
using namespace ringcast::wire;

namespace {

// What is answered to these header lines: "-" for nothing, "malformed".
std::string answer(const std::vector<std::string>& lines, bool allow_context = false) {
    DeflateOffer offer;
    for (const std::string& line : lines) {
        if (!read_extensions(line, offer)) return "malformed";
    }
    const DeflateTerms terms = settle(offer, allow_context);
    if (!terms.agreed) return "-";
    std::array<std::byte, terms_size_max> out{};
    std::string text(as_text(Bytes(out.data(), write_terms(out, terms))));
    const std::string always = "permessage-deflate; server_no_context_takeover";
    REQUIRE(text.starts_with(always));
    return "+" + text.substr(always.size());
}

const std::string none = "+; client_no_context_takeover";

struct Row {
    std::string line;
    std::string answer;
};

const std::string pmd = "permessage-deflate";

std::vector<Row> taken_rows() {
    return {
        {pmd, none},
        {" \t" + pmd + " ", none},
        {pmd + "; client_max_window_bits", none},
        {pmd + ";client_max_window_bits=15;server_no_context_takeover", none},
        {pmd + " ; client_no_context_takeover", none},
        {pmd + "; server_max_window_bits=8", none + "; server_max_window_bits=8"},
        {pmd + "; server_max_window_bits=9", none + "; server_max_window_bits=9"},
        {pmd + "; server_max_window_bits=10", none + "; server_max_window_bits=10"},
        {pmd + "; server_max_window_bits=15", none + "; server_max_window_bits=15"},
        {pmd + "; server_max_window_bits=\"12\"", none + "; server_max_window_bits=12"},
        {pmd + "; server_max_window_bits=\"\\1\\2\"", none + "; server_max_window_bits=12"},
        {pmd + "; server_max_window_bits = 11", none + "; server_max_window_bits=11"},
        {pmd + "; client_max_window_bits=8", none},
        // Empty elements of the list are nothing.
        {"", "-"},
        {",", "-"},
        {" , ,, " + pmd + ",", none},
    };
}

// The parameter is unknown, there twice, or has a value that it may not have.
std::vector<Row> declined_rows() {
    return {
        {pmd + "; unknown", "-"},
        {pmd + "; unknown=1", "-"},
        {pmd + "; server_no_context_takeover=1", "-"},
        {pmd + "; server_no_context_takeover; server_no_context_takeover", "-"},
        {pmd + "; client_no_context_takeover=true", "-"},
        {pmd + "; client_no_context_takeover; client_no_context_takeover", "-"},
        {pmd + "; server_max_window_bits", "-"},
        {pmd + "; server_max_window_bits=7", "-"},
        {pmd + "; server_max_window_bits=16", "-"},
        {pmd + "; server_max_window_bits=08", "-"},
        {pmd + "; server_max_window_bits=0", "-"},
        {pmd + "; server_max_window_bits=-8", "-"},
        {pmd + "; server_max_window_bits=+9", "-"},
        {pmd + "; server_max_window_bits=9a", "-"},
        {pmd + "; server_max_window_bits=100", "-"},
        {pmd + "; server_max_window_bits=1000000000000000000000000", "-"},
        {pmd + "; server_max_window_bits=10; server_max_window_bits=10", "-"},
        {pmd + "; client_max_window_bits=7", "-"},
        {pmd + "; client_max_window_bits=16", "-"},
        {pmd + "; client_max_window_bits; client_max_window_bits=10", "-"},
        // Other extensions, and names of the runtime (GHSA-5v72-xg48-5rpm).
        {"constructor", "-"},
        {",;constructor", "malformed"},
        {"x-webkit-deflate-frame", "-"},
        {"permessage-deflat", "-"},
        {"permessage-deflate2", "-"},
        {"Permessage-Deflate", "-"},
        {"__proto__; toString=\"hasOwnProperty\"", "-"},
        // The first that can be taken counts.
        {pmd + "; server_max_window_bits=16, " + pmd, none},
        {"foo, bar; baz=1," + pmd + "; server_max_window_bits=10," + pmd,
         none + "; server_max_window_bits=10"},
        {pmd + "," + pmd + "; server_max_window_bits=10", none},
        {pmd + "," + pmd, none},
    };
}

// No list of extensions.
std::vector<Row> malformed_rows() {
    return {
        {";", "malformed"},
        {pmd + ";", "malformed"},
        {pmd + ";;", "malformed"},
        {pmd + "; =1", "malformed"},
        {pmd + "; server_max_window_bits=", "malformed"},
        {pmd + "; server_max_window_bits=\"\"", "malformed"},
        {pmd + "; server_max_window_bits=\"10", "malformed"},
        {pmd + "; server_max_window_bits=\"10\\", "malformed"},
        {pmd + "; server_max_window_bits=\"1 0\"", "malformed"},
        {pmd + "; server_max_window_bits=\"10\"x", "malformed"},
        {pmd + "; server_max_window_bits=10 11", "malformed"},
        {pmd + " x", "malformed"},
        {"\"" + pmd + "\"", "malformed"},
        {pmd + "; a=b=c", "malformed"},
        {"a;b=\"\\c\\c\\c\\c\\c\\c", "malformed"},
        {"a;b=\"\\c\\c\\c\"", "-"},
        {"a@b", "malformed"},
        {"a/b", "malformed"},
        {std::string("a\0b", 3), "malformed"},
        {"a\x80", "malformed"},
    };
}

}  // namespace

TEST_CASE("extension: offers are taken, declined or malformed, as RFC 7692 and RFC 6455 have it") {
    for (const auto rows : {&taken_rows, &declined_rows, &malformed_rows}) {
        for (const Row& row : rows()) {
            CAPTURE(row.line);
            CHECK(answer({row.line}) == row.answer);
        }
    }
}

TEST_CASE("extension: several lines are one list, in their order") {
    CHECK(answer({"foo", pmd}) == none);
    CHECK(answer({pmd + "; server_max_window_bits=10", pmd}) ==
          none + "; server_max_window_bits=10");
    CHECK(answer({pmd + "; nonsense", pmd + "; server_max_window_bits=9"}) ==
          none + "; server_max_window_bits=9");
    CHECK(answer({pmd, "; x"}) == "malformed");
    CHECK(answer({}) == "-");
}

TEST_CASE("extension: a client keeps context only where that is allowed, in a small window") {
    CHECK(answer({pmd}, true) == "+");
    CHECK(answer({pmd + "; client_no_context_takeover"}, true) == none);
    CHECK(answer({pmd + "; client_max_window_bits"}, true) == "+; client_max_window_bits=12");
    CHECK(answer({pmd + "; client_max_window_bits=15"}, true) == "+; client_max_window_bits=12");
    CHECK(answer({pmd + "; client_max_window_bits=9"}, true) == "+; client_max_window_bits=9");
    CHECK(answer({pmd + "; client_max_window_bits=8"}, true) == "+; client_max_window_bits=8");
    CHECK(answer({pmd + "; client_max_window_bits; server_max_window_bits=14"}, true) ==
          "+; server_max_window_bits=14; client_max_window_bits=12");
}

TEST_CASE("extension: every window is offered and answered") {
    for (int bits = 0; bits <= 20; bits++) {
        const std::string text = std::to_string(bits);
        CAPTURE(text);
        const bool legal = bits >= 8 && bits <= 15;
        CHECK(answer({"permessage-deflate; server_max_window_bits=" + text}) ==
              (legal ? none + "; server_max_window_bits=" + text : "-"));
        DeflateOffer offer;
        CHECK(read_extensions("permessage-deflate; client_max_window_bits=" + text, offer));
        CHECK(offer.found == legal);
        if (legal) CHECK(offer.client_window_bits == bits);
    }
}

TEST_CASE("extension: the longest answer fits") {
    DeflateTerms terms{.agreed = true,
                       .client_keeps_context = false,
                       .limits_server_window = true,
                       .limits_client_window = true};
    std::array<std::byte, terms_size_max> out{};
    CHECK(write_terms(out, terms) <= terms_size_max - 10);
}

TEST_CASE("extension: work is linear in the text, whatever is in it") {
    // Each of these took others exponential or quadratic time; a quadratic one would take minutes.
    const auto repeated = [](const std::string& text) {
        std::string all;
        while (all.size() < 2'000'000)
            all += text;
        return all;
    };
    for (const std::string& line :
         {"a;b=\"" + repeated("\\c"),
          repeated(" "),
          repeated(","),
          repeated("a,"),
          "a" + repeated(";b"),
          "a" + repeated(";b=\"c\" "),
          repeated("permessage-deflate;x,"),
          repeated("permessage-deflate"),
          "permessage-deflate; server_max_window_bits=" + repeated("1")}) {
        DeflateOffer offer;
        static_cast<void>(read_extensions(line, offer));
        CHECK_FALSE(offer.found);
    }
}
