#pragma once

// The units in which the operator's numbers are kept: bytes, nanoseconds or a count.

#include <cstdint>

namespace ringcast {

enum class Unit : std::uint8_t { count, bytes, nanos };

namespace units {
constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;
constexpr std::uint64_t gib = 1024 * mib;
constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t s = 1000 * ms;
constexpr std::uint64_t hour = 3600 * s;
}  // namespace units

}  // namespace ringcast
