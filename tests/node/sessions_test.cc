#include "node/sessions.h"

#include <numeric>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "node/close_codes.h"
#include "tests/node/rig.h"
#include "wire/frame.h"

using namespace ringcast;
using namespace ringcast::node;
using ringcast::node::test::Rig;
using ringcast::test::FakeSocket;
using ringcast::test::Op;
using ringcast::test::Peer;

namespace {

const std::string ping_frame("\x89\x00", 2);

std::string text_frame(std::string_view text) {
    return std::string("\x81") + static_cast<char>(text.size()) + std::string(text);
}

Config small_outbox() {
    Config config;
    config.outbox_max = 64;
    return config;
}

}  // namespace

TEST_CASE("sessions: what is pushed is sent in order, and a draining session gets nothing") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    rig.push(socket, text_frame("one"));
    rig.push(socket, text_frame("two"));
    CHECK(rig.sessions.ready().size() == 1);
    rig.settle();
    CHECK(socket.take() == text_frame("one") + text_frame("two"));
    rig.sessions.abort(socket.conn);
    rig.push(socket, text_frame("three"));
    rig.settle();
    CHECK(socket.sent.empty());
    CHECK(rig.erased == 1);
}

TEST_CASE("sessions: a client that lets replies wait is not read from until it has them") {
    Rig rig(small_outbox());
    FakeSocket& socket = rig.connect_open();
    socket.room = 0;
    const std::string reply = text_frame("0123456789012345678901234567");
    rig.push(socket, reply);
    rig.push(socket, reply);
    CHECK_FALSE(socket.paused);
    rig.push(socket, reply);
    CHECK(socket.paused);
    CHECK(rig.sessions[socket.conn].state == State::open);
    socket.room = FakeSocket::endless;
    rig.settle();
    CHECK_FALSE(socket.paused);
    CHECK(socket.take() == reply + reply + reply);
}

TEST_CASE("sessions: past all bounds it is closed as slow, and told so at the end") {
    Rig rig(small_outbox());
    FakeSocket& socket = rig.connect_open();
    socket.room = 0;
    const std::string reply = text_frame("0123456789012345678901234567");
    std::size_t pushed = 0;
    while (rig.sessions[socket.conn].state == State::open) {
        rig.push(socket, reply);
        pushed++;
    }
    CHECK(pushed * reply.size() > 64 + outbox_slack);
    CHECK(rig.counters.slow_closed == 1);
    rig.push(socket, reply);
    socket.room = FakeSocket::endless;
    rig.settle();
    Peer peer(true);
    peer.feed(socket.take());
    CHECK(peer.fault.empty());
    const auto frames = peer.take();
    REQUIRE(frames.size() == pushed);  // the last one did not fit, and the close frame
    CHECK(frames.back().close_code() == close_codes::slow_consumer);
}

TEST_CASE("sessions: nothing is sent behind a close frame") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    rig.sessions.close(socket.conn, 1001, "bye");
    rig.push(socket, text_frame("late"));
    rig.sessions.close(socket.conn, 1002, "again");
    rig.settle();
    Peer peer(true);
    peer.feed(socket.take());
    CHECK(peer.fault.empty());
    CHECK(peer.close_code() == 1001);
    CHECK(peer.take().size() == 1);
}

TEST_CASE("sessions: after our close frame the peer's is awaited, then the connection is closed") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    rig.sessions.close(socket.conn, 1001, {});
    rig.settle();
    CHECK(!socket.closed);
    CHECK(!socket.shut);
    rig.sessions[socket.conn].peer_closed = true;
    rig.sessions.mark_ready(socket.conn);
    rig.settle();
    CHECK(socket.closed);
    CHECK(rig.sessions.count() == 0);
}

TEST_CASE("sessions: a peer past talking to gets our FIN once, and has until the deadline") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    rig.sessions.close(socket.conn, 1002, {});
    rig.sessions[socket.conn].deaf = true;
    rig.settle();
    CHECK(socket.shut);
    rig.sessions.mark_ready(socket.conn);
    rig.settle();
    CHECK(!socket.closed);
    const auto timeout = static_cast<Nanos>(rig.config.close_timeout);
    rig.advance(timeout - tick_length);
    CHECK(!socket.closed);
    rig.advance(tick_length);
    CHECK(socket.closed);
}

