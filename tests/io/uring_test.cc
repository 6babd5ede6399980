#include "io/uring.h"

#include <algorithm>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "tests/io/harness.h"
#include "tests/support/wait.h"

namespace ringcast::io::test {

namespace {

constexpr Variant whole_buffers{"uring, whole buffers", Backend::uring, false, false};
constexpr Variant direct_only{"uring direct", Backend::uring, true, true};

[[nodiscard]] bool have_uring() {
    return variants().size() > 1;
}

// Connects `count` peers, lets each be answered, and says whether all were.
[[nodiscard]] bool talk(const Address& server, std::size_t count) {
    std::vector<std::unique_ptr<Peer>> peers;
    for (std::size_t i = 0; i < count; i++) {
        peers.push_back(std::make_unique<Peer>(server));
        if (peers.back()->connect_error() != 0) return false;
        if (peers.back()->send(stream_bytes(i, 0, 100)) != 100) return false;
    }
    return ringcast::test::wait_until([&] {
        return std::all_of(peers.begin(), peers.end(), [](const auto& peer) {
            return peer->received.size() == 100 || (!peer->drain() && peer->received.size() == 100);
        });
    });
}

}  // namespace

TEST_CASE("uring: direct descriptors go past the process's descriptor limit") {
    if (!have_uring()) return;
    CHECK(in_child([] {
        constexpr std::size_t count = 300;
        Server server(direct_only, {.connections_max = 400});
        const pid_t client = ::fork();
        if (client == 0) ::_exit(talk(server.address, count) ? 0 : 1);
        const rlimit tight{.rlim_cur = 32, .rlim_max = 20'000};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
        server.handler.received_hook = [&](ConnIndex conn) {
            std::string& owed = server.handler.seen[conn].received;
            server.handler.send(conn, owed);
            owed.clear();
        };
        int status = -1;
        REQUIRE(server.handler.run_until([&] { return ::waitpid(client, &status, WNOHANG) != 0; }));
        REQUIRE(WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) == 0);
        REQUIRE(server.handler.accepted.size() == count);
        return true;
    }));
}

TEST_CASE("uring: with direct descriptors nobody is hung up on, however small the table") {
    if (!have_uring()) return;
    CHECK(in_child([] {
        constexpr std::uint32_t limit = 200;
        constexpr std::uint32_t most = limit - direct_spare_min;
        constexpr std::size_t count = 300;
        rlimit files{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
        const rlimit roomy = files;
        files.rlim_cur = limit;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
        Server server(direct_only, {.connections_max = most});
        std::string why;
        ReactorOptions larger{.connections_max = most + 1, .direct_descriptors = true};
        REQUIRE(make_reactor(Backend::uring, larger, why).error().os == EMFILE);
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &roomy) == 0);

        std::vector<std::unique_ptr<Peer>> peers;
        for (std::size_t i = 0; i < count; i++)
            peers.push_back(server.peer());
        REQUIRE(server.handler.run_until([&] { return server.handler.accepted.size() == most; }));
        const Nanos end = server.reactor->now() + 300 * nanos_per_ms;
        int turns = 0;
        for (; server.reactor->now() < end && turns < 1000; turns++)
            server.reactor->wait(end);
        REQUIRE(turns < 30);
        REQUIRE(server.handler.accepted.size() == most);
        for (const auto& peer : peers)
            REQUIRE_FALSE(peer->drain());
        const std::vector<ConnIndex> first = server.handler.accepted;
        server.handler.accepted_hook = [&](ConnIndex conn) { server.handler.close(conn); };
        for (const ConnIndex conn : first)
            server.handler.close(conn);
        REQUIRE(server.handler.run_until([&] { return server.handler.closed.size() == count; }));
        return true;
    }));
}

