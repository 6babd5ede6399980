#pragma once

// The connection table of a kernel back end: a fixed array of small slots, named by index, and the
// free ones among them. Memory is zero pages until a slot is first used, so a large connections_max
// costs nothing. One owner thread.
//
// A Slot has a member `std::uint32_t link`, which is ours while the slot is free, and must be valid
// as all zeros.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "base/check.h"

namespace ringcast::io {

template <typename Slot>
class Slots {
  public:
    static_assert(std::is_trivially_copyable_v<Slot>);
    static constexpr std::uint32_t none = UINT32_MAX;

    explicit Slots(std::uint32_t capacity) noexcept
        : slots_(static_cast<Slot*>(std::calloc(capacity, sizeof(Slot)))), capacity_(capacity) {
        RC_CHECK(capacity > 0 && capacity < none);
        RC_CHECK(slots_ != nullptr);
    }

    // An index to use, lowest never used last given back first; `none` when all are taken.
    [[nodiscard]] std::uint32_t take() noexcept {
        std::uint32_t index = free_;
        if (index != none) {
            free_ = slots_.get()[index].link;
        } else if (touched_ < capacity_) {
            index = touched_++;
        } else {
            return none;
        }
        taken_++;
        return index;
    }

    void give_back(std::uint32_t index) noexcept {
        RC_CHECK(index < touched_);
        RC_CHECK(taken_ > 0);
        slots_.get()[index].link = free_;
        free_ = index;
        taken_--;
    }

    [[nodiscard]] Slot& operator[](std::uint32_t index) noexcept {
        RC_CHECK(index < touched_);
        return slots_.get()[index];
    }

    [[nodiscard]] bool full() const noexcept { return taken_ == capacity_; }
    [[nodiscard]] std::uint32_t taken() const noexcept { return taken_; }
    [[nodiscard]] std::uint32_t touched() const noexcept { return touched_; }  // indexes ever used

  private:
    struct Free {
        void operator()(Slot* slots) const noexcept { std::free(slots); }
    };

    std::unique_ptr<Slot, Free> slots_;
    std::uint32_t capacity_ = 0;
    std::uint32_t touched_ = 0;
    std::uint32_t taken_ = 0;
    std::uint32_t free_ = none;
};

}  // namespace ringcast::io
