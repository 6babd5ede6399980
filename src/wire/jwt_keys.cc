#include "wire/jwt_keys.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <simdjson.h>

#include "base/check.h"
#include "wire/base64.h"

namespace ringcast::wire {

namespace {

namespace dom = simdjson::dom;

constexpr std::size_t depth_max = 16;
constexpr std::size_t hash_size = 32;        // of SHA-256
constexpr std::size_t coordinate_size = 32;  // of P-256; an Ed25519 key is as long
constexpr std::size_t rsa_bytes_min = 2048 / 8;
constexpr std::size_t rsa_bytes_max = 8192 / 8;
constexpr std::size_t rsa_exponent_size_max = 8;

struct FreeParams {
    void operator()(OSSL_PARAM_BLD* builder) const noexcept { OSSL_PARAM_BLD_free(builder); }
    void operator()(OSSL_PARAM* params) const noexcept { OSSL_PARAM_free(params); }
    void operator()(EVP_PKEY_CTX* context) const noexcept { EVP_PKEY_CTX_free(context); }
    void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
    void operator()(BIGNUM* number) const noexcept { BN_free(number); }
    void operator()(ECDSA_SIG* signature) const noexcept { ECDSA_SIG_free(signature); }
};
template <typename T>
using Owned = std::unique_ptr<T, FreeParams>;

[[nodiscard]] const unsigned char* raw(std::string_view bytes) noexcept {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

[[nodiscard]] Owned<BIGNUM> number_of(std::string_view bytes) noexcept {
    return Owned<BIGNUM>(BN_bin2bn(raw(bytes), static_cast<int>(bytes.size()), nullptr));
}

// Of what the builder holds; null if OpenSSL does not take it.
[[nodiscard]] EVP_PKEY* key_from(const char* type, OSSL_PARAM_BLD* builder) noexcept {
    const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(builder));
    const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    EVP_PKEY* key = nullptr;
    if (params == nullptr || context == nullptr) return nullptr;
    if (EVP_PKEY_fromdata_init(context.get()) != 1) return nullptr;
    if (EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
        return nullptr;
    }
    return key;
}

// A member in base64url; empty if it is not there, or not that.
[[nodiscard]] std::string bytes_of(const dom::element& key, const char* name) noexcept {
    std::string_view text;
    std::string bytes;
    if (key[name].get_string().get(text) != simdjson::SUCCESS) return {};
    return base64url_decode(text, bytes) ? bytes : std::string();
}

[[nodiscard]] std::string_view text_of(const dom::element& key, const char* name) noexcept {
    std::string_view text;
    return key[name].get_string().get(text) == simdjson::SUCCESS ? text : std::string_view();
}

[[nodiscard]] EVP_PKEY* rsa_key(const dom::element& key) noexcept {
    const std::string modulus = bytes_of(key, "n");
    const std::string exponent = bytes_of(key, "e");
    const Owned<BIGNUM> n = number_of(modulus);
    const Owned<BIGNUM> e = number_of(exponent);
    const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
    if (n == nullptr || e == nullptr || builder == nullptr) return nullptr;
    const auto size = static_cast<std::size_t>(BN_num_bits(n.get()) + 7) / 8;
    if (size < rsa_bytes_min || size > rsa_bytes_max) return nullptr;
    if (exponent.size() > rsa_exponent_size_max || BN_is_odd(e.get()) == 0 ||
        BN_is_one(e.get()) != 0) {
        return nullptr;
    }
    if (OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
        return nullptr;
    }
    return key_from("RSA", builder.get());
}

[[nodiscard]] EVP_PKEY* curve_key(const dom::element& key) noexcept {
    const std::string x = bytes_of(key, "x");
    const std::string y = bytes_of(key, "y");
    if (x.size() != coordinate_size || y.size() != coordinate_size) return nullptr;
    const std::string point = '\x04' + x + y;  // SEC 1, section 2.3.3: not compressed
    const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
    if (builder == nullptr) return nullptr;
    if (OSSL_PARAM_BLD_push_utf8_string(
            builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(
            builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1) {
        return nullptr;
    }
    return key_from("EC", builder.get());
}

[[nodiscard]] EVP_PKEY* edwards_key(const dom::element& key) noexcept {
    const std::string x = bytes_of(key, "x");
    if (x.size() != coordinate_size) return nullptr;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(x), x.size());
}

struct Kind {
    TokenAlgorithm algorithm;
    std::string_view type;   // kty
    std::string_view curve;  // crv
    EVP_PKEY* (*read)(const dom::element& key) noexcept;
};

constexpr std::array<Kind, 3> kinds{{
    {TokenAlgorithm::rs256, "RSA", "", &rsa_key},
    {TokenAlgorithm::es256, "EC", "P-256", &curve_key},
    {TokenAlgorithm::eddsa, "OKP", "Ed25519", &edwards_key},
}};

// A JWKS often has keys for other ends, too.
[[nodiscard]] bool fits(const dom::element& key, const Kind& kind) noexcept {
    const std::string_view use = text_of(key, "use");
    const std::string_view algorithm = text_of(key, "alg");
    return text_of(key, "kty") == kind.type && text_of(key, "crv") == kind.curve &&
           (use.empty() || use == "sig") &&
           (algorithm.empty() || algorithm == name_of(kind.algorithm));
}

[[nodiscard]] bool is_printable(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

[[nodiscard]] std::string hmac(std::string_view secret, std::string_view input) noexcept {
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned size = 0;
    const unsigned char* done = HMAC(EVP_sha256(),
                                     secret.data(),
                                     static_cast<int>(secret.size()),
                                     raw(input),
                                     input.size(),
                                     hash.data(),
                                     &size);
    RC_CHECK(done != nullptr);
    RC_CHECK(size == hash_size);
    return {reinterpret_cast<const char*>(hash.data()), size};
}

// r and s as JWS has them (RFC 7518, section 3.4), as OpenSSL wants them. Empty: they are not.
[[nodiscard]] std::string as_der(std::string_view signature) noexcept {
    if (signature.size() != 2 * coordinate_size) return {};
    const Owned<ECDSA_SIG> pair(ECDSA_SIG_new());
    Owned<BIGNUM> r = number_of(signature.substr(0, coordinate_size));
    Owned<BIGNUM> s = number_of(signature.substr(coordinate_size));
    if (pair == nullptr || r == nullptr || s == nullptr) return {};
    if (ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return {};
    static_cast<void>(r.release());  // the pair's now
    static_cast<void>(s.release());
    unsigned char* bytes = nullptr;
    const int size = i2d_ECDSA_SIG(pair.get(), &bytes);
    if (size <= 0) return {};
    std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    OPENSSL_free(bytes);
    return der;
}

[[nodiscard]] bool verify(EVP_PKEY* key,
                          const EVP_MD* hash,
                          std::string_view input,
                          std::string_view signature) noexcept {
    const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
    if (context == nullptr) return false;
    if (EVP_DigestVerifyInit(context.get(), nullptr, hash, nullptr, key) != 1) return false;
    return EVP_DigestVerify(
               context.get(), raw(signature), signature.size(), raw(input), input.size()) == 1;
}

}  // namespace

JwtKeys::JwtKeys() noexcept = default;
JwtKeys::JwtKeys(JwtKeys&&) noexcept = default;

JwtKeys& JwtKeys::operator=(JwtKeys&& other) noexcept {
    std::swap(algorithm_, other.algorithm_);
    std::swap(keys_, other.keys_);  // so that ours are wiped, too
    return *this;
}

JwtKeys::~JwtKeys() {
    for (Key& key : keys_) {
        OPENSSL_cleanse(key.secret.data(), key.secret.size());
    }
}

void JwtKeys::FreeKey::operator()(evp_pkey_st* key) const noexcept {
    EVP_PKEY_free(key);
}

JwtKeys JwtKeys::parse(TokenAlgorithm algorithm,
                       std::string_view text,
                       std::string& problem) noexcept {
    RC_CHECK(algorithm != TokenAlgorithm::none);
    JwtKeys keys;
    keys.algorithm_ = algorithm;
    problem.clear();
    if (text.size() > jwt_keys_size_max) {
        problem = "the keys are over 64 KiB";
    } else if (algorithm == TokenAlgorithm::hs256) {
        keys.read_secrets(text, problem);
    } else {
        keys.read_jwks(text, problem);
    }
    ERR_clear_error();  // what OpenSSL had to say is not for its next caller
    if (problem.empty() && keys.keys_.size() > jwt_keys_max) problem = "there are over 16 keys";
    if (!problem.empty()) keys.keys_.clear();
    RC_CHECK(problem.empty() == !keys.keys_.empty());
    return keys;
}

void JwtKeys::read_secrets(std::string_view text, std::string& problem) noexcept {
    keys_.reserve(jwt_keys_max);  // secrets that move leave copies behind
    while (!text.empty() && keys_.size() < jwt_keys_max + 1) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;
        if (!is_printable(line)) {
            problem = "a secret is a line of printable characters (openssl rand -base64 48)";
            return;
        }
        if (line.size() < jwt_secret_size_min) {
            problem = "a secret has at least 32 characters";
            return;
        }
        keys_.push_back({.id = {}, .secret = std::string(line), .key = nullptr});
    }
    if (keys_.empty()) problem = "there is no secret";
}

void JwtKeys::read_jwks(std::string_view text, std::string& problem) noexcept {
    const auto kind = std::find_if(kinds.begin(), kinds.end(), [this](const Kind& each) {
        return each.algorithm == algorithm_;
    });
    RC_CHECK(kind != kinds.end());
    dom::parser parser;
    dom::element root;
    dom::array list;
    const bool read =
        parser.allocate(std::max<std::size_t>(text.size(), 64), depth_max) == simdjson::SUCCESS &&
        parser.parse(text.data(), text.size()).get(root) == simdjson::SUCCESS;
    if (!read || root["keys"].get_array().get(list) != simdjson::SUCCESS) {
        problem = "not a JWKS: a JSON object with an array \"keys\"";
        return;
    }
    for (const dom::element key : list) {
        if (!key["d"].error() || text_of(key, "kty") == "oct") {
            problem = "the JWKS has a private or secret key: only public ones belong there";
            return;
        }
        const std::string_view id = text_of(key, "kid");
        if (!fits(key, *kind) || id.size() > jwt_kid_size_max) continue;
        Key made{.id = std::string(id), .secret = {}, .key = nullptr};
        made.key.reset(kind->read(key));
        if (made.key == nullptr) {
            problem = "a key of the JWKS is malformed, or too short";
            return;
        }
        keys_.push_back(std::move(made));
    }
    if (keys_.empty()) problem = "the JWKS has no key of this algorithm";
}

bool JwtKeys::knows(std::string_view kid) const noexcept {
    return std::any_of(keys_.begin(), keys_.end(), [=](const Key& key) {
        return key.id.empty() || key.id == kid;
    });
}

bool JwtKeys::signed_by_one(std::string_view kid,
                            std::string_view input,
                            std::string_view signature) const noexcept {
    bool good = false;
    for (const Key& key : keys_) {
        if (!kid.empty() && !key.id.empty() && key.id != kid) continue;
        good = good || verifies(key, input, signature);
    }
    ERR_clear_error();
    return good;
}

bool JwtKeys::verifies(const Key& key,
                       std::string_view input,
                       std::string_view signature) const noexcept {
    switch (algorithm_) {
        case TokenAlgorithm::none:
            break;
        case TokenAlgorithm::hs256:
            return signature.size() == hash_size &&
                   CRYPTO_memcmp(hmac(key.secret, input).data(), signature.data(), hash_size) == 0;
        case TokenAlgorithm::rs256:
            return verify(key.key.get(), EVP_sha256(), input, signature);
        case TokenAlgorithm::es256: {
            const std::string der = as_der(signature);
            return !der.empty() && verify(key.key.get(), EVP_sha256(), input, der);
        }
        case TokenAlgorithm::eddsa:
            return verify(key.key.get(), nullptr, input, signature);
    }
    RC_CHECK(false);
    return false;
}

std::string JwtKeys::sign(std::string_view input) const noexcept {
    RC_CHECK(algorithm_ == TokenAlgorithm::hs256);
    RC_CHECK(!keys_.empty());
    return hmac(keys_.front().secret, input);
}

}  // namespace ringcast::wire
