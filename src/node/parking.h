#pragma once

// What clients owe whose connection is gone, until they come back or their session ends: at the
// home shard of their sessions.
//
// Bounded in bytes: past that the session that would end first ends at the next sweep().
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

    // Precondition: `ends` is not before that of any other. What is here of the same session stays.
    void put(const std::string& session, std::vector<Owed> owed, Tick ends) noexcept;
    // Empty: there is nothing.
    [[nodiscard]] std::vector<Owed> take(const std::string& session) noexcept;

    // Ends sessions: those whose time is up, and what does not fit. Calls missed(owed) for each
    // topic of them. A few at a time: true if there are more.
    template <typename Tell>
    [[nodiscard]] bool sweep(Tick now, const Tell& missed) noexcept {
        for (std::uint32_t left = ends_max; !order_.empty(); left--) {
            const Turn& turn = order_.front();
            const auto found = entries_.find(turn.session);
            const bool stands = found != entries_.end() && found->second.version == turn.version;
            const bool over = static_cast<std::int32_t>(now - turn.ends) >= 0;
            if (stands && !over && size_ <= size_max_) return false;
            if (left == 0) return true;
            if (stands) {
                for (const Owed& owed : found->second.owed) {
                    missed(owed);
                }
                size_ -= found->second.size;
                entries_.erase(found);
            }
            size_ -= size_of(turn);
            order_.pop_front();
        }
        return false;
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
        std::string session;
        Tick ends = 0;
        std::uint64_t version = 0;  // of the entry; another one: it was taken
    };

    static constexpr std::uint32_t ends_max = 64;
    [[nodiscard]] static std::size_t size_of(const Turn& turn) noexcept {
        return sizeof(Turn) + turn.session.capacity();
    }

    std::size_t size_max_;
    std::size_t size_ = 0;
    std::uint64_t version_ = 0;
    std::unordered_map<std::string, Entry> entries_;
    std::deque<Turn> order_;  // the one that ends first in front
};

}  // namespace ringcast::node
