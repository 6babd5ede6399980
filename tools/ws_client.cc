#include "ws_client.h"

#include <charconv>
#include <cstring>

#include <openssl/evp.h>
#include <openssl/sha.h>

namespace ringcast::tools {

namespace {

constexpr std::size_t head_max = 16'384;  // of an HTTP response

void append_header(std::string& out, Opcode opcode, std::size_t size, bool masked) noexcept {
    const unsigned mask_bit = masked ? 0x80 : 0;
    out += static_cast<char>(0x80U | static_cast<unsigned>(opcode));
    const auto append_length = [&](unsigned seven_bits, int bytes) {
        out += static_cast<char>(mask_bit | seven_bits);
        for (int i = bytes - 1; i >= 0; i--) {
            out += static_cast<char>(size >> (8 * i));
        }
    };
    if (size < 126) {
        append_length(static_cast<unsigned>(size), 0);
    } else if (size < 65536) {
        append_length(126, 2);
    } else {
        append_length(127, 8);
    }
}

bool same_letters(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// The value of one header line, without blanks around it; nothing if it is not there.
std::string_view header_value(std::string_view head, std::string_view name) noexcept {
    std::size_t at = head.find("\r\n");
    while (at != head.npos) {
        at += 2;
        const std::size_t end = head.find("\r\n", at);
        const std::string_view line = head.substr(at, end - at);
        const std::size_t colon = line.find(':');
        if (colon != line.npos && same_letters(line.substr(0, colon), name)) {
            std::string_view value = line.substr(colon + 1);
            value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
            return value.substr(0, value.find_last_not_of(" \t") + 1);
        }
        at = end;
    }
    return {};
}

// Whether a server's frame may begin with these two bytes.
bool may_begin(unsigned first, unsigned second, bool may_compress) noexcept {
    const unsigned opcode = first & 0x0f;
    if (may_compress && (opcode == 1 || opcode == 2)) first &= ~0x40U;
    const bool whole = (first & 0x80) != 0;
    if ((first & 0x70) != 0 || (second & 0x80) != 0) return false;  // reserved bits, a mask
    if (opcode >= 8) return opcode <= 10 && whole && second <= 125;
    return opcode <= 2;
}

}  // namespace

void append_frame(std::string& out, Opcode opcode, Bytes payload, std::uint32_t mask_key) noexcept {
    append_header(out, opcode, payload.size(), true);
    char key[4];
    std::memcpy(key, &mask_key, 4);
    out.append(key, 4);
    const std::size_t start = out.size();
    out.append(as_text(payload));
    const std::uint64_t wide = std::uint64_t{mask_key} << 32 | mask_key;
    std::size_t i = 0;
    for (; i + 8 <= payload.size(); i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, &out[start + i], 8);
        word ^= wide;
        std::memcpy(&out[start + i], &word, 8);
    }
    for (; i < payload.size(); i++) {
        out[start + i] = static_cast<char>(out[start + i] ^ key[i % 4]);
    }
}

void append_close(std::string& out, std::uint16_t code) noexcept {
    std::byte payload[2];
    store_be16(payload, code);
    append_frame(out, Opcode::close, payload, 0x5bd1e995);
}

void append_server_frame(std::string& out, Opcode opcode, Bytes payload) noexcept {
    append_header(out, opcode, payload.size(), false);
    out.append(as_text(payload));
}

Parse parse_frame(Bytes bytes, Frame& frame, bool may_compress) noexcept {
    frame.size = 2;
    if (bytes.size() < 2) return Parse::need_more;
    const auto first = std::to_integer<unsigned>(bytes[0]);
    const auto second = std::to_integer<unsigned>(bytes[1]);
    const unsigned opcode = first & 0x0f;
    frame.opcode = static_cast<Opcode>(opcode);
    frame.fin = (first & 0x80) != 0;
    frame.compressed = (first & 0x40) != 0;
    if (!may_begin(first, second, may_compress)) return Parse::bad;
    std::uint64_t length = second;
    std::size_t header = 2;
    if (second == 126) {
        frame.size = header = 4;
        if (bytes.size() < header) return Parse::need_more;
        length = load_be16(&bytes[2]);
        if (length < 126) return Parse::bad;
    } else if (second == 127) {
        frame.size = header = 10;
        if (bytes.size() < header) return Parse::need_more;
        length = load_be64(&bytes[2]);
        if (length < 65536 || length > frame_payload_max) return Parse::bad;
    }
    frame.size = header + static_cast<std::size_t>(length);
    if (bytes.size() < frame.size) return Parse::need_more;
    frame.payload = bytes.subspan(header, static_cast<std::size_t>(length));
    return Parse::frame;
}

std::uint16_t close_code(Bytes payload) noexcept {
    return payload.size() < 2 ? std::uint16_t{1005} : load_be16(payload.data());
}

std::string upgrade_request(std::string_view host,
                            std::string_view path,
                            std::string_view key,
                            bool compress) noexcept {
    std::string request = "GET ";
    request.append(path).append(" HTTP/1.1\r\nHost: ").append(host);
    request.append("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
    request.append(key).append("\r\nSec-WebSocket-Version: 13\r\n");
    if (compress) request.append("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    request.append("\r\n");
    return request;
}

std::string base64(Bytes bytes) noexcept {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL writes a final NUL
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

std::string accept_value(std::string_view key) noexcept {
    const std::string salted = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    std::byte digest[SHA_DIGEST_LENGTH];
    SHA1(reinterpret_cast<const unsigned char*>(salted.data()),
         salted.size(),
         reinterpret_cast<unsigned char*>(digest));
    return base64(digest);
}

UpgradeAnswer check_upgrade(std::string_view text, std::string_view accept) noexcept {
    const std::size_t end = text.find("\r\n\r\n");
    if (end == text.npos) {
        return {.result = text.size() > head_max ? Upgrade::bad : Upgrade::need_more};
    }
    const std::string_view head = text.substr(0, end + 2);
    UpgradeAnswer answer = {.result = Upgrade::bad, .size = end + 4};
    if (!head.starts_with("HTTP/1.1 ") || head.size() < 12) return answer;
    std::from_chars(head.data() + 9, head.data() + 12, answer.status);
    if (answer.status != 101) {
        answer.result = Upgrade::refused;
        return answer;
    }
    const bool sound = same_letters(header_value(head, "Upgrade"), "websocket") &&
                       same_letters(header_value(head, "Connection"), "upgrade") &&
                       header_value(head, "Sec-WebSocket-Accept") == accept;
    const std::string_view extensions = header_value(head, "Sec-WebSocket-Extensions");
    answer.compresses = extensions.starts_with("permessage-deflate") &&
                        extensions.find("server_no_context_takeover") != extensions.npos;
    if (sound) answer.result = Upgrade::accepted;
    return answer;
}

}  // namespace ringcast::tools
