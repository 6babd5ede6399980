#pragma once

// Planted bugs, to see whether the tests would find such a one. In a build with -Dplants=true
// RC_PLANT(n) is true while somebody has chosen bug n (scripts/plants tells what each is), and with
// none chosen nothing is different; in any other build it is the constant false.
//
// One thread, and for tests only: `planted` is set before a world begins.

#include <cstdint>

namespace ringcast {

constexpr std::uint32_t plants_max = 39;
#ifdef RC_PLANTS
inline std::uint32_t planted = 0;  // 0: none
#endif

}  // namespace ringcast

#ifdef RC_PLANTS
    #define RC_PLANT(number) (::ringcast::planted == (number))
#else
    #define RC_PLANT(number) false
#endif
