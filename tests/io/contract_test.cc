// The reactor contract, kept by every back end that this kernel has. What is checked for every
// single callback (index live, nothing after close(), on_closed() never from inside close()) is in
// the Recorder.

#include <algorithm>
#include <thread>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/io/harness.h"
#include "tests/support/descriptors.h"
#include "tests/support/wait.h"

namespace ringcast::io::test {

namespace {

using ringcast::test::open_descriptors;

// Echoes what arrives, keeping what the socket does not take.
struct Echo {
    explicit Echo(Server& server) : server_(server) {
        server.handler.received_hook = [this](ConnIndex conn) { pump(conn); };
        server.handler.writable_hook = [this](ConnIndex conn) { pump(conn); };
    }
    void pump(ConnIndex conn) {
        std::string& owed = server_.handler.seen[conn].received;
        while (!owed.empty()) {
            const std::int32_t sent = server_.handler.send(conn, owed);
            REQUIRE(sent >= 0);
            if (sent == 0) return server_.reactor->want_writable(conn);
            owed.erase(0, static_cast<std::size_t>(sent));
        }
    }
    Server& server_;
};

}  // namespace

TEST_CASE("reactor: many connections are echoed byte for byte, whatever the sizes") {
    for (const Variant& variant : variants()) {
        for (const std::uint32_t buffer_size : {16U, 4096U, 65536U}) {
            CAPTURE(variant.name);
            CAPTURE(buffer_size);
            Server server(variant, {.receive_buffer_size = buffer_size});
            Echo echo(server);
            Random random(buffer_size);
            constexpr std::size_t count = 64;
            const std::size_t total = buffer_size == 16 ? 2'000 : 60'000;
            std::vector<std::unique_ptr<Peer>> peers;
            std::vector<std::size_t> sent(count, 0);
            for (std::size_t i = 0; i < count; i++)
                peers.push_back(server.peer());
            const auto turn = [&] {
                bool done = true;
                for (std::size_t i = 0; i < count; i++) {
                    const std::size_t size =
                        std::min<std::size_t>(random.below(5000), total - sent[i]);
                    const long took = peers[i]->send(stream_bytes(i, sent[i], size));
                    if (took > 0) sent[i] += static_cast<std::size_t>(took);
                    peers[i]->receive(1 + random.below(7000));
                    done = done && peers[i]->received.size() == total;
                }
                return done;
            };
            REQUIRE(server.handler.run_until(turn));
            for (std::size_t i = 0; i < count; i++) {
                CHECK(peers[i]->received == stream_bytes(i, 0, total));
            }
            CHECK(server.reactor->live_count() == count);
        }
    }
}

TEST_CASE("reactor: with two buffers and 32 talkers nobody is forgotten (K2)") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        const ReactorOptions options{.receive_buffer_size = 256, .receive_buffer_count = 2};
        Server server(variant, options);
        constexpr std::size_t count = 32;
        constexpr std::size_t total = 20'000;
        std::vector<std::unique_ptr<Peer>> peers;
        for (std::size_t i = 0; i < count; i++) {
            peers.push_back(server.accept_one());
        }
        for (std::size_t i = 0; i < count; i++) {
            REQUIRE(peers[i]->send(stream_bytes(i, 0, total)) == long{total});
        }
        REQUIRE(server.handler.run_until([&] {
            return std::all_of(server.handler.seen.begin(), server.handler.seen.end(), [](auto& s) {
                return s.second.received.size() == total;
            });
        }));
        for (std::size_t i = 0; i < count; i++) {
            CHECK(server.handler.seen[server.handler.accepted[i]].received ==
                  stream_bytes(i, 0, total));
            // And they can still talk.
            peers[i]->send("!");
        }
        CHECK(server.handler.run_until([&] {
            return std::all_of(server.handler.seen.begin(), server.handler.seen.end(), [](auto& s) {
                return s.second.received.size() == total + 1;
            });
        }));
    }
}

