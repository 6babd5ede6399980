#pragma once

// ws://host:port/path, or wss:// for TLS. Pure text.

#include <cstdint>
#include <string>
#include <string_view>

namespace ringcast::tools {

struct Url {
    std::string host;
    std::uint16_t port = 80;
    std::string path = "/";  // with the query, if any
    bool secure = false;
};

// False if `text` is no such URL.
[[nodiscard]] bool parse_url(std::string_view text, Url& url) noexcept;

// Everything but letters, digits and "-._~" as %XX (RFC 3986, 2.3).
[[nodiscard]] std::string percent_encoded(std::string_view text) noexcept;

// `text` with every `name` replaced by `value`.
[[nodiscard]] std::string with_replaced(std::string_view text,
                                        std::string_view name,
                                        std::string_view value) noexcept;

}  // namespace ringcast::tools
