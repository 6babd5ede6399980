#pragma once

// A WebSocket client as a value: it reads what a server sent and makes what a client sends. Written
// from RFC 6455 with nothing of src/wire, so that the two can disagree.
//
// Peer is fed the server's bytes in any pieces; what breaks the protocol becomes `fault`: a masked
// frame, reserved bits, a length that is not the shortest, a fragment (the server sends none),
// anything behind a close frame.

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringcast::test {

enum class Op : std::uint8_t { more = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

struct Frame {
    Op op = Op::more;
    std::string payload;
    bool compressed = false;  // on the wire; `payload` is what it was before

    [[nodiscard]] std::uint16_t close_code() const {
        if (op != Op::close || payload.size() < 2) return 1005;
        return static_cast<std::uint16_t>((static_cast<unsigned char>(payload[0]) << 8) |
                                          static_cast<unsigned char>(payload[1]));
    }
};

// One frame from a client, masked.
// `reserved`: the RSV bits.
inline std::string client_frame(Op op,
                                std::string_view payload,
                                bool fin = true,
                                unsigned reserved = 0) {
    constexpr unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    std::string out;
    out += static_cast<char>(static_cast<unsigned>(op) | (fin ? 0x80U : 0U) | reserved << 4);
    if (payload.size() < 126) {
        out += static_cast<char>(payload.size() | 0x80U);
    } else if (payload.size() <= 0xffff) {
        out += static_cast<char>(126U | 0x80U);
        out += static_cast<char>(payload.size() >> 8);
        out += static_cast<char>(payload.size() & 0xff);
    } else {
        out += static_cast<char>(127U | 0x80U);
        for (int shift = 56; shift >= 0; shift -= 8) {
            out += static_cast<char>((static_cast<std::uint64_t>(payload.size()) >> shift) & 0xff);
        }
    }
    for (const unsigned char byte : key) {
        out += static_cast<char>(byte);
    }
    for (std::size_t i = 0; i < payload.size(); i++) {
        out += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ key[i % 4]);
    }
    return out;
}

inline std::string client_close(std::uint16_t code, std::string_view reason = {}) {
    std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    payload += reason;
    return client_frame(Op::close, payload);
}

// One frame as a server sends it.
inline std::string server_frame(Op op, std::string_view payload) {
    std::string out{static_cast<char>(static_cast<unsigned>(op) | 0x80U)};
    if (payload.size() < 126) {
        out += static_cast<char>(payload.size());
    } else {
        const bool small = payload.size() <= 0xffff;
        out += static_cast<char>(small ? 126 : 127);
        for (int shift = small ? 8 : 56; shift >= 0; shift -= 8) {
            out += static_cast<char>((static_cast<std::uint64_t>(payload.size()) >> shift) & 0xff);
        }
    }
    return out += payload;
}

// A correct upgrade (the key and its answer are those of RFC 6455, 1.3).
inline std::string upgrade_request(std::string_view target, std::string_view extensions = {}) {
    std::string request =
        "GET " + std::string(target) +
        " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    if (!extensions.empty()) {
        request += "Sec-WebSocket-Extensions: " + std::string(extensions) + "\r\n";
    }
    return request + "\r\n";
}
constexpr std::string_view upgrade_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

class Peer {
  public:
    Peer() = default;
    // `upgraded`: the server's bytes are frames from the first one on.
    explicit Peer(bool upgraded) : upgraded_(upgraded) {}

    void feed(std::string_view bytes) {
        rest_ += bytes;
        if (!upgraded_) read_head();
        while (upgraded_ && fault.empty() && read_frame()) {
        }
    }

    // In the middle of a frame: a connection that ends now was cut.
    [[nodiscard]] bool inside_frame() const { return upgraded_ && !rest_.empty(); }
    [[nodiscard]] bool open() const { return upgraded_; }
    [[nodiscard]] bool closed() const { return closed_; }
    [[nodiscard]] std::vector<Frame> take() { return std::exchange(frames_, {}); }
    // The code of the close frame, 0 if there was none.
    [[nodiscard]] std::uint16_t close_code() const { return close_code_; }

    int status = 0;    // of the HTTP answer, once its head is here
    std::string head;  // its head
    [[nodiscard]] const std::string& body() const { return rest_; }  // of an answer that is no 101
    std::string fault;
    // Where compression was agreed upon: how to undo it (tests/support/inflate.h).
    bool (*inflate)(std::string_view message, std::string& plain) = nullptr;

  private:
    void read_head() {
        const std::size_t end = rest_.find("\r\n\r\n");
        if (status != 0 || end == std::string::npos) return;
        head = rest_.substr(0, end + 2);
        rest_.erase(0, end + 4);
        if (!head.starts_with("HTTP/1.1 ")) fault = "no HTTP answer";
        std::from_chars(head.data() + 9, head.data() + 12, status);
        upgraded_ = status == 101;
        if (upgraded_ && head.find(upgrade_accept) == std::string::npos) fault = "wrong accept";
    }

    bool read_frame() {
        if (rest_.empty()) return false;
        if (closed_) return fail("bytes behind the close frame");
        if (rest_.size() < 2) return false;
        const auto first = static_cast<unsigned char>(rest_[0]);
        const auto second = static_cast<unsigned char>(rest_[1]);
        const unsigned op = first & 0x0fU;
        const bool compressed = inflate != nullptr && (op == 1 || op == 2) && (first & 0x40U) != 0;
        const unsigned allowed = compressed ? 0x40U : 0;
        if ((first & 0xf0U) != (0x80U | allowed)) return fail("a fragment, or reserved bits");
        if ((second & 0x80U) != 0) return fail("masked");
        if (op != 1 && op != 2 && op != 8 && op != 9 && op != 10) return fail("reserved opcode");
        std::size_t header = 2;
        std::uint64_t size = second;
        if (second >= 126) {
            header = second == 126 ? 4 : 10;
            if (rest_.size() < header) return false;
            size = 0;
            for (std::size_t i = 2; i < header; i++) {
                size = (size << 8) | static_cast<unsigned char>(rest_[i]);
            }
            if (size < (second == 126 ? 126U : 0x10000U)) return fail("not the shortest length");
        }
        if (op >= 8 && size > 125) return fail("a large control frame");
        if (rest_.size() - header < size) return false;
        frames_.push_back({static_cast<Op>(op), rest_.substr(header, size), compressed});
        if (compressed) {
            std::string plain;
            if (!inflate(frames_.back().payload, plain)) return fail("not to be inflated");
            frames_.back().payload = std::move(plain);
        }
        rest_.erase(0, header + size);
        if (op == 8) {
            closed_ = true;
            close_code_ = frames_.back().close_code();
        }
        return true;
    }

    bool fail(std::string_view what) {
        fault = what;
        return false;
    }

    std::string rest_;
    std::vector<Frame> frames_;
    bool upgraded_ = false;
    bool closed_ = false;
    std::uint16_t close_code_ = 0;
};

}  // namespace ringcast::test