TEST_CASE("uring: with direct descriptors there are so many listeners and no more") {
    if (!have_uring()) return;
    auto reactor = make(direct_only, {.connections_max = 64});
    Recorder handler(*reactor);
    std::vector<Address> addresses;
    for (std::uint32_t i = 0; i < direct_listeners_max; i++) {
        auto fd = listen_tcp(parse_address("127.0.0.1:0").value(), {});
        REQUIRE(fd.ok());
        addresses.push_back(local_address(fd.value().get()).value());
        REQUIRE(reactor->listen(std::move(fd).value()).ok());
    }
    auto fd = listen_tcp(parse_address("127.0.0.1:0").value(), {});
    REQUIRE(fd.ok());
    CHECK(reactor->listen(std::move(fd).value()).error().os == EMFILE);
    std::vector<std::unique_ptr<Peer>> peers;
    for (const Address& address : addresses)
        peers.push_back(std::make_unique<Peer>(address));
    CHECK(handler.run_until([&] { return handler.accepted.size() == direct_listeners_max; }));
    reactor->stop_listening();
    handler.run_for(5 * nanos_per_ms);
    for (const Address& address : addresses)
        CHECK(Peer(address).connect_error() == ECONNREFUSED);
}

TEST_CASE("uring: sends that report themselves find their results behind a full queue (K3)") {
    if (!have_uring()) return;
    Probe probe = probe_uring();
    probe.quiet_sends = false;  // as on a kernel where a short send would be quiet too
    const ReactorOptions options{.connections_max = 256,
                                 .receive_buffer_size = 1,
                                 .receive_buffer_count = 32'768,
                                 .completions_max = 512};
    auto made = make_uring(options, probe);
    REQUIRE(made.ok());
    Reactor& reactor = *made.value();
    Recorder handler(reactor);
    auto listener = listen_tcp(parse_address("127.0.0.1:0").value(), {});
    REQUIRE(listener.ok());
    const Address address = local_address(listener.value().get()).value();
    REQUIRE(reactor.listen(std::move(listener).value()).ok());
    constexpr std::size_t count = 2 * send_batch_max;
    std::vector<std::unique_ptr<Peer>> peers;
    for (std::size_t i = 0; i < count; i++)
        peers.push_back(std::make_unique<Peer>(address));
    REQUIRE(handler.run_until([&] { return handler.accepted.size() == count; }));
    for (const auto& peer : peers)
        REQUIRE(peer->send(stream_bytes(0, 0, 50)) == 50);
    // From the first byte on, with thousands of completions waiting.
    std::size_t batches = 0;
    handler.received_hook = [&](ConnIndex) {
        if (handler.received_count % 500 != 1) return;
        std::vector<Send> batch(send_batch_max);
        for (std::size_t i = 0; i < batch.size(); i++)
            batch[i] = {.conn = handler.accepted[i], .result = -1, .bytes = as_bytes("answer")};
        reactor.send(batch);
        batches++;
        for (const Send& send : batch)
            CHECK(send.result == 6);
    };
    CHECK(handler.run_until([&] { return handler.received_count == count * 50; }));
    CHECK(batches == (count * 50 + 499) / 500);
    for (std::size_t i = 0; i < count; i++) {
        peers[i]->drain();
        CHECK(peers[i]->received.size() == 6 * batches * (i < send_batch_max ? 1 : 0));
    }
}

TEST_CASE("uring: more completions at once than the queue holds lose nothing (K3)") {
    if (!have_uring()) return;
    // One byte to a buffer makes far more completions than the smallest queue holds. Sends in
    // between must find their results all the same.
    const ReactorOptions options{.connections_max = 1024,
                                 .receive_buffer_size = 1,
                                 .receive_buffer_count = 32'768,
                                 .completions_max = 512};
    Server server(whole_buffers, options);
    constexpr std::size_t count = 700;
    constexpr std::size_t size = 100;
    std::vector<std::unique_ptr<Peer>> peers;
    for (std::size_t i = 0; i < count; i++)
        peers.push_back(server.accept_one());
    for (std::size_t i = 0; i < count; i++) {
        REQUIRE(peers[i]->send(stream_bytes(i, 0, size)) == long{size});
    }
    std::size_t sent = 0;
    server.handler.received_hook = [&](ConnIndex conn) {
        if (server.handler.received_count % 100 != 0) return;
        sent++;
        CHECK(server.handler.send(conn, "answer") == 6);
    };
    CHECK(server.handler.run_until([&] { return server.handler.received_count == count * size; }));
    std::size_t answered = 0;
    for (std::size_t i = 0; i < count; i++) {
        CHECK(server.handler.seen[server.handler.accepted[i]].received == stream_bytes(i, 0, size));
        peers[i]->drain();
        answered += peers[i]->received.size();
    }
    CHECK(sent > 0);
    CHECK(answered == 6 * sent);
}

}  // namespace ringcast::io::test
