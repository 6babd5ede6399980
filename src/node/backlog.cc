#include "node/backlog.h"

#include <cstring>

#include "base/check.h"
#include "base/copy.h"

namespace ringcast::node {

namespace {

constexpr std::size_t head_size = sizeof(std::uint32_t);

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

}  // namespace ringcast::node
