#pragma once

// The keys of sealed topics (docs/SECURITY.md, "Sealed payloads"): what an operator writes into the
// file of --seal-keys-file, and readers into theirs.
//
// A line is "NAME ID KEY". The rule of a topic says NAME ("seal=prices"); the first line of a name
// is the key with which the server seals now, the others are those that readers may still need. ID
// goes over the wire, so it stands once in a file and never changes its KEY, which is 64
// hexadecimal digits (openssl rand -hex 32). Blank lines and those that begin with # do not count.
//
// Secrets are wiped when they go. Any thread.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <string.h>  // explicit_bzero (glibc), which <cstring> need not have

namespace ringcast {

constexpr std::size_t seal_keys_max = 1024;
constexpr std::size_t seal_name_max = 64;  // bytes of a name, and of an id

// 256 bits that only the server and the readers know.
struct SealSecret {
    static constexpr std::size_t size = 32;
    std::array<std::byte, size> bytes{};

    SealSecret() noexcept = default;
    SealSecret(const SealSecret&) noexcept = default;
    SealSecret& operator=(const SealSecret&) noexcept = default;
    ~SealSecret() { explicit_bzero(bytes.data(), bytes.size()); }
};

struct SealKey {
    std::string name;
    std::string id;
    SealSecret secret;
};

using SealKeys = std::vector<SealKey>;

// 1 to 64 letters, digits, dots, underscores and hyphens of ASCII: a name or an id.
[[nodiscard]] bool seal_name_valid(std::string_view name) noexcept;
// The key with which topics of that name are sealed; null if there is none.
[[nodiscard]] const SealKey* find_seal_key(const SealKeys& keys, std::string_view name) noexcept;
// A whole file. Returns a line about the first thing that is not allowed, which begins with its
// place and repeats nothing of the file, since that may be a key; empty when all is. After a
// problem `keys` is empty.
[[nodiscard]] std::string parse_seal_keys(std::string_view text, SealKeys& keys) noexcept;

}  // namespace ringcast
