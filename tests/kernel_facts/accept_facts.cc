// Accepting: what happens at the descriptor limit, and when queues are full.

#include <sys/epoll.h>

#include "tests/kernel_facts/facts.h"
#include "tests/support/descriptors.h"

namespace ringcast::io::facts {

using ringcast::test::leave_descriptors;

TEST_CASE("K1: a multishot accept dies at EMFILE, and does not come back when descriptors do") {
    NEED_URING(Uring());
    CHECK(in_child([] {
        Uring uring;
        const Fd listening = listener();
        std::vector<Fd> peers;
        for (int i = 0; i < 6; i++)
            peers.push_back(connect_to(listening.get()));
        leave_descriptors(2);
        io_uring_prep_multishot_accept(
            uring.sqe(1), listening.get(), nullptr, nullptr, SOCK_CLOEXEC);
        std::vector<Cqe> all = uring.take_all(3);
        REQUIRE(all.size() == 3);
        REQUIRE(all[0].more());
        REQUIRE(all[2].res == -EMFILE);
        REQUIRE_FALSE(all[2].more());
        ::close(all[0].res);
        ::close(all[1].res);
        REQUIRE(uring.take_all().empty());  // four are waiting, and nobody accepts them
        return true;
    }));
}

TEST_CASE("K1: a level-triggered listener spins at EMFILE") {
    CHECK(in_child([] {
        const Fd listening = listener();
        const Fd peer = connect_to(listening.get());
        const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
        epoll_event event{.events = EPOLLIN, .data = {}};
        REQUIRE(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listening.get(), &event) == 0);
        leave_descriptors(0);
        for (int turn = 0; turn < 100; turn++) {
            REQUIRE(::epoll_wait(epoll.get(), &event, 1, patience_ms) == 1);
            REQUIRE(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC) == -1);
            REQUIRE(errno == EMFILE);
        }
        return true;
    }));
}

TEST_CASE("K3: under completion overflow nothing is lost, but a multishot accept ends") {
    Uring uring(4);
    NEED_URING(uring);
    const Fd listening = listener();
    std::vector<Fd> peers;
    for (int i = 0; i < 20; i++)
        peers.push_back(connect_to(listening.get()));
    int accepted = 0;
    int ended = 0;
    io_uring_prep_multishot_accept(uring.sqe(1), listening.get(), nullptr, nullptr, SOCK_CLOEXEC);
    for (int turn = 0; turn < 100 && accepted < 20; turn++) {
        for (const Cqe& cqe : uring.take(100)) {
            if (cqe.res >= 0) {
                accepted++;
                ::close(cqe.res);
            }
            if (!cqe.more()) {
                ended++;
                io_uring_prep_multishot_accept(
                    uring.sqe(1), listening.get(), nullptr, nullptr, SOCK_CLOEXEC);
            }
        }
    }
    CHECK(accepted == 20);
    CHECK(ended > 0);
    CHECK(*uring.ring.cq.koverflow == 0);
}

TEST_CASE("a full table of direct descriptors hangs up on the client, and ends the accept") {
    Uring uring;
    NEED_URING(uring);
    REQUIRE(io_uring_register_files_sparse(&uring.ring, 2) == 0);
    const Fd listening = listener();
    std::vector<Fd> peers;
    for (int i = 0; i < 3; i++)
        peers.push_back(connect_to(listening.get()));
    io_uring_prep_multishot_accept_direct(uring.sqe(1), listening.get(), nullptr, nullptr, 0);
    const std::vector<Cqe> all = uring.take_all(3);
    REQUIRE(all.size() == 3);
    CHECK(all[2].res == -ENFILE);
    CHECK_FALSE(all[2].more());
    CHECK(end_seen(peers[2].get(), patience_ms) == 1);
    CHECK(end_seen(peers[0].get(), 0) == 0);
}

TEST_CASE("liburing 2.3: a one-shot direct accept needs its file index set by hand") {
    Uring uring;
    NEED_URING(uring);
    REQUIRE(io_uring_register_files_sparse(&uring.ring, 8) == 0);
    const Fd listening = listener();
    const Fd first = connect_to(listening.get());
    const Fd second = connect_to(listening.get());
    const unsigned any = IORING_FILE_INDEX_ALLOC;
    io_uring_sqe* sqe = uring.sqe(1);
    io_uring_prep_accept_direct(sqe, listening.get(), nullptr, nullptr, 0, any);
    if (sqe->file_index == IORING_FILE_INDEX_ALLOC) MESSAGE("this liburing has it right");
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    const std::vector<Cqe> all = uring.take();
    REQUIRE(all.size() == 1);
    CHECK(all[0].res == 0);  // the first place of the table, not a descriptor of the process
}

TEST_CASE("K9: beyond the backlog connections are not refused, they stay in SYN_SENT") {
    const Fd listening = listener(4);
    std::vector<Fd> peers;
    for (int i = 0; i < 20; i++)
        peers.push_back(connect_to(listening.get(), SOCK_NONBLOCK));
    std::vector<pollfd> waiting;
    const auto all_but_waiting = [&] {
        waiting.clear();
        for (const Fd& peer : peers) {
            if (tcp_info_of(peer.get()).tcpi_state == TCP_ESTABLISHED) continue;
            waiting.push_back({.fd = peer.get(), .events = POLLOUT, .revents = 0});
        }
        return peers.size() - waiting.size();
    };
    CHECK(wait_until([&] { return all_but_waiting() == 5; }));  // backlog + 1
    CHECK(::poll(waiting.data(), waiting.size(), 50) == 0);     // neither let in nor refused
    for (const pollfd& peer : waiting)
        CHECK(tcp_info_of(peer.fd).tcpi_state == TCP_SYN_SENT);
}

}  // namespace ringcast::io::facts
