#pragma once

// Words for one client: any message of wire/envelope_writer.h, and errors in particular.

#include <memory>

#include "base/check.h"
#include "base/scratch.h"
#include "io/reactor.h"
#include "node/mesh.h"
#include "node/sessions.h"
#include "wire/envelope_writer.h"

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
    // A name of 255 quotation marks doubles by escaping: rare, so from the heap.
    const auto large = std::make_unique<std::byte[]>(size);
    wire::encode(message, MutBytes(large.get(), size));
    sessions.push(conn, Bytes(large.get(), size));
}

// The same for a client of another shard, perhaps.
template <typename Message>
[[nodiscard]] Parcel frame_of(const Message& message) noexcept {
    Parcel frame = Parcel::make(wire::encoded_size(message));
    wire::encode(message, frame.bytes());
    return frame;
}

// Tells an envelope client what went wrong with one of its messages, and nothing else is harmed.
// Others have no words for it in their stream: whoever finds the fault closes them with the reason.
inline void tell_error(Sessions& sessions,
                       const io::Reactor& reactor,
                       io::ConnIndex conn,
                       wire::ErrorReply error) noexcept {
    RC_CHECK(sessions[conn].role == Role::envelope);
    error.wall_ns = reactor.wall_now();
    reply(sessions, conn, error);
}

}  // namespace ringcast::node
