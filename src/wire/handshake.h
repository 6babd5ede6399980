#pragma once

// The opening handshake (RFC 6455, section 4.2): what a complete request asks for, and the bytes to
// answer. Who may connect (paths, origins, tokens, capacity) is decided in node; here only whether
// the request is a correct one. Extensions are declined by not answering them (wire/extension.h).

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/extension.h"
#include "wire/http.h"

namespace ringcast::wire {

constexpr std::string_view protocol_v1 = "ringcast.v1";  // our sub-protocol: the JSON envelope

struct Decision {
    enum class Kind : std::uint8_t {
        http,       // a plain GET
        websocket,  // a correct upgrade: answer write_switching_protocols()
        refuse,     // answer write_refusal() with `status`
    };
    Kind kind = Kind::refuse;
    std::uint16_t status = 400;     // refuse: 400, 426 (wrong version), 500 (no SHA-1 to be had)
    const char* reason = "";        // refuse: one line, also the body of the answer
    std::array<char, 28> accept{};  // websocket: Sec-WebSocket-Accept
    std::string_view protocol{};    // websocket: protocol_v1 if it was offered, else empty
    DeflateOffer deflate{};         // websocket: what is offered of permessage-deflate
};

[[nodiscard]] Decision decide(const Request& request) noexcept;

constexpr std::size_t switching_protocols_size_max = 192 + 32 + terms_size_max;

// The 101 answer. `extensions`: the value of its header (write_terms()), or empty. Returns its
// size. Precondition: out.size() >= switching_protocols_size_max.
std::size_t write_switching_protocols(MutBytes out,
                                      const std::array<char, 28>& accept,
                                      std::string_view protocol,
                                      std::string_view extensions = {}) noexcept;

constexpr std::size_t http_overhead_max = 256;  // of write_http_response beyond headers and body

// A whole answer with Content-Length and Connection: close. `extra_headers` are whole lines, each
// ending in \r\n; `content_type` may be empty when the body is. Returns the size.
// Precondition: out.size() >= http_overhead_max + the sizes of the three texts.
std::size_t write_http_response(MutBytes out,
                                int status,
                                std::string_view extra_headers,
                                std::string_view content_type,
                                std::string_view body) noexcept;

constexpr std::size_t refusal_size_max = 512;

// An error answer with `reason` and a newline as text body, and the header that its status calls
// for: 401 WWW-Authenticate, 405 Allow, 426 Sec-WebSocket-Version and Upgrade, 429 and 503
// Retry-After (if retry_after_s > 0).
// Precondition: out.size() >= refusal_size_max. A reason over 128 bytes is cut.
std::size_t write_refusal(MutBytes out,
                          int status,
                          std::string_view reason,
                          std::uint32_t retry_after_s) noexcept;

[[nodiscard]] std::string_view status_text(int status) noexcept;  // "Bad Request"

// Sec-WebSocket-Accept of a key (section 4.2.2, item 5.4). False only if SHA-1 is not to be had.
[[nodiscard]] bool accept_value(std::string_view key, std::array<char, 28>& accept) noexcept;

}  // namespace ringcast::wire
