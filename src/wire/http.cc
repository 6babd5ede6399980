#include "wire/http.h"

#include <algorithm>
#include <cstring>
#include <new>

#include <llhttp.h>

#include "base/check.h"

namespace ringcast::wire {

namespace {

constexpr bool is_alnum(std::uint8_t c) noexcept {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// tchar of RFC 9110, section 5.6.2: what names of headers are made of.
constexpr bool is_token(std::uint8_t c) noexcept {
    return is_alnum(c) ||
           (c != 0 && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) !=
                          std::string_view::npos);
}

// What may stand in Host: a name or an address, and a port.
constexpr bool is_host(std::uint8_t c) noexcept {
    return is_alnum(c) ||
           (c != 0 && std::string_view("-._~:[]%!$&'()*+;=").find(static_cast<char>(c)) !=
                          std::string_view::npos);
}

bool host_valid(std::string_view host) noexcept {
    return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
        return is_host(static_cast<std::uint8_t>(c));
    });
}

constexpr char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_ignoring_case(std::string_view text, std::string_view lowercase) noexcept {
    return std::equal(
        text.begin(), text.end(), lowercase.begin(), lowercase.end(), [](char a, char b) {
            return lower(a) == b;
        });
}

std::string_view trim(std::string_view text) noexcept {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Is `token` an element of the comma-separated list? Linear, whatever blanks it is filled with.
bool list_has(std::string_view list, std::string_view token, bool ignore_case) noexcept {
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        const std::string_view element = trim(list.substr(0, comma));
        if (ignore_case ? same_ignoring_case(element, token) : element == token) return true;
        if (comma == std::string_view::npos) return false;
        list.remove_prefix(comma + 1);
    }
    return false;
}

void count(std::uint8_t& counter) noexcept {
    if (counter < 255) counter++;
}

// Finds the elements of the list that begin so: how many, and what is behind that in the last one.
void find_behind(std::string_view list,
                 std::string_view prefix,
                 std::string_view& found,
                 std::uint8_t& times) noexcept {
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        const std::string_view element = trim(list.substr(0, comma));
        if (element.starts_with(prefix)) {
            found = element.substr(prefix.size());
            count(times);
        }
        if (comma == std::string_view::npos) return;
        list.remove_prefix(comma + 1);
    }
}

llhttp_t& as_llhttp(std::array<std::byte, 96>& memory) noexcept {
    return *std::launder(reinterpret_cast<llhttp_t*>(memory.data()));
}

}  // namespace

// llhttp calls these while llhttp_execute() runs; anything but 0 stops it. A span may come in any
// number of pieces, one per call of feed() at least.
struct RequestCallbacks {
    static RequestParser& parser(llhttp_t* llhttp) noexcept {
        return *static_cast<RequestParser*>(llhttp->data);
    }

    static int on_method_complete(llhttp_t* llhttp) noexcept {
        if (llhttp_get_method(llhttp) == HTTP_GET) return 0;
        parser(llhttp).fail(405, "method is not GET");
        return -1;
    }

    static int on_url(llhttp_t* llhttp, const char* at, std::size_t size) noexcept {
        return parser(llhttp).keep({at, size}) ? 0 : -1;
    }

    static int on_version_complete(llhttp_t* llhttp) noexcept {
        RequestParser& self = parser(llhttp);
        if (llhttp_get_http_major(llhttp) != 1) {
            self.fail(505, "neither HTTP/1.0 nor HTTP/1.1");
            return -1;
        }
        self.request_.version_minor = llhttp_get_http_minor(llhttp);
        return 0;
    }

    static int on_header_field(llhttp_t* llhttp, const char* at, std::size_t size) noexcept {
        RequestParser& self = parser(llhttp);
        for (std::size_t i = 0; i < size && self.name_used_ <= RequestParser::name_size_max; i++) {
            if (self.name_used_ < RequestParser::name_size_max) {
                self.name_[self.name_used_] = lower(at[i]);
            }
            self.name_used_++;  // one more than fits says: too long to be one of ours
        }
        return 0;
    }

    static int on_header_field_complete(llhttp_t* llhttp) noexcept {
        RequestParser& self = parser(llhttp);
        self.begin_header();
        return 0;
    }

    static int on_header_value(llhttp_t* llhttp, const char* at, std::size_t size) noexcept {
        RequestParser& self = parser(llhttp);
        if (self.header_ == RequestParser::Header::other) return 0;
        return self.keep({at, size}) ? 0 : -1;
    }

