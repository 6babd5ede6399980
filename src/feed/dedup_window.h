#pragma once

// Which messages were published lately, so that a publisher that heard no answer may say the same
// once more: it gets the same answer, and nobody reads it twice.
//
// The window is bounded by count and by time, whichever is less; the oldest leave first. Memory
// grows to entry_bytes an entry at most, as it is needed, and stays.
//
// One thread owns a DedupWindow.

#include <cstdint>
#include <optional>
#include <vector>

#include "base/index_table.h"
#include "base/wheel.h"
#include "feed/pool.h"

namespace ringcast::feed {

class DedupWindow {
  public:
    // Who said what, on which topic: two seeded 64-bit hashes of all of it. Two messages of a
    // window of a million share one with a chance of 2^-88.
    struct Key {
        std::uint64_t high = 0;
        std::uint64_t low = 0;
        bool operator==(const Key&) const = default;
    };

    // At most `count_max` entries (0: nothing is remembered), none older than `span` ticks.
    DedupWindow(std::uint32_t count_max, Tick span) noexcept;

    // The offset under which it was published, if that was lately.
    [[nodiscard]] std::optional<Seq> find(const Key& key, Tick now) noexcept;
    // Precondition: find(key, now) has none.
    void add(const Key& key, Seq offset, Tick now) noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }
    // What it has allocated.
    [[nodiscard]] std::size_t heap_bytes() const noexcept {
        return ring_.capacity() * sizeof(Entry) + index_.heap_bytes();
    }
    static constexpr std::size_t entry_bytes = 56;  // at most, of each

  private:
    struct Entry {
        Key key;
        Seq offset = 0;
        Tick added = 0;
    };

    void expire(Tick now) noexcept;
    void drop_oldest() noexcept;
    void grow() noexcept;

    std::uint32_t count_max_;
    Tick span_;
    std::vector<Entry> ring_;   // the oldest at oldest_
    std::uint32_t oldest_ = 0;  // in ring_
    IndexTable index_;          // places in ring_
};

}  // namespace ringcast::feed
