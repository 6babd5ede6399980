#include "io/send.h"

#include <cerrno>

#include <sys/sendfile.h>
#include <sys/socket.h>

#include "base/check.h"

namespace ringcast::io {

void send_copy(int fd, Send& send) noexcept {
    ssize_t sent = -1;
    do {
        sent = ::send(fd, send.bytes.data(), send.bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) sent = errno == EAGAIN ? 0 : -errno;
    send.result = static_cast<std::int32_t>(sent);
}

void send_pages(int fd, int file, Send& send) noexcept {
    RC_CHECK(send.file_offset >= 0);
    off_t offset = send.file_offset;
    std::size_t left = send.bytes.size();
    int error = 0;
    // A short count does not mean a full socket: the kernel moves a pipe's worth at a time.
    while (left > 0) {
        const ssize_t sent = ::sendfile(fd, file, &offset, left);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) error = errno;
        if (sent <= 0) break;
        left -= static_cast<std::size_t>(sent);
    }
    settle_pages(send, send.bytes.size() - left, error);
}

void settle_pages(Send& send, std::size_t taken, int error) noexcept {
    RC_CHECK(taken <= send.bytes.size());
    send.by_reference = taken > 0;
    send.result = static_cast<std::int32_t>(taken);
    // After some bytes an error waits for the next call; EAGAIN is an answer, not an error.
    if (taken == 0 && error != 0 && error != EAGAIN) send.result = -error;
}

}  // namespace ringcast::io
