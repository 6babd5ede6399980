#include "feed/lane.h"

#include <algorithm>
#include <bit>

#include "base/copy.h"
#include "base/plant.h"

namespace ringcast::feed {

Lane::Lane(SegmentPool& pool, Seq next, std::size_t log_size_max, LaneSink sink) noexcept
    : log_(pool, next, log_size_max, {.call = &Lane::on_retire, .context = this}),
      next_(next),
      sink_(sink) {
    RC_CHECK(sink.save_tail != nullptr);
}

Lane::Lane(SegmentPool& pool,
           Seq next,
           const CompactLog::Limits& limits,
           std::uint64_t hash_seed,
           LaneSink sink) noexcept
    : log_(pool, 1, page_size, {}),
      next_(next),
      compact_(std::make_unique<CompactLog>(pool,
                                            next,
                                            limits,
                                            hash_seed,
                                            CompactLog::Hooks{.leaving = &Lane::on_retire,
                                                              .forgotten = &Lane::on_forgotten,
                                                              .context = this})),
      sink_(sink) {
    RC_CHECK(sink.save_tail != nullptr);
}

std::uint32_t Lane::subscribe(Reader reader, std::uint32_t link, Seq from) noexcept {
    RC_CHECK(from >= first());
    RC_CHECK(from <= next_);
    RC_CHECK(rows_.size() < UINT32_MAX);
    RC_CHECK(!keyed() || from == 1 || compact_->recoverable(from));
    if (keyed() && compact_->empty()) from = next_;  // nothing is there to wait for
    rows_.push_back({.seq = from, .sent = 0, .reader = reader, .link = link});
    if (acks_ != nullptr) acks_->add_row();
    if (walk.queued) walk.left = size();  // or the new row would be visited instead of another
    if (from == next_) return size() - 1;
    behind_++;
    rows_.back().catches_up = keyed() && from == 1;
    return size() - 1;
}

void Lane::unsubscribe(std::uint32_t row) noexcept {
    RC_CHECK(row < rows_.size());
    const Subscriber gone = rows_[row];
    if (gone.sent > 0) {
        sink_.save_tail(sink_.context, gone.reader, rest_of(row));
        inside_--;
    }
    if (gone.seq < next_) behind_--;
    if (gone.packed && --packed_readers_ == 0) packed_.reset();
    rows_[row] = rows_.back();
    rows_.pop_back();
    if (acks_ != nullptr) acks_->remove_row(row);
    if (walk.queued) walk.left = size();  // rows changed places: all of them once more
    // A topic that was crowded once must not hold the rows for ever.
    if (rows_.capacity() > 64 && rows_.size() < rows_.capacity() / 4) rows_.shrink_to_fit();
    RC_CHECK(behind_ <= rows_.size());
    RC_CHECK(inside_ <= behind_);
}

MutBytes Lane::reserve(std::size_t size) noexcept {
    RC_CHECK(!keyed());
    check_counts();
    if (packs()) clear_packed(size);
    if (behind_ == 0 && history_.records == 0 && keep_from() == UINT64_MAX) {
        log_.drop_all();
    } else if (!log_.has_room(size)) {
        log_.trim(needed_from());  // rather than grow
    }
    return log_.reserve(size);
}

void Lane::read_packed(std::uint32_t row, std::size_t log_size_max) noexcept {
    Subscriber& at = rows_[row];
    RC_CHECK(!at.packed);
    RC_CHECK(at.sent == 0);
    if (packed_ == nullptr) {
        packed_ = std::make_unique<Log>(
            log_.pool(),
            next_,
            log_size_max,
            Log::RetireHook{.call = &Lane::on_retire_packed, .context = this});
    }
    at.packed = true;
    packed_readers_++;
}

// What nobody needs goes before a record of about `size` bytes comes; it is no history.
void Lane::clear_packed(std::size_t size) noexcept {
    RC_CHECK(packed_->next() == next_);
    if (behind_ == 0) {
        packed_->drop_all();
    } else if (!packed_->has_room(size)) {
        packed_->trim(slowest_packed());
    }
}

void Lane::append_packed(Bytes record) noexcept {
    RC_CHECK(packed_->next() + 1 == next_);
    const MutBytes room = packed_->reserve(record.size());
    copy_bytes(room.data(), record.data(), record.size());
    const Seq seq = packed_->commit();
    RC_CHECK(seq + 1 == next_);
}

Slice Lane::peek_packed(std::uint32_t row) const noexcept {
    const Subscriber& at = rows_[row];
    Slice slice = packed_->slice_from(at.seq, at.sent);
    slice.packed = true;
    return at.limited ? cut_at_limit(row, slice) : slice;
}

AckWindow& Lane::open_acks() noexcept {
    RC_CHECK(!keyed());
    if (acks_ == nullptr) acks_ = std::make_unique<AckWindow>(size());
    return *acks_;
}

std::vector<Seq> Lane::ask_acks(std::uint32_t row, std::span<const Seq> open, Tick now) noexcept {
    rows_[row].limited = true;
    return open_acks().ask(row, rows_[row].seq, open, now);
}

void Lane::stop_acks(std::uint32_t row) noexcept {
    rows_[row].limited = false;
    if (acks_ != nullptr) acks_->stop(row);
}

// What is out goes to the end of the record before the one that has to wait.
Slice Lane::cut_at_limit(std::uint32_t row, Slice slice) const noexcept {
    const Seq limit = acks_->limit(row);
    if (limit >= slice.end) return slice;
    const Subscriber& at = rows_[row];
    if (limit <= at.seq && at.sent == 0) return {};
    const Seq end = std::max(limit, at.seq + 1);  // what is begun is ended
    if (end >= slice.end) return slice;
    const Slice behind = (slice.packed ? *packed_ : log_).slice_from(end, 0);
    RC_CHECK(behind.segment == slice.segment);
    slice.bytes = slice.bytes.first(slice.bytes.size() - behind.bytes.size());
    slice.end = end;
    return slice;
}

// What readers, those who come back, and records to be sent again need of the log.
Seq Lane::needed_from() const noexcept {
    return std::min({slowest(), history_begin(), keep_from()});
}

Seq Lane::commit() noexcept {
    const Seq seq = keyed() ? compact_->commit() : log_.commit();
    next_ = seq + 1;
    behind_ = size();  // nobody has it yet
    return seq;
}

void Lane::skip_to(std::uint32_t row, Seq seq) noexcept {
    Subscriber& at = rows_[row];
    RC_CHECK(at.sent == 0);   // a frame is never cut in half
    RC_CHECK(seq >= at.seq);  // a cursor never goes back: history is a new cursor
    RC_CHECK(seq <= next_);
    if (at.seq < next_ && seq == next_) behind_--;
    at.seq = seq;
    at.lost = false;
    if (seq == next_) at.catches_up = false;
    if (acks_ != nullptr) acks_->skip(row, seq);
}

void Lane::restart(std::uint32_t row) noexcept {
    RC_CHECK(keyed());
    Subscriber& at = rows_[row];
    RC_CHECK(at.sent == 0);
    const Seq from = compact_->empty() ? next_ : 1;
    behind_ +=
        static_cast<std::uint32_t>(from < next_) - static_cast<std::uint32_t>(at.seq < next_);
    at.seq = from;
    at.lost = false;
    at.catches_up = from < next_;
}

void Lane::release_if_drained() noexcept {
    if (behind_ != 0) return;
    if (packs()) packed_->release();
    if (keyed()) {
        compact_->settle();
    } else if (history_.records == 0 && keep_from() == UINT64_MAX) {
        log_.release();
    } else {
        log_.trim(needed_from());
    }
}

void Lane::keep_history(const History& history) noexcept {
    RC_CHECK(history.records == 0 || history.bytes > 0);
    history_ = history;
    // A quarter, so that what is kept is never less than three quarters of what may be.
    if (history.records != 0) log_.limit_segments(std::bit_floor(history.bytes / 4));
}

void Lane::forget_before(Seq seq) noexcept {
    RC_CHECK(seq <= log_.next());
    history_floor_ = std::max(history_floor_, seq);
    log_.trim(needed_from());
}

// The first record that history asks for, whether or not it is still there.
Seq Lane::history_begin() const noexcept {
    if (history_.records == 0) return log_.next();
    const Seq oldest = log_.next() - std::min(history_.records, log_.next());
    return std::max({oldest, history_floor_, log_.first_within(history_.bytes)});
}

Seq Lane::recoverable_from() const noexcept {
    // What is there for the sake of slow readers serves those who come back, too.
    if (history_.records == 0) return log_.first();
    return std::max(log_.first(), history_begin());
}

bool Lane::gets_every(const Subscriber& at) const noexcept {
    return !at.latest_only && !at.catches_up && at.seq >= compact_->fresh_first();
}

Slice Lane::peek_latest(const Subscriber& at) const noexcept {
    if (at.seq == next_ || (at.lost && at.sent == 0)) return {};
    return compact_->slice_from(at.seq, at.sent, gets_every(at));
}

Log::Place Lane::place_within(const Subscriber& at,
                              const Slice& slice,
                              std::size_t taken) const noexcept {
    if (slice.packed) return packed_->place_after(slice, {.seq = at.seq, .sent = at.sent}, taken);
    return keyed() ? compact_->place_after(slice, at.sent, taken)
                   : log_.place_after(slice, {.seq = at.seq, .sent = at.sent}, taken);
}

void Lane::on_retire(void* context, Seq first, Seq end) noexcept {
    Lane& lane = *static_cast<Lane*>(context);
    if (lane.inside_ > 0) lane.save_tails(first, end);
}

void Lane::on_forgotten(void* context, Seq last) noexcept {
    Lane& lane = *static_cast<Lane*>(context);
    if (lane.behind_ == 0) return;
    for (Subscriber& at : lane.rows_) {
        const bool has_nothing = at.seq == 1 && at.sent == 0;
        const Seq after = at.seq + (at.sent != 0 ? 1 : 0);  // what is begun is ended
        if (after <= last && !has_nothing) at.lost = true;
    }
}

void Lane::save_tails(Seq first, Seq end) noexcept {
    for (Subscriber& at : rows_) {
        if (at.sent == 0 || at.inside_packed || at.seq >= end) continue;
        if (keyed() && (at.seq < first || compact_->is_latest(at.seq))) continue;  // it moves
        RC_CHECK(at.seq >= first);
        const Bytes rest =
            keyed() ? compact_->rest_of(at.seq, at.sent) : log_.rest_of(at.seq, at.sent);
        save_tail(at, rest);
    }
}

void Lane::on_retire_packed(void* context, Seq /*first*/, Seq end) noexcept {
    Lane& lane = *static_cast<Lane*>(context);
    if (lane.inside_ == 0) return;
    for (Subscriber& at : lane.rows_) {
        if (!at.inside_packed || at.seq >= end) continue;
        lane.save_tail(at, lane.packed_->rest_of(at.seq, at.sent));
    }
}

// The record in which a cursor stands is about to go: the rest of it is the owner's from now on.
void Lane::save_tail(Subscriber& at, Bytes rest) noexcept {
    RC_CHECK(at.sent != 0);
    sink_.save_tail(sink_.context, at.reader, rest);
    if (!RC_PLANT(22)) at.seq++;
    at.sent = 0;
    at.inside_packed = false;
    inside_--;
    if (at.seq == next_) behind_--;
}

Seq Lane::slowest() const noexcept {
    Seq seq = log_.next();
    for (const Subscriber& at : rows_) {
        seq = std::min(seq, at.seq);
    }
    return seq;
}

// Of those who have their next record from there: whoever is further behind gets the other form.
Seq Lane::slowest_packed() const noexcept {
    Seq seq = next_;
    for (const Subscriber& at : rows_) {
        if (at.packed && at.seq >= packed_->first()) seq = std::min(seq, at.seq);
    }
    return seq;
}

void Lane::check_counts() const noexcept {
    RC_CHECK(behind_ <= rows_.size());
    RC_CHECK(inside_ <= behind_);
    RC_DCHECK(behind_ == std::count_if(rows_.begin(), rows_.end(), [&](const Subscriber& at) {
                  return at.seq < next_;
              }));
    RC_DCHECK(inside_ == std::count_if(rows_.begin(), rows_.end(), [](const Subscriber& at) {
                  return at.sent > 0;
              }));
}

}  // namespace ringcast::feed
