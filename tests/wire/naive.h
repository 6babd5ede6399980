#pragma once

// Slow and obvious twins of wire/utf8 and wire/framer, written from the RFCs and sharing nothing
// with them. Tests and fuzzers compare.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringcast::test {

enum class Text { valid, unfinished, invalid };

inline bool code_point_exists(std::uint32_t low, std::uint32_t high, std::uint32_t smallest) {
    for (std::uint64_t c = low; c <= high; c++) {
        if (c >= smallest && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)) return true;
    }
    return false;
}

// Can some text begin like this (unfinished), and is it one (valid)?
inline Text naive_utf8(const std::string& text) {
    std::size_t at = 0;
    while (at < text.size()) {
        const auto lead = static_cast<unsigned char>(text[at]);
        std::size_t more = 0;
        std::uint32_t bits = lead;
        std::uint32_t smallest = 0;
        if (lead >= 0x80) {
            if (lead < 0xc0 || lead > 0xf7) return Text::invalid;
            more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
            bits = lead & (0x3fU >> more);
            smallest = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
        }
        std::uint32_t low = bits;
        std::uint32_t high = bits;
        std::size_t got = 0;
        for (std::size_t i = 1; i <= more; i++) {
            low = low << 6;
            high = high << 6 | 0x3f;
            if (at + i >= text.size()) continue;
            const auto next = static_cast<unsigned char>(text[at + i]);
            if ((next & 0xc0) != 0x80) return Text::invalid;
            low |= next & 0x3fU;
            high = (high & ~0x3fU) | (next & 0x3fU);
            got++;
        }
        if (!code_point_exists(low, high, smallest)) return Text::invalid;
        if (got < more) return Text::unfinished;
        at += 1 + more;
    }
    return Text::valid;
}

// What a server must make of a whole stream of bytes from a client, as one line an event:
// "text:...", "binary:...", "ping:...", "pong:...", "close1000:...", "error1002".
class NaiveFramer {
  public:
    // `compressed_max`: of a message with RSV1, if there may be such ("ctext:..."); else 0.
    NaiveFramer(std::uint64_t message_max,
                std::uint32_t fragments_max,
                std::uint64_t compressed_max = 0)
        : message_max_(message_max),
          fragments_max_(fragments_max),
          compressed_max_(compressed_max) {}

    std::vector<std::string> read(const std::string& bytes) {
        bytes_ = bytes;
        while (events_.empty() || !over_) {
            if (!frame()) break;
        }
        return events_;
    }

  private:
    bool end(int code) {
        events_.push_back("error" + std::to_string(code));
        over_ = true;
        return false;
    }

    std::uint64_t byte(std::size_t index) const {
        return static_cast<unsigned char>(bytes_[at_ + index]);
    }

    bool frame() {
        const std::uint64_t left = bytes_.size() - at_;
        if (left < 2) return false;
        const bool fin = byte(0) >> 7 == 1;
        const unsigned opcode = static_cast<unsigned>(byte(0) & 15);
        const bool control = opcode >= 8;
        std::uint64_t size = byte(1) & 127;
        const int reserved = byte(0) >> 4 & 7;
        const bool may_compress = compressed_max_ != 0 && (opcode == 1 || opcode == 2);
        if (reserved != 0 && !(reserved == 4 && may_compress)) return end(1002);
        if (byte(1) >> 7 == 0) return end(1002);
        if ((opcode > 2 && opcode < 8) || opcode > 10) return end(1002);
        if (control && (!fin || size > 125)) return end(1002);
        if (opcode == 8 && size == 1) return end(1002);
        if (opcode == 0 && !message_) return end(1002);
        if ((opcode == 1 || opcode == 2) && message_) return end(1002);
        const std::size_t extra = size == 126 ? 2 : size == 127 ? 8 : 0;
        if (left < 2 + extra + 4) return false;
        if (extra != 0) {
            size = 0;
            for (std::size_t i = 0; i < extra; i++)
                size = size * 256 + byte(2 + i);
            if (size <= 125 || (extra == 8 && size <= 65535)) return end(1002);
            if (size > UINT64_MAX / 2) return end(1002);
        }
        if (!control) {
            const std::uint64_t before = message_ ? message_->size() : 0;
            if (!message_) is_compressed_ = reserved != 0;
            const std::uint64_t most = is_compressed_ ? compressed_max_ : message_max_;
            if (size > most || before + size > most) return end(1009);
            if (!message_) {
                message_ = "";
                is_text_ = opcode == 1;
                frames_ = 0;
            }
            if (++frames_ > fragments_max_) return end(1008);
        }
        std::string payload;
        for (std::uint64_t i = 0; i < size && 2 + extra + 4 + i < left; i++) {
            payload += static_cast<char>(byte(2 + extra + 4 + i) ^ byte(2 + extra + i % 4));
        }
        if (!control && is_text_ && !is_compressed_ &&
            naive_utf8(*message_ + payload) == Text::invalid) {
            return end(1007);
        }
        if (payload.size() < size) return false;
        at_ += 2 + extra + 4 + size;
        return control ? control_frame(opcode, payload) : data_frame(fin, payload);
    }

    bool control_frame(unsigned opcode, const std::string& payload) {
        if (opcode != 8) {
            events_.push_back((opcode == 9 ? "ping:" : "pong:") + payload);
            return true;
        }
        over_ = true;
        if (payload.empty()) {
            events_.push_back("close1005:");
            return false;
        }
        const unsigned code =
            static_cast<unsigned char>(payload[0]) * 256U + static_cast<unsigned char>(payload[1]);
        const bool allowed =
            (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
            (code >= 3000 && code <= 4999);
        if (!allowed) return end(1002);
        if (naive_utf8(payload.substr(2)) != Text::valid) return end(1007);
        events_.push_back("close" + std::to_string(code) + ":" + payload.substr(2));
        return false;
    }

    bool data_frame(bool fin, const std::string& payload) {
        *message_ += payload;
        if (!fin) return true;
        const bool checked = is_text_ && !is_compressed_;
        if (checked && naive_utf8(*message_) != Text::valid) return end(1007);
        events_.push_back((is_compressed_ ? "c" : "") +
                          std::string(is_text_ ? "text:" : "binary:") + *message_);
        message_.reset();
        return true;
    }

    std::uint64_t message_max_;
    std::uint32_t fragments_max_;
    std::uint64_t compressed_max_;
    std::string bytes_;
    std::size_t at_ = 0;
    std::vector<std::string> events_;
    std::optional<std::string> message_;
    std::uint32_t frames_ = 0;
    bool is_text_ = false;
    bool is_compressed_ = false;
    bool over_ = false;
};

}  // namespace ringcast::test
