#pragma once

// One encoding of a topic on one shard: its log, and the cursors of everyone who reads it.
//
// The log is one of two: what was published (feed/log.h), or the latest record of each key
// (feed/compact.h). Those who read a lane need not know which, but that of the second kind a slice
// may begin behind the cursor. A reader in the fresh window gets every record; one that fell behind
// it, or begins at 1, gets the latest of each key until it has reached the head.
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
// Some readers confirm what they got (feed/ack_window.h). What they have not is kept for them, and
// they get nothing beyond their window's limit.
//
// Some readers want the same records in another form: packed, which here is only other bytes under
// the same numbers. While there are such readers a second log has them from where the first of them
// began, and whatever it does not have any more they get as everybody does, since a cursor means
// the same in both. Only inside a record the form is settled (Subscriber::inside_packed).
//
// Invariants:
// - row.seq <= log().next(). A row inside a record is never below log().first(); a row between
//   records may be: it is lapped, and its owner must tell the reader (gap) and skip_to(). So is
//   one with keys when it has not seen a tombstone that is forgotten.
// - behind() is the number of rows below log().next(), lapped ones included.
//
// One thread owns a Lane.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/plant.h"
#include "base/time.h"
#include "feed/ack_window.h"
#include "feed/compact.h"
#include "feed/log.h"

namespace ringcast::feed {

using Reader = std::uint32_t;  // whoever reads: the owner's number for it (a connection index)

struct Subscriber {
    Seq seq = 0;             // the next record
    std::uint32_t sent = 0;  // bytes of it already sent
    Reader reader = 0;
    std::uint32_t link = 0;  // the owner's: which of the reader's subscriptions this is
    // Of lanes with keys: gets the latest of each key, for good or until it is at the head; and has
    // not seen what is forgotten.
    bool latest_only : 1 = false;
    bool catches_up : 1 = false;
    bool lost : 1 = false;
    bool held : 1 = false;           // the owner's: gets nothing for now
    bool limited : 1 = false;        // confirms what it gets
    bool packed : 1 = false;         // wants the packed form
    bool inside_packed : 1 = false;  // `sent` bytes of that; never where sent is 0
};

static_assert(sizeof(Subscriber) == 24);

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
    // Over a log that keeps the latest record of each key.
    Lane(SegmentPool& pool,
         Seq next,
         const CompactLog::Limits& limits,
         std::uint64_t hash_seed,
         LaneSink sink) noexcept;
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

    // A new cursor at `from` (first() <= from <= next()); its row number. With keys, at 1: the
    // latest of all keys first; or elsewhere, if compact().recoverable(from).
    [[nodiscard]] std::uint32_t subscribe(Reader reader, std::uint32_t link, Seq from) noexcept;
    // With keys: this one gets the latest of each key only, wherever it is.
    void set_latest_only(std::uint32_t row, bool latest_only) noexcept {
        rows_[row].latest_only = latest_only;
    }
    void hold(std::uint32_t row, bool held) noexcept { rows_[row].held = held; }
    // Removes row `row`; the last row moves into its place (look at row(row).reader and .link when
    // row < size() afterwards). A cursor inside a record hands its rest to save_tail first.
    void unsubscribe(std::uint32_t row) noexcept;

    // Who confirms what it got, once somebody does; null before. Not with keys.
    [[nodiscard]] AckWindow* acks() const noexcept { return acks_.get(); }
    AckWindow& open_acks() noexcept;
    void close_acks() noexcept { acks_.reset(); }  // precondition: nobody confirms any more
    // Row `row` confirms from now on (AckWindow::ask), or is not held to its window any more.
    std::vector<Seq> ask_acks(std::uint32_t row, std::span<const Seq> open, Tick now) noexcept;
    void stop_acks(std::uint32_t row) noexcept;
    void lift_limit(std::uint32_t row) noexcept { rows_[row].limited = false; }