    static int on_header_value_complete(llhttp_t* llhttp) noexcept {
        return parser(llhttp).finish_header() ? 0 : -1;
    }

    static int on_message_complete(llhttp_t* llhttp) noexcept {
        parser(llhttp).complete_ = true;
        return 0;
    }
};

namespace {

const llhttp_settings_t& settings() noexcept {
    static const llhttp_settings_t table = [] {
        llhttp_settings_t made{};
        made.on_method_complete = &RequestCallbacks::on_method_complete;
        made.on_url = &RequestCallbacks::on_url;
        made.on_version_complete = &RequestCallbacks::on_version_complete;
        made.on_header_field = &RequestCallbacks::on_header_field;
        made.on_header_field_complete = &RequestCallbacks::on_header_field_complete;
        made.on_header_value = &RequestCallbacks::on_header_value;
        made.on_header_value_complete = &RequestCallbacks::on_header_value_complete;
        made.on_message_complete = &RequestCallbacks::on_message_complete;
        return made;
    }();
    return table;
}

}  // namespace

RequestParser::RequestParser(RequestLimits limits) noexcept : limits_(limits) {
    RC_CHECK(limits.head_size_max > 0);
    static_assert(sizeof(llhttp_t) <= sizeof(llhttp_));
    static_assert(alignof(llhttp_t) <= 8);
    auto* llhttp = ::new (static_cast<void*>(llhttp_.data())) llhttp_t;
    llhttp_init(llhttp, HTTP_REQUEST, &settings());
    llhttp->data = this;
}

RequestParser::Status RequestParser::feed(Bytes input, std::size_t& consumed) noexcept {
    consumed = 0;
    if (place_ == Place::done) return Status::done;
    if (place_ == Place::failed) return Status::failed;

    // Our scanner first, so that llhttp is shown only bytes of the head that are in order.
    std::size_t sound = 0;
    bool refused = false;
    while (sound < input.size() && place_ != Place::done && !refused) {
        refused = !scan_byte(std::to_integer<std::uint8_t>(input[sound]));
        if (!refused) sound++;
    }
    consumed = sound;

    // llhttp speaks of earlier bytes than the scanner stopped at, so its verdict counts first: the
    // answer is the same wherever the input was cut.
    const int scan_status = error_status_;
    const char* scan_reason = error_reason_;
    error_status_ = 0;
    llhttp_t& llhttp = as_llhttp(llhttp_);
    const llhttp_errno_t verdict = llhttp_execute(&llhttp, as_text(input).data(), sound);
    if (verdict != HPE_OK && verdict != HPE_PAUSED_UPGRADE) {
        if (error_status_ != 0) return Status::failed;  // a callback of ours said why
        return fail(400, "malformed request");
    }
    if (refused) return fail(scan_status, scan_reason);
    if (place_ != Place::done) return Status::need_more;
    return finish_head();
}

// The rules that are about bytes and lines. False: refused, and fail() was told why.
bool RequestParser::scan_byte(std::uint8_t byte) noexcept {
    if (head_size_ >= limits_.head_size_max) return refuse(431, "request head too large");
    head_size_++;
    if (after_cr_) return scan_line_feed(byte);
    if (byte == '\r') {
        if (place_ == Place::name) return refuse(400, "header line without a colon");
        if (place_ == Place::line_start) place_ = Place::last_lf;
        after_cr_ = true;
        return true;
    }
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
        return refuse(400, "control character in the request head");
    }
    switch (place_) {
        case Place::request_line:
            return scan_request_line(byte);
        case Place::line_start:
            return scan_header_start(byte);
        case Place::name:
            if (byte == ':') place_ = Place::value;
            return byte == ':' || is_token(byte) || refuse(400, "bad character in a header name");
        case Place::value:
            return true;
        case Place::last_lf:
        case Place::done:
        case Place::failed:
            break;
    }
    RC_CHECK(false);  // these places take no byte
    return false;
}

bool RequestParser::scan_line_feed(std::uint8_t byte) noexcept {
    if (byte != '\n') return refuse(400, "CR without LF");
    if (place_ == Place::request_line && spaces_ != 2) {
        return refuse(400, "request line is not METHOD TARGET VERSION");
    }
    after_cr_ = false;
    place_ = place_ == Place::last_lf ? Place::done : Place::line_start;
    return true;
}

