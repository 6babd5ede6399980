#include "node/tls_reactor.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/node/tls_bench.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;
using ringcast::test::load;
using ringcast::test::make_certificate;
using ringcast::test::one_context;
using ringcast::test::TempFolder;
using ringcast::test::write_pair;

TEST_CASE("tls reactor: the owner hears and says plaintext") {
    Bench bench;
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        Bench::Peer peer = bench.meet({.version_min = version, .version_max = version});
        CHECK(bench.state(peer).secure);
        for (const std::size_t size : {1UL, 100UL, 16'384UL, 70'000UL, 300'000UL}) {
            CAPTURE(size);
            const std::string text(size, 'q');
            peer.client->say(text);
            bench.talk(peer);
            CHECK(std::exchange(bench.state(peer).heard, {}) == text);
            bench.state(peer).owed = text;
            bench.owner.send_all();
            CHECK(bench.state(peer).owed.empty());
            bench.talk(peer);
            CHECK(std::exchange(peer.client->heard, {}) == text);
            CHECK(bench.reactor->held_bytes(peer.socket->conn) == 0);
        }
    }
    CHECK(bench.reactor->counters().handshakes == 2);
    CHECK(bench.reactor->counters().failed == 0);
}

TEST_CASE("tls reactor: other listeners are not touched") {
    Bench bench(256, 1);
    FakeSocket& socket = bench.below->accept();
    bench.reactor->wait(0);
    CHECK(!bench.owner.conns[socket.conn].secure);
    socket.say("GET /");
    bench.reactor->wait(0);
    CHECK(bench.owner.conns[socket.conn].heard == "GET /");
    bench.owner.conns[socket.conn].owed = "answer";
    bench.owner.send_all();
    CHECK(socket.sent == "answer");
    bench.reactor->shutdown_send(socket.conn);
    CHECK(socket.shut);
    socket.fin();
    bench.reactor->wait(0);
    CHECK(socket.closed);
    bench.reactor->wait(0);
    CHECK(!bench.owner.conns[socket.conn].live);
}

TEST_CASE("tls reactor: whatever sockets take, the stream arrives as it was") {
    for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
        CAPTURE(seed);
        Random random(seed);
        Bench bench;
        std::vector<Bench::Peer> peers;
        std::vector<std::string> wanted(5);
        for (std::size_t i = 0; i < wanted.size(); i++) {
            peers.push_back(bench.meet());
            peers.back().socket->stingy = random.chance(1, 2);
        }
        for (int step = 0; step < 400; step++) {
            const std::size_t i = random.below(peers.size());
            Bench::Peer& peer = peers[i];
            Owner::Conn& state = bench.state(peer);
            switch (random.below(5)) {
                case 0: {
                    const std::size_t size = random.chance(1, 4) ? 100'000 : 300;
                    const std::string more(random.between(1, size), static_cast<char>('a' + i));
                    wanted[i] += more;
                    state.owed += more;
                    break;
                }
                case 1:
                    peer.socket->room = random.chance(1, 3) ? 0 : random.between(1, 90'000);
                    break;
                case 2:
                    bench.reactor->wait(0);
                    break;
                default:
                    bench.owner.send_all();
            }
            CHECK(bench.reactor->held_bytes(peer.socket->conn) <= 2 * tls_unsent_max);
        }
        for (std::size_t i = 0; i < peers.size(); i++) {
            peers[i].socket->room = FakeSocket::endless;
            peers[i].socket->stingy = false;
        }
        for (int round = 0; round < 20; round++) {
            bench.owner.send_all();
            bench.reactor->wait(0);
        }
        for (std::size_t i = 0; i < peers.size(); i++) {
            CHECK(bench.state(peers[i]).owed.empty());
            peers[i].client->feed(peers[i].socket->take());
            CHECK(!peers[i].client->failed);
            CHECK(peers[i].client->heard == wanted[i]);
        }
    }
}

TEST_CASE("tls reactor: ciphertext that waits counts as one byte that was not taken") {
    Bench bench;
    Bench::Peer peer = bench.meet();
    Owner::Conn& state = bench.state(peer);
    peer.socket->room = 10;
    state.owed = "hello";
    bench.owner.send_all();
    CHECK(state.owed == "o");
    CHECK(state.blocked);
    CHECK(bench.reactor->held_bytes(peer.socket->conn) > 0);
    state.owed += " world";  // it was offered a part; the rest is longer by now
    peer.socket->room = FakeSocket::endless;
    bench.reactor->wait(0);
    CHECK(!state.blocked);
    CHECK(bench.reactor->held_bytes(peer.socket->conn) == 0);
    bench.owner.send_all();
    CHECK(state.owed.empty());
    bench.talk(peer);
    CHECK(peer.client->heard == "hello world");
}

