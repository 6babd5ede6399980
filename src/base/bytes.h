#pragma once

// Views of bytes, and big-endian numbers in them. Nothing here owns memory.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ringcast {

using Bytes = std::span<const std::byte>;
using MutBytes = std::span<std::byte>;

// The same bytes as text, and text as bytes. No check of the encoding is made.
[[nodiscard]] inline std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline Bytes as_bytes(std::string_view text) noexcept {
    return std::as_bytes(std::span(text.data(), text.size()));
}

constexpr void store_be16(std::byte* target, std::uint16_t value) noexcept {
    target[0] = static_cast<std::byte>(value >> 8);
    target[1] = static_cast<std::byte>(value & 0xff);
}

constexpr void store_be64(std::byte* target, std::uint64_t value) noexcept {
    for (int i = 0; i < 8; i++) {
        target[i] = static_cast<std::byte>((value >> (56 - 8 * i)) & 0xff);
    }
}

[[nodiscard]] constexpr std::uint16_t load_be16(const std::byte* source) noexcept {
    return static_cast<std::uint16_t>((std::to_integer<unsigned>(source[0]) << 8) |
                                      std::to_integer<unsigned>(source[1]));
}

[[nodiscard]] constexpr std::uint64_t load_be64(const std::byte* source) noexcept {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = (value << 8) | std::to_integer<std::uint64_t>(source[i]);
    }
    return value;
}

}  // namespace ringcast
