#pragma once

// Just enough HTTP/1.1 to be asked for a WebSocket, or for a small page: one request head, no body.
//
// llhttp splits the head; in front of it our own scanner enforces what llhttp 8.1 forgives (blanks
// before the colon, folded lines, bare LF, control characters), counts, and finds the end, so that
// llhttp never sees a byte behind the head. Work is linear in the bytes whatever the split, and the
// parser never allocates: everything kept lies in its fixed text area.
//
// Strictness is policy here: in front of us stands a proxy that must read every accepted request
// the same way as we do (request smuggling).

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "wire/extension.h"

namespace ringcast::wire {

constexpr std::size_t target_size_max = 2048;  // 414
constexpr std::size_t query_items_max = 256;   // QueryReader: bad

// What is over them is answered 431. The types are those of the parser's counters, so no limit can
// be asked for that it could not count to.
struct RequestLimits {
    std::uint16_t head_size_max = 8192;  // request line, headers and the empty line
    std::uint8_t head_lines_max = 64;    // header lines
    bool read_extensions = false;        // Sec-WebSocket-Extensions; else it is not looked at
};

// What a request said. Views point into the parser and live as long as it does.
struct Request {
    std::string_view path{};           // begins with '/', still percent-encoded
    std::string_view query{};          // behind the '?', without it
    std::string_view host{};           // Host
    std::string_view origin{};         // Origin
    std::string_view authorization{};  // Authorization
    std::string_view forwarded_for{};  // X-Forwarded-For, its last line
    std::uint8_t forwarded_for_count = 0;
    std::string_view if_none_match{};  // If-None-Match, its last line
    std::string_view key{};            // Sec-WebSocket-Key
    std::uint16_t head_size = 0;       // bytes of the whole head
    std::uint8_t header_lines = 0;
    std::uint8_t version_minor = 0;  // HTTP/1.x
    std::uint8_t host_count = 0;     // occurrences; counts stop at 255
    std::uint8_t origin_count = 0;
    std::uint8_t authorization_count = 0;
    std::uint8_t upgrade_count = 0;            // Upgrade lines
    std::uint8_t key_count = 0;                // Sec-WebSocket-Key lines
    std::uint8_t websocket_version_count = 0;  // Sec-WebSocket-Version lines
    bool upgrade_websocket = false;            // Upgrade lists "websocket"
    bool connection_upgrade = false;           // Connection lists "upgrade"
    bool websocket_version_13 = false;         // Sec-WebSocket-Version is exactly 13
    bool offers_protocols = false;             // Sec-WebSocket-Protocol is there
    bool offers_ringcast_v1 = false;           // ... and lists "ringcast.v1"
    DeflateOffer deflate{};                    // Sec-WebSocket-Extensions, if it is read
    std::uint8_t protocol_token_count = 0;     // ... and "ringcast.token.TOKEN", so often
    std::string_view protocol_token{};         // the TOKEN of the last of them
};

class RequestParser {
  public:
    enum class Status : std::uint8_t { need_more, done, failed };

    explicit RequestParser(RequestLimits limits = {}) noexcept;
    RequestParser(const RequestParser&) = delete;
    RequestParser& operator=(const RequestParser&) = delete;

    // `consumed`: how many bytes of `input` belong to the head. Bytes behind it (early frames) stay
    // the caller's. After done or failed nothing more is consumed.
    [[nodiscard]] Status feed(Bytes input, std::size_t& consumed) noexcept;

    // Precondition: feed() returned done.
    [[nodiscard]] const Request& request() const noexcept;

    // After failed: 400 malformed, 405 not GET, 414 target too long, 431 head too large, 505
    // neither HTTP/1.0 nor 1.1; and one line that says why.
    [[nodiscard]] int error_status() const noexcept { return error_status_; }
    [[nodiscard]] const char* error_reason() const noexcept { return error_reason_; }

  private:
    friend struct RequestCallbacks;  // llhttp's callbacks, in http.cc

    enum class Place : std::uint8_t {
        request_line,
        line_start,
        name,
        value,
        last_lf,
        done,
        failed
    };
    enum class Header : std::uint8_t {
        other,
        host,
        origin,
        authorization,
        forwarded_for,
        if_none_match,
        upgrade,
        connection,
        key,
        version,
        protocol,
        extensions,
        content_length,
        transfer_encoding,
    };

    [[nodiscard]] bool scan_byte(std::uint8_t byte) noexcept;
    [[nodiscard]] bool scan_line_feed(std::uint8_t byte) noexcept;
    [[nodiscard]] bool scan_header_start(std::uint8_t byte) noexcept;
    [[nodiscard]] bool scan_request_line(std::uint8_t byte) noexcept;
    [[nodiscard]] bool keep(std::string_view piece) noexcept;
    void begin_header() noexcept;
    [[nodiscard]] bool finish_header() noexcept;
    [[nodiscard]] Status finish_head() noexcept;
    [[nodiscard]] bool take_authority(std::string_view& target) noexcept;
    Status fail(int status, const char* reason) noexcept;
    bool refuse(int status, const char* reason) noexcept;  // fail(), and false

    static constexpr std::size_t text_size = 3072;    // target and kept header values together
    static constexpr std::size_t name_size_max = 32;  // longer names are none that we know

    alignas(8) std::array<std::byte, 96> llhttp_{};  // llhttp_t, without its header in ours
    Request request_;
    RequestLimits limits_;
    const char* error_reason_ = "";
    std::uint16_t error_status_ = 0;
    std::uint16_t text_used_ = 0;
    std::uint16_t value_begin_ = 0;  // of the header value being kept, in text_
    std::uint16_t head_size_ = 0;
    std::uint16_t target_size_ = 0;
    std::uint8_t lines_ = 0;
    std::uint8_t spaces_ = 0;  // blanks seen in the request line
    std::uint8_t name_used_ = 0;
    Place place_ = Place::request_line;
    Header header_ = Header::other;
    bool after_cr_ = false;
    bool complete_ = false;  // llhttp agrees that the head is whole
    std::array<char, name_size_max> name_{};
    std::array<char, text_size> text_{};
};

static_assert(sizeof(RequestParser) <= 3584, "one per connection that is still shaking hands");

// Walks name=value pairs of a query string, percent-decoding each ('+' is a blank, as browsers
// write it). Empty pairs (&&) are skipped.
class QueryReader {
  public:
    enum class Status : std::uint8_t { item, end, bad };
    struct Item {
        std::string_view name{};
        std::string_view value{};
    };

    explicit QueryReader(std::string_view query) noexcept : rest_(query) {}

    // The item's views point into `scratch` and live until it is used again. bad: a malformed % or
    // more than query_items_max items (answer 400); also if an item does not fit into scratch,
    // which it always does when scratch is target_size_max long.
    [[nodiscard]] Status next(std::span<char> scratch, Item& item) noexcept;

  private:
    std::string_view rest_{};
    std::size_t count_ = 0;
};

// The value of the first item of that name, decoded into `scratch`; empty if there is none (or the
// query is malformed before it).
[[nodiscard]] std::string_view query_value(std::string_view query,
                                           std::string_view name,
                                           std::span<char> scratch) noexcept;

}  // namespace ringcast::wire
