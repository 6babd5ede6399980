// Receiving: what ends a multishot receive, and how incremental buffers are filled.

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "io/buffer_ring.h"
#include "tests/kernel_facts/facts.h"

namespace ringcast::io::facts {

TEST_CASE("K2: an empty buffer ring ends a multishot receive with ENOBUFS") {
    Uring uring;
    NEED_URING(uring);
    Buffers buffers(uring, 2);
    const Pair pair;
    prep_receive(uring.sqe(1), pair.ours.get());
    uring.submit();
    REQUIRE(::send(pair.peer.get(), std::string(500, 'x').data(), 500, 0) == 500);
    const std::vector<Cqe> all = uring.take_all(3);
    REQUIRE(all.size() == 3);
    CHECK(all[0].res == 64);
    CHECK(all[1].res == 64);
    CHECK(all[2].res == -ENOBUFS);
    CHECK_FALSE(all[2].more());
    buffers.give(0);
    CHECK(uring.take_all().empty());  // buffers coming back do not wake it
}

TEST_CASE("an empty buffer ring and an idle socket: ENOBUFS at once, unless polled first") {
    Uring uring;
    NEED_URING(uring);
    Buffers buffers(uring, 1);
    const Pair busy;
    prep_receive(uring.sqe(1), busy.ours.get());
    REQUIRE(::send(busy.peer.get(), std::string(100, 'x').data(), 100, 0) == 100);
    CHECK(uring.take_all(2).back().res == -ENOBUFS);  // the only buffer is gone

    const Pair idle;
    prep_receive(uring.sqe(2), idle.ours.get(), false);
    const std::vector<Cqe> at_once = uring.take_all(1);
    REQUIRE(at_once.size() == 1);
    CHECK(at_once[0].res == -ENOBUFS);  // arming it again would be a busy loop
    prep_receive(uring.sqe(3), idle.ours.get(), true);
    CHECK(uring.take_all().empty());
    buffers.give(0);
    REQUIRE(::send(idle.peer.get(), "x", 1, 0) == 1);
    CHECK(uring.take_all(1).at(0).res == 1);
}

TEST_CASE("K3: completions beyond the queue are kept, in order, and its overflow count stays 0") {
    Uring uring(4);
    NEED_URING(uring);
    for (std::uint64_t i = 0; i < 20; i++) {
        io_uring_prep_nop(uring.sqe(i));
        uring.submit();
    }
    const std::vector<Cqe> all = uring.take_all(20);
    REQUIRE(all.size() == 20);
    for (std::uint64_t i = 0; i < 20; i++)
        CHECK(all[i].user_data == i);
    CHECK(*uring.ring.cq.koverflow == 0);
}

TEST_CASE("incremental buffers: small receives lie one behind the other in one buffer") {
    Uring uring;
    NEED_URING(uring);
    Buffers buffers(uring, 2, pbuf_ring_inc);
    if (buffers.error() != 0) SKIP_FACT("no incremental buffers (Linux 6.12)");
    const Pair pair;
    prep_receive(uring.sqe(1), pair.ours.get());
    uring.submit();
    std::uint32_t used = 0;
    for (const std::string text : {"one", "three", "seventeen"}) {
        REQUIRE(::send(pair.peer.get(), text.data(), text.size(), 0) > 0);
        const std::vector<Cqe> all = uring.take();
        REQUIRE(all.size() == 1);
        CHECK((all[0].flags >> IORING_CQE_BUFFER_SHIFT) == 0);
        CHECK((all[0].flags & cqe_buf_more) != 0);
        CHECK(std::string(buffers.data(0) + used, text.size()) == text);
        used += static_cast<std::uint32_t>(all[0].res);
    }
    // A receive that is larger than the rest of the buffer fills it and goes on in the next.
    REQUIRE(::send(pair.peer.get(), std::string(64, 'x').data(), 64, 0) == 64);
    const std::vector<Cqe> all = uring.take_all(2);
    REQUIRE(all.size() == 2);
    CHECK(all[0].res == static_cast<int>(64 - used));
    CHECK((all[0].flags & cqe_buf_more) == 0);
    CHECK((all[1].flags >> IORING_CQE_BUFFER_SHIFT) == 1);
    CHECK((all[1].flags & cqe_buf_more) != 0);
}

TEST_CASE(
    "a peer's reset is one completion ECONNRESET, a FIN is one with 0; both end the receive") {
    Uring uring;
    NEED_URING(uring);
    Buffers buffers(uring, 2);
    Pair reset;
    Pair fin;
    prep_receive(uring.sqe(1), reset.ours.get());
    prep_receive(uring.sqe(2), fin.ours.get());
    uring.submit();
    reset.reset_by_peer();
    std::vector<Cqe> all = uring.take_all(1);
    REQUIRE(all.size() == 1);
    CHECK(all[0].res == -ECONNRESET);
    CHECK_FALSE(all[0].more());
    fin.peer.reset(-1);
    all = uring.take_all(1);
    REQUIRE(all.size() == 1);
    CHECK(all[0].res == 0);
    CHECK_FALSE(all[0].more());
}

TEST_CASE("a non-blocking descriptor arms a multishot receive like any other") {
    Uring uring;
    NEED_URING(uring);
    Buffers buffers(uring, 2);
    const Pair pair;
    REQUIRE(::fcntl(pair.ours.get(), F_SETFL, O_NONBLOCK) == 0);
    prep_receive(uring.sqe(1), pair.ours.get());
    CHECK(uring.take_all().empty());
    REQUIRE(::send(pair.peer.get(), "x", 1, 0) == 1);
    const std::vector<Cqe> all = uring.take_all(1);
    REQUIRE(all.size() == 1);
    CHECK(all[0].more());
}

TEST_CASE("every write to an eventfd is an edge, though nobody reads the counter") {
    const Fd event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event found{.events = EPOLLIN | EPOLLET, .data = {}};
    REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &found) == 0);
    const std::uint64_t one = 1;
    for (int i = 0; i < 5; i++) {
        REQUIRE(::write(event.get(), &one, sizeof(one)) == sizeof(one));
        CHECK(::epoll_wait(epoll.get(), &found, 1, patience_ms) == 1);
        CHECK(::epoll_wait(epoll.get(), &found, 1, 0) == 0);
    }
    Uring uring;
    NEED_URING(uring);
    io_uring_prep_poll_multishot(uring.sqe(1), event.get(), POLLIN);
    CHECK(uring.take_all(1).size() == 1);  // it was readable when armed
    for (int i = 0; i < 5; i++) {
        REQUIRE(::write(event.get(), &one, sizeof(one)) == sizeof(one));
        const std::vector<Cqe> all = uring.take_all(1);
        REQUIRE(all.size() == 1);
        CHECK(all[0].more());
    }
}

}  // namespace ringcast::io::facts
