#pragma once

// Inflates what the clients of a shard send compressed. Without context one stream and one buffer
// serve all of them; a client that keeps context has a stream of its own.
//
// The buffer is as large as a message may be, taken when the first one comes, and given back at
// once where that is much. So a bomb costs its limit, and zlib's own 43 KiB, whatever it promises.
//
// One thread owns an Inflation.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "ringcast/config.h"

#include "base/bytes.h"
#include "io/reactor.h"
#include "node/session.h"
#include "wire/deflate.h"

namespace ringcast::node {

// Of a compressed message, as it comes: a little more than of another, since what cannot be made
// smaller becomes larger.
[[nodiscard]] constexpr std::uint64_t compressed_size_max(std::uint64_t message_max) noexcept {
    return message_max + message_max / 64 + 64;
}

// What a block of a compressed message costs us, be it empty, as bytes that are inflated: zlib
// builds its tables in up to 3.6 us, and a byte comes out in up to 4.5 ns (docs/DECISIONS.md).
constexpr std::size_t inflated_block_weight = 1024;

class Inflation {
  public:
    explicit Inflation(const Config& config) noexcept;
    Inflation(const Inflation&) = delete;
    Inflation& operator=(const Inflation&) = delete;

    // `plain`: the message, of at most `size_max` (itself at most --message-max) bytes, valid until
    // done(), with wire::payload_padding behind it.
    [[nodiscard]] wire::Inflated inflate(io::ConnIndex conn,
                                         const SharedDeflate& terms,
                                         Bytes message,
                                         std::size_t size_max,
                                         Bytes& plain) noexcept;
    void done() noexcept;
    // What the last message weighs by the time it took, in bytes: those that it became, and its
    // blocks but two, which every message has.
    [[nodiscard]] std::size_t weight() const noexcept { return weight_; }
    // The connection says nothing any more.
    void forget(io::ConnIndex conn) noexcept { contexts_.erase(conn); }

    // Of one shard, without contexts.
    [[nodiscard]] static std::uint64_t memory_of(std::uint64_t message_max) noexcept;

  private:
    struct Free {
        void operator()(std::byte* memory) const noexcept;
    };

    [[nodiscard]] wire::InflateStream& stream_of(io::ConnIndex conn,
                                                 const SharedDeflate& terms) noexcept;

    std::size_t message_max_;
    std::size_t weight_ = 0;
    wire::InflateStream shared_;
    std::unordered_map<io::ConnIndex, std::unique_ptr<wire::InflateStream>> contexts_;
    std::unique_ptr<std::byte, Free> buffer_;
};

}  // namespace ringcast::node
