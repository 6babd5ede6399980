#include "feed/pattern.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::feed;

namespace {

std::vector<std::string> tokens_of(const std::string& name) {
    std::vector<std::string> tokens(1);
    for (const char c : name) {
        if (c == '.') {
            tokens.emplace_back();
        } else {
            tokens.back() += c;
        }
    }
    return tokens;
}

// The rule once more, over lists.
bool matches_plainly(const std::string& pattern, const std::string& name) {
    const std::vector<std::string> want = tokens_of(pattern);
    const std::vector<std::string> have = tokens_of(name);
    for (std::size_t i = 0; i < want.size(); i++) {
        if (i >= have.size()) return false;
        if (want[i] == ">" && i + 1 == want.size()) return true;
        if (want[i] != "*" && want[i] != have[i]) return false;
    }
    return want.size() == have.size();
}

std::string random_name(Random& random) {
    static constexpr std::string_view letters = "ab.*>..";
    std::string name;
    for (std::uint64_t i = random.below(8); i > 0; i--) {
        name += letters[random.below(letters.size())];
    }
    return name;
}

}  // namespace

TEST_CASE("names are plain, patterns, or broken") {
    CHECK(kind_of("prices.AAPL") == NameKind::plain);
    CHECK(kind_of("a*b.c>") == NameKind::plain);
    CHECK(kind_of("") == NameKind::plain);
    CHECK(kind_of("*") == NameKind::pattern);
    CHECK(kind_of("prices.*.bid") == NameKind::pattern);
    CHECK(kind_of("prices.>") == NameKind::pattern);
    CHECK(kind_of(">.prices") == NameKind::broken);
    CHECK(kind_of("a.>.*") == NameKind::broken);
}

TEST_CASE("a star stands for one token, the last > for one or more") {
    CHECK(matches("prices.*", "prices.AAPL"));
    CHECK_FALSE(matches("prices.*", "prices"));
    CHECK_FALSE(matches("prices.*", "prices.AAPL.bid"));
    CHECK(matches("prices.>", "prices.AAPL.bid"));
    CHECK_FALSE(matches("prices.>", "prices"));
    CHECK(matches(">", "anything.at.all"));
    CHECK(matches("*.b.*", "a.b.c"));
    CHECK(matches("a..b", "a..b"));
    CHECK(matches("a.*.b", "a..b"));
    CHECK(matches("plain", "plain"));
    CHECK_FALSE(matches("plain", "plain.er"));
}

TEST_CASE("both readings of the rule agree on random names") {
    Random random(7);
    for (int i = 0; i < 200'000; i++) {
        const std::string pattern = random_name(random);
        const std::string name = random_name(random);
        INFO("pattern '" << pattern << "' name '" << name << "'");
        REQUIRE(matches(pattern, name) == matches_plainly(pattern, name));
    }
}