TEST_CASE("reactor: a full socket takes part, then nothing, then says when it takes more") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);
        const std::string all = stream_bytes(7, 0, 8 << 20);
        std::size_t sent = 0;
        bool was_short = false;
        bool was_full = false;
        const auto pump = [&](ConnIndex) {
            while (sent < all.size()) {
                const std::size_t want = all.size() - sent;
                const std::int32_t took = server.handler.send(conn, {all.data() + sent, want});
                REQUIRE(took >= 0);
                was_short = was_short || (took > 0 && static_cast<std::size_t>(took) < want);
                if (took == 0) {
                    was_full = true;
                    return server.reactor->want_writable(conn);
                }
                sent += static_cast<std::size_t>(took);
            }
        };
        server.handler.writable_hook = pump;
        pump(conn);
        server.handler.run_for(20 * nanos_per_ms);
        CHECK(was_short);
        CHECK(was_full);
        CHECK(sent < all.size());
        CHECK(server.handler.run_until([&] {
            peer->drain();
            return peer->received.size() == all.size();
        }));
        CHECK(peer->received == all);
        CHECK(server.handler.seen[conn].writable > 0);
        // Once asked, once answered.
        const int answered = server.handler.seen[conn].writable;
        server.handler.run_for(5 * nanos_per_ms);
        CHECK(server.handler.seen[conn].writable == answered);
    }
}

TEST_CASE("reactor: a batch reports every connection by itself") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        std::vector<std::unique_ptr<Peer>> peers;
        for (std::size_t i = 0; i < send_batch_max; i++)
            peers.push_back(server.accept_one());
        // Every third is full, every seventh is gone.
        const std::string filler(4 << 20, 'f');
        for (std::size_t i = 0; i < send_batch_max; i++) {
            const ConnIndex conn = server.handler.accepted[i];
            if (i % 7 == 6) {
                peers[i]->reset();
            } else if (i % 3 == 2) {
                while (server.handler.send(conn, filler) > 0) {
                }
            }
        }
        CHECK(server.handler.run_until(
            [&] { return server.handler.seen[server.handler.accepted[6]].ended == ECONNRESET; }));
        server.handler.run_for(5 * nanos_per_ms);
        std::vector<Send> batch(send_batch_max);
        std::vector<std::string> texts(send_batch_max);
        for (std::size_t i = 0; i < send_batch_max; i++) {
            texts[i] = stream_bytes(i, 0, 100 + i);
            batch[i] = {.conn = server.handler.accepted[i], .bytes = as_bytes(texts[i])};
        }
        server.reactor->send(batch);
        for (std::size_t i = 0; i < send_batch_max; i++) {
            CAPTURE(i);
            if (i % 7 == 6) {
                CHECK(batch[i].result < 0);
            } else if (i % 3 == 2) {
                CHECK(batch[i].result == 0);
            } else {
                CHECK(batch[i].result == static_cast<std::int32_t>(texts[i].size()));
                peers[i]->drain();
                CHECK(peers[i]->received == texts[i]);
            }
        }
    }
}

TEST_CASE("reactor: a peer's FIN, a peer's reset, and sending after both") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        ConnIndex half_conn = no_conn;
        auto half = server.accept_one(half_conn);
        half->send("last words");
        half->finish();
        REQUIRE(
            server.handler.run_until([&] { return server.handler.seen[half_conn].ended == 0; }));
        CHECK(server.handler.seen[half_conn].received == "last words");
        CHECK(server.handler.send(half_conn, "heard") == 5);
        server.reactor->shutdown_send(half_conn);
        CHECK(server.handler.run_until([&] { return half->drain(); }));
        CHECK(half->received == "heard");
        server.handler.close(half_conn);

        ConnIndex gone_conn = no_conn;
        auto gone = server.accept_one(gone_conn);
        gone->reset();
        REQUIRE(server.handler.run_until(
            [&] { return server.handler.seen[gone_conn].ended == ECONNRESET; }));
        // K4: no signal, an error every time; and whoever waits for room is told.
        CHECK(server.handler.send(gone_conn, "x") < 0);
        CHECK(server.handler.send(gone_conn, "x") == -EPIPE);
        server.reactor->want_writable(gone_conn);
        CHECK(
            server.handler.run_until([&] { return server.handler.seen[gone_conn].writable == 1; }));
        server.handler.close(gone_conn);
        CHECK(server.handler.run_until([&] { return server.handler.closed.size() == 2; }));
        CHECK(server.reactor->live_count() == 0);
    }
}

