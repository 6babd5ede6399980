#pragma once

// Compresses what goes to many: the packed form of a record (feed/lane.h), made once for all its
// readers of a shard, whatever their number.
//
// One thread owns a Packer.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ringcast/config.h"

#include "base/bytes.h"
#include "wire/deflate.h"
#include "wire/extension.h"
#include "wire/frame.h"

namespace ringcast::node {

class Packer {
  public:
    // More is not compressed: it would take too much of a turn.
    static constexpr std::size_t size_max = std::size_t{128} * 1024;
    // Records go to all who take this window, the one that clients have unless they say otherwise.
    static constexpr std::uint8_t lane_window_bits = wire::window_bits_max;

    explicit Packer(const Config& config) noexcept;
    Packer(const Packer&) = delete;
    Packer& operator=(const Packer&) = delete;

    // A message compressed, without its header; empty if that is no gain, or not worth trying.
    // Valid until the next call.
    [[nodiscard]] Bytes compress(Bytes message, std::uint8_t window_bits) noexcept;
    // The whole frame that goes out instead of `frame`, which is one without a mask: compressed, or
    // a copy of it. Valid until the next call.
    [[nodiscard]] Bytes pack(Bytes frame) noexcept;

    // Beside zlib's.
    [[nodiscard]] std::size_t scratch_bytes() const noexcept { return scratch_.capacity(); }
    // The most of both, with frames of at most `frame_max` to pack.
    [[nodiscard]] static constexpr std::uint64_t memory_of(std::uint64_t frame_max) noexcept {
        return wire::Deflater::memory_max + std::max<std::uint64_t>(frame_max, kept_max);
    }

  private:
    // zlib must not find its room full, or it might have had more to say.
    static constexpr std::size_t slack = 8;
    // Scratch that stays, whatever came: for what is compressed. More is only ever for a copy.
    static constexpr std::size_t kept_max = size_max + wire::header_size_max + slack;

    [[nodiscard]] MutBytes scratch(std::size_t size) noexcept;

    std::size_t size_min_;
    wire::Deflater deflater_;
    std::vector<std::byte> scratch_;
};

}  // namespace ringcast::node
