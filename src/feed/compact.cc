#include "feed/compact.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace ringcast::feed {

namespace {

// Who keeps up on the whole gets every record, also when its core pauses for a while: at 10 MB/s
// this is 0.4 s.
constexpr std::size_t window_max = std::size_t{4} * 1024 * 1024;
// Large enough that the slices of a slow reader are worth a send, small enough to be copied in the
// tenth part of a millisecond.
constexpr std::size_t output_size_max = std::size_t{256} * 1024;
constexpr std::size_t slack_max = 4 * page_size;
constexpr int visits_max = 64;  // of segments in one go of the sweep
constexpr std::size_t sweep_budget_max = std::size_t{1024} * 1024;  // some 0.3 ms

}  // namespace

CompactLog::CompactLog(SegmentPool& pool,
                       Seq next,
                       const Limits& limits,
                       std::uint64_t hash_seed,
                       const Hooks& hooks) noexcept
    : pool_(&pool),
      limits_(limits),
      hooks_(hooks),
      keys_(hash_seed),
      next_(next),
      forgotten_(next - 1),
      fresh_first_(next),
      window_(std::clamp(limits.bytes_max / 4, page_size, window_max)),
      output_max_(std::max(page_size, std::min(output_size_max, pool.pinned_size_max() / 2))),
      large_min_(output_max_ / 4),
      open_size_(page_size) {
    RC_CHECK(next > 0);
    RC_CHECK(limits.tombstones_max > 0);
}

CompactLog::~CompactLog() {
    while (oldest_ != nullptr) {
        Segment& segment = *oldest_;
        oldest_ = segment.newer;
        held_ -= segment.size;
        pool_->give_back(segment);
    }
    RC_CHECK(held_ == 0);
    pool_->count_heap(0, counted_);
}

CompactLog::Room CompactLog::reserve(const Write& write) noexcept {
    RC_CHECK(write.size > 0);
    RC_CHECK(write.key.size() <= key_size_max);
    RC_CHECK(write.seq == 0 || write.seq >= next_);
    reserved_ = {};
    forget_tombstones();
    while (fresh_ != nullptr && fresh_ != newest_ && fresh_filled_ - filled(*fresh_) >= window_) {
        age_oldest_fresh();
    }
    sweep(output_max_, Pressure::none);

    const KeyId id = keys_.find(write.key, keys_.hash_of(write.key));
    const Key* former = id == KeyTable::none ? nullptr : &keys_[id];
    Refusal refusal = refusal_of(write, former);
    if (refusal == Refusal::none && !has_room(write.size)) {
        const bool grows = former == nullptr || write.size > former->size;
        if (!open_segment(write.size, grows)) refusal = Refusal::no_memory;
    }
    if (refusal != Refusal::none) return {.bytes = {}, .refusal = refusal};
    reserved_ = write;
    return {.bytes = {newest_->bytes + newest_->used, write.size}};
}

Seq CompactLog::commit() noexcept {
    RC_CHECK(reserved_.size > 0);
    const Seq seq = reserved_.seq == 0 ? next_ : reserved_.seq;
    const auto size = static_cast<std::uint32_t>(reserved_.size);
    Segment& segment = *newest_;
    if (segment.count == 0) segment.first = seq;

    const std::uint64_t hash = keys_.hash_of(reserved_.key);
    KeyId id = keys_.find(reserved_.key, hash);
    const bool is_new = id == KeyTable::none;
    if (is_new) id = keys_.create(reserved_.key, hash);
    Key& key = keys_[id];
    key.seq = seq;
    if (!is_new) supersede(key);
    if (key.tombstone) keys_.revive(id);
    key.segment = &segment;
    key.size = size;
    if (reserved_.tombstone) {
        keys_.bury(id);
    } else {
        live_bytes_ += size;
    }
    add(segment, seq, id, size);
    fresh_filled_ += size + entry_size;
    next_ = seq + 1;
    reserved_ = {};
    memo_.valid = false;
    gathered_.clear();
    count_heap();
    return seq;
}

// Keys come with a commit alone; what is gathered for readers counts from the next one on.
void CompactLog::count_heap() noexcept {
    const std::size_t now = heap_bytes();
    pool_->count_heap(now, std::exchange(counted_, now));
}

