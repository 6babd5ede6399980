#include "lines.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::tools;

namespace {

std::vector<std::string> taken(Lines& lines) {
    std::vector<std::string> all;
    for (std::string_view line; lines.take(line);) {
        all.emplace_back(line);
    }
    return all;
}

}  // namespace

TEST_CASE("lines: a line is what a newline ends, and at the end what is left") {
    Lines lines;
    CHECK_FALSE(lines.has_line());
    lines.add("one\n\ntw");
    CHECK(lines.has_line());
    CHECK(taken(lines) == std::vector<std::string>{"one", ""});
    CHECK(lines.size() == 2);
    lines.add("o");
    CHECK(taken(lines).empty());
    lines.finish();
    CHECK(taken(lines) == std::vector<std::string>{"two"});
    lines.finish();
    CHECK(taken(lines).empty());
    CHECK(lines.size() == 0);
}

TEST_CASE("lines: wherever the pieces end, and whenever one takes, the lines are the same") {
    for (std::uint64_t seed = 1; seed <= 100; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::vector<std::string> want;
        std::string text;
        for (int i = 0; i < 30; i++) {
            want.emplace_back(random.below(9), 'x');
            text += want.back() + "\n";
        }
        Lines lines;
        std::vector<std::string> got;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t count = random.below(12);
            lines.add(std::string_view(text).substr(at, count));
            at += count;
            std::string_view line;
            while (random.chance(2, 3) && lines.take(line)) {
                got.emplace_back(line);
            }
        }
        for (const std::string& line : taken(lines)) {
            got.push_back(line);
        }
        CHECK(got == want);
    }
}

TEST_CASE("lines: the pace keeps its distance, also after a pause") {
    Pace pace(100);
    const Nanos step = 10 * nanos_per_ms;
    CHECK(pace.due() == 0);
    pace.take(1'000);
    CHECK(pace.due() >= 1'000 + step);
    pace.take(5 * step);
    CHECK(pace.due() >= 6 * step);
    CHECK(pace.due() < 6 * step + 10);
    Pace unlimited(0);
    unlimited.take(1'000);
    CHECK(unlimited.due() == 1'000);
}
