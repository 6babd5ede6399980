#include "node/backlog.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/copy.h"

namespace ringcast::node {

namespace {

constexpr std::size_t head_size = sizeof(std::uint32_t);

// Before a record with a key; the key stands between the two.
struct KeyedHead {
    std::uint64_t seq = 0;
    std::uint32_t size = 0;
    std::uint8_t key_size = 0;
    std::uint8_t tombstone = 0;
};

[[nodiscard]] std::size_t packed_size(const feed::CompactLog::Record& record) noexcept {
    return sizeof(KeyedHead) + record.key.size() + record.bytes.size();
}

std::byte* put(std::byte* out, Bytes bytes) noexcept {
    copy_bytes(out, bytes.data(), bytes.size());
    return out + bytes.size();
}

}  // namespace

Parcel pack(const feed::Log& log, feed::Seq from, std::size_t size_max, feed::Seq& end) noexcept {
    RC_CHECK(from >= log.first());
    RC_CHECK(from <= log.next());
    std::size_t size = 0;
    for (end = from; end < log.next(); end++) {
        const std::size_t more = head_size + log.rest_of(end, 0).size();
        if (size != 0 && size + more > size_max) break;
        size += more;
    }
    if (size == 0) return {};
    Parcel parcel = Parcel::make(size);
    std::byte* out = parcel.bytes().data();
    for (feed::Seq seq = from; seq < end; seq++) {
        const Bytes record = log.rest_of(seq, 0);
        const auto record_size = static_cast<std::uint32_t>(record.size());
        std::memcpy(out, &record_size, head_size);
        copy_bytes(out + head_size, record.data(), record.size());
        out += head_size + record.size();
    }
    RC_CHECK(out == parcel.bytes().data() + size);
    return parcel;
}

Bytes unpack(Bytes& packed) noexcept {
    if (packed.empty()) return {};
    RC_CHECK(packed.size() > head_size);
    std::uint32_t size = 0;
    std::memcpy(&size, packed.data(), head_size);
    RC_CHECK(size <= packed.size() - head_size);
    const Bytes record = packed.subspan(head_size, size);
    packed = packed.subspan(head_size + size);
    return record;
}

Parcel pack(const feed::CompactLog& log,
            feed::Seq from,
            std::size_t size_max,
            feed::Seq& end) noexcept {
    RC_CHECK(from <= log.next());
    std::size_t size = 0;
    end = log.empty() ? log.next() : std::max<feed::Seq>(from, 1);
    const feed::Seq begin = end;
    while (end < log.next()) {
        const feed::CompactLog::Record record = log.latest_from(end);
        if (size != 0 && size + packed_size(record) > size_max) break;
        size += packed_size(record);
        end = record.seq + 1;
    }
    if (size == 0) return {};
    Parcel parcel = Parcel::make(size);
    std::byte* out = parcel.bytes().data();
    for (feed::Seq at = begin; at < end;) {
        const feed::CompactLog::Record record = log.latest_from(at);
        const KeyedHead head{.seq = record.seq,
                             .size = static_cast<std::uint32_t>(record.bytes.size()),
                             .key_size = static_cast<std::uint8_t>(record.key.size()),
                             .tombstone = static_cast<std::uint8_t>(record.tombstone ? 1 : 0)};
        std::memcpy(out, &head, sizeof head);
        out = put(put(out + sizeof head, record.key), record.bytes);
        at = record.seq + 1;
    }
    RC_CHECK(out == parcel.bytes().data() + size);
    return parcel;
}

feed::CompactLog::Record unpack_keyed(Bytes& packed) noexcept {
    if (packed.empty()) return {};
    KeyedHead head;
    RC_CHECK(packed.size() > sizeof head);
    std::memcpy(&head, packed.data(), sizeof head);
    packed = packed.subspan(sizeof head);
    RC_CHECK(head.key_size + std::size_t{head.size} <= packed.size());
    const feed::CompactLog::Record record{.seq = head.seq,
                                          .key = packed.first(head.key_size),
                                          .bytes = packed.subspan(head.key_size, head.size),
                                          .tombstone = head.tombstone != 0};
    packed = packed.subspan(head.key_size + std::size_t{head.size});
    return record;
}

}  // namespace ringcast::node
