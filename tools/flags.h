#pragma once

// The command line of `ringcast`. CLI11 throws, so this is the one file with exceptions; nothing
// leaves parse_flags() but values.

#include <string>

#include "options.h"

namespace ringcast::tools {

struct Flags {
    Options options;
    // What main() has to do instead of running a verb: print and leave with this code.
    bool leave = false;
    int exit_code = exit_ok;
    std::string message;  // for stdout if the code is 0, else for stderr
};

[[nodiscard]] Flags parse_flags(int argc, const char* const* argv) noexcept;

}  // namespace ringcast::tools
