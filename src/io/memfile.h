#pragma once

// Memory that is also a file: a memfd, mapped shared. The log's segments lie in it, so that a large
// slice can go out by sendfile: no copy, and a thousand sockets share the same pages.
//
// The price is a rule: bytes that were sent by reference must not be written again, for the peer
// would get the new ones (tests/kernel_facts). punch() takes the pages out of the file first; the
// sockets keep the old ones, the file gets fresh ones that read as zero.
//
// Any thread may read and write; who may write where is the business of the pool above.

#include <cstddef>

#include "ringcast/error.h"

#include "io/socket.h"

namespace ringcast::io {

class MemFile {
  public:
    // `name` shows in /proc/self/maps only. `size` is rounded up to pages. Pages are allocated when
    // first touched.
    [[nodiscard]] static Result<MemFile> create(const char* name, std::size_t size) noexcept;

    MemFile(MemFile&& other) noexcept;
    MemFile& operator=(MemFile&&) = delete;
    MemFile(const MemFile&) = delete;
    MemFile& operator=(const MemFile&) = delete;
    ~MemFile();

    [[nodiscard]] std::byte* base() const noexcept { return base_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    // Gives the pages of [offset, offset + size) back. Both must be multiples of the page size.
    void punch(std::size_t offset, std::size_t size) noexcept;

    // The same as a plain function; `context` is the MemFile.
    static void punch_hole(void* context, std::size_t offset, std::size_t size) noexcept;

  private:
    MemFile(Fd fd, std::byte* base, std::size_t size) noexcept;

    Fd fd_;
    std::byte* base_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ringcast::io
