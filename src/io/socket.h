#pragma once

// Descriptors, addresses and listening sockets: what exists before a reactor does.
//
// Socket options are set once, on the listener: Linux hands TCP_NODELAY, TCP_NOTSENT_LOWAT,
// SO_SNDBUF and TCP_CONGESTION down to every accepted socket (tests/kernel_facts), which saves a
// system call a connection. Any thread.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <sys/socket.h>

#include "ringcast/error.h"

#include "base/time.h"

namespace ringcast::io {

// Owns a descriptor and closes it.
class Fd {
  public:
    constexpr Fd() noexcept = default;
    constexpr explicit Fd(int fd) noexcept : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(other.release()) {}
    Fd& operator=(Fd&& other) noexcept {
        reset(other.release());
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() { reset(-1); }

    [[nodiscard]] constexpr int get() const noexcept { return fd_; }
    [[nodiscard]] constexpr bool valid() const noexcept { return fd_ >= 0; }
    // Gives the descriptor away: the caller closes it.
    [[nodiscard]] constexpr int release() noexcept {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }
    // Closes what was owned, then owns `fd`.
    void reset(int fd) noexcept;

  private:
    int fd_ = -1;
};

// An IPv4 or IPv6 address and a port.
struct Address {
    bool v6 = false;
    std::uint16_t port = 0;             // 0: the kernel chooses (listen)
    std::array<std::uint8_t, 16> ip{};  // network order; IPv4 uses the first four

    friend bool operator==(const Address&, const Address&) = default;
};

// "127.0.0.1:8080", "0.0.0.0:0", "[::1]:8080". Numbers only, no names. Else bad_request.
[[nodiscard]] Result<Address> parse_address(std::string_view text) noexcept;
[[nodiscard]] std::string format_address(const Address& address) noexcept;

// To and from what the kernel takes. from_sockaddr: bad_request for other families.
[[nodiscard]] socklen_t to_sockaddr(const Address& address, sockaddr_storage& target) noexcept;
[[nodiscard]] Result<Address> from_sockaddr(const sockaddr_storage& source) noexcept;

[[nodiscard]] Result<Address> local_address(int fd) noexcept;  // getsockname
[[nodiscard]] Result<Address> peer_address(int fd) noexcept;   // getpeername

struct ListenOptions {
    int backlog = 4096;                       // capped by net.core.somaxconn (K9)
    bool reuse_port = true;                   // one listener a shard on the same port
    std::uint32_t notsent_lowat = 16 * 1024;  // TCP_NOTSENT_LOWAT; 0: leave it alone
    std::uint32_t send_buffer = 0;            // SO_SNDBUF; 0: the kernel tunes it
    const char* congestion = nullptr;         // TCP_CONGESTION, e.g. "cubic"; null: the default
};

// A listening TCP socket, non-blocking and close-on-exec. Errors keep errno: EADDRINUSE, EACCES,
// EADDRNOTAVAIL, ENOENT (no such congestion control).
[[nodiscard]] Result<Fd> listen_tcp(const Address& address, const ListenOptions& options) noexcept;

// What an accept can meet. The connection it was about is gone, the next may be well; anything else
// but EAGAIN means that descriptors or memory ran out: then leave the listener alone a while (K1).
[[nodiscard]] bool passes(int accept_error) noexcept;
constexpr Nanos accept_pause = 100 * nanos_per_ms;

// A connection that was begun: it is under way, or there, or it failed at once.
struct Begun {
    Fd fd;
    int error = 0;  // errno of a failure at once
};

// Begins a connection without waiting: non-blocking, close-on-exec, TCP_NODELAY. An error is one of
// making the socket, and has no descriptor.
[[nodiscard]] Result<Begun> connect_tcp(const Address& peer) noexcept;

}  // namespace ringcast::io
