#pragma once

// What the load generator sends, made so that every receiver can check every byte of it: a stamp
// (topic, sequence, intended time of sending) and then a pattern that follows from the stamp, up to
// the full size. All of it letters and digits, hence valid in text frames and inside JSON strings.

#include <cstdint>
#include <span>
#include <string_view>

#include "base/time.h"

namespace ringcast::tools {

struct Stamp {
    std::uint32_t topic = 0;  // 18 bits
    std::uint64_t seq = 0;    // 48 bits
    Nanos sent_at = 0;

    friend bool operator==(const Stamp&, const Stamp&) = default;
};

constexpr std::size_t payload_size_min = 32;  // 25 for the stamp, the rest pattern
constexpr std::uint32_t topics_max = 1 << 18;

// Precondition: out.size() >= payload_size_min.
void write_payload(const Stamp& stamp, std::span<char> out) noexcept;

enum class Finding : std::uint8_t { sound, corrupt, none };

// Looks for a payload of exactly `size` bytes somewhere in `message`: at its start when a server
// passes payloads on as they are, further in when it wraps them. `none`: nothing that looks like
// one, so the message is something else.
[[nodiscard]] Finding find_payload(std::string_view message,
                                   std::size_t size,
                                   Stamp& stamp) noexcept;

}  // namespace ringcast::tools
