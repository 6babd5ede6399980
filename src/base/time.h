#pragma once

// Time as the rooms see it: always an argument, never read here. Only a Reactor reads clocks.

#include <cstdint>

namespace ringcast {

using Nanos = std::int64_t;  // a moment of the monotonic clock, or a span of it; nanoseconds

constexpr Nanos nanos_per_ms = 1'000'000;
constexpr Nanos nanos_per_s = 1'000'000'000;

constexpr Nanos never = INT64_MAX;  // a deadline that does not come

}  // namespace ringcast