TEST_CASE("reactor: close() with a receive armed sends FIN, and nothing is delivered after it") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);
        CHECK(server.handler.send(conn, "bye") == 3);
        server.handler.close(conn);
        peer->send("too late");  // the Recorder fails if this is delivered
        CHECK(server.handler.closed.empty());
        REQUIRE(server.handler.run_until([&] { return peer->drain(); }));
        CHECK(peer->received == "bye");
        REQUIRE(server.handler.run_until([&] { return server.handler.closed.size() == 1; }));
        CHECK(server.reactor->live_count() == 0);
        // With everything armed that can be.
        ConnIndex full_conn = no_conn;
        auto full = server.accept_one(full_conn);
        while (server.handler.send(full_conn, std::string(1 << 20, 'x')) > 0) {
        }
        server.reactor->want_writable(full_conn);
        server.handler.run_for(nanos_per_ms);
        server.handler.close(full_conn);
        CHECK(server.handler.run_until([&] { return server.handler.closed.size() == 2; }));
        CHECK(server.handler.run_until([&] { return full->drain(); }));
        CHECK(server.reactor->live_count() == 0);
    }
}

TEST_CASE("reactor: pause really stops reading, resume delivers everything") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);
        peer->send("before");
        REQUIRE(server.handler.run_until(
            [&] { return server.handler.seen[conn].received.size() == 6; }));
        server.reactor->pause_recv(conn);
        server.handler.run_for(5 * nanos_per_ms);
        // The peer can fill the two sockets, and no more.
        const std::size_t total = 64 << 20;
        std::size_t sent = 0;
        int full = 0;
        while (sent < total && full < 20) {
            const long took =
                peer->send(stream_bytes(1, sent, std::min<std::size_t>(1 << 18, total - sent)));
            full = took > 0 ? 0 : full + 1;
            if (took > 0) sent += static_cast<std::size_t>(took);
            server.handler.run_for(nanos_per_ms);
        }
        CHECK(sent < total);
        CHECK(server.handler.seen[conn].received == "before");
        peer->finish();
        server.reactor->resume_recv(conn);
        REQUIRE(server.handler.run_until([&] { return server.handler.seen[conn].ended == 0; }));
        CHECK(server.handler.seen[conn].received == "before" + stream_bytes(1, 0, sent));
    }
}

TEST_CASE("reactor: pause and resume in quick turn, from callbacks too, lose nothing") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant, {.receive_buffer_size = 512});
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);
        std::size_t count = 0;
        server.handler.received_hook = [&](ConnIndex) {
            count++;
            server.reactor->pause_recv(conn);
            if (count % 3 != 0) server.reactor->resume_recv(conn);
            if (count % 5 == 0) {
                server.reactor->resume_recv(conn);
                server.reactor->pause_recv(conn);
            }
        };
        const std::size_t total = 100'000;
        std::size_t sent = 0;
        REQUIRE(server.handler.run_until([&] {
            const std::size_t size = std::min<std::size_t>(3000, total - sent);
            const long took = peer->send(stream_bytes(2, sent, size));
            if (took > 0) sent += static_cast<std::size_t>(took);
            if (count % 2 == 0) server.reactor->resume_recv(conn);
            if (count % 2 == 1) {
                count++;
                server.reactor->resume_recv(conn);
            }
            return server.handler.seen[conn].received.size() == total;
        }));
        CHECK(server.handler.seen[conn].received == stream_bytes(2, 0, total));
    }
}

TEST_CASE("reactor: at connections_max the rest waits in the backlog and is served later") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        constexpr std::uint32_t most = 8;
        Server server(variant, {.connections_max = most});
        std::vector<std::unique_ptr<Peer>> peers;
        for (std::size_t i = 0; i < 40; i++) {
            peers.push_back(server.peer());
            peers.back()->send(stream_bytes(i, 0, 10));
        }
        std::size_t served = 0;
        server.handler.accepted_hook = [&](ConnIndex conn) {
            CHECK(conn < most);
            CHECK(server.reactor->live_count() <= most);
        };
        REQUIRE(server.handler.run_until([&] { return server.handler.accepted.size() == most; }));
        server.handler.run_for(5 * nanos_per_ms);
        CHECK(server.handler.accepted.size() == most);
        // Whoever comes now is not even accepted: the only descriptors that appear are the peers'.
        const std::ptrdiff_t before = open_descriptors();
        for (std::size_t i = 40; i < 50; i++) {
            peers.push_back(server.peer());
            peers.back()->send(stream_bytes(i, 0, 10));
            server.handler.run_for(nanos_per_ms);
        }
        CHECK(open_descriptors() == before + 10);
        // No index left for ourselves either.
        const auto refused = server.reactor->connect(server.address);
        CHECK(refused.error() == Error{.code = Errc::busy});
        server.handler.received_hook = [&](ConnIndex conn) {
            CHECK(server.handler.seen[conn].received.size() == 10);
            served++;
            server.handler.close(conn);
        };
        for (auto& [conn, seen] : server.handler.seen) {
            if (!seen.live) continue;
            if (seen.received.size() == 10) {
                served++;
                server.handler.close(conn);
            }
        }
        CHECK(server.handler.run_until([&] { return served == peers.size(); }));
        CHECK(server.handler.run_until([&] { return server.reactor->live_count() == 0; }));
    }
}

