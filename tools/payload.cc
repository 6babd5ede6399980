#include "payload.h"

#include <cstring>

#include "base/check.h"

namespace ringcast::tools {

namespace {

constexpr std::string_view magic = "rc1";
constexpr std::string_view digits =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
constexpr std::size_t topic_digits = 3;
constexpr std::size_t seq_digits = 8;
constexpr std::size_t time_digits = 11;
constexpr std::size_t stamp_size = magic.size() + topic_digits + seq_digits + time_digits;
static_assert(stamp_size == 25);

void write_number(std::uint64_t value, std::span<char> out) noexcept {
    for (std::size_t i = out.size(); i-- > 0;) {
        out[i] = digits[value & 63];
        value >>= 6;
    }
}

bool read_number(std::string_view text, std::uint64_t& value) noexcept {
    value = 0;
    for (const char c : text) {
        const std::size_t digit = digits.find(c);
        if (digit == digits.npos) return false;
        value = value << 6 | digit;
    }
    return true;
}

// The pattern, eight letters from a to p at a time (splitmix64).
class Pattern {
  public:
    explicit Pattern(const Stamp& stamp) noexcept
        : state_((stamp.seq << 18 | stamp.topic) * 0x9e3779b97f4a7c15 ^
                 static_cast<std::uint64_t>(stamp.sent_at)) {}

    std::uint64_t next() noexcept {
        state_ += 0x9e3779b97f4a7c15;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return (z & 0x0f0f0f0f0f0f0f0f) + 0x6161616161616161;
    }

  private:
    std::uint64_t state_;
};

bool read_stamp(std::string_view text, Stamp& stamp) noexcept {
    std::uint64_t topic = 0;
    std::uint64_t time = 0;
    if (!read_number(text.substr(3, topic_digits), topic)) return false;
    if (!read_number(text.substr(6, seq_digits), stamp.seq)) return false;
    if (!read_number(text.substr(14, time_digits), time)) return false;
    if (text[14] != '0') return false;  // 66 bits of digits for 60 of time: only one spelling
    stamp.topic = static_cast<std::uint32_t>(topic);
    stamp.sent_at = static_cast<Nanos>(time);
    return true;
}

bool pattern_holds(const Stamp& stamp, std::string_view text) noexcept {
    Pattern pattern(stamp);
    std::size_t at = 0;
    for (; at + 8 <= text.size(); at += 8) {
        const std::uint64_t want = pattern.next();
        if (std::memcmp(text.data() + at, &want, 8) != 0) return false;
    }
    const std::uint64_t want = pattern.next();
    return std::memcmp(text.data() + at, &want, text.size() - at) == 0;
}

}  // namespace

void write_payload(const Stamp& stamp, std::span<char> out) noexcept {
    RC_CHECK(out.size() >= payload_size_min);
    RC_CHECK(stamp.topic < topics_max);
    std::memcpy(out.data(), magic.data(), magic.size());
    write_number(stamp.topic, out.subspan(3, topic_digits));
    write_number(stamp.seq, out.subspan(6, seq_digits));
    write_number(static_cast<std::uint64_t>(stamp.sent_at), out.subspan(14, time_digits));
    Pattern pattern(stamp);
    std::size_t at = stamp_size;
    for (; at + 8 <= out.size(); at += 8) {
        const std::uint64_t word = pattern.next();
        std::memcpy(&out[at], &word, 8);
    }
    const std::uint64_t word = pattern.next();
    std::memcpy(out.data() + at, &word, out.size() - at);
}

Finding find_payload(std::string_view message, std::size_t size, Stamp& stamp) noexcept {
    Finding finding = Finding::none;
    std::size_t at = message.find(magic);
    while (at != message.npos) {
        finding = Finding::corrupt;
        const std::string_view text = message.substr(at, size);
        if (text.size() < size) return finding;
        if (read_stamp(text, stamp) && pattern_holds(stamp, text.substr(stamp_size))) {
            return Finding::sound;
        }
        at = message.find(magic, at + 1);
    }
    return finding;
}

}  // namespace ringcast::tools