    // Row `row`, between records, gets the packed form from now on, where there is one. Until the
    // last such reader leaves each commit() must be followed by append_packed().
    // `log_size_max`: of the packed log, if this is the first.
    void read_packed(std::uint32_t row, std::size_t log_size_max) noexcept;
    [[nodiscard]] bool packs() const noexcept { return packed_ != nullptr; }
    // The packed form of the record that was just committed. It must not lie in the pool.
    void append_packed(Bytes record) noexcept;
    // The record that was committed last, all of it.
    [[nodiscard]] Bytes newest() const noexcept {
        return keyed() ? compact_->rest_of(next_ - 1, 0) : log_.rest_of(next_ - 1, 0);
    }

    // The reader's own number of this subscription has changed.
    void relink(std::uint32_t row, std::uint32_t link) noexcept { rows_[row].link = link; }

    // Room for one record; then commit(), before any other lane of the pool reserves. When nobody
    // is behind, earlier records are dropped first, so steady traffic stays in the same hot memory.
    [[nodiscard]] MutBytes reserve(std::size_t size) noexcept;
    // The same with keys.
    [[nodiscard]] CompactLog::Room reserve(const CompactLog::Write& write) noexcept {
        RC_CHECK(keyed());
        check_counts();
        if (packs()) clear_packed(write.size);
        return compact_->reserve(write);
    }
    Seq commit() noexcept;

    // What row `row` should get next; empty when it has everything, is lapped, or has to confirm
    // something first.
    [[nodiscard, gnu::always_inline]] inline Slice peek(std::uint32_t row) const noexcept {
        const Subscriber& at = rows_[row];
        if (at.packed && reads_packed(at)) [[unlikely]] {
            return peek_packed(row);
        }
        if (log_.holds(at.seq)) [[likely]] {
            const Slice slice = log_.slice_from(at.seq, at.sent);
            return at.limited ? cut_at_limit(row, slice) : slice;
        }
        return keyed() ? peek_latest(at) : Slice{};
    }
    // What is left of the record in which row `row` stands.
    [[nodiscard]] Bytes rest_of(std::uint32_t row) const noexcept {
        const Subscriber& at = rows_[row];
        if (at.inside_packed) return packed_->rest_of(at.seq, at.sent);
        return keyed() ? compact_->rest_of(at.seq, at.sent) : log_.rest_of(at.seq, at.sent);
    }
    // `taken` bytes of `slice` (just peeked for this row) went out; `by_reference`: pages may sit
    // in a socket queue.
    void advance(std::uint32_t row,
                 const Slice& slice,
                 std::size_t taken,
                 bool by_reference) noexcept;
    // The reader fell off the tail: what it wanted is gone. With keys: it does not know of keys
    // that are gone, and has to begin with the latest of all keys anew.
    [[nodiscard]] bool lapped(std::uint32_t row) const noexcept {
        const Subscriber& at = rows_[row];
        if (at.seq < log_.first()) return !reads_packed(at);
        return at.lost && at.sent == 0;
    }
    // Moves a cursor that stands between records forward to `seq` (<= next()).
    void skip_to(std::uint32_t row, Seq seq) noexcept;

    // With keys: lets a cursor that stands between records begin with the latest of all keys anew.
    void restart(std::uint32_t row) noexcept;

    [[nodiscard]] const Subscriber& row(std::uint32_t row) const noexcept { return rows_[row]; }
    [[nodiscard]] std::uint32_t size() const noexcept {
        return static_cast<std::uint32_t>(rows_.size());
    }
    [[nodiscard]] std::uint32_t behind() const noexcept { return behind_; }  // cursors below next()
    [[nodiscard]] bool keyed() const noexcept { return compact_ != nullptr; }
    // The number of the next record, and of the first that one may subscribe at.
    [[nodiscard]] Seq next() const noexcept { return next_; }
    [[nodiscard]] Seq first() const noexcept { return keyed() ? 1 : log_.first(); }
    [[nodiscard]] std::size_t held_bytes() const noexcept {
        return packed_bytes() + (keyed() ? compact_->held_bytes() : log_.held_bytes());
    }
    [[nodiscard]] std::size_t packed_bytes() const noexcept {
        return packs() ? packed_->held_bytes() : 0;
    }
    [[nodiscard]] const Log& log() const noexcept { return log_; }  // empty if keyed()
    [[nodiscard]] const CompactLog& compact() const noexcept {
        RC_CHECK(keyed());
        return *compact_;
    }
    // For a copy of another lane's state: what was forgotten there.
    void set_forgotten(Seq last) noexcept { compact_->set_forgotten(last); }
    // Nobody is behind: gives all memory of the log back but what history keeps; with keys, what
    // the latest records do not need.
    void release_if_drained() noexcept;

