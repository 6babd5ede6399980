#include "node/inflation.h"

#include <algorithm>
#include <cstdlib>

#include "base/check.h"
#include "wire/framer.h"

namespace ringcast::node {

namespace {

// A buffer of at most so much stays.
constexpr std::size_t kept_max = std::size_t{64} * 1024;

// The octet that is too many, and what parsers may read behind the last one.
constexpr std::size_t slack = 1 + wire::payload_padding;

}  // namespace

Inflation::Inflation(const Config& config) noexcept
    : message_max_(config.message_max),
      shared_(wire::window_bits_max, wire::InflateStream::Context::none) {}

void Inflation::Free::operator()(std::byte* memory) const noexcept {
    std::free(memory);
}

wire::InflateStream& Inflation::stream_of(io::ConnIndex conn, const SharedDeflate& terms) noexcept {
    if (!terms.keeps_context) return shared_;
    std::unique_ptr<wire::InflateStream>& stream = contexts_[conn];
    if (stream == nullptr) {
        stream = std::make_unique<wire::InflateStream>(terms.client_window_bits,
                                                       wire::InflateStream::Context::kept);
    }
    return *stream;
}

wire::Inflated Inflation::inflate(io::ConnIndex conn,
                                  const SharedDeflate& terms,
                                  Bytes message,
                                  std::size_t size_max,
                                  Bytes& plain) noexcept {
    RC_CHECK(terms.agreed);
    RC_CHECK(size_max <= message_max_);
    if (buffer_ == nullptr) {
        buffer_.reset(static_cast<std::byte*>(std::malloc(message_max_ + slack)));
        if (buffer_ == nullptr) return wire::Inflated::no_memory;
    }
    std::size_t size = 0;
    const MutBytes room(buffer_.get(), size_max + 1);
    wire::InflateStream& stream = stream_of(conn, terms);
    const wire::Inflated result = stream.message(message, room, size);
    RC_CHECK(result != wire::Inflated::whole || size <= size_max);
    weight_ = size + inflated_block_weight * (std::max<std::size_t>(stream.blocks(), 2) - 2);
    plain = room.first(size);
    return result;
}

void Inflation::done() noexcept {
    if (message_max_ > kept_max) buffer_.reset();
}

std::uint64_t Inflation::memory_of(std::uint64_t message_max) noexcept {
    return message_max + slack + wire::InflateStream::memory_of(wire::window_bits_max);
}

}  // namespace ringcast::node
