#include "base/wheel.h"

#include <bit>

#include "base/check.h"

namespace ringcast {

namespace {

[[nodiscard]] bool is_after(Tick a, Tick b) noexcept {
    return static_cast<std::int32_t>(a - b) > 0;
}

}  // namespace

// calloc, not new: large blocks come from the kernel as untouched zero pages.
Wheel::Wheel(Tick now, std::uint32_t id_count_max) noexcept
    : nodes_(static_cast<Node*>(std::calloc(std::size_t{first_id} + id_count_max, sizeof(Node)))),
      id_count_max_(id_count_max),
      now_(now),
      cursor_(now) {
    RC_CHECK(nodes_ != nullptr);
    RC_CHECK(id_count_max <= UINT32_MAX - first_id);
    for (std::uint32_t head = first_head; head < first_id; head++) {
        nodes_[head].prev = nodes_[head].next = head;
    }
}

void Wheel::arm(std::uint32_t id, Tick due) noexcept {
    RC_CHECK(id < id_count_max_);
    const std::uint32_t node = first_id + id;
    if (nodes_[node].next != 0) {
        unlink(node);
    } else {
        armed_count_++;
    }
    nodes_[node].due = due;
    if (is_after(due, now_)) {
        place(node);
    } else {
        link(late_head, node);
    }
}

void Wheel::cancel(std::uint32_t id) noexcept {
    RC_CHECK(id < id_count_max_);
    const std::uint32_t node = first_id + id;
    if (nodes_[node].next == 0) return;
    unlink(node);
    armed_count_--;
}

bool Wheel::armed(std::uint32_t id) const noexcept {
    RC_CHECK(id < id_count_max_);
    return nodes_[first_id + id].next != 0;
}

void Wheel::advance(Tick now, Fire fire, void* context) noexcept {
    RC_CHECK(!advancing_);
    RC_CHECK(!is_after(now_, now));
    advancing_ = true;
    // First all that is due goes to one list, in order; then it is fired from there. So callbacks
    // always find the wheel whole, standing at `now`.
    now_ = now;
    splice(late_head, firing_head);
    collect(now);
    held_ = false;
    while (!is_empty(firing_head) && !held_) {
        const std::uint32_t node = nodes_[firing_head].next;
        unlink(node);
        armed_count_--;
        fire(context, node - first_id);
    }
    advancing_ = false;
}

Tick Wheel::next_due(Tick fallback) const noexcept {
    if (!is_empty(late_head) || !is_empty(firing_head)) return now_;
    Slot slot;
    return find_earliest(slot) ? slot.start : fallback;
}

void Wheel::collect(Tick now) noexcept {
    Slot slot;
    while (find_earliest(slot)) {
        if (is_after(slot.start, now)) break;
        cursor_ = slot.start;
        if (slot.level == 0) {
            splice(slot.head, firing_head);
            mark_empty(slot.head);
        } else {
            cascade(slot);
        }
    }
    // No slot starts at or before `now`, so every entry's level is the same seen from there.
    cursor_ = now;
}

// Moves the entries of a slot that begins at the cursor to lower levels.
void Wheel::cascade(const Slot& slot) noexcept {
    RC_DCHECK(slot.start == cursor_);
    std::uint32_t node = nodes_[slot.head].next;
    nodes_[slot.head].prev = nodes_[slot.head].next = slot.head;
    mark_empty(slot.head);
    while (node != slot.head) {
        const std::uint32_t next = nodes_[node].next;
        place(node);
        node = next;
    }
}

void Wheel::place(std::uint32_t node) noexcept {
    const Tick due = nodes_[node].due;
    RC_DCHECK(!is_after(cursor_, due));
    const auto top_bit = static_cast<std::uint32_t>(std::bit_width((due ^ cursor_) | 1U)) - 1;
    const std::uint32_t level = top_bit / slot_bits;
    const std::uint32_t slot = (due >> (level * slot_bits)) % slot_count;
    occupied_[level] |= std::uint64_t{1} << slot;
    link(first_head + level * slot_count + slot, node);
}

bool Wheel::find_earliest(Slot& slot) const noexcept {
    for (std::uint32_t level = 0; level < level_count; level++) {
        std::uint64_t ahead = occupied_[level];
        if (ahead == 0) continue;
        const std::uint32_t shift = level * slot_bits;
        const Tick present = cursor_ >> shift;  // the slot of the cursor, and all above it
        // In the last level time goes round; in the others all that is occupied lies at or after
        // the cursor's slot.
        const bool is_top = level == level_count - 1;
        const std::uint32_t slots = is_top ? top_slot_count : slot_count;
        const std::uint32_t from = present % slots;
        if (is_top) {
            ahead |= ahead << top_slot_count;
        }
        ahead >>= from;
        RC_CHECK(ahead != 0);
        const auto distance = static_cast<std::uint32_t>(std::countr_zero(ahead));
        slot.level = level;
        slot.head = first_head + level * slot_count + (from + distance) % slots;
        slot.start = (present + distance) << shift;
        return true;
    }
    return false;
}

bool Wheel::is_empty(std::uint32_t head) const noexcept {
    return nodes_[head].next == head;
}

void Wheel::mark_empty(std::uint32_t head) noexcept {
    if (head >= late_head) return;
    const std::uint32_t slot = head - first_head;
    occupied_[slot / slot_count] &= ~(std::uint64_t{1} << (slot % slot_count));
}

void Wheel::link(std::uint32_t head, std::uint32_t node) noexcept {
    const std::uint32_t last = nodes_[head].prev;
    nodes_[node].prev = last;
    nodes_[node].next = head;
    nodes_[last].next = node;
    nodes_[head].prev = node;
}

void Wheel::unlink(std::uint32_t node) noexcept {
    const std::uint32_t prev = nodes_[node].prev;
    const std::uint32_t next = nodes_[node].next;
    RC_CHECK(next != 0);
    nodes_[prev].next = next;
    nodes_[next].prev = prev;
    nodes_[node].prev = nodes_[node].next = 0;
    if (prev == next) mark_empty(prev);  // only the head is on both sides of a single entry
}

// Appends one list to another; the first is empty afterwards.
void Wheel::splice(std::uint32_t from_head, std::uint32_t to_head) noexcept {
    if (is_empty(from_head)) return;
    const std::uint32_t first = nodes_[from_head].next;
    const std::uint32_t last = nodes_[from_head].prev;
    const std::uint32_t before = nodes_[to_head].prev;
    nodes_[before].next = first;
    nodes_[first].prev = before;
    nodes_[last].next = to_head;
    nodes_[to_head].prev = last;
    nodes_[from_head].prev = nodes_[from_head].next = from_head;
}

}  // namespace ringcast