  private:
    static void on_retire(void* context, Seq first, Seq end) noexcept;
    static void on_forgotten(void* context, Seq last) noexcept;
    static void on_retire_packed(void* context, Seq first, Seq end) noexcept;
    // Whether its next byte is one of the packed form.
    [[nodiscard]] bool reads_packed(const Subscriber& at) const noexcept {
        if (at.sent != 0) return at.inside_packed;
        if (!at.packed || !packed_->holds(at.seq)) return false;
        // As in the plain form: with keys while every record is for it; who has yet to acknowledge
        // some, while these can be sent again.
        return keyed() ? gets_every(at) : !at.limited || at.seq >= log_.first();
    }
    [[nodiscard]] Slice peek_packed(std::uint32_t row) const noexcept;
    void clear_packed(std::size_t size) noexcept;
    void save_tail(Subscriber& at, Bytes rest) noexcept;
    [[nodiscard]] Slice cut_at_limit(std::uint32_t row, Slice slice) const noexcept;
    [[nodiscard]] Seq needed_from() const noexcept;
    [[nodiscard]] Slice peek_latest(const Subscriber& at) const noexcept;
    [[nodiscard]] Log::Place place_within(const Subscriber& at,
                                          const Slice& slice,
                                          std::size_t taken) const noexcept;
    [[nodiscard]] bool gets_every(const Subscriber& at) const noexcept;
    void save_tails(Seq first, Seq end) noexcept;
    [[nodiscard]] Seq slowest() const noexcept;
    [[nodiscard]] Seq slowest_packed() const noexcept;
    [[nodiscard]] Seq history_begin() const noexcept;
    [[nodiscard]] Seq keep_from() const noexcept {
        return acks_ == nullptr ? UINT64_MAX : acks_->keep_from();
    }
    void check_counts() const noexcept;

    Log log_;
    Seq next_;
    std::unique_ptr<CompactLog> compact_;  // then log_ is empty
    LaneSink sink_;
    std::vector<Subscriber> rows_;
    std::uint32_t behind_ = 0;
    std::uint32_t inside_ = 0;  // rows with sent > 0: most retirements need not look at any row
    History history_;
    Seq history_floor_ = 0;  // what is older is forgotten
    std::unique_ptr<AckWindow> acks_;
    std::unique_ptr<Log> packed_;       // while somebody reads it; ends where the other log does
    std::uint32_t packed_readers_ = 0;  // rows
};

inline void Lane::advance(std::uint32_t row,
                          const Slice& slice,
                          std::size_t taken,
                          bool by_reference) noexcept {
    if (taken == 0) return;
    Subscriber& at = rows_[row];
    Log::Place place = taken == slice.bytes.size() ? Log::Place{.seq = slice.end, .sent = 0}
                                                   : place_within(at, slice, taken);
    if (RC_PLANT(28) && slice.latest && place.sent == 0) place.seq = next_;
    RC_CHECK(place.seq >= at.seq);
    RC_CHECK(place.seq <= next_);
    inside_ +=
        static_cast<std::uint32_t>(place.sent != 0) - static_cast<std::uint32_t>(at.sent != 0);
    behind_ -= static_cast<std::uint32_t>(place.seq == next_);
    if (slice.latest) [[unlikely]] {
        at.catches_up = place.seq != next_;
    }
    at.seq = place.seq;
    at.sent = place.sent;
    at.inside_packed = slice.packed && place.sent != 0;
    if (by_reference) slice.segment->by_reference = true;
}

}  // namespace ringcast::feed