TEST_CASE("reactor: connect answers with success or the error, and may be closed before") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        Recorder& handler = server.handler;
        const ConnIndex conn = handler.connect(server.address);
        REQUIRE(handler.run_until(
            [&] { return handler.seen[conn].connected >= 0 && !handler.accepted.empty(); }));
        CHECK(handler.seen[conn].connected == 0);
        const ConnIndex other = handler.accepted.back();
        CHECK(handler.send(conn, "hello") == 5);
        CHECK(handler.run_until([&] { return handler.seen[other].received == "hello"; }));
        CHECK(handler.send(other, "you too") == 7);
        CHECK(handler.run_until([&] { return handler.seen[conn].received == "you too"; }));

        // A port where nobody listens: bound, so that it stays nobody's.
        const Fd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_storage storage{};
        const socklen_t size = to_sockaddr(parse_address("127.0.0.1:0").value(), storage);
        REQUIRE(::bind(bound.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
        const ConnIndex refused = handler.connect(local_address(bound.get()).value());
        REQUIRE(handler.run_until([&] { return handler.seen[refused].connected >= 0; }));
        CHECK(handler.seen[refused].connected == ECONNREFUSED);
        // Refused at once: there is no route from loopback to the outside world.
        const ConnIndex unreachable = handler.connect(parse_address("255.255.255.255:9").value());
        CHECK(handler.seen[unreachable].connected == -1);
        REQUIRE(handler.run_until([&] { return handler.seen[unreachable].connected >= 0; }));
        CHECK(handler.seen[unreachable].connected > 0);
        const ConnIndex early = handler.connect(server.address);
        handler.close(early);
        const ConnIndex early_failed = handler.connect(parse_address("255.255.255.255:9").value());
        handler.close(early_failed);
        handler.close(refused);
        handler.close(unreachable);
        CHECK(handler.run_until([&] { return handler.closed.size() == 4; }));
    }
}

TEST_CASE("reactor: wake() ends the present wait or the next") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        server.reactor->wait(0);
        const Nanos start = server.reactor->now();
        server.reactor->wake();
        server.reactor->wait(start + 60 * nanos_per_s);
        for (int i = 0; i < 20; i++) {
            std::thread waker([&] { server.reactor->wake(); });
            server.reactor->wait(server.reactor->now() + 60 * nanos_per_s);
            waker.join();
            server.reactor->wait(0);
        }
        CHECK(server.reactor->now() - start < 20 * nanos_per_s);  // not one was missed
    }
}

TEST_CASE("reactor: wait keeps the deadline, and does not sleep for one that has passed") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        server.reactor->wait(0);
        const Nanos start = server.reactor->now();
        const Nanos wall = server.reactor->wall_now();
        Nanos now = start;
        while (now < start + 20 * nanos_per_ms) {
            server.reactor->wait(start + 20 * nanos_per_ms);
            now = server.reactor->now();
        }
        CHECK(now - start < 10 * nanos_per_s);
        CHECK(server.reactor->wall_now() - wall > 10 * nanos_per_ms);
        for (int i = 0; i < 10'000; i++)  // a sleep of the shortest kind each would be 10 s
            server.reactor->wait(now);
        CHECK(server.reactor->now() - now < 9 * nanos_per_s);
        CHECK(server.reactor->random() != server.reactor->random());
    }
}

