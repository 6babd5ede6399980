#pragma once

// ringcastd gen-token and check-token: tokens by hand, for a desk and for tests. Main thread only.

#include <cstdint>

#include "ringcast/config.h"

namespace ringcast::app {

// What `gen-token` was told.
struct TokenOrder {
    TokenClaims claims;                       // but for the times
    std::uint64_t expires = 3600 * units::s;  // from now
};

// Prints a token to stdout, or one line to stderr. The exit code: 0, or 1.
[[nodiscard]] int gen_token(const Config& config, TokenOrder order);
// Reads a token from stdin, since others can see command lines, and prints what it says, a claim a
// line, or one line about what is wrong to stderr. The exit code: 0, or 1.
[[nodiscard]] int check_token(const Config& config);

}  // namespace ringcast::app
