#pragma once

// A hierarchical timing wheel: one deadline per id, O(1) to arm and to cancel.
//
// Six levels of 64 slots (4 in the last); level L holds what differs from the present tick first in
// the L-th group of six bits, so an entry moves down at most five times before it fires, and all of
// level L is due before all of level L + 1. A bitmap per level finds the next occupied slot, so
// advancing costs the entries that move, never the ticks that pass: a process stopped for a day
// catches up at once. (Varghese and Lauck 1987; the layout by differing bits is tokio's.)
//
// Ticks wrap. They are compared by signed difference, so a deadline lies less than 2^31 ticks
// ahead: 248 days of 10 ms.
//
// The nodes lie in one array, 12 bytes an id, and an unarmed node is all zeros: ids that were never
// armed cost address space only. One thread owns a Wheel.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace ringcast {

using Tick = std::uint32_t;  // 10 ms by convention

class Wheel {
  public:
    using Fire = void (*)(void* context, std::uint32_t id) noexcept;

    // Ids are 0 to id_count_max - 1.
    Wheel(Tick now, std::uint32_t id_count_max) noexcept;
    Wheel(const Wheel&) = delete;
    Wheel& operator=(const Wheel&) = delete;

    // Fires `id` in the first advance() to `due` or later. What is due already counts as due now
    // and fires in the next advance(), whatever tick that goes to; never in the one that is
    // running, so a callback that arms its own id cannot hold the caller. Arming again replaces the
    // deadline.
    void arm(std::uint32_t id, Tick due) noexcept;
    void cancel(std::uint32_t id) noexcept;
    [[nodiscard]] bool armed(std::uint32_t id) const noexcept;

    // Moves the present to `now` and fires all that is due, in order of due tick, after disarming
    // it. `fire` may arm and cancel any id; what it cancels does not fire. Not to be called by it.
    // Precondition: `now` is not before the last one.
    void advance(Tick now, Fire fire, void* context) noexcept;

    // For a callback of advance(): that ends with it, and what is left fires first in the next one.
    void hold() noexcept { held_ = true; }

    // When to advance next: not later than the earliest due tick, and after the present one unless
    // something is due already. It may be early, when a slot of a higher level must move down
    // first. `fallback` when nothing is armed.
    [[nodiscard]] Tick next_due(Tick fallback) const noexcept;

    [[nodiscard]] Tick now() const noexcept { return now_; }
    [[nodiscard]] std::uint32_t armed_count() const noexcept { return armed_count_; }

  private:
    // A member of a circular list with a head. Links are positions in nodes_; 0 is nobody's, so
    // next == 0 says "not armed".
    struct Node {
        std::uint32_t prev;
        std::uint32_t next;
        Tick due;
    };
    static_assert(sizeof(Node) == 12);

    // Where an occupied slot is, and when it begins.
    struct Slot {
        std::uint32_t head = 0;
        std::uint32_t level = 0;
        Tick start = 0;  // its first tick
    };

    static constexpr std::uint32_t slot_bits = 6;
    static constexpr std::uint32_t slot_count = 1U << slot_bits;
    static constexpr std::uint32_t level_count = 6;
    static constexpr std::uint32_t top_slot_count = 4;  // the two bits that are left of 32

    // Positions in nodes_: nobody, the slots' heads, two more heads, the ids.
    static constexpr std::uint32_t first_head = 1;
    static constexpr std::uint32_t late_head = first_head + level_count * slot_count;
    static constexpr std::uint32_t firing_head = late_head + 1;
    static constexpr std::uint32_t first_id = firing_head + 1;

    struct Free {
        void operator()(Node* nodes) const noexcept { std::free(nodes); }
    };

    void place(std::uint32_t node) noexcept;
    void link(std::uint32_t head, std::uint32_t node) noexcept;
    void unlink(std::uint32_t node) noexcept;
    void splice(std::uint32_t from_head, std::uint32_t to_head) noexcept;
    void mark_empty(std::uint32_t head) noexcept;
    void collect(Tick now) noexcept;
    void cascade(const Slot& slot) noexcept;
    [[nodiscard]] bool is_empty(std::uint32_t head) const noexcept;
    [[nodiscard]] bool find_earliest(Slot& slot) const noexcept;

    std::unique_ptr<Node[], Free> nodes_;
    std::array<std::uint64_t, level_count> occupied_{};  // bit s: slot s of the level is not empty
    std::uint32_t id_count_max_;
    std::uint32_t armed_count_ = 0;
    Tick now_;     // as the owner sees it
    Tick cursor_;  // what the slots are relative to; behind now_ only inside collect()
    bool advancing_ = false;
    bool held_ = false;
};

}  // namespace ringcast
