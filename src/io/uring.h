#pragma once

// The io_uring back end, the one we are built for. Baseline Linux 6.1; newer features by probe.
//
// One ring a shard, made and used by its owning thread (SINGLE_ISSUER, DEFER_TASKRUN). Accepting
// and receiving are multishot and always armed; any completion without F_MORE is armed again,
// whatever its result (K1-K3). A batch of sends is one system call: with MSG_DONTWAIT they run
// inside io_uring_enter and never park, with MSG_WAITALL a short one always reports itself, so the
// successful ones need no completion (tests/kernel_facts). Cancelling is by user_data, never by
// descriptor: that would walk all armed requests. A descriptor is closed after the last completion
// of everything in flight on it, for an armed receive keeps the connection open (no FIN).

#include <cstdint>
#include <memory>
#include <span>

#include "ringcast/error.h"

#include "io/probe.h"
#include "io/reactor.h"

namespace ringcast::io {

// Precondition: probe.usable. Call in the thread that will own the reactor.
[[nodiscard]] Result<std::unique_ptr<Reactor>> make_uring(const ReactorOptions& options,
                                                          const Probe& probe) noexcept;

// Every operation that it may ask the kernel for; for Ring::restrict().
[[nodiscard]] std::span<const std::uint8_t> uring_operations() noexcept;

}  // namespace ringcast::io
