#pragma once

// The two clocks and the source of chance of a shard, as the kernel back ends read them. One owner
// thread. Everything above gets time and chance from its Reactor, so that a simulation can replace
// both.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace ringcast::io {

class Clock {
  public:
    Clock() noexcept { read(); }

    // Looks at both clocks, about 50 ns. The values stay until the next call.
    void read() noexcept;

    [[nodiscard]] Nanos now() const noexcept { return now_; }    // CLOCK_MONOTONIC
    [[nodiscard]] Nanos wall() const noexcept { return wall_; }  // CLOCK_REALTIME, since 1970

    // CLOCK_MONOTONIC at this moment, about 30 ns.
    [[nodiscard]] static Nanos present() noexcept;
    // What the calling thread has had of the CPUs so far; a system call, 0.2 to 0.7 us.
    [[nodiscard]] static Nanos cpu_time() noexcept;

    // How long a wait until `deadline` may sleep from this moment: 0 if it has passed.
    [[nodiscard]] Nanos left_until(Nanos deadline) noexcept;

  private:
    Nanos now_ = 0;
    Nanos wall_ = 0;
};

// Numbers nobody can guess (client ids and epochs are made of them), read from the kernel by the
// page, because one getrandom() costs more than fifty numbers.
class Chance {
  public:
    [[nodiscard]] std::uint64_t next() noexcept;

  private:
    std::array<std::uint64_t, 64> numbers_{};
    std::size_t left_ = 0;
};

}  // namespace ringcast::io
