#pragma once

// The command line of ringcastd, made from the tables of ringcast/config.h. Also reads the
// environment (RINGCAST_PING_INTERVAL=10s for --ping-interval). Main thread only.

#include <cstdint>
#include <string>
#include <string_view>

#include "ringcast/config.h"

namespace ringcast::app {

enum class Command : std::uint8_t { serve, version, stop };  // stop: exit with `exit_code` now

struct Parsed {
    Command command = Command::stop;
    int exit_code = 0;  // 0 after --help; 2 after a wrong flag
    Config config;
};

// Prints help to stdout, and one line about a wrong flag to stderr: its name, what was given, what
// is allowed.
[[nodiscard]] Parsed parse_flags(int argc, const char* const* argv);

// "25s", "300ms", "64KiB", "1000": the number in the unit, or false.
[[nodiscard]] bool parse_number(std::string_view text, Unit unit, std::uint64_t& number) noexcept;
// The way back, for help and messages.
[[nodiscard]] std::string format_number(std::uint64_t number, Unit unit);

}  // namespace ringcast::app
