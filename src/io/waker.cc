#include "io/waker.h"

#include <cerrno>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

namespace ringcast::io {

Result<Done> Waker::start() noexcept {
    fd_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!fd_.valid()) return os_error(errno);
    return Done{};
}

void Waker::wake() noexcept {
    const std::uint64_t one = 1;
    // Fails only when 2^64 wake-ups were never read; then the counter is as readable as can be.
    [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof(one));
}

}  // namespace ringcast::io
