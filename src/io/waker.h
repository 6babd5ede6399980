#pragma once

// Ends a reactor's sleep from any thread: an eventfd that the back end waits for by its edges, so
// that nobody ever has to read the counter.

#include "ringcast/error.h"

#include "io/socket.h"

namespace ringcast::io {

class Waker {
  public:
    [[nodiscard]] Result<Done> start() noexcept;
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }  // readable after each wake()
    void wake() noexcept;                                        // any thread

  private:
    Fd fd_;
};

}  // namespace ringcast::io
