#pragma once

// Subscriptions that get no more than so many batches a second, and when each may have its next.
//
// A min-heap by time: O(log n) a batch. An entry whose subscription is gone is dropped when its
// turn comes, which is after its interval, so there are never many of them. One thread owns a
// Pacer.

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/wheel.h"
#include "io/reactor.h"

namespace ringcast::node {

struct Paced {
    Tick due = 0;
    Tick interval = 0;  // at least 1
    io::ConnIndex conn = io::no_conn;
    std::uint32_t topic = 0;
    std::uint64_t serial = 0;   // of the session
    std::uint32_t version = 0;  // the Pacer's: an older one of the same subscription is void
};

class Pacer {
  public:
    // `subscription` (due and version aside) is paced from `now` on, instead of how it was.
    void add(Paced subscription, Tick now) noexcept;
    // It is paced no more.
    void remove(std::uint64_t serial, std::uint32_t topic) noexcept;
    // One whose turn has come: it is due again after its interval. Null if there is none.
    [[nodiscard]] const Paced* next(Tick now) noexcept;

    // When next() will have something: meaningless when empty().
    [[nodiscard]] Tick due() const noexcept { return heap_.front().due; }
    [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }

  private:
    struct Key {
        std::uint64_t serial = 0;
        std::uint32_t topic = 0;
        bool operator==(const Key&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept {
            return static_cast<std::size_t>(key.serial * 0x9e3779b97f4a7c15U + key.topic);
        }
    };

    void push(const Paced& entry) noexcept;

    std::vector<Paced> heap_;  // the one that is due first in front
    std::unordered_map<Key, std::uint32_t, Hash> versions_;
    std::uint32_t version_ = 0;
    Paced told_;
};

}  // namespace ringcast::node
