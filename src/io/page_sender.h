#pragma once

// Sends large slices of the log file by reference to its pages, so that nothing is copied and a
// thousand slow sockets share one set of pages.
//
// A slice for one connection goes by sendfile(). When the next connection of a batch wants the same
// slice, as they do in a fan-out, its pages are looked up once, put into a pipe by vmsplice(), and
// every further connection gets them by tee() and splice(): the look-up of each page in the file
// for each connection is what sendfile() mostly costs. 16 KiB in slices of 256 KiB to 1 MiB, as the
// receivers read them: 2.5 us copied, 2.2 us by sendfile, 1.6-1.8 us this way (Linux 6.18).
//
// What is in the pipe refers to pages like a socket's queue does: they must not be written again
// until they were punched out. end_batch() lets go of them, so a slice is only ever taken for the
// same slice within one batch, during which the log does not change. For the thread that made it.

#include <cstddef>
#include <cstdint>

#include "io/reactor.h"
#include "io/socket.h"

namespace ringcast::io {

class PageSender {
  public:
    // Room of each of the two pipes. The kernel's default limit for one (fs.pipe-max-size), and
    // what one slice of a fan-out is at most.
    static constexpr std::size_t pipe_size = std::size_t{1} << 20;

    // `file`: the log file, or -1 if there is none: then nothing may be sent. Where the pipes
    // cannot be had (fs.pipe-user-pages-soft, descriptors), all goes by sendfile().
    explicit PageSender(int file) noexcept;

    // Sends to `fd`, which must be non-blocking, and fills in the result and by_reference. The
    // bytes must be those of the file at the offset.
    void send(int fd, Send& send) noexcept;

    // After the last slice of a batch.
    void end_batch() noexcept;

    // Whether slices are shared at all.
    [[nodiscard]] bool shares() const noexcept { return null_.valid(); }

  private:
    struct Pipe {
        Fd read;
        Fd write;
    };
    [[nodiscard]] static bool open(Pipe& pipe) noexcept;
    [[nodiscard]] bool load(Bytes bytes) noexcept;
    void send_loaded(int fd, Send& send) noexcept;
    void discard(const Pipe& pipe, std::size_t size) noexcept;

    const int file_;
    Fd null_;                 // where pages that nobody took are dropped, without a copy
    Pipe shared_;             // the pages of the present slice, as far as they fit
    Pipe outgoing_;           // one connection's references to them; empty between sends
    Send last_;               // the slice before this one
    std::size_t loaded_ = 0;  // bytes in shared_, from the beginning of last_
};

}  // namespace ringcast::io
