#pragma once

// Sends large slices of the log file by reference to its pages, so that nothing is copied and a
// thousand slow sockets share one set of pages.
//
// A slice's pages are put into a pipe by vmsplice() and spliced from there into the socket. When
// the next connection of a batch wants the same slice, as they do in a fan-out, this one gets its
// references by tee(), and the pipe serves again: so the pages are looked up once for all of them,
// and it is the look-up in the file for each connection that sendfile() mostly costs. 16 KiB in
// slices of 256 KiB to 1 MiB, as the receivers read them: 2.5 us copied, 2.2 us by sendfile,
// 1.6-1.8 us this way (Linux 6.18).
//
// What is in the pipe refers to pages like a socket's queue does: they must not be written again
// until they were punched out. It is empty after a batch, so a slice is only ever taken for the
// same slice while the log does not change. For the thread that made it.

#include <cstddef>
#include <cstdint>

#include "io/reactor.h"
#include "io/socket.h"

namespace ringcast::io {

class PageSender {
  public:
    // Room of each of the two pipes: the kernel's default limit for one (fs.pipe-max-size). What a
    // slice has beyond that goes by itself.
    static constexpr std::size_t pipe_size = std::size_t{1} << 20;

    // `file`: the log file, or -1 if there is none: then nothing may be sent. Where the pipes
    // cannot be had (fs.pipe-user-pages-soft, descriptors), all goes by sendfile().
    explicit PageSender(int file) noexcept;

    // Sends to `fd`, which must be non-blocking, and fills in the result and by_reference. The
    // bytes must be those of the file at the offset. `again`: the next call will be for the same
    // slice, before the log changes; it must be.
    void send(int fd, Send& send, bool again) noexcept;

    // Whether pipes are used at all.
    [[nodiscard]] bool shares() const noexcept { return null_.valid(); }

  private:
    struct Pipe {
        Fd read;
        Fd write;
    };
    [[nodiscard]] static bool open(Pipe& pipe) noexcept;
    [[nodiscard]] bool load(const Send& send) noexcept;
    void send_from(const Pipe& pipe, std::size_t size, int fd, Send& send) noexcept;
    [[nodiscard]] std::size_t send_rest(int fd, const Send& send, std::size_t begin) noexcept;
    void discard(const Pipe& pipe, std::size_t size) noexcept;

    const int file_;
    Fd null_;                 // where pages that nobody took are dropped, without a copy
    Pipe shared_;             // the pages of the present slice, as far as they fit
    Pipe outgoing_;           // one connection's references to them; empty between sends
    std::size_t loaded_ = 0;  // bytes in shared_, and of which slice they are
    std::int64_t loaded_offset_ = 0;
    std::size_t loaded_size_ = 0;
};

}  // namespace ringcast::io
