#pragma once

// An index of things that live elsewhere: from a 64-bit hash to a number, 8 bytes a slot. The owner
// keeps the things and says which of two with the same hash is meant.
//
// Open addressing with linear probing: a look-up is one cache line in most cases. Deletion shifts
// the followers back instead of leaving tombstones, so a table that sees a million topics come and
// go probes as short as a new one. At most 3/4 full, then it doubles: a pause of about 10 ns an
// entry, which reserve() takes at start-up instead. It never shrinks.
//
// Hashes must be good and, where names come from outside, seeded (base/hash.h): 32 bits of them are
// all that is kept and compared. One thread owns an IndexTable.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace ringcast {

class IndexTable {
  public:
    static constexpr std::uint32_t none = UINT32_MAX;  // not an id

    // The id under `hash` for which eq(id) is true, or none.
    template <typename Equal>
    [[nodiscard]] std::uint32_t find(std::uint64_t hash, Equal eq) const noexcept {
        const std::size_t at = locate(hash, eq);
        return at == not_found ? none : slots_[at].id;
    }

    // Precondition: `id` is not in the table.
    void insert(std::uint64_t hash, std::uint32_t id) noexcept {
        RC_CHECK(id != none);
        reserve(size_ + 1);
        place({.tag = tag_of(hash), .id = id});
        size_++;
    }

    // Takes out what find() would find and returns its id, or none.
    template <typename Equal>
    std::uint32_t erase(std::uint64_t hash, Equal eq) noexcept {
        const std::size_t at = locate(hash, eq);
        if (at == not_found) return none;
        const std::uint32_t id = slots_[at].id;
        close_gap(at);
        size_--;
        return id;
    }

    // Room for `count` entries without growing.
    void reserve(std::size_t count) noexcept {
        std::size_t slot_count = slots_.empty() ? 16 : slots_.size();
        while (count > slot_count / 4 * 3) {
            slot_count *= 2;
        }
        if (slot_count == slots_.size()) return;
        RC_CHECK(slot_count <= std::size_t{1} << 32);  // a tag names no more
        std::vector<Slot> former(slot_count);
        former.swap(slots_);
        for (const Slot& slot : former) {
            if (slot.id != none) place(slot);
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    // What it has allocated.
    [[nodiscard]] std::size_t heap_bytes() const noexcept { return slots_.size() * sizeof(Slot); }

  private:
    struct Slot {
        std::uint32_t tag = 0;  // of the hash; its low bits are the slot it would like
        std::uint32_t id = none;
    };
    static_assert(sizeof(Slot) == 8);

    static constexpr std::size_t not_found = SIZE_MAX;

    [[nodiscard]] static std::uint32_t tag_of(std::uint64_t hash) noexcept {
        return static_cast<std::uint32_t>(hash ^ (hash >> 32));
    }

    [[nodiscard]] std::size_t after(std::size_t at) const noexcept {
        return (at + 1) & (slots_.size() - 1);
    }

    template <typename Equal>
    [[nodiscard]] std::size_t locate(std::uint64_t hash, Equal& eq) const noexcept {
        if (size_ == 0) return not_found;
        const std::uint32_t tag = tag_of(hash);
        std::size_t at = tag & (slots_.size() - 1);
        while (slots_[at].id != none) {  // ends: a quarter of the slots is free
            if (slots_[at].tag == tag && eq(slots_[at].id)) return at;
            at = after(at);
        }
        return not_found;
    }

    void place(Slot slot) noexcept {
        std::size_t at = slot.tag & (slots_.size() - 1);
        while (slots_[at].id != none) {
            RC_DCHECK(slots_[at].id != slot.id);
            at = after(at);
        }
        slots_[at] = slot;
    }

    // Empties slot `gap`, and moves each follower there that the gap would cut off from the slot it
    // would like.
    void close_gap(std::size_t gap) noexcept {
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t at = after(gap); slots_[at].id != none; at = after(at)) {
            const std::size_t from_home = (at - slots_[at].tag) & mask;
            const std::size_t from_gap = (at - gap) & mask;
            if (from_home < from_gap) continue;
            slots_[gap] = slots_[at];
            gap = at;
        }
        slots_[gap] = Slot{};
    }

    std::vector<Slot> slots_;  // a power of two of them, or none
    std::size_t size_ = 0;
};

}  // namespace ringcast
