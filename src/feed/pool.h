#pragma once

// The memory of all logs of one shard: a fixed arena, given out as segments.
//
// Segments have a size of 2^k pages, from one page to the whole arena (a buddy allocator), so that
// a quiet topic holds 4 KiB and a busy one a megabyte. Memory is fixed at construction; when none
// of a fitting size is free, the pool takes the oldest segment of all logs back (its log retires
// it, Segment::owner), and again, until one fits. Allocation therefore never fails for a size up to
// segment_size_max().
//
// Pages that were sent by reference (sendfile) may sit in socket queues long after their segment is
// gone. They must never be written again: the pool punches them out of the file before it reuses
// the room, through Arena::punch. Any other segment is reused in place.
//
// One thread owns a pool and all logs on it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace ringcast::feed {

using Seq = std::uint64_t;  // the number of a record: its topic's offset, from 1 upwards

constexpr std::size_t page_size = 4096;

// Where the memory lies. feed makes no system calls: io/memfile.h provides one of these.
struct Arena {
    std::byte* base = nullptr;  // page aligned
    std::size_t size = 0;       // a power of two times page_size
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
    std::uint32_t used = 0;    // bytes of records
    std::uint32_t count = 0;   // records
    Seq first = 0;             // the number of the first of them
    Log* owner = nullptr;
    Segment* newer = nullptr;  // in the owner's list
    bool by_reference = false;  // some slice went out by page reference: punch before reuse
    // The pool's list of live segments by age, oldest first.
    Segment* pool_older = nullptr;
    Segment* pool_newer = nullptr;
};

class SegmentPool {
  public:
    explicit SegmentPool(const Arena& arena);
    SegmentPool(const SegmentPool&) = delete;
    SegmentPool& operator=(const SegmentPool&) = delete;
    ~SegmentPool();

    // A segment of at least `size` bytes for `owner`; may make other logs (or `owner` itself)
    // retire their oldest. Precondition: 0 < size <= segment_size_max().
    [[nodiscard]] Segment& take(std::size_t size, Log& owner) noexcept;
    void give_back(Segment& segment) noexcept;

    // A quarter of the arena, so that one record can never push out everything else.
    [[nodiscard]] std::size_t segment_size_max() const noexcept;
    [[nodiscard]] std::int64_t offset_of(const std::byte* place) const noexcept;
    [[nodiscard]] std::size_t bytes_in_use() const noexcept;
    [[nodiscard]] std::uint64_t evictions() const noexcept;  // segments taken from their log

  private:
    // The implementer chooses: free lists per order, a slab of Segment descriptors.
};

}  // namespace ringcast::feed
