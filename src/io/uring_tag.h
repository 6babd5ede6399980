#pragma once

// What a completion of the io_uring back end is about, packed into user_data as
// {op: 8, generation: 24, index: 32}. A generation tells the users of one index apart.

#include <cstdint>

namespace ringcast::io {

enum class Op : std::uint8_t {
    none,    // nobody waits for it
    accept,  // index: the listener
    receive,
    writable,
    connect,
    shutdown,
    close,
    send,  // index: place in the batch
    wake,
};

constexpr std::uint32_t generation_mask = 0xffffff;

[[nodiscard]] constexpr std::uint64_t tag(Op op,
                                          std::uint32_t generation,
                                          std::uint32_t index) noexcept {
    return (std::uint64_t{static_cast<std::uint8_t>(op)} << 56) |
           (std::uint64_t{generation & generation_mask} << 32) | index;
}
[[nodiscard]] constexpr Op op_of(std::uint64_t tag) noexcept {
    return static_cast<Op>(tag >> 56);
}
[[nodiscard]] constexpr std::uint32_t generation_of(std::uint64_t tag) noexcept {
    return static_cast<std::uint32_t>(tag >> 32) & generation_mask;
}
[[nodiscard]] constexpr std::uint32_t index_of(std::uint64_t tag) noexcept {
    return static_cast<std::uint32_t>(tag);
}

// Nobody waits for the answer.
constexpr std::uint64_t no_tag = tag(Op::none, 0, 0);

static_assert(op_of(tag(Op::wake, generation_mask, UINT32_MAX)) == Op::wake);
static_assert(generation_of(tag(Op::send, generation_mask + 2, UINT32_MAX)) == 1);
static_assert(index_of(tag(Op::send, generation_mask, 7)) == 7);

}  // namespace ringcast::io
