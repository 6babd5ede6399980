#pragma once

// The command line of ringcastd, made from the tables of ringcast/config.h. Also reads the
// environment (RINGCAST_PING_INTERVAL=10s for --ping-interval) and the file of --config. What the
// command line says goes before the environment, that before the file. Main thread only.

#include <cstdint>

#include "ringcast/config.h"

#include "app/token_commands.h"

namespace ringcast::app {

// stop: exit with `exit_code` now
enum class Command : std::uint8_t { serve, version, gen_token, check_token, stop };

struct Parsed {
    Command command = Command::stop;
    int exit_code = 0;  // 0 after --help; 2 after a wrong flag
    Config config;
    TokenOrder order;  // of gen-token
};

// Prints help to stdout, and one line about a wrong flag to stderr: its name (for the file: its
// name, line and key), what was given, what is allowed.
[[nodiscard]] Parsed parse_flags(int argc, const char* const* argv);

}  // namespace ringcast::app
