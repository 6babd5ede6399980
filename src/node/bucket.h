#pragma once

// A rate limit in eight bytes: the generic cell rate algorithm (ITU-T I.371, Annex A). Instead of
// counting tokens it keeps the moment at which the bucket would be full again.
//
// And how much more than the rate is too much. What the rate does not allow is refused, which costs
// us next to nothing, so a client may do it for ever: a library that pings a little too often must
// not lose its connection. But whoever keeps sending more than ten times the rate does not listen.
// So each refused one counts one, each allowed one takes nine back, and over a thousand it is
// enough. That is a rule without a clock: a burst is forgiven by good behaviour, not by waiting.
//
// One thread owns a Bucket and an Excess.

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

    // Takes `count` more than was asked for: what comes next waits until they are paid.
    void charge(Rate rate, Nanos now, std::uint32_t count) noexcept {
        ready_ = std::max(ready_, now) + rate.interval * static_cast<Nanos>(count);
    }

  private:
    Nanos ready_ = 0;
};

class Excess {
  public:
    void allowed() noexcept {
        count_ = static_cast<std::uint16_t>(count_ - std::min(count_, forgiven));
    }
    // True: it is enough.
    [[nodiscard]] bool refused() noexcept {
        count_ = static_cast<std::uint16_t>(std::min(count_ + 1, most + 1));
        return count_ > most;
    }

  private:
    static constexpr std::uint16_t forgiven = 9;
    static constexpr std::uint16_t most = 1000;

    std::uint16_t count_ = 0;
};

}  // namespace ringcast::node
