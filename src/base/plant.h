#pragma once

// Planted bugs, to see whether the tests would find such a one. In a build with -Dplants=true
// RC_PLANT(n) is true while somebody has chosen bug n (scripts/plants, tests/sim/plants.h tells
// what each is); in any other build it is the constant false and leaves nothing behind.
//
// One thread, and for tests only: `planted` is set before a world begins.

#include <cstdint>

#ifdef RC_PLANTS
namespace ringcast {
inline std::uint32_t planted = 0;  // 0: none
}  // namespace ringcast
    #define RC_PLANT(number) (::ringcast::planted == (number))
#else
    #define RC_PLANT(number) false
#endif