TEST_CASE("reactor: stop_listening refuses newcomers and keeps everybody else") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);
        server.reactor->stop_listening();
        server.handler.run_for(5 * nanos_per_ms);
        const Peer late(server.address);
        CHECK(late.connect_error() == ECONNREFUSED);
        peer->send("still here");
        CHECK(server.handler.run_until(
            [&] { return server.handler.seen[conn].received == "still here"; }));
    }
}

TEST_CASE("reactor: stop_listening from a callback, with others waiting, hangs up on those") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        constexpr std::size_t most = 2;
        Server server(variant, {.connections_max = most});
        std::vector<std::unique_ptr<Peer>> peers;
        for (std::size_t i = 0; i < 20; i++)
            peers.push_back(server.peer());
        server.handler.accepted_hook = [&](ConnIndex) {
            if (server.handler.accepted.size() == most + 1) server.reactor->stop_listening();
        };
        REQUIRE(server.handler.run_until([&] { return server.handler.accepted.size() == most; }));
        server.handler.run_for(5 * nanos_per_ms);
        server.handler.close(server.handler.accepted[0]);
        REQUIRE(
            server.handler.run_until([&] { return server.handler.accepted.size() == most + 1; }));
        server.handler.run_for(5 * nanos_per_ms);
        // Two are here, one was served; all the others know that nobody will come for them.
        std::size_t gone = 0;
        CHECK(server.handler.run_until([&] {
            gone = 0;
            for (const auto& peer : peers)
                gone += std::size_t{peer->drain()};
            return gone == peers.size() - most;
        }));
        CHECK(gone == peers.size() - most);
        CHECK(server.handler.accepted.size() == most + 1);
        CHECK(server.reactor->live_count() == most);
        CHECK(Peer(server.address).connect_error() == ECONNREFUSED);
    }
}

TEST_CASE("reactor: close() with a receive, a wait for room and a shutdown under way") {
    for (const Variant& variant : variants()) {
        for (const bool submitted : {false, true}) {
            CAPTURE(variant.name);
            CAPTURE(submitted);
            Server server(variant);
            ConnIndex conn = no_conn;
            auto peer = server.accept_one(conn);
            std::size_t sent = 0;
            for (std::int32_t took = 1; took > 0; sent += static_cast<std::size_t>(took))
                took = server.handler.send(conn, std::string(1 << 20, 'x'));
            server.reactor->want_writable(conn);
            server.reactor->shutdown_send(conn);
            if (submitted) server.reactor->wait(0);
            server.handler.close(conn);
            REQUIRE(server.handler.run_until([&] { return peer->drain(); }));
            CHECK(peer->received.size() == sent);
            REQUIRE(server.handler.run_until([&] { return server.reactor->live_count() == 0; }));
            server.handler.run_for(2 * nanos_per_ms);
            CHECK(server.handler.closed == std::vector<ConnIndex>{conn});
        }
    }
}

TEST_CASE("reactor: listeners are told apart, and a peer's address can be asked for") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        auto second = listen_tcp(parse_address("[::1]:0").value(), {});
        if (!second.ok()) continue;  // a machine without IPv6
        const Address address = local_address(second.value().get()).value();
        REQUIRE(server.reactor->listen(std::move(second).value()).ok());
        const Peer peer(address);
        REQUIRE(server.handler.run_until([&] { return server.handler.accepted.size() == 1; }));
        ConnIndex first_conn = no_conn;
        auto first = server.accept_one(first_conn);
        const ConnIndex conn = server.handler.accepted[0];
        CHECK(server.handler.seen[conn].listener == 1);
        CHECK(server.handler.seen[first_conn].listener == 0);
        if (!variant.direct) {
            CHECK(server.reactor->peer(conn).value() == peer.address());
            CHECK(server.reactor->peer(first_conn).value() == first->address());
        }
    }
}

TEST_CASE("reactor: destroying it closes every connection") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        std::unique_ptr<Peer> peer;
        std::unique_ptr<Peer> closing;
        {
            Server server(variant);
            peer = server.accept_one();
            ConnIndex conn = no_conn;
            closing = server.accept_one(conn);
            server.handler.close(conn);
        }
        CHECK(ringcast::test::wait_until([&] { return peer->drain() && closing->drain(); }));
    }
}

}  // namespace ringcast::io::test
