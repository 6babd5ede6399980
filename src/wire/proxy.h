#pragma once

// What proxies say of whom they speak for.
//
// PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt, sections 2.1 and 2.2): a
// header in front of everything else. Strict: what the text says must or should not be there is an
// error, and then nobody can know whose connection it is. The header is read as it comes, byte by
// byte if need be; nothing behind it is touched. Addresses of additional values (TLVs) are passed
// over, and there are at most so many bytes of a header as proxy_header_max says.
//
// X-Forwarded-For: a list to which every proxy appends whom it was called by. Only what was
// appended by a proxy that is known can be believed, so it is read from its end.
//
// Functions of bytes; a parser is owned by one thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/ip.h"

namespace ringcast::wire {

constexpr std::size_t proxy_header_max = 4096;

class ProxyParser {
  public:
    enum class Status : std::uint8_t { need_more, done, failed };

    // `consumed`: how many bytes of `input` belong to the header. After done or failed no more do.
    [[nodiscard]] Status feed(Bytes input, std::size_t& consumed) noexcept;

    // After done. False: the proxy speaks for itself (LOCAL, UNKNOWN), or for somebody who has no
    // IP address (a UNIX socket): then the connection is the proxy's own.
    [[nodiscard]] bool has_source() const noexcept { return has_source_; }
    [[nodiscard]] const Ip& source() const noexcept { return source_; }

  private:
    // Bytes that matter: a whole line of version 1, or a header of version 2 with two IPv6
    // addresses and their ports.
    static constexpr std::size_t line_max = 107;
    static constexpr std::size_t fixed_size = 16;

    [[nodiscard]] bool take(std::uint8_t byte) noexcept;
    [[nodiscard]] bool take_line(std::uint8_t byte) noexcept;
    [[nodiscard]] bool read_line() noexcept;
    [[nodiscard]] bool read_fixed() noexcept;
    void read_addresses() noexcept;

    std::array<std::uint8_t, line_max> kept_{};
    std::uint16_t seen_ = 0;
    std::uint16_t size_ = 0;  // of the whole header, version 2, once it is known
    Status status_ = Status::need_more;
    bool has_source_ = false;
    Ip source_;
};

// Whom the list of X-Forwarded-For says the request is from: the last one that is no `trusted`
// proxy, or the first one if all are. False: one that had to be looked at is no address. A port
// behind it is allowed, and brackets around IPv6, as some proxies write it.
[[nodiscard]] bool forwarded_client(std::string_view list,
                                    std::span<const IpNetwork> trusted,
                                    Ip& client) noexcept;

}  // namespace ringcast::wire
