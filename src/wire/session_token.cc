#include "wire/session_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/check.h"

namespace ringcast::wire {

namespace {

constexpr std::size_t token_bytes = 16;

}  // namespace

std::string session_token(const TokenKey& key, std::string_view client_id) noexcept {
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned size = 0;
    const unsigned char* done = HMAC(EVP_sha256(),
                                     key.data(),
                                     static_cast<int>(key.size()),
                                     reinterpret_cast<const unsigned char*>(client_id.data()),
                                     client_id.size(),
                                     hash.data(),
                                     &size);
    RC_CHECK(done != nullptr);
    RC_CHECK(size >= token_bytes);
    std::string token;
    token.reserve(2 * token_bytes);
    for (std::size_t i = 0; i < token_bytes; i++) {
        token += "0123456789abcdef"[hash[i] >> 4];
        token += "0123456789abcdef"[hash[i] & 15];
    }
    return token;
}

bool session_token_valid(const TokenKey& key,
                         std::string_view client_id,
                         std::string_view token) noexcept {
    const std::string right = session_token(key, client_id);
    return token.size() == right.size() &&
           CRYPTO_memcmp(token.data(), right.data(), right.size()) == 0;
}

}  // namespace ringcast::wire
