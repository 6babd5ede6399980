#include "wire/seal.h"

#include <algorithm>
#include <cstring>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/check.h"
#include "base/scratch.h"

namespace ringcast::wire {

namespace {

constexpr std::string_view place_label = "RCS1";
constexpr std::string_view derive_label = "ringcast seal v1 ";
constexpr std::size_t place_size_max =
    place_label.size() + 3 + seal_name_max + topic_size_max + key_size_max + 16;

using PlaceText = Scratch<unsigned char, place_size_max>;

[[nodiscard]] const unsigned char* chars(const std::byte* bytes) noexcept {
    return reinterpret_cast<const unsigned char*>(bytes);
}
[[nodiscard]] unsigned char* chars(std::byte* bytes) noexcept {
    return reinterpret_cast<unsigned char*>(bytes);
}

// The associated data. Returns its size.
[[nodiscard]] std::size_t write_place(std::string_view id,
                                      const SealPlace& place,
                                      PlaceText& out) noexcept {
    RC_CHECK(id.size() <= seal_name_max);
    RC_CHECK(place.topic.size() <= topic_size_max);
    RC_CHECK(place.key.size() <= key_size_max);
    auto* at = reinterpret_cast<std::byte*>(out.data());
    const auto put = [&at](std::string_view text) {
        std::memcpy(at, text.data(), text.size());
        at += text.size();
    };
    put(place_label);
    for (const std::string_view text : {id, place.topic, place.key}) {
        *at++ = static_cast<std::byte>(text.size());
        if (!text.empty()) put(text);
    }
    store_be64(at, place.epoch);
    store_be64(at + 8, place.offset);
    return static_cast<std::size_t>(chars(at + 16) - out.data());
}

[[nodiscard]] int int_of(std::size_t size) noexcept {
    RC_CHECK(size <= INT32_MAX);
    return static_cast<int>(size);
}

}  // namespace

// HKDF: the salt is that of RFC 5869, and the info names the use and the id.
SealSubkey SealSubkey::derive(const SealSecret& secret,
                              std::string_view id,
                              const SealSalt& salt) noexcept {
    RC_CHECK(seal_name_valid(id));
    SealSubkey subkey;
    subkey.id = id;
    subkey.salt = salt;
    std::string info = std::string(derive_label) + std::string(id);
    std::string digest = "SHA256";
    SealSecret key = secret;
    SealSalt own_salt = salt;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), digest.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.bytes.data(), SealSecret::size),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, own_salt.data(), own_salt.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
        OSSL_PARAM_construct_end()};
    EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
    RC_CHECK(kdf != nullptr);
    EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    RC_CHECK(context != nullptr);
    const int done =
        EVP_KDF_derive(context, chars(subkey.bytes.bytes.data()), SealSecret::size, parameters);
    EVP_KDF_CTX_free(context);
    RC_CHECK(done == 1);
    return subkey;
}

bool read_box(Bytes bytes, SealedBox& box) noexcept {
    if (bytes.empty()) return false;
    const auto id_size = std::to_integer<std::size_t>(bytes.front());
    if (bytes.size() < sealed_size(id_size, 0)) return false;
    box.id = as_text(bytes.subspan(1, id_size));
    box.data = bytes.subspan(1 + id_size);
    return seal_name_valid(box.id);
}

void begin_box(std::string_view id, MutBytes box) noexcept {
    RC_CHECK(box.size() >= sealed_size(id.size(), 0));
    box.front() = static_cast<std::byte>(id.size());
    std::memcpy(box.data() + 1, id.data(), id.size());
}

struct SealCipher::State {
    EVP_CIPHER_CTX* context = nullptr;
    bool sealing = false;  // what `context` was last set up for

    // The algorithm is looked up, which takes locks, only when the direction changes.
    void begin(bool seal, const SealSecret& key, const std::byte* nonce) noexcept {
        const EVP_CIPHER* cipher = seal == sealing ? nullptr : EVP_aes_256_gcm();
        sealing = seal;
        const int done = EVP_CipherInit_ex(
            context, cipher, nullptr, chars(key.bytes.data()), chars(nonce), seal ? 1 : 0);
        RC_CHECK(done == 1);
    }
    // Whatever is given, GCM gives as much back, at once. No `out`: associated data.
    void update(unsigned char* out, const unsigned char* in, std::size_t size) const noexcept {
        int written = 0;
        if (size == 0) return;
        RC_CHECK(EVP_CipherUpdate(context, out, &written, in, int_of(size)) == 1);
        RC_CHECK(written == int_of(size));
    }
};

