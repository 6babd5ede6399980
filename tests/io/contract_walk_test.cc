// The reactor contract under pressure: pages of the log in sockets, descriptors that run out, and
// random walks against a plain model.

#include <algorithm>
#include <cstring>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "base/random.h"
#include "io/memfile.h"
#include "tests/io/harness.h"
#include "tests/support/descriptors.h"

namespace ringcast::io::test {

namespace {

using ringcast::test::leave_descriptors;

// How often wait() returned in so long a time, in which nothing happens.
[[nodiscard]] int turns_of(Reactor& reactor, Nanos time) {
    const Nanos end = reactor.now() + time;
    int turns = 0;
    for (; reactor.now() < end && turns < 1'000'000; turns++)
        reactor.wait(end);
    return turns;
}

}  // namespace

TEST_CASE("reactor: slices of the log file arrive as they were, also after a punch") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        auto made = MemFile::create("log", 4 << 20);
        REQUIRE(made.ok());
        MemFile& file = made.value();
        const std::string old = stream_bytes(1, 0, file.size());
        std::memcpy(file.base(), old.data(), old.size());
        Server server(variant, {.log_file = file.fd(), .sendfile_min = 4096});
        ConnIndex conn = no_conn;
        auto peer = server.accept_one(conn);

        // A small slice and one that is not in the file are copied, whatever else is in the batch.
        Send small{.conn = conn, .bytes = Bytes(file.base() + 100, 50), .file_offset = 100};
        server.reactor->send({&small, 1});
        CHECK(small.result == 50);
        CHECK_FALSE(small.by_reference);
        CHECK(server.handler.send(conn, std::string(5000, 'm')) == 5000);

        // As much of the file as the sockets take; nobody reads yet.
        std::size_t sent = 12'345;
        bool by_reference = false;
        for (;;) {
            Send large{.conn = conn,
                       .bytes = Bytes(file.base() + sent, file.size() - sent),
                       .file_offset = static_cast<std::int64_t>(sent)};
            if (large.bytes.empty()) break;
            server.reactor->send({&large, 1});
            REQUIRE(large.result >= 0);
            if (large.result == 0) break;
            by_reference = by_reference || large.by_reference;
            sent += static_cast<std::size_t>(large.result);
        }
        CHECK(sent > 12'345);
        CHECK(by_reference == !variant.direct);
        file.punch(0, file.size());
        std::memset(file.base(), 'n', file.size());
        const std::size_t total = 50 + 5000 + sent - 12'345;
        CHECK(server.handler.run_until([&] {
            peer->drain();
            return peer->received.size() == total;
        }));
        const std::string expected =
            old.substr(100, 50) + std::string(5000, 'm') + old.substr(12'345, sent - 12'345);
        CHECK(peer->received == expected);
    }
}

TEST_CASE("reactor: out of descriptors nobody spins, and all are served when some are freed (K1)") {
    for (const Variant& variant : variants()) {
        if (variant.direct) continue;
        CAPTURE(variant.name);
        CHECK(in_child([&variant] {
            Server server(variant);
            std::vector<std::unique_ptr<Peer>> peers;
            for (std::size_t i = 0; i < 30; i++)
                peers.push_back(server.peer());
            leave_descriptors(5);
            REQUIRE(server.handler.run_until([&] { return server.handler.accepted.size() == 5; }));
            // The back end looks again a few times a second; nothing else wakes us.
            REQUIRE(turns_of(*server.reactor, 300 * nanos_per_ms) < 30);
            REQUIRE(server.handler.accepted.size() == 5);
            // Those who are connected are not disturbed.
            const std::vector<ConnIndex> first = server.handler.accepted;
            for (const ConnIndex conn : first)
                REQUIRE(server.handler.send(conn, "hi") == 2);
            // Everybody is closed as soon as accepted, so five descriptors serve thirty.
            server.handler.accepted_hook = [&](ConnIndex conn) { server.handler.close(conn); };
            for (const ConnIndex conn : first)
                server.handler.close(conn);
            REQUIRE(server.handler.run_until([&] { return server.handler.closed.size() == 30; }));
            return true;
        }));
    }
}

TEST_CASE("reactor: full and out of descriptors at once nobody spins, and all are served later") {
    for (const Variant& variant : variants()) {
        if (variant.direct) continue;
        CAPTURE(variant.name);
        CHECK(in_child([&variant] {
            constexpr std::size_t most = 8;
            Server server(variant, {.connections_max = most});
            std::vector<std::unique_ptr<Peer>> peers;
            for (std::size_t i = 0; i < 30; i++)
                peers.push_back(server.peer());
            // A few more than there are indexes: a back end that runs ahead meets the limit.
            leave_descriptors(most + 4);
            REQUIRE(
                server.handler.run_until([&] { return server.handler.accepted.size() == most; }));
            REQUIRE(turns_of(*server.reactor, 300 * nanos_per_ms) < 30);
            REQUIRE(server.handler.accepted.size() == most);
            // Nor does whoever leaves start it.
            server.handler.close(server.handler.accepted[0]);
            REQUIRE(server.handler.run_until(
                [&] { return server.handler.accepted.size() == most + 1; }));
            REQUIRE(turns_of(*server.reactor, 300 * nanos_per_ms) < 30);
            const std::vector<ConnIndex> first = server.handler.accepted;
            server.handler.accepted_hook = [&](ConnIndex conn) { server.handler.close(conn); };
            for (std::size_t i = 1; i < first.size(); i++)
                server.handler.close(first[i]);
            REQUIRE(server.handler.run_until([&] { return server.handler.closed.size() == 30; }));
            return true;
        }));
    }
}