TEST_CASE("sessions: finish sends what waits without a word") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect();
    rig.sessions[socket.conn].become(State::handshaking);
    socket.room = 5;
    rig.sessions.push_unlimited(socket.conn, as_bytes("HTTP/1.1 404"));
    rig.sessions.finish(socket.conn);
    rig.settle();
    CHECK(socket.take() == "HTTP/");
    CHECK(!socket.shut);
    socket.room = FakeSocket::endless;
    rig.settle();
    CHECK(socket.take() == "1.1 404");
    CHECK(socket.shut);
    CHECK(!socket.closed);
}

TEST_CASE("sessions: close and finish before the handshake cut at once") {
    Rig rig{Config()};
    FakeSocket& accepted = rig.connect();
    rig.sessions.finish(accepted.conn);
    CHECK(accepted.closed);
    FakeSocket& shaking = rig.connect();
    rig.sessions[shaking.conn].become(State::handshaking);
    rig.sessions.close(shaking.conn, 1012, "restart");
    CHECK(shaking.closed);
    rig.settle();
    CHECK(shaking.sent.empty());
    CHECK(rig.sessions.count() == 0);
}

TEST_CASE("sessions: every ending closes the reactor's connection exactly once") {
    // The fake reactor checks the "once".
    for (int first = 0; first < 3; first++) {
        for (int second = 0; second < 3; second++) {
            Rig rig{Config()};
            FakeSocket& socket = rig.connect_open();
            for (const int what : {first, second, 2, first}) {
                if (what == 0) rig.sessions.close(socket.conn, 1001, {});
                if (what == 1) rig.sessions.finish(socket.conn);
                if (what == 2) rig.sessions.abort(socket.conn);
            }
            CHECK(rig.sessions.leaving().size() == 1);
            rig.settle();
            CHECK(!socket.live);
        }
    }
}

TEST_CASE("sessions: reading pauses for any reason and goes on when none is left") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    rig.sessions.pause(socket.conn, pause::credit);
    rig.sessions.pause(socket.conn, pause::credit);
    rig.sessions.pause(socket.conn, pause::outbox);
    CHECK(socket.paused);
    CHECK(rig.sessions.anyone_waiting());
    rig.sessions.resume_waiting();
    CHECK(!rig.sessions.anyone_waiting());
    CHECK(socket.paused);
    rig.advance(nanos_per_s);
    rig.sessions.resume(socket.conn, pause::outbox);
    rig.sessions.resume(socket.conn, pause::outbox);
    CHECK(!socket.paused);
    CHECK(rig.sessions[socket.conn].heard == rig.sessions.now());
    // A closing client is heard again: its close frame must come.
    rig.sessions.pause(socket.conn, pause::credit);
    rig.sessions.close(socket.conn, 1000, {});
    CHECK(!socket.paused);
    rig.sessions.pause(socket.conn, pause::credit);
    CHECK(!socket.paused);
}

TEST_CASE("sessions: who waited for credit may be gone, and its index another's") {
    Rig rig{Config()};
    FakeSocket& first = rig.connect_open();
    rig.sessions.pause(first.conn, pause::credit);
    const std::uint64_t serial = rig.sessions[first.conn].serial;
    rig.sessions.abort(first.conn);
    rig.settle();
    FakeSocket& second = rig.connect_open();
    REQUIRE(second.conn == first.conn);
    CHECK(rig.sessions.find(second.conn, serial) == nullptr);
    CHECK(rig.sessions.find(second.conn, rig.sessions[second.conn].serial) != nullptr);
    rig.sessions.pause(second.conn, pause::outbox);
    rig.sessions.resume_waiting();
    CHECK(second.paused);
}

TEST_CASE("sessions: who waited for credit may be on its way out when there is some again") {
    Rig rig{Config()};
    FakeSocket& socket = rig.connect_open();
    rig.sessions.pause(socket.conn, pause::credit);
    rig.sessions.abort(socket.conn);
    rig.sessions.resume_waiting();  // before the kernel has let it go
    CHECK(socket.closed);
    rig.settle();
    CHECK(!socket.live);
}

