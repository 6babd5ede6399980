// Handshakes of a TlsReactor: how many, in which order, and whose time is over.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "node/tls_reactor.h"
#include "tests/node/tls_bench.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

TEST_CASE("tls reactor: handshakes that cannot be") {
    Bench bench;
    SUBCASE("another protocol") {
        FakeSocket& socket = bench.below->accept();
        bench.reactor->wait(0);
        socket.say("GET / HTTP/1.1\r\n\r\n");
        bench.reactor->wait(0);
        CHECK(bench.owner.conns[socket.conn].end == EPROTO);
        CHECK(bench.owner.conns[socket.conn].heard.empty());
        CHECK(socket.closed);
    }
    SUBCASE("one that never ends") {
        FakeSocket& socket = bench.below->accept();
        bench.reactor->wait(0);
        for (int i = 0; i < 40 && !socket.closed; i++) {
            socket.say(std::string("\x16\x03\x01\x10\x00", 5) + std::string(4096, '\x01'));
            bench.reactor->wait(0);
        }
        CHECK(socket.closed);
    }
    SUBCASE("its FIN in the middle") {
        Bench::Peer peer = bench.accept();
        peer.client->feed("");
        peer.socket->say(peer.client->take().substr(0, 50));
        peer.socket->fin();
        bench.reactor->wait(0);
        CHECK(bench.state(peer).end == 0);
        bench.reactor->wait(0);
        CHECK(!bench.state(peer).live);
    }
    SUBCASE("its reset in the middle") {
        Bench::Peer peer = bench.accept();
        peer.client->feed("");
        peer.socket->say(peer.client->take());
        bench.reactor->wait(0);
        peer.socket->reset();
        bench.reactor->wait(0);
        CHECK(bench.state(peer).end == ECONNRESET);
    }
    SUBCASE("what it says with its last flight, and its FIN, arrives") {
        Bench::Peer peer = bench.accept();
        peer.client->feed("");
        peer.socket->say(peer.client->take());
        bench.reactor->wait(0);
        peer.client->feed(peer.socket->take());
        peer.client->say("at once");
        peer.socket->say(peer.client->take());
        peer.socket->fin();
        bench.reactor->wait(0);
        CHECK(bench.state(peer).heard == "at once");
        CHECK(bench.state(peer).end == 0);
    }
}

TEST_CASE("tls reactor: a storm of handshakes is done a share a turn, in order of arrival") {
    Bench bench;
    std::vector<Bench::Peer> peers;
    for (int i = 0; i < 60; i++) {
        peers.push_back(bench.accept());
    }
    for (Bench::Peer& peer : peers) {
        peer.client->feed("");
        peer.socket->say(peer.client->take());
    }
    const auto answered = [&] {
        return std::count_if(peers.begin(), peers.end(), [](const Bench::Peer& peer) {
            return !peer.socket->sent.empty();
        });
    };
    std::ptrdiff_t before = 0;
    for (int turn = 1; turn <= 4; turn++) {
        bench.reactor->wait(INT64_MAX);
        CHECK(bench.below->deadline() == (turn == 1 ? INT64_MAX : 0));  // no sleep while some wait
        CHECK(answered() - before <= 16);
        CHECK(answered() > before);
        before = answered();
    }
    CHECK(before == 60);
    for (Bench::Peer& peer : peers) {
        bench.talk(peer);
        CHECK(peer.client->open());
        CHECK(!peer.socket->paused);
    }
    CHECK(bench.reactor->counters().handshakes == 60);
    CHECK(bench.reactor->counters().put_off > 0);
    // A clock that says that each took a millisecond: one a turn.
    Bench slow;
    peers.clear();
    for (int i = 0; i < 5; i++) {
        peers.push_back(slow.accept());
    }
    for (Bench::Peer& peer : peers) {
        peer.client->feed("");
        peer.socket->say(peer.client->take());
    }
    slow.below->set_work_time(nanos_per_ms);
    slow.reactor->wait(0);
    CHECK(answered() == 1);
}

TEST_CASE("tls reactor: only so many handshakes are under way, and the others come in turn") {
    Bench bench(2);
    std::vector<Bench::Peer> peers;
    for (int i = 0; i < 6; i++) {
        peers.push_back(bench.accept());
        peers.back().client->feed("");
        peers.back().socket->say(peers.back().client->take());
        bench.reactor->wait(0);
    }
    const auto answered = [&](std::size_t i) { return !peers[i].socket->sent.empty(); };
    CHECK((answered(0) && answered(1)));
    CHECK((!answered(2) && !answered(3) && !answered(4) && !answered(5)));
    CHECK(peers[3].socket->paused);
    bench.talk(peers[0]);  // done: the next one's turn
    CHECK(peers[0].client->open());
    CHECK(answered(2));
    CHECK(!answered(3));
    peers[1].socket->reset();  // gone: the next one's
    bench.reactor->wait(0);
    bench.reactor->wait(0);
    CHECK(answered(3));
    CHECK(!answered(4));
    bench.reactor->close(peers[4].socket->conn);  // its owner is tired of waiting
    bench.talk(peers[2]);
    bench.reactor->wait(0);
    CHECK(answered(5));
    bench.talk(peers[3]);
    bench.talk(peers[5]);
    CHECK(peers[5].client->open());
    CHECK(!peers[5].socket->paused);
    CHECK(bench.reactor->counters().waited == 4);
    CHECK(bench.reactor->counters().handshakes == 4);
}

