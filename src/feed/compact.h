#pragma once

// The log of a topic with keys: the latest record of each key, in the order of last update.
//
// Records lie as in feed/log.h, and each has a key; a record supersedes the earlier one of its key.
// The newest part, the *fresh window*, still has what was superseded: whoever reads there gets
// everything as one slice, as from any log. Behind it a reader gets only the latest of each key, as
// runs of records without a hole between them. So one cursor serves those who are fast, those who
// are slow (they skip what is superseded and are never in anybody's way), those who come back, and
// those who want the whole state (from the number 1).
//
// Where holes are many, runs are short, and a send of each would cost more than its bytes. So short
// ones are copied together (*gathered*), some 64 KiB at a time, for all who stand there, until a
// record comes. Gathered bytes are 256 KiB at most, and no more than the state, from the heap, and
// only while somebody reads behind the window; past that runs go out as they are.
//
// What is superseded behind the window leaves holes. A sweep goes round from the oldest segment to
// the window, and copies what is live of it to new segments while holes and unused room take more
// than half of the memory. A copied byte pays for a byte freed, so the cost of an append stays
// O(1) in the mean, and in the worst case it is that of copying one segment of 256 KiB. A segment
// that is nearly full, and a record of 64 KiB and more, which has a segment alone, stays in place.
// Held are at most about twice the live bytes, the window, and 16 KiB.
//
// A *tombstone* is a record that says that its key is gone. It is kept like the others, but only
// so many of them: when an older one is forgotten, whoever is still to read it is told (Hooks), and
// who comes back from before it has to start with the whole state (recoverable()).
//
// Segments are pinned (feed/pool.h): no other log can take the state, but an append may be refused.
// Before it is, the window is given up and the sweep goes on until eight ninths are live; and a
// quarter of the room is left to those who replace or delete what is there.
//
// Invariants:
// - Segments are in the order of their records, and records in the order of their numbers, which
//   may leave out some. The newest record is always live; a record that was superseded by one
//   outside of the window may be gone.
// - A record is the latest of its key exactly if its number is that of the key in the table.
// - Committed bytes never change. A record that moves is copied, and the place that it leaves goes
//   back to the pool, which punches what was sent by reference.
//
// One thread owns a CompactLog.

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "feed/key_table.h"
#include "feed/log.h"
#include "feed/pool.h"

namespace ringcast::feed {

class CompactLog {
  public:
    struct Limits {
        std::size_t keys_max = 0;           // that are not gone
        std::size_t bytes_max = 0;          // of their latest records
        std::size_t tombstones_max = 1024;  // at least 1
    };
    // Called within reserve(), commit() and settle(). Neither may change any log of the pool.
    struct Hooks {
        // Before those of the records [first, end) go that are not the latest of their key; all of
        // them can still be read.
        void (*leaving)(void* context, Seq first, Seq end) noexcept = nullptr;
        // Tombstones up to `last` have been forgotten.
        void (*forgotten)(void* context, Seq last) noexcept = nullptr;
        void* context = nullptr;
    };
    enum class Refusal : std::uint8_t { none, too_many_keys, bytes_full, no_memory };
    struct Write {
        Bytes key;             // at most key_size_max bytes, valid until commit()
        std::size_t size = 0;  // of the record, at least 1
        bool tombstone = false;
        Seq seq = 0;  // its number, next() or above; 0: next()
    };
    struct Room {
        MutBytes bytes;  // exactly as many as asked for; none if refused
        Refusal refusal = Refusal::none;
    };
    struct Record {
        Seq seq = 0;
        Bytes key;
        Bytes bytes;
        bool tombstone = false;
    };

    // Starts empty: the first record will be number `next`, what was before is not known here.
    // `hash_seed`: the process's (base/hash.h).
    CompactLog(SegmentPool& pool,
               Seq next,
               const Limits& limits,
               std::uint64_t hash_seed,
               const Hooks& hooks) noexcept;
    CompactLog(const CompactLog&) = delete;
    CompactLog& operator=(const CompactLog&) = delete;
    ~CompactLog();  // gives the memory back without a word to the hooks

    // Room for one record; fill it, then commit(). The room is lost when reserve() is called again,
    // or settle(). If it is refused no record changes. A tombstone is refused only for memory.
    [[nodiscard]] Room reserve(const Write& write) noexcept;
    Seq commit() noexcept;
    // Nobody is behind: what is superseded is needed no more. Gives memory back, some at a time.
    void settle() noexcept;

    [[nodiscard]] Seq next() const noexcept { return next_; }
    // The newest record, if there is any, is number next() - 1.
    [[nodiscard]] bool empty() const noexcept { return keys_.count() == 0; }
    // From here on everything is there, superseded records too.
    [[nodiscard]] Seq fresh_first() const noexcept { return fresh_first_; }
    // Whether one who has everything below `from` can go on from there and miss no key's end.
    [[nodiscard]] bool recoverable(Seq from) const noexcept {
        return forgotten_ < from && from <= next_;
    }
    // For a copy of another log's state: what was forgotten there.
    void set_forgotten(Seq last) noexcept { forgotten_ = last; }
    [[nodiscard]] Seq forgotten() const noexcept { return forgotten_; }

