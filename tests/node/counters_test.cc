#include "node/counters.h"

#include <doctest/doctest.h>

using namespace ringcast::node;

TEST_CASE("counters: the line for the log names each of them once, with its number") {
    Counters counters;
    counters.accepted = 3;
    counters.turns = 17;
    const std::string line = describe(counters);
    CHECK(line.starts_with("accepted 3, refused 0, "));
    CHECK(line.ends_with(", turns 17"));
    CHECK(line.find("sent bytes 0") != std::string::npos);
}
