#pragma once

// Which back end this kernel lets us have, and why. Containers often forbid io_uring: Docker's and
// containerd's default seccomp profile (EPERM or ENOSYS), kernel.io_uring_disabled (EPERM). The
// answer is one sentence for the log, so that nobody has to guess.

#include <memory>
#include <string>

#include "ringcast/error.h"

#include "io/reactor.h"

namespace ringcast::io {

enum class Backend : std::uint8_t { automatic, uring, epoll };

// What was found about io_uring. Baseline: Linux 6.1 (DEFER_TASKRUN, multishot receive).
struct Probe {
    bool usable = false;
    bool incremental_buffers = false;  // IOU_PBUF_RING_INC, 6.12; tried, not just asked for
    bool quiet_sends = false;          // a send that is not complete always reports itself; tried
    bool min_wait = false;             // IORING_FEAT_MIN_TIMEOUT, 6.12
    char why[160] = {};                // "kernel 6.18, incremental buffers" or what is missing
};

[[nodiscard]] Probe probe_uring() noexcept;

// Makes the reactor of a shard. Call it in the thread that will own it, and destroy it there: a
// ring belongs to the thread that made it. Lets the process ignore SIGPIPE, because sendfile()
// needs it. `why` becomes the sentence for the log, also on failure. `automatic` falls back to
// epoll; `uring` where it cannot be is an error (os).
[[nodiscard]] Result<std::unique_ptr<Reactor>> make_reactor(Backend backend,
                                                            const ReactorOptions& options,
                                                            std::string& why) noexcept;

}  // namespace ringcast::io
