// Closing and cancelling: what keeps a connection open, and who may submit.

#include <thread>

#include <sys/resource.h>

#include "tests/kernel_facts/facts.h"

namespace ringcast::io::facts {

TEST_CASE("closing under an armed receive sends no FIN, and goes on delivering") {
    Uring uring;
    NEED_URING(uring);
    Buffers buffers(uring, 4);
    Pair pair;
    prep_receive(uring.sqe(1), pair.ours.get());
    uring.submit();
    const int number = pair.ours.release();
    io_uring_prep_close(uring.sqe(2), number);
    REQUIRE(uring.take().size() == 1);
    CHECK(end_seen(pair.peer.get(), 30) == 0);
    REQUIRE(::send(pair.peer.get(), "late", 4, 0) == 4);
    std::vector<Cqe> all = uring.take_all(1);
    REQUIRE(all.size() == 1);
    CHECK(all[0].res == 4);  // of a connection that was closed
    io_uring_prep_cancel64(uring.sqe(3), 1, 0);
    all = uring.take_all(2);
    CHECK(all.size() == 2);
    CHECK(end_seen(pair.peer.get(), patience_ms) == 1);
}

TEST_CASE("cancel by user_data: the receive's last completion is ECANCELED, then close sends FIN") {
    Uring uring;
    NEED_URING(uring);
    Buffers buffers(uring, 4);
    Pair pair;
    prep_receive(uring.sqe(1), pair.ours.get());
    uring.submit();
    io_uring_sqe* sqe = uring.sqe(2);
    io_uring_prep_cancel64(sqe, 1, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    std::vector<Cqe> all = uring.take_all(1);
    REQUIRE(all.size() == 1);  // the cancellation itself is silent
    CHECK(all[0].user_data == 1);
    CHECK(all[0].res == -ECANCELED);
    CHECK_FALSE(all[0].more());
    io_uring_prep_close(uring.sqe(3), pair.ours.release());
    REQUIRE(uring.take().at(0).res == 0);
    CHECK(end_seen(pair.peer.get(), patience_ms) == 1);
    // What is gone already is ENOENT, told although success is not.
    sqe = uring.sqe(4);
    io_uring_prep_cancel64(sqe, 1, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    CHECK(uring.take().at(0).res == -ENOENT);
}

TEST_CASE("closing with unread bytes is a reset, not a FIN") {
    Pair pair;
    REQUIRE(::send(pair.peer.get(), "unread", 6, 0) == 6);
    REQUIRE(events_within(pair.ours.get(), POLLIN, patience_ms) == POLLIN);
    pair.ours.reset(-1);
    CHECK(end_seen(pair.peer.get(), patience_ms) == -ECONNRESET);
}

TEST_CASE("a ring takes submissions from the thread that made it, and from no other") {
    Uring uring;
    NEED_URING(uring);
    io_uring_prep_nop(uring.sqe(1));
    int result = 0;
    std::thread([&] { result = io_uring_submit(&uring.ring); }).join();
    CHECK(result == -EEXIST);
    CHECK(uring.take().size() == 1);
}

TEST_CASE("direct descriptors are counted when the table is made, not when connections come") {
    NEED_URING(Uring());
    CHECK(in_child([] {
        Uring uring;
        rlimit limit{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
        limit.rlim_cur = 256;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
        REQUIRE(io_uring_register_files_sparse(&uring.ring, 200) == 0);
        const Fd listening = listener();
        std::vector<Fd> peers;
        for (int i = 0; i < 20; i++)
            peers.push_back(connect_to(listening.get()));
        limit.rlim_cur = 10;  // below what is open already
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
        io_uring_prep_multishot_accept_direct(uring.sqe(1), listening.get(), nullptr, nullptr, 0);
        const std::vector<Cqe> all = uring.take_all(20);
        REQUIRE(all.size() == 20);
        for (const Cqe& cqe : all)
            REQUIRE(cqe.res >= 0);
        return true;
    }));
}

}  // namespace ringcast::io::facts
