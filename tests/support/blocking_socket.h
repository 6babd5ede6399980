#pragma once

// A client of the kernel's own for tests of whole servers. It blocks, but never longer than ten
// seconds.

#include <array>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include "io/socket.h"

namespace ringcast::test {

class BlockingSocket {
  public:
    explicit BlockingSocket(const std::string& address) {
        auto parsed = io::parse_address(address);
        REQUIRE(parsed.ok());
        sockaddr_storage target{};
        const socklen_t size = io::to_sockaddr(parsed.value(), target);
        fd_ = io::Fd(::socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(fd_.valid());
        connected_ = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&target), size) == 0;
    }
    [[nodiscard]] bool connected() const { return connected_; }
    void say(std::string_view bytes) {
        REQUIRE(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
    }
    // What came, until the next call; nothing: the end, or silence for ten seconds.
    [[nodiscard]] std::string_view read() {
        pollfd waits{.fd = fd_.get(), .events = POLLIN, .revents = 0};
        if (::poll(&waits, 1, 10'000) != 1) return {};
        const ssize_t size = ::recv(fd_.get(), bytes_.data(), bytes_.size(), 0);
        return size <= 0 ? std::string_view()
                         : std::string_view(bytes_.data(), static_cast<std::size_t>(size));
    }

  private:
    io::Fd fd_;
    bool connected_ = false;
    std::array<char, 4096> bytes_{};
};

}  // namespace ringcast::test
