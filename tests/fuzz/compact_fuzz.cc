// Property: whatever is published, deleted, read in part and left, on lanes with keys that share a
// small arena, every reader gets numbers that rise, bytes that are right, every record while it is
// in the fresh window, and at the head knows the newest of every key or has been told that it does
// not; and no byte that was sent by reference changes before it is punched. The first bytes choose
// the world, the rest are the steps.

#include "tests/feed/compact_walk.h"
#include "tests/fuzz/chance.h"

using namespace ringcast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    test::FuzzChance chance(std::as_bytes(std::span(data, size)));
    test::CompactSettings settings{.pages = std::size_t{16} << chance.below(3),
                                   .lanes = 1 + chance.below(2),
                                   .keys = std::size_t{2} << chance.below(6)};
    settings.limits.tombstones_max = 1 + chance.below(8);
    if (chance.chance(1, 2)) settings.limits.bytes_max = 1000 * (1 + chance.below(16));
    if (chance.chance(1, 4)) settings.limits.keys_max = settings.keys / 2;
    test::CompactWalk walk(chance, settings);
    while (!chance.over())
        walk.step();
    return 0;
}
