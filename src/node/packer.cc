#include "node/packer.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/copy.h"
#include "wire/frame.h"

namespace ringcast::node {

Packer::Packer(const Config& config) noexcept
    : size_min_(config.compression_min_size),
      deflater_(static_cast<int>(config.compression_level)) {}

// Never more than the plan has (memory_of): one at a time, and no larger than what is asked for,
// where a vector that grows would be twice that.
MutBytes Packer::scratch(std::size_t size) noexcept {
    const bool was_large = scratch_.size() > kept_max && size <= kept_max;
    if (was_large || scratch_.size() < size) {
        std::vector<std::byte>().swap(scratch_);
        scratch_.resize(size > kept_max ? size : std::min(std::bit_ceil(size), kept_max));
    }
    return scratch_;
}

// In the scratch it stands behind the room for a header.
Bytes Packer::compress(Bytes message, std::uint8_t window_bits) noexcept {
    if (message.size() < size_min_ || message.size() > size_max) return {};
    const MutBytes room = scratch(wire::header_size_max + message.size() + slack);
    const std::size_t size = deflater_.message(
        message, window_bits, room.subspan(wire::header_size_max, message.size() + slack));
    if (size >= message.size()) return {};
    return room.subspan(wire::header_size_max, size);
}

Bytes Packer::pack(Bytes frame) noexcept {
    wire::FrameHeader header;
    const bool whole = wire::decode_header(frame, header);
    RC_CHECK(whole);
    RC_CHECK(!header.masked);
    RC_CHECK(frame.size() == header.size + header.payload_size);
    const Bytes packed = compress(frame.subspan(header.size), lane_window_bits);
    if (packed.empty()) {
        const MutBytes room = scratch(frame.size());
        copy_bytes(room.data(), frame.data(), frame.size());
        return room.first(frame.size());
    }
    const std::size_t header_size = wire::header_size(packed.size());
    std::byte* begin = scratch_.data() + (wire::header_size_max - header_size);
    wire::encode_header(begin, header.opcode, packed.size());
    wire::mark_compressed(begin);
    return {begin, header_size + packed.size()};
}

}  // namespace ringcast::node
