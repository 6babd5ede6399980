#pragma once

// The tools' clock. The rooms are handed time; a client program has to read it somewhere, and this
// is the only place.

#include <ctime>

#include "base/time.h"

namespace ringcast::tools {

[[nodiscard]] inline Nanos clock_now() noexcept {
    timespec time = {};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * nanos_per_s + time.tv_nsec;
}

}  // namespace ringcast::tools
