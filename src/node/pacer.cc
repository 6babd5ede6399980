#include "node/pacer.h"

#include <algorithm>

#include "base/check.h"

namespace ringcast::node {

namespace {

// Ticks wrap: by signed difference, as in base/wheel.h.
[[nodiscard]] bool later(const Paced& a, const Paced& b) noexcept {
    return static_cast<std::int32_t>(a.due - b.due) > 0;
}

}  // namespace

void Pacer::push(const Paced& entry) noexcept {
    heap_.push_back(entry);
    std::push_heap(heap_.begin(), heap_.end(), later);
}

void Pacer::add(Paced subscription, Tick now) noexcept {
    RC_CHECK(subscription.interval > 0);
    subscription.version = ++version_;
    subscription.due = now + subscription.interval;
    versions_[{.serial = subscription.serial, .topic = subscription.topic}] = subscription.version;
    push(subscription);
}

void Pacer::remove(std::uint64_t serial, std::uint32_t topic) noexcept {
    if (!versions_.empty()) versions_.erase({.serial = serial, .topic = topic});
}

const Paced* Pacer::next(Tick now) noexcept {
    while (!heap_.empty() && static_cast<std::int32_t>(now - heap_.front().due) >= 0) {
        std::pop_heap(heap_.begin(), heap_.end(), later);
        told_ = heap_.back();
        heap_.pop_back();
        const auto found = versions_.find({.serial = told_.serial, .topic = told_.topic});
        if (found == versions_.end() || found->second != told_.version) continue;
        told_.due = now + told_.interval;
        push(told_);
        return &told_;
    }
    return nullptr;
}

}  // namespace ringcast::node
