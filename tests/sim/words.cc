#include "tests/sim/words.h"

#include "tests/support/inflate.h"

namespace ringcast::sim {

namespace {

// The key of RFC 6455, 1.3, and its answer.
constexpr std::string_view accept_key = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

[[nodiscard]] unsigned byte_at(std::string_view text, std::size_t at) {
    return static_cast<unsigned char>(text[at]);
}

// Behind the JSON value that begins at `at`; npos when it does not end.
[[nodiscard]] std::size_t skip_value(std::string_view text, std::size_t at) {
    if (at < text.size() && text[at] == '"') {
        for (at++; at < text.size(); at++) {
            if (text[at] == '\\') {
                at++;
            } else if (text[at] == '"') {
                return at + 1;
            }
        }
        return std::string_view::npos;
    }
    int depth = 0;
    while (at < text.size()) {
        const char c = text[at];
        if (c == '"') {
            at = skip_value(text, at);
            if (at == std::string_view::npos) return at;
            if (depth == 0) return at;
            continue;
        }
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') {
            if (depth == 0) return at;
            if (--depth == 0) return at + 1;
        }
        if (depth == 0 && c == ',') return at;
        at++;
    }
    return std::string_view::npos;
}

[[nodiscard]] std::string_view bare(std::string_view value) {
    const bool quoted = value.size() >= 2 && value.front() == '"';
    return quoted ? value.substr(1, value.size() - 2) : value;
}

// Calls use(name, value) for every member; false when the text is not an object.
template <typename Use>
bool each_member(std::string_view text, const Use& use) {
    if (text.size() < 2 || text.front() != '{' || text.back() != '}') return false;
    std::size_t at = 1;
    while (at < text.size() && text[at] == '"') {
        const std::size_t name_end = skip_value(text, at);
        if (name_end == std::string_view::npos || text[name_end] != ':') return false;
        const std::size_t end = skip_value(text, name_end + 1);
        if (end == std::string_view::npos) return false;
        use(bare(text.substr(at, name_end - at)), text.substr(name_end + 1, end - name_end - 1));
        if (text[end] == '}') return end + 1 == text.size();
        if (text[end] != ',') return false;
        at = end + 1;
    }
    return false;
}

}  // namespace

void Reader::feed(std::string_view bytes) {
    rest_.erase(0, at_);
    at_ = 0;
    rest_ += bytes;
    if (status_ == 0) read_head();
}

void Reader::read_head() {
    const std::size_t end = rest_.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const std::string head = rest_.substr(0, end + 2);
    rest_.erase(0, end + 4);
    if (!head.starts_with("HTTP/1.1 ") || head.size() < 12) {
        fail("no HTTP answer");
        return;
    }
    status_ = static_cast<int>(number(std::string_view(head).substr(9, 3)));
    if (head.find("permessage-deflate") == std::string::npos) may_compress_ = false;
    if (status_ == 101 && head.find(accept_key) == std::string::npos) fail("wrong accept");
}

bool Reader::fail(const char* what) {
    if (fault_.empty()) fault_ = what;
    return false;
}

bool Reader::next(Frame& frame) {
    if (status_ != 101 || !fault_.empty()) return false;
    const std::string_view rest = std::string_view(rest_).substr(at_);
    if (rest.empty()) return false;
    if (closed_) return fail("bytes behind the close frame");
    if (rest.size() < 2) return false;
    const unsigned first = byte_at(rest, 0);
    const unsigned second = byte_at(rest, 1);
    const unsigned op = first & 0x0fU;
    const bool compressed = may_compress_ && (op == 1 || op == 2) && (first & 0x40U) != 0;
    const unsigned allowed = compressed ? 0x40U : 0;
    if ((first & 0xf0U) != (0x80U | allowed)) return fail("a fragment, or reserved bits");
    if ((second & 0x80U) != 0) return fail("a masked frame");
    if (op != 1 && op != 2 && op != 8 && op != 9 && op != 10) return fail("a reserved opcode");
    std::size_t header = 2;
    std::uint64_t size = second;
    if (second >= 126) {
        header = second == 126 ? 4 : 10;
        if (rest.size() < header) return false;
        size = 0;
        for (std::size_t i = 2; i < header; i++) {
            size = (size << 8) | byte_at(rest, i);
        }
        if (size < (second == 126 ? 126U : 0x10000U)) return fail("not the shortest length");
    }
    if (op >= 8 && size > 125) return fail("a large control frame");
    if (size > (1U << 30)) return fail("a huge frame");
    if (rest.size() - header < size) return false;
    frame = {static_cast<Op>(op), rest.substr(header, size)};
    if (compressed) {
        if (!test::inflate_message(frame.payload, plain_)) return fail("not to be inflated");
        frame.payload = plain_;
    }
    at_ += header + size;
    closed_ = op == 8;
    return true;
}

