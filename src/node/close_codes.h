#pragma once

// Our own close codes (RFC 6455, 7.4.2: 4000-4999 are private). A client may come back after
// 4000-4499; after 4500-4999 it must not by itself. The table for authors of clients is in
// docs/PROTOCOL.md.

#include <cstdint>

namespace ringcast::node::close_codes {

constexpr std::uint16_t token_expired = 4001;  // come back with a new one
constexpr std::uint16_t unauthorized = 4003;   // no token in time, or not a good one
constexpr std::uint16_t slow_consumer = 4008;  // fell off the log, or does not read its replies
constexpr std::uint16_t rate_limited = 4029;   // kept sending over its rate
constexpr std::uint16_t too_many = 4030;       // connections of this user
constexpr std::uint16_t replaced = 4501;       // a newer connection has the same client id

}  // namespace ringcast::node::close_codes
