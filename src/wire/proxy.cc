#include "wire/proxy.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace ringcast::wire {

namespace {

constexpr std::array<std::uint8_t, 12>
    signature{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr std::string_view line_start = "PROXY ";

constexpr std::uint8_t version_2 = 0x20;
constexpr std::uint8_t command_local = 0;
constexpr std::uint8_t command_proxy = 1;
constexpr std::uint8_t family_inet = 1;
constexpr std::uint8_t family_inet6 = 2;
constexpr std::uint8_t family_unix = 3;
constexpr std::size_t inet_size = 12;
constexpr std::size_t inet6_size = 36;
constexpr std::size_t unix_size = 216;

// A port as version 1 writes it: 0 to 65535, nothing in front.
[[nodiscard]] bool port_valid(std::string_view text) noexcept {
    std::uint16_t port = 0;
    if (text.empty() || (text.size() > 1 && text.front() == '0')) return false;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, port);
    return error == std::errc() && stop == end;
}

// Cuts the next word off `text`, behind which one blank or the end must be.
[[nodiscard]] std::string_view next_word(std::string_view& text) noexcept {
    const std::size_t blank = text.find(' ');
    const std::string_view word = text.substr(0, blank);
    text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
    return word;
}

[[nodiscard]] std::size_t addresses_size(std::uint8_t family) noexcept {
    switch (family) {
        case family_inet:
            return inet_size;
        case family_inet6:
            return inet6_size;
        case family_unix:
            return unix_size;
        default:
            return 0;
    }
}

[[nodiscard]] std::string_view trim(std::string_view text) noexcept {
    constexpr std::string_view blank = " \t";
    text.remove_prefix(std::min(text.find_first_not_of(blank), text.size()));
    return text.substr(0, text.find_last_not_of(blank) + 1);
}

// An address as it stands in X-Forwarded-For.
[[nodiscard]] bool parse_hop(std::string_view text, Ip& ip) noexcept {
    std::string_view port;
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos) return false;
        port = text.substr(end + 1);
        text = text.substr(1, end - 1);
        if (text.find(':') == std::string_view::npos) return false;
    } else if (std::count(text.begin(), text.end(), ':') == 1) {
        port = text.substr(text.find(':'));
        text = text.substr(0, text.find(':'));
    }
    if (!port.empty() && (port.front() != ':' || !port_valid(port.substr(1)))) return false;
    return parse_ip(text, ip);
}

}  // namespace

ProxyParser::Status ProxyParser::feed(Bytes input, std::size_t& consumed) noexcept {
    consumed = 0;
    while (consumed < input.size() && status_ == Status::need_more) {
        const auto byte = std::to_integer<std::uint8_t>(input[consumed]);
        consumed++;
        if (!take(byte)) status_ = Status::failed;
    }
    return status_;
}

// False: this byte cannot be there.
bool ProxyParser::take(std::uint8_t byte) noexcept {
    const std::size_t place = seen_;
    if (place == 0 && byte != signature[0]) {
        if (byte != static_cast<std::uint8_t>(line_start[0])) return false;
    } else if (place > 0 && kept_[0] != signature[0]) {
        return take_line(byte);
    } else if (place < signature.size() && byte != signature[place]) {
        return false;
    }
    if (place < kept_.size()) kept_[place] = byte;
    seen_++;
    if (place + 1 == fixed_size && !read_fixed()) return false;
    if (place + 1 >= fixed_size && seen_ == size_) {
        read_addresses();
        status_ = Status::done;
    }
    return true;
}

bool ProxyParser::take_line(std::uint8_t byte) noexcept {
    const std::size_t place = seen_;
    if (place < line_start.size() && byte != static_cast<std::uint8_t>(line_start[place])) {
        return false;
    }
    if (place == kept_.size()) return false;
    kept_[place] = byte;
    seen_++;
    const bool after_cr = kept_[place - 1] == '\r';
    if (after_cr != (byte == '\n')) return false;
    if (byte != '\n') return true;
    status_ = Status::done;
    return read_line();
}

// Section 2.1: "PROXY TCP4 SOURCE DESTINATION PORT PORT", one blank between two words. Behind
// UNKNOWN anything may stand.
bool ProxyParser::read_line() noexcept {
    std::string_view text(reinterpret_cast<const char*>(kept_.data()), seen_ - std::size_t{2});
    text.remove_prefix(line_start.size());
    const std::string_view family = next_word(text);
    if (family == "UNKNOWN") return true;
    if (family != "TCP4" && family != "TCP6") return false;
    const bool v6 = family == "TCP6";
    std::array<Ip, 2> ends{};
    for (Ip& end : ends) {
        const std::string_view word = next_word(text);
        if (v6 != (word.find(':') != std::string_view::npos)) return false;
        if (!parse_ip(word, end)) return false;
    }
    const std::string_view source_port = next_word(text);
    if (!port_valid(source_port) || !port_valid(text)) return false;
    source_ = ends[0];
    has_source_ = true;
    return true;
}

// Section 2.2: behind the signature version and command, family and transport, and the size of
// what follows.
bool ProxyParser::read_fixed() noexcept {
    const std::uint8_t version = kept_[12] & 0xf0;
    const std::uint8_t command = kept_[12] & 0x0f;
    const auto family = static_cast<std::uint8_t>(kept_[13] >> 4);
    const std::uint8_t transport = kept_[13] & 0x0f;
    if (version != version_2 || command > command_proxy) return false;
    if (family > family_unix || transport > 2) return false;
    const std::size_t rest = static_cast<std::size_t>(kept_[14]) * 256 + kept_[15];
    if (fixed_size + rest > proxy_header_max) return false;
    // "must be ignored" for LOCAL; else what a family says must be there.
    if (command == command_proxy && rest < addresses_size(family)) return false;
    size_ = static_cast<std::uint16_t>(fixed_size + rest);
    return true;
}

void ProxyParser::read_addresses() noexcept {
    RC_CHECK(seen_ >= fixed_size);
    const auto family = static_cast<std::uint8_t>(kept_[13] >> 4);
    if ((kept_[12] & 0x0f) == command_local) return;
    if (family != family_inet && family != family_inet6) return;
    const bool v6 = family == family_inet6;
    std::array<std::uint8_t, 16> bytes{};
    const auto begin = kept_.begin() + fixed_size;
    std::copy(begin, begin + (v6 ? 16 : 4), bytes.begin());
    source_ = ip_of(v6, bytes);
    has_source_ = true;
}

bool forwarded_client(std::string_view list,
                      std::span<const IpNetwork> trusted,
                      Ip& client) noexcept {
    while (true) {
        const std::size_t comma = list.rfind(',');
        const bool first = comma == std::string_view::npos;
        const std::string_view hop = trim(first ? list : list.substr(comma + 1));
        if (!parse_hop(hop, client)) return false;
        if (first || !any_contains(trusted, client)) return true;
        list = list.substr(0, comma);
    }
}

}  // namespace ringcast::wire
