#include "io/page_sender.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "io/send.h"

namespace ringcast::io {

namespace {

// Up to here a copy is cheaper than a reference (docs/BENCHMARKS.md, --sendfile-min).
constexpr std::size_t copied_rest_max = std::size_t{16} * 1024;

}  // namespace

PageSender::PageSender(int file) noexcept : file_(file) {
    if (file_ < 0) return;
    if (open(shared_) && open(outgoing_)) null_.reset(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (shares()) return;
    shared_ = Pipe{};
    outgoing_ = Pipe{};
}

bool PageSender::open(Pipe& pipe) noexcept {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return false;
    pipe.read.reset(ends[0]);
    pipe.write.reset(ends[1]);
    return ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(pipe_size)) >= 0;
}

void PageSender::send(int fd, Send& send, bool again) noexcept {
    RC_CHECK(file_ >= 0);
    if (loaded_ != 0) {
        RC_CHECK(send.file_offset == loaded_offset_);
        RC_CHECK(send.bytes.size() == loaded_size_);
    } else if (!shares() || !load(send)) {
        return send_pages(fd, file_, send);
    }
    if (!again) return send_from(shared_, std::exchange(loaded_, 0), fd, send);
    const ssize_t lent =
        ::tee(shared_.read.get(), outgoing_.write.get(), loaded_, SPLICE_F_NONBLOCK);
    if (lent <= 0) return send_pages(fd, file_, send);
    send_from(outgoing_, static_cast<std::size_t>(lent), fd, send);
}

// The mapping stands for the file: the pipe gets the very pages that the file has here.
bool PageSender::load(const Send& send) noexcept {
    RC_CHECK(loaded_ == 0);
    const iovec pages{.iov_base = const_cast<std::byte*>(send.bytes.data()),
                      .iov_len = send.bytes.size()};
    const ssize_t count = ::vmsplice(shared_.write.get(), &pages, 1, SPLICE_F_NONBLOCK);
    if (count <= 0) return false;
    loaded_ = static_cast<std::size_t>(count);
    loaded_offset_ = send.file_offset;
    loaded_size_ = send.bytes.size();
    return true;
}

// The `size` bytes in `pipe` are the beginning of the slice. The pipe is empty after this.
void PageSender::send_from(const Pipe& pipe, std::size_t size, int fd, Send& send) noexcept {
    const bool more = size < send.bytes.size();
    const unsigned flags = SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0U);
    std::size_t taken = 0;
    int error = 0;
    while (taken < size) {
        const ssize_t moved = ::splice(pipe.read.get(), nullptr, fd, nullptr, size - taken, flags);
        if (moved < 0 && errno == EINTR) continue;
        if (moved < 0) error = errno;
        if (moved <= 0) break;
        taken += static_cast<std::size_t>(moved);
    }
    if (taken < size) discard(pipe, size - taken);
    if (taken == size && more) taken += send_rest(fd, send, size);
    settle_pages(send, taken, error);
}

// What did not fit into the pipe: at least the end of the last page of a slice that is as large as
// the pipe and begins inside a page. How much of it went.
std::size_t PageSender::send_rest(int fd, const Send& send, std::size_t begin) noexcept {
    Send rest = send;
    rest.bytes = send.bytes.subspan(begin);
    rest.file_offset += static_cast<std::int64_t>(begin);
    if (rest.bytes.size() <= copied_rest_max) {
        send_copy(fd, rest);
    } else {
        send_pages(fd, file_, rest);
    }
    return rest.result > 0 ? static_cast<std::size_t>(rest.result) : 0;
}

void PageSender::discard(const Pipe& pipe, std::size_t size) noexcept {
    while (size > 0) {
        const ssize_t moved =
            ::splice(pipe.read.get(), nullptr, null_.get(), nullptr, size, SPLICE_F_NONBLOCK);
        if (moved < 0 && errno == EINTR) continue;
        RC_CHECK(moved > 0);  // it is in the pipe, and nobody else reads there
        size -= static_cast<std::size_t>(moved);
    }
}

}  // namespace ringcast::io
