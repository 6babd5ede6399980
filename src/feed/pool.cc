#include "feed/pool.h"

#include <algorithm>

#include "base/plant.h"
#include "feed/log.h"

namespace ringcast::feed {

namespace {

constexpr std::size_t descriptor_chunk = 64;
constexpr std::size_t segment_size_limit = std::size_t{1} << 30;  // sizes in a segment are u32

}  // namespace

SegmentPool::SegmentPool(const Arena& arena) noexcept
    : arena_(arena), segment_size_max_(std::min(arena.size / 4, segment_size_limit)) {
    RC_CHECK(arena.base != nullptr);
    RC_CHECK(arena.size >= 4 * page_size);
    RC_CHECK(std::has_single_bit(arena.size));
    RC_CHECK(arena.size / page_size < no_page);

    pages_.resize(arena.size / page_size);
    resident_.resize((pages_.size() + 63) / 64);
    free_.fill(no_page);
    push_free(0, order_of(arena.size));
}

SegmentPool::~SegmentPool() {
    RC_CHECK(oldest_ == nullptr);  // a Log must not outlive its pool
    RC_CHECK(bytes_in_use_ == 0);
    RC_CHECK(largest_free() == arena_.size);
}

Segment& SegmentPool::take(std::size_t size_min, std::size_t size_wanted, Log& owner) noexcept {
    RC_CHECK(size_min > 0);
    RC_CHECK(size_min <= size_wanted);
    RC_CHECK(size_min <= segment_size_max_);
    const Order order_min = order_of(size_min);
    const Order order_wanted = order_of(std::min(size_wanted, segment_size_max_));

    // No more is evicted than would be taken: in an arena full of scattered small segments, going
    // on until a large block happens to be free would empty nearly all of it.
    std::size_t budget = page_size << order_wanted;
    while (!has_free(order_wanted) && oldest_ != nullptr && budget > 0) {
        budget -= std::min<std::size_t>(budget, oldest_->size);
        evict_from(*oldest_);
    }
    Order order = order_wanted;
    while (order > order_min && !has_free(order)) {
        order--;
    }
    if (!has_free(order)) clear_around_oldest(order);

    const PageIndex page = take_block(order);
    Segment& segment = take_descriptor();
    segment.bytes = arena_.base + page * page_size;
    segment.size = static_cast<std::uint32_t>(page_size << order);
    segment.owner = &owner;
    RC_CHECK(pages_[page].live == nullptr);
    pages_[page].live = &segment;
    link_youngest(segment);
    set_resident(page, order, true);
    bytes_in_use_ += segment.size;
    RC_CHECK(bytes_in_use_ <= arena_.size);
    return segment;
}

void SegmentPool::give_back(Segment& segment) noexcept {
    const PageIndex page = page_of(segment);
    RC_CHECK(pages_[page].live == &segment);
    RC_CHECK(bytes_in_use_ >= segment.size);
    if (segment.by_reference && !RC_PLANT(9)) punch(page, order_of(segment.size));
    pages_[page].live = nullptr;
    bytes_in_use_ -= segment.size;
    unlink(segment);
    free_block(page, order_of(segment.size));
    segment = Segment{};
    segment.pool_newer = spare_;
    spare_ = &segment;
}

void SegmentPool::shed(std::size_t keep, std::size_t size_max) noexcept {
    const std::size_t before = resident_bytes();
    const std::size_t goal = std::max(keep, before - std::min(before, size_max));
    for (std::size_t order = order_count; order-- > 0 && resident_bytes() > goal;) {
        PageIndex page = free_[order];
        for (; page != no_page && resident_bytes() > goal; page = pages_[page].free_older) {
            punch(page, static_cast<Order>(order));
        }
    }
    while (resident_bytes() > goal && oldest_ != nullptr) {
        oldest_->by_reference = true;  // so that its pages do not stay behind
        evict_from(*oldest_);
    }
}

void SegmentPool::punch(PageIndex page, Order order) noexcept {
    const std::size_t before = resident_count_;
    set_resident(page, order, false);
    if (resident_count_ == before || arena_.punch == nullptr) return;
    arena_.punch(arena_.context, page * page_size, page_size << order);
}

// A block lies at a multiple of its size: it is whole words, or within one.
void SegmentPool::set_resident(PageIndex page, Order order, bool resident) noexcept {
    const PageIndex count = PageIndex{1} << order;
    const std::uint64_t bits =
        count >= 64 ? UINT64_MAX : ((std::uint64_t{1} << count) - 1) << (page % 64);
    for (PageIndex at = page; at < page + count; at += 64) {
        std::uint64_t& word = resident_[at / 64];
        resident_count_ -= static_cast<std::size_t>(std::popcount(word & bits));
        word = resident ? word | bits : word & ~bits;
        resident_count_ += static_cast<std::size_t>(std::popcount(word & bits));
    }
    RC_CHECK(resident_count_ <= pages_.size());
}

void SegmentPool::renew(Segment& segment) noexcept {
    RC_CHECK(pages_[page_of(segment)].live == &segment);
    RC_CHECK(segment.newer == nullptr);
    if (youngest_ == &segment) return;
    unlink(segment);
    link_youngest(segment);
}

std::size_t SegmentPool::largest_free() const noexcept {
    if (free_orders_ == 0) return 0;
    return page_size << (std::bit_width(free_orders_) - 1);
}

void SegmentPool::check() const noexcept {
    std::size_t used = 0;
    for (const Segment* segment = oldest_; segment != nullptr; segment = segment->pool_newer) {
        RC_CHECK(pages_[page_of(*segment)].live == segment);
        RC_CHECK(segment->owner != nullptr);
        used += segment->size;
    }
    RC_CHECK(used == bytes_in_use_);
    for (std::size_t order = 0; order < order_count; order++) {
        for (PageIndex page = free_[order]; page != no_page; page = pages_[page].free_older) {
            RC_CHECK(pages_[page].live == nullptr);
            used += page_size << order;
        }
    }
    RC_CHECK(used == arena_.size);
}

// A log gives up its records in order, so to be rid of one segment all older ones of its log go.
void SegmentPool::evict_from(const Segment& segment) noexcept {
    RC_CHECK(segment.owner != nullptr);
    const std::size_t before = bytes_in_use_;
    segment.owner->retire_oldest();
    RC_CHECK(bytes_in_use_ < before);
    evictions_++;
}

// Makes the block of 2^order pages in which the oldest segment lies free, whatever else lies there.
// Blind eviction by age would have to free most of the arena before so large a block appeared.
void SegmentPool::clear_around_oldest(Order order) noexcept {
    RC_CHECK(oldest_ != nullptr);
    const PageIndex count = PageIndex{1} << order;
    const PageIndex begin = page_of(*oldest_) & ~(count - 1);
    for (PageIndex page = begin; page < begin + count; page++) {
        while (pages_[page].live != nullptr) {
            evict_from(*pages_[page].live);
        }
    }
    RC_CHECK(has_free(order));
}

SegmentPool::PageIndex SegmentPool::take_block(Order order) noexcept {
    RC_CHECK(has_free(order));
    auto found = static_cast<Order>(order + std::countr_zero(free_orders_ >> order));
    const PageIndex page = free_[found];
    remove_free(page);
    while (found > order) {
        found--;
        push_free(page + (PageIndex{1} << found), found);
    }
    return page;
}

void SegmentPool::free_block(PageIndex page, Order order) noexcept {
    RC_CHECK(pages_[page].free_order == no_order);
    const Order whole = order_of(arena_.size);
    while (order < whole) {
        const PageIndex buddy = page ^ (PageIndex{1} << order);
        if (pages_[buddy].free_order != order) break;
        remove_free(buddy);
        page = std::min(page, buddy);
        order++;
    }
    push_free(page, order);
}

void SegmentPool::push_free(PageIndex page, Order order) noexcept {
    RC_CHECK(order < order_count);
    RC_CHECK((page & ((PageIndex{1} << order) - 1)) == 0);
    const PageIndex head = free_[order];
    pages_[page].free_order = order;
    pages_[page].free_newer = no_page;
    pages_[page].free_older = head;
    if (head != no_page) pages_[head].free_newer = page;
    free_[order] = page;
    free_orders_ |= std::uint32_t{1} << order;
}

void SegmentPool::remove_free(PageIndex page) noexcept {
    Page& block = pages_[page];
    const Order order = block.free_order;
    RC_CHECK(order != no_order);
    if (block.free_newer != no_page) {
        pages_[block.free_newer].free_older = block.free_older;
    } else {
        RC_CHECK(free_[order] == page);
        free_[order] = block.free_older;
    }
    if (block.free_older != no_page) pages_[block.free_older].free_newer = block.free_newer;
    if (free_[order] == no_page) free_orders_ &= ~(std::uint32_t{1} << order);
    block = Page{};
}

Segment& SegmentPool::take_descriptor() noexcept {
    if (spare_ == nullptr) {
        auto chunk = std::make_unique<Segment[]>(descriptor_chunk);
        for (std::size_t index = descriptor_chunk; index > 0; index--) {
            chunk[index - 1].pool_newer = spare_;
            spare_ = &chunk[index - 1];
        }
        descriptors_.push_back(std::move(chunk));
    }
    Segment& segment = *spare_;
    spare_ = segment.pool_newer;
    segment.pool_newer = nullptr;
    return segment;
}

void SegmentPool::link_youngest(Segment& segment) noexcept {
    segment.pool_older = youngest_;
    segment.pool_newer = nullptr;
    (youngest_ != nullptr ? youngest_->pool_newer : oldest_) = &segment;
    youngest_ = &segment;
}

void SegmentPool::unlink(Segment& segment) noexcept {
    Segment*& from_older = segment.pool_older != nullptr ? segment.pool_older->pool_newer : oldest_;
    Segment*& from_newer =
        segment.pool_newer != nullptr ? segment.pool_newer->pool_older : youngest_;
    RC_CHECK(from_older == &segment);
    RC_CHECK(from_newer == &segment);
    from_older = segment.pool_newer;
    from_newer = segment.pool_older;
}

}  // namespace ringcast::feed
