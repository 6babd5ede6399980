#include "io/probe.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "io/buffer_ring.h"
#include "io/epoll.h"
#include "io/process.h"
#include "io/ring.h"
#include "io/uring.h"

namespace ringcast::io {

namespace {

constexpr std::uint32_t feature_min_timeout = 1U << 15;  // IORING_FEAT_MIN_TIMEOUT, 6.12
constexpr Nanos trial_time = nanos_per_s;                // a trial ends at once, or this is broken

struct Pair {
    Fd ours;
    Fd theirs;
};

[[nodiscard]] Result<Pair> make_pair() noexcept {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return os_error(errno);
    return Pair{.ours = Fd(fds[0]), .theirs = Fd(fds[1])};
}

[[nodiscard]] bool wait_for(Ring& ring, Completion& done) noexcept {
    ring.submit_and_sleep(trial_time);
    return ring.next(done);
}

// Whether multishot receive works at all, and with incremental buffers: two small receives must lie
// one behind the other in the same buffer.
[[nodiscard]] Result<Done> try_receive(bool incremental) noexcept {
    const Pair pair = RC_TRY(make_pair());
    std::unique_ptr<BufferRing> buffers;  // outlives the ring
    Ring ring;
    static_cast<void>(RC_TRY(ring.start(4, 16)));
    buffers = RC_TRY(BufferRing::create(ring.raw(), 0, 64, 2, incremental));
    io_uring_sqe& sqe = ring.next_sqe();
    io_uring_prep_recv_multishot(&sqe, pair.ours.get(), nullptr, 0, 0);
    sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
    sqe.flags |= IOSQE_BUFFER_SELECT;
    std::array<const std::byte*, 2> places{};
    for (const std::byte*& place : places) {
        Completion done;
        if (::send(pair.theirs.get(), "incremental", 11, MSG_NOSIGNAL) != 11) {
            return os_error(errno);
        }
        if (!wait_for(ring, done)) return os_error(ETIME);
        if (done.result < 0) return os_error(-done.result);
        const bool as_told = (done.flags & IORING_CQE_F_BUFFER) != 0 && done.result == 11 &&
                             ((done.flags & cqe_buf_more) != 0) == incremental;
        if (!as_told) return os_error(ENOTSUP);
        const MutBytes bytes = buffers->take(done);
        if (std::memcmp(bytes.data(), "incremental", 11) != 0) return os_error(ENOTSUP);
        place = bytes.data();
        // Not given back yet: whole buffers must differ.
    }
    if ((places[1] == places[0] + 11) != incremental) return os_error(ENOTSUP);
    return Done{};
}

// Whether a DONTWAIT|WAITALL send that is told to be quiet about success still reports a short
// count. If it did not, a stream would lose bytes and nobody would know.
[[nodiscard]] bool try_quiet_send() noexcept {
    const std::vector<char> zeros(1 << 20);  // not static: it would be a MiB of the program
    auto pair = make_pair();
    Ring ring;
    if (!pair.ok() || !ring.start(4, 16).ok()) return false;
    const int size = 64 * 1024;
    ::setsockopt(pair.value().ours.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    constexpr int flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
    const auto start = [&](std::size_t count, std::uint64_t user_data) noexcept {
        io_uring_sqe& sqe = ring.next_sqe();
        io_uring_prep_send(&sqe, pair.value().ours.get(), zeros.data(), count, flags);
        sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
        sqe.user_data = user_data;
        ring.submit();
    };
    Completion done;
    start(100, 1);
    if (ring.next(done)) return false;  // complete: quiet
    start(zeros.size(), 2);
    if (!ring.next(done) || done.user_data != 2) return false;
    if (done.result <= 0 || done.result >= static_cast<int>(zeros.size())) return false;
    start(zeros.size(), 3);
    return ring.next(done) && done.user_data == 3 && done.result == -EAGAIN;
}

// Which of the reasons it is that io_uring_setup() was refused.
void explain(int error, char* why, std::size_t size) noexcept {
    char text[16] = {};
    const Fd file(::open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC));
    const bool known = file.valid() && ::read(file.get(), text, sizeof(text) - 1) > 0;
    const int disabled = known && text[0] >= '0' && text[0] <= '9' ? text[0] - '0' : 0;
    const char* const name = strerrorname_np(error);
    const char* reason = "";
    if (error == EPERM && disabled != 0) {
        std::snprintf(
            why, size, "io_uring_setup says EPERM (kernel.io_uring_disabled=%d)", disabled);
        return;
    }
    if (error == EPERM) reason = " (a seccomp filter, as containers have)";
    if (error == ENOSYS) reason = " (no io_uring in this kernel, or a seccomp filter)";
    if (error == EINVAL) reason = " (older than Linux 6.1)";
    if (error == ENOMEM) reason = " (RLIMIT_MEMLOCK or no memory)";
    std::snprintf(why, size, "io_uring_setup says %s%s", name != nullptr ? name : "?", reason);
}

}  // namespace

Probe probe_uring() noexcept {
    Probe probe;
    Ring ring;
    if (const auto started = ring.start(4, 16); !started.ok()) {
        explain(started.error().os, probe.why, sizeof(probe.why));
        return probe;
    }
    if (const auto received = try_receive(false); !received.ok()) {
        const char* const name = strerrorname_np(received.error().os);
        std::snprintf(probe.why,
                      sizeof(probe.why),
                      "multishot receive with a buffer ring says %s",
                      name != nullptr ? name : "?");
        return probe;
    }
    probe.usable = true;
    probe.incremental_buffers = try_receive(true).ok();
    probe.quiet_sends = try_quiet_send();
    probe.min_wait = (ring.raw().features & feature_min_timeout) != 0;
    utsname system{};
    ::uname(&system);
    const auto release = static_cast<int>(std::strcspn(system.release, "-"));
    std::snprintf(probe.why,
                  sizeof(probe.why),
                  "kernel %.*s, %s buffers",
                  std::min(release, 32),
                  system.release,
                  probe.incremental_buffers ? "incremental" : "whole");
    return probe;
}

Result<std::unique_ptr<Reactor>> make_reactor(Backend backend,
                                              const ReactorOptions& options,
                                              std::string& why) noexcept {
    ignore_broken_pipes();
    if (backend == Backend::epoll) {
        why = "epoll: asked for";
        return make_epoll(options);
    }
    const Probe probe = probe_uring();
    why = probe.why;
    if (probe.usable) {
        auto uring = make_uring(options, probe);
        if (uring.ok()) {
            why = "io_uring: " + why;
            return uring;
        }
        const char* const name = strerrorname_np(uring.error().os);
        why = std::string("making the ring says ") + (name != nullptr ? name : "?");
        if (backend == Backend::uring) {
            why = "io_uring cannot be used: " + why;
            return uring.error();
        }
    }
    if (backend == Backend::uring) {
        why = "io_uring cannot be used: " + why;
        return os_error(ENOTSUP);
    }
    why = "epoll: " + why;
    return make_epoll(options);
}

}  // namespace ringcast::io
