#pragma once

// The memory of all logs of one shard: a fixed arena, given out as segments.
//
// Segments have a size of 2^k pages (a buddy allocator), so that a quiet topic holds 4 KiB and a
// busy one a megabyte. Memory is fixed at construction; when none of a fitting size is free, the
// pool takes the oldest segments of all logs back (their logs retire them, Segment::owner).
// Allocation therefore never fails for a size up to segment_size_max().
//
// Some memory must not be taken back: the state of topics with keys. Such segments are *pinned*.
// They lie in the upper half of the arena only, so that in the lower half room of any size up to
// segment_size_max() can always be made; who asks for one may be refused.
//
// Pages that were sent by reference (sendfile) may sit in socket queues long after their segment is
// gone, and whoever writes to them changes what the peer will read. The pool punches them out of
// the file, through Arena::punch, before the room can be given out again. Any other segment is
// reused in place: a page that was only ever copied from may be written at once.
//
// Invariants:
// - Every page lies in exactly one free block or one live segment; a block of 2^k pages lies at a
//   multiple of its size, and no two free buddies stay apart, but the halves of the arena.
// - The live segments of each half hang in a list by age, and a log's own segments are in the same
//   order. Pinned ones are in no list, and none is in the lower half.
//
// Nothing is written into free memory (links are kept aside), so pages that were never used cost
// nothing. One thread owns a pool and all logs on it.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"

namespace ringcast::feed {

using Seq = std::uint64_t;  // the number of a record: its topic's offset, from 1 upwards

constexpr std::size_t page_size = 4096;

// Where the memory lies. feed makes no system calls: io/memfile.h provides one of these.
struct Arena {
    std::byte* base = nullptr;  // page aligned
    std::size_t size = 0;       // a power of two times page_size, at least four pages
    // Gives the pages of [offset, offset + size) back: after it they read as zero and writing them
    // does not touch what sockets still refer to. May be null in tests.
    void (*punch)(void* context, std::size_t offset, std::size_t size) noexcept = nullptr;
    void* context = nullptr;
};

class Log;

// A run of memory with records growing up from the front and what is known of each (its end at
// least; one a record, newest last) growing down from the back. Owned by one log while live.
struct Segment {
    std::byte* bytes = nullptr;
    std::uint32_t size = 0;
    std::uint32_t used = 0;     // bytes of records
    std::uint32_t count = 0;    // records
    bool by_reference = false;  // some slice went out by page reference: punch before reuse
    bool pinned = false;        // never taken from its owner
    Seq first = 0;              // the number of the first of them
    Log* owner = nullptr;       // null if pinned
    Segment* newer = nullptr;   // in the owner's list
    // The pool's list of live segments of one half by age, oldest first.
    Segment* pool_older = nullptr;
    Segment* pool_newer = nullptr;
    std::uint64_t age = 0;  // which segment this was to be taken or renewed
    // For a log that keeps the latest of each key (feed/compact.h).
    Segment* older = nullptr;      // in the owner's list
    std::uint32_t live = 0;        // bytes of records that are the latest of their key
    std::uint32_t live_count = 0;  // such records
};

class SegmentPool {
  public:
    explicit SegmentPool(const Arena& arena) noexcept;
    SegmentPool(const SegmentPool&) = delete;
    SegmentPool& operator=(const SegmentPool&) = delete;
    ~SegmentPool();

    // A segment of `size_wanted` bytes or more for `owner`; when memory is short, a smaller one of
    // at least `size_min`. Logs (`owner` itself too) may be made to retire their oldest.
    // Precondition: 0 < size_min <= segment_size_max(), size_min <= size_wanted.
    [[nodiscard]] Segment& take(std::size_t size_min, std::size_t size_wanted, Log& owner) noexcept;
    // The same, but the segment is pinned; null if there is no room for it. The segments of others
    // give way in the upper half, and `leave` bytes of that half stay without a pin.
    [[nodiscard]] Segment* take_pinned(std::size_t size_min,
                                       std::size_t size_wanted,
                                       std::size_t leave) noexcept;
    void give_back(Segment& segment) noexcept;
    // Gives memory back until `keep` bytes of the arena are in use by pages that were written to,
    // or `size_max` bytes were given back: first what is free, then the oldest segments of all
    // logs, as take() would. Not between reserve() and commit().
    void shed(std::size_t keep, std::size_t size_max) noexcept;
    // `segment`, its owner's only one, is about to be filled anew: it counts as the youngest.
    void renew(Segment& segment) noexcept;

