#pragma once

// TLS 1.2 and 1.3 (RFC 5246, RFC 8446) as a filter of bytes: ciphertext of the peer in, plaintext
// out; plaintext in, ciphertext for the peer out. No socket, no clock, no thread. OpenSSL 3 does
// the cryptography.
//
// What is offered is short: AEAD suites with (EC)DHE alone, X25519 and P-256, ALPN http/1.1 (a
// client that offers protocols and not this one is refused: RFC 7301, 3.2), tickets for resumption,
// and neither compression, nor renegotiation, nor early data, nor certificates of clients.
//
// Several certificates: the first that fits the name a client asks for (SNI, RFC 6066, 3). Who asks
// for none gets the first of all. A name that none fits: with a single certificate that one, since
// then names choose nothing and the client sees for itself; with several the alert
// unrecognized_name.
//
// A filter keeps the context it was made with, so a new context is for new connections.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ringcast/error.h"

#include "base/bytes.h"
#include "wire/tls_tickets.h"

struct ssl_ctx_st;
struct ssl_st;

namespace ringcast::wire {

// Two PEM files: the certificate with what leads to its issuer behind it, and its private key.
struct TlsPair {
    std::string certificate;
    std::string key;
};

// What clients have to say before the connection is open; a hello is 500 to 2,000 bytes.
constexpr std::size_t tls_hello_size_max = std::size_t{64} * 1024;
// The most that a handshake makes OpenSSL hold, with what clients claim: a hello of 128 KiB, though
// they may not send so much (tests/fuzz/tls_fuzz.cc holds it to that).
constexpr std::size_t tls_handshake_held_max = std::size_t{224} * 1024;
// A record: RFC 8446, 5.1 and 5.2; what it is longer than its plaintext with the suites we have
// (TLS 1.2: header, nonce, tag; 1.3: header, type, tag).
constexpr std::size_t tls_record_max = std::size_t{16} * 1024;
constexpr std::size_t tls_record_overhead = 29;
// How long a client may resume by a ticket, in seconds.
constexpr long tls_ticket_lifetime_s = 2L * 60 * 60;
static_assert(tls_ticket_lifetime_s * nanos_per_s <= TlsTickets::key_time);

// Certificates and settings, for any number of filters of any threads. Never changes.
class TlsContext {
  public:
    // `pairs` is not empty. An error (not_found: a file cannot be read; bad_request: it is not what
    // it should be, or a key is another certificate's) leaves one line in `problem` that names the
    // file. A key with a password is refused; nobody is asked for it. `tickets`: with whose keys
    // clients resume; null: with keys of its own, which last as long as it does.
    [[nodiscard]] static Result<TlsContext> load(std::span<const TlsPair> pairs,
                                                 std::string& problem,
                                                 const TlsTickets* tickets = nullptr) noexcept;

    // The same one, for another owner.
    [[nodiscard]] TlsContext share() const noexcept;

  private:
    friend class TlsFilter;
    struct Free {
        void operator()(ssl_ctx_st* context) const noexcept;
    };
    using Handle = std::unique_ptr<ssl_ctx_st, Free>;
    explicit TlsContext(Handle first) noexcept : first_(std::move(first)) {}
    [[nodiscard]] static Result<TlsContext> join(std::vector<Handle> contexts) noexcept;

    Handle first_;  // owns the others
};

enum class TlsStage : std::uint8_t {
    shaking,  // no plaintext yet, in neither direction
    open,
    ended,   // the peer said close_notify: nothing more comes from it; sending goes on
    failed,  // broken; its alert, if there is one, is in what was made for the peer
};

// The server's end of one connection. One thread owns it.
class TlsFilter {
  public:
    explicit TlsFilter(const TlsContext& context) noexcept;
    TlsFilter(const TlsFilter&) = delete;
    TlsFilter& operator=(const TlsFilter&) = delete;
    ~TlsFilter();

    // Takes from the front of `ciphertext` and writes plaintext to `target`: returns its size. Less
    // than target.size(): all that came is read. Exactly so much: call again, also with nothing
    // more. What the peer has to get is appended to `out`.
    [[nodiscard]] std::size_t receive(Bytes& ciphertext,
                                      MutBytes target,
                                      std::vector<std::byte>& out) noexcept;
    // Appends `plaintext` as records. Precondition: stage() is open or ended, `plaintext` is not
    // empty. False (only for want of memory): the connection has failed.
    [[nodiscard]] bool send(Bytes plaintext, std::vector<std::byte>& out) noexcept;
    // Appends close_notify, once; nothing when the connection has failed or was never open.
    void close(std::vector<std::byte>& out) noexcept;

    [[nodiscard]] TlsStage stage() const noexcept { return stage_; }
    // It was open without a full handshake. From the moment on that it is open.
    [[nodiscard]] bool resumed() const noexcept;

  private:
    void take_error(int result) noexcept;

    ssl_st* ssl_ = nullptr;
    std::uint32_t heard_ = 0;  // bytes, while it is shaking
    TlsStage stage_ = TlsStage::shaking;
    bool closed_ = false;
};

}  // namespace ringcast::wire
