#include "base/ip.h"

#include <algorithm>
#include <charconv>

#include <arpa/inet.h>

#include "base/check.h"

namespace ringcast {

namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t household_bytes = 8;

[[nodiscard]] std::uint8_t width_of(const Ip& ip) noexcept {
    return ip.v6 ? 128 : 32;
}

// Whether the first `bits` of both are the same.
[[nodiscard]] bool same_prefix(const Ip& a, const Ip& b, std::uint8_t bits) noexcept {
    const std::size_t whole = bits / 8;
    if (!std::equal(a.bytes.begin(), a.bytes.begin() + whole, b.bytes.begin())) return false;
    if (bits % 8 == 0) return true;
    const unsigned differ = static_cast<unsigned>(a.bytes[whole] ^ b.bytes[whole]);
    return (differ >> (8 - bits % 8)) == 0;
}

}  // namespace

Ip ip_of(bool v6, const std::array<std::uint8_t, 16>& bytes) noexcept {
    Ip ip{.v6 = v6, .bytes = bytes};
    if (v6 && std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes.begin())) {
        ip = {};
        std::copy(bytes.begin() + 12, bytes.end(), ip.bytes.begin());
    } else if (!v6) {
        std::fill(ip.bytes.begin() + 4, ip.bytes.end(), std::uint8_t{0});
    }
    return ip;
}

bool parse_ip(std::string_view text, Ip& ip) noexcept {
    std::array<char, INET6_ADDRSTRLEN> zero_ended{};
    if (text.size() >= zero_ended.size()) return false;
    if (text.find('\0') != std::string_view::npos) return false;
    text.copy(zero_ended.data(), text.size());
    const bool v6 = text.find(':') != std::string_view::npos;
    std::array<std::uint8_t, 16> bytes{};
    if (::inet_pton(v6 ? AF_INET6 : AF_INET, zero_ended.data(), bytes.data()) != 1) return false;
    ip = ip_of(v6, bytes);
    return true;
}

std::string format_ip(const Ip& ip) noexcept {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = ip.v6 ? AF_INET6 : AF_INET;
    RC_CHECK(::inet_ntop(family, ip.bytes.data(), text.data(), text.size()) != nullptr);
    return text.data();
}

bool is_loopback(const Ip& ip) noexcept {
    if (!ip.v6) return ip.bytes[0] == 127;
    Ip one{.v6 = true};
    one.bytes[15] = 1;
    return ip == one;
}

Ip household_of(const Ip& ip) noexcept {
    Ip household = ip;
    if (ip.v6) {
        std::fill(
            household.bytes.begin() + household_bytes, household.bytes.end(), std::uint8_t{0});
    }
    return household;
}

bool parse_network(std::string_view text, IpNetwork& network) noexcept {
    const std::size_t slash = text.find('/');
    const std::string_view host = text.substr(0, slash);
    IpNetwork read;
    if (!parse_ip(host, read.base)) return false;
    // "::ffff:1.2.3.4/120" would be bits of another address than the one that is kept.
    if (!read.base.v6 && host.find(':') != std::string_view::npos) return false;
    read.bits = width_of(read.base);
    if (slash != std::string_view::npos) {
        const std::string_view digits = text.substr(slash + 1);
        const char* const end = digits.data() + digits.size();
        const auto [stop, error] = std::from_chars(digits.data(), end, read.bits);
        if (error != std::errc() || stop != end || read.bits > width_of(read.base)) return false;
        if (digits.size() > 1 && digits.front() == '0') return false;
    }
    Ip masked = read.base;
    for (std::size_t i = 0; i < masked.bytes.size(); i++) {
        const std::size_t kept =
            std::min<std::size_t>(8, read.bits - std::min<std::size_t>(read.bits, 8 * i));
        masked.bytes[i] &= static_cast<std::uint8_t>(0xff00U >> kept);
    }
    if (!(masked == read.base)) return false;
    network = read;
    return true;
}

bool contains(const IpNetwork& network, const Ip& ip) noexcept {
    return network.base.v6 == ip.v6 && same_prefix(network.base, ip, network.bits);
}

bool any_contains(std::span<const IpNetwork> networks, const Ip& ip) noexcept {
    return std::any_of(networks.begin(), networks.end(), [&](const IpNetwork& network) {
        return contains(network, ip);
    });
}

}  // namespace ringcast