std::string client_frame(Op op, std::string_view payload, std::uint32_t key, bool fin) {
    std::string out;
    const std::size_t size = payload.size();
    out.reserve(size + 14);
    out += static_cast<char>(static_cast<unsigned>(op) | (fin ? 0x80U : 0U));
    if (size < 126) {
        out += static_cast<char>(size | 0x80U);
    } else {
        const bool small = size <= 0xffff;
        out += static_cast<char>(small ? 126U | 0x80U : 127U | 0x80U);
        for (int shift = small ? 8 : 56; shift >= 0; shift -= 8) {
            out += static_cast<char>((size >> shift) & 0xff);
        }
    }
    char mask[4] = {};
    for (int i = 0; i < 4; i++) {
        mask[i] = static_cast<char>((key >> (24 - 8 * i)) & 0xff);
    }
    out.append(mask, sizeof(mask));
    out += payload;
    char* masked = out.data() + (out.size() - size);
    for (std::size_t i = 0; i < size; i++) {
        masked[i] = static_cast<char>(masked[i] ^ mask[i % 4]);
    }
    return out;
}

std::string compressed_frame(Op op, std::string_view payload, std::uint32_t key) {
    std::string frame = client_frame(op, test::Compressor().message(payload), key);
    frame[0] = static_cast<char>(frame[0] | 0x40);
    return frame;
}

std::string client_close(std::uint16_t code, std::uint32_t key) {
    const char payload[2] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    return client_frame(Op::close, {payload, 2}, key);
}

std::string upgrade_request(std::string_view target, bool compress) {
    const std::string offer =
        compress ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "";
    return "GET " + std::string(target) +
           " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
           offer + "\r\n";
}

Envelope read_envelope(std::string_view text) {
    Envelope envelope;
    bool stamped = false;
    envelope.valid = each_member(text, [&](std::string_view name, std::string_view value) {
        if (name == "type") envelope.type = bare(value);
        if (name == "id") envelope.id = bare(value);
        if (name == "topic") envelope.topic = bare(value);
        if (name == "key") envelope.key = bare(value);
        if (name == "encoding") envelope.encoding = bare(value);
        if (name == "payload") envelope.payload = value;
        if (name == "offset") envelope.offset = number(value);
        if (name == "timestamp") stamped = value.size() > 4 && value[value.size() - 4] == '.';
    });
    envelope.valid = envelope.valid && stamped && !envelope.type.empty();
    return envelope;
}

std::string_view member(std::string_view object, std::string_view name) {
    std::string_view found;
    each_member(object, [&](std::string_view each, std::string_view value) {
        if (each == name) found = bare(value);
    });
    return found;
}

bool elements(std::string_view array, std::vector<std::string_view>& into) {
    into.clear();
    if (array.size() < 2 || array.front() != '[' || array.back() != ']') return false;
    std::size_t at = 1;
    while (at + 1 < array.size()) {
        const std::size_t end = skip_value(array, at);
        if (end == std::string_view::npos || end == at) return false;
        into.push_back(bare(array.substr(at, end - at)));
        if (end + 1 == array.size()) return true;
        if (array[end] != ',') return false;
        at = end + 1;
    }
    return array.size() == 2;
}

std::uint64_t number(std::string_view digits) {
    std::uint64_t value = 0;
    for (const char c : digits) {
        if (c < '0' || c > '9') break;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return value;
}

std::string key_name(std::uint32_t key) {
    return "key-" + std::to_string(key);
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
        unsigned group = 0;
        for (std::size_t j = 0; j < 3; j++) {
            group = (group << 8) | (j < have ? byte_at(bytes, i + j) : 0);
        }
        for (std::size_t j = 0; j < 4; j++) {
            out += j <= have ? digits[(group >> (18 - 6 * j)) & 63] : '=';
        }
    }
    return out;
}

}  // namespace ringcast::sim
