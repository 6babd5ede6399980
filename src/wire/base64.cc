#include "wire/base64.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace ringcast::wire {

namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::string_view url_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// All whole groups of three bytes, and what is left of them by two or three digits. Returns where
// it ends.
char* encode(char* out, Bytes bytes, std::string_view digits) noexcept {
    std::size_t at = 0;
    for (; at + 3 <= bytes.size(); at += 3) {
        const std::uint32_t group = (std::to_integer<std::uint32_t>(bytes[at]) << 16) |
                                    (std::to_integer<std::uint32_t>(bytes[at + 1]) << 8) |
                                    std::to_integer<std::uint32_t>(bytes[at + 2]);
        *out++ = digits[group >> 18];
        *out++ = digits[(group >> 12) & 63];
        *out++ = digits[(group >> 6) & 63];
        *out++ = digits[group & 63];
    }
    const std::size_t left = bytes.size() - at;
    if (left == 0) return out;
    std::uint32_t group = std::to_integer<std::uint32_t>(bytes[at]) << 16;
    if (left == 2) group |= std::to_integer<std::uint32_t>(bytes[at + 1]) << 8;
    *out++ = digits[group >> 18];
    *out++ = digits[(group >> 12) & 63];
    if (left == 2) *out++ = digits[(group >> 6) & 63];
    return out;
}

}  // namespace

void base64_encode(char* out, Bytes bytes) noexcept {
    RC_CHECK(out != nullptr || bytes.empty());
    char* const end = out + base64_size(bytes.size());
    std::fill(encode(out, bytes, alphabet), end, '=');
}

void base64url_encode(char* out, Bytes bytes) noexcept {
    RC_CHECK(out != nullptr || bytes.empty());
    const char* end = encode(out, bytes, url_alphabet);
    RC_CHECK(end == out + base64url_size(bytes.size()));
}

bool base64_is_of_size(std::string_view text, std::size_t size) noexcept {
    if (text.size() != base64_size(size)) return false;
    const std::size_t pad = (3 - size % 3) % 3;
    const std::string_view digits = text.substr(0, text.size() - pad);
    const std::string_view tail = text.substr(text.size() - pad);
    return digits.find_first_not_of(alphabet) == std::string_view::npos &&
           tail.find_first_not_of('=') == std::string_view::npos;
}

}  // namespace ringcast::wire
