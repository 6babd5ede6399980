// Property: whatever is appended, reserved and forgotten, trimmed, dropped, released and read, a
// log holds what was published until its hook was told that it goes, keeps to its limit of memory,
// and writes no byte that was sent by reference before it is punched. The first bytes choose the
// memory, the rest are the steps.

#include "tests/feed/log_walk.h"
#include "tests/fuzz/chance.h"

using namespace ringcast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    test::FuzzChance chance(std::as_bytes(std::span(data, size)));
    test::LogSettings settings{.pages = std::size_t{16} << chance.below(2)};
    if (chance.chance(1, 2)) settings.size_max = feed::page_size * (1 + chance.below(16));
    test::LogWalk walk(chance, settings);
    while (!chance.over())
        walk.step();
    return 0;
}