void CompactLog::settle() noexcept {
    reserved_ = {};
    drop_empty();
    while (fresh_ != nullptr) {
        age_oldest_fresh();
    }
    open_size_ = page_size;
    gathered_ = {};
    count_heap();
    sweep(sweep_budget_max, Pressure::quiet);
}

// `former`: the key that is written, if it is there.
CompactLog::Refusal CompactLog::refusal_of(const Write& write, const Key* former) const noexcept {
    if (write.size > record_size_max()) return Refusal::no_memory;
    if (write.tombstone) return Refusal::none;
    const bool replaces = former != nullptr && !former->tombstone;
    if (!replaces && keys() >= limits_.keys_max) return Refusal::too_many_keys;
    const std::size_t others = live_bytes_ - (replaces ? former->size : 0);
    if (others + write.size > limits_.bytes_max) return Refusal::bytes_full;
    return Refusal::none;
}

bool CompactLog::has_room(std::size_t size) const noexcept {
    if (fresh_ == nullptr || !fits(*newest_, size)) return false;
    return newest_->count == 0 || (size <= large_min_ && !is_large(*newest_));
}

bool CompactLog::open_segment(std::size_t size, bool grows) noexcept {
    drop_empty();
    const std::size_t size_min = size + entry_size;
    // Several segments share the window, so that it does not go by halves.
    const std::size_t size_cap = std::clamp(std::bit_floor(window_ / 4), page_size, output_max_);
    const std::size_t size_wanted =
        size > large_min_ ? size_min : std::max(size_min, std::min(open_size_, size_cap));
    // What is left is for the sweep, which needs room to make room, and a part of it only for those
    // who replace what is there: a full log can be written further on, and keys can be deleted.
    const std::size_t leave =
        grows ? std::max(2 * output_max_, pool_->segment_size_max() / 2) : output_max_;
    Segment* segment = pool_->take_pinned(size_min, size_wanted, leave);
    if (segment == nullptr) {
        while (fresh_ != nullptr) {
            age_oldest_fresh();
        }
        sweep(sweep_budget_max, Pressure::full);
        segment = pool_->take_pinned(size_min, size_min, leave);
    }
    if (segment == nullptr) return false;
    segment->first = next_;
    link_before(*segment, nullptr);
    if (fresh_ == nullptr) fresh_ = segment;
    open_size_ = std::min(open_size_ * 2, size_cap);
    return true;
}

// The newest segment was opened by a reserve() without a commit().
void CompactLog::drop_empty() noexcept {
    if (newest_ == nullptr || newest_->count != 0) return;
    if (fresh_ == newest_) fresh_ = nullptr;
    give_back(*newest_);
}

void CompactLog::link_before(Segment& segment, Segment* newer) noexcept {
    segment.newer = newer;
    segment.older = newer != nullptr ? newer->older : newest_;
    (segment.older != nullptr ? segment.older->newer : oldest_) = &segment;
    (newer != nullptr ? newer->older : newest_) = &segment;
    held_ += segment.size;
}

void CompactLog::give_back(Segment& segment) noexcept {
    RC_CHECK(held_ >= segment.size);
    RC_CHECK(fresh_ != &segment);
    (segment.older != nullptr ? segment.older->newer : oldest_) = segment.newer;
    (segment.newer != nullptr ? segment.newer->older : newest_) = segment.older;
    held_ -= segment.size;
    if (sweep_ == &segment) sweep_ = segment.newer;
    if (output_ == &segment) output_ = nullptr;
    if (memo_.segment == &segment) memo_ = {};
    pool_->give_back(segment);
}

// A segment behind the window in which nothing is live.
void CompactLog::drop(Segment& segment) noexcept {
    RC_CHECK(segment.live_count == 0);
    RC_CHECK(!is_young(segment));
    if (hooks_.leaving != nullptr) {
        hooks_.leaving(hooks_.context, segment.first, last_of(segment) + 1);
    }
    if (!is_large(segment)) old_held_ -= segment.size;
    give_back(segment);
}

