#pragma once

// The broadcast log of one lane: what was published, newest last, already encoded for the wire.
//
// Records lie back to back in segments of the shard's pool, so a reader that is many records behind
// is still served by one contiguous slice. A record never spans two segments and never changes once
// it is committed. The log holds exactly the records [first(), next()).
//
// A record leaves when its segment is retired: because the pool took it (memory), because the log
// grew past its own limit, or because nobody needs it (trim, drop_all). Before the bytes go the log
// calls RetireHook, so that whoever stands in the middle of a record can save the rest of it.
//
// One thread owns a Log. Records are opaque here: this room knows nothing of WebSocket.

#include <cstdint>

#include "base/bytes.h"
#include "feed/pool.h"

namespace ringcast::feed {

// Records [first, end), contiguous. Valid until the next reserve(), trim() or drop_all() of any log
// of the pool.
struct Slice {
    Bytes bytes;
    Seq end = 0;                    // the record after the last whole one in `bytes`
    std::int64_t file_offset = -1;  // of bytes.data() in the arena
    Segment* segment = nullptr;
};

class Log {
  public:
    // Called before the records [first, end) go.
    struct RetireHook {
        void (*call)(void* context, Seq first, Seq end) noexcept = nullptr;
        void* context = nullptr;
    };

    // Starts empty; the first record will be number `next`. `size_max`: bytes of segments held at
    // most (at least one segment is always kept while records are needed).
    Log(SegmentPool& pool, Seq next, std::size_t size_max, RetireHook hook) noexcept;
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;
    ~Log();

    // Room for one record of exactly `size` bytes; fill it, then commit(). The room is lost when
    // reserve() is called again without commit().
    [[nodiscard]] MutBytes reserve(std::size_t size) noexcept;
    Seq commit() noexcept;  // the number of the record

    [[nodiscard]] Seq first() const noexcept { return first_; }
    [[nodiscard]] Seq next() const noexcept { return next_; }
    [[nodiscard]] bool holds(Seq seq) const noexcept { return first_ <= seq && seq < next_; }

    // Everything from byte `sent` of record `seq` to the end of its segment.
    // Precondition: holds(seq). O(1) for a reader at the same place as the one before it.
    [[nodiscard]] Slice slice_from(Seq seq, std::uint32_t sent) const noexcept;

    // Where a reader stands that began `slice` at (seq, sent) and got `taken` bytes of it.
    struct Place {
        Seq seq = 0;
        std::uint32_t sent = 0;
    };
    [[nodiscard]] Place place_after(const Slice& slice, Place from, std::size_t taken) const noexcept;

    // Retires every segment all of whose records are below `needed`.
    void trim(Seq needed) noexcept;
    // Forgets all records (first() becomes next()). Keeps the newest segment for reuse when it was
    // never sent by reference and is not large; gives the rest back.
    void drop_all() noexcept;
    // drop_all() and no segment is kept: a quiet log holds nothing.
    void release() noexcept;

    // For the pool only: gives the oldest segment back, whatever it holds.
    void retire_oldest() noexcept;

    [[nodiscard]] std::size_t held_bytes() const noexcept;  // memory of its segments

  private:
    // The implementer chooses. sizeof(Log) <= 112.
    Seq first_ = 1;
    Seq next_ = 1;
};

}  // namespace ringcast::feed