TEST_CASE("sessions: an index keeps its place on the ready list, not its gates") {
    Rig rig{Config()};
    FakeSocket& first = rig.connect_open();
    first.room = 0;
    rig.push(first, ping_frame);
    rig.settle();
    CHECK((rig.sessions.gate_of(first.conn) & gate::blocked) != 0);
    rig.sessions.mark_ready(first.conn);
    rig.sessions.abort(first.conn);
    rig.take_out_leavers();
    rig.reactor.wait(0);  // on_closed, and no turn in between
    FakeSocket& second = rig.connect_open();
    REQUIRE(second.conn == first.conn);
    CHECK(rig.sessions.gate_of(second.conn) == gate::ready);
    rig.push(second, text_frame("mine"));
    CHECK(rig.sessions.ready().size() == 1);
    rig.settle();
    CHECK(second.take() == text_frame("mine"));
    CHECK(first.sent.empty());
}

TEST_CASE("sessions: a silent client is pinged, then cut; a handshake has its deadline") {
    Config config;
    config.ping_interval = 1 * units::s;
    config.pong_timeout = 500 * units::ms;
    config.handshake_timeout = 700 * units::ms;
    Rig rig(config);
    FakeSocket& open = rig.connect_open();
    FakeSocket& shaking = rig.connect();
    for (int i = 0; i < 69; i++)
        rig.advance(tick_length);
    CHECK(!shaking.closed);
    rig.advance(tick_length);
    CHECK(shaking.closed);
    int ticks = 70;
    while (ticks < 200 && !open.closed) {
        rig.advance(tick_length);
        rig.settle();
        ticks++;
    }
    CHECK(open.take() == ping_frame);
    CHECK(rig.counters.pong_timeouts == 1);
    CHECK(ticks >= 100);  // silence of half an interval at least, and the time-out
    CHECK(ticks <= 151);
}

TEST_CASE("sessions: a socket that takes nothing is given up in time, and any byte taken helps") {
    Config config;
    config.ping_interval = units::hour;
    config.stall_timeout = 1 * units::s;
    Rig rig(config);
    FakeSocket& socket = rig.connect_open();
    socket.room = 3;
    rig.push(socket, text_frame("0123456789"));
    rig.settle();
    rig.advance(990 * nanos_per_ms);
    CHECK(!socket.closed);
    socket.room = 3;
    rig.settle();
    rig.advance(990 * nanos_per_ms);
    CHECK(!socket.closed);
    rig.advance(tick_length);
    CHECK(socket.closed);
    CHECK(rig.counters.stalls == 1);
}

TEST_CASE("sessions: clients who spoke in the same tick are not pinged in the same tick") {
    constexpr std::uint32_t count = 1000;
    Config config;
    config.ping_interval = 2 * units::s;
    config.pong_timeout = 1 * units::s;
    Rig rig(config, 1, 1024 * 1024, count);
    std::vector<FakeSocket*> sockets;
    for (std::uint32_t i = 0; i < count; i++) {
        sockets.push_back(&rig.connect_open());
    }
    for (int storm = 0; storm < 3; storm++) {
        CAPTURE(storm);
        for (FakeSocket* socket : sockets) {
            socket->say("x");
        }
        rig.advance(tick_length);
        std::vector<std::size_t> pings(200);
        for (std::size_t tick = 0; tick < pings.size(); tick++) {
            rig.advance(tick_length);
            rig.settle();
            for (FakeSocket* socket : sockets) {
                pings[tick] += socket->take().size() / ping_frame.size();
            }
        }
        // Each once, in the second half of the interval: 10 a tick on the average.
        CHECK(std::accumulate(pings.begin(), pings.end(), std::size_t{0}) == count);
        CHECK(std::accumulate(pings.begin(), pings.begin() + 100, std::size_t{0}) == 0);
        for (std::size_t tick = 100; tick < 200; tick++) {
            CHECK(pings[tick] <= 30);
        }
        for (auto tenth = pings.begin() + 100; tenth != pings.end(); tenth += 10) {
            CHECK(std::accumulate(tenth, tenth + 10, std::size_t{0}) >= 50);
        }
    }
}

TEST_CASE("sessions: an idle client is pinged once an interval, not more often for the spread") {
    Config config;
    config.ping_interval = 2 * units::s;
    config.pong_timeout = 1 * units::s;
    Rig rig(config);
    FakeSocket& socket = rig.connect_open();
    std::size_t pings = 0;
    for (int tick = 0; tick < 20 * 200; tick++) {
        rig.advance(tick_length);
        rig.settle();
        if (socket.take() == ping_frame) {
            pings++;
            socket.say("pong");
        }
    }
    CHECK(pings >= 19);
    CHECK(pings <= 21);
}
