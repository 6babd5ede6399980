#pragma once

// Words for one client: any message of wire/envelope_writer.h, and errors in particular.

#include <memory>

#include "base/scratch.h"
#include "node/sessions.h"
#include "wire/envelope_writer.h"
#include "wire/frame.h"

namespace ringcast::node {

template <typename Message>
void reply(Sessions& sessions, io::ConnIndex conn, const Message& message) noexcept {
    const std::size_t size = wire::encoded_size(message);
    Scratch<std::byte, 512> small;
    if (size <= small.size()) {
        wire::encode(message, MutBytes(small.data(), size));
        sessions.push(conn, Bytes(small.data(), size));
        return;
    }
    // Names of 255 bytes may grow sixfold by escaping: rare, so from the heap.
    const auto large = std::make_unique<std::byte[]>(size);
    wire::encode(message, MutBytes(large.get(), size));
    sessions.push(conn, Bytes(large.get(), size));
}

// Tells a client what went wrong with one of its messages, and nothing else is harmed. A raw client
// has no words for it in its stream, so it is closed with the reason.
inline void tell_error(Sessions& sessions,
                       const io::Reactor& reactor,
                       io::ConnIndex conn,
                       wire::ErrorReply error) noexcept {
    if (sessions[conn].role != Role::envelope) {
        sessions.close(conn, wire::close_code::policy_violation, error.message);
        return;
    }
    error.wall_ns = reactor.wall_now();
    reply(sessions, conn, error);
}

}  // namespace ringcast::node
