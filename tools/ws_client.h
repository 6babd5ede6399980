#pragma once

// The client's half of RFC 6455, in as few lines as a checker can have: it judges the server, so it
// shares no code with src/wire. Pure functions of bytes; no socket, no clock.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace ringcast::tools {

enum class Opcode : std::uint8_t {
    continuation = 0,
    text = 1,
    binary = 2,
    close = 8,
    ping = 9,
    pong = 10,
};

constexpr std::uint64_t frame_payload_max = 64 << 20;  // what we are willing to buffer

// Appends one whole client frame. The mask key need not be secret here: there is no intermediary.
void append_frame(std::string& out, Opcode opcode, Bytes payload, std::uint32_t mask_key) noexcept;
// A close frame with its code and nothing else.
void append_close(std::string& out, std::uint16_t code) noexcept;
// The unmasked frame that a server makes of the same message.
void append_server_frame(std::string& out, Opcode opcode, Bytes payload) noexcept;

enum class Parse : std::uint8_t { need_more, frame, bad };

struct Frame {
    Opcode opcode = Opcode::continuation;
    bool fin = false;
    bool compressed = false;
    Bytes payload;
    // Bytes of the whole frame; after need_more: how many there must be before the next try.
    std::size_t size = 0;
};

// Looks at the frame that `bytes` begin with. What a server must not send is bad: reserved bits and
// opcodes, masked frames, lengths not in their shortest form, long or fragmented control frames
// (RFC 6455, 5.1, 5.2, 5.5). `may_compress`: RSV1 may stand on data (RFC 7692, 6).
[[nodiscard]] Parse parse_frame(Bytes bytes, Frame& frame, bool may_compress = false) noexcept;

// The code of a close frame: 1005 if it has none (RFC 6455, 7.1.5).
[[nodiscard]] std::uint16_t close_code(Bytes payload) noexcept;

// Cuts a stream into frames. Copies nothing unless a frame crosses two reads; then keeps just that
// frame, and owns memory only as long. Eight bytes, so that thousands of readers are cheap.
class Splitter {
  public:
    [[nodiscard]] bool empty() const noexcept { return carry_ == nullptr; }
    [[nodiscard]] Bytes held() const noexcept {
        return carry_ == nullptr ? Bytes{} : as_bytes(*carry_);
    }

    // Takes one frame off `chunk` (and what was kept) and hands it to on_frame(const Frame&); its
    // payload is valid only there. After need_more, `chunk` is empty.
    template <typename OnFrame>
    Parse take(Bytes& chunk, OnFrame&& on_frame, bool may_compress = false) noexcept {
        Frame frame;
        if (carry_ == nullptr) {
            const Parse result = parse_frame(chunk, frame, may_compress);
            if (result == Parse::need_more) keep(chunk);
            chunk = chunk.subspan(result == Parse::frame ? frame.size : chunk.size());
            if (result == Parse::frame) on_frame(frame);
            return result;
        }
        for (;;) {  // at most three rounds: two bytes of header, the rest of it, the payload
            const Parse result = parse_frame(as_bytes(*carry_), frame, may_compress);
            if (result == Parse::need_more) {
                if (chunk.empty()) return result;
                const std::size_t count = std::min(chunk.size(), frame.size - carry_->size());
                carry_->append(as_text(chunk.first(count)));
                chunk = chunk.subspan(count);
                continue;
            }
            const std::unique_ptr<std::string> whole = std::move(carry_);
            if (result == Parse::frame) on_frame(frame);
            return result;
        }
    }

    // Puts bytes in front of what comes next. Precondition: empty().
    void keep(Bytes bytes) noexcept {
        if (!bytes.empty()) carry_ = std::make_unique<std::string>(as_text(bytes));
    }

  private:
    std::unique_ptr<std::string> carry_;
};

// The opening handshake (RFC 6455, 4.1). `key` is 16 bytes in base64; `compress`: compression is
// offered.
[[nodiscard]] std::string upgrade_request(std::string_view host,
                                          std::string_view path,
                                          std::string_view key,
                                          bool compress = false) noexcept;
[[nodiscard]] std::string accept_value(std::string_view key) noexcept;
[[nodiscard]] std::string base64(Bytes bytes) noexcept;

enum class Upgrade : std::uint8_t { need_more, accepted, refused, bad };

struct UpgradeAnswer {
    Upgrade result = Upgrade::need_more;
    bool compresses = false;  // without context of its own
    int status = 0;           // of the HTTP response
    std::size_t size = 0;     // of the head; what follows are frames
};

[[nodiscard]] UpgradeAnswer check_upgrade(std::string_view text, std::string_view accept) noexcept;

}  // namespace ringcast::tools
