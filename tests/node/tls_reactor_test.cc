#include "node/tls_reactor.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/fake_reactor.h"
#include "tests/support/tls.h"

using namespace ringcast;
using namespace ringcast::node;
using ringcast::test::FakeReactor;
using ringcast::test::FakeSocket;
using ringcast::test::load;
using ringcast::test::make_certificate;
using ringcast::test::one_context;
using ringcast::test::TempFolder;
using ringcast::test::TlsClient;
using ringcast::test::VirtualClock;
using ringcast::test::write_pair;

namespace {

const wire::TlsContext& shared_context() {
    static const wire::TlsContext context = one_context();
    return context;
}

// What a shard is to its reactor.
struct Owner final : io::Handler {
    struct Conn {
        std::string heard;
        std::string owed;  // to send
        int end = -1;
        bool blocked = false;
        bool live = false;
        bool secure = false;
    };

    void on_accepted(io::ConnIndex conn, std::uint32_t /*listener*/) noexcept override {
        Conn fresh;
        fresh.live = true;
        fresh.secure = reactor->secure(conn);
        conns[conn] = fresh;
    }
    void on_received(io::ConnIndex conn, MutBytes bytes) noexcept override {
        conns[conn].heard += as_text(bytes);
        std::fill(bytes.begin(), bytes.end(), std::byte{0});  // a framer unmasks in place
        if (closes_on_bytes) reactor->close(conn);
    }
    void on_ended(io::ConnIndex conn, int os_error) noexcept override {
        CHECK(conns[conn].end == -1);
        conns[conn].end = os_error;
        if (closes_on_end) reactor->close(conn);
    }
    void on_writable(io::ConnIndex conn) noexcept override {
        CHECK(conns[conn].blocked);
        conns[conn].blocked = false;
    }
    void on_connected(io::ConnIndex /*conn*/, int /*os_error*/) noexcept override {}
    void on_closed(io::ConnIndex conn) noexcept override { conns[conn].live = false; }

    // One batch: everybody who is owed something and whose socket takes it.
    void send_all() {
        std::vector<io::Send> batch;
        for (auto& [conn, state] : conns) {
            if (state.owed.empty() || state.blocked || !state.live) continue;
            batch.push_back({.conn = conn, .bytes = as_bytes(state.owed)});
            if (batch.size() == io::send_batch_max) break;
        }
        if (batch.empty()) return;
        reactor->send(batch);
        for (const io::Send& send : batch) {
            Conn& state = conns[send.conn];
            if (send.result < 0) {
                state.owed.clear();
                continue;
            }
            state.blocked = static_cast<std::size_t>(send.result) < state.owed.size();
            state.owed.erase(0, static_cast<std::size_t>(send.result));
            if (state.blocked) reactor->want_writable(send.conn);
        }
    }

    TlsReactor* reactor = nullptr;
    std::map<io::ConnIndex, Conn> conns;
    bool closes_on_bytes = false;
    bool closes_on_end = true;
};

// One reactor and its peers.
struct Bench {
    explicit Bench(std::uint32_t handshakes_max = 256, std::uint32_t first_listener = 0) {
        auto made = std::make_unique<FakeReactor>(clock, 5, 512);
        below = made.get();
        reactor = std::make_unique<TlsReactor>(std::move(made),
                                               shared_context().share(),
                                               TlsReactor::Options{.first_listener = first_listener,
                                                                   .handshakes_max = handshakes_max,
                                                                   .capacity = 512});
        owner.reactor = reactor.get();
        reactor->set_handler(owner);
    }
    struct Peer {
        FakeSocket* socket = nullptr;
        std::unique_ptr<TlsClient> client;
    };
    Peer accept(const TlsClient::Options& options = {}) {
        Peer peer{.socket = &below->accept(), .client = std::make_unique<TlsClient>(options)};
        reactor->wait(0);
        return peer;
    }
    // One that has said its hello.
    Peer start() {
        Peer peer = accept();
        peer.client->feed("");
        peer.socket->say(peer.client->take());
        reactor->wait(0);
        return peer;
    }
    // Until neither has anything to say.
    void talk(Peer& peer) {
        for (int quiet = 0; quiet < 3; quiet++) {
            peer.client->feed(peer.socket->take());
            const std::string said = peer.client->take();
            if (!said.empty() && !peer.socket->closed) {
                peer.socket->say(said);
                quiet = 0;
            }
            reactor->wait(0);
        }
    }
    Peer meet(const TlsClient::Options& options = {}) {
        Peer peer = accept(options);
        talk(peer);
        REQUIRE(peer.client->open());
        return peer;
    }
    Owner::Conn& state(const Peer& peer) { return owner.conns[peer.socket->conn]; }

    VirtualClock clock;
    FakeReactor* below = nullptr;
    Owner owner;
    std::unique_ptr<TlsReactor> reactor;
};

}  // namespace

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
