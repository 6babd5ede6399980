// Property: whatever the decisions, the world that they make keeps its rules (tests/sim/world.h).
// The input is a tape (io/sim_random.h): every decision of one world, and the shorter the simpler.
// `ringcast-sim --seed N --record FILE` writes the tape of a seed, -minimize_crash=1 makes that of
// a failure small, and `ringcast-sim --replay FILE --trace` tells what happens on it.
//
// In a build with -Dplants=true, RC_PLANT=N in the environment plants bug N (base/plant.h).

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/plant.h"
#include "tests/fuzz/split.h"
#include "tests/sim/options.h"
#include "tests/sim/world.h"

using namespace ringcast;

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
    const char* wanted = std::getenv("RC_PLANT");
    if (wanted == nullptr) return 0;
    const std::string_view text(wanted);
    std::uint32_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    bool good = read.ec == std::errc{} && read.ptr == text.data() + text.size();
#ifdef RC_PLANTS
    good = good && number <= plants_max;
    planted = number;
#else
    good = good && number == 0;
#endif
    if (good) return 0;
    std::fprintf(stderr, "sim_fuzz: RC_PLANT=%s: no such bug in this build\n", wanted);
    std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    io::SimTape tape(std::as_bytes(std::span(data, size)));
    sim::Wishes wishes;
    wishes.tape = &tape;
    sim::World world(sim::Options::draw(0, wishes));
    const sim::Outcome outcome = world.run();
    test::demand(outcome.failure.empty(), outcome.failure.c_str());
    return 0;
}
