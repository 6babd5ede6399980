#include "wire/utf8.h"

#include <cstring>

#include <simdjson.h>

namespace ringcast::wire {

namespace {

// Bytes of a character that `lead` begins; 0 if nothing begins with it.
std::size_t character_size(std::uint8_t lead) noexcept {
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0;  // a continuation, or an overlong form
    if (lead < 0xe0) return 2;
    if (lead < 0xf0) return 3;
    return lead < 0xf5 ? 4 : 0;  // from 0xf5: above U+10FFFF
}

// Bytes at the end that begin a character and do not finish it: 0-3.
std::size_t unfinished_tail(Bytes text) noexcept {
    for (std::size_t back = 1; back <= 3 && back <= text.size(); back++) {
        const auto byte = std::to_integer<std::uint8_t>(text[text.size() - back]);
        if ((byte & 0xc0) == 0x80) continue;
        return character_size(byte) > back ? back : 0;
    }
    return 0;
}

// Whole words only; what is left over (up to seven bytes) is for the caller.
bool words_are_ascii(Bytes text) noexcept {
    std::uint64_t seen = 0;
    std::size_t at = 0;
    for (; at + 8 <= text.size(); at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data() + at, 8);
        seen |= word;
    }
    for (; at < text.size(); at++) {
        seen |= std::to_integer<std::uint64_t>(text[at]);
    }
    return (seen & 0x8080808080808080) == 0;
}

}  // namespace

bool utf8_valid(Bytes text) noexcept {
    // Most small texts are ASCII, and a word at a time beats the call behind the virtual one.
    constexpr std::size_t small_size = 128;
    if (text.size() < small_size && words_are_ascii(text)) return true;
    return simdjson::validate_utf8(as_text(text).data(), text.size());
}

bool Utf8::feed(Bytes piece) noexcept {
    std::size_t at = 0;
    while (needed_ != 0 && at < piece.size()) {
        if (!feed_byte(std::to_integer<std::uint8_t>(piece[at++]))) return false;
    }
    const Bytes rest = piece.subspan(at);
    const std::size_t tail = unfinished_tail(rest);
    if (failed_ || !utf8_valid(rest.first(rest.size() - tail))) {
        failed_ = true;
        return false;
    }
    for (const std::byte byte : rest.last(tail)) {
        if (!feed_byte(std::to_integer<std::uint8_t>(byte))) return false;
    }
    return true;
}

// Table 3-7 of the Unicode standard: only the first continuation byte has a range of its own.
bool Utf8::feed_byte(std::uint8_t byte) noexcept {
    if (failed_) return false;
    if (needed_ == 0) {
        const std::size_t size = character_size(byte);
        failed_ = size == 0;
        if (failed_) return false;
        needed_ = static_cast<std::uint8_t>(size - 1);
        lower_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
        upper_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
        return true;
    }
    failed_ = byte < lower_ || byte > upper_;
    if (failed_) return false;
    needed_--;
    lower_ = 0x80;
    upper_ = 0xbf;
    return true;
}

}  // namespace ringcast::wire
