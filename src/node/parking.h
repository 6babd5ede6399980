#pragma once

// What clients owe whose connection is gone, until they come back or their session ends: at the
// home shard of their ids.
//
// Bounded in bytes: past that the session that would end first ends at once.
//
// One thread owns a Parking.

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/wheel.h"
#include "node/owed.h"

namespace ringcast::node {

class Parking {
  public:
    explicit Parking(std::size_t size_max) noexcept : size_max_(size_max) {}

    // Precondition: `ends` is not before that of any other. What is here of the same client stays,
    // but for the topics that are named anew.
    void put(const std::string& client_id, std::vector<Owed> owed, Tick ends) noexcept;
    // Empty: there is nothing.
    [[nodiscard]] std::vector<Owed> take(const std::string& client_id) noexcept;

    // Ends sessions: those whose time is up, and what does not fit. Calls missed(owed) for each.
    template <typename Missed>
    void sweep(Tick now, const Missed& missed) noexcept {
        while (!order_.empty()) {
            const Turn& turn = order_.front();
            const auto found = entries_.find(turn.client_id);
            const bool stands = found != entries_.end() && found->second.version == turn.version;
            const bool over = static_cast<std::int32_t>(now - turn.ends) >= 0;
            if (stands && !over && size_ <= size_max_) return;
            if (stands) {
                for (const Owed& owed : found->second.owed) {
                    missed(owed);
                }
                size_ -= found->second.size;
                entries_.erase(found);
            }
            order_.pop_front();
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] std::size_t held_bytes() const noexcept { return size_; }

  private:
    struct Entry {
        std::vector<Owed> owed;
        std::size_t size = 0;
        std::uint64_t version = 0;
    };
    struct Turn {
        std::string client_id;
        Tick ends = 0;
        std::uint64_t version = 0;  // of the entry; another one: it was taken
    };

    std::size_t size_max_;
    std::size_t size_ = 0;
    std::uint64_t version_ = 0;
    std::unordered_map<std::string, Entry> entries_;
    std::deque<Turn> order_;  // the one that ends first in front
};

}  // namespace ringcast::node