bool RequestParser::scan_header_start(std::uint8_t byte) noexcept {
    if (byte == ' ' || byte == '\t') return refuse(400, "folded header line");
    if (lines_ >= limits_.head_lines_max) return refuse(431, "too many header lines");
    if (!is_token(byte)) return refuse(400, "bad character in a header name");
    lines_++;
    place_ = Place::name;
    return true;
}

bool RequestParser::scan_request_line(std::uint8_t byte) noexcept {
    if (byte == ' ') {
        const bool target_missing = spaces_ == 1 && target_size_ == 0;
        if (head_size_ == 1 || target_missing || spaces_ == 2) {
            return refuse(400, "request line is not METHOD TARGET VERSION");
        }
        spaces_++;
        return true;
    }
    if (spaces_ != 1) return true;  // method and version: llhttp knows them
    if (target_size_ == 0 && byte != '/' && byte != 'h' && byte != 'H') {
        return refuse(400, "target is not a path");
    }
    if (byte <= 0x20 || byte > 0x7e || byte == '#') return refuse(400, "bad character in target");
    if (target_size_ >= target_size_max) return refuse(414, "target over 2 KiB");
    target_size_++;
    return true;
}

bool RequestParser::keep(std::string_view piece) noexcept {
    RC_CHECK(text_used_ <= text_.size());
    if (piece.size() > text_.size() - text_used_) {
        return refuse(431, "headers that must be kept are too long together");
    }
    if (!piece.empty()) std::memcpy(text_.data() + text_used_, piece.data(), piece.size());
    text_used_ = static_cast<std::uint16_t>(text_used_ + piece.size());
    return true;
}

void RequestParser::begin_header() noexcept {
    struct Known {
        std::string_view name;
        Header header;
    };
    static constexpr Known known[] = {
        {"host", Header::host},
        {"origin", Header::origin},
        {"authorization", Header::authorization},
        {"x-forwarded-for", Header::forwarded_for},
        {"if-none-match", Header::if_none_match},
        {"upgrade", Header::upgrade},
        {"connection", Header::connection},
        {"sec-websocket-key", Header::key},
        {"sec-websocket-version", Header::version},
        {"sec-websocket-protocol", Header::protocol},
        {"sec-websocket-extensions", Header::extensions},
        {"content-length", Header::content_length},
        {"transfer-encoding", Header::transfer_encoding},
    };
    header_ = Header::other;
    if (name_used_ <= name_size_max) {
        const std::string_view name{name_.data(), name_used_};
        for (const Known& entry : known) {
            if (name == entry.name) header_ = entry.header;
        }
        if (header_ == Header::extensions && !limits_.read_extensions) header_ = Header::other;
    }
    name_used_ = 0;
    value_begin_ = text_used_;
}

// Judges the value that was kept, and forgets it unless the request shows it.
bool RequestParser::finish_header() noexcept {
    RC_CHECK(value_begin_ <= text_used_);
    const std::string_view value =
        trim({text_.data() + value_begin_, std::size_t{text_used_} - value_begin_});
    switch (header_) {
        case Header::host:
            count(request_.host_count);
            request_.host = value;
            return true;
        case Header::origin:
            count(request_.origin_count);
            request_.origin = value;
            return true;
        case Header::authorization:
            count(request_.authorization_count);
            request_.authorization = value;
            return true;
        case Header::forwarded_for:
            count(request_.forwarded_for_count);
            request_.forwarded_for = value;
            return true;
        case Header::if_none_match:
            request_.if_none_match = value;
            return true;
        case Header::key:
            count(request_.key_count);
            request_.key = value;
            return true;
        case Header::upgrade:
            count(request_.upgrade_count);
            request_.upgrade_websocket |= list_has(value, "websocket", true);
            break;
        case Header::connection:
            request_.connection_upgrade |= list_has(value, "upgrade", true);
            break;
        case Header::version:
            count(request_.websocket_version_count);
            request_.websocket_version_13 = value == "13";
            break;
        case Header::protocol:
            request_.offers_protocols = true;
            request_.offers_ringcast_v1 |= list_has(value, "ringcast.v1", false);
            if (value.find("ringcast.token.") == std::string_view::npos) break;
            find_behind(
                value, "ringcast.token.", request_.protocol_token, request_.protocol_token_count);
            return true;
        case Header::extensions:
            if (!wire::read_extensions(value, request_.deflate)) {
                return refuse(400, "malformed Sec-WebSocket-Extensions");
            }
            break;
        case Header::content_length:
            if (value != "0") return refuse(400, "request with a body");
            break;
        case Header::transfer_encoding:
            return refuse(400, "request with a body");
        case Header::other:
            break;
    }
    text_used_ = value_begin_;
    return true;
}

