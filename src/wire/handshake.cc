#include "wire/handshake.h"

#include <charconv>
#include <cstring>

#include <openssl/evp.h>

#include "base/check.h"
#include "wire/base64.h"

namespace ringcast::wire {

namespace {

constexpr std::string_view accept_guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t key_bytes = 16;

// Appends to memory that the caller promised to be large enough.
class Appender {
  public:
    explicit Appender(MutBytes out) noexcept : out_(out) {}

    Appender& text(std::string_view text) noexcept {
        RC_CHECK(text.size() <= out_.size() - size_);
        if (!text.empty()) std::memcpy(out_.data() + size_, text.data(), text.size());
        size_ += text.size();
        return *this;
    }

    Appender& number(std::uint64_t value) noexcept {
        std::array<char, 20> digits{};
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
        return text({digits.data(), static_cast<std::size_t>(end - digits.data())});
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    MutBytes out_;
    std::size_t size_ = 0;
};

Decision refuse(std::uint16_t status, const char* reason) noexcept {
    Decision decision;
    decision.status = status;
    decision.reason = reason;
    return decision;
}

}  // namespace

Decision decide(const Request& request) noexcept {
    // A proxy that drops the hop-by-hop headers leaves the others: say so rather than serve a page.
    const bool websocket =
        request.upgrade_websocket || request.key_count != 0 || request.websocket_version_count != 0;
    Decision decision;
    if (!websocket) {
        decision.kind = Decision::Kind::http;
        decision.status = 200;
        return decision;
    }
    if (request.version_minor < 1) return refuse(400, "WebSocket needs HTTP/1.1");
    if (!request.upgrade_websocket || !request.connection_upgrade) {
        return refuse(400, "Upgrade or Connection header missing: does a proxy remove it?");
    }
    if (request.upgrade_count != 1) return refuse(400, "more than one Upgrade header");
    if (request.websocket_version_count != 1) return refuse(400, "not one Sec-WebSocket-Version");
    if (!request.websocket_version_13) return refuse(426, "only WebSocket version 13 is spoken");
    if (request.key_count != 1) return refuse(400, "not one Sec-WebSocket-Key");
    if (!base64_is_of_size(request.key, key_bytes)) {
        return refuse(400, "Sec-WebSocket-Key is not 16 bytes in base64");
    }
    if (!accept_value(request.key, decision.accept)) return refuse(500, "no SHA-1");
    decision.kind = Decision::Kind::websocket;
    decision.status = 101;
    if (request.offers_ringcast_v1) decision.protocol = protocol_v1;
    decision.deflate = request.deflate;
    return decision;
}

bool accept_value(std::string_view key, std::array<char, 28>& accept) noexcept {
    constexpr std::size_t digest_size = 20;
    static_assert(base64_size(digest_size) == std::tuple_size_v<std::array<char, 28>>);
    RC_CHECK(key.size() == base64_size(key_bytes));
    std::array<char, base64_size(key_bytes) + accept_guid.size()> text{};
    std::memcpy(text.data(), key.data(), key.size());
    std::memcpy(text.data() + key.size(), accept_guid.data(), accept_guid.size());

    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    const int done =
        EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
    if (done != 1 || size != digest_size) return false;
    base64_encode(accept.data(), std::as_bytes(std::span(digest).first<digest_size>()));
    return true;
}

std::size_t write_switching_protocols(MutBytes out,
                                      const std::array<char, 28>& accept,
                                      std::string_view protocol,
                                      std::string_view extensions) noexcept {
    RC_CHECK(out.size() >= switching_protocols_size_max);
    Appender answer(out);
    answer
        .text(
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Accept: ")
        .text({accept.data(), accept.size()})
        .text("\r\n");
    if (!protocol.empty()) {
        answer.text("Sec-WebSocket-Protocol: ").text(protocol).text("\r\n");
    }
    if (!extensions.empty()) {
        answer.text("Sec-WebSocket-Extensions: ").text(extensions).text("\r\n");
    }
    return answer.text("\r\n").size();
}

std::size_t write_http_response(MutBytes out,
                                int status,
                                std::string_view extra_headers,
                                std::string_view content_type,
                                std::string_view body) noexcept {
    RC_CHECK(status >= 100);
    RC_CHECK(status <= 599);
    Appender answer(out);
    answer.text("HTTP/1.1 ").number(static_cast<std::uint64_t>(status)).text(" ");
    answer.text(status_text(status)).text("\r\nContent-Length: ").number(body.size());
    if (!content_type.empty()) answer.text("\r\nContent-Type: ").text(content_type);
    answer.text("\r\nConnection: close\r\n").text(extra_headers).text("\r\n").text(body);
    return answer.size();
}

std::size_t write_refusal(MutBytes out,
                          int status,
                          std::string_view reason,
                          std::uint32_t retry_after_s) noexcept {
    RC_CHECK(out.size() >= refusal_size_max);
    constexpr std::size_t reason_max = 128;
    std::array<std::byte, 160> headers_memory{};
    Appender headers(headers_memory);
    if (status == 401) headers.text("WWW-Authenticate: Bearer\r\n");  // RFC 6750, section 3
    if (status == 405) headers.text("Allow: GET\r\n");
    if (status == 426) {
        // Upgrade must be named in Connection too, or it is not for the next hop (RFC 9110, 7.8). A
        // second Connection line continues the first (5.3).
        headers.text("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    }
    if ((status == 503 || status == 429) && retry_after_s > 0) {
        headers.text("Retry-After: ").number(retry_after_s).text("\r\n");
    }
    std::array<std::byte, reason_max + 1> body_memory{};
    Appender body(body_memory);
    body.text(reason.substr(0, reason_max)).text("\n");
    return write_http_response(out,
                               status,
                               as_text({headers_memory.data(), headers.size()}),
                               "text/plain; charset=utf-8",
                               as_text({body_memory.data(), body.size()}));
}

std::string_view status_text(int status) noexcept {
    struct Row {
        int status;
        std::string_view text;
    };
    static constexpr Row rows[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (const Row& row : rows) {
        if (row.status == status) return row.text;
    }
    return "Unknown";
}

}  // namespace ringcast::wire