TEST_CASE("reactor: a connect() that fills it before the retry makes nobody spin either") {
    for (const Variant& variant : variants()) {
        if (variant.direct) continue;
        CAPTURE(variant.name);
        CHECK(in_child([&variant] {
            Server server(variant, {.connections_max = 3});
            std::vector<std::unique_ptr<Peer>> peers;
            for (std::size_t i = 0; i < 4; i++)
                peers.push_back(server.peer());
            rlimit before{};
            REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
            leave_descriptors(2);
            REQUIRE(server.handler.run_until([&] { return server.handler.accepted.size() == 2; }));
            server.handler.run_for(5 * nanos_per_ms);
            REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
            const ConnIndex ours = server.handler.connect(server.address);
            REQUIRE(server.reactor->live_count() == 3);
            REQUIRE(turns_of(*server.reactor, 300 * nanos_per_ms) < 30);
            REQUIRE(server.handler.accepted.size() == 2);
            server.handler.accepted_hook = [&](ConnIndex conn) { server.handler.close(conn); };
            server.handler.close(ours);
            // Two from outside, and the one that we were ourselves.
            REQUIRE(server.handler.run_until([&] { return server.handler.accepted.size() == 5; }));
            return true;
        }));
    }
}

TEST_CASE("reactor: a wait() ends when callbacks had their time, and what is left stays true") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        constexpr std::size_t most = 40;
        Server server(variant, {.connections_max = most});
        // As many again wait for an index: it must not meet what its former owner left over.
        std::vector<std::unique_ptr<Peer>> peers;
        for (std::size_t i = 0; i < 3 * most; i++) {
            peers.push_back(server.peer());
            peers.back()->send("hello");
        }
        Recorder& handler = server.handler;
        handler.received_hook = [&](ConnIndex conn) {
            CHECK(handler.seen[conn].received == "hello");
            const Nanos end = server.reactor->present() + callback_time;
            while (server.reactor->present() < end) {
            }
            handler.close(conn);
            const Seen& neighbour = handler.seen[conn ^ 1U];
            if (neighbour.live && !neighbour.close_called) handler.close(conn ^ 1U);
        };
        std::size_t largest = 0;
        for (int turn = 0; turn < 1000 && handler.closed.size() < peers.size(); turn++) {
            const std::size_t before = handler.received_count;
            server.reactor->wait(server.reactor->present() + 10 * nanos_per_ms);
            largest = std::max(largest, handler.received_count - before);
        }
        CHECK(handler.closed.size() == peers.size());
        CHECK(largest <= 20);  // one callback would do, but the clock is not looked at after each
    }
}

TEST_CASE("reactor: a callback may close, pause and send to anybody, itself included") {
    for (const Variant& variant : variants()) {
        CAPTURE(variant.name);
        Server server(variant);
        std::vector<std::unique_ptr<Peer>> peers;
        for (int i = 0; i < 10; i++)
            peers.push_back(server.accept_one());
        const std::vector<ConnIndex> conns = server.handler.accepted;
        // The first who is heard closes himself and all others but the last, to whom he writes.
        server.handler.received_hook = [&](ConnIndex conn) {
            REQUIRE(conn != conns[9]);
            CHECK(server.handler.send(conns[9], "goodbye") == 7);
            server.reactor->pause_recv(conns[9]);
            server.reactor->resume_recv(conns[9]);
            server.handler.close(conn);
            for (int i = 0; i < 9; i++) {
                if (conns[static_cast<std::size_t>(i)] != conn) {
                    server.handler.close(conns[static_cast<std::size_t>(i)]);
                }
            }
        };
        for (int i = 0; i < 9; i++)
            peers[static_cast<std::size_t>(i)]->send("me first");
        CHECK(server.handler.run_until([&] { return server.handler.closed.size() == 9; }));
        CHECK(server.handler.received_count == 1);
        CHECK(server.handler.run_until([&] {
            peers[9]->drain();
            return peers[9]->received == "goodbye";
        }));
        CHECK(server.reactor->live_count() == 1);
    }
}

