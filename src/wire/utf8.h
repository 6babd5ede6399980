#pragma once

// Streaming UTF-8 (RFC 3629): may a text that arrives in pieces still become valid?
//
// feed() says no at the first byte that cannot be part of any valid text, wherever pieces were cut,
// so that a text message fails as early as possible (Autobahn 6.4). Overlong forms, surrogates and
// anything above U+10FFFF are invalid; U+0000 and non-characters are fine.
//
// The state is four bytes; copying it is free.

#include <cstdint>

#include "base/bytes.h"

namespace ringcast::wire {

class Utf8 {
  public:
    // False: no continuation can make this text valid. Stays false until reset().
    [[nodiscard]] bool feed(Bytes piece) noexcept;

    // The text so far is valid and does not end inside a character.
    [[nodiscard]] bool complete() const noexcept { return needed_ == 0 && !failed_; }

    void reset() noexcept { *this = Utf8{}; }

  private:
    [[nodiscard]] bool feed_byte(std::uint8_t byte) noexcept;

    std::uint8_t needed_ = 0;    // continuation bytes still to come
    std::uint8_t lower_ = 0x80;  // the next of them lies in [lower_, upper_]
    std::uint8_t upper_ = 0xbf;
    bool failed_ = false;
};

static_assert(sizeof(Utf8) <= 8);

// One whole text.
[[nodiscard]] bool utf8_valid(Bytes text) noexcept;

}  // namespace ringcast::wire
