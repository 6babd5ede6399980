#include "io/socket.h"

#include <cerrno>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/check.h"

namespace ringcast::io {

namespace {

constexpr Error malformed{.code = Errc::bad_request};

[[nodiscard]] Result<Done> set_options(int fd,
                                       const Address& address,
                                       const ListenOptions& options) noexcept {
    const struct {
        bool wanted;
        int level;
        int name;
        int value;
    } numbers[] = {
        {true, SOL_SOCKET, SO_REUSEADDR, 1},
        {options.reuse_port, SOL_SOCKET, SO_REUSEPORT, 1},
        // [::] means IPv6 only: whoever wants both listens on both, and the two never collide.
        {address.v6, IPPROTO_IPV6, IPV6_V6ONLY, 1},
        {true, IPPROTO_TCP, TCP_NODELAY, 1},
        {options.notsent_lowat != 0,
         IPPROTO_TCP,
         TCP_NOTSENT_LOWAT,
         static_cast<int>(options.notsent_lowat)},
        {options.send_buffer != 0, SOL_SOCKET, SO_SNDBUF, static_cast<int>(options.send_buffer)},
    };
    for (const auto& [wanted, level, name, value] : numbers) {
        if (wanted && ::setsockopt(fd, level, name, &value, sizeof(value)) != 0) {
            return os_error(errno);
        }
    }
    if (options.congestion != nullptr) {
        const auto size = static_cast<socklen_t>(std::strlen(options.congestion));
        if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options.congestion, size) != 0) {
            return os_error(errno);
        }
    }
    return Done{};
}

[[nodiscard]] Result<std::uint16_t> parse_port(std::string_view text) noexcept {
    std::uint16_t port = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, port);
    if (error != std::errc() || stop != end) return malformed;
    return port;
}

}  // namespace

void Fd::reset(int fd) noexcept {
    RC_CHECK(fd < 0 || fd != fd_);
    // EINTR included, Linux has freed the number by the time close() returns: never again.
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
}

Result<Address> parse_address(std::string_view text) noexcept {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return malformed;
    std::string_view host = text.substr(0, colon);
    Address address;
    address.port = RC_TRY(parse_port(text.substr(colon + 1)));
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        address.v6 = true;
        host = host.substr(1, host.size() - 2);
    }
    char zero_ended[INET6_ADDRSTRLEN] = {};
    if (host.size() >= sizeof(zero_ended)) return malformed;
    host.copy(zero_ended, host.size());
    const int family = address.v6 ? AF_INET6 : AF_INET;
    if (::inet_pton(family, zero_ended, address.ip.data()) != 1) return malformed;
    return address;
}

std::string format_address(const Address& address) noexcept {
    char host[INET6_ADDRSTRLEN] = {};
    const int family = address.v6 ? AF_INET6 : AF_INET;
    RC_CHECK(::inet_ntop(family, address.ip.data(), host, sizeof(host)) != nullptr);
    const std::string port = std::to_string(address.port);
    if (address.v6) return "[" + std::string(host) + "]:" + port;
    return std::string(host) + ":" + port;
}

socklen_t to_sockaddr(const Address& address, sockaddr_storage& target) noexcept {
    target = {};
    if (address.v6) {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(address.port);
        std::memcpy(&v6.sin6_addr, address.ip.data(), sizeof(v6.sin6_addr));
        std::memcpy(&target, &v6, sizeof(v6));
        return sizeof(v6);
    }
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&v4.sin_addr, address.ip.data(), sizeof(v4.sin_addr));
    std::memcpy(&target, &v4, sizeof(v4));
    return sizeof(v4);
}

Result<Address> from_sockaddr(const sockaddr_storage& source) noexcept {
    Address address;
    if (source.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &source, sizeof(v6));
        address.v6 = true;
        address.port = ntohs(v6.sin6_port);
        std::memcpy(address.ip.data(), &v6.sin6_addr, sizeof(v6.sin6_addr));
        return address;
    }
    if (source.ss_family != AF_INET) return malformed;
    sockaddr_in v4{};
    std::memcpy(&v4, &source, sizeof(v4));
    address.port = ntohs(v4.sin_port);
    std::memcpy(address.ip.data(), &v4.sin_addr, sizeof(v4.sin_addr));
    return address;
}

Result<Address> local_address(int fd) noexcept {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
        return os_error(errno);
    }
    return from_sockaddr(storage);
}

Result<Address> peer_address(int fd) noexcept {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
        return os_error(errno);
    }
    return from_sockaddr(storage);
}

Result<Fd> listen_tcp(const Address& address, const ListenOptions& options) noexcept {
    RC_CHECK(options.backlog > 0);
    const int family = address.v6 ? AF_INET6 : AF_INET;
    Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return os_error(errno);
    static_cast<void>(RC_TRY(set_options(fd.get(), address, options)));
    sockaddr_storage storage{};
    const socklen_t size = to_sockaddr(address, storage);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), size) != 0) {
        return os_error(errno);
    }
    if (::listen(fd.get(), options.backlog) != 0) return os_error(errno);
    return fd;
}

bool passes(int accept_error) noexcept {
    return accept_error == EINTR || accept_error == ECONNABORTED || accept_error == EPROTO;
}

Result<Begun> connect_tcp(const Address& peer) noexcept {
    const int family = peer.v6 ? AF_INET6 : AF_INET;
    Begun begun{.fd = Fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))};
    const int fd = begun.fd.get();
    if (!begun.fd.valid()) return os_error(errno);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sockaddr_storage storage{};
    const socklen_t size = to_sockaddr(peer, storage);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0) begun.error = errno;
    if (begun.error == EINPROGRESS) begun.error = 0;
    return begun;
}

}  // namespace ringcast::io
