#pragma once

// The receiving half of a server's WebSocket connection (RFC 6455, section 5), as a state machine
// that may be stopped between any two bytes.
//
//   while (true) {
//       const Framer::Event event = framer.next(input, limits);
//       if (event.kind == FramerEvent::need_more) break;
//       ...
//   }
//
// Invariants:
// - A message that lies whole in the input, in one frame, is handed out where it lies: unmasked in
//   place, no copy, no allocation.
// - Anything else is put together in one contiguous buffer, which grows by the bytes that really
//   arrived, never by an announced size. Its capacity is at most twice what arrived, plus a
//   constant; a fragment costs nothing beyond its bytes. Between messages no memory is held.
// - Limits are tested when a header is complete, before any memory is taken.
// - Text is checked as it arrives: the error comes with the first piece that cannot be UTF-8.
//
// What the peer does wrong becomes one `error` event with the close code to answer:
//   1002 a broken frame, 1007 text (or a close reason) that is not UTF-8, 1009 a message over
//   message_size_max, 1008 more than fragments_max fragments, 1011 we have no memory for it.
// After `error` or `close` the framer swallows everything: only need_more follows.
//
// Where permessage-deflate was agreed upon RSV1 may stand on the first frame of a data message (RFC
// 7692, section 6). Such a message is handed out as it came: inflating it, and looking at its text,
// is the caller's. Every other RSV bit is an error. One thread owns a Framer.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/utf8.h"

namespace ringcast::wire {

// Readable bytes behind every payload that an event carries, meaningless but there, so that a SIMD
// parser may run past the end. For payloads in place the caller's input must have them.
constexpr std::size_t payload_padding = 64;

struct FramerLimits {
    std::uint64_t message_size_max = 65'536;  // all fragments together; at most 1 GiB
    std::uint32_t fragments_max = 1024;       // frames of one message, empty ones included
    std::uint64_t compressed_size_max = 0;    // of one with RSV1; 0: no extension was agreed upon
};

enum class FramerEvent : std::uint8_t { need_more, message, ping, pong, close, error };

class Framer {
  public:
    struct Event {
        FramerEvent kind = FramerEvent::need_more;
        Opcode opcode = Opcode::continuation;  // message: text or binary; else the control opcode
        bool compressed = false;               // message: its first frame has RSV1
        std::uint16_t close_code = 0;  // close: the peer's (1005 if none); error: what to answer
        Bytes payload{};               // message, ping, pong; close: the reason without the code
        const char* reason = "";       // error: one line for the log and the close frame
    };

    Framer() noexcept = default;
    Framer(const Framer&) = delete;
    Framer& operator=(const Framer&) = delete;
    ~Framer() { release(); }

    // Consumes bytes from the front of `input` up to the end of the next event, or all of them when
    // there is none (need_more). The payload is valid until the next call, and as long as the
    // memory of `input`.
    [[nodiscard]] Event next(MutBytes& input, const FramerLimits& limits) noexcept;

    // Forgets what it has, memory and all, and swallows what comes.
    void stop() noexcept {
        release();
        state_ = State::dead;
    }

    // Memory held for a message (or a control frame) that is not complete.
    [[nodiscard]] std::size_t held_bytes() const noexcept { return capacity_; }
    // A message has begun and is not complete: the owner may set it a deadline.
    [[nodiscard]] bool in_message() const noexcept { return fragments_ != 0; }

  private:
    enum class State : std::uint8_t { header, data, control, dead };

    [[nodiscard]] bool take_header(MutBytes& input,
                                   const FramerLimits& limits,
                                   Event& event) noexcept;
    [[nodiscard]] bool take_whole(const FrameHeader& header,
                                  MutBytes& input,
                                  Event& event) noexcept;
    [[nodiscard]] bool take_data(MutBytes& input,
                                 const FramerLimits& limits,
                                 Event& event) noexcept;
    [[nodiscard]] bool take_control(MutBytes& input,
                                    const FramerLimits& limits,
                                    Event& event) noexcept;
    [[nodiscard]] bool append(MutBytes piece, std::size_t at, const FramerLimits& limits) noexcept;
    Bytes gather_header(MutBytes& input) noexcept;
    void begin_frame(const FrameHeader& header) noexcept;
    [[nodiscard]] bool checks_text() const noexcept {
        return message_opcode_ == Opcode::text && !compressed_;
    }
    bool fail(Event& event, std::uint16_t code, const char* reason) noexcept;
    void release() noexcept;

    std::byte* buffer_ = nullptr;  // the message so far, then a control payload in the making
    std::uint64_t remaining_ = 0;  // payload bytes of the current frame still to come
    std::uint32_t size_ = 0;       // bytes of the message so far
    std::uint32_t capacity_ = 0;   // of buffer_, padding included
    std::uint32_t fragments_ = 0;  // frames of the message so far; 0: no message has begun
    MaskKey key_{};
    Utf8 utf8_;
    std::array<std::byte, masked_header_size_max> header_{};
    std::uint8_t header_count_ = 0;
    State state_ = State::header;
    Opcode message_opcode_ = Opcode::continuation;
    Opcode control_opcode_ = Opcode::continuation;
    std::uint8_t control_size_ = 0;
    std::uint8_t phase_ = 0;        // of the mask
    bool final_frame_ = false;      // the current data frame has FIN
    bool compressed_ = false;       // the message, by its first frame
    bool release_pending_ = false;  // the last event showed buffer_ whole: free it at the next call
};

static_assert(sizeof(Framer) <= 64, "there is one per client, idle ones included");

}  // namespace ringcast::wire
