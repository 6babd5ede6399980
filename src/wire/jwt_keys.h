#pragma once

// The keys that tokens are signed with. A set is of one algorithm, and a key that does not fit it
// is not in it: what a token says cannot make an RSA key a secret (RFC 8725, section 3.1).
//
// hs256: the text holds a secret a line, of printable characters; all are alive, the first one
// signs. The others: a JWKS (RFC 7517, 8037), of which the keys count whose type, curve, `use` and
// `alg` fit. A private key in it is refused: it has no business here.
//
// Pure but for OpenSSL's allocations. One thread owns a set.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/token.h"

extern "C" {
struct evp_pkey_st;  // EVP_PKEY, without its header in ours
}

namespace ringcast::wire {

constexpr std::size_t jwt_keys_max = 16;
constexpr std::size_t jwt_keys_size_max = 64 * 1024;  // of the text
constexpr std::size_t jwt_secret_size_min = 32;       // RFC 7518, section 3.2
constexpr std::size_t jwt_kid_size_max = 255;

class JwtKeys {
  public:
    // No keys: one line in `problem`, which has nothing of the text in it.
    [[nodiscard]] static JwtKeys parse(TokenAlgorithm algorithm,
                                       std::string_view text,
                                       std::string& problem) noexcept;
    JwtKeys() noexcept;
    JwtKeys(JwtKeys&&) noexcept;
    JwtKeys& operator=(JwtKeys&&) noexcept;
    ~JwtKeys();  // wipes secrets

    [[nodiscard]] TokenAlgorithm algorithm() const noexcept { return algorithm_; }
    [[nodiscard]] std::size_t size() const noexcept { return keys_.size(); }
    // Is there a key that has this kid? A key without one has any; and so has every secret.
    [[nodiscard]] bool knows(std::string_view kid) const noexcept;
    // Did one of them sign it, one with this kid unless that is empty? Takes the same time wherever
    // a wrong HMAC differs.
    [[nodiscard]] bool signed_by_one(std::string_view kid,
                                     std::string_view input,
                                     std::string_view signature) const noexcept;
    // Precondition: hs256, and there is a key.
    [[nodiscard]] std::string sign(std::string_view input) const noexcept;

  private:
    struct FreeKey {
        void operator()(evp_pkey_st* key) const noexcept;
    };
    struct Key {
        std::string id;      // kid; empty: it has none
        std::string secret;  // hs256
        std::unique_ptr<evp_pkey_st, FreeKey> key;
    };

    void read_secrets(std::string_view text, std::string& problem) noexcept;
    void read_jwks(std::string_view text, std::string& problem) noexcept;
    [[nodiscard]] bool verifies(const Key& key,
                                std::string_view input,
                                std::string_view signature) const noexcept;

    TokenAlgorithm algorithm_ = TokenAlgorithm::none;
    std::vector<Key> keys_;
};

}  // namespace ringcast::wire
