// Property: whatever is published, read in part, skipped and left, on lanes that push each other
// out, every reader sees exactly what was published, or a saved tail, or a gap that it is shown;
// and no byte that was sent by reference changes before it is punched. The first bytes choose the
// world, the rest are the steps.

#include "tests/feed/lane_walk.h"
#include "tests/fuzz/chance.h"

using namespace ringcast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    test::FuzzChance chance(std::as_bytes(std::span(data, size)));
    test::LaneSettings settings{.pages = std::size_t{8} << chance.below(2),
                                .lanes = 1 + chance.below(3)};
    if (chance.chance(1, 2)) settings.size_max = feed::page_size * (1 + chance.below(8));
    settings.history = chance.chance(1, 2);
    test::LaneWalk walk(chance, settings);
    while (!chance.over())
        walk.step();
    return 0;
}
