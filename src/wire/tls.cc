#include "wire/tls.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/check.h"

namespace ringcast::wire {

namespace {

// Fast on any CPU of the last ten years first; ChaCha20 for those who prefer it, since they lack
// the instructions for AES.
constexpr const char* suites_1_2 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* suites_1_3 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* groups = "X25519:P-256";
constexpr std::array<unsigned char, 9> protocols{8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
constexpr std::array<unsigned char, 8> session_context{'r', 'i', 'n', 'g', 'c', 'a', 's', 't'};
constexpr std::size_t chain_max = 16;
// In one call. New keys cost some 20 us each and ask for an answer, and honest peers make them once
// in millions of records.
constexpr std::uint32_t key_updates_max = 16;

struct FreeBio {
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
struct FreeCertificate {
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
struct FreeKey {
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct FreeChain {
    void operator()(STACK_OF(X509) * chain) const noexcept { sk_X509_pop_free(chain, X509_free); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;
using Certificate = std::unique_ptr<X509, FreeCertificate>;
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
using Chain = std::unique_ptr<STACK_OF(X509), FreeChain>;

// The contexts behind the first one, which owns them: they live as long as any connection that was
// made with it.
struct Others {
    std::vector<SSL_CTX*> contexts;

    Others() noexcept = default;
    Others(const Others&) = delete;
    Others& operator=(const Others&) = delete;
    ~Others() {
        for (SSL_CTX* context : contexts) {
            SSL_CTX_free(context);
        }
    }
};

void free_others(void* /*parent*/,
                 void* others,
                 CRYPTO_EX_DATA* /*data*/,
                 int /*index*/,
                 long /*number*/,
                 void* /*argument*/) noexcept {
    delete static_cast<Others*>(others);
}

int others_index() noexcept {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_others);
    RC_CHECK(index >= 0);
    return index;
}

bool fits(const SSL_CTX* context, std::string_view name) noexcept {
    X509* certificate = SSL_CTX_get0_certificate(context);
    constexpr unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    return X509_check_host(certificate, name.data(), name.size(), flags, nullptr) == 1;
}

int on_server_name(SSL* ssl, int* alert, void* argument) noexcept {
    const auto& others = *static_cast<const Others*>(argument);
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == nullptr || others.contexts.empty()) return SSL_TLSEXT_ERR_OK;
    if (fits(SSL_get_SSL_CTX(ssl), name)) return SSL_TLSEXT_ERR_OK;
    const auto found = std::find_if(others.contexts.begin(),
                                    others.contexts.end(),
                                    [=](const SSL_CTX* context) { return fits(context, name); });
    if (found != others.contexts.end() && SSL_set_SSL_CTX(ssl, *found) != nullptr) {
        return SSL_TLSEXT_ERR_OK;
    }
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int on_protocols(SSL* /*ssl*/,
                 const unsigned char** chosen,
                 unsigned char* size,
                 const unsigned char* offered,
                 unsigned offered_size,
                 void* /*argument*/) noexcept {
    // SSL_select_next_proto() would hand out a pointer that is not const.
    for (unsigned at = 0; at < offered_size; at += 1U + offered[at]) {
        const unsigned whole = 1U + offered[at];
        if (whole > offered_size - at) break;
        if (whole != protocols.size()) continue;
        if (std::memcmp(offered + at, protocols.data(), whole) != 0) continue;
        *chosen = protocols.data() + 1;
        *size = protocols[0];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// Never asks anybody.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*argument*/) noexcept {
    return -1;
}

// The settings that hold whatever the certificate is. Null: no memory.
SSL_CTX* make_context() noexcept {
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    if (context == nullptr) return nullptr;
    const bool done = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
                      SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                      SSL_CTX_set_cipher_list(context, suites_1_2) == 1 &&
                      SSL_CTX_set_ciphersuites(context, suites_1_3) == 1 &&
                      SSL_CTX_set1_groups_list(context, groups) == 1 &&
                      SSL_CTX_set_session_id_context(
                          context, session_context.data(), session_context.size()) == 1 &&
                      SSL_CTX_set_num_tickets(context, 1) == 1;
    RC_CHECK(done);  // OpenSSL 3 knows all of this
    SSL_CTX_set_options(context,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                            SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    // Its buffers of 16 KiB each are there only while something is in them.
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets need none
    SSL_CTX_set_timeout(context, tls_ticket_lifetime_s);
    SSL_CTX_set_alpn_select_cb(context, &on_protocols, nullptr);
    return context;
}

Result<Chain> read_chain(BIO* file) noexcept {
    Chain chain(sk_X509_new_null());
    if (chain == nullptr) return os_error(ENOMEM);
    for (std::size_t count = 0; count < chain_max; count++) {
        Certificate next(PEM_read_bio_X509(file, nullptr, &no_password, nullptr));
        if (next == nullptr) break;  // the end, or something else that is no certificate
        if (sk_X509_push(chain.get(), next.get()) == 0) return os_error(ENOMEM);
        static_cast<void>(next.release());
    }
    ERR_clear_error();
    return chain;
}

Error refuse(Errc code, std::string& problem, const std::string& file, const char* what) noexcept {
    ERR_clear_error();
    problem = "'" + file + "' " + what;
    return Error{.code = code};
}

// A context of one certificate.
Result<SSL_CTX*> load_pair(const TlsPair& pair, std::string& problem) noexcept {
    const Bio file(BIO_new_file(pair.certificate.c_str(), "r"));
    if (file == nullptr) {
        return refuse(Errc::not_found, problem, pair.certificate, "cannot be read");
    }
    const Certificate certificate(
        PEM_read_bio_X509_AUX(file.get(), nullptr, &no_password, nullptr));
    if (certificate == nullptr) {
        return refuse(Errc::bad_request, problem, pair.certificate, "holds no PEM certificate");
    }
    const Chain chain = RC_TRY(read_chain(file.get()));

    const Bio key_file(BIO_new_file(pair.key.c_str(), "r"));
    if (key_file == nullptr) return refuse(Errc::not_found, problem, pair.key, "cannot be read");
    const Key key(PEM_read_bio_PrivateKey(key_file.get(), nullptr, &no_password, nullptr));
    if (key == nullptr) {
        return refuse(Errc::bad_request,
                      problem,
                      pair.key,
                      "holds no PEM private key, or one that needs a password");
    }
    if (X509_check_private_key(certificate.get(), key.get()) != 1) {
        const std::string what = "is not the key of the certificate in '" + pair.certificate + "'";
        return refuse(Errc::bad_request, problem, pair.key, what.c_str());
    }
    SSL_CTX* context = make_context();
    if (context == nullptr) return os_error(ENOMEM);
    if (SSL_CTX_use_cert_and_key(context, certificate.get(), key.get(), chain.get(), 1) != 1) {
        SSL_CTX_free(context);
        return refuse(
            Errc::bad_request, problem, pair.certificate, "is too weak, or of an unknown kind");
    }
    return context;
}

// Where a filter's records come from and go to, for the time of one call.
struct Ends {
    Bytes in;
    std::vector<std::byte>* out = nullptr;
    std::uint32_t key_updates = 0;  // that came
};

int read_record(BIO* bio, char* target, std::size_t size, std::size_t* taken) noexcept {
    BIO_clear_retry_flags(bio);
    auto* ends = static_cast<Ends*>(BIO_get_data(bio));
    if (ends == nullptr || ends->in.empty()) {
        BIO_set_retry_read(bio);
        *taken = 0;
        return 0;
    }
    if (ends->key_updates > key_updates_max) return 0;  // for good: the connection is broken
    *taken = std::min(size, ends->in.size());
    std::memcpy(target, ends->in.data(), *taken);
    ends->in = ends->in.subspan(*taken);
    return 1;
}

int write_record(BIO* bio, const char* bytes, std::size_t size, std::size_t* taken) noexcept {
    BIO_clear_retry_flags(bio);
    auto* ends = static_cast<Ends*>(BIO_get_data(bio));
    RC_CHECK(ends != nullptr);
    RC_CHECK(ends->out != nullptr);
    const Bytes written = as_bytes({bytes, size});
    ends->out->insert(ends->out->end(), written.begin(), written.end());
    *taken = size;
    return 1;
}

long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) noexcept {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int create(BIO* bio) noexcept {
    BIO_set_init(bio, 1);
    return 1;
}

// Unlike OpenSSL's own memory BIO it has no memory: the ends are the caller's.
const BIO_METHOD* ends_method() noexcept {
    static BIO_METHOD* const method = [] {
        BIO_METHOD* made =
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ringcast ends");
        RC_CHECK(made != nullptr);
        BIO_meth_set_read_ex(made, &read_record);
        BIO_meth_set_write_ex(made, &write_record);
        BIO_meth_set_ctrl(made, &control);
        BIO_meth_set_create(made, &create);
        return made;
    }();
    return method;
}

void on_message(int written,
                int /*version*/,
                int type,
                const void* bytes,
                std::size_t size,
                SSL* ssl,
                void* /*argument*/) noexcept {
    if (written != 0 || type != SSL3_RT_HANDSHAKE || size == 0) return;
    if (*static_cast<const unsigned char*>(bytes) != SSL3_MT_KEY_UPDATE) return;
    static_cast<Ends*>(BIO_get_data(SSL_get_rbio(ssl)))->key_updates++;
}

// Puts the ends on for one call.
class Attached {
  public:
    Attached(SSL* ssl, Ends& ends) noexcept : bio_(SSL_get_rbio(ssl)) {
        BIO_set_data(bio_, &ends);
        ERR_clear_error();  // SSL_get_error() looks at what earlier calls left
    }
    Attached(const Attached&) = delete;
    Attached& operator=(const Attached&) = delete;
    ~Attached() { BIO_set_data(bio_, nullptr); }

  private:
    BIO* bio_;
};

}  // namespace

void TlsContext::Free::operator()(ssl_ctx_st* context) const noexcept {
    SSL_CTX_free(context);
}

Result<TlsContext> TlsContext::join(std::vector<Handle> contexts) noexcept {
    RC_CHECK(!contexts.empty());
    SSL_CTX* first = contexts.front().get();
    auto others = std::make_unique<Others>();
    for (std::size_t i = 1; i < contexts.size(); i++) {
        others->contexts.push_back(contexts[i].release());
    }
    // The macro for it has an old-style cast.
    SSL_CTX_callback_ctrl(
        first, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, reinterpret_cast<void (*)()>(&on_server_name));
    SSL_CTX_set_tlsext_servername_arg(first, others.get());
    if (SSL_CTX_set_ex_data(first, others_index(), others.get()) != 1) return os_error(ENOMEM);
    static_cast<void>(others.release());
    return TlsContext(std::move(contexts.front()));
}

Result<TlsContext> TlsContext::load(std::span<const TlsPair> pairs,
                                    std::string& problem,
                                    const TlsTickets* tickets) noexcept {
    std::vector<Handle> contexts;
    for (const TlsPair& pair : pairs) {
        auto loaded = load_pair(pair, problem);
        if (!loaded.ok()) {
            if (problem.empty()) problem = "no memory";
            return loaded.error();
        }
        contexts.emplace_back(loaded.value());
        if (tickets != nullptr) tickets->serve(contexts.back().get());
    }
    return join(std::move(contexts));
}

TlsContext TlsContext::share() const noexcept {
    RC_CHECK(SSL_CTX_up_ref(first_.get()) == 1);
    return TlsContext(Handle(first_.get()));
}

TlsFilter::TlsFilter(const TlsContext& context) noexcept : ssl_(SSL_new(context.first_.get())) {
    BIO* bio = BIO_new(ends_method());
    if (ssl_ == nullptr || bio == nullptr) {
        BIO_free(bio);
        stage_ = TlsStage::failed;
        return;
    }
    SSL_set_bio(ssl_, bio, bio);  // takes one reference for both
    SSL_set_msg_callback(ssl_, &on_message);
    SSL_set_accept_state(ssl_);
}

TlsFilter::~TlsFilter() {
    SSL_free(ssl_);
}

bool TlsFilter::resumed() const noexcept {
    return SSL_session_reused(ssl_) == 1;
}

// What a call came to that gave no bytes.
void TlsFilter::take_error(int result) noexcept {
    switch (SSL_get_error(ssl_, result)) {
        case SSL_ERROR_WANT_READ:
            return;
        case SSL_ERROR_ZERO_RETURN:
            stage_ = TlsStage::ended;
            return;
        default:
            stage_ = TlsStage::failed;
            return;
    }
}

std::size_t TlsFilter::receive(Bytes& ciphertext,
                               MutBytes target,
                               std::vector<std::byte>& out) noexcept {
    RC_CHECK(!target.empty());
    if (stage_ == TlsStage::failed || stage_ == TlsStage::ended) {
        ciphertext = {};
        return 0;
    }
    if (stage_ == TlsStage::shaking) {
        heard_ += static_cast<std::uint32_t>(std::min(ciphertext.size(), tls_hello_size_max + 1));
        if (heard_ > tls_hello_size_max) {
            ciphertext = {};
            stage_ = TlsStage::failed;
            return 0;
        }
    }
    Ends ends{.in = ciphertext, .out = &out};
    const Attached attached(ssl_, ends);
    std::size_t size = 0;
    while (size < target.size()) {
        std::size_t taken = 0;
        const int result = SSL_read_ex(ssl_, target.data() + size, target.size() - size, &taken);
        if (result == 1) {
            size += taken;
            continue;
        }
        const bool shaken = stage_ == TlsStage::shaking && SSL_is_init_finished(ssl_) == 1;
        if (shaken) stage_ = TlsStage::open;
        take_error(result);
        break;
    }
    if (stage_ == TlsStage::shaking && size > 0) stage_ = TlsStage::open;
    ciphertext = ends.in;
    if (stage_ == TlsStage::failed || stage_ == TlsStage::ended) ciphertext = {};
    return size;
}

bool TlsFilter::send(Bytes plaintext, std::vector<std::byte>& out) noexcept {
    RC_CHECK(stage_ == TlsStage::open || stage_ == TlsStage::ended);
    RC_CHECK(!plaintext.empty());
    RC_CHECK(!closed_);
    Ends ends{.in = {}, .out = &out};
    const Attached attached(ssl_, ends);
    std::size_t taken = 0;
    const int result = SSL_write_ex(ssl_, plaintext.data(), plaintext.size(), &taken);
    if (result == 1 && taken == plaintext.size()) return true;
    stage_ = TlsStage::failed;
    return false;
}

void TlsFilter::close(std::vector<std::byte>& out) noexcept {
    if (closed_ || stage_ == TlsStage::shaking || stage_ == TlsStage::failed) return;
    closed_ = true;
    Ends ends{.in = {}, .out = &out};
    const Attached attached(ssl_, ends);
    if (SSL_shutdown(ssl_) < 0) ERR_clear_error();  // it is going anyway
}

}  // namespace ringcast::wire
