#pragma once

// The share that one step has of a turn, as time. A step of many small pieces asks after each
// whether its time is up; the clock is looked at only after every sixteen units of work.

#include <cstdint>

#include "base/time.h"
#include "io/reactor.h"

namespace ringcast::io {

class Stint {
  public:
    static constexpr std::uint32_t units_per_look = 16;

    Stint(const Reactor& reactor, Nanos span) noexcept
        : reactor_(reactor), end_(reactor.present() + span) {}

    // After a piece of work of so many units, each about a microsecond: is it time to stop?
    [[nodiscard]] bool over(std::uint32_t units = 1) noexcept {
        unseen_ += units;
        if (unseen_ < units_per_look) return false;
        unseen_ = 0;
        return reactor_.present() >= end_;
    }

  private:
    const Reactor& reactor_;
    Nanos end_;
    std::uint32_t unseen_ = 0;
};

}  // namespace ringcast::io
