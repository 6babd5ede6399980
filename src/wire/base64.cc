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

// Of a character of the URL alphabet; 64 of any other.
constexpr std::uint32_t url_digit(char c) noexcept {
    if (c >= 'A' && c <= 'Z') return static_cast<std::uint32_t>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<std::uint32_t>(c - 'a') + 26;
    if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0') + 52;
    return c == '-' ? 62 : c == '_' ? 63 : 64;
}

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

std::string base64url_encode(std::string_view bytes) noexcept {
    std::string text(base64url_size(bytes.size()), '\0');
    base64url_encode(text.data(), as_bytes(bytes));
    return text;
}

bool base64url_decode(std::string_view text, std::string& bytes) noexcept {
    bytes.clear();
    if (text.size() % 4 == 1) return false;
    bytes.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    std::uint32_t count = 0;  // of bits that wait
    for (const char c : text) {
        const std::uint32_t digit = url_digit(c);
        if (digit == 64) return false;
        bits = bits << 6 | digit;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        bytes += static_cast<char>(bits >> count & 0xff);
        bits &= (1U << count) - 1;
    }
    return bits == 0;
}

}  // namespace ringcast::wire
