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

TEST_CASE("whether patterns overlap, and whether one covers the other") {
    CHECK(overlap("prices.*", "prices.eur"));
    CHECK(overlap("*.eur", "prices.*"));
    CHECK(overlap("prices.>", "*.*.bid"));
    CHECK_FALSE(overlap("prices.>", "prices"));
    CHECK_FALSE(overlap("prices.*", "prices.*.bid"));
    CHECK_FALSE(overlap("prices.*", "rates.>"));
    CHECK(covers("prices.>", "prices.*"));
    CHECK(covers(">", "*.>"));
    CHECK_FALSE(covers("*", ">"));
    CHECK_FALSE(covers("prices.*", "prices.>"));
    CHECK_FALSE(covers("*.eur", "prices.*"));
}

// Every name over an alphabet that has a letter which no pattern has: what holds for these holds
// for all.
TEST_CASE("overlap and cover say of random patterns what all names say") {
    std::vector<std::string> names;
    const std::vector<std::string> tokens = {"", "a", "b", "other"};
    for (const std::string& first : tokens) {
        names.push_back(first);
        for (const std::string& second : tokens) {
            names.push_back(first + "." + second);
            for (const std::string& third : tokens) {
                names.push_back(first + "." + second + "." + third);
                names.push_back(first + "." + second + "." + third + ".other");
            }
        }
    }
    Random random(11);
    const std::vector<std::string> words = {"", "a", "b", "*", ">"};
    const auto drawn = [&] {
        std::string pattern = words[random.below(words.size())];
        for (std::uint64_t i = random.below(3); i > 0 && !pattern.ends_with('>'); i--) {
            pattern += "." + words[random.below(words.size())];
        }
        return pattern;
    };
    int overlapping = 0;
    int covered = 0;
    for (int i = 0; i < 5'000; i++) {
        const std::string a = drawn();
        const std::string b = drawn();
        CAPTURE(a);
        CAPTURE(b);
        bool some = false;
        bool all = true;
        for (const std::string& name : names) {
            some = some || (matches(a, name) && matches(b, name));
            all = all && (!matches(b, name) || matches(a, name));
        }
        REQUIRE(overlap(a, b) == some);
        REQUIRE(covers(a, b) == all);
        overlapping += some ? 1 : 0;
        covered += all ? 1 : 0;
    }
    CHECK(overlapping > 500);
    CHECK(covered > 100);
}
