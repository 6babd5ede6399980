#pragma once

// JSON Web Tokens as compact JWS (RFC 7515, 7519): verify, and make. See ringcast/token.h for what
// they say here.
//
// In this order: size, shape, header, algorithm, key, signature, and only behind a good signature
// the claims. Base64url is read strictly (RFC 7515, appendix C; no bits left over), so of one
// signature there is one spelling. `crit` is refused, since we understand no extension (4.1.11);
// `jku`, `x5u`, `jwk` and the like are never looked at: keys come from the operator alone.
//
// Pure functions: time is passed in. Any thread; a JwtKeys is owned by one.

#include <cstdint>
#include <string>
#include <string_view>

#include "ringcast/token.h"

#include "wire/jwt_keys.h"

namespace ringcast::wire {

constexpr std::size_t jwt_size_max = 8192;
constexpr std::size_t jwt_user_size_max = 128;
constexpr std::size_t jwt_patterns_max = 64;  // of one claim

enum class JwtError : std::uint8_t {
    none,
    too_large,        // over jwt_size_max
    malformed,        // not three parts in base64url
    bad_header,       // not a JSON object with alg; crit; a member twice
    wrong_algorithm,  // not the one that is configured
    unknown_key,      // no key with its kid
    bad_signature,    // of none of the keys
    bad_claims,       // not a JSON object; a claim that we read has another type or size, or is
                      // there twice
    no_user,          // no sub
    no_expiry,        // no exp
    expired,          // exp is past
    not_yet,          // nbf or iat is ahead
    wrong_issuer,
    wrong_audience,
};

[[nodiscard]] const char* describe(JwtError error) noexcept;  // one line

// `claims`: what it says, if the error is none. Precondition: keys.algorithm() == rules.algorithm.
[[nodiscard]] JwtError verify_jwt(std::string_view token,
                                  const JwtKeys& keys,
                                  const TokenRules& rules,
                                  std::int64_t now_s,
                                  TokenClaims& claims) noexcept;

// Of claims that verify_jwt() would take; lists and texts that are empty are left out.
// Precondition: keys of hs256.
[[nodiscard]] std::string make_jwt(const JwtKeys& keys, const TokenClaims& claims) noexcept;

// Whether verify_jwt() would take them, but for the time.
[[nodiscard]] bool claims_valid(const TokenClaims& claims) noexcept;

}  // namespace ringcast::wire
