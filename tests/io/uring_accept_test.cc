#include "io/uring_accept.h"

#include <set>

#include <doctest/doctest.h>

#include "io/uring_tag.h"
#include "tests/io/harness.h"
#include "tests/support/wait.h"

namespace ringcast::io::test {

namespace {

// An acceptor without connections behind it: whoever comes is taken, or left to wait.
struct Door {
    Door() {
        REQUIRE(ring.start(16, 64).ok());
        auto fd = listen_tcp(parse_address("127.0.0.1:0").value(), {});
        REQUIRE(fd.ok());
        address = local_address(fd.value().get()).value();
        REQUIRE(acceptor.listen(std::move(fd).value()).ok());
    }
    // Handles what completed; how many accepts were the last of their kind.
    int turn() {
        int last = 0;
        ring.submit_and_sleep(nanos_per_ms);
        for (Completion done; ring.next(done);) {
            if (op_of(done.user_data) == Op::accept && acceptor.on_completion(done, 1)) last++;
        }
        return last;
    }

    Ring ring;
    UringAcceptor acceptor{ring, false};
    Address address;
};

}  // namespace

TEST_CASE("uring_accept: those who come too early wait in order, and stop() hangs up on them") {
    if (no_uring()) return;
    Door door;
    door.acceptor.arm();
    std::vector<Peer> peers;
    for (int i = 0; i < 5; i++)
        peers.emplace_back(door.address);
    UringAcceptor::Accepted accepted;
    std::vector<Fd> taken;
    CHECK(ringcast::test::wait_until([&] {
        door.turn();
        while (taken.size() < 2 && door.acceptor.take(accepted))
            taken.emplace_back(accepted.fd);
        return taken.size() == 2;
    }));
    for (std::size_t i = 0; i < taken.size(); i++) {
        CHECK(accepted.listener == 0);
        CHECK(peer_address(taken[i].get()).value() == peers[i].address());
    }
    door.acceptor.stop();
    CHECK_FALSE(door.acceptor.take(accepted));
    CHECK(ringcast::test::wait_until([&] {
        door.turn();
        return peers[2].drain() && peers[3].drain() && peers[4].drain();
    }));
    CHECK_FALSE(peers[0].drain());
    CHECK(ringcast::test::wait_until([&] {
        door.turn();
        return Peer(door.address).connect_error() == ECONNREFUSED;
    }));
}

TEST_CASE("uring_accept: a full backlog comes in pieces") {
    if (no_uring()) return;
    Door door;
    std::vector<Peer> peers;
    for (std::size_t i = 0; i < 3 * UringAcceptor::accepts_max; i++) {
        peers.emplace_back(door.address);
        REQUIRE(peers.back().connect_error() == 0);
    }
    door.acceptor.arm();
    std::size_t taken = 0;
    CHECK(ringcast::test::wait_until([&] {
        CHECK(door.turn() <= UringAcceptor::accepts_max);
        UringAcceptor::Accepted accepted;
        for (; door.acceptor.take(accepted); taken++)
            ::close(accepted.fd);
        door.acceptor.arm();
        return taken == peers.size();
    }));
}

TEST_CASE("uring_accept: disarmed it leaves newcomers in the backlog, armed again it takes them") {
    if (no_uring()) return;
    Door door;
    door.acceptor.arm();
    door.turn();
    door.acceptor.disarm();
    door.acceptor.disarm();
    int last = 0;
    CHECK(ringcast::test::wait_until([&] {
        last += door.turn();
        return last == UringAcceptor::accepts_max;
    }));
    const Peer peer(door.address);
    REQUIRE(peer.connect_error() == 0);
    UringAcceptor::Accepted accepted;
    for (int i = 0; i < 5; i++)
        CHECK(door.turn() == 0);
    CHECK_FALSE(door.acceptor.take(accepted));
    CHECK(door.acceptor.retry_at() == never);
    door.acceptor.arm();
    CHECK(ringcast::test::wait_until([&] {
        door.turn();
        return door.acceptor.take(accepted);
    }));
    ::close(accepted.fd);
}

}  // namespace ringcast::io::test
