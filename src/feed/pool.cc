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
    for (const Half half : halves) {
        free_[half].fill(no_page);
        push_free(static_cast<PageIndex>(half * (pages_.size() / 2)), order_of(arena.size / 2));
    }
}

SegmentPool::~SegmentPool() {
    RC_CHECK(bytes_in_use_ == 0);  // a log must not outlive its pool
    RC_CHECK(oldest() == nullptr);
    for (const Half half : halves) {
        RC_CHECK(has_free(order_of(arena_.size / 2), half));
    }
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
    while (!has_free(order_wanted) && oldest() != nullptr && budget > 0) {
        budget -= std::min(budget, evict_from(*oldest()));
    }
    Order order = order_wanted;
    while (order > order_min && !has_free(order)) {
        order--;
    }
    if (!has_free(order)) clear_for_anyone(order);

    // The lower half first: what lies in the upper one must make way for pins.
    Segment& segment = cut(order, has_free(order, lower) ? lower : upper);
    segment.owner = &owner;
    link_youngest(segment);
    return segment;
}

Segment* SegmentPool::take_pinned(std::size_t size_min,
                                  std::size_t size_wanted,
                                  std::size_t leave) noexcept {
    RC_CHECK(size_min > 0);
    RC_CHECK(size_min <= size_wanted);
    const std::size_t room_max = arena_.size / 2 - std::min(arena_.size / 2, leave);
    if (size_min > pinned_size_max() || bytes_pinned_ > room_max) return nullptr;
    const std::size_t room = room_max - bytes_pinned_;
    const Order order_min = order_of(size_min);
    if ((page_size << order_min) > room) return nullptr;
    Order order = order_of(std::min({size_wanted, pinned_size_max(), std::bit_floor(room)}));

    std::size_t budget = page_size << order;
    while (!has_free(order, upper) && oldest_[upper] != nullptr && budget > 0) {
        budget -= std::min(budget, evict_from(*oldest_[upper]));
    }
    while (order > order_min && !has_free(order, upper)) {
        order--;
    }
    if (!has_free(order, upper)) clear_for_pin(order);
    if (!has_free(order, upper)) return nullptr;  // pins lie everywhere

    Segment& segment = cut(order, upper);
    segment.pinned = true;
    bytes_pinned_ += segment.size;
    RC_CHECK(bytes_pinned_ <= room_max);
    return &segment;
}

void SegmentPool::give_back(Segment& segment) noexcept {
    const PageIndex page = page_of(segment);
    RC_CHECK(pages_[page].live == &segment);
    RC_CHECK(bytes_in_use_ >= segment.size);
    if (segment.by_reference && !RC_PLANT(9)) punch(page, order_of(segment.size));
    pages_[page].live = nullptr;
    bytes_in_use_ -= segment.size;
    if (segment.pinned) {
        RC_CHECK(bytes_pinned_ >= segment.size);
        bytes_pinned_ -= segment.size;
    } else {
        unlink(segment);
    }
    free_block(page, order_of(segment.size));
    segment = Segment{};
    segment.pool_newer = spare_;
    spare_ = &segment;
}

// The pages of free blocks, the large ones first, until no more than `goal` bytes are resident.
void SegmentPool::punch_free(Half half, std::size_t goal) noexcept {
    for (std::size_t order = order_count; order-- > 0 && resident_bytes() > goal;) {
        PageIndex page = free_[half][order];
        for (; page != no_page && resident_bytes() > goal; page = pages_[page].free_older) {
            punch(page, static_cast<Order>(order));
        }
    }
}

