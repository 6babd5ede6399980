// Property: whatever is added to a PatternIndex and removed, a name finds those that matches() says
// of it, one by one, and no other; and what it holds stays below what is reckoned for each pattern.
// A line is a step: "+" and a pattern, "-" and a pattern, or a name.

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "feed/pattern.h"
#include "feed/pattern_index.h"
#include "tests/fuzz/split.h"

using namespace ringcast;
using namespace ringcast::feed;

namespace {

struct Model {
    PatternIndex index{1};
    std::map<std::string, std::uint32_t, std::less<>> patterns = {};
    std::size_t reckoned = 4096;  // never less than the most that was there at a time
    std::size_t most = 4096;

    void add(std::string_view pattern) {
        if (kind_of(pattern) != NameKind::pattern || !PatternIndex::fits(pattern)) return;
        if (patterns.contains(pattern)) return;
        patterns.emplace(pattern, index.add(pattern));
        reckoned += PatternIndex::cost_of(pattern);
        most = std::max(most, reckoned);
    }
    void remove(std::string_view pattern) {
        const auto found = patterns.find(pattern);
        if (found == patterns.end()) return;
        index.remove(found->second);
        reckoned -= PatternIndex::cost_of(pattern);
        patterns.erase(found);
    }
    void look(std::string_view name) {
        if (kind_of(name) != NameKind::plain) return;
        std::vector<std::uint32_t> found;
        index.match(name, found);
        std::vector<std::uint32_t> expected;
        for (const auto& [pattern, number] : patterns) {
            if (matches(pattern, name)) expected.push_back(number);
        }
        std::sort(found.begin(), found.end());
        std::sort(expected.begin(), expected.end());
        test::demand(found == expected, "a name finds what matches it");
    }
    void check() const {
        test::demand(index.count() == patterns.size(), "it counts");
        test::demand(index.held_bytes() <= most, "it holds no more than is reckoned");
        for (const auto& [pattern, number] : patterns) {
            test::demand(index.find(pattern) == number, "it is found");
            test::demand(index.text(number) == pattern, "it has its text");
        }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    Model model;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (line.starts_with('+')) {
            model.add(line.substr(1));
        } else if (line.starts_with('-')) {
            model.remove(line.substr(1));
        } else {
            model.look(line);
        }
    }
    model.check();
    return 0;
}
