#pragma once

// Which web pages may connect. A browser lets any page open a WebSocket to any address, the
// visitor's own machine included, and send whatever its scripts like; what the page cannot do is to
// lie in Origin (RFC 6455, section 10.2). Programs that are no browsers send none and are let in.
//
// With --dev everybody who gets through may publish, so only pages of this server itself and those
// named by --origin may. "Of this server" is told by Origin being Host, which an attacker's own
// name can also be made to satisfy by letting it point to 127.0.0.1 (DNS rebinding): hence the rule
// for Host. Functions of their arguments; any thread.

#include <string_view>

#include "ringcast/config.h"

#include "wire/http.h"

namespace ringcast::node {

// With --dev: a Host that is neither "localhost", nor a loopback address, nor that of an --origin.
[[nodiscard]] bool host_allowed(const Config& config, const wire::Request& request) noexcept;

// Of a request for a WebSocket. Precondition: host_allowed().
[[nodiscard]] bool origin_allowed(const Config& config, const wire::Request& request) noexcept;

// "https://example.com", "http://[::1]:8000", "null": as browsers write it, or it would never match
// (RFC 6454, section 6.1: small letters, no path, no port where it is the scheme's own).
[[nodiscard]] bool origin_well_formed(std::string_view text) noexcept;

// "127.0.0.1:80", "[::1]:80": an address that only this machine reaches.
[[nodiscard]] bool is_loopback_address(std::string_view text) noexcept;

}  // namespace ringcast::node
