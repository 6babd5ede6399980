#pragma once

// Messages of permessage-deflate (RFC 7692, section 7.2), by zlib: inflating what clients send, and
// compressing one message for whoever wants it.
//
// Inflating is bounded by the room that the caller gives: a bomb ends with the first octet that has
// no place there. zlib itself takes InflateStream::memory_of(), whatever comes.
//
// Its time is bounded by that room and by the number of blocks: each block brings codes (RFC 1951,
// 3.2.7), whose tables zlib builds anew, and may hold nothing. So blocks are counted, and a message
// may have only so many: one for every 64 octets of the room. Compressors begin a new one after
// 128 symbols at the soonest (zlib's memLevel 1), 16,384 by default.
//
// One thread owns each object.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/bytes.h"

// zlib's z_stream, without its header in ours.
struct z_stream_s;

namespace ringcast::wire {

enum class Inflated : std::uint8_t {
    whole,
    too_large,  // than the room: close with 1009
    corrupt,    // no deflate data, or cut within a block: close with 1007
    wasteful,   // more blocks than anybody needs for so much: close with 1008
    no_memory,  // close with 1011
};

class InflateStream {
  public:
    enum class Context : std::uint8_t { none, kept };  // from one message to the next

    // `window_bits`: at least those of the peer, 8 to 15. zlib takes its memory with the first
    // message.
    InflateStream(std::uint8_t window_bits, Context context) noexcept;
    InflateStream(const InflateStream&) = delete;
    InflateStream& operator=(const InflateStream&) = delete;
    ~InflateStream();

    // One message, as it came, without the octets 00 00 FF FF. `size`: how much of `out` it fills,
    // which must have room for one octet more than is allowed, and is used to its end only by what
    // is too large. Behind anything but `whole` only the destructor makes sense, if context is
    // kept.
    [[nodiscard]] Inflated message(Bytes payload, MutBytes out, std::size_t& size) noexcept;
    // Of the last message, as far as it was looked at.
    [[nodiscard]] std::size_t blocks() const noexcept { return blocks_; }

    // What a message may have that is inflated into so much room.
    [[nodiscard]] static constexpr std::size_t blocks_max(std::size_t room) noexcept {
        return 256 + room / 64;
    }
    // Of one stream, with a window of so many bits.
    [[nodiscard]] static constexpr std::size_t memory_of(std::uint8_t window_bits) noexcept {
        return std::size_t{11} * 1024 + (std::size_t{1} << window_bits);
    }

  private:
    enum class Step : std::uint8_t { more, ended, too_large, corrupt, wasteful, no_memory };

    [[nodiscard]] bool start() noexcept;
    [[nodiscard]] Step feed(Bytes piece) noexcept;

    std::unique_ptr<z_stream_s> stream_;  // null before the first message
    std::uint8_t window_bits_;
    Context context_;
    std::size_t blocks_ = 0;
    std::size_t blocks_max_ = 0;
    bool ended_ = false;  // the last message ended with a final block
};

// Compresses messages one by one, without context, so that the result is the same for everybody.
class Deflater {
  public:
    // `level`: 1 to 9.
    explicit Deflater(int level) noexcept;
    Deflater(const Deflater&) = delete;
    Deflater& operator=(const Deflater&) = delete;
    ~Deflater();

    // The message that inflates to `payload` in a window of `window_bits` (9 to 15; zlib has no raw
    // 8), without 00 00 FF FF; its size, or 0 if `out` is too small for it. zlib needs up to 8
    // octets more than the result has.
    [[nodiscard]] std::size_t message(Bytes payload,
                                      std::uint8_t window_bits,
                                      MutBytes out) noexcept;

    // Of zlib, once messages of all sizes were seen.
    static constexpr std::size_t memory_max = std::size_t{640} * 1024;

  private:
    static constexpr std::uint8_t bits_min = 9;

    [[nodiscard]] z_stream_s* stream_for(std::uint8_t bits) noexcept;

    int level_;
    std::array<std::unique_ptr<z_stream_s>, 7> streams_;  // for 9 to 15 bits; most stay null
};

}  // namespace ringcast::wire
