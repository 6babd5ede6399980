#pragma once

// Somebody who makes tokens: keys of every algorithm, and signatures with them, by OpenSSL alone.

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include "ringcast/token.h"

#include "base/check.h"
#include "wire/base64.h"

namespace ringcast::test {

class Signer {
  public:
    explicit Signer(TokenAlgorithm algorithm,
                    std::string secret = "this is a secret, and known to everybody")
        : algorithm_(algorithm), secret_(std::move(secret)) {
        switch (algorithm) {
            case TokenAlgorithm::none:
            case TokenAlgorithm::hs256:
                return;
            case TokenAlgorithm::rs256:
                key_.reset(EVP_RSA_gen(2048));
                break;
            case TokenAlgorithm::es256:
                key_.reset(EVP_EC_gen("P-256"));
                break;
            case TokenAlgorithm::eddsa:
                key_.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
                break;
        }
        RC_CHECK(key_ != nullptr);
    }

    // What stands in the file: the secret, or a JWKS.
    [[nodiscard]] std::string keys(std::string_view kid = {}) const {
        return algorithm_ == TokenAlgorithm::hs256 ? secret_ : R"({"keys":[)" + jwk(kid) + "]}";
    }
    [[nodiscard]] std::string jwk(std::string_view kid = {}) const {
        std::string json = "{";
        if (!kid.empty()) json += R"("kid":")" + std::string(kid) + R"(",)";
        switch (algorithm_) {
            case TokenAlgorithm::none:
            case TokenAlgorithm::hs256:
                break;
            case TokenAlgorithm::rs256:
                return json + R"("kty":"RSA","n":")" + number(OSSL_PKEY_PARAM_RSA_N, 0) +
                       R"(","e":")" + number(OSSL_PKEY_PARAM_RSA_E, 0) + R"("})";
            case TokenAlgorithm::es256:
                return json + R"("kty":"EC","crv":"P-256","x":")" +
                       number(OSSL_PKEY_PARAM_EC_PUB_X, 32) + R"(","y":")" +
                       number(OSSL_PKEY_PARAM_EC_PUB_Y, 32) + R"("})";
            case TokenAlgorithm::eddsa: {
                std::array<unsigned char, 32> raw{};
                std::size_t size = raw.size();
                RC_CHECK(EVP_PKEY_get_raw_public_key(key_.get(), raw.data(), &size) == 1);
                return json + R"("kty":"OKP","crv":"Ed25519","x":")" + url(raw.data(), size) +
                       R"("})";
            }
        }
        RC_CHECK(false);
        return json;
    }

    [[nodiscard]] std::string sign(std::string_view input) const {
        if (algorithm_ == TokenAlgorithm::hs256) return hmac(secret_, input);
        const EVP_MD* hash = algorithm_ == TokenAlgorithm::eddsa ? nullptr : EVP_sha256();
        const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                              &EVP_MD_CTX_free);
        std::string signature(1024, '\0');
        std::size_t size = signature.size();
        RC_CHECK(EVP_DigestSignInit(context.get(), nullptr, hash, nullptr, key_.get()) == 1);
        RC_CHECK(EVP_DigestSign(context.get(),
                                reinterpret_cast<unsigned char*>(signature.data()),
                                &size,
                                reinterpret_cast<const unsigned char*>(input.data()),
                                input.size()) == 1);
        signature.resize(size);
        return algorithm_ == TokenAlgorithm::es256 ? as_pair(signature) : signature;
    }

    // A token with just this header and these claims, whatever they are.
    [[nodiscard]] std::string token(std::string_view header, std::string_view claims) const {
        const std::string text =
            wire::base64url_encode(header) + '.' + wire::base64url_encode(claims);
        return text + '.' + wire::base64url_encode(sign(text));
    }
    [[nodiscard]] std::string token(std::string_view claims) const {
        return token(R"({"alg":")" + std::string(name_of(algorithm_)) + R"("})", claims);
    }

    [[nodiscard]] static std::string hmac(std::string_view secret, std::string_view input) {
        std::array<unsigned char, 32> hash{};
        unsigned size = 0;
        HMAC(EVP_sha256(),
             secret.data(),
             static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char*>(input.data()),
             input.size(),
             hash.data(),
             &size);
        return {reinterpret_cast<const char*>(hash.data()), size};
    }

  private:
    [[nodiscard]] static std::string url(const unsigned char* bytes, std::size_t size) {
        return wire::base64url_encode({reinterpret_cast<const char*>(bytes), size});
    }

    // In base64url, of so many bytes (0: as many as it has).
    [[nodiscard]] std::string number(const char* name, int size) const {
        BIGNUM* got = nullptr;
        RC_CHECK(EVP_PKEY_get_bn_param(key_.get(), name, &got) == 1);
        const std::unique_ptr<BIGNUM, decltype(&BN_free)> owned(got, &BN_free);
        std::array<unsigned char, 512> bytes{};
        const int wanted = size == 0 ? BN_num_bytes(got) : size;
        RC_CHECK(BN_bn2binpad(got, bytes.data(), wanted) == wanted);
        return url(bytes.data(), static_cast<std::size_t>(wanted));
    }

    // r and s, 32 bytes each (RFC 7518, section 3.4).
    [[nodiscard]] static std::string as_pair(std::string_view der) {
        const auto* at = reinterpret_cast<const unsigned char*>(der.data());
        const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> pair(
            d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())), &ECDSA_SIG_free);
        std::array<unsigned char, 64> bytes{};
        RC_CHECK(BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), bytes.data(), 32) == 32);
        RC_CHECK(BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), bytes.data() + 32, 32) == 32);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    struct FreeKey {
        void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
    };

    TokenAlgorithm algorithm_;
    std::string secret_;
    std::unique_ptr<EVP_PKEY, FreeKey> key_;
};

}  // namespace ringcast::test
