#pragma once

// Bytes for one client only: replies, pings, notices, and the rest of a record whose segment went.
// A first-in-first-out of whole frames, sent before any log slice. Empty it holds no memory but
// itself (8 bytes): most clients most of the time.
//
// One thread owns an Outbox.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace ringcast::feed {

class Outbox {
  public:
    // Appends a whole frame. False (and nothing happens) if more than `size_max` bytes would wait.
    [[nodiscard]] bool push(Bytes frame, std::size_t size_max) noexcept;
    // Puts the rest of a begun record in front of everything (it was begun before what waits here).
    void push_front(Bytes rest) noexcept;

    [[nodiscard]] bool empty() const noexcept { return data_ == nullptr; }
    [[nodiscard]] Bytes pending() const noexcept;
    void consume(std::size_t size) noexcept;  // size <= pending().size()
    [[nodiscard]] std::size_t held_bytes() const noexcept;
    void clear() noexcept;

  private:
    struct Data;  // header and bytes in one allocation
    std::unique_ptr<Data> data_;
};

}  // namespace ringcast::feed
