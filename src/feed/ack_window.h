#pragma once

// What the readers of one lane have yet to confirm.
//
// A *demand* is a record whose publisher wants it confirmed. Demands have numbers of their own, in
// the order of the records, so what a reader owes is a place in that order and 64 bits behind it:
// no queue per reader, and the bytes stay in the log. At most `span` demands are out at a time; the
// reader gets nothing from the record of the next one on (limit()) until the oldest is confirmed.
//
// Confirming is cheap: O(log demands) to find the demand, a bit, and the place moves over what is
// confirmed. What is not confirmed in time is out again (look()), all of it that was out when its
// time began, each time after twice the wait; TCP has lost none of it, so it is the program behind
// the socket that is late. After some rounds without an answer the oldest are missed.
//
// A demand is dropped when every reader has confirmed or missed it; expire() makes all miss it.
// How many did is counted in it, and told when it goes.
//
// Rows are those of the lane: add_row() and remove_row() with each of its own. One thread owns an
// AckWindow.

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/wheel.h"
#include "feed/pool.h"

namespace ringcast::feed {

class AckWindow {
  public:
    static constexpr std::uint32_t span = 64;  // demands that are out at a time, for each reader
    // Memory for a reader, in a vector that doubles. A demand takes 16 bytes, and is a record of
    // many more that lies in the log: not counted in plans.
    static constexpr std::size_t row_bytes = 2 * 40;

    struct Policy {
        Tick timeout = 100;      // before a demand is out once more, at least 1
        Tick timeout_max = 100;  // of the later rounds, each twice as long as the one before
        std::uint32_t rounds = 5;
    };
    struct Demand {
        Seq seq = 0;
        Tick expires = 0;
        std::uint32_t missed = 0;  // by so many readers
    };
    enum class Due : std::uint8_t { nothing, again };

    explicit AckWindow(std::uint32_t rows) noexcept : rows_(rows) {}
    AckWindow(const AckWindow&) = delete;
    AckWindow& operator=(const AckWindow&) = delete;

    void add_row() noexcept { rows_.emplace_back(); }
    // The last row moves to `row`.
    void remove_row(std::uint32_t row) noexcept;
    [[nodiscard]] std::uint32_t size() const noexcept {
        return static_cast<std::uint32_t>(rows_.size());
    }

    // Record `seq`, newer than all demands so far.
    void demand(Seq seq, Tick expires) noexcept;
    // Records older than all demands, the oldest first: they were there before anybody asked.
    void demand_older(std::span<const Seq> seqs, Tick expires) noexcept;
    [[nodiscard]] const std::deque<Demand>& demands() const noexcept { return demands_; }

    // From now on the reader of this row, whose next record is `from`, confirms what is demanded.
    // `open`: older records, in order, that it has not confirmed either; they are out again at
    // `now`. Those that are no demands any more it has missed: returned.
    std::vector<Seq> ask(std::uint32_t row, Seq from, std::span<const Seq> open, Tick now) noexcept;
    // ... and from now on nothing any more, whatever it owes.
    void stop(std::uint32_t row) noexcept;
    [[nodiscard]] bool asks(std::uint32_t row) const noexcept { return rows_[row].asks; }
    [[nodiscard]] bool anyone_asks() const noexcept { return asking_ != 0; }

    // The first record that must wait until more is confirmed; UINT64_MAX: none.
    [[nodiscard]] Seq limit(std::uint32_t row) const noexcept;

    // The reader has had all records below `sent`. Confirms `seq`, or everything that is out up to
    // and including it; how many that were. 0: nothing there waited for it.
    std::uint32_t confirm(std::uint32_t row, Seq seq, bool all_before, Seq sent) noexcept;

    // To be called now and then. `again`: what each_late() has is to be sent once more, after which
    // sent_again() must be called (or not, if that has to wait).
    [[nodiscard]] Due look(std::uint32_t row, Seq sent, Tick now, const Policy& policy) noexcept;
    void sent_again(std::uint32_t row, Seq sent, Tick now, const Policy& policy) noexcept;
    // The reader goes on at `seq` without what is before: it is told so elsewhere.
    void skip(std::uint32_t row, Seq seq) noexcept;

