#include "node/origin.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "base/check.h"
#include "io/socket.h"

namespace ringcast::node {

namespace {

constexpr std::string_view scheme_end = "://";
constexpr std::size_t origin_size_max = 512;

char small(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_text(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char one, char other) {
        return small(one) == small(other);
    });
}

// HOST[:PORT] of an origin; nothing of "null".
std::string_view authority_of(std::string_view origin) noexcept {
    const std::size_t at = origin.find(scheme_end);
    return at == std::string_view::npos ? std::string_view()
                                        : origin.substr(at + scheme_end.size());
}

// Splits HOST[:PORT]; an IPv6 address keeps its brackets.
std::string_view take_host(std::string_view authority, std::string_view& port) noexcept {
    const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
    const std::size_t colon = authority.find(':', bracket);
    port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon);
    return authority.substr(0, colon);
}

// ":80"; the empty one is no port at all.
bool port_valid(std::string_view port) noexcept {
    if (port.empty()) return true;
    unsigned number = 0;
    const char* end = port.data() + port.size();
    const auto read = std::from_chars(port.data() + 1, end, number);
    return read.ec == std::errc() && read.ptr == end && number > 0 && number <= 65535 &&
           port[1] != '0';
}

bool is_loopback_host(std::string_view authority) noexcept {
    std::string_view port;
    const std::string_view host = take_host(authority, port);
    if (!port_valid(port)) return false;
    return same_text(host, "localhost") || is_loopback_address(std::string(host) + ":0");
}

bool is_one_of(std::string_view set, char c) noexcept {
    return set.find(c) != std::string_view::npos;
}

}  // namespace

bool is_loopback_address(std::string_view text) noexcept {
    auto parsed = io::parse_address(text);
    if (!parsed.ok()) return false;
    const io::Address address = std::move(parsed).value();
    if (!address.v6) return address.ip.front() == 127;
    return address.ip.back() == 1 && std::all_of(address.ip.begin(),
                                                 address.ip.end() - 1,
                                                 [](std::uint8_t byte) { return byte == 0; });
}

bool host_allowed(const Config& config, const wire::Request& request) noexcept {
    if (!config.dev || is_loopback_host(request.host)) return true;
    return std::any_of(config.origin.begin(), config.origin.end(), [&](const std::string& origin) {
        const std::string_view authority = authority_of(origin);
        return !authority.empty() && same_text(authority, request.host);
    });
}

bool origin_allowed(const Config& config, const wire::Request& request) noexcept {
    RC_CHECK(host_allowed(config, request));
    if (request.origin_count == 0) return true;
    if (!config.dev && config.origin.empty()) return true;
    const bool listed = std::find(config.origin.begin(), config.origin.end(), request.origin) !=
                        config.origin.end();
    if (listed) return true;
    const bool of_the_web =
        request.origin.starts_with("http://") || request.origin.starts_with("https://");
    return config.dev && of_the_web && same_text(authority_of(request.origin), request.host);
}

bool origin_well_formed(std::string_view text) noexcept {
    if (text == "null") return true;
    if (text.size() > origin_size_max) return false;
    const std::size_t at = text.find(scheme_end);
    if (at == std::string_view::npos || at == 0) return false;
    const std::string_view scheme = text.substr(0, at);
    const bool scheme_good = std::all_of(scheme.begin(), scheme.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || is_one_of("+-.", c);
    });
    std::string_view port;
    const std::string_view host = take_host(authority_of(text), port);
    const bool bracketed = host.starts_with('[');
    const bool host_good = !host.empty() && std::all_of(host.begin(), host.end(), [=](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               is_one_of(bracketed ? "[]:." : "-._", c);
    });
    if (!scheme_good || !host_good || !port_valid(port)) return false;
    if (bracketed && !io::parse_address(std::string(host) + ":0").ok()) return false;
    return !(scheme == "http" && port == ":80") && !(scheme == "https" && port == ":443");
}

}  // namespace ringcast::node
