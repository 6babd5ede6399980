#include "feed/dedup_window.h"

#include <algorithm>

#include "base/check.h"
#include "base/plant.h"

namespace ringcast::feed {

namespace {

constexpr std::size_t first_size = 64;

}  // namespace

DedupWindow::DedupWindow(std::uint32_t count_max, Tick span) noexcept
    : count_max_(count_max), span_(span) {
    RC_CHECK(span > 0);
}

std::optional<Seq> DedupWindow::find(const Key& key, Tick now) noexcept {
    expire(now);
    const std::uint32_t at =
        index_.find(key.low, [&](std::uint32_t place) { return ring_[place].key == key; });
    if (at == IndexTable::none) return std::nullopt;
    return ring_[at].offset;
}

void DedupWindow::add(const Key& key, Seq offset, Tick now) noexcept {
    if (count_max_ == 0) return;
    if (size() == count_max_) drop_oldest();
    if (size() == ring_.size()) grow();
    const auto place = static_cast<std::uint32_t>((oldest_ + size()) % ring_.size());
    ring_[place] = {.key = key, .offset = offset, .added = now};
    index_.insert(key.low, place);
    RC_CHECK(size() <= count_max_);
}

// Ticks wrap; an entry is never half the clock old, since every look-up comes by here first.
void DedupWindow::expire(Tick now) noexcept {
    while (size() > 0 && static_cast<Tick>(now - ring_[oldest_].added) >= span_) {
        drop_oldest();
    }
}

void DedupWindow::drop_oldest() noexcept {
    RC_CHECK(size() > 0);
    const Key key = ring_[oldest_].key;
    const std::uint32_t gone =
        index_.erase(key.low, [&](std::uint32_t place) { return place == oldest_; });
    RC_CHECK(gone == oldest_);
    oldest_ = static_cast<std::uint32_t>((oldest_ + 1) % ring_.size());
}

// Only when it is full, so that the oldest comes first again.
void DedupWindow::grow() noexcept {
    RC_CHECK(size() == ring_.size());
    const std::size_t wanted = std::max(first_size, ring_.size() * 2);
    std::rotate(ring_.begin(), ring_.begin() + oldest_, ring_.end());
    ring_.resize(std::min<std::size_t>(wanted, count_max_));
    oldest_ = 0;
    const auto count = static_cast<std::uint32_t>(index_.size());
    index_ = IndexTable();
    for (std::uint32_t place = 0; place < count; place++) {
        index_.insert(ring_[place].key.low, place);
    }
}

}  // namespace ringcast::feed
