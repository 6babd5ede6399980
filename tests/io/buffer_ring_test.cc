#include "io/buffer_ring.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/socket.h>

#include "tests/io/harness.h"

namespace ringcast::io::test {

namespace {

// A multishot receive on one end of a socket pair.
struct Receiver {
    Receiver(std::uint32_t size, std::uint32_t count, bool incremental) {
        int fds[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        ours = Fd(fds[0]);
        theirs = Fd(fds[1]);
        REQUIRE(ring.start(8, 64).ok());
        auto made = BufferRing::create(ring.raw(), 3, size, count, incremental);
        REQUIRE(made.ok());
        buffers = std::move(made).value();
        arm();
    }
    void arm() {
        io_uring_sqe& sqe = ring.next_sqe();
        io_uring_prep_recv_multishot(&sqe, ours.get(), nullptr, 0, 0);
        sqe.flags |= IOSQE_BUFFER_SELECT;
        sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
        sqe.buf_group = buffers->group();
    }

    Fd ours;
    Fd theirs;
    std::unique_ptr<BufferRing> buffers;
    Ring ring;
};

}  // namespace

TEST_CASE("buffer ring: bytes come out as they went in, round after round of the ring") {
    if (no_uring()) return;
    const Probe probe = probe_uring();
    for (const bool incremental : {false, true}) {
        if (incremental && !probe.incremental_buffers) continue;
        for (const auto& shape : {std::pair{64U, 1U}, {64U, 2U}, {1000U, 3U}, {100'000U, 4U}}) {
            const std::uint32_t size = shape.first;
            CAPTURE(incremental);
            CAPTURE(size);
            Receiver receiver(size, shape.second, incremental);
            std::string sent;
            std::string received;
            for (std::size_t round = 0; round < 300; round++) {
                const std::string piece = stream_bytes(1, sent.size(), 1 + round * 7 % 150);
                REQUIRE(::send(receiver.theirs.get(), piece.data(), piece.size(), 0) > 0);
                sent += piece;
                while (received.size() < sent.size()) {
                    receiver.ring.submit_and_sleep(nanos_per_s);
                    Completion done;
                    REQUIRE(receiver.ring.next(done));
                    if ((done.flags & IORING_CQE_F_MORE) == 0) receiver.arm();
                    if (done.result == -ENOBUFS) continue;
                    REQUIRE(done.result > 0);
                    const MutBytes bytes = receiver.buffers->take(done);
                    received += as_text(bytes);
                    // Behind every view there is memory, the last buffer's last byte included.
                    volatile std::byte beyond = bytes.data()[bytes.size() + receive_padding - 1];
                    static_cast<void>(beyond);
                    receiver.buffers->give_back(done);
                }
            }
            CHECK(received == sent);
        }
    }
}

}  // namespace ringcast::io::test