TEST_CASE("tls reactor: half-open handshakes make room after two seconds, if somebody waits") {
    Bench bench(3);
    std::vector<Bench::Peer> idle;
    for (int i = 0; i < 3; i++) {
        idle.push_back(bench.accept());
        idle.back().client->feed("");
        idle.back().socket->say(idle.back().client->take());
        bench.reactor->wait(0);
        bench.clock.advance(nanos_per_s / 2);
    }
    bench.clock.advance(nanos_per_s);
    bench.reactor->wait(0);
    CHECK(bench.reactor->counters().cut == 0);  // nobody waits
    Bench::Peer good = bench.accept();
    bench.talk(good);
    CHECK(good.client->open());
    CHECK(bench.reactor->counters().cut == 1);
    CHECK(bench.owner.conns[idle[0].socket->conn].end == ETIMEDOUT);
    CHECK(bench.state(idle[1]).end == -1);
    bench.talk(idle[1]);  // it was only slow
    CHECK(idle[1].client->open());
}

TEST_CASE("tls reactor: nobody is cut for the sake of those who are gone") {
    Bench bench(3);
    std::vector<Bench::Peer> slow;
    std::vector<Bench::Peer> waiters;
    for (int i = 0; i < 3; i++) {
        slow.push_back(bench.start());
    }
    for (int i = 0; i < 3; i++) {
        waiters.push_back(bench.start());
    }
    CHECK(bench.reactor->counters().waited == 3);
    bench.reactor->close(waiters[0].socket->conn);
    bench.reactor->close(waiters[1].socket->conn);
    bench.reactor->wait(0);
    bench.clock.advance(tls_patience);
    bench.reactor->wait(0);
    bench.reactor->wait(0);
    CHECK(bench.reactor->counters().cut == 1);  // for the one that is there
    bench.talk(waiters[2]);
    CHECK(waiters[2].client->open());
    bench.talk(slow[1]);
    CHECK(slow[1].client->open());
    // Nor does a place that was given up keep anybody waiting.
    bench.reactor->wait(INT64_MAX);
    CHECK(bench.below->deadline() == INT64_MAX);
    const Bench::Peer next = bench.start();
    CHECK(!next.socket->sent.empty());
    CHECK(bench.reactor->counters().waited == 3);
}

TEST_CASE("tls reactor: before its handshake begins nobody says more than a hello may be") {
    Bench bench(1);
    const Bench::Peer first = bench.start();
    FakeSocket& fits = bench.below->accept();
    FakeSocket& over = bench.below->accept();
    FakeSocket& in_parts = bench.below->accept();
    bench.reactor->wait(0);
    fits.say(std::string(tls_hello_max, 'x'));
    over.say(std::string(tls_hello_max + 1, 'x'));
    in_parts.say(std::string(tls_hello_max, 'x'));
    bench.reactor->wait(0);
    CHECK(bench.owner.conns[fits.conn].end == -1);
    CHECK(bench.owner.conns[over.conn].end == EPROTO);
    CHECK(bench.owner.conns[in_parts.conn].end == -1);
    in_parts.paused = false;  // it was received already
    in_parts.say("x");
    bench.reactor->wait(0);
    CHECK(bench.owner.conns[in_parts.conn].end == EPROTO);
    CHECK(bench.reactor->held_bytes(over.conn) == 0);
    CHECK(bench.reactor->counters().failed == 2);
    CHECK(bench.state(first).end == -1);
}

TEST_CASE("tls reactor: with its last flight a client may say more than that") {
    for (const std::size_t size : {17'000UL, 40'000UL}) {
        CAPTURE(size);
        Bench bench;
        Bench::Peer peer = bench.start();
        peer.client->feed(peer.socket->take());
        peer.client->say(std::string(size, 'y'));
        peer.socket->say(peer.client->take());
        bench.reactor->wait(0);
        CHECK(bench.state(peer).heard == std::string(size, 'y'));
    }
}

TEST_CASE("tls reactor: where those who wait hold too much whoever holds most goes") {
    Bench bench(1);
    Bench::Peer first = bench.start();
    // A crowd that takes all the room there is, in pieces as large as they may be.
    std::vector<FakeSocket*> crowd;
    for (std::size_t held = 0; held + tls_hello_max <= tls_unread_max; held += tls_hello_max) {
        crowd.push_back(&bench.below->accept());
        bench.reactor->wait(0);
        crowd.back()->say(std::string(tls_hello_max, 'x'));
        bench.reactor->wait(0);
    }
    const auto ended = [&] {
        return std::count_if(
            crowd.begin(), crowd.end(), [](const FakeSocket* each) { return each->closed; });
    };
    CHECK(ended() == 0);
    // Newcomers say what is honest, and stay.
    std::vector<Bench::Peer> good;
    for (int i = 0; i < 20; i++) {
        good.push_back(bench.start());
        CHECK(bench.state(good.back()).end == -1);
    }
    CHECK(ended() == 1);  // its room is enough for them
    FakeSocket& large = bench.below->accept();
    bench.reactor->wait(0);
    large.say(std::string(tls_hello_max, 'x'));
    bench.reactor->wait(0);
    CHECK(bench.reactor->counters().cut == 2);
    CHECK(bench.reactor->counters().failed == 0);
    bench.talk(first);
    CHECK(first.client->open());
}
