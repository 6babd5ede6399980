#pragma once

// The parts of a shard below the hub - sessions, pool, topics, pump - on a FakeReactor, with the
// few lines of node/shard.cc that bind them, so that each part can be tested alone.

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "feed/topic.h"
#include "node/pump.h"
#include "node/sessions.h"
#include "tests/support/fake_reactor.h"
#include "tests/support/peer.h"

namespace ringcast::node::test {

using ringcast::test::FakeReactor;
using ringcast::test::FakeSocket;
using ringcast::test::VirtualClock;

class Rig final : public io::Handler {
  public:
    explicit Rig(const Config& given,
                 std::uint64_t seed = 1,
                 std::size_t arena_size = 1024 * 1024,
                 std::uint32_t capacity = 64)
        : config(given),
          reactor(clock, seed, capacity),
          wheel(0, capacity),
          sessions(config, reactor, wheel, counters, capacity),
          arena(static_cast<std::byte*>(std::aligned_alloc(feed::page_size, arena_size))),
          pool({.base = arena.get(), .size = arena_size}),
          pump(config, reactor, sessions, topics, counters),
          capacity_(capacity) {
        reactor.set_handler(*this);
    }
    ~Rig() {
        for (io::ConnIndex conn = 0; conn < capacity_; conn++) {
            if (sessions.find(conn) == nullptr) continue;
            sessions.abort(conn);
            forget(conn);
            sessions.erase(conn);
        }
    }

    // A new connection, in state accepted.
    FakeSocket& connect() {
        FakeSocket& socket = reactor.accept();
        reactor.wait(0);
        return socket;
    }
    // ... and open.
    FakeSocket& connect_open(Role role = Role::envelope) {
        FakeSocket& socket = connect();
        Session& session = sessions[socket.conn];
        session.become(State::handshaking);
        session.become(State::open);
        session.role = role;
        sessions.gate_of(socket.conn) &= static_cast<std::uint8_t>(~gate::not_open);
        sessions.arm(socket.conn);
        return socket;
    }
    void push(const FakeSocket& socket, std::string_view frame) {
        sessions.push(socket.conn, as_bytes(frame));
    }

    void advance(Nanos span) {
        clock.advance(span);
        reactor.wait(0);
        tell_time();
        wheel.advance(
            sessions.now(),
            [](void* context, std::uint32_t id) noexcept {
                static_cast<Rig*>(context)->sessions.on_timer(id);
            },
            this);
    }
    void tell_time() noexcept {
        sessions.set_now(static_cast<Tick>((reactor.now() - started) / tick_length));
    }
    // One turn without a tick.
    void turn() {
        reactor.wait(0);
        take_out_leavers();
        pump.run();
        take_out_leavers();
    }
    void settle() {
        int quiet = 0;  // the second one hears of what the pump closed in the first
        for (int i = 0; i < 10'000; i++) {
            turn();
            quiet = pump.idle() && reactor.was_idle() ? quiet + 1 : 0;
            if (quiet == 2) return;
        }
        RC_CHECK(false);
    }

    feed::Topic& topic(const std::string& name, std::size_t log_size_max) {
        feed::Topic& made = topics.create(name, std::hash<std::string>()(name));
        for (auto& lane : made.lanes) {
            lane = std::make_unique<feed::Lane>(
                pool,
                1,
                log_size_max,
                feed::LaneSink{.save_tail = &Rig::save_tail, .context = this});
        }
        return made;
    }
    void subscribe(const FakeSocket& socket, feed::Topic& topic, feed::LaneKind kind) {
        Session& session = sessions[socket.conn];
        const std::uint32_t link = session.subscriptions.add({.topic = topic.id(), .lane = kind});
        feed::Lane& lane = *topic.lane(kind);
        session.subscriptions[link].row = lane.subscribe(socket.conn, link, lane.next());
    }
    feed::Seq publish(feed::Topic& topic, feed::LaneKind kind, std::string_view frame) {
        feed::Lane& lane = *topic.lane(kind);
        const MutBytes room = lane.reserve(frame.size());
        std::copy(frame.begin(), frame.end(), reinterpret_cast<char*>(room.data()));
        const feed::Seq seq = lane.commit();
        topic.next = seq + 1;
        pump.mark(topic, kind);
        return seq;
    }
    void forget(io::ConnIndex conn) {
        Session& session = sessions[conn];
        while (session.subscriptions.size() > 0) {
            const Subscription at = session.subscriptions[session.subscriptions.size() - 1];
            feed::Lane& lane = *topics.get(at.topic)->lane(at.lane);
            lane.unsubscribe(at.row);
            if (at.row < lane.size()) {
                const feed::Subscriber& moved = lane.row(at.row);
                sessions[moved.reader].subscriptions[moved.link].row = at.row;
            }
            session.subscriptions.remove(session.subscriptions.size() - 1);
        }
    }

    void on_accepted(io::ConnIndex conn, std::uint32_t /*listener*/) noexcept override {
        tell_time();
        sessions.create(conn);
    }
    void on_received(io::ConnIndex conn, MutBytes bytes) noexcept override {
        tell_time();
        sessions[conn].heard = sessions.now();
        heard += as_text(bytes);
    }
    void on_ended(io::ConnIndex conn, int os_error) noexcept override {
        if (os_error != 0) sessions.abort(conn);
    }
    void on_writable(io::ConnIndex conn) noexcept override {
        tell_time();
        sessions.gate_of(conn) &= static_cast<std::uint8_t>(~gate::blocked);
        sessions[conn].heard = sessions.now();
        sessions.arm(conn);
        sessions.mark_ready(conn);
    }
    void on_connected(io::ConnIndex /*conn*/, int /*os_error*/) noexcept override {}
    void on_closed(io::ConnIndex conn) noexcept override {
        take_out_leavers();
        sessions.erase(conn);
        erased++;
    }
    void take_out_leavers() noexcept {
        for (const io::ConnIndex conn : sessions.leaving()) {
            sessions.gate_of(conn) &= static_cast<std::uint8_t>(~gate::leaving);
            forget(conn);
        }
        sessions.leaving().clear();
    }

    struct FreeArena {
        void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
    };

    Config config;
    VirtualClock clock;
    Nanos started = clock.now;
    FakeReactor reactor;
    Counters counters;
    Wheel wheel;
    Sessions sessions;
    std::unique_ptr<std::byte, FreeArena> arena;
    feed::SegmentPool pool;
    feed::TopicTable topics;
    Pump pump;
    std::string heard;
    std::uint32_t erased = 0;

  private:
    static void save_tail(void* context, feed::Reader reader, Bytes rest) noexcept {
        static_cast<Rig*>(context)->sessions.push_tail(reader, rest);
    }

    std::uint32_t capacity_;
};

}  // namespace ringcast::node::test
