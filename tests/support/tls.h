#pragma once

// The other end of TLS: certificates made on the spot, and a client as a value. It is OpenSSL's own
// client with its memory BIOs, so it shares only the library with what it talks to.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tests/support/temp_folder.h"
#include "wire/tls.h"

namespace ringcast::test {

struct PemPair {
    std::string certificate;
    std::string key;
};

inline std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<std::size_t>(size));
    BIO_free(bio);
    return text;
}

// Signed by itself, for these names: "DNS:a.test,DNS:*.b.test". `kind`: "EC", "RSA" or "ED25519".
inline PemPair make_certificate(const std::string& names, const std::string& kind = "EC") {
    EVP_PKEY* key = kind == "EC"    ? EVP_EC_gen("P-256")
                    : kind == "RSA" ? EVP_RSA_gen(2048)
                                    : EVP_PKEY_Q_keygen(nullptr, nullptr, kind.c_str());
    REQUIRE(key != nullptr);
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 3600);
    X509_set_pubkey(certificate, key);
    const auto* common = reinterpret_cast<const unsigned char*>("ringcast test");
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common, -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
    REQUIRE(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    REQUIRE(X509_sign(certificate, key, kind == "ED25519" ? nullptr : EVP_sha256()) > 0);
    BIO* certificate_text = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate_text, certificate);
    BIO* key_text = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(key_text, key, nullptr, nullptr, 0, nullptr, nullptr);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return {.certificate = text_of(certificate_text), .key = text_of(key_text)};
}

inline void write_file(const std::string& path, std::string_view text) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    REQUIRE(file != nullptr);
    REQUIRE(std::fwrite(text.data(), 1, text.size(), file) == text.size());
    std::fclose(file);
}

inline wire::TlsPair write_pair(const TempFolder& folder,
                                const std::string& name,
                                const PemPair& pair) {
    wire::TlsPair files{.certificate = folder.file(name + ".crt"),
                        .key = folder.file(name + ".key")};
    write_file(files.certificate, pair.certificate);
    write_file(files.key, pair.key);
    return files;
}

inline wire::TlsContext load(const std::vector<wire::TlsPair>& pairs) {
    std::string problem;
    auto loaded = wire::TlsContext::load(pairs, problem);
    REQUIRE_MESSAGE(loaded.ok(), problem);
    return std::move(loaded).value();
}

// A context with one certificate, for a.test.
inline wire::TlsContext one_context(const std::string& kind = "EC") {
    const TempFolder folder(TempFolder::On::memory);
    return load({write_pair(folder, "one", make_certificate("DNS:a.test", kind))});
}

class TlsClient {
  public:
    struct Options {
        int version_min = TLS1_2_VERSION;
        int version_max = TLS1_3_VERSION;
        const char* ciphers = nullptr;  // of TLS 1.2 and before
        const char* suites = nullptr;   // of TLS 1.3
        const char* groups = nullptr;
        const char* name = nullptr;       // SNI
        std::string_view protocols = {};  // ALPN, as on the wire
    };

    TlsClient() : TlsClient(Options{}) {}
    explicit TlsClient(const Options& options, SSL_SESSION* ticket = nullptr)
        : context_(SSL_CTX_new(TLS_client_method())) {
        SSL_CTX_set_security_level(context_, 0);  // old versions are offered where a test says so
        SSL_CTX_set_min_proto_version(context_, options.version_min);
        SSL_CTX_set_max_proto_version(context_, options.version_max);
        if (options.ciphers != nullptr) {
            REQUIRE(SSL_CTX_set_cipher_list(context_, options.ciphers) == 1);
        }
        if (options.suites != nullptr) {
            REQUIRE(SSL_CTX_set_ciphersuites(context_, options.suites) == 1);
        }
        if (options.groups != nullptr) {
            REQUIRE(SSL_CTX_set1_groups_list(context_, options.groups) == 1);
        }
        SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(context_, &TlsClient::on_session);
        ssl_ = SSL_new(context_);
        if (options.name != nullptr) {
            SSL_ctrl(ssl_,
                     SSL_CTRL_SET_TLSEXT_HOSTNAME,
                     TLSEXT_NAMETYPE_host_name,
                     const_cast<char*>(options.name));
        }
        if (!options.protocols.empty()) {
            SSL_set_alpn_protos(ssl_,
                                reinterpret_cast<const unsigned char*>(options.protocols.data()),
                                static_cast<unsigned>(options.protocols.size()));
        }
        if (ticket != nullptr) {
            // A copy: one that ends without close_notify spoils the session that it had.
            SSL_SESSION* copy = SSL_SESSION_dup(ticket);
            SSL_set_session(ssl_, copy);
            SSL_SESSION_free(copy);
        }
        SSL_set_app_data(ssl_, this);
        SSL_set_info_callback(ssl_, &TlsClient::on_info);
        SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        SSL_set_connect_state(ssl_);
    }
    TlsClient(const TlsClient&) = delete;
    TlsClient& operator=(const TlsClient&) = delete;
    ~TlsClient() {
        SSL_SESSION_free(session);
        SSL_free(ssl_);
        SSL_CTX_free(context_);
    }

