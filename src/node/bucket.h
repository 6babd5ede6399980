#pragma once

// A rate limit in eight bytes: the generic cell rate algorithm (ITU-T I.371, Annex A). Instead of
// counting tokens it keeps the moment at which the bucket would be full again.
//
// One thread owns a Bucket.

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace ringcast::node {

struct Rate {
    Nanos interval = 0;  // between two events at the steady rate; 0: no limit
    Nanos slack = 0;     // how far a burst may run ahead

    // `per_second` 0 means no limit; `burst` >= 1.
    [[nodiscard]] static Rate of(std::uint64_t per_second, std::uint64_t burst) noexcept {
        if (per_second == 0) return {};
        const Nanos interval = std::max<Nanos>(1, nanos_per_s / static_cast<Nanos>(per_second));
        return {.interval = interval, .slack = interval * (static_cast<Nanos>(burst) - 1)};
    }
};

class Bucket {
  public:
    // Takes one if the rate allows it at `now`; a refused one costs nothing.
    [[nodiscard]] bool take(Rate rate, Nanos now) noexcept {
        if (rate.interval == 0) return true;
        const Nanos ready = std::max(ready_, now);
        if (ready - now > rate.slack) return false;
        ready_ = ready + rate.interval;
        return true;
    }

  private:
    Nanos ready_ = 0;
};

}  // namespace ringcast::node
