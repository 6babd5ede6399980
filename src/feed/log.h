#pragma once

// The broadcast log of one lane: what was published, newest last, already encoded for the wire.
//
// Records lie back to back in segments of the shard's pool, so a reader that is many records behind
// is still served by one contiguous slice. A record never spans two segments and never changes once
// it is committed.
//
// A record leaves when its segment is retired: because the pool took it (memory), because the log
// grew past its own limit, or because nobody needs it (trim, drop_all). Before the bytes go the log
// calls RetireHook, so that whoever stands in the middle of a record can save the rest of it.
//
// Invariants:
// - The log holds exactly the records [first(), next()), and its segments hold exactly these.
// - Segments are in the order of their records. One without a record is the newest, kept for reuse,
//   or was opened by a reserve() that another reserve() forgot.
// - Bytes that may be in a socket queue by reference are never written: records are only ever added
//   behind them, and an old segment is refilled only if it was never sent from by reference.
//
// One thread owns a Log. Records are opaque here: this room knows nothing of WebSocket.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "feed/pool.h"

namespace ringcast::feed {

// Whole records, the first one perhaps without its begin, contiguous. Valid until the next
// reserve(), trim(), drop_all() or release() of any log of the pool. Where the log keeps only the
// latest of each key (feed/compact.h) numbers may be left out, before the first one too.
struct Slice {
    Bytes bytes;
    Seq begin = 0;                  // the first record in `bytes`
    Seq end = 0;                    // after the last one
    std::int64_t file_offset = -1;  // of bytes.data() in the arena
    Segment* segment = nullptr;
    bool latest = false;  // only what is the latest of its key
    bool packed = false;  // in the lane's other form (feed/lane.h)
};

class Log {
  public:
    // Called before the records [first, end) go; all of them can still be read. It must not change
    // this log or any other of the pool.
    struct RetireHook {
        void (*call)(void* context, Seq first, Seq end) noexcept = nullptr;
        void* context = nullptr;
    };

    // Starts empty; the first record will be number `next`. `size_max`: bytes of segments held at
    // most; exceeded only by a single record that needs more.
    Log(SegmentPool& pool, Seq next, std::size_t size_max, RetireHook hook) noexcept;
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;
    ~Log();  // gives the memory back without a word to the hook

    // Room for one record of exactly `size` bytes; fill it, then commit(), before any other log of
    // the pool reserves. The room is lost when reserve() is called again without commit().
    // Precondition: 0 < size <= record_size_max().
    [[nodiscard]] MutBytes reserve(std::size_t size) noexcept;
    Seq commit() noexcept;  // the number of the record
    [[nodiscard]] std::size_t record_size_max() const noexcept { return record_size_max(*pool_); }
    // The same for any log of `pool`.
    [[nodiscard]] static std::size_t record_size_max(const SegmentPool& pool) noexcept {
        return pool.segment_size_max() - end_size;
    }
    // Whether reserve(size) finds room in the newest segment, or opens one (and may retire others).
    [[nodiscard]] bool has_room(std::size_t size) const noexcept {
        return newest_ != nullptr && fits(*newest_, size);
    }

    [[nodiscard]] Seq first() const noexcept { return first_; }
    [[nodiscard]] Seq next() const noexcept { return next_; }
    [[nodiscard]] bool holds(Seq seq) const noexcept { return first_ <= seq && seq < next_; }

    // Everything from byte `sent` of record `seq` to the end of its segment.
    // Precondition: holds(seq), and the record has more than `sent` bytes.
    // O(1) for a reader at the same place as the one before it.
    [[nodiscard]] Slice slice_from(Seq seq, std::uint32_t sent) const noexcept {
        RC_CHECK(holds(seq));
        if (memo_segment_ == nullptr || memo_seq_ != seq) locate(seq);
        Segment& segment = *memo_segment_;
        const std::uint32_t begin = memo_begin_ + sent;
        RC_CHECK(begin < segment.used);
        RC_DCHECK(begin < end_of(segment, static_cast<std::uint32_t>(seq - segment.first)));
        return Slice{.bytes = Bytes(segment.bytes + begin, segment.used - begin),
                     .begin = seq,
                     .end = segment.first + segment.count,
                     .file_offset = pool_->offset_of(segment.bytes + begin),
                     .segment = &segment};
    }
    // Only what is left of record `seq` itself. Same precondition.
    [[nodiscard]] Bytes rest_of(Seq seq, std::uint32_t sent) const noexcept;

