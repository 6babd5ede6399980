#pragma once

// The epoll back end: for kernels and containers without io_uring. Same contract, about 10 % more
// CPU a send and a receive.
//
// Connections are edge-triggered and read until a short read, which saves the second recv() that
// would say EAGAIN (measured: 985 against 1 045 ns level-triggered and 1 270 read-until-EAGAIN).
// Listeners are level-triggered and leave the set whenever nothing can be accepted, because a
// listener at the descriptor limit would wake us 400 000 times a second (K1).

#include <memory>

#include "ringcast/error.h"

#include "io/reactor.h"

namespace ringcast::io {

[[nodiscard]] Result<std::unique_ptr<Reactor>> make_epoll(const ReactorOptions& options) noexcept;

}  // namespace ringcast::io
