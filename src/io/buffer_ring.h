#pragma once

// The pooled receive buffers of an io_uring shard: a provided-buffer ring, from which the kernel
// takes room when bytes have arrived, so that idle connections hold none.
//
// Two forms. Incremental (IOU_PBUF_RING_INC, 6.12): many small receives are packed into one large
// buffer, which stays hot in the cache (measured: 10-25 % less CPU a frame). Whole: every receive
// uses up one buffer, so they are small and many. The caller sees views of either, and gives the
// room back in the order in which it came.
//
// One allocation, touched at start, with receive_padding bytes behind its end. Must outlive the
// ring. One owner thread.

#include <cstdint>
#include <memory>
#include <vector>

#include <liburing.h>

#include "ringcast/error.h"

#include "base/bytes.h"
#include "io/ring.h"

namespace ringcast::io {

// Constants that liburing 2.3 does not know yet.
constexpr std::uint16_t pbuf_ring_inc = 2;       // io_uring_buf_reg.flags (named pad in 2.3)
constexpr std::uint32_t cqe_buf_more = 1U << 4;  // the buffer has room left: not used up

class BufferRing {
  public:
    // `size` and `count` are those of incremental buffers; whole ones get the same memory in
    // pieces of at most 2 KiB. `count` is rounded up to a power of two.
    [[nodiscard]] static Result<std::unique_ptr<BufferRing>> create(io_uring& ring,
                                                                    std::uint16_t group,
                                                                    std::uint32_t size,
                                                                    std::uint32_t count,
                                                                    bool incremental) noexcept;
    BufferRing(const BufferRing&) = delete;
    BufferRing& operator=(const BufferRing&) = delete;
    ~BufferRing();

    [[nodiscard]] std::uint16_t group() const noexcept { return group_; }

    // The bytes that a completion with IORING_CQE_F_BUFFER brought. Completions must be shown in
    // the order in which they were posted, every one exactly once.
    [[nodiscard]] MutBytes take(const Completion& done) noexcept;
    // The bytes of `done` were used: gives its buffer back if the kernel is done with it.
    void give_back(const Completion& done) noexcept;

  private:
    BufferRing(std::uint16_t group,
               std::uint32_t size,
               std::uint32_t count,
               bool incremental) noexcept;
    [[nodiscard]] Result<Done> map() noexcept;
    void provide(std::uint16_t id) noexcept;

    std::uint16_t group_ = 0;
    bool incremental_ = false;
    std::uint32_t size_ = 0;   // of one buffer
    std::uint32_t count_ = 0;  // a power of two
    std::byte* memory_ = nullptr;
    std::size_t mapped_ = 0;
    io_uring_buf_ring* entries_ = nullptr;
    std::vector<std::uint32_t> used_;  // of each buffer: bytes the kernel has filled
};

}  // namespace ringcast::io
