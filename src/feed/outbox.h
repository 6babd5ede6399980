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
    // Appends a whole frame. False (and nothing happens) if more than `size_max` bytes would wait,
    // not counting what is left of push_front()s: a client in the middle of a large record can
    // still be told something, and the memory stays below size_max and one record.
    [[nodiscard]] bool push(Bytes frame, std::size_t size_max) noexcept;
    // Puts the rest of a begun record in front of everything (it was begun before what waits here).
    // Precondition: no frame in here has been begun.
    void push_front(Bytes rest) noexcept;

    [[nodiscard]] bool empty() const noexcept { return data_ == nullptr; }
    [[nodiscard]] Bytes pending() const noexcept;  // valid until the next call that is not const
    void consume(std::size_t size) noexcept;       // size <= pending().size()
    [[nodiscard]] std::size_t held_bytes() const noexcept;  // memory, its own 8 bytes not counted
    void clear() noexcept { data_.reset(); }

  private:
    struct Data;  // header and bytes in one allocation
    struct Free {
        void operator()(Data* data) const noexcept;
    };

    void make_room(std::size_t front, std::size_t back) noexcept;

    std::unique_ptr<Data, Free> data_;
};

static_assert(sizeof(Outbox) == sizeof(void*));  // every connection has one

}  // namespace ringcast::feed