// The record of `key`, as far as its segment and size tell, is not the latest any more: its seq is
// another one already. May drop the segment.
void CompactLog::supersede(const Key& key) noexcept {
    Segment& segment = *key.segment;
    RC_CHECK(segment.live_count > 0);
    RC_CHECK(segment.live >= key.size);
    if (!key.tombstone) live_bytes_ -= key.size;
    segment.live -= key.size;
    segment.live_count--;
    memo_.valid = false;
    gathered_.clear();
    if (is_young(segment)) return;
    if (!is_large(segment)) old_need_ -= key.size + entry_size;
    if (segment.live_count == 0) drop(segment);
}

// Some at a time: whoever is behind is looked for once for all of them.
void CompactLog::forget_tombstones() noexcept {
    if (keys_.tombstones() <= limits_.tombstones_max) return;
    const std::size_t kept = limits_.tombstones_max - limits_.tombstones_max / 4;
    Seq last = 0;
    while (keys_.tombstones() > kept) {
        const KeyId id = keys_.oldest_tombstone();
        Key& key = keys_[id];
        RC_CHECK(key.seq > last);
        last = std::exchange(key.seq, 0);
        supersede(key);
        keys_.erase(id);
    }
    forgotten_ = std::max(forgotten_, last);
    if (hooks_.forgotten != nullptr) hooks_.forgotten(hooks_.context, last);
}

// The oldest segment of the window is in it no more.
void CompactLog::age_oldest_fresh() noexcept {
    Segment& segment = *fresh_;
    RC_CHECK(segment.count > 0);
    fresh_filled_ -= filled(segment);
    fresh_first_ = last_of(segment) + 1;
    fresh_ = segment.newer;
    if (!is_large(segment)) {
        old_held_ += segment.size;
        old_need_ += need_of(segment);
    }
    if (segment.live_count == 0) drop(segment);
}

bool CompactLog::stays(const Segment& segment, Pressure pressure) const noexcept {
    if (is_large(segment)) return true;
    const std::size_t part = pressure == Pressure::full ? 16 : 4;
    return segment.size >= output_max_ / 4 &&
           need_of(segment) >= segment.size - segment.size / part;
}

bool CompactLog::wasteful(Pressure pressure) const noexcept {
    if (pressure == Pressure::full) return old_held_ > old_need_ + old_need_ / 8;
    return old_held_ > 2 * old_need_ + (pressure == Pressure::none ? slack_max : page_size);
}

// Goes on with the sweep while too much is held in vain, up to `budget` bytes copied.
void CompactLog::sweep(std::size_t budget, Pressure pressure) noexcept {
    bool round = false;
    for (int visits = 0; visits < visits_max; visits++) {
        if (!wasteful(pressure)) return;
        if (sweep_ == nullptr || is_young(*sweep_)) {
            if (round) return;
            round = true;
            sweep_ = oldest_;
            output_ = nullptr;
            if (sweep_ == nullptr || is_young(*sweep_)) return;
        }
        Segment& segment = *sweep_;
        if (stays(segment, pressure)) {
            output_ = nullptr;
            sweep_ = segment.newer;
            continue;
        }
        const std::size_t need = need_of(segment);
        if (need > budget) return;
        budget -= need;
        if (!move_out(segment, pressure)) {  // perhaps there is room for another one
            output_ = nullptr;
            sweep_ = segment.newer;
        }
    }
}

// Copies what is live in `from` to the output, and to more segments if need be, and gives `from`
// back. False if there is no memory: then all is as before.
bool CompactLog::move_out(Segment& from, Pressure pressure) noexcept {
    RC_CHECK(sweep_ == &from);
    if (hooks_.leaving != nullptr) {
        hooks_.leaving(hooks_.context, from.first, last_of(from) + 1);
    }
    memo_ = {};
    Segment* output = output_;
    Segment before;
    if (output != nullptr) before = *output;
    std::size_t need = need_of(from);
    std::uint32_t begin = 0;
    for (std::uint32_t index = 0; index < from.count; index++) {
        const Entry entry = entry_of(from, index);
        const std::uint32_t place = std::exchange(begin, entry.end);
        if (!is_live(entry)) continue;
        const std::uint32_t size = entry.end - place;
        if (output == nullptr || !fits(*output, size)) {
            const std::size_t size_min = size + entry_size;
            output = pool_->take_pinned(
                size_min, std::max(size_min, output_size(from, need, pressure)), 0);
            if (output == nullptr) {
                undo_move(from, output_, before);
                return false;
            }
            output->first = entry.seq;
            link_before(*output, &from);
            old_held_ += output->size;
        }
        std::memcpy(output->bytes + output->used, from.bytes + place, size);
        add(*output, entry.seq, entry.key, size);
        keys_[entry.key].segment = output;
        need -= size + entry_size;
        copied_ += size;
    }
    RC_CHECK(need == 0);
    old_held_ -= from.size;
    give_back(from);
    output_ = output;
    return true;
}

