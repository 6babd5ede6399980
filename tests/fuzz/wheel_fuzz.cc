// Property: whatever is armed, cancelled and advanced, also by what fires, the wheel fires what a
// sorted map would, in its order, never early. The first bytes choose the present tick, so that
// ticks wrap, and how many ids there are; the rest are the steps.

#include "tests/base/wheel_walk.h"
#include "tests/fuzz/chance.h"

using namespace ringcast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    test::FuzzChance chance(std::as_bytes(std::span(data, size)));
    const auto start = static_cast<Tick>(chance.below(std::uint64_t{1} << 32));
    test::WheelWalk walk(chance, start, static_cast<std::uint32_t>(1 + chance.below(64)));
    while (!chance.over())
        walk.step();
    return 0;
}
