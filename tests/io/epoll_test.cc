#include "io/epoll.h"

#include <doctest/doctest.h>

#include "tests/io/harness.h"
#include "tests/io/inject.h"

namespace ringcast::io::test {

constexpr Variant epoll_only{"epoll", Backend::epoll, false, false};

TEST_CASE("epoll: whoever sends without end leaves the others their turn") {
    Server server(epoll_only, {.receive_buffer_size = 1024});
    ConnIndex loud_conn = no_conn;
    auto loud = server.accept_one(loud_conn);
    ConnIndex quiet_conn = no_conn;
    auto quiet = server.accept_one(quiet_conn);
    REQUIRE(loud->send(stream_bytes(1, 0, 500'000)) > 400'000);
    quiet->send("a word");
    // One turn reads a few buffers of the loud one, no matter how much there is.
    server.handler.run_until([&] { return !server.handler.seen[quiet_conn].received.empty(); });
    CHECK(server.handler.seen[loud_conn].received.size() < 20'000);
    // The edge has passed, and still everything is read.
    loud->finish();
    CHECK(server.handler.run_until([&] { return server.handler.seen[loud_conn].ended == 0; }));
    CHECK(server.handler.seen[loud_conn].received.size() > 400'000);
}

TEST_CASE("epoll: bytes and FIN that come while nobody looks are one edge, and both are told") {
    Server server(epoll_only);
    ConnIndex conn = no_conn;
    auto peer = server.accept_one(conn);
    peer->send("all");
    peer->finish();
    CHECK(server.handler.run_until([&] { return server.handler.seen[conn].ended == 0; }));
    CHECK(server.handler.seen[conn].received == "all");
    CHECK(std::string_view(server.reactor->name()) == "epoll");
}

TEST_CASE("epoll: without epoll_pwait2 (Linux 5.11) it keeps deadlines too, to a millisecond") {
    CHECK(in_child([] {
        if (!forbid_call(SYS_epoll_pwait2, ENOSYS)) return skip("an old kernel: no seccomp");
        Server server(epoll_only);
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);
        server.reactor->wait(0);
        const Nanos end = server.reactor->now() + 20 * nanos_per_ms + 1;
        int turns = 0;
        for (; server.reactor->now() < end && turns < 1000; turns++)
            server.reactor->wait(end);
        REQUIRE(server.reactor->now() >= end);
        REQUIRE(turns < 5);  // a rest of less than a millisecond is slept for, not turned away
        peer->send("hello");
        return server.handler.run_until(
            [&] { return server.handler.seen[conn].received == "hello"; });
    }));
}

TEST_CASE("epoll: a connection that ends before it is accepted costs the next one nothing") {
    CHECK(in_child([] {
        Injector accept(SYS_accept4);
        if (!accept.usable()) return skip("a failing accept: no seccomp listener");
        Server server(epoll_only);
        for (const int error : {ECONNABORTED, EINTR}) {
            accept.fail(1, error);
            static_cast<void>(server.accept_one());
            REQUIRE(accept.left() == 0);
        }
        return true;
    }));
}

TEST_CASE("epoll: a socket that the kernel will not watch is refused, and the next is well") {
    CHECK(in_child([] {
        Injector watch(SYS_epoll_ctl);
        if (!watch.usable()) return skip("a failing epoll_ctl: no seccomp listener");
        Server server(epoll_only);
        watch.fail(1, ENOSPC);  // fs.epoll.max_user_watches
        auto lost = server.peer();
        REQUIRE(server.handler.run_until([&] { return lost->drain(); }));
        REQUIRE(server.handler.accepted.empty());
        watch.fail(1, ENOSPC);
        REQUIRE(server.reactor->connect(server.address).error().os == ENOSPC);
        auto listener = listen_tcp(parse_address("127.0.0.1:0").value(), {});
        REQUIRE(listener.ok());
        watch.fail(1, ENOSPC);
        REQUIRE(server.reactor->listen(std::move(listener).value()).error().os == ENOSPC);
        REQUIRE(server.reactor->live_count() == 0);
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);
        peer->send("hello");
        return server.handler.run_until(
            [&] { return server.handler.seen[conn].received == "hello"; });
    }));
}

}  // namespace ringcast::io::test
