#pragma once

// One send of one slice by a system call, never parking: what the epoll back end does for every
// slice, and io_uring for large ones that lie in the log file.

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/reactor.h"

namespace ringcast::io {

// Both fill in Send::result. `fd` must be non-blocking.
void send_copy(int fd, Send& send) noexcept;
// Sends pages of `file` instead of a copy: nothing is held in the socket but references. Sets
// by_reference when any byte went.
void send_pages(int fd, int file, Send& send) noexcept;
// The answer to a slice of which the socket took so many pages' bytes before `error` (0: none).
void settle_pages(Send& send, std::size_t taken, int error) noexcept;

// Whether `send` should go by send_pages.
[[nodiscard]] inline bool goes_by_pages(const Send& send, const ReactorOptions& options) noexcept {
    return options.log_file >= 0 && send.file_offset >= 0 &&
           send.bytes.size() >= options.sendfile_min;
}

// Whether batch[at] and the one behind it want the same bytes of the log file.
[[nodiscard]] inline bool next_is_same(std::span<const Send> batch, std::size_t at) noexcept {
    return at + 1 < batch.size() && batch[at + 1].file_offset == batch[at].file_offset &&
           batch[at + 1].bytes.size() == batch[at].bytes.size();
}

}  // namespace ringcast::io
