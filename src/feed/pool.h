#pragma once

// The memory of all logs of one shard: a fixed arena, given out as segments.
//
// Segments have a size of 2^k pages (a buddy allocator), so that a quiet topic holds 4 KiB and a
// busy one a megabyte. Memory is fixed at construction; when none of a fitting size is free, the
// pool takes the oldest segments of all logs back (their logs retire them, Segment::owner).
// Allocation therefore never fails for a size up to segment_size_max().
//
// Pages that were sent by reference (sendfile) may sit in socket queues long after their segment is
// gone, and whoever writes to them changes what the peer will read. The pool punches them out of
// the file, through Arena::punch, before the room can be given out again. Any other segment is
// reused in place: a page that was only ever copied from may be written at once.
//
// Invariants:
// - Every page lies in exactly one free block or one live segment; a block of 2^k pages lies at a
//   multiple of its size, and no two free buddies stay apart.
// - The live segments hang in one list by age, and a log's own segments are in the same order.
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

// A run of memory with records growing up from the front and their ends (u32, one a record, newest
// last) growing down from the back. Owned by one Log while live.
struct Segment {
    std::byte* bytes = nullptr;
    std::uint32_t size = 0;
    std::uint32_t used = 0;     // bytes of records
    std::uint32_t count = 0;    // records
    bool by_reference = false;  // some slice went out by page reference: punch before reuse
    Seq first = 0;              // the number of the first of them
    Log* owner = nullptr;
    Segment* newer = nullptr;  // in the owner's list
    // The pool's list of live segments by age, oldest first.
    Segment* pool_older = nullptr;
    Segment* pool_newer = nullptr;
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
    void give_back(Segment& segment) noexcept;
    // Gives memory back until `keep` bytes of the arena are in use by pages that were written to,
    // or `size_max` bytes were given back: first what is free, then the oldest segments of all
    // logs, as take() would. Not between reserve() and commit().
    void shed(std::size_t keep, std::size_t size_max) noexcept;
    // `segment`, its owner's only one, is about to be filled anew: it counts as the youngest.
    void renew(Segment& segment) noexcept;

    // A quarter of the arena, so that one record can never push out everything else.
    [[nodiscard]] std::size_t segment_size_max() const noexcept { return segment_size_max_; }
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
    // Segments taken from their log.
    [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_; }
    // The largest size that is free in one piece; 0 when all is in use.
    [[nodiscard]] std::size_t largest_free() const noexcept;
    // That segments in use and free blocks make up the arena. It visits all of them: for tests.
    void check() const noexcept;

  private:
    using PageIndex = std::uint32_t;
    using Order = std::uint8_t;  // a block of 2^order pages
    static constexpr PageIndex no_page = UINT32_MAX;
    static constexpr Order no_order = UINT8_MAX;
    static constexpr std::size_t order_count = 32;

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
    [[nodiscard]] bool has_free(Order order) const noexcept { return (free_orders_ >> order) != 0; }

    void evict_from(const Segment& segment) noexcept;
    void set_resident(PageIndex page, Order order, bool resident) noexcept;
    void punch(PageIndex page, Order order) noexcept;
    void clear_around_oldest(Order order) noexcept;
    [[nodiscard]] PageIndex take_block(Order order) noexcept;
    void free_block(PageIndex page, Order order) noexcept;
    void push_free(PageIndex page, Order order) noexcept;
    void remove_free(PageIndex page) noexcept;
    [[nodiscard]] Segment& take_descriptor() noexcept;
    void link_youngest(Segment& segment) noexcept;
    void unlink(Segment& segment) noexcept;

    Arena arena_;
    std::size_t segment_size_max_;
    std::vector<Page> pages_;
    std::array<PageIndex, order_count> free_{};  // the most recently freed block of each order
    std::uint32_t free_orders_ = 0;              // bit k: free_[k] is not empty
    std::vector<std::unique_ptr<Segment[]>> descriptors_;  // in chunks: they never move
    Segment* spare_ = nullptr;                             // unused descriptors, by pool_newer
    Segment* oldest_ = nullptr;
    Segment* youngest_ = nullptr;
    std::size_t bytes_in_use_ = 0;
    std::vector<std::uint64_t> resident_;  // a bit a page
    std::size_t resident_count_ = 0;
    std::uint64_t evictions_ = 0;
};

}  // namespace ringcast::feed