    // From byte `sent` of record `seq`, or, if `sent` is 0, from the first record from `seq` on. If
    // `every`: to the end of its segment. Else only what is the latest of its key, but for the
    // record that was begun.
    // Precondition: not empty; seq < next(); if `sent` is not 0, record `seq` is there and longer.
    // O(1) for a reader at the same place as the one before it. Gathered bytes do not lie in the
    // pool (file_offset -1, no segment), and the slice holds until the next reserve() or settle().
    [[nodiscard]] Slice slice_from(Seq seq, std::uint32_t sent, bool every) const noexcept {
        RC_CHECK(seq < next_);
        const bool inside = sent != 0;
        if (!memo_.valid || memo_.seq != seq || memo_.every != every || memo_.inside != inside) {
            locate(seq, inside, every);
        }
        const bool is_short = memo_.end - memo_.begin < gather_min && memo_.last + 1 != next_;
        if (is_short && !every && !inside) [[unlikely]] {
            if (const Slice slice = gathered(memo_.first); !slice.bytes.empty()) return slice;
        }
        const std::uint32_t begin = memo_.begin + sent;
        RC_CHECK(begin < memo_.end);
        const std::byte* place = memo_.segment->bytes + begin;
        return Slice{.bytes = Bytes(place, memo_.end - begin),
                     .begin = memo_.first,
                     .end = memo_.last + 1,
                     .file_offset = pool_->offset_of(place),
                     .segment = memo_.segment,
                     .latest = !every};
    }
    // Only what is left of record `seq` itself, which is there.
    [[nodiscard]] Bytes rest_of(Seq seq, std::uint32_t sent) const noexcept;
    // Where a reader stands that had `sent` bytes of the first record of `slice`, and took `taken`
    // of `slice`.
    [[nodiscard]] Log::Place place_after(const Slice& slice,
                                         std::uint32_t sent,
                                         std::size_t taken) const noexcept;
    // Whether record `seq`, which is there, is the latest of its key.
    [[nodiscard]] bool is_latest(Seq seq) const noexcept;
    // The first record from `seq` on that is the latest of its key. Same precondition as for
    // slice_from(). To copy the state: go on from its seq + 1.
    [[nodiscard]] Record latest_from(Seq seq) const noexcept;

    [[nodiscard]] std::size_t record_size_max() const noexcept {
        return pool_->pinned_size_max() - entry_size;
    }
    [[nodiscard]] std::size_t keys() const noexcept { return keys_.count() - keys_.tombstones(); }
    [[nodiscard]] std::size_t tombstones() const noexcept { return keys_.tombstones(); }
    [[nodiscard]] std::size_t live_bytes() const noexcept { return live_bytes_; }  // of keys()
    [[nodiscard]] std::size_t held_bytes() const noexcept { return held_; }        // its segments
    [[nodiscard]] std::size_t heap_bytes() const noexcept {                        // counted
        return keys_.heap_bytes() + gathered_.bytes.capacity();
    }
    // Bytes that sweeps have copied so far.
    [[nodiscard]] std::uint64_t copied_bytes() const noexcept { return copied_; }
    // That everything adds up. It visits all records: for tests.
    void check() const noexcept;

  private:
    // What is known of a record, at the back of its segment.
    struct Entry {
        Seq seq = 0;
        std::uint32_t end = 0;  // where the record stops
        KeyId key = 0;
    };
    static constexpr std::size_t entry_size = sizeof(Entry);
    static_assert(entry_size == 16);

    // The answer of the last locate(): a reader at `seq` gets the bytes [begin, end) of `segment`,
    // the records `first` to `last`. It holds until something is superseded or moves; the segment
    // is where the next search may begin.
    struct Memo {
        bool valid = false;
        bool every = false;
        bool inside = false;
        std::uint32_t index = 0;  // of `first`
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        Seq seq = 0;
        Seq first = 0;
        Seq last = 0;
        Segment* segment = nullptr;
    };

    // Live records, back to back, in stretches that do not overlap; none is written over before all
    // are forgotten.
    struct Gathered {
        struct Stretch {
            Seq first = 0;
            std::uint32_t begin = 0;  // the entries [begin, end)
            std::uint32_t end = 0;
        };
        std::vector<std::byte> bytes;  // never grows past what was reserved
        std::vector<Entry> entries;    // where the records stop in `bytes`
        std::vector<Stretch> stretches;

        void clear() noexcept {
            bytes.clear();
            entries.clear();
            stretches.clear();
        }
    };
    static constexpr std::uint32_t gather_min = 16 * 1024;  // a longer run is worth its own send
    static constexpr std::size_t gather_size = std::size_t{64} * 1024;
    static constexpr std::size_t gather_max = 4 * gather_size;

