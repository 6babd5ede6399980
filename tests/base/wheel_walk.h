#pragma once

// A timing wheel against a plain model, std::multimap of due ticks: one step arms, cancels or
// advances, and both must fire the same ids in the same order. Where chance comes from is the
// caller's: a seed in unit tests, the input in a fuzzer. Broken properties are REQUIREs of doctest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/wheel.h"

namespace ringcast::test {

inline std::int32_t distance(Tick from, Tick to) {
    return static_cast<std::int32_t>(to - from);
}

// The plain model: due ticks in order, counted from the first tick so that they do not wrap.
class WheelModel {
  public:
    explicit WheelModel(std::uint32_t id_count) : entry_of_(id_count, entries_.end()) {}

    void arm(std::uint32_t id, std::int64_t due) {
        cancel(id);
        entry_of_[id] = entries_.emplace(due, id);
    }
    void cancel(std::uint32_t id) {
        if (entry_of_[id] == entries_.end()) return;
        entries_.erase(entry_of_[id]);
        entry_of_[id] = entries_.end();
    }
    [[nodiscard]] bool armed(std::uint32_t id) const { return entry_of_[id] != entries_.end(); }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::int64_t earliest() const { return entries_.begin()->first; }
    // Due tick of `id`, which leaves.
    std::int64_t take(std::uint32_t id) {
        const std::int64_t due = entry_of_[id]->first;
        cancel(id);
        return due;
    }

  private:
    std::multimap<std::int64_t, std::uint32_t> entries_;
    std::vector<std::multimap<std::int64_t, std::uint32_t>::iterator> entry_of_;
};

// Distances of all sizes, so that every level is used.
template <typename Chance>
std::int64_t any_distance(Chance& chance) {
    return static_cast<std::int64_t>(chance.next() >> chance.between(33, 63));
}

template <typename Chance>
class WheelWalk {
  public:
    WheelWalk(Chance& chance, Tick start, std::uint32_t id_count)
        : chance_(chance),
          first_(start),
          wheel_(start, id_count),
          model_(id_count),
          id_count_(id_count) {}

    void step() {
        const auto id = static_cast<std::uint32_t>(chance_.below(id_count_));
        switch (chance_.below(8)) {
            case 0:
                wheel_.cancel(id);
                model_.cancel(id);
                break;
            case 1:
                advance(now_ + any_distance(chance_));
                break;
            case 2:
                advance(now_ + distance(tick(now_), wheel_.next_due(tick(now_))));
                break;
            default:
                arm(id, now_ + any_distance(chance_) - 3);
        }
        REQUIRE(wheel_.armed(id) == model_.armed(id));
        check();
    }

    [[nodiscard]] std::uint64_t fired() const { return fired_; }

  private:
    [[nodiscard]] Tick tick(std::int64_t at) const { return first_ + static_cast<Tick>(at); }

    void arm(std::uint32_t id, std::int64_t due) {
        wheel_.arm(id, tick(due));
        model_.arm(id, std::max(due, now_));  // what is overdue counts as due now
    }

    static void on_fire(void* context, std::uint32_t id) noexcept {
        auto& walk = *static_cast<WheelWalk*>(context);
        REQUIRE(walk.model_.armed(id));
        REQUIRE_FALSE(walk.wheel_.armed(id));
        const std::int64_t due = walk.model_.take(id);
        REQUIRE_FALSE(walk.held_);
        REQUIRE(due >= walk.last_due_);
        REQUIRE(due <= walk.now_);
        walk.last_due_ = due;
        walk.fired_++;
        if (walk.chance_.chance(1, 16)) {
            walk.held_ = true;
            walk.wheel_.hold();
        }
        if (walk.chance_.chance(1, 4)) {
            walk.rearmed_.emplace_back(id, walk.now_ + any_distance(walk.chance_) - 2);
            walk.wheel_.arm(id, walk.tick(walk.rearmed_.back().second));
        }
        if (walk.chance_.chance(1, 8)) {
            const auto other = static_cast<std::uint32_t>(walk.chance_.below(walk.id_count_));
            walk.wheel_.cancel(other);
            walk.model_.cancel(other);
            std::erase_if(walk.rearmed_, [&](const auto& entry) { return entry.first == other; });
        }
    }

    void advance(std::int64_t to) {
        now_ = to;
        last_due_ = INT64_MIN;
        held_ = false;
        wheel_.advance(tick(now_), on_fire, this);
        REQUIRE((held_ || model_.empty() || model_.earliest() > now_));
        for (const auto& [id, due] : rearmed_) {
            model_.arm(id, std::max(due, now_));
        }
        rearmed_.clear();
    }

    void check() {
        REQUIRE(wheel_.armed_count() == model_.size());
        const Tick fallback = tick(now_) + 12345;
        const Tick next = wheel_.next_due(fallback);
        if (model_.empty()) {
            REQUIRE(next == fallback);
        } else {
            REQUIRE(distance(next, tick(std::max(model_.earliest(), now_))) >= 0);
            REQUIRE(distance(tick(now_), next) >= (model_.earliest() > now_ ? 1 : 0));
        }
    }

    Chance& chance_;
    Tick first_;
    Wheel wheel_;
    WheelModel model_;
    std::uint32_t id_count_;
    std::int64_t now_ = 0;
    std::int64_t last_due_ = 0;
    std::uint64_t fired_ = 0;
    bool held_ = false;  // by a callback of this advance()
    std::vector<std::pair<std::uint32_t, std::int64_t>> rearmed_;
};

}  // namespace ringcast::test
