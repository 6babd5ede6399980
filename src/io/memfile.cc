#include "io/memfile.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

namespace ringcast::io {

Result<MemFile> MemFile::create(const char* name, std::size_t size) noexcept {
    RC_CHECK(size > 0);
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    size = (size + page - 1) / page * page;
    Fd fd(::memfd_create(name, MFD_CLOEXEC));
    if (!fd.valid()) return os_error(errno);
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return os_error(errno);
    void* base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (base == MAP_FAILED) return os_error(errno);
    return MemFile(std::move(fd), static_cast<std::byte*>(base), size);
}

MemFile::MemFile(Fd fd, std::byte* base, std::size_t size) noexcept
    : fd_(std::move(fd)), base_(base), size_(size) {}

MemFile::MemFile(MemFile&& other) noexcept
    : fd_(std::move(other.fd_)),
      base_(std::exchange(other.base_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MemFile::~MemFile() {
    if (base_ != nullptr) ::munmap(base_, size_);
}

void MemFile::punch(std::size_t offset, std::size_t size) noexcept {
    RC_CHECK(offset <= size_);
    RC_CHECK(size <= size_ - offset);
    constexpr int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int done = -1;
    do {
        done = ::fallocate(fd_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(size));
    } while (done != 0 && errno == EINTR);
    // A memfd without seals cannot refuse. Going on with the old pages would hand peers bytes that
    // were never theirs, so this is the one answer of the kernel we do not survive.
    RC_CHECK(done == 0);
}

void MemFile::punch_hole(void* context, std::size_t offset, std::size_t size) noexcept {
    RC_CHECK(context != nullptr);
    static_cast<MemFile*>(context)->punch(offset, size);
}

}  // namespace ringcast::io