void SegmentPool::shed(std::size_t keep, std::size_t size_max) noexcept {
    const std::size_t before = resident_bytes();
    const std::size_t goal = std::max(keep, before - std::min(before, size_max));
    for (const Half half : halves) {
        punch_free(half, goal);
    }
    for (Segment* at = oldest(); resident_bytes() > goal && at != nullptr; at = oldest()) {
        at->by_reference = true;  // so that its pages do not stay behind
        static_cast<void>(evict_from(*at));
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
    RC_CHECK(!segment.pinned);
    if (segment.age == ages_) return;
    unlink(segment);
    link_youngest(segment);
}

std::size_t SegmentPool::largest_free() const noexcept {
    const std::uint32_t orders = free_orders_[lower] | free_orders_[upper];
    if (orders == 0) return 0;
    return page_size << (std::bit_width(orders) - 1);
}

void SegmentPool::check() const noexcept {
    std::size_t used = 0;
    for (const Half half : halves) {
        std::uint64_t age = 0;
        for (const Segment* at = oldest_[half]; at != nullptr; at = at->pool_newer) {
            RC_CHECK(pages_[page_of(*at)].live == at);
            RC_CHECK(half_of(page_of(*at)) == half);
            RC_CHECK(at->owner != nullptr);
            RC_CHECK(at->age > age);
            age = at->age;
            used += at->size;
        }
        for (std::size_t order = 0; order < order_count; order++) {
            RC_CHECK(((free_orders_[half] >> order) & 1) == (free_[half][order] != no_page));
            for (PageIndex page = free_[half][order]; page != no_page;
                 page = pages_[page].free_older) {
                RC_CHECK(pages_[page].live == nullptr);
                RC_CHECK(half_of(page) == half);
                used += page_size << order;
            }
        }
    }
    std::size_t pinned = 0;
    for (PageIndex page = 0; page < pages_.size(); page++) {
        if (pages_[page].live == nullptr || !pages_[page].live->pinned) continue;
        RC_CHECK(half_of(page) == upper);
        pinned += pages_[page].live->size;
    }
    RC_CHECK(pinned == bytes_pinned_);
    RC_CHECK(used + pinned == arena_.size);
}

Segment* SegmentPool::oldest() const noexcept {
    if (oldest_[lower] == nullptr) return oldest_[upper];
    if (oldest_[upper] == nullptr) return oldest_[lower];
    return oldest_[lower]->age < oldest_[upper]->age ? oldest_[lower] : oldest_[upper];
}

// A log gives up its records in order, so to be rid of one segment all older ones of its log go;
// this is one of them. The bytes that it was.
std::size_t SegmentPool::evict_from(const Segment& segment) noexcept {
    RC_CHECK(segment.owner != nullptr);
    const std::size_t before = bytes_in_use_;
    segment.owner->retire_oldest();
    RC_CHECK(bytes_in_use_ < before);
    evictions_++;
    return before - bytes_in_use_;
}

SegmentPool::PageIndex SegmentPool::block_around(const Segment& segment,
                                                 Order order) const noexcept {
    return page_of(segment) & ~((PageIndex{1} << order) - 1);
}

bool SegmentPool::has_pin(PageIndex begin, Order order) const noexcept {
    if (bytes_pinned_ == 0 || half_of(begin) == lower) return false;
    for (PageIndex page = begin; page < begin + (PageIndex{1} << order); page++) {
        if (pages_[page].live != nullptr && pages_[page].live->pinned) return true;
    }
    return false;
}

// Makes the block of 2^order pages at `begin` free, whatever lies there.
void SegmentPool::clear_block(PageIndex begin, Order order) noexcept {
    for (PageIndex page = begin; page < begin + (PageIndex{1} << order); page++) {
        while (pages_[page].live != nullptr) {
            static_cast<void>(evict_from(*pages_[page].live));
        }
    }
    RC_CHECK(has_free(order, half_of(begin)));
}

// Makes a block of 2^order pages free around the oldest segment. Blind eviction by age would have
// to free most of the arena before so large a block appeared.
void SegmentPool::clear_for_anyone(Order order) noexcept {
    const Segment* segment = oldest();
    RC_CHECK(segment != nullptr);
    // Among pins, the oldest in the other half: no pin is there, and no block of this size, so
    // there is a segment.
    if (has_pin(block_around(*segment, order), order)) segment = oldest_[lower];
    RC_CHECK(segment != nullptr);
    clear_block(block_around(*segment, order), order);
}

// The same in the upper half, where there may be no such block.
void SegmentPool::clear_for_pin(Order order) noexcept {
    for (const Segment* at = oldest_[upper]; at != nullptr; at = at->pool_newer) {
        const PageIndex begin = block_around(*at, order);
        if (!has_pin(begin, order)) return clear_block(begin, order);
    }
}

Segment& SegmentPool::cut(Order order, Half half) noexcept {
    const PageIndex page = take_block(order, half);
    Segment& segment = take_descriptor();
    segment.bytes = arena_.base + page * page_size;
    segment.size = static_cast<std::uint32_t>(page_size << order);
    RC_CHECK(pages_[page].live == nullptr);
    pages_[page].live = &segment;
    set_resident(page, order, true);
    bytes_in_use_ += segment.size;
    RC_CHECK(bytes_in_use_ <= arena_.size);
    return segment;
}

SegmentPool::PageIndex SegmentPool::take_block(Order order, Half half) noexcept {
    RC_CHECK(has_free(order, half));
    auto found = static_cast<Order>(order + std::countr_zero(free_orders_[half] >> order));
    const PageIndex page = free_[half][found];
    remove_free(page);
    while (found > order) {
        found--;
        push_free(page + (PageIndex{1} << found), found);
    }
    return page;
}

void SegmentPool::free_block(PageIndex page, Order order) noexcept {
    RC_CHECK(pages_[page].free_order == no_order);
    const Order half = order_of(arena_.size / 2);
    while (order < half) {
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
    const Half half = half_of(page);
    const PageIndex head = free_[half][order];
    pages_[page].free_order = order;
    pages_[page].free_newer = no_page;
    pages_[page].free_older = head;
    if (head != no_page) pages_[head].free_newer = page;
    free_[half][order] = page;
    free_orders_[half] |= std::uint32_t{1} << order;
}

void SegmentPool::remove_free(PageIndex page) noexcept {
    Page& block = pages_[page];
    const Order order = block.free_order;
    const Half half = half_of(page);
    RC_CHECK(order != no_order);
    if (block.free_newer != no_page) {
        pages_[block.free_newer].free_older = block.free_older;
    } else {
        RC_CHECK(free_[half][order] == page);
        free_[half][order] = block.free_older;
    }
    if (block.free_older != no_page) pages_[block.free_older].free_newer = block.free_newer;
    if (free_[half][order] == no_page) free_orders_[half] &= ~(std::uint32_t{1} << order);
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
    const Half half = half_of(page_of(segment));
    segment.age = ++ages_;
    segment.pool_older = youngest_[half];
    segment.pool_newer = nullptr;
    (youngest_[half] != nullptr ? youngest_[half]->pool_newer : oldest_[half]) = &segment;
    youngest_[half] = &segment;
}

void SegmentPool::unlink(Segment& segment) noexcept {
    const Half half = half_of(page_of(segment));
    Segment*& from_older =
        segment.pool_older != nullptr ? segment.pool_older->pool_newer : oldest_[half];
    Segment*& from_newer =
        segment.pool_newer != nullptr ? segment.pool_newer->pool_older : youngest_[half];
    RC_CHECK(from_older == &segment);
    RC_CHECK(from_newer == &segment);
    from_older = segment.pool_newer;
    from_newer = segment.pool_older;
}

}  // namespace ringcast::feed