SealCipher::SealCipher() noexcept : state_(new State) {
    state_->context = EVP_CIPHER_CTX_new();
    RC_CHECK(state_->context != nullptr);
    RC_CHECK(EVP_EncryptInit_ex(state_->context, EVP_aes_256_gcm(), nullptr, nullptr, nullptr) ==
             1);
    RC_CHECK(EVP_CIPHER_CTX_get_iv_length(state_->context) == int_of(seal_nonce_size));
    state_->sealing = true;
}

SealCipher::~SealCipher() {
    EVP_CIPHER_CTX_free(state_->context);  // wipes the key that it last had
    delete state_;
}

void SealCipher::seal(const SealSubkey& subkey, const SealInput& input, MutBytes box) noexcept {
    RC_CHECK(box.size() == sealed_size(subkey.id.size(), input.payload.size()));
    RC_CHECK(input.form != PayloadForm::sealed);
    begin_box(subkey.id, box);
    std::byte* at = box.data() + 1 + subkey.id.size();
    std::memcpy(at, subkey.salt.data(), seal_salt_size);
    at += seal_salt_size;
    std::memcpy(at, input.nonce.data(), seal_nonce_size);
    at += seal_nonce_size;

    PlaceText place;
    const std::size_t place_size = write_place(subkey.id, input.place, place);
    const auto form = static_cast<unsigned char>(input.form);
    state_->begin(true, subkey.bytes, input.nonce.data());
    state_->update(nullptr, place.data(), place_size);
    state_->update(chars(at), &form, 1);
    state_->update(chars(at + 1), chars(input.payload.data()), input.payload.size());
    at += 1 + input.payload.size();
    int written = 0;
    RC_CHECK(EVP_CipherFinal_ex(state_->context, chars(at), &written) == 1);
    RC_CHECK(written == 0);
    RC_CHECK(EVP_CIPHER_CTX_ctrl(state_->context, EVP_CTRL_AEAD_GET_TAG, seal_tag_size, at) == 1);
}

bool SealCipher::open(const SealSecret& secret,
                      const SealPlace& place,
                      Bytes bytes,
                      PayloadForm& form,
                      std::string& payload) noexcept {
    payload.clear();
    SealedBox box;
    if (!read_box(bytes, box)) return false;
    SealSalt salt;
    std::memcpy(salt.data(), box.data.data(), seal_salt_size);
    const std::byte* nonce = box.data.data() + seal_salt_size;
    const std::byte* text = nonce + seal_nonce_size;
    const std::size_t size = box.data.size() - seal_salt_size - seal_nonce_size - seal_tag_size;
    std::array<std::byte, seal_tag_size> tag;
    std::memcpy(tag.data(), text + size, tag.size());

    const SealSubkey subkey = SealSubkey::derive(secret, box.id, salt);
    PlaceText associated;
    const std::size_t associated_size = write_place(box.id, place, associated);
    std::string plain(size, '\0');
    auto* out = reinterpret_cast<unsigned char*>(plain.data());
    state_->begin(false, subkey.bytes, nonce);
    state_->update(nullptr, associated.data(), associated_size);
    state_->update(out, chars(text), size);
    RC_CHECK(EVP_CIPHER_CTX_ctrl(
                 state_->context, EVP_CTRL_AEAD_SET_TAG, seal_tag_size, tag.data()) == 1);
    int written = 0;
    const bool whole = EVP_CipherFinal_ex(state_->context, out + size, &written) == 1;
    const auto first = static_cast<unsigned char>(plain.front());
    if (!whole || first > static_cast<unsigned char>(PayloadForm::base64)) {
        OPENSSL_cleanse(plain.data(), plain.size());
        return false;
    }
    form = static_cast<PayloadForm>(first);
    payload = plain.substr(1);
    return true;
}

}  // namespace ringcast::wire
