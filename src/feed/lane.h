#pragma once

// One encoding of a topic on one shard: its log, and the cursors of everyone who reads it.
//
// A cursor is 16 bytes of a 24-byte row in one array, in order of subscription: a fan-out walks the
// array once and touches nothing else of a reader that has everything. Cost per record: none until
// the walk; a reader k records behind costs one slice.
//
// A cursor stands between records (sent == 0) or inside one it has begun to send. Inside, it must
// finish that record before anything else goes to that reader: a frame is never cut. If the record
// is retired first, the rest of it is handed to LaneSink::save_tail (copied there) and the cursor
// moves on to the next record.
//
// Invariants:
// - row.seq <= log().next(). A row inside a record is never below log().first(); a row between
//   records may be: it is lapped, and its owner must tell the reader (gap) and skip_to().
// - behind() is the number of rows below log().next(), lapped ones included.
//
// One thread owns a Lane.

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/time.h"
#include "feed/log.h"

namespace ringcast::feed {

using Reader = std::uint32_t;  // whoever reads: the owner's number for it (a connection index)

struct Subscriber {
    Seq seq = 0;             // the next record
    std::uint32_t sent = 0;  // bytes of it already sent
    Reader reader = 0;
    std::uint32_t link = 0;  // the owner's: which of the reader's subscriptions this is
};

struct LaneSink {
    // `rest` must reach `reader` before any other byte. Copy it: it is gone after the call. Must
    // not call back into any lane of the pool.
    void (*save_tail)(void* context, Reader reader, Bytes rest) noexcept = nullptr;
    void* context = nullptr;
};

class Lane {
  public:
    // Where a fan-out over the rows stands, and whether the lane is on its owner's list: the
    // owner's, kept here so that it is found with the lane. While it is queued, whoever comes or
    // leaves makes all rows due again, so that none is passed over.
    struct Walk {
        std::uint32_t at = 0;    // the row to visit next
        std::uint32_t left = 0;  // rows still to visit
        bool queued = false;
        bool fresh = false;  // queued, and no row was visited since
        Nanos interval = 0;  // how long records are gathered before a walk begins; 0: not at all
        Nanos again_at = 0;  // there are records since it began: when the next one may; 0: none
    };
    Walk walk;

    Lane(SegmentPool& pool, Seq next, std::size_t log_size_max, LaneSink sink) noexcept;
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    ~Lane() = default;  // what rows still owed their readers is lost: unsubscribe() first

    // Records that everybody has are kept for those who come back: the newest `records`, of these
    // what lies in `bytes` of segments, and all of it only as long as the pool need not take it.
    // None at first.
    struct History {
        std::uint64_t records = 0;
        std::size_t bytes = 0;
    };
    void keep_history(const History& history) noexcept;
    // History ends here (it is too old): a reader that is still behind gets what it wants all the
    // same. seq <= log().next().
    void forget_before(Seq seq) noexcept;
    // The first record that somebody who comes back may begin with; log().next() when there is
    // none.
    [[nodiscard]] Seq recoverable_from() const noexcept;

    // A new cursor at `from` (log().first() <= from <= log().next()); its row number.
    [[nodiscard]] std::uint32_t subscribe(Reader reader, std::uint32_t link, Seq from) noexcept;
    // Removes row `row`; the last row moves into its place (look at row(row).reader and .link when
    // row < size() afterwards). A cursor inside a record hands its rest to save_tail first.
    void unsubscribe(std::uint32_t row) noexcept;

    // The reader's own number of this subscription has changed.
    void relink(std::uint32_t row, std::uint32_t link) noexcept { rows_[row].link = link; }

    // Room for one record; then commit(), before any other lane of the pool reserves. When nobody
    // is behind, earlier records are dropped first, so steady traffic stays in the same hot memory.
    [[nodiscard]] MutBytes reserve(std::size_t size) noexcept;
    Seq commit() noexcept;

    // What row `row` should get next; empty when it has everything or is lapped.
    [[nodiscard]] Slice peek(std::uint32_t row) const noexcept {
        const Subscriber& at = rows_[row];
        if (!log_.holds(at.seq)) return {};
        return log_.slice_from(at.seq, at.sent);
    }
    // `taken` bytes of `slice` (just peeked for this row) went out; `by_reference`: pages may sit
    // in a socket queue.
    void advance(std::uint32_t row,
                 const Slice& slice,
                 std::size_t taken,
                 bool by_reference) noexcept;
    // The reader fell off the tail: what it wanted is gone.
    [[nodiscard]] bool lapped(std::uint32_t row) const noexcept {
        return rows_[row].seq < log_.first();
    }
    // Moves a cursor that stands between records forward to `seq` (<= log().next()).
    void skip_to(std::uint32_t row, Seq seq) noexcept;

    [[nodiscard]] const Subscriber& row(std::uint32_t row) const noexcept { return rows_[row]; }
    [[nodiscard]] std::uint32_t size() const noexcept {
        return static_cast<std::uint32_t>(rows_.size());
    }
    [[nodiscard]] std::uint32_t behind() const noexcept { return behind_; }  // cursors below next()
    [[nodiscard]] const Log& log() const noexcept { return log_; }
    // Nobody is behind: gives all memory of the log back but what history keeps.
    void release_if_drained() noexcept;

  private:
    static void on_retire(void* context, Seq first, Seq end) noexcept;
    void save_tails(Seq first, Seq end) noexcept;
    [[nodiscard]] Seq slowest() const noexcept;
    [[nodiscard]] Seq history_begin() const noexcept;
    void check_counts() const noexcept;

    Log log_;
    LaneSink sink_;
    std::vector<Subscriber> rows_;
    std::uint32_t behind_ = 0;
    std::uint32_t inside_ = 0;  // rows with sent > 0: most retirements need not look at any row
    History history_;
    Seq history_floor_ = 0;  // what is older is forgotten
};

inline void Lane::advance(std::uint32_t row,
                          const Slice& slice,
                          std::size_t taken,
                          bool by_reference) noexcept {
    if (taken == 0) return;
    Subscriber& at = rows_[row];
    const Log::Place place = log_.place_after(slice, {.seq = at.seq, .sent = at.sent}, taken);
    RC_CHECK(place.seq >= at.seq);
    RC_CHECK(place.seq <= log_.next());
    inside_ +=
        static_cast<std::uint32_t>(place.sent != 0) - static_cast<std::uint32_t>(at.sent != 0);
    behind_ -= static_cast<std::uint32_t>(place.seq == log_.next());
    at.seq = place.seq;
    at.sent = place.sent;
    if (by_reference) slice.segment->by_reference = true;
}

}  // namespace ringcast::feed
