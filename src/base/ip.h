#pragma once

// Addresses of the Internet without ports, and networks of them, as people and protocols write
// them. Numbers only: nothing here asks for a name. An IPv4 address that is written as IPv6
// (::ffff:1.2.3.4; RFC 4291, section 2.5.5.2) is the IPv4 address, so that nobody has two.
//
// Pure functions. Any thread.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ringcast {

struct Ip {
    bool v6 = false;
    std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 uses the first four, rest zero

    friend bool operator==(const Ip&, const Ip&) = default;
};

// The address of these bytes: mapped ones become IPv4.
[[nodiscard]] Ip ip_of(bool v6, const std::array<std::uint8_t, 16>& bytes) noexcept;

// "192.0.2.1", "2001:db8::1". False: no address, or one with a zone, a port, or leading zeros.
[[nodiscard]] bool parse_ip(std::string_view text, Ip& ip) noexcept;
[[nodiscard]] std::string format_ip(const Ip& ip) noexcept;

// 127.0.0.0/8 and ::1.
[[nodiscard]] bool is_loopback(const Ip& ip) noexcept;

// Whom a limit by address is for: an IPv4 address, or an IPv6 network of 64 bits, of which one
// subscriber has all (RFC 6177, section 2).
[[nodiscard]] Ip household_of(const Ip& ip) noexcept;

struct IpNetwork {
    Ip base;
    std::uint8_t bits = 0;  // of the prefix

    friend bool operator==(const IpNetwork&, const IpNetwork&) = default;
};

// "10.0.0.0/8", "2001:db8::/32", or one address. False also where bits behind the prefix are set
// (10.0.0.1/8): somebody meant something else.
[[nodiscard]] bool parse_network(std::string_view text, IpNetwork& network) noexcept;
[[nodiscard]] bool contains(const IpNetwork& network, const Ip& ip) noexcept;
[[nodiscard]] bool any_contains(std::span<const IpNetwork> networks, const Ip& ip) noexcept;

}  // namespace ringcast
