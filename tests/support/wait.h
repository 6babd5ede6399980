#pragma once

// How a test waits for what another thread, another process or the kernel does in its own time: it
// names the event, looks for it again and again, and gives up after a bound. This is the one place
// that may nap between two looks. A nap instead of an event would be too short on a busy machine,
// too long on every other, and would say nothing about what was waited for.
//
// When a descriptor tells of the event, events_within() is better still: it wakes at once. It is
// also how to show that something does not happen: no event within a time.

#include <cstdint>
#include <ctime>

#include <poll.h>

namespace ringcast::test {

inline std::int64_t now_ms() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// Looks every millisecond until `happened()`; false when it has not after `bound_ms`. The last look
// is behind the bound, so a process that was held up for long does not fail for that.
template <typename Predicate>
[[nodiscard]] bool wait_until(const Predicate& happened, std::int64_t bound_ms = 10'000) {
    const std::int64_t end = now_ms() + bound_ms;
    for (;;) {
        const bool last = now_ms() >= end;
        if (happened()) return true;
        if (last) return false;
        const timespec nap{.tv_sec = 0, .tv_nsec = 1'000'000};
        ::nanosleep(&nap, nullptr);
    }
}

// Those of `events` (and of POLLERR and POLLHUP, which are always reported) that `fd` has as soon
// as it has any; 0 if there is none within `ms`.
[[nodiscard]] inline int events_within(int fd, short events, int ms) {
    pollfd poll{.fd = fd, .events = events, .revents = 0};
    return ::poll(&poll, 1, ms) > 0 ? poll.revents : 0;
}

}  // namespace ringcast::test
