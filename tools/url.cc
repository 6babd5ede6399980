#include "url.h"

#include <charconv>

namespace ringcast::tools {

bool parse_url(std::string_view text, Url& url) noexcept {
    url.secure = text.starts_with("wss://");
    const std::string_view scheme = url.secure ? "wss://" : "ws://";
    if (!text.starts_with(scheme)) return false;
    text.remove_prefix(scheme.size());
    const std::size_t slash = text.find_first_of("/?");
    std::string_view authority = text.substr(0, slash);
    url.path = slash == text.npos ? "/" : std::string(text.substr(slash));
    if (url.path.front() == '?') url.path.insert(0, 1, '/');
    const std::size_t bracket = authority.find(']');  // [::1]:8080
    const std::size_t colon = authority.find(':', bracket == authority.npos ? 0 : bracket);
    url.port = url.secure ? 443 : 80;
    if (colon != authority.npos) {
        const std::string_view digits = authority.substr(colon + 1);
        const char* end = digits.data() + digits.size();
        const auto [stop, error] = std::from_chars(digits.data(), end, url.port);
        if (error != std::errc{} || stop != end || url.port == 0) return false;
        authority = authority.substr(0, colon);
    }
    if (bracket != authority.npos) {
        if (!authority.starts_with('[') || !authority.ends_with(']')) return false;
        authority = authority.substr(1, authority.size() - 2);
    }
    url.host = std::string(authority);
    return !url.host.empty();
}

std::string percent_encoded(std::string_view text) noexcept {
    constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string result;
    for (const char c : text) {
        if (plain.find(c) != plain.npos) {
            result += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            result += '%';
            result += digits[byte >> 4];
            result += digits[byte & 15];
        }
    }
    return result;
}

std::string with_replaced(std::string_view text,
                          std::string_view name,
                          std::string_view value) noexcept {
    std::string result;
    for (;;) {
        const std::size_t at = text.find(name);
        result += text.substr(0, at);
        if (at == text.npos) return result;
        result += value;
        text.remove_prefix(at + name.size());
    }
}

}  // namespace ringcast::tools