namespace {

// What the model knows of one connection: how many bytes of which stream went each way.
struct Ends {
    std::unique_ptr<Peer> peer;
    std::size_t stream = 0;
    std::size_t up = 0;    // sent by the peer
    std::size_t down = 0;  // taken by the reactor
    bool paused = false;
    bool finished = false;  // the peer has sent FIN
    ConnIndex conn = no_conn;
};

class Walk {
  public:
    Walk(const Variant& variant, unsigned seed)
        : random_(seed), server_(variant, options_of(seed)) {
        server_.handler.writable_hook = [](ConnIndex) {};
    }

    void run(int steps) {
        for (int step = 0; step < steps; step++) {
            act();
            if (random_.chance(1, 3)) server_.reactor->wait(0);
        }
        finish();
    }

  private:
    static ReactorOptions options_of(unsigned seed) {
        const std::uint32_t sizes[] = {64, 1000, 65536};
        return {.connections_max = 12,
                .receive_buffer_size = sizes[seed % 3],
                .receive_buffer_count = 1U << (seed % 4),
                .completions_max = 512};
    }

    void act() {
        const auto choice = static_cast<unsigned>(random_.below(100));
        if (open_.size() < 12 && choice < 5) return open();
        if (open_.empty()) return;
        Ends& ends = open_[random_.below(open_.size())];
        Recorder& handler = server_.handler;
        if (choice < 45) {
            if (ends.finished) return;
            const std::string bytes = stream_bytes(ends.stream, ends.up, random_.below(20'000));
            const long took = ends.peer->send(bytes);
            if (took > 0) ends.up += static_cast<std::size_t>(took);
        } else if (choice < 70) {
            const std::string bytes =
                stream_bytes(ends.stream + 1, ends.down, 1 + random_.below(300'000));
            const std::int32_t took = handler.send(ends.conn, bytes);
            REQUIRE(took >= 0);
            ends.down += static_cast<std::size_t>(took);
            if (took == 0) server_.reactor->want_writable(ends.conn);
        } else if (choice < 80) {
            ends.peer->receive(1 + random_.below(200'000));
        } else if (choice < 90) {
            ends.paused = !ends.paused;
            if (ends.paused) {
                server_.reactor->pause_recv(ends.conn);
            } else {
                server_.reactor->resume_recv(ends.conn);
            }
        } else if (choice < 92) {
            if (!ends.finished) ends.peer->finish();
            ends.finished = true;
        } else if (choice < 94) {
            return drop(ends);
        }
        check(ends);
    }

    void open() {
        Ends ends;
        ConnIndex conn = no_conn;
        auto peer = server_.accept_one(conn);
        ends.peer = std::move(peer);
        ends.conn = conn;
        ends.stream = next_stream_;
        next_stream_ += 2;
        open_.push_back(std::move(ends));
    }

    // Half of them by the server, half by a reset; the index must come back in both cases.
    void drop(Ends& ends) {
        check(ends);
        const bool by_peer = random_.chance(1, 2);
        if (by_peer) ends.peer->reset();
        server_.handler.close(ends.conn);
        std::swap(ends, open_.back());
        open_.pop_back();
        dropped_++;
    }

    void check(const Ends& ends) {
        const Seen& seen = server_.handler.seen[ends.conn];
        REQUIRE(seen.received.size() <= ends.up);
        REQUIRE(seen.ended <= 0);
        REQUIRE(ends.peer->received.size() <= ends.down);
    }

    void finish() {
        for (Ends& ends : open_) {
            if (!ends.finished) ends.peer->finish();
            if (ends.paused) server_.reactor->resume_recv(ends.conn);
        }
        REQUIRE(server_.handler.run_until([&] {
            return std::all_of(open_.begin(), open_.end(), [&](const Ends& ends) {
                ends.peer->drain();
                return server_.handler.seen[ends.conn].ended == 0 &&
                       ends.peer->received.size() == ends.down;
            });
        }));
        for (Ends& ends : open_) {
            REQUIRE(server_.handler.seen[ends.conn].received ==
                    stream_bytes(ends.stream, 0, ends.up));
            REQUIRE(ends.peer->received == stream_bytes(ends.stream + 1, 0, ends.down));
            server_.handler.close(ends.conn);
            dropped_++;
        }
        REQUIRE(
            server_.handler.run_until([&] { return server_.handler.closed.size() == dropped_; }));
        REQUIRE(server_.reactor->live_count() == 0);
    }

    Random random_;
    Server server_;
    std::vector<Ends> open_;
    std::size_t next_stream_ = 0;
    std::size_t dropped_ = 0;
};

}  // namespace

TEST_CASE("reactor: random walks of talk, pause, FIN, reset and close agree with a plain model") {
    for (const Variant& variant : variants()) {
        for (unsigned seed = 0; seed < 12; seed++) {
            CAPTURE(variant.name);
            CAPTURE(seed);
            Walk(variant, seed).run(600);
        }
    }
}

}  // namespace ringcast::io::test