    // Where a reader stands that began `slice` at `from` and got `taken` bytes of it.
    struct Place {
        Seq seq = 0;
        std::uint32_t sent = 0;
    };
    [[nodiscard]] Place place_after(const Slice& slice,
                                    Place from,
                                    std::size_t taken) const noexcept {
        RC_CHECK(taken <= slice.bytes.size());
        if (taken == slice.bytes.size()) return {.seq = slice.end, .sent = 0};
        return place_within(slice, from, taken);
    }

    // Retires every segment all of whose records are below `needed`, and takes the backlog that
    // remains as the measure for the next segment.
    void trim(Seq needed) noexcept;
    // Forgets all records (first() becomes next()). Keeps the newest segment for reuse when it was
    // never sent by reference and is not large; gives the rest back, and takes what all records
    // took as the measure for the next segment.
    void drop_all() noexcept;
    // drop_all() and no segment is kept: a quiet log holds nothing.
    void release() noexcept;

    // No segment above `size` from now on (a record that needs more gets it), so that what is kept
    // can be cut as finely as that.
    void limit_segments(std::size_t size) noexcept {
        segment_max_ = static_cast<std::uint32_t>(
            std::min<std::size_t>(std::max(size, page_size), grown_size_max));
    }
    // Of all records those that lie in the newest segments of `size` bytes together, or in the
    // newest one: the first of them.
    [[nodiscard]] Seq first_within(std::size_t size) const noexcept;

    // For the pool only: gives the oldest segment back, whatever it holds.
    void retire_oldest() noexcept;

    [[nodiscard]] std::size_t held_bytes() const noexcept { return held_; }  // its segments
    [[nodiscard]] SegmentPool& pool() const noexcept { return *pool_; }

  private:
    static constexpr std::size_t end_size = sizeof(std::uint32_t);
    // A log that is not drained doubles its segments up to this, beyond which a larger slice gains
    // nothing.
    static constexpr std::uint32_t grown_size_max = 4 * 1024 * 1024;

    // Where record number `index` of the segment stops; the ends lie at the segment's back.
    [[nodiscard]] static std::uint32_t end_of(const Segment& segment,
                                              std::uint32_t index) noexcept {
        std::uint32_t end = 0;
        std::memcpy(&end, segment.bytes + segment.size - (index + 1) * end_size, end_size);
        return end;
    }
    [[nodiscard]] static bool fits(const Segment& segment, std::size_t size) noexcept {
        return segment.used + size + (segment.count + std::size_t{1}) * end_size <= segment.size;
    }
    // The memory of the records is given back; first_ is the caller's business.
    void give_back_oldest() noexcept;
    void open_segment(std::size_t size_min) noexcept;
    void locate(Seq seq) const noexcept;
    [[nodiscard]] Place place_within(const Slice& slice,
                                     Place from,
                                     std::size_t taken) const noexcept;

    SegmentPool* pool_;
    RetireHook hook_;
    Seq first_;
    Seq next_;
    Segment* oldest_ = nullptr;
    Segment* newest_ = nullptr;
    std::size_t size_max_;
    std::size_t held_ = 0;
    std::uint32_t reserved_ = 0;  // bytes of the record between reserve() and commit()
    std::uint32_t open_size_;     // how large the next segment should be
    std::uint32_t segment_max_ = grown_size_max;
    // The answer of the last locate(): record memo_seq_ begins at memo_begin_ of memo_segment_. It
    // holds while the segment does, since records never move and a slice's end is read afresh.
    mutable Seq memo_seq_ = 0;
    mutable Segment* memo_segment_ = nullptr;
    mutable std::uint32_t memo_begin_ = 0;
};

static_assert(sizeof(Log) <= 112);  // one or two a topic, and there are a million topics

}  // namespace ringcast::feed