TEST_CASE("tls reactor: behind a part something else may follow, from its first byte on") {
    // Where a socket is full within a part, a record may end with it. Then the owner may go on with
    // what it likes: a ping, a close frame, another topic.
    Bench bench;
    Bench::Peer peer = bench.meet();
    Owner::Conn& state = bench.state(peer);
    peer.socket->room = 1'000;
    state.owed = std::string(3 * tls_part_max, 'a');
    bench.owner.send_all();
    CHECK(state.blocked);
    REQUIRE(state.owed.size() == 2 * tls_part_max);
    state.owed = "bcd";
    peer.socket->room = FakeSocket::endless;
    bench.reactor->wait(0);
    CHECK(!state.blocked);
    bench.owner.send_all();
    CHECK(state.owed.empty());
    bench.talk(peer);
    CHECK(peer.client->heard == std::string(tls_part_max, 'a') + "bcd");
}

TEST_CASE("tls reactor: no slice goes as far as those that are cut within a frame") {
    Bench bench;
    Bench::Peer peer = bench.meet();
    Owner::Conn& state = bench.state(peer);
    state.owed = std::string(tls_slice_max + 100, 'a');
    bench.owner.send_all();
    CHECK(state.blocked);
    CHECK(state.owed.size() == 100);
    bench.reactor->wait(0);
    CHECK(!state.blocked);
    bench.owner.send_all();
    CHECK(state.owed.empty());
    bench.talk(peer);
    CHECK(peer.client->heard.size() == tls_slice_max + 100);
}

