#pragma once

// A publication as its readers get it: one record for each lane, header included.
//
// Pure functions of a Record, so that the shard that numbers it can ask for the sizes before it
// takes room for the bytes. Both must be given the same Record.

#include <array>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "feed/topic.h"
#include "wire/envelope.h"
#include "wire/envelope_writer.h"

namespace ringcast::node {

// What a client (or the server itself) publishes.
struct Publication {
    std::string_view topic = {};
    std::string_view id = {};  // the sender's; may be empty
    std::string_view key = {};
    Bytes payload = {};            // 64 readable bytes behind it (wire::payload_padding)
    bool json = false;             // an envelope's payload: JSON text, already validated
    bool text = true;              // else: text or binary
    bool sealed = false;           // the payload is a box (wire/seal.h), of the store
    bool ack = false;              // the sender wants to know under which offset it was published,
                                   // and that subscribers acknowledge it
    bool report = false;           // ... and how many of them do not
    std::string_view client = {};  // who that is, with `ack`
    std::array<std::uint64_t, 2> sender_key{};  // of client and id, with `ack`: the hub's
};

// ... and what its home adds.
struct Record {
    const Publication& publication;
    wire::PayloadForm form;  // how the payload stands in an envelope
    feed::Seq offset;
    std::int64_t wall_ns;
    std::uint64_t epoch = 0;  // with a box:
    Bytes box = {};           // what goes out instead of the payload; then the form is `sealed`
};

[[nodiscard]] std::size_t encoded_size(const Record& record, feed::LaneKind kind) noexcept;
// Precondition: out.size() == encoded_size(record, kind).
void encode(const Record& record, feed::LaneKind kind, MutBytes out) noexcept;

}  // namespace ringcast::node
