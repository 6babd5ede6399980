#include "node/outcome.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/node/rig.h"
#include "tests/support/json.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;
using ringcast::test::Frame;
using ringcast::test::Json;
using ringcast::test::Peer;

namespace {

Frame only_frame(FakeSocket& socket) {
    Peer peer(true);
    peer.feed(socket.take());
    const std::vector<Frame> frames = peer.take();
    REQUIRE(frames.size() == 1);
    return frames.front();
}

}  // namespace

TEST_CASE("outcome: an envelope client is told in words, and stays") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    tell(rig.sessions,
         rig.reactor,
         socket.conn,
         {.verdict = Verdict::taken, .id = "7", .topic = "t", .offset = 3, .epoch = 255});
    rig.settle();
    const Json ack(only_frame(socket).payload);
    CHECK(ack.text("type") == "ack");
    CHECK(ack.text("id") == "7");
    CHECK(ack.number("payload.offset") == 3);
    CHECK(ack.text("payload.epoch") == "00000000000000ff");

    for (const auto& [verdict, code] : {std::pair{Verdict::too_large, "too_large"},
                                        std::pair{Verdict::busy, "busy"},
                                        std::pair{Verdict::store_full, "store_full"},
                                        std::pair{Verdict::store_failed, "store_failed"},
                                        std::pair{Verdict::too_many_topics, "too_many_topics"}}) {
        tell(rig.sessions, rig.reactor, socket.conn, {.verdict = verdict, .id = "8", .topic = "t"});
        rig.settle();
        const Json error(only_frame(socket).payload);
        CHECK(error.text("type") == "error");
        CHECK(error.text("id") == "8");
        CHECK(error.text("payload.code") == code);
    }
    CHECK(rig.sessions[socket.conn].state == State::open);
}

TEST_CASE("outcome: a raw client is closed with the reason") {
    for (const auto& [verdict, code] : {std::pair{Verdict::too_large, 1009},
                                        std::pair{Verdict::too_many_topics, 1013},
                                        std::pair{Verdict::busy, 1013},
                                        std::pair{Verdict::store_full, 1013},
                                        std::pair{Verdict::store_failed, 1013}}) {
        Rig rig{Config()};
        FakeSocket& socket = rig.connect_open(Role::raw);
        tell(rig.sessions, rig.reactor, socket.conn, {.verdict = verdict});
        rig.settle();
        Peer peer(true);
        peer.feed(socket.take());
        CHECK(peer.close_code() == code);
    }
}

TEST_CASE("outcome: acks that nobody reads stop the reading, not the client") {
    Config config;
    config.outbox_max = 1024;
    Rig rig{config};
    FakeSocket& socket = rig.connect_open();
    socket.room = 0;
    for (int i = 0; i < 100; i++)
        tell(rig.sessions, rig.reactor, socket.conn, {.id = "7", .topic = "t", .offset = 3});
    rig.turn();
    CHECK(socket.paused);
    CHECK(rig.sessions[socket.conn].state == State::open);
    socket.room = FakeSocket::endless;
    rig.settle();
    CHECK_FALSE(socket.paused);
}

TEST_CASE("outcome: who waits for many answers is not read from, until half of them are there") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    const std::uint64_t serial = rig.sessions[socket.conn].serial;
    int waiting = 0;
    for (; !socket.paused; waiting++) {
        REQUIRE(waiting < 10'000);
        await_outcome(rig.sessions, socket.conn);
    }
    const int most = waiting;
    for (; waiting > 0; waiting--) {
        rig.settle();
        CHECK(socket.paused == (waiting > most / 2));
        tell_later(rig.sessions,
                   rig.reactor,
                   socket.conn,
                   serial,
                   {.awaited = true, .id = "7", .topic = "t", .offset = 3});
    }
    CHECK(rig.sessions[socket.conn].unanswered == 0);
    tell_later(rig.sessions, rig.reactor, socket.conn, serial + 1, {.awaited = true});  // it left
    tell_later(rig.sessions, rig.reactor, socket.conn, serial, {.verdict = Verdict::busy});
    CHECK(rig.sessions[socket.conn].unanswered == 0);
}
