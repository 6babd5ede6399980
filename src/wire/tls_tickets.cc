#include "wire/tls_tickets.h"

#include <cstring>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "base/check.h"

namespace ringcast::wire {

namespace {

int tickets_index() noexcept {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    RC_CHECK(index >= 0);
    return index;
}

// What OpenSSL wants to be told of a ticket.
constexpr int broken = -1;
constexpr int unknown_key = 0;
constexpr int good = 1;
constexpr int good_and_renew = 2;

bool key_mac(EVP_MAC_CTX* mac, TlsTickets::Key& key) noexcept {
    char digest[] = "SHA256";
    const std::array<OSSL_PARAM, 3> parameters{
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac.data(), key.mac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

int make_ticket(const TlsTickets& tickets,
                unsigned char* name,
                unsigned char* iv,
                EVP_CIPHER_CTX* cipher,
                EVP_MAC_CTX* mac) noexcept {
    TlsTickets::Key key;
    tickets.take_present(key);
    const EVP_CIPHER* aes = EVP_aes_256_cbc();
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) != 1) return broken;
    std::memcpy(name, key.name.data(), key.name.size());
    const bool done =
        EVP_EncryptInit_ex(cipher, aes, nullptr, key.cipher.data(), iv) == 1 && key_mac(mac, key);
    return done ? good : broken;
}

int open_ticket(const TlsTickets& tickets,
                bool once,
                const unsigned char* name,
                const unsigned char* iv,
                EVP_CIPHER_CTX* cipher,
                EVP_MAC_CTX* mac) noexcept {
    TlsTickets::Key key;
    const TlsTickets::Age age = tickets.find(name, key);
    if (age == TlsTickets::Age::none) return unknown_key;
    const bool done =
        EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv) == 1 &&
        key_mac(mac, key);
    if (!done) return broken;
    return once || age == TlsTickets::Age::former ? good_and_renew : good;
}

int on_ticket(SSL* ssl,
              unsigned char* name,
              unsigned char* iv,
              EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac,
              int making) noexcept {
    const auto* tickets =
        static_cast<const TlsTickets*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tickets_index()));
    RC_CHECK(tickets != nullptr);
    if (making != 0) return make_ticket(*tickets, name, iv, cipher, mac);
    // A ticket of TLS 1.3 is to be used once, so whoever resumes gets another (RFC 8446, C.4).
    const bool once = SSL_version(ssl) >= TLS1_3_VERSION;
    return open_ticket(*tickets, once, name, iv, cipher, mac);
}

}  // namespace

TlsTickets::Key::~Key() {
    OPENSSL_cleanse(name.data(), name.size());
    OPENSSL_cleanse(cipher.data(), cipher.size());
    OPENSSL_cleanse(mac.data(), mac.size());
}

TlsTickets::TlsTickets() noexcept {
    static_assert(sizeof(Key) == words * sizeof(std::uint64_t));
    const bool drawn = replace();
    RC_CHECK(drawn);  // without chance there is no TLS either
    const bool other = replace();
    RC_CHECK(other);  // one that nobody has a ticket of: no name of all zeros is known
}

TlsTickets::~TlsTickets() {
    for (Slot& slot : slots_) {
        for (std::atomic<std::uint64_t>& word : slot) {
            word.store(0, std::memory_order_relaxed);
        }
    }
}

// The oldest key is overwritten, and the new one makes tickets from now on. False: no chance was to
// be had.
bool TlsTickets::replace() noexcept {
    std::array<std::uint64_t, words> drawn{};
    const bool good_chance =
        RAND_bytes(reinterpret_cast<unsigned char*>(drawn.data()), sizeof drawn) == 1;
    if (good_chance) {
        const std::uint64_t number = number_.load(std::memory_order_relaxed) + 1;
        Slot& slot = slots_[number % slots_.size()];
        for (std::size_t i = 0; i < words; i++) {
            slot[i].store(drawn[i], std::memory_order_relaxed);
        }
        number_.store(number, std::memory_order_release);
    }
    OPENSSL_cleanse(drawn.data(), sizeof drawn);
    return good_chance;
}

void TlsTickets::tend(Nanos now) noexcept {
    Nanos due = due_.load(std::memory_order_relaxed);
    if (due == never) {
        due_.compare_exchange_strong(due, now + key_time, std::memory_order_relaxed);
        return;
    }
    // Of all threads that see it the one replaces them that moves the time. The next one comes four
    // hours later, so it goes on from the number that this one leaves.
    if (now < due ||
        !due_.compare_exchange_strong(due, now + key_time, std::memory_order_acq_rel)) {
        return;
    }
    const bool both = now - due >= key_time;  // nobody was here for so long
    bool done = replace();
    if (both && done) done = replace();
    if (!done) due_.store(now + nanos_per_s, std::memory_order_release);
}

void TlsTickets::load(const Slot& slot, Key& key) noexcept {
    std::array<std::uint64_t, words> taken{};
    for (std::size_t i = 0; i < words; i++) {
        taken[i] = slot[i].load(std::memory_order_relaxed);
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(taken.data());
    std::memcpy(key.name.data(), bytes, name_size);
    std::memcpy(key.cipher.data(), bytes + name_size, secret_size);
    std::memcpy(key.mac.data(), bytes + name_size + secret_size, secret_size);
    OPENSSL_cleanse(taken.data(), sizeof taken);
}

void TlsTickets::take_present(Key& key) const noexcept {
    load(slots_[number_.load(std::memory_order_acquire) % slots_.size()], key);
}

TlsTickets::Age TlsTickets::find(const unsigned char* name, Key& key) const noexcept {
    const std::uint64_t number = number_.load(std::memory_order_acquire);
    for (const Age age : {Age::present, Age::former}) {
        const std::uint64_t back = age == Age::present ? 0 : 1;
        load(slots_[(number - back) % slots_.size()], key);
        if (CRYPTO_memcmp(key.name.data(), name, name_size) == 0) return age;
    }
    return Age::none;
}

void TlsTickets::serve(ssl_ctx_st* context) const noexcept {
    // OpenSSL has no const data; on_ticket() takes it so again.
    const bool set =
        SSL_CTX_set_ex_data(context, tickets_index(), const_cast<TlsTickets*>(this)) == 1 &&
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, &on_ticket) == 1;
    RC_CHECK(set);
}

}  // namespace ringcast::wire
