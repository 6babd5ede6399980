#include "wire/frame.h"

#include <cstring>

#include "base/check.h"

namespace ringcast::wire {

namespace {

constexpr auto fin_bit = std::byte{0x80};
constexpr auto mask_bit = std::byte{0x80};

// How much of `text` fits into `size` bytes without cutting a character.
std::size_t cut_between_characters(std::string_view text, std::size_t size) noexcept {
    if (text.size() <= size) return text.size();
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) {
        size--;
    }
    return size;
}

}  // namespace

bool close_code_valid_on_wire(std::uint16_t code) noexcept {
    if (code >= 3000) return code < 5000;
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

bool close_code_sendable(std::uint16_t code) noexcept {
    constexpr std::uint16_t mandatory_extension = 1010;  // only a client can miss an extension
    return close_code_valid_on_wire(code) && code != mandatory_extension;
}

std::size_t encode_header(std::byte* out, Opcode opcode, std::uint64_t payload_size) noexcept {
    RC_CHECK(out != nullptr);
    out[0] = fin_bit | static_cast<std::byte>(opcode);
    if (payload_size < 126) {
        out[1] = static_cast<std::byte>(payload_size);
        return 2;
    }
    if (payload_size <= 0xffff) {
        out[1] = std::byte{126};
        store_be16(out + 2, static_cast<std::uint16_t>(payload_size));
        return 4;
    }
    out[1] = std::byte{127};
    store_be64(out + 2, payload_size);
    return 10;
}

std::size_t encode_masked_header(std::byte* out,
                                 Opcode opcode,
                                 std::uint64_t payload_size,
                                 const MaskKey& key) noexcept {
    const std::size_t size = encode_header(out, opcode, payload_size);
    out[1] |= mask_bit;
    std::memcpy(out + size, key.data(), key.size());
    return size + key.size();
}

std::size_t encode_control(std::byte* out, Opcode opcode, Bytes payload) noexcept {
    RC_CHECK(payload.size() <= control_payload_max);
    RC_CHECK(static_cast<std::uint8_t>(opcode) >= 8);
    const std::size_t size = encode_header(out, opcode, payload.size());
    if (!payload.empty()) std::memcpy(out + size, payload.data(), payload.size());
    return size + payload.size();
}

std::size_t encode_close(std::byte* out, std::uint16_t code, std::string_view reason) noexcept {
    if (code == close_code::no_status) return encode_header(out, Opcode::close, 0);
    RC_CHECK(close_code_valid_on_wire(code));
    const std::size_t reason_size = cut_between_characters(reason, close_reason_max);
    const std::size_t size = encode_header(out, Opcode::close, 2 + reason_size);
    store_be16(out + size, code);
    if (reason_size != 0) std::memcpy(out + size + 2, reason.data(), reason_size);
    return size + 2 + reason_size;
}

bool decode_header(Bytes bytes, FrameHeader& header) noexcept {
    if (bytes.size() < 2) return false;
    const auto first = std::to_integer<std::uint8_t>(bytes[0]);
    const auto second = std::to_integer<std::uint8_t>(bytes[1]);
    const unsigned length = second & 0x7f;
    const std::size_t extended = length < 126 ? 0 : length == 126 ? 2 : 8;
    const bool masked = (second & 0x80) != 0;
    const std::size_t size = 2 + extended + (masked ? sizeof(MaskKey) : 0);
    if (bytes.size() < size) return false;

    header.fin = (first & 0x80) != 0;
    header.reserved = static_cast<std::uint8_t>((first >> 4) & 7);
    header.opcode = static_cast<Opcode>(first & 0x0f);
    header.masked = masked;
    header.size = static_cast<std::uint8_t>(size);
    header.payload_size = length;
    if (extended == 2) header.payload_size = load_be16(&bytes[2]);
    if (extended == 8) header.payload_size = load_be64(&bytes[2]);
    if (masked) std::memcpy(header.key.data(), &bytes[2 + extended], sizeof(MaskKey));
    return true;
}

}  // namespace ringcast::wire
