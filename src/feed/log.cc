#include "feed/log.h"

#include <algorithm>

#include "base/plant.h"
namespace ringcast::feed {

namespace {

constexpr std::uint32_t kept_size_max = 64 * 1024;  // what a drained log keeps warm at most

}  // namespace

Log::Log(SegmentPool& pool, Seq next, std::size_t size_max, RetireHook hook) noexcept
    : pool_(&pool),
      hook_(hook),
      first_(next),
      next_(next),
      size_max_(size_max),
      open_size_(page_size) {
    RC_CHECK(next > 0);
    RC_CHECK(size_max > 0);
}

Log::~Log() {
    while (oldest_ != nullptr) {
        give_back_oldest();
    }
    RC_CHECK(held_ == 0);
}

MutBytes Log::reserve(std::size_t size) noexcept {
    RC_CHECK(size > 0);
    RC_CHECK(size <= record_size_max());
    reserved_ = 0;  // open_segment() may retire the segment it was in
    if (!has_room(size)) open_segment(size + end_size);

    RC_CHECK(fits(*newest_, size));
    RC_CHECK(newest_->first + newest_->count == next_);
    reserved_ = static_cast<std::uint32_t>(size);
    return {newest_->bytes + newest_->used, size};
}

Seq Log::commit() noexcept {
    RC_CHECK(reserved_ > 0);  // otherwise nothing is reserved, or another log's reserve() took it
    Segment& segment = *newest_;
    segment.used += reserved_;
    segment.count++;
    std::memcpy(segment.bytes + segment.size - segment.count * end_size, &segment.used, end_size);
    RC_CHECK(segment.used + segment.count * end_size <= segment.size);
    reserved_ = 0;
    return next_++;
}

void Log::open_segment(std::size_t size_min) noexcept {
    // Kept for reuse, but too small for this record.
    if (oldest_ == newest_ && oldest_ != nullptr && oldest_->count == 0) retire_oldest();

    // No segment larger than a quarter of the limit, or opening one would retire too much at once.
    const std::size_t size_cap =
        std::min<std::size_t>(std::bit_floor(std::max(size_max_ / 4, page_size)), segment_max_);
    std::size_t wanted =
        SegmentPool::rounded(std::max(size_min, std::min<std::size_t>(open_size_, size_cap)));
    // What a burst needed once is a guess now: taken if it is free, not from others.
    if (oldest_ == nullptr) {
        wanted = std::max(SegmentPool::rounded(size_min), std::min(wanted, pool_->largest_free()));
    }
    while (oldest_ != nullptr && held_ + wanted > size_max_) {
        retire_oldest();
    }

    Segment& segment = pool_->take(size_min, wanted, *this);  // may retire ours, all of them
    segment.first = next_;
    (newest_ != nullptr ? newest_->newer : oldest_) = &segment;
    newest_ = &segment;
    held_ += segment.size;
    open_size_ = std::min(std::max(open_size_, segment.size) * 2, grown_size_max);
    RC_CHECK(oldest_->first == first_);
}

void Log::locate(Seq seq) const noexcept {
    // Readers near the head are the most; the others come in any order, but often one after
    // another.
    Segment* segment = oldest_;
    if (seq >= newest_->first) {
        segment = newest_;
    } else if (memo_segment_ != nullptr && memo_seq_ <= seq) {
        segment = memo_segment_;
    }
    while (seq - segment->first >= segment->count) {
        segment = segment->newer;
        RC_CHECK(segment != nullptr);
    }
    const auto index = static_cast<std::uint32_t>(seq - segment->first);
    memo_segment_ = segment;
    memo_seq_ = seq;
    memo_begin_ = index == 0 ? 0 : end_of(*segment, index - 1);
}

Bytes Log::rest_of(Seq seq, std::uint32_t sent) const noexcept {
    const Slice slice = slice_from(seq, sent);
    const std::uint32_t end =
        end_of(*slice.segment, static_cast<std::uint32_t>(seq - slice.segment->first));
    const std::uint32_t begin = memo_begin_ + sent;
    RC_CHECK(begin < end);
    return slice.bytes.first(end - begin);
}

Log::Place Log::place_within(const Slice& slice, Place from, std::size_t taken) const noexcept {
    const Segment& segment = *slice.segment;
    RC_CHECK(segment.owner == this);
    RC_CHECK(from.seq >= segment.first);
    RC_CHECK(slice.end <= segment.first + segment.count);
    const auto place = static_cast<std::uint32_t>(slice.bytes.data() - segment.bytes) +
                       static_cast<std::uint32_t>(taken);

    // The first record that stops behind `place`: the reader is in it, or at its begin.
    auto low = static_cast<std::uint32_t>(from.seq - segment.first);
    auto high = static_cast<std::uint32_t>(slice.end - segment.first) - 1;
    while (low < high) {
        const std::uint32_t middle = low + (high - low) / 2;
        if (end_of(segment, middle) <= place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const std::uint32_t begin = low == 0 ? 0 : end_of(segment, low - 1);
    RC_CHECK(begin <= place);
    RC_CHECK(place < end_of(segment, low));
    return {.seq = segment.first + low, .sent = place - begin};
}

void Log::trim(Seq needed) noexcept {
    while (oldest_ != nullptr && oldest_->first + oldest_->count <= needed) {
        retire_oldest();
    }
    if (first_ == next_) return;  // at most a segment is left that a lost reserve() opened

    // The next segment is as large as the backlog asks for: a reader that is always a little behind
    // must not turn a few hot pages into megabytes, but a backlog that is the whole segment wants
    // to be one slice next time.
    const std::size_t backlog = slice_from(std::max(needed, first_), 0).bytes.size();
    if (oldest_ != newest_ || backlog == newest_->used) {
        open_size_ = std::min(newest_->size * 2, grown_size_max);
    } else if (backlog < newest_->used / 4) {
        open_size_ = std::max(newest_->size / 2, std::uint32_t{page_size});
    } else {
        open_size_ = newest_->size;
    }
}

Seq Log::first_within(std::size_t size) const noexcept {
    std::size_t held = held_;
    for (const Segment* segment = oldest_; segment != nullptr; segment = segment->newer) {
        if (held <= size || segment == newest_) return segment->first;
        held -= segment->size;
    }
    return next_;
}

void Log::drop_all() noexcept {
    if (newest_ == nullptr) return;
    std::size_t needed = 0;
    for (const Segment* segment = oldest_; segment != nullptr; segment = segment->newer) {
        needed += segment->used;
    }
    while (oldest_ != newest_) {
        retire_oldest();
    }
    if ((newest_->by_reference && !RC_PLANT(10)) || newest_->size > kept_size_max) {
        // What was needed since the last time is likely to be needed again, and then it is one
        // slice if it lies in one piece.
        open_size_ = static_cast<std::uint32_t>(std::min<std::size_t>(
            SegmentPool::rounded(std::max(needed + needed / 4, page_size)), grown_size_max));
        retire_oldest();
        return;
    }
    open_size_ = std::min(newest_->size * 2, grown_size_max);
    if (hook_.call != nullptr && first_ != next_) hook_.call(hook_.context, first_, next_);
    newest_->used = 0;
    newest_->count = 0;
    newest_->first = next_;
    first_ = next_;
    reserved_ = 0;
    memo_segment_ = nullptr;
    pool_->renew(*newest_);
}

void Log::release() noexcept {
    while (oldest_ != nullptr) {
        retire_oldest();
    }
    RC_CHECK(first_ == next_);
    open_size_ = page_size;
}

void Log::retire_oldest() noexcept {
    RC_CHECK(oldest_ != nullptr);
    RC_CHECK(first_ == oldest_->first);
    const Seq end = oldest_->first + oldest_->count;
    if (hook_.call != nullptr && first_ != end) hook_.call(hook_.context, first_, end);
    RC_CHECK(first_ == oldest_->first);  // the hook kept its hands off
    give_back_oldest();
    first_ = end;
    RC_CHECK(oldest_ == nullptr ? first_ == next_ : first_ == oldest_->first);
}

void Log::give_back_oldest() noexcept {
    Segment& segment = *oldest_;
    RC_CHECK(segment.owner == this);
    RC_CHECK(held_ >= segment.size);
    held_ -= segment.size;
    oldest_ = segment.newer;
    if (oldest_ == nullptr) {
        newest_ = nullptr;
        reserved_ = 0;
    }
    if (memo_segment_ == &segment) memo_segment_ = nullptr;
    pool_->give_back(segment);
}

}  // namespace ringcast::feed
