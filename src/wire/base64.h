#pragma once

// Base64 (RFC 4648): section 4, the standard alphabet, padded; and section 5, base64url, without
// padding.

#include <cstddef>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace ringcast::wire {

[[nodiscard]] constexpr std::size_t base64_size(std::size_t size) noexcept {
    return (size + 2) / 3 * 4;
}

// Writes exactly base64_size(bytes.size()) characters.
void base64_encode(char* out, Bytes bytes) noexcept;

[[nodiscard]] constexpr std::size_t base64url_size(std::size_t size) noexcept {
    return (4 * size + 2) / 3;
}

// Writes exactly base64url_size(bytes.size()) characters.
void base64url_encode(char* out, Bytes bytes) noexcept;

// Is it the base64 form of exactly `size` bytes? Bits that padding leaves over may be anything:
// decoders in the field ignore them.
[[nodiscard]] bool base64_is_of_size(std::string_view text, std::size_t size) noexcept;

[[nodiscard]] std::string base64url_encode(std::string_view bytes) noexcept;
// False: not what base64url_encode() makes of anything. Of some bytes there is one form only.
[[nodiscard]] bool base64url_decode(std::string_view text, std::string& bytes) noexcept;

}  // namespace ringcast::wire
