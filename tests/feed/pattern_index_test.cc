#include "feed/pattern_index.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "feed/pattern.h"

using namespace ringcast;
using namespace ringcast::feed;

namespace {

std::string random_text(Random& random, bool wildcards) {
    static constexpr std::string_view tokens[] = {"a", "b", "ab", "", "*", ">"};
    std::string text;
    for (std::uint64_t left = random.between(1, 5); left > 0; left--) {
        text += tokens[random.below(wildcards ? 6 : 4)];
        if (left > 1) text += '.';
    }
    return text.empty() ? "a" : text;
}

std::vector<std::string> texts_for(const PatternIndex& index, const std::string& name) {
    std::vector<std::uint32_t> numbers;
    index.match(name, numbers);
    std::vector<std::string> texts;
    for (const std::uint32_t number : numbers)
        texts.emplace_back(index.text(number));
    std::sort(texts.begin(), texts.end());
    return texts;
}

}  // namespace

TEST_CASE(
    "pattern index: a name finds those that match it, as one by one, while they come and go") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        Random random(seed);
        PatternIndex index(seed);
        std::map<std::string, std::uint32_t> model;
        for (int step = 0; step < 2000; step++) {
            const std::string text = random_text(random, true);
            if (kind_of(text) == NameKind::pattern && PatternIndex::fits(text)) {
                const auto known = model.find(text);
                REQUIRE(index.find(text) ==
                        (known == model.end() ? PatternIndex::none : known->second));
                if (known == model.end()) {
                    model[text] = index.add(text);
                } else if (random.chance(1, 2)) {
                    index.remove(known->second);
                    model.erase(known);
                }
            }
            REQUIRE(index.count() == model.size());
            const std::string name = random_text(random, false);
            std::vector<std::string> expected;
            for (const auto& each : model) {
                if (matches(each.first, name)) expected.push_back(each.first);
            }
            REQUIRE(texts_for(index, name) == expected);
        }
        for (const auto& each : model)
            index.remove(each.second);
        CHECK(index.count() == 0);
        CHECK(texts_for(index, "a.b").empty());
    }
}

TEST_CASE("pattern index: a bound on levels and on wildcards in the middle") {
    CHECK(PatternIndex::fits("*.*.*.*.>"));
    CHECK_FALSE(PatternIndex::fits("*.*.*.*.*"));
    CHECK(PatternIndex::fits("a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.>"));
    CHECK_FALSE(PatternIndex::fits("a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.>"));
}

TEST_CASE("pattern index: places and memory are used again") {
    PatternIndex index(1);
    const std::uint32_t first = index.add("prices.*");
    const std::size_t held = index.held_bytes();
    for (int i = 0; i < 1000; i++) {
        index.remove(first);
        REQUIRE(index.add("prices." + std::string(static_cast<std::size_t>(i % 7), 'x') + ".>") ==
                first);
    }
    CHECK(index.held_bytes() <= 3 * held);
}

TEST_CASE("pattern index: what patterns hold stays below what is reckoned for each") {
    Random random(1);
    const PatternIndex none(1);
    PatternIndex index(1);
    std::size_t most = 4096;  // of tables that begin with some places
    for (int i = 0; i < 2000; i++) {
        std::string text;
        for (std::size_t level = 0; level < pattern_levels_max; level++)
            text += std::to_string(i) + std::string(random.below(15), 'x') + ".";
        text.back() = 'x';
        text.replace(text.rfind('.') + 1, std::string::npos, random.chance(1, 2) ? "*" : ">");
        static_cast<void>(index.add(text));
        most += PatternIndex::cost_of(text);
        REQUIRE(PatternIndex::cost_of(text) <= PatternIndex::cost_max(text.size()));
        REQUIRE(index.held_bytes() <= most);
    }
    CHECK(index.held_bytes() > none.held_bytes());
}