    // A quarter of the arena, so that one record can never push out everything else.
    [[nodiscard]] std::size_t segment_size_max() const noexcept { return segment_size_max_; }
    // A quarter of the half of the arena where pins may be.
    [[nodiscard]] std::size_t pinned_size_max() const noexcept { return segment_size_max_ / 2; }
    // What take() would give for `size` when memory is plenty.
    [[nodiscard]] static std::size_t rounded(std::size_t size) noexcept {
        return page_size << order_of(size);
    }
    [[nodiscard]] std::int64_t offset_of(const std::byte* place) const noexcept {
        RC_CHECK(place >= arena_.base);
        RC_CHECK(place < arena_.base + arena_.size);
        return place - arena_.base;
    }
    [[nodiscard]] std::size_t bytes_in_use() const noexcept { return bytes_in_use_; }
    // Pages that were given out since they were last punched: free ones cost memory, too.
    [[nodiscard]] std::size_t resident_bytes() const noexcept {
        return resident_count_ * page_size;
    }
    // Memory beside the arena, at most: tables, and a descriptor for each segment of one page.
    [[nodiscard]] static std::size_t tables_size(std::size_t arena_size) noexcept {
        return arena_size / page_size * (sizeof(Page) + sizeof(Segment) + 1);
    }
    [[nodiscard]] std::size_t bytes_pinned() const noexcept { return bytes_pinned_; }  // of these
    // Heap that logs of this pool take for what lies beside it, their keys: each says what it has
    // now and what it had said before.
    void count_heap(std::size_t now, std::size_t before) noexcept {
        RC_CHECK(heap_bytes_ >= before);
        heap_bytes_ += now - before;
    }
    [[nodiscard]] std::size_t heap_bytes() const noexcept { return heap_bytes_; }
    // Segments taken from their log.
    [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_; }
    // The largest size that is free in one piece, half of the arena at most; 0 when all is in use.
    [[nodiscard]] std::size_t largest_free() const noexcept;
    // That segments in use and free blocks make up the arena. It visits all of them: for tests.
    void check() const noexcept;

  private:
    using PageIndex = std::uint32_t;
    using Order = std::uint8_t;  // a block of 2^order pages
    static constexpr PageIndex no_page = UINT32_MAX;
    static constexpr Order no_order = UINT8_MAX;
    static constexpr std::size_t order_count = 32;
    enum Half : std::uint8_t { lower, upper };
    static constexpr std::array<Half, 2> halves{lower, upper};  // where take() looks first

    // One a page of the arena; says something only about the first page of a block.
    struct Page {
        Segment* live = nullptr;
        PageIndex free_newer = no_page;  // in the list of free blocks of this order
        PageIndex free_older = no_page;
        Order free_order = no_order;
    };

    [[nodiscard]] static Order order_of(std::size_t size) noexcept {
        const std::size_t pages = (size + page_size - 1) / page_size;
        return static_cast<Order>(std::bit_width(pages - 1));
    }
    [[nodiscard]] PageIndex page_of(const Segment& segment) const noexcept {
        return static_cast<PageIndex>(static_cast<std::size_t>(offset_of(segment.bytes)) /
                                      page_size);
    }
    [[nodiscard]] Half half_of(PageIndex page) const noexcept {
        return page < pages_.size() / 2 ? lower : upper;
    }
    [[nodiscard]] bool has_free(Order order, Half half) const noexcept {
        return (free_orders_[half] >> order) != 0;
    }
    [[nodiscard]] bool has_free(Order order) const noexcept {
        return ((free_orders_[lower] | free_orders_[upper]) >> order) != 0;
    }
    [[nodiscard]] Segment* oldest() const noexcept;

    void set_resident(PageIndex page, Order order, bool resident) noexcept;
    void punch(PageIndex page, Order order) noexcept;
    void punch_free(Half half, std::size_t goal) noexcept;
    [[nodiscard]] std::size_t evict_from(const Segment& segment) noexcept;
    [[nodiscard]] PageIndex block_around(const Segment& segment, Order order) const noexcept;
    [[nodiscard]] bool has_pin(PageIndex begin, Order order) const noexcept;
    void clear_block(PageIndex begin, Order order) noexcept;
    void clear_for_anyone(Order order) noexcept;
    void clear_for_pin(Order order) noexcept;
    [[nodiscard]] Segment& cut(Order order, Half half) noexcept;
    [[nodiscard]] PageIndex take_block(Order order, Half half) noexcept;
    void free_block(PageIndex page, Order order) noexcept;
    void push_free(PageIndex page, Order order) noexcept;
    void remove_free(PageIndex page) noexcept;
    [[nodiscard]] Segment& take_descriptor() noexcept;
    void link_youngest(Segment& segment) noexcept;
    void unlink(Segment& segment) noexcept;

    Arena arena_;
    std::size_t segment_size_max_;
    std::vector<Page> pages_;
    // By half: the most recently freed block of each order; and bit k, that there is one of order
    // k.
    std::array<std::array<PageIndex, order_count>, 2> free_{};
    std::array<std::uint32_t, 2> free_orders_{};
    std::vector<std::unique_ptr<Segment[]>> descriptors_;  // in chunks: they never move
    Segment* spare_ = nullptr;                             // unused descriptors, by pool_newer
    std::array<Segment*, 2> oldest_{};                     // of those in each half
    std::array<Segment*, 2> youngest_{};
    std::uint64_t ages_ = 0;
    std::size_t bytes_in_use_ = 0;
    std::vector<std::uint64_t> resident_;  // a bit a page
    std::size_t resident_count_ = 0;
    std::size_t bytes_pinned_ = 0;
    std::size_t heap_bytes_ = 0;  // as counted
    std::uint64_t evictions_ = 0;
};

}  // namespace ringcast::feed
