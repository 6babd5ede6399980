#pragma once

// Tokens: what tells the server who a client is and what it may. A token is a compact JWS (RFC
// 7515) with the claims of a JWT (RFC 7519), signed by whoever has the key: an application's own
// server, or `ringcastd gen-token`.
//
// The algorithm is configured, one for the whole server, and what a token says of it must be that
// one; a key is of one algorithm only. So nobody can have a public key taken for a secret, and
// `none` does not exist (RFC 8725, sections 3.1 and 3.2).
//
// Functions of their arguments: no files, no clock. Any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringcast {

enum class TokenAlgorithm : std::uint8_t {
    none,   // the server knows no tokens: everybody is anonymous
    hs256,  // HMAC-SHA-256, one secret for both sides
    rs256,  // RSA PKCS #1 v1.5 with SHA-256, from 2048 bits
    es256,  // ECDSA on P-256 with SHA-256
    eddsa,  // Ed25519 (RFC 8037)
};

// As RFC 7518 writes it: "HS256"; "none" is said here only.
[[nodiscard]] constexpr std::string_view name_of(TokenAlgorithm algorithm) noexcept {
    switch (algorithm) {
        case TokenAlgorithm::none:
            break;
        case TokenAlgorithm::hs256:
            return "HS256";
        case TokenAlgorithm::rs256:
            return "RS256";
        case TokenAlgorithm::es256:
            return "ES256";
        case TokenAlgorithm::eddsa:
            return "EdDSA";
    }
    return "none";
}

// What of a token is looked at, beside its signature.
struct TokenRules {
    TokenAlgorithm algorithm = TokenAlgorithm::none;
    std::string issuer;         // `iss` must be this; empty: anything
    std::string audience;       // `aud` must be or list this; empty: anything
    std::int64_t leeway_s = 0;  // by which clocks may differ
};

// What a token says. Times are Unix seconds; 0 is: not there.
struct TokenClaims {
    std::string user;                    // sub: 1 to 128 bytes without control characters
    std::vector<std::string> subscribe;  // patterns of topics (feed/pattern.h), 64 at most
    std::vector<std::string> publish;
    std::vector<std::string> presence;  // whose clients may be asked for; `true` is as `subscribe`
    std::string info;                   // JSON text, 256 bytes at most: what others see of it
    std::string issuer;                 // iss and aud are for make_token(): checked, and not kept
    std::string audience;
    std::int64_t expires_s = 0;     // exp, which must be there
    std::int64_t not_before_s = 0;  // nbf
    std::int64_t issued_s = 0;      // iat
    std::uint32_t connections = 0;  // limits.connections of this user at a time; 0: as configured
    std::uint32_t messages = 0;     // limits.messages a second; 0: as configured
};

// Each of these returns one line about what is wrong; empty when nothing is. No line has a part of
// a token or a key in it.

// `keys`: for hs256 secrets, one a line, of at least 32 bytes each, any of which may have signed;
// for the others a JWKS (RFC 7517), of which the keys of that algorithm count. 16 at most.
[[nodiscard]] std::string check_keys(TokenAlgorithm algorithm, std::string_view keys) noexcept;

// Signed with the first of these secrets (hs256).
[[nodiscard]] std::string make_token(std::string_view keys,
                                     const TokenClaims& claims,
                                     std::string& token) noexcept;

[[nodiscard]] std::string check_token(std::string_view keys,
                                      const TokenRules& rules,
                                      std::string_view token,
                                      std::int64_t now_s,
                                      TokenClaims& claims) noexcept;

// Overwrites a secret before it is given back.
void wipe(std::string& secret) noexcept;

}  // namespace ringcast
