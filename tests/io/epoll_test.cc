#include "io/epoll.h"

#include <doctest/doctest.h>

#include "tests/io/harness.h"

namespace ringcast::io::test {

constexpr Variant epoll_only{"epoll", Backend::epoll, false, false};

TEST_CASE("epoll: whoever sends without end leaves the others their turn") {
    Server server(epoll_only, {.receive_buffer_size = 1024});
    auto [loud, loud_conn] = server.accept_one();
    auto [quiet, quiet_conn] = server.accept_one();
    REQUIRE(loud->send(stream_bytes(1, 0, 500'000)) > 400'000);
    quiet->send("a word");
    // One turn reads a few buffers of the loud one, no matter how much there is.
    server.handler.run_until(
        [&, c = quiet_conn] { return !server.handler.seen[c].received.empty(); });
    CHECK(server.handler.seen[loud_conn].received.size() < 20'000);
    // The edge has passed, and still everything is read.
    loud->finish();
    CHECK(
        server.handler.run_until([&, c = loud_conn] { return server.handler.seen[c].ended == 0; }));
    CHECK(server.handler.seen[loud_conn].received.size() > 400'000);
}

TEST_CASE("epoll: bytes and FIN that come while nobody looks are one edge, and both are told") {
    Server server(epoll_only);
    auto [peer, conn] = server.accept_one();
    peer->send("all");
    peer->finish();
    CHECK(server.handler.run_until([&, c = conn] { return server.handler.seen[c].ended == 0; }));
    CHECK(server.handler.seen[conn].received == "all");
    CHECK(std::string_view(server.reactor->name()) == "epoll");
}

}  // namespace ringcast::io::test
