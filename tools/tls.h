#pragma once

// The client's end of TLS over a socket, with OpenSSL: nothing of src/wire is in it. Sockets are
// never waited for; who has to wait polls. One owning thread.

#include <cstddef>
#include <memory>
#include <string>

#include <sys/types.h>

#include "options.h"
#include "url.h"

struct ssl_ctx_st;
struct ssl_st;

namespace ringcast::tools {

// What all connections to servers have in common.
class TlsClient {
  public:
    // False if the trusted certificates cannot be read, and why in problem().
    [[nodiscard]] bool open(const TlsOptions& options) noexcept;
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

  private:
    friend class TlsStream;
    struct Free {
        void operator()(ssl_ctx_st* context) const noexcept;
    };
    std::unique_ptr<ssl_ctx_st, Free> context_;
    bool insecure_ = false;
    std::string problem_;
};

class TlsStream {
  public:
    enum class Shaken : unsigned char { done, wants_read, wants_write, failed };

    // Over `fd`, which stays the caller's.
    TlsStream(const TlsClient& client, int fd, const std::string& host) noexcept;
    TlsStream(const TlsStream&) = delete;
    TlsStream& operator=(const TlsStream&) = delete;
    ~TlsStream();  // says close_notify if the socket takes it

    // Goes on with the handshake. If it failed, why in problem().
    [[nodiscard]] Shaken shake() noexcept;
    // As recv() and send() with MSG_DONTWAIT: -1 and errno EAGAIN where they would wait, 0 at the
    // end. read() goes on until `size` are there or the socket is empty. What write() did not take
    // must be offered again, with or without more behind it.
    [[nodiscard]] ssize_t read(void* target, std::size_t size) noexcept;
    [[nodiscard]] ssize_t write(const void* bytes, std::size_t size) noexcept;
    // Says nothing at its end.
    void forget() noexcept { broken_ = true; }
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

  private:
    ssl_st* ssl_;
    bool broken_ = false;
    std::string problem_;
};

}  // namespace ringcast::tools
