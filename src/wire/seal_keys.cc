#include "ringcast/seal_keys.h"

#include <algorithm>

#include <openssl/crypto.h>

namespace ringcast {

namespace {

constexpr std::string_view blanks = " \t\r";

[[nodiscard]] bool is_name_char(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

// The next word off the front of `rest`; empty at its end.
[[nodiscard]] std::string_view take_word(std::string_view& rest) noexcept {
    rest.remove_prefix(std::min(rest.find_first_not_of(blanks), rest.size()));
    const std::string_view word = rest.substr(0, rest.find_first_of(blanks));
    rest.remove_prefix(word.size());
    return word;
}

[[nodiscard]] int digit_of(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

[[nodiscard]] bool read_secret(std::string_view digits, SealSecret& secret) noexcept {
    if (digits.size() != 2 * SealSecret::size) return false;
    for (std::size_t i = 0; i < SealSecret::size; i++) {
        const int high = digit_of(digits[2 * i]);
        const int low = digit_of(digits[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        secret.bytes[i] = static_cast<std::byte>(high * 16 + low);
    }
    return true;
}

// Nobody draws such a one by chance: somebody has filled it in.
[[nodiscard]] bool is_filler(const SealSecret& secret) noexcept {
    return std::all_of(secret.bytes.begin(), secret.bytes.end(), [&](std::byte each) {
        return each == secret.bytes.front();
    });
}

[[nodiscard]] bool same_secret(const SealSecret& a, const SealSecret& b) noexcept {
    return CRYPTO_memcmp(a.bytes.data(), b.bytes.data(), SealSecret::size) == 0;
}

// Adds what one line says, or says what is wrong with it.
[[nodiscard]] const char* read_line(std::string_view line, SealKeys& keys) noexcept {
    SealKey key;
    const std::string_view name = take_word(line);
    if (name.empty() || name.starts_with('#')) return nullptr;
    const std::string_view id = take_word(line);
    const std::string_view digits = take_word(line);
    if (digits.empty() || !take_word(line).empty()) return "a line is NAME ID KEY";
    if (!seal_name_valid(name)) return "a name has 1 to 64 of a-z A-Z 0-9 . _ -";
    if (!seal_name_valid(id)) return "an id has 1 to 64 of a-z A-Z 0-9 . _ -";
    if (!read_secret(digits, key.secret)) return "a key has 64 hexadecimal digits";
    if (is_filler(key.secret)) return "all bytes of the key are the same";
    if (keys.size() >= seal_keys_max) return "more than 1024 keys";
    for (const SealKey& other : keys) {
        if (other.id == id) return "this id is there already";
        if (same_secret(other.secret, key.secret)) return "this key is there under another id";
    }
    key.name = name;
    key.id = id;
    keys.push_back(key);
    return nullptr;
}

}  // namespace

bool seal_name_valid(std::string_view name) noexcept {
    return !name.empty() && name.size() <= seal_name_max &&
           std::all_of(name.begin(), name.end(), is_name_char);
}

const SealKey* find_seal_key(const SealKeys& keys, std::string_view name) noexcept {
    const auto found = std::find_if(
        keys.begin(), keys.end(), [=](const SealKey& key) { return key.name == name; });
    return found == keys.end() ? nullptr : &*found;
}

std::string parse_seal_keys(std::string_view text, SealKeys& keys) noexcept {
    keys.clear();
    keys.reserve(std::min<std::size_t>(
        static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1, seal_keys_max));
    std::size_t number = 1;
    for (; !text.empty(); number++) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const char* problem = read_line(text.substr(0, end), keys);
        if (problem != nullptr) {
            keys.clear();
            return "line " + std::to_string(number) + ": " + problem;
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return keys.empty() ? "no key is in it" : std::string();
}

}  // namespace ringcast
