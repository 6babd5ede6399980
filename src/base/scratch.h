#pragma once

// Room on the stack for what is about to be written into it.
//
// A std::array that nobody initialises is just as cheap, but to a reader and to the linter it looks
// like one that somebody forgot; zeroing 512 bytes for each message would cost more than writing a
// reply does. Nothing of it may be read that was not written.

#include <cstddef>

namespace ringcast {

template <typename T, std::size_t count>
class Scratch {
  public:
    Scratch() noexcept {}  // NOLINT(*-member-init): that is the point
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    [[nodiscard]] static constexpr std::size_t size() noexcept { return count; }
    [[nodiscard]] T* data() noexcept { return items_; }
    [[nodiscard]] T* begin() noexcept { return items_; }
    [[nodiscard]] T* end() noexcept { return items_ + count; }

  private:
    T items_[count];
};

}  // namespace ringcast