TEST_CASE("tls reactor: a slice that needs many parts goes whole, beside others") {
    Bench bench;
    std::vector<Bench::Peer> peers;
    for (int i = 0; i < 40; i++) {
        peers.push_back(bench.meet());
        bench.state(peers.back()).owed = std::string(i % 2 == 0 ? 10 : 500'000, 'z');
    }
    bench.owner.send_all();
    for (std::size_t i = 0; i < peers.size(); i++) {
        CHECK(bench.state(peers[i]).owed.empty());
        peers[i].client->feed(peers[i].socket->take());
        CHECK(peers[i].client->heard.size() == (i % 2 == 0 ? 10 : 500'000));
    }
}

TEST_CASE("tls reactor: ends") {
    Bench bench;
    SUBCASE("close says close_notify") {
        Bench::Peer peer = bench.meet();
        bench.reactor->close(peer.socket->conn);
        bench.reactor->wait(0);
        CHECK(peer.socket->closed);
        peer.client->feed(peer.socket->take());
        CHECK(peer.client->ended);
        bench.reactor->wait(0);
        CHECK(!bench.state(peer).live);
    }
    SUBCASE("so does FIN, and the other direction goes on") {
        Bench::Peer peer = bench.meet();
        bench.reactor->shutdown_send(peer.socket->conn);
        bench.reactor->wait(0);
        CHECK(peer.socket->shut);
        peer.client->feed(peer.socket->take());
        CHECK(peer.client->ended);
        peer.client->say("still");
        peer.client->close();
        peer.socket->say(peer.client->take());
        bench.reactor->wait(0);
        CHECK(bench.state(peer).heard == "still");
        CHECK(bench.state(peer).end == 0);
    }
    SUBCASE("the peer's close_notify is its end, told once") {
        Bench::Peer peer = bench.meet();
        bench.owner.closes_on_end = false;
        peer.client->close();
        peer.socket->say(peer.client->take());
        bench.reactor->wait(0);
        CHECK(bench.state(peer).end == 0);
        peer.socket->fin();
        bench.reactor->wait(0);
        bench.state(peer).owed = "the rest";
        bench.owner.send_all();
        CHECK(bench.state(peer).owed.empty());
    }
    SUBCASE("its FIN without one, too") {
        Bench::Peer peer = bench.meet();
        peer.socket->fin();
        bench.reactor->wait(0);
        CHECK(bench.state(peer).end == 0);
    }
}

TEST_CASE("tls reactor: ends in the middle of something") {
    Bench bench;
    SUBCASE("closed from within a callback") {
        Bench::Peer peer = bench.meet();
        bench.owner.closes_on_bytes = true;
        peer.client->say("a");
        peer.client->say(std::string(100'000, 'b'));
        peer.socket->say(peer.client->take());
        bench.reactor->wait(0);
        CHECK(peer.socket->closed);
        bench.reactor->wait(0);
        CHECK(!bench.state(peer).live);
    }
    SUBCASE("garbage ends it, with an alert") {
        Bench::Peer peer = bench.meet();
        peer.socket->say(std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x'));
        bench.reactor->wait(0);
        CHECK(bench.state(peer).end == EPROTO);
        peer.client->feed(peer.socket->take());
        CHECK(peer.client->alert == SSL_AD_BAD_RECORD_MAC);
        CHECK(bench.reactor->counters().failed == 1);
    }
    SUBCASE("a broken socket") {
        Bench::Peer peer = bench.meet();
        peer.socket->room = 3;
        bench.state(peer).owed = "hello";
        bench.owner.send_all();
        peer.socket->reset();
        bench.reactor->wait(0);
        CHECK(bench.state(peer).end == ECONNRESET);
        bench.reactor->wait(0);
        CHECK(!bench.state(peer).live);
    }
}

TEST_CASE("tls reactor: a reset behind the peer's end is seen by who still sends") {
    for (const bool by_notify : {false, true}) {
        for (const bool finishing : {false, true}) {
            CAPTURE(by_notify);
            CAPTURE(finishing);
            Bench bench;
            Bench::Peer peer = bench.meet();
            bench.owner.closes_on_end = false;
            if (by_notify) {
                peer.client->close();
                peer.socket->say(peer.client->take());
            } else {
                peer.socket->fin();
            }
            bench.reactor->wait(0);
            Owner::Conn& state = bench.state(peer);
            REQUIRE(state.end == 0);
            peer.socket->room = 10;
            state.owed = "the rest of it";
            bench.owner.send_all();
            REQUIRE(state.blocked);
            if (finishing) bench.reactor->shutdown_send(peer.socket->conn);
            bench.reactor->wait(0);
            CHECK(state.blocked);
            peer.socket->reset();
            bench.reactor->wait(0);
            CHECK(!state.blocked);
            if (finishing) continue;
            state.owed += ", and more";
            bench.owner.send_all();
            CHECK(state.failed);
            CHECK(bench.reactor->held_bytes(peer.socket->conn) == 0);
        }
    }
}

TEST_CASE("tls reactor: a new context is for those who come, the others keep theirs") {
    Bench bench;
    Bench::Peer old = bench.meet();
    CHECK(old.client->shown("a.test"));
    const TempFolder folder(TempFolder::On::memory);
    bench.reactor->offer(one_context());  // is replaced before anybody looked at it
    bench.reactor->offer(load({write_pair(folder, "n", make_certificate("DNS:new.test"))}));
    CHECK(bench.below->wakes() == 2);
    Bench::Peer fresh = bench.meet();
    CHECK(fresh.client->shown("new.test"));
    old.client->say("as before");
    bench.talk(old);
    CHECK(bench.state(old).heard == "as before");
}

TEST_CASE("tls reactor: keys of tickets change by its clock, whether or not anybody comes") {
    const TempFolder folder(TempFolder::On::memory);
    wire::TlsTickets tickets;
    std::string problem;
    const std::vector<wire::TlsPair> pairs{write_pair(folder, "t", make_certificate("DNS:a.test"))};
    auto loaded = wire::TlsContext::load(pairs, problem, &tickets);
    REQUIRE_MESSAGE(loaded.ok(), problem);
    VirtualClock clock;
    auto made = std::make_unique<FakeReactor>(clock, 5, 8);
    const FakeReactor& below = *made;
    TlsReactor reactor(
        std::move(made), std::move(loaded).value(), {.capacity = 8, .tickets = &tickets});
    Owner owner;
    owner.reactor = &reactor;
    reactor.set_handler(owner);
    reactor.wait(never);
    CHECK(below.deadline() == never);
    const Nanos due = tickets.due();
    CHECK(due == reactor.now() + wire::TlsTickets::key_time);
    reactor.wait(never);
    CHECK(below.deadline() == due);  // it sleeps no longer than a key may live
    reactor.wait(0);
    CHECK(below.deadline() == 0);
    CHECK(tickets.due() == due);
    wire::TlsTickets::Key first;
    tickets.take_present(first);
    clock.advance(wire::TlsTickets::key_time);
    reactor.offer(load(pairs));  // new certificates have nothing to do with it
    reactor.wait(never);
    CHECK(tickets.due() == due + wire::TlsTickets::key_time);
    wire::TlsTickets::Key key;
    CHECK(tickets.find(first.name.data(), key) == wire::TlsTickets::Age::former);
}