    // Reads what came from the server and goes on; call it once with nothing to begin.
    void feed(std::string_view ciphertext) {
        BIO_write(SSL_get_rbio(ssl_), ciphertext.data(), static_cast<int>(ciphertext.size()));
        ERR_clear_error();
        char buffer[16384];
        while (!failed && !ended) {
            const int size = SSL_read(ssl_, buffer, sizeof buffer);
            if (size > 0) {
                heard.append(buffer, static_cast<std::size_t>(size));
                continue;
            }
            const int error = SSL_get_error(ssl_, size);
            ended = error == SSL_ERROR_ZERO_RETURN;
            failed = !ended && error != SSL_ERROR_WANT_READ;
            return;
        }
    }
    // What the server has to get.
    [[nodiscard]] std::string take() {
        BIO* bio = SSL_get_wbio(ssl_);
        std::string text(BIO_ctrl_pending(bio), '\0');
        if (!text.empty()) BIO_read(bio, text.data(), static_cast<int>(text.size()));
        return text;
    }
    void say(std::string_view plaintext) {
        REQUIRE(SSL_write(ssl_, plaintext.data(), static_cast<int>(plaintext.size())) ==
                static_cast<int>(plaintext.size()));
    }
    void close() { SSL_shutdown(ssl_); }

    [[nodiscard]] bool open() const { return !failed && SSL_is_init_finished(ssl_) == 1; }
    [[nodiscard]] bool resumed() const { return SSL_session_reused(ssl_) == 1; }
    [[nodiscard]] std::string version() const { return SSL_get_version(ssl_); }
    [[nodiscard]] std::string suite() const { return SSL_get_cipher_name(ssl_); }
    [[nodiscard]] std::string protocol() const {
        const unsigned char* chosen = nullptr;
        unsigned size = 0;
        SSL_get0_alpn_selected(ssl_, &chosen, &size);
        return {reinterpret_cast<const char*>(chosen), size};
    }
    // Whether the server's certificate is for that name.
    [[nodiscard]] bool shown(const char* name) const {
        X509* certificate = SSL_get1_peer_certificate(ssl_);
        const bool fits =
            certificate != nullptr && X509_check_host(certificate, name, 0, 0, nullptr) == 1;
        X509_free(certificate);
        return fits;
    }
    [[nodiscard]] SSL* ssl() { return ssl_; }

    std::string heard;  // plaintext
    bool failed = false;
    bool ended = false;              // by close_notify
    int alert = -1;                  // the last one that came
    SSL_SESSION* session = nullptr;  // the last ticket

  private:
    static int on_session(SSL* ssl, SSL_SESSION* session) {
        auto& client = *static_cast<TlsClient*>(SSL_get_app_data(ssl));
        SSL_SESSION_free(std::exchange(client.session, session));
        return 1;  // it is ours now
    }
    static void on_info(const SSL* ssl, int where, int value) {
        if ((where & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT) return;
        static_cast<TlsClient*>(SSL_get_app_data(ssl))->alert = value & 0xff;
    }

    SSL_CTX* context_;
    SSL* ssl_ = nullptr;
};

}  // namespace ringcast::test