    // How much the segments behind the window may hold in vain: with some slack, so that a small
    // state is not copied again and again; without; or little, where there is no other memory.
    enum class Pressure : std::uint8_t { none, quiet, full };

    [[nodiscard]] static Entry entry_of(const Segment& segment, std::uint32_t index) noexcept;
    [[nodiscard]] static std::uint32_t begin_of(const Segment& segment,
                                                std::uint32_t index) noexcept {
        return index == 0 ? 0 : entry_of(segment, index - 1).end;
    }
    [[nodiscard]] static Seq last_of(const Segment& segment) noexcept {
        return entry_of(segment, segment.count - 1).seq;
    }
    [[nodiscard]] static std::uint32_t lower_bound(const Segment& segment, Seq seq) noexcept;
    [[nodiscard]] static bool fits(const Segment& segment, std::size_t size) noexcept {
        return segment.used + size + (segment.count + std::size_t{1}) * entry_size <= segment.size;
    }
    static void add(Segment& segment, Seq seq, KeyId key, std::uint32_t size) noexcept;
    // What its live records take, wherever they lie.
    [[nodiscard]] static std::size_t need_of(const Segment& segment) noexcept {
        return segment.live + segment.live_count * entry_size;
    }
    [[nodiscard]] static std::size_t filled(const Segment& segment) noexcept {
        return segment.used + segment.count * entry_size;
    }
    [[nodiscard]] bool is_live(const Entry& entry) const noexcept {
        return keys_[entry.key].seq == entry.seq;
    }
    [[nodiscard]] bool is_young(const Segment& segment) const noexcept {
        return fresh_ != nullptr && segment.first >= fresh_->first;
    }
    [[nodiscard]] bool is_large(const Segment& segment) const noexcept {
        return segment.count == 1 && segment.used > large_min_;
    }
    [[nodiscard]] bool stays(const Segment& segment, Pressure pressure) const noexcept;
    [[nodiscard]] Refusal refusal_of(const Write& write, const Key* former) const noexcept;
    [[nodiscard]] bool has_room(std::size_t size) const noexcept;
    [[nodiscard]] bool open_segment(std::size_t size, bool grows) noexcept;
    void link_before(Segment& segment, Segment* newer) noexcept;
    void give_back(Segment& segment) noexcept;
    void drop(Segment& segment) noexcept;
    void drop_empty() noexcept;
    void supersede(const Key& key) noexcept;
    void count_heap() noexcept;
    void forget_tombstones() noexcept;
    void age_oldest_fresh() noexcept;
    [[nodiscard]] bool wasteful(Pressure pressure) const noexcept;
    void sweep(std::size_t budget, Pressure pressure) noexcept;
    [[nodiscard]] bool move_out(Segment& from, Pressure pressure) noexcept;
    void undo_move(Segment& from, Segment* output, const Segment& before) noexcept;
    [[nodiscard]] std::size_t output_size(const Segment& from,
                                          std::size_t need,
                                          Pressure pressure) const noexcept;
    void locate(Seq seq, bool inside, bool every) const noexcept;
    [[nodiscard]] Segment* segment_of(Seq seq) const noexcept;
    [[nodiscard]] Slice gathered(Seq first) const noexcept;
    [[nodiscard]] std::uint32_t gather(Seq first, Seq end) const noexcept;
    [[nodiscard]] std::uint32_t gathered_begin(std::uint32_t entry) const noexcept {
        return entry == 0 ? 0 : gathered_.entries[entry - 1].end;
    }
    [[nodiscard]] Log::Place place_in_gathered(const Slice& slice,
                                               std::size_t taken) const noexcept;

    SegmentPool* pool_;
    Limits limits_;
    Hooks hooks_;
    KeyTable keys_;
    Seq next_;
    Seq forgotten_;    // the newest tombstone that is there no more
    Seq fresh_first_;  // after the newest record behind the window
    Segment* oldest_ = nullptr;
    Segment* newest_ = nullptr;
    Segment* fresh_ = nullptr;   // the oldest of the window
    Segment* sweep_ = nullptr;   // what the sweep comes to next; null: it begins anew
    Segment* output_ = nullptr;  // just before it: where the sweep copies to
    std::size_t window_;         // bytes
    std::size_t output_max_;
    std::size_t large_min_;  // a larger record has a segment alone
    std::size_t open_size_;  // how large the next segment should be
    std::size_t held_ = 0;
    std::size_t counted_ = 0;  // of the heap, by the pool
    std::size_t live_bytes_ = 0;
    std::size_t fresh_filled_ = 0;  // of the segments of the window
    // Of the segments behind the window that are not large: their sizes, and what is live of them.
    std::size_t old_held_ = 0;
    std::size_t old_need_ = 0;
    std::uint64_t copied_ = 0;
    Write reserved_;  // between reserve() and commit(); size 0: none
    mutable Memo memo_;
    mutable Gathered gathered_;
};

}  // namespace ringcast::feed
