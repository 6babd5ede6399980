#include "io/buffer_ring.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include <sys/mman.h>

#include "base/check.h"
#include "io/reactor.h"

namespace ringcast::io {

namespace {

constexpr std::uint32_t count_max = 32768;      // the kernel's limit for one ring
constexpr std::uint32_t whole_size_max = 2048;  // a whole buffer holds one receive

[[nodiscard]] void* map_pages(std::size_t size) noexcept {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    void* pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return pages == MAP_FAILED ? nullptr : pages;
}

}  // namespace

Result<std::unique_ptr<BufferRing>> BufferRing::create(io_uring& ring,
                                                       std::uint16_t group,
                                                       std::uint32_t size,
                                                       std::uint32_t count,
                                                       bool incremental) noexcept {
    RC_CHECK(size > 0);
    RC_CHECK(count > 0 && count <= count_max);
    count = std::bit_ceil(count);
    if (!incremental && size > whole_size_max) {
        const std::uint64_t pieces = std::uint64_t{size} * count / whole_size_max;
        count =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(std::bit_floor(pieces), count_max));
        size = whole_size_max;
    }
    auto buffers = std::unique_ptr<BufferRing>(new BufferRing(group, size, count, incremental));
    static_cast<void>(RC_TRY(buffers->map()));

    io_uring_buf_reg reg{};
    reg.ring_addr = reinterpret_cast<std::uintptr_t>(buffers->entries_);
    reg.ring_entries = count;
    reg.bgid = group;
    reg.pad = incremental ? pbuf_ring_inc : 0;
    if (const int error = io_uring_register_buf_ring(&ring, &reg, 0); error != 0) {
        return os_error(-error);
    }
    io_uring_buf_ring_init(buffers->entries_);
    for (std::uint32_t id = 0; id < count; id++) {
        buffers->provide(static_cast<std::uint16_t>(id));
    }
    return buffers;
}

BufferRing::BufferRing(std::uint16_t group,
                       std::uint32_t size,
                       std::uint32_t count,
                       bool incremental) noexcept
    : group_(group), incremental_(incremental), size_(size), count_(count), used_(count) {}

Result<Done> BufferRing::map() noexcept {
    mapped_ = std::size_t{size_} * count_ + receive_padding;
    memory_ = static_cast<std::byte*>(map_pages(mapped_));
    if (memory_ == nullptr) return os_error(ENOMEM);
    entries_ = static_cast<io_uring_buf_ring*>(map_pages(count_ * sizeof(io_uring_buf)));
    if (entries_ == nullptr) return os_error(ENOMEM);
    return Done{};
}

BufferRing::~BufferRing() {
    if (memory_ != nullptr) ::munmap(memory_, mapped_);
    if (entries_ != nullptr) ::munmap(entries_, count_ * sizeof(io_uring_buf));
}

void BufferRing::provide(std::uint16_t id) noexcept {
    used_[id] = 0;
    std::byte* const begin = memory_ + std::size_t{size_} * id;
    io_uring_buf_ring_add(entries_, begin, size_, id, static_cast<int>(count_ - 1), 0);
    io_uring_buf_ring_advance(entries_, 1);
}

MutBytes BufferRing::take(const Completion& done) noexcept {
    RC_CHECK((done.flags & IORING_CQE_F_BUFFER) != 0);
    const std::uint32_t id = done.flags >> IORING_CQE_BUFFER_SHIFT;
    const auto size = static_cast<std::uint32_t>(std::max(done.result, 0));
    RC_CHECK(id < count_);
    RC_CHECK(size <= size_ - used_[id]);  // else bytes of one peer would go to another
    std::byte* const begin = memory_ + std::size_t{size_} * id + used_[id];
    used_[id] += size;
    return {begin, size};
}

void BufferRing::give_back(const Completion& done) noexcept {
    if (incremental_ && (done.flags & cqe_buf_more) != 0) return;
    provide(static_cast<std::uint16_t>(done.flags >> IORING_CQE_BUFFER_SHIFT));
}

}  // namespace ringcast::io
