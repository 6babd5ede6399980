#pragma once

// What the kernel facts share. Every fact is a test on bare system calls, so that a kernel that
// behaves differently is found here and not in a night of puzzling over the server. Numbers K1-K14
// are those that the sources name.
//
// A kernel or a container that cannot be asked is no failure: SKIP_FACT says why, and the last line
// of the output counts them.

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/socket.h"
#include "tests/io/inject.h"
#include "tests/support/wait.h"

namespace ringcast::io::facts {

using ringcast::test::events_within;
using ringcast::test::now_ms;
using ringcast::test::wait_until;
using test::in_child;

// For what must come: a busy machine may need long. What must not come is waited for much shorter.
inline constexpr int patience_ms = 10'000;

void count_skipped(const char* why);

#define SKIP_FACT(why)                             \
    do {                                           \
        ::ringcast::io::facts::count_skipped(why); \
        return;                                    \
    } while (false)

struct Cqe {
    std::uint64_t user_data = 0;
    int res = 0;
    std::uint32_t flags = 0;

    [[nodiscard]] bool more() const { return (flags & IORING_CQE_F_MORE) != 0; }
};

// A bare ring with the flags that the server uses.
class Uring {
  public:
    explicit Uring(unsigned cq_entries = 64, unsigned more_flags = 0) {
        io_uring_params params{};
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | more_flags;
        params.cq_entries = cq_entries;
        error_ = io_uring_queue_init_params(cq_entries < 32 ? cq_entries : 32, &ring, &params);
    }
    Uring(const Uring&) = delete;
    Uring& operator=(const Uring&) = delete;
    ~Uring() {
        if (error_ == 0) io_uring_queue_exit(&ring);
    }

    [[nodiscard]] bool usable() const { return error_ == 0; }
    [[nodiscard]] io_uring_sqe* sqe(std::uint64_t user_data) {
        io_uring_sqe* entry = io_uring_get_sqe(&ring);
        REQUIRE(entry != nullptr);
        io_uring_prep_nop(entry);
        entry->user_data = user_data;  // the prep functions of liburing 2.3 leave it alone
        return entry;
    }
    void submit() { REQUIRE(io_uring_submit(&ring) >= 0); }
    // Submits, waits at most `ms` for the first completion, and takes all that are there.
    std::vector<Cqe> take(int ms = patience_ms) {
        __kernel_timespec timeout{.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1'000'000L};
        io_uring_cqe* first = nullptr;
        io_uring_submit_and_wait_timeout(&ring, &first, 1, &timeout, nullptr);
        std::vector<Cqe> all;
        while (io_uring_peek_cqe(&ring, &first) == 0) {
            all.push_back(
                {.user_data = first->user_data, .res = first->res, .flags = first->flags});
            io_uring_cqe_seen(&ring, first);
        }
        return all;
    }
    // Takes what comes until there are `count`, and from then on until it has been quiet for 20 ms.
    std::vector<Cqe> take_all(std::size_t count = 0) {
        std::vector<Cqe> all;
        for (;;) {
            const std::vector<Cqe> some = take(all.size() < count ? patience_ms : 20);
            if (some.empty()) return all;
            all.insert(all.end(), some.begin(), some.end());
        }
    }

    io_uring ring{};

  private:
    int error_ = -1;
};

// Provided buffers of 64 bytes, group 0.
class Buffers {
  public:
    Buffers(Uring& uring, unsigned count, unsigned ring_flags = 0) : count_(count) {
        entries_ = static_cast<io_uring_buf_ring*>(std::aligned_alloc(4096, 4096));
        REQUIRE(entries_ != nullptr);
        io_uring_buf_reg reg{};
        reg.ring_addr = reinterpret_cast<std::uintptr_t>(entries_);
        reg.ring_entries = count;
        reg.pad = static_cast<std::uint16_t>(ring_flags);
        error_ = io_uring_register_buf_ring(&uring.ring, &reg, 0);
        io_uring_buf_ring_init(entries_);
        for (unsigned id = 0; id < count; id++)
            give(id);
    }
    Buffers(const Buffers&) = delete;
    Buffers& operator=(const Buffers&) = delete;
    ~Buffers() { std::free(entries_); }

    [[nodiscard]] int error() const { return error_; }
    [[nodiscard]] const char* data(unsigned id) const { return bytes_[id].data(); }
    void give(unsigned id) {
        const auto mask = static_cast<int>(count_ - 1);
        io_uring_buf_ring_add(
            entries_, bytes_[id].data(), 64, static_cast<std::uint16_t>(id), mask, 0);
        io_uring_buf_ring_advance(entries_, 1);
    }

  private:
    std::array<std::array<char, 64>, 64> bytes_{};
    io_uring_buf_ring* entries_ = nullptr;
    unsigned count_ = 0;
    int error_ = -1;
};

inline void prep_receive(io_uring_sqe* sqe, int fd, bool poll_first = true) {
    const std::uint64_t user_data = sqe->user_data;
    io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
    sqe->user_data = user_data;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    if (poll_first) sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

inline tcp_info tcp_info_of(int fd) {
    tcp_info info{};
    socklen_t size = sizeof(info);
    REQUIRE(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
    return info;
}

inline Fd listener(int backlog = 64, std::uint32_t notsent_lowat = 0) {
    const ListenOptions options{.backlog = backlog, .notsent_lowat = notsent_lowat};
    auto fd = listen_tcp(parse_address("127.0.0.1:0").value(), options);
    REQUIRE(fd.ok());
    return std::move(fd).value();
}

// A connecting socket, not connected yet if `flags` has SOCK_NONBLOCK.
inline Fd connect_to(int listener, int flags = 0) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    REQUIRE(fd.valid());
    sockaddr_storage storage{};
    const socklen_t size = to_sockaddr(local_address(listener).value(), storage);
    const int done = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size);
    REQUIRE((done == 0 || errno == EINPROGRESS));
    return fd;
}

// Both ends of a TCP connection, blocking.
struct Pair {
    explicit Pair(std::uint32_t notsent_lowat = 0) {
        const Fd listening = listener(64, notsent_lowat);
        peer = connect_to(listening.get());
        REQUIRE(events_within(listening.get(), POLLIN, patience_ms) == POLLIN);
        ours = Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(ours.valid());
    }
    void reset_by_peer() {
        const linger now{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        peer.reset(-1);
    }
    Fd ours;
    Fd peer;
};

// Reads until there are `size` bytes and then nothing comes for 50 ms, or the end.
inline std::string read_all(int fd, std::size_t size = 0) {
    std::string all;
    std::vector<char> some(1 << 20);
    for (;;) {
        if (events_within(fd, POLLIN, all.size() < size ? patience_ms : 50) == 0) return all;
        const ssize_t got = ::recv(fd, some.data(), some.size(), MSG_DONTWAIT);
        if (got <= 0) return all;
        all.append(some.data(), static_cast<std::size_t>(got));
    }
}

// Whether the peer saw an end of the stream: 1 FIN, -errno an error, 0 nothing of the kind.
inline int end_seen(int fd, int ms) {
    if (events_within(fd, POLLIN, ms) == 0) return 0;
    char byte = 0;
    const ssize_t got = ::recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 ? 1 : got < 0 ? -errno : 0;
}

#define NEED_URING(ring) \
    if (!(ring).usable()) SKIP_FACT("no io_uring with DEFER_TASKRUN")

}  // namespace ringcast::io::facts