// `output` is what was the output before, if any, and `before` what it was like.
void CompactLog::undo_move(Segment& from, Segment* output, const Segment& before) noexcept {
    for (std::uint32_t index = 0; index < from.count; index++) {
        const Entry entry = entry_of(from, index);
        if (is_live(entry)) keys_[entry.key].segment = &from;
    }
    while (from.older != nullptr && from.older->first >= from.first) {
        old_held_ -= from.older->size;
        give_back(*from.older);
    }
    if (output == nullptr) return;
    output->used = before.used;
    output->count = before.count;
    output->live = before.live;
    output->live_count = before.live_count;
}

// How large a segment should be for `need` bytes of `from` and what follows it: as full as may be,
// and not too many.
std::size_t CompactLog::output_size(const Segment& from,
                                    std::size_t need,
                                    Pressure pressure) const noexcept {
    for (const Segment* at = from.newer; at != nullptr && need < output_max_; at = at->newer) {
        if (is_young(*at) || stays(*at, pressure)) break;
        need += need_of(*at);
    }
    if (need >= output_max_) return output_max_;
    const std::size_t rounded = SegmentPool::rounded(need);
    return rounded == page_size || need >= rounded / 4 * 3 ? rounded : rounded / 2;
}

CompactLog::Entry CompactLog::entry_of(const Segment& segment, std::uint32_t index) noexcept {
    RC_DCHECK(index < segment.count);
    Entry entry;
    std::memcpy(&entry, segment.bytes + segment.size - (index + 1) * entry_size, entry_size);
    return entry;
}

void CompactLog::add(Segment& segment, Seq seq, KeyId key, std::uint32_t size) noexcept {
    RC_CHECK(fits(segment, size));
    RC_DCHECK(segment.count == 0 || last_of(segment) < seq);
    segment.used += size;
    segment.count++;
    segment.live += size;
    segment.live_count++;
    const Entry entry{.seq = seq, .end = segment.used, .key = key};
    std::memcpy(segment.bytes + segment.size - segment.count * entry_size, &entry, entry_size);
}

