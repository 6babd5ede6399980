#pragma once

// What proves that a client is the one of an earlier connection: a keyed hash of its id, so the
// server need not remember whom it gave one.
//
// HMAC-SHA-256 (RFC 2104) of the id, its first 128 bits in hexadecimal. Pure functions.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace ringcast::wire {

using TokenKey = std::array<std::byte, 32>;  // random, of the process

[[nodiscard]] std::string session_token(const TokenKey& key, std::string_view client_id) noexcept;
// Takes the same time wherever they differ.
[[nodiscard]] bool session_token_valid(const TokenKey& key,
                                       std::string_view client_id,
                                       std::string_view token) noexcept;

}  // namespace ringcast::wire