    // Calls visit(seq) for what is out, or late, the oldest first, until it returns false.
    template <typename Visit>
    void each_open(std::uint32_t row, Seq sent, const Visit& visit) const noexcept {
        each_below(row, number_of(sent), visit);
    }
    template <typename Visit>
    void each_late(std::uint32_t row, const Visit& visit) const noexcept {
        each_below(row, rows_[row].mark, visit);
    }

    // What expires by `now`, and what is older than `first`, the log's oldest record, is missed by
    // all who have not confirmed it. Then drops what concerns nobody any more, and calls
    // tell(demand) for each of those that somebody missed. O(rows), and bounded: true if there is
    // more to do.
    template <typename Tell>
    [[nodiscard]] bool settle(Tick now, Seq first, const Tell& tell) noexcept {
        bool more = false;
        const std::uint64_t needed = miss_until(now, first, more);
        for (std::uint32_t left = drops_max; !demands_.empty() && first_number_ < needed; left--) {
            if (left == 0) return true;
            if (demands_.front().missed != 0) tell(demands_.front());
            known_from_ = demands_.front().seq + 1;
            demands_.pop_front();
            first_number_++;
        }
        return more;
    }
    // What is older is not needed for sending anything again; UINT64_MAX: nothing is.
    [[nodiscard]] Seq keep_from() const noexcept {
        return demands_.empty() ? UINT64_MAX : demands_.front().seq;
    }
    // Of the records from here on it is known which are demands.
    [[nodiscard]] Seq known_from() const noexcept { return known_from_; }
    void set_known_from(Seq seq) noexcept { known_from_ = seq; }

    [[nodiscard]] std::size_t held_bytes() const noexcept {
        return rows_.capacity() * sizeof(Row) + demands_.size() * sizeof(Demand);
    }

  private:
    // Of one settle(): demands that expire, each looked at for every row, and that are dropped.
    static constexpr std::uint32_t expiries_max = 64;
    static constexpr std::uint32_t drops_max = 4096;

    struct Row {
        std::uint64_t base = 0;   // number of the oldest demand that is not confirmed
        std::uint64_t bits = 0;   // bit i: demand base + i is confirmed
        std::uint64_t mark = 0;   // demands below it were out when the wait began
        Tick due = 0;             // the end of the wait, if `waits`
        std::uint32_t round = 0;  // without an answer
        bool asks = false;
        bool waits = false;
    };

    static_assert(2 * sizeof(Row) <= row_bytes);

    [[nodiscard]] std::uint64_t end_number() const noexcept {
        return first_number_ + demands_.size();
    }
    [[nodiscard]] std::uint64_t number_of(Seq seq) const noexcept;  // of the first not below seq
    [[nodiscard]] Demand& numbered(std::uint64_t number) noexcept {
        return demands_[static_cast<std::size_t>(number - first_number_)];
    }
    [[nodiscard]] const Demand& numbered(std::uint64_t number) const noexcept {
        return demands_[static_cast<std::size_t>(number - first_number_)];
    }
    [[nodiscard]] static bool confirmed(const Row& at, std::uint64_t number) noexcept {
        return number < at.base || (number - at.base < span && (at.bits >> (number - at.base) & 1));
    }
    static void advance(Row& at, std::uint64_t base) noexcept;
    static void pass_confirmed(Row& at) noexcept;
    void miss_below(Row& at, std::uint64_t number) noexcept;
    [[nodiscard]] std::uint64_t miss_until(Tick now, Seq first, bool& more) noexcept;

    template <typename Visit>
    void each_below(std::uint32_t row, std::uint64_t end, const Visit& visit) const noexcept {
        const Row& at = rows_[row];
        for (std::uint64_t number = at.base; at.asks && number < end; number++) {
            if (!confirmed(at, number) && !visit(numbered(number).seq)) return;
        }
    }

    std::vector<Row> rows_;
    std::deque<Demand> demands_;
    std::uint64_t first_number_ = std::uint64_t{1} << 32;  // of the front: older ones may come
    Seq known_from_ = 0;
    std::uint32_t asking_ = 0;
};

}  // namespace ringcast::feed