// The first record from `seq` on; count if there is none.
std::uint32_t CompactLog::lower_bound(const Segment& segment, Seq seq) noexcept {
    if (seq <= segment.first) return 0;
    // Where nothing was left out.
    const Seq guess = seq - segment.first;
    if (guess < segment.count) {
        const auto index = static_cast<std::uint32_t>(guess);
        if (entry_of(segment, index).seq == seq) return index;
    }
    std::uint32_t low = 0;
    std::uint32_t high = segment.count;
    while (low < high) {
        const std::uint32_t middle = low + (high - low) / 2;
        if (entry_of(segment, middle).seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The first segment with a record from `seq` on.
Segment* CompactLog::segment_of(Seq seq) const noexcept {
    RC_CHECK(!empty());
    Segment* segment = oldest_;
    if (newest_->count != 0 && seq >= newest_->first) {
        segment = newest_;
    } else if (fresh_ != nullptr && seq >= fresh_->first) {
        segment = fresh_;
    } else if (memo_.segment != nullptr && seq >= memo_.segment->first) {
        segment = memo_.segment;
    }
    while (last_of(*segment) < seq) {
        segment = segment->newer;
        RC_CHECK(segment != nullptr);
    }
    return segment;
}

void CompactLog::locate(Seq seq, bool inside, bool every) const noexcept {
    Segment* segment = segment_of(seq);
    std::uint32_t index = lower_bound(*segment, seq);
    Entry entry = entry_of(*segment, index);
    if (inside) RC_CHECK(entry.seq == seq);
    while (!inside && !every && !is_live(entry)) {
        if (++index == segment->count) {
            segment = segment->newer;
            RC_CHECK(segment != nullptr);  // the newest record is live
            index = 0;
        }
        entry = entry_of(*segment, index);
    }
    memo_ = {.valid = true,
             .every = every,
             .inside = inside,
             .index = index,
             .begin = begin_of(*segment, index),
             .end = segment->used,
             .seq = seq,
             .first = entry.seq,
             .last = last_of(*segment),
             .segment = segment};
    if (every) return;
    while (++index < segment->count) {
        const Entry after = entry_of(*segment, index);
        if (!is_live(after)) break;
        entry = after;
    }
    memo_.end = entry.end;
    memo_.last = entry.seq;
}

// The live records from `first` on, which is one, as far as they are gathered or can be; an empty
// slice if there is no room.
Slice CompactLog::gathered(Seq first) const noexcept {
    auto& all = gathered_.stretches;
    auto at = std::upper_bound(
        all.begin(), all.end(), first, [](Seq seq, const Gathered::Stretch& stretch) {
            return seq < stretch.first;
        });
    std::uint32_t entry = 0;
    const bool there = at != all.begin() && gathered_.entries[std::prev(at)->end - 1].seq >= first;
    if (there) {
        at = std::prev(at);
        const auto begin = gathered_.entries.begin() + at->begin;
        const auto found = std::lower_bound(
            begin, gathered_.entries.begin() + at->end, first, [](const Entry& held, Seq seq) {
                return held.seq < seq;
            });
        RC_CHECK(found->seq == first);  // what is live is in it without a hole
        entry = static_cast<std::uint32_t>(found - gathered_.entries.begin());
    } else {
        entry = static_cast<std::uint32_t>(gathered_.entries.size());
        const Seq end = at == all.end() ? next_ : at->first;
        const std::uint32_t count = gather(first, end);
        if (count == 0) return {};
        at = all.insert(at, {.first = first, .begin = entry, .end = entry + count});
    }
    const std::uint32_t place = gathered_begin(entry);
    return {.bytes = Bytes(gathered_.bytes.data() + place, gathered_begin(at->end) - place),
            .begin = first,
            .end = gathered_.entries[at->end - 1].seq + 1,
            .file_offset = -1,
            .segment = nullptr,
            .latest = true};
}

// Adds the live records of [first, end) as far as there is room, in one go not too many. Returns
// how many these are.
std::uint32_t CompactLog::gather(Seq first, Seq end) const noexcept {
    if (gathered_.bytes.capacity() == 0) {
        gathered_.bytes.reserve(std::clamp(live_bytes_, page_size, gather_max));
    }
    const std::size_t begin = gathered_.bytes.size();
    const std::size_t most = std::min(begin + gather_size, gathered_.bytes.capacity());
    std::uint32_t count = 0;
    Segment* segment = segment_of(first);
    std::uint32_t index = lower_bound(*segment, first);
    while (segment != nullptr) {
        for (; index < segment->count; index++) {
            const Entry entry = entry_of(*segment, index);
            if (entry.seq >= end) return count;
            if (!is_live(entry)) continue;
            const std::byte* record = segment->bytes + begin_of(*segment, index);
            const std::size_t size = entry.end - begin_of(*segment, index);
            if (gathered_.bytes.size() + size > most) return count;
            gathered_.bytes.insert(gathered_.bytes.end(), record, record + size);
            gathered_.entries.push_back({.seq = entry.seq,
                                         .end = static_cast<std::uint32_t>(gathered_.bytes.size()),
                                         .key = entry.key});
            count++;
        }
        segment = segment->newer;
        index = 0;
    }
    return count;
}

// As place_after(), of a slice whose first byte is that of a record.
Log::Place CompactLog::place_in_gathered(const Slice& slice, std::size_t taken) const noexcept {
    const auto begin = static_cast<std::uint32_t>(slice.bytes.data() - gathered_.bytes.data());
    const std::uint32_t place = begin + static_cast<std::uint32_t>(taken);
    RC_CHECK(place < gathered_.bytes.size());
    const auto at =
        std::upper_bound(gathered_.entries.begin(),
                         gathered_.entries.end(),
                         place,
                         [](std::uint32_t byte, const Entry& entry) { return byte < entry.end; });
    const auto entry = static_cast<std::uint32_t>(at - gathered_.entries.begin());
    RC_CHECK(at->seq >= slice.begin);
    RC_CHECK(at->seq < slice.end);
    return {.seq = at->seq, .sent = place - gathered_begin(entry)};
}

Bytes CompactLog::rest_of(Seq seq, std::uint32_t sent) const noexcept {
    locate(seq, true, true);
    const std::uint32_t begin = memo_.begin + sent;
    const std::uint32_t end = entry_of(*memo_.segment, memo_.index).end;
    RC_CHECK(begin < end);
    return {memo_.segment->bytes + begin, end - begin};
}

Log::Place CompactLog::place_after(const Slice& slice,
                                   std::uint32_t sent,
                                   std::size_t taken) const noexcept {
    RC_CHECK(taken <= slice.bytes.size());
    if (taken == slice.bytes.size()) return {.seq = slice.end, .sent = 0};
    if (slice.segment == nullptr) return place_in_gathered(slice, taken);
    const Segment& segment = *slice.segment;
    const auto start = static_cast<std::uint32_t>(slice.bytes.data() - segment.bytes);
    const std::uint32_t place = start + static_cast<std::uint32_t>(taken);
    // The first record that stops behind `place`: the reader is in it, or at its begin.
    std::uint32_t low = lower_bound(segment, slice.begin);
    RC_CHECK(begin_of(segment, low) + sent == start);
    std::uint32_t high = lower_bound(segment, slice.end) - 1;
    while (low < high) {
        const std::uint32_t middle = low + (high - low) / 2;
        if (entry_of(segment, middle).end <= place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const std::uint32_t begin = begin_of(segment, low);
    const Entry entry = entry_of(segment, low);
    RC_CHECK(begin <= place);
    RC_CHECK(place < entry.end);
    return {.seq = entry.seq, .sent = place - begin};
}

bool CompactLog::is_latest(Seq seq) const noexcept {
    const Segment& segment = *segment_of(seq);
    const Entry entry = entry_of(segment, lower_bound(segment, seq));
    RC_CHECK(entry.seq == seq);
    return is_live(entry);
}

CompactLog::Record CompactLog::latest_from(Seq seq) const noexcept {
    locate(seq, false, false);
    const Entry entry = entry_of(*memo_.segment, memo_.index);
    const Key& key = keys_[entry.key];
    return {.seq = entry.seq,
            .key = key.name(),
            .bytes = {memo_.segment->bytes + memo_.begin, entry.end - memo_.begin},
            .tombstone = key.tombstone};
}

void CompactLog::check() const noexcept {
    std::size_t held = 0;
    std::size_t fresh_filled = 0;
    std::size_t old_held = 0;
    std::size_t old_need = 0;
    std::size_t live_count = 0;
    Seq last = 0;
    const Segment* older = nullptr;
    for (const Segment* at = oldest_; at != nullptr; older = at, at = at->newer) {
        RC_CHECK(at->older == older);
        RC_CHECK(at->pinned);
        RC_CHECK(at->count > 0 || at == newest_);
        held += at->size;
        std::uint32_t live = 0;
        std::uint32_t count = 0;
        for (std::uint32_t index = 0; index < at->count; index++) {
            const Entry entry = entry_of(*at, index);
            RC_CHECK(entry.seq > last);
            RC_CHECK(index > 0 || entry.seq == at->first);
            last = entry.seq;
            if (!is_live(entry)) continue;
            RC_CHECK(keys_[entry.key].segment == at);
            RC_CHECK(keys_[entry.key].size == entry.end - begin_of(*at, index));
            live += keys_[entry.key].size;
            count++;
        }
        RC_CHECK(at->live == live);
        RC_CHECK(at->live_count == count);
        live_count += count;
        const bool young = is_young(*at);
        RC_CHECK(young || count > 0);
        if (young) fresh_filled += filled(*at);
        if (!young && !is_large(*at)) {
            old_held += at->size;
            old_need += need_of(*at);
        }
    }
    RC_CHECK(newest_ == older);
    RC_CHECK(held == held_);
    RC_CHECK(fresh_filled == fresh_filled_);
    RC_CHECK(old_held == old_held_);
    RC_CHECK(old_need == old_need_);
    RC_CHECK(live_count == keys_.count());
}

}  // namespace ringcast::feed
