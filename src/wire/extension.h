#pragma once

// Sec-WebSocket-Extensions (RFC 6455, section 9.1) as far as permessage-deflate needs it (RFC 7692,
// section 7.1): what a client offers, and what the server answers.
//
// An offer that we cannot take (another extension, a parameter that is unknown, there twice, or has
// a value that it may not have) is declined, and the next one is looked at: section 5.1. Only a
// line that is no list of extensions at all is an error of the request.
//
// Everything here is a function of its arguments, linear in the text, and allocates nothing.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace ringcast::wire {

constexpr std::uint8_t window_bits_min = 8;
constexpr std::uint8_t window_bits_max = 15;

// What a client wants of permessage-deflate: the first offer that can be taken.
struct DeflateOffer {
    bool found = false;
    bool server_no_context_takeover = false;
    bool client_no_context_takeover = false;
    bool limits_server_window = false;  // server_max_window_bits is there
    bool client_takes_limit = false;    // client_max_window_bits is there: the answer may have it
    std::uint8_t server_window_bits = window_bits_max;
    std::uint8_t client_window_bits = window_bits_max;
};

// Looks for an offer in one header line; lines are read in their order, into the same `offer`.
// False: the line is malformed.
[[nodiscard]] bool read_extensions(std::string_view line, DeflateOffer& offer) noexcept;

// What is agreed upon.
struct DeflateTerms {
    bool agreed = false;
    bool client_keeps_context = false;
    bool limits_server_window = false;
    bool limits_client_window = false;
    std::uint8_t server_window_bits = window_bits_max;  // 8: what zlib cannot make
    std::uint8_t client_window_bits = window_bits_max;
};

// The server keeps no context of its own, so that what it compresses is the same for all clients
// (7.1.1.1). Unless `allow_context` the client may keep none either (7.1.1.2); else its window is
// asked to be small, where it takes a limit (7.1.2.2).
[[nodiscard]] DeflateTerms settle(const DeflateOffer& offer, bool allow_context) noexcept;

// The window of a client that keeps context and takes a limit.
constexpr std::uint8_t context_window_bits = 12;

constexpr std::size_t terms_size_max = 160;
// The value of the answer's header; its size. Precondition: terms.agreed, out.size() >=
// terms_size_max.
std::size_t write_terms(MutBytes out, const DeflateTerms& terms) noexcept;

}  // namespace ringcast::wire
