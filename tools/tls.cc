#include "tls.h"

#include <cerrno>
#include <cstdint>

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

namespace ringcast::tools {

namespace {

int fd_of(BIO* bio) noexcept {
    return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

int read_socket(BIO* bio, char* target, int size) noexcept {
    BIO_clear_retry_flags(bio);
    const ssize_t count = recv(fd_of(bio), target, static_cast<std::size_t>(size), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    return static_cast<int>(count);
}

int write_socket(BIO* bio, const char* bytes, int size) noexcept {
    BIO_clear_retry_flags(bio);
    const ssize_t count =
        send(fd_of(bio), bytes, static_cast<std::size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    return static_cast<int>(count);
}

long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) noexcept {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int create(BIO* bio) noexcept {
    BIO_set_init(bio, 1);
    return 1;
}

// OpenSSL's own for sockets would wait, and raise SIGPIPE.
const BIO_METHOD* socket_method() noexcept {
    static BIO_METHOD* const method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
        BIO_meth_set_read(made, &read_socket);
        BIO_meth_set_write(made, &write_socket);
        BIO_meth_set_ctrl(made, &control);
        BIO_meth_set_create(made, &create);
        return made;
    }();
    return method;
}

bool is_address(const std::string& host) noexcept {
    unsigned char ip[16];
    return inet_pton(AF_INET, host.c_str(), ip) == 1 || inet_pton(AF_INET6, host.c_str(), ip) == 1;
}

}  // namespace

void TlsClient::Free::operator()(ssl_ctx_st* context) const noexcept {
    SSL_CTX_free(context);
}

bool TlsClient::open(const TlsOptions& options) noexcept {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX* context = context_.get();
    if (context == nullptr) {
        problem_ = "no memory for TLS";
        return false;
    }
    insecure_ = options.insecure;
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                         SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(context, insecure_ ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    if (insecure_) return true;
    const int trusted = options.ca.empty() ? SSL_CTX_set_default_verify_paths(context)
                                           : SSL_CTX_load_verify_file(context, options.ca.c_str());
    if (trusted == 1) return true;
    problem_ = "--tls-ca: '" + options.ca + "' holds no certificate that can be read";
    return false;
}

TlsStream::TlsStream(const TlsClient& client, int fd, const std::string& host) noexcept
    : ssl_(SSL_new(client.context_.get())) {
    BIO* bio = BIO_new(socket_method());
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
    SSL_set_bio(ssl_, bio, bio);
    SSL_set_connect_state(ssl_);
    if (is_address(host)) {
        if (!client.insecure_) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), host.c_str());
        return;
    }
    // The macro for it has an old-style cast.
    SSL_ctrl(ssl_,
             SSL_CTRL_SET_TLSEXT_HOSTNAME,
             TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(host.c_str()));
    if (!client.insecure_) SSL_set1_host(ssl_, host.c_str());
}

TlsStream::~TlsStream() {
    if (!broken_ && SSL_is_init_finished(ssl_) == 1) SSL_shutdown(ssl_);
    ERR_clear_error();
    SSL_free(ssl_);
}

TlsStream::Shaken TlsStream::shake() noexcept {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    if (result == 1) return Shaken::done;
    const int error = SSL_get_error(ssl_, result);
    if (error == SSL_ERROR_WANT_READ) return Shaken::wants_read;
    if (error == SSL_ERROR_WANT_WRITE) return Shaken::wants_write;
    broken_ = true;
    const long trust = SSL_get_verify_result(ssl_);
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    problem_ = "TLS: ";
    if (trust != X509_V_OK && !(SSL_get_verify_mode(ssl_) == SSL_VERIFY_NONE)) {
        problem_ += std::string(X509_verify_cert_error_string(trust)) + " (--tls-ca, --insecure)";
    } else {
        problem_ += reason == nullptr ? "the server hung up in the handshake" : reason;
    }
    return Shaken::failed;
}

ssize_t TlsStream::read(void* target, std::size_t size) noexcept {
    ERR_clear_error();
    std::size_t count = 0;
    while (count < size) {
        std::size_t taken = 0;
        const int result =
            SSL_read_ex(ssl_, static_cast<char*>(target) + count, size - count, &taken);
        if (result == 1) {
            count += taken;
            continue;
        }
        const int error = SSL_get_error(ssl_, result);
        const bool dry = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
        broken_ = broken_ || (!dry && error != SSL_ERROR_ZERO_RETURN);
        if (count > 0) break;  // the next call says it again
        if (!dry) return 0;
        errno = EAGAIN;
        return -1;
    }
    return static_cast<ssize_t>(count);
}

ssize_t TlsStream::write(const void* bytes, std::size_t size) noexcept {
    ERR_clear_error();
    std::size_t count = 0;
    while (count < size) {
        std::size_t taken = 0;
        const int result =
            SSL_write_ex(ssl_, static_cast<const char*>(bytes) + count, size - count, &taken);
        if (result == 1) {
            count += taken;
            continue;
        }
        const int error = SSL_get_error(ssl_, result);
        const bool dry = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
        broken_ = broken_ || !dry;
        if (count > 0) break;
        errno = dry ? EAGAIN : EPIPE;
        return -1;
    }
    return static_cast<ssize_t>(count);
}

}  // namespace ringcast::tools
