#include "node/record.h"

#include <array>
#include <charconv>

#include "base/check.h"
#include "base/copy.h"
#include "wire/frame.h"

namespace ringcast::node {

using feed::LaneKind;

namespace {

using OffsetText = std::array<char, 20>;  // any 64-bit number in decimal

// What the envelope lane gets. Every envelope has an id: the sender's, or else the offset, written
// to `text`.
[[nodiscard]] wire::DataUpdate update_of(const Record& record, OffsetText& text) noexcept {
    const Publication& publication = record.publication;
    std::string_view id = publication.id;
    if (id.empty()) {
        const auto end = std::to_chars(text.data(), text.data() + text.size(), record.offset).ptr;
        id = {text.data(), static_cast<std::size_t>(end - text.data())};
    }
    return {.id = id,
            .wall_ns = record.wall_ns,
            .topic = publication.topic,
            .offset = record.offset,
            .key = publication.key,
            .ack_required = publication.ack,
            .payload = {record.box.empty() ? publication.payload : record.box, record.form}};
}

// What the raw lane gets of a sealed record.
[[nodiscard]] wire::SealedMessage sealed_of(const Record& record) noexcept {
    return {.box = record.box,
            .topic = record.publication.topic,
            .epoch = record.epoch,
            .offset = record.offset,
            .key = record.publication.key};
}

}  // namespace

std::size_t encoded_size(const Record& record, LaneKind kind) noexcept {
    if (kind == LaneKind::raw && !record.box.empty()) return wire::encoded_size(sealed_of(record));
    if (kind == LaneKind::raw) {
        const std::size_t size = record.publication.payload.size();
        return wire::header_size(size) + size;
    }
    OffsetText text;
    return wire::encoded_size(update_of(record, text));
}

void encode(const Record& record, LaneKind kind, MutBytes out) noexcept {
    if (kind == LaneKind::envelope) {
        OffsetText text;
        wire::encode(update_of(record, text), out);
        return;
    }
    if (!record.box.empty()) {
        wire::encode(sealed_of(record), out);
        return;
    }
    const Publication& publication = record.publication;
    const bool text = publication.json || publication.text;
    const std::size_t header = wire::encode_header(
        out.data(), text ? wire::Opcode::text : wire::Opcode::binary, publication.payload.size());
    RC_CHECK(header + publication.payload.size() == out.size());
    copy_bytes(out.data() + header, publication.payload.data(), publication.payload.size());
}

}  // namespace ringcast::node