RequestParser::Status RequestParser::finish_head() noexcept {
    if (!complete_) return fail(400, "malformed request");
    const bool host_missing = request_.version_minor >= 1 && request_.host_count == 0;
    if (host_missing || request_.host_count > 1) return fail(400, "not exactly one Host");
    if (request_.host_count == 1 && !host_valid(request_.host)) return fail(400, "malformed Host");
    if (request_.origin_count > 1) return fail(400, "more than one Origin");
    if (request_.authorization_count > 1) return fail(400, "more than one Authorization");

    std::string_view target{text_.data(), target_size_};
    if (target.front() != '/' && !take_authority(target)) {
        return fail(400, "target is neither a path nor an http URI");
    }
    const std::size_t mark = target.find('?');
    request_.path = mark == 0 || target.empty() ? "/" : target.substr(0, mark);
    if (mark != std::string_view::npos) request_.query = target.substr(mark + 1);
    request_.head_size = head_size_;
    request_.header_lines = lines_;
    return Status::done;
}

// The absolute form, as for a proxy: every server must take it, and its authority instead of Host
// (RFC 9112, section 3.2.2). Leaves the path and the query.
bool RequestParser::take_authority(std::string_view& target) noexcept {
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!same_ignoring_case(target.substr(0, scheme.size()), scheme)) continue;
        target.remove_prefix(scheme.size());
        request_.host = target.substr(0, target.find_first_of("/?"));
        target.remove_prefix(request_.host.size());
        return host_valid(request_.host);
    }
    return false;
}

const Request& RequestParser::request() const noexcept {
    RC_CHECK(place_ == Place::done);
    return request_;
}

RequestParser::Status RequestParser::fail(int status, const char* reason) noexcept {
    RC_CHECK(status >= 400);
    place_ = Place::failed;
    error_status_ = static_cast<std::uint16_t>(status);
    error_reason_ = reason;
    return Status::failed;
}

bool RequestParser::refuse(int status, const char* reason) noexcept {
    fail(status, reason);
    return false;
}

namespace {

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    const char letter = lower(c);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

// Decodes into the front of `out`. False: a malformed % or no room.
bool percent_decode(std::string_view text, std::span<char> out, std::size_t& size) noexcept {
    size = 0;
    for (std::size_t i = 0; i < text.size(); i++) {
        if (size >= out.size()) return false;
        char c = text[i] == '+' ? ' ' : text[i];
        if (c == '%') {
            if (text.size() - i < 3) return false;
            const int high = hex_digit(text[i + 1]);
            const int low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0) return false;
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        out[size++] = c;
    }
    return true;
}

}  // namespace

QueryReader::Status QueryReader::next(std::span<char> scratch, Item& item) noexcept {
    while (!rest_.empty() && rest_.front() == '&') {
        rest_.remove_prefix(1);
    }
    if (rest_.empty()) return Status::end;
    if (++count_ > query_items_max) return Status::bad;

    const std::string_view pair = rest_.substr(0, rest_.find('&'));
    rest_.remove_prefix(pair.size());
    const std::size_t equals = pair.find('=');
    const bool has_value = equals != std::string_view::npos;
    std::size_t name_size = 0;
    std::size_t value_size = 0;
    if (!percent_decode(pair.substr(0, equals), scratch, name_size)) return Status::bad;
    const std::span<char> behind = scratch.subspan(name_size);
    if (has_value && !percent_decode(pair.substr(equals + 1), behind, value_size)) {
        return Status::bad;
    }
    item = {.name = {scratch.data(), name_size}, .value = {behind.data(), value_size}};
    return Status::item;
}

std::string_view query_value(std::string_view query,
                             std::string_view name,
                             std::span<char> scratch) noexcept {
    QueryReader reader(query);
    QueryReader::Item item;
    while (reader.next(scratch, item) == QueryReader::Status::item) {
        if (item.name == name) return item.value;
    }
    return {};
}

}  // namespace ringcast::wire
