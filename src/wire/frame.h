#pragma once

// The frame header of RFC 6455, section 5.2, and the close codes of section 7.4.
//
// Encoders write into memory of the caller and never fail: they return how many bytes they wrote.
// decode_header() understands what a server sends (and what a client sends) but judges nothing; the
// strict receiver is Framer.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace ringcast::wire {

// The low four bits of the first byte. 3-7 and 11-15 are reserved.
enum class Opcode : std::uint8_t {
    continuation = 0,
    text = 1,
    binary = 2,
    close = 8,
    ping = 9,
    pong = 10,
};

using MaskKey = std::array<std::byte, 4>;

constexpr std::size_t header_size_max = 10;         // unmasked: 2 + 8
constexpr std::size_t masked_header_size_max = 14;  // and the key
constexpr std::size_t control_payload_max = 125;    // section 5.5
constexpr std::size_t close_reason_max = control_payload_max - 2;
constexpr std::size_t control_frame_size_max = 2 + control_payload_max;  // unmasked

namespace close_code {
constexpr std::uint16_t normal = 1000;
constexpr std::uint16_t going_away = 1001;
constexpr std::uint16_t protocol_error = 1002;
constexpr std::uint16_t unsupported_data = 1003;
constexpr std::uint16_t no_status = 1005;  // never on the wire: a close frame without a code
constexpr std::uint16_t abnormal = 1006;   // never on the wire: no close frame at all
constexpr std::uint16_t invalid_payload = 1007;
constexpr std::uint16_t policy_violation = 1008;
constexpr std::uint16_t too_big = 1009;
constexpr std::uint16_t internal_error = 1011;
constexpr std::uint16_t service_restart = 1012;
constexpr std::uint16_t try_again_later = 1013;
}  // namespace close_code

// May a close frame that we receive carry this code? 1000-1003, 1007-1014 (the IANA registry) and
// 3000-4999; everything else is a protocol error of the peer.
[[nodiscard]] bool close_code_valid_on_wire(std::uint16_t code) noexcept;

// May a server choose it? As above, but 1010 is the client's alone (section 7.4.1).
[[nodiscard]] bool close_code_sendable(std::uint16_t code) noexcept;

// Bytes of the unmasked header in front of a payload of this size: 2, 4 or 10.
[[nodiscard]] constexpr std::size_t header_size(std::uint64_t payload_size) noexcept {
    if (payload_size < 126) return 2;
    return payload_size <= 0xffff ? 4 : 10;
}

// A whole message in one frame (FIN set, no mask). Writes header_size(payload_size) bytes.
std::size_t encode_header(std::byte* out, Opcode opcode, std::uint64_t payload_size) noexcept;

// RFC 7692, section 6: RSV1 says that the payload of the message is compressed.
constexpr std::uint8_t rsv1 = 4;  // in FrameHeader::reserved
inline void mark_compressed(std::byte* header) noexcept {
    header[0] |= std::byte{rsv1 << 4};
}

// The same from a client: header_size() + 4 bytes. The caller masks the payload (wire/mask.h).
std::size_t encode_masked_header(std::byte* out,
                                 Opcode opcode,
                                 std::uint64_t payload_size,
                                 const MaskKey& key) noexcept;

// A whole ping or pong frame; up to control_frame_size_max bytes.
// Precondition: payload.size() <= control_payload_max.
std::size_t encode_control(std::byte* out, Opcode opcode, Bytes payload) noexcept;

// A whole close frame; up to control_frame_size_max bytes. A reason over close_reason_max is cut
// between two characters. Code no_status writes a frame without a payload.
// Precondition: close_code_valid_on_wire(code) or code == no_status, so that every code a Framer
// reports may be echoed (section 5.5.1); reason is UTF-8.
std::size_t encode_close(std::byte* out, std::uint16_t code, std::string_view reason) noexcept;

// What the first bytes of a frame say.
struct FrameHeader {
    bool fin = false;
    std::uint8_t reserved = 0;  // the RSV bits, 0-7
    Opcode opcode = Opcode::continuation;
    bool masked = false;
    std::uint8_t size = 0;  // of the header itself
    std::uint64_t payload_size = 0;
    MaskKey key{};
};

// False: more bytes are needed. Any bytes decode; nothing is judged.
[[nodiscard]] bool decode_header(Bytes bytes, FrameHeader& header) noexcept;

}  // namespace ringcast::wire
