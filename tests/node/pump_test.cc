#include "node/pump.h"

#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "node/close_codes.h"
#include "tests/node/rig.h"
#include "tests/support/json.h"

using namespace ringcast;
using namespace ringcast::node;
using feed::LaneKind;
using ringcast::node::test::Rig;
using ringcast::test::FakeSocket;
using ringcast::test::Frame;
using ringcast::test::Json;
using ringcast::test::Op;
using ringcast::test::Peer;
using ringcast::test::server_frame;

namespace {

// "name:seq:" and letters up to `size`.
std::string record(std::string_view name, feed::Seq seq, std::size_t size) {
    std::string payload = std::string(name) + ":" + std::to_string(seq) + ":";
    while (payload.size() < size)
        payload += static_cast<char>('a' + (payload.size() + seq) % 26);
    return server_frame(Op::text, payload);
}

// A reader checks all it gets against what it must get: each topic's records one by one, whole,
// with gaps where it was told of one; pings in the order in which they were pushed.
struct Reader {
    FakeSocket* socket = nullptr;
    Peer peer{true};
    LaneKind kind = LaneKind::envelope;
    std::map<std::string, feed::Seq> next = {};  // by topic
    std::uint64_t pings_pushed = 0;
    std::uint64_t pings_seen = 0;
    std::uint64_t gaps = 0;
    std::uint16_t closed = 0;

    void read() {
        peer.feed(socket->take());
        REQUIRE_MESSAGE(peer.fault.empty(), peer.fault);
        for (const Frame& frame : peer.take()) {
            see(frame);
        }
    }
    void see(const Frame& frame) {
        if (frame.op == Op::close) {
            closed = frame.close_code();
            return;
        }
        if (frame.op == Op::ping) {
            REQUIRE(frame.payload == std::to_string(pings_seen++));
            return;
        }
        if (frame.payload.front() == '{') {
            const Json gap(frame.payload);
            REQUIRE(gap.valid());
            REQUIRE(gap.text("type") == "gap");
            feed::Seq& at = next.at(gap.text("topic"));
            REQUIRE(gap.number("payload.from") == at);
            REQUIRE(gap.number("payload.to") + 1 == gap.number("payload.next"));
            REQUIRE(gap.number("payload.next") > at);
            at = gap.number("payload.next");
            gaps++;
            return;
        }
        const std::size_t colon = frame.payload.find(':');
        const std::string name = frame.payload.substr(0, colon);
        const feed::Seq seq = std::stoull(frame.payload.substr(colon + 1));
        REQUIRE(next.at(name) == seq);
        REQUIRE(server_frame(Op::text, frame.payload) == record(name, seq, frame.payload.size()));
        next.at(name)++;
    }
};

class Walk {
  public:
    explicit Walk(std::uint64_t seed) : random_(seed), rig_(config_of(seed), seed, 256 * 1024, 64) {
        rig_.reactor.set_sendfile_min(random_.between(1, 20'000));
        const std::uint64_t topics = random_.between(1, 4);
        for (std::uint64_t i = 0; i < topics; i++) {
            topics_.push_back(&rig_.topic("t" + std::to_string(i), random_.between(8, 100) * 1024));
        }
        const std::uint64_t readers = random_.between(1, 20);
        for (std::uint64_t i = 0; i < readers; i++)
            join();
    }

    void run(int steps) {
        for (int i = 0; i < steps; i++)
            step();
        for (Reader& reader : readers_) {
            reader.socket->room = FakeSocket::endless;
            reader.socket->stingy = false;
        }
        rig_.settle();
        for (Reader& reader : readers_)
            check_complete(reader);
    }

    [[nodiscard]] std::uint64_t gaps() const {
        std::uint64_t sum = 0;
        for (const Reader& reader : readers_)
            sum += reader.gaps;
        return sum;
    }

  private:
    static Config config_of(std::uint64_t seed) {
        Config config;
        config.slow_policy = seed % 4 == 0 ? SlowPolicy::close : SlowPolicy::gap;
        config.outbox_max = 4096;
        return config;
    }

    void join() {
        const bool raw = random_.chance(1, 4);
        Reader& reader = readers_.emplace_back();
        reader.socket = &rig_.connect_open(raw ? Role::raw : Role::envelope);
        reader.kind = raw ? LaneKind::raw : LaneKind::envelope;
        reader.socket->stingy = random_.chance(1, 2);
        for (feed::Topic* topic : topics_) {
            if (random_.chance(1, 3)) continue;
            rig_.subscribe(*reader.socket, *topic, reader.kind);
            reader.next[std::string(topic->name())] = topic->lane(reader.kind)->next();
        }
    }

    void step() {
        Reader& reader = readers_[random_.below(readers_.size())];
        switch (random_.below(12)) {
            case 0:
            case 1:
            case 2:
            case 3:
                publish(*topics_[random_.below(topics_.size())]);
                return;
            case 4:
                reader.socket->room = random_.below(6000);
                return;
            case 5:
                reader.socket->room = FakeSocket::endless;
                return;
            case 6:
                ping(reader);
                return;
            case 7:
                if (random_.chance(1, 40)) leave(reader);
                return;
            default:
                rig_.turn();
                reader.read();
        }
    }

    void publish(feed::Topic& topic) {
        const std::size_t size =
            random_.chance(1, 10) ? random_.between(1, 30'000) : random_.between(10, 1500);
        for (const LaneKind kind : {LaneKind::envelope, LaneKind::raw}) {
            const feed::Seq seq = topic.lane(kind)->next();
            const std::string frame = record(topic.name(), seq, size);
            rig_.publish(topic, kind, frame);
        }
    }

    void ping(Reader& reader) {
        if (!reader.socket->live || reader.socket->closed) return;
        if (rig_.sessions[reader.socket->conn].state != State::open) return;
        rig_.push(*reader.socket, server_frame(Op::ping, std::to_string(reader.pings_pushed)));
        if (rig_.sessions[reader.socket->conn].state == State::open) reader.pings_pushed++;
    }

    void leave(Reader& reader) {
        if (!reader.socket->live || reader.socket->closed) return;
        switch (random_.below(3)) {
            case 0:
                reader.socket->broken = 32;  // EPIPE
                break;
            case 1:
                rig_.sessions.close(reader.socket->conn, 1001, {});
                break;
            default:
                reader.socket->reset();
        }
        if (readers_.size() < 30) join();
    }

    void check_complete(Reader& reader) {
        reader.read();
        if (reader.closed != 0) {
            const bool slow = reader.closed == close_codes::slow_consumer;
            CHECK((slow || reader.closed == 1001));
            return;
        }
        if (reader.socket->broken != 0) return;  // cut, and what came before was right
        CHECK(!reader.peer.inside_frame());
        CHECK(reader.pings_seen == reader.pings_pushed);
        for (feed::Topic* topic : topics_) {
            const auto found = reader.next.find(std::string(topic->name()));
            if (found == reader.next.end()) continue;
            CHECK(found->second == topic->lane(reader.kind)->next());
        }
    }

    Random random_;
    Rig rig_;
    std::vector<feed::Topic*> topics_;
    std::deque<Reader> readers_;
};

Config no_pings() {
    Config config;
    config.ping_interval = units::hour;
    return config;
}

}  // namespace

TEST_CASE("pump: whole records in order, or a gap that says which are missing, or a close") {
    std::uint64_t gaps = 0;
    for (std::uint64_t seed = 1; seed <= 150; seed++) {
        CAPTURE(seed);
        Walk walk(seed);
        walk.run(1500);
        gaps += walk.gaps();
    }
    CHECK(gaps > 20);  // or the walk has not been where it should
}

TEST_CASE("pump: a frame of one's own goes between two records, never into one") {
    Rig rig(no_pings());
    feed::Topic& topic = rig.topic("t", 64 * 1024);
    FakeSocket& socket = rig.connect_open();
    rig.subscribe(socket, topic, LaneKind::envelope);
    const std::string first = record("t", 1, 100);
    const std::string second = record("t", 2, 100);
    socket.room = 60;
    rig.publish(topic, LaneKind::envelope, first);
    rig.publish(topic, LaneKind::envelope, second);
    rig.turn();
    CHECK(socket.take() == first.substr(0, 60));
    const std::string ping = server_frame(Op::ping, "p");
    rig.push(socket, ping);
    rig.settle();
    CHECK(socket.take().empty());
    socket.room = FakeSocket::endless;
    rig.settle();
    CHECK(socket.take() == first.substr(60) + ping + second);
}

TEST_CASE("pump: the rest of a record arrives though its segment is gone, then the gap") {
    Rig rig(no_pings());
    feed::Topic& topic = rig.topic("t", 16 * 1024);
    FakeSocket& socket = rig.connect_open();
    rig.subscribe(socket, topic, LaneKind::envelope);
    const std::string first = record("t", 1, 1000);
    socket.room = 10;
    rig.publish(topic, LaneKind::envelope, first);
    rig.turn();
    for (feed::Seq seq = 2; seq <= 100; seq++) {
        rig.publish(topic, LaneKind::envelope, record("t", seq, 1000));
    }
    REQUIRE(topic.lane(LaneKind::envelope)->log().first() > 2);
    CHECK(rig.sessions[socket.conn].torn == no_link);
    socket.room = FakeSocket::endless;
    rig.settle();
    rig.publish(topic, LaneKind::envelope, record("t", 101, 50));
    rig.settle();
    std::string sent = socket.take();
    REQUIRE(sent.substr(0, first.size()) == first);
    Peer peer(true);
    peer.feed(sent.substr(first.size()));
    const auto frames = peer.take();
    REQUIRE(frames.size() == 2);
    const Json gap(frames[0].payload);
    CHECK(gap.text("type") == "gap");
    CHECK(gap.text("payload.reason") == "slow_consumer");
    CHECK(gap.number("payload.from") == 2);
    CHECK(gap.number("payload.to") == 100);
    CHECK(gap.number("payload.next") == 101);
    CHECK(server_frame(Op::text, frames[1].payload) == record("t", 101, 50));
    CHECK(rig.counters.gaps == 1);
}

TEST_CASE("pump: who cannot be told of a gap is closed with 4008 between two records") {
    for (const bool raw : {true, false}) {
        CAPTURE(raw);
        Config config = no_pings();
        if (!raw) config.slow_policy = SlowPolicy::close;
        Rig rig(config);
        const LaneKind kind = raw ? LaneKind::raw : LaneKind::envelope;
        feed::Topic& topic = rig.topic("t", 16 * 1024);
        FakeSocket& socket = rig.connect_open(raw ? Role::raw : Role::envelope);
        rig.subscribe(socket, topic, kind);
        socket.room = 10;
        for (feed::Seq seq = 1; seq <= 50; seq++) {
            rig.publish(topic, kind, record("t", seq, 1000));
            rig.turn();
        }
        socket.room = FakeSocket::endless;
        rig.settle();
        Peer peer(true);
        peer.feed(socket.take());
        CHECK(peer.fault.empty());
        CHECK(peer.take().size() == 2);  // the begun one, and the close frame
        CHECK(peer.close_code() == close_codes::slow_consumer);
        CHECK(rig.counters.slow_closed == 1);
    }
}

TEST_CASE("pump: where sends take long a turn makes fewer of them") {
    Rig rig(no_pings(), 1, 1024 * 1024, 700);
    feed::Topic& topic = rig.topic("t", 64 * 1024);
    std::vector<FakeSocket*> crowd;
    for (int i = 0; i < 600; i++) {
        crowd.push_back(&rig.connect_open());
        rig.subscribe(*crowd.back(), topic, LaneKind::envelope);
    }
    rig.publish(topic, LaneKind::envelope, record("t", 1, 10));
    rig.reactor.set_work_time(nanos_per_ms);  // a batch; two are the time of a turn
    rig.turn();
    CHECK(rig.counters.sends >= io::send_batch_max);
    CHECK(rig.counters.sends <= 2 * io::send_batch_max);
    CHECK(!rig.pump.idle());
    // Nor do those who have something of their own to get take all of that from a walk.
    rig.reactor.set_work_time(10 * nanos_per_ms);
    const std::uint64_t before = rig.counters.delivered;
    for (int turn = 0; turn < 4; turn++) {
        for (std::size_t i = 0; i < crowd.size() / 2; i++)
            rig.push(*crowd[i], "\x81\x03own");
        rig.turn();
    }
    CHECK(rig.counters.delivered > before);
    rig.reactor.set_work_time(0);
    rig.settle();
    for (std::size_t i = 0; i < crowd.size(); i++) {
        const std::size_t own = i < crowd.size() / 2 ? 4 * std::strlen("\x81\x03own") : 0;
        CHECK(crowd[i]->take().size() == record("t", 1, 10).size() + own);
    }
}

TEST_CASE("pump: a record larger than one send arrives whole") {
    Rig rig(no_pings(), 1, 4 * 1024 * 1024);
    feed::Topic& topic = rig.topic("t", 4 * 1024 * 1024);
    FakeSocket& socket = rig.connect_open();
    rig.subscribe(socket, topic, LaneKind::envelope);
    const std::string large = record("t", 1, 700'000);
    rig.publish(topic, LaneKind::envelope, large);
    rig.turn();
    rig.push(socket, server_frame(Op::ping, {}));
    rig.settle();
    CHECK(socket.take() == large + server_frame(Op::ping, {}));
    CHECK(socket.sends == 2);
}

TEST_CASE("pump: what is a little more than one slice goes as one") {
    Rig rig(no_pings(), 1, 8 * 1024 * 1024);
    feed::Topic& topic = rig.topic("t", 8 * 1024 * 1024);
    FakeSocket& socket = rig.connect_open();
    rig.subscribe(socket, topic, LaneKind::envelope);
    const auto burst = [&](feed::Seq first) {
        for (feed::Seq seq = first; seq < first + 64; seq++) {
            rig.publish(topic, LaneKind::envelope, record("t", seq, 16 * 1024));
        }
        rig.settle();
    };
    burst(1);  // in segments that double
    const std::uint64_t before = socket.sends;
    burst(65);
    CHECK(socket.sends == before + 1);
}

TEST_CASE("pump: a walk is long by readers times bytes, and until it has begun") {
    Rig rig(no_pings(), 1, 8 * 1024 * 1024, 700);
    feed::Topic& topic = rig.topic("t", 8 * 1024 * 1024);
    CHECK(!rig.pump.long_walk_ahead());
    FakeSocket& first = rig.connect_open();
    rig.subscribe(first, topic, LaneKind::envelope);
    for (int i = 1; i < 600; i++) {
        rig.subscribe(rig.connect_open(), topic, LaneKind::envelope);
    }
    rig.publish(topic, LaneKind::envelope, record("t", 1, 13'000));
    CHECK(!rig.pump.long_walk_ahead());
    rig.publish(topic, LaneKind::envelope, record("t", 2, 1'000));
    CHECK(rig.pump.long_walk_ahead());
    rig.turn();
    CHECK(!rig.pump.idle());
    CHECK(!rig.pump.long_walk_ahead());
    rig.publish(topic, LaneKind::envelope, record("t", 3, 16'000));
    CHECK(!rig.pump.long_walk_ahead());
    rig.settle();
    rig.publish(topic, LaneKind::envelope, record("t", 4, 16'000));
    CHECK(rig.pump.long_walk_ahead());
    rig.settle();
    CHECK(!rig.pump.long_walk_ahead());
    // Who is slow is behind by much, and that is his affair alone.
    for (const std::size_t room : {std::size_t{0}, std::size_t{50}}) {
        first.room = room;
        rig.publish(topic, LaneKind::envelope, record("t", 5, 100'000));
        rig.settle();
        rig.publish(topic, LaneKind::envelope, record("t", 6, 100));
        CHECK(!rig.pump.long_walk_ahead());
        rig.settle();
    }
}

TEST_CASE("pump: a crowd of readers of one topic does not hold up another's") {
    Rig rig(no_pings(), 1, 1024 * 1024, 700);
    feed::Topic& busy = rig.topic("busy", 256 * 1024);
    feed::Topic& quiet = rig.topic("quiet", 256 * 1024);
    std::vector<FakeSocket*> crowd;
    for (int i = 0; i < 600; i++) {
        crowd.push_back(&rig.connect_open());
        rig.subscribe(*crowd.back(), busy, LaneKind::envelope);
    }
    FakeSocket& lonely = rig.connect_open();
    rig.subscribe(lonely, quiet, LaneKind::envelope);
    rig.publish(busy, LaneKind::envelope, record("busy", 1, 10));
    rig.publish(quiet, LaneKind::envelope, record("quiet", 1, 10));
    rig.turn();
    CHECK(lonely.take() == record("quiet", 1, 10));
    CHECK(!rig.pump.idle());
    CHECK(rig.counters.sends < 600);
    // What comes during a walk makes slices longer: nobody waits for a second walk.
    rig.publish(busy, LaneKind::envelope, record("busy", 2, 10));
    rig.settle();
    for (FakeSocket* socket : crowd) {
        CHECK(socket->sends <= 2);
        CHECK(socket->take() == record("busy", 1, 10) + record("busy", 2, 10));
    }
    for (FakeSocket* socket : crowd) {
        rig.sessions.abort(socket->conn);
    }
    rig.sessions.abort(lonely.conn);
    rig.settle();
}

TEST_CASE("pump: a fan-out begins with other readers each time") {
    Rig rig(no_pings(), 1, 1024 * 1024, 700);
    feed::Topic& topic = rig.topic("t", 256 * 1024);
    std::vector<FakeSocket*> crowd;
    for (int i = 0; i < 600; i++) {
        crowd.push_back(&rig.connect_open());
        rig.subscribe(*crowd.back(), topic, LaneKind::envelope);
    }
    rig.reactor.set_work_time(nanos_per_ms);  // so that a turn serves one or two batches
    std::vector<int> early(crowd.size());
    for (feed::Seq seq = 1; seq <= 8; seq++) {
        rig.publish(topic, LaneKind::envelope, record("t", seq, 10));
        rig.turn();
        std::size_t served = 0;
        for (std::size_t i = 0; i < crowd.size(); i++) {
            if (crowd[i]->take().empty()) continue;
            early[i]++;
            served++;
        }
        CHECK(served >= io::send_batch_max);
        CHECK(served <= 2 * io::send_batch_max);
        rig.settle();
        for (FakeSocket* socket : crowd)
            static_cast<void>(socket->take());
    }
    // An eighth is 75 readers.
    CHECK(std::count(early.begin(), early.end(), 0) < 100);
    CHECK(*std::max_element(early.begin(), early.end()) <= 3);
    rig.reactor.set_work_time(0);
    for (FakeSocket* socket : crowd)
        rig.sessions.abort(socket->conn);
    rig.settle();
}

TEST_CASE("pump: readers who catch up hold up neither another topic nor the turn") {
    Rig rig(no_pings(), 1, 8 * 1024 * 1024, 700);
    feed::Topic& busy = rig.topic("busy", 4 * 1024 * 1024);
    feed::Topic& quiet = rig.topic("quiet", 64 * 1024);
    std::vector<FakeSocket*> crowd;
    for (int i = 0; i < 60; i++) {
        crowd.push_back(&rig.connect_open());
        rig.subscribe(*crowd.back(), busy, LaneKind::envelope);
        crowd.back()->room = 0;
    }
    FakeSocket& lonely = rig.connect_open();
    rig.subscribe(lonely, quiet, LaneKind::envelope);
    for (feed::Seq seq = 1; seq <= 100; seq++) {
        rig.publish(busy, LaneKind::envelope, record("busy", seq, 30'000));
    }
    rig.settle();
    for (FakeSocket* socket : crowd) {
        socket->room = FakeSocket::endless;
    }
    feed::Seq seq = 1;
    for (int turn = 0; turn < 10; turn++, seq++) {
        CAPTURE(turn);
        const std::uint64_t before = rig.counters.sent_bytes;
        rig.publish(quiet, LaneKind::envelope, record("quiet", seq, 10));
        rig.turn();
        CHECK(lonely.take() == record("quiet", seq, 10));
        // 512 units of 32 KiB, and what one slice may be over.
        CHECK(rig.counters.sent_bytes - before <= 17U * 1024 * 1024);
    }
    CHECK(!rig.pump.idle());  // it was more than one turn's work
    rig.settle();
    for (FakeSocket* socket : crowd) {
        CHECK(socket->sent.size() == 100 * record("busy", 1, 30'000).size());
    }
}

TEST_CASE("pump: a turn is charged with what sockets took, not with what they were offered") {
    Rig rig(no_pings(), 1, 8 * 1024 * 1024, 700);
    feed::Topic& topic = rig.topic("t", 4 * 1024 * 1024);
    std::vector<FakeSocket*> crowd;
    for (int i = 0; i < 200; i++) {
        crowd.push_back(&rig.connect_open());
        rig.subscribe(*crowd.back(), topic, LaneKind::envelope);
        crowd.back()->room = 0;
    }
    for (feed::Seq seq = 1; seq <= 100; seq++) {
        rig.publish(topic, LaneKind::envelope, record("t", seq, 30'000));
    }
    rig.settle();
    for (FakeSocket* socket : crowd) {
        socket->room = 1000;
    }
    rig.turn();
    for (FakeSocket* socket : crowd) {
        CHECK(socket->sent.size() == 1000);
    }
}

TEST_CASE("pump: a connection that fails ends itself and no other") {
    Rig rig(no_pings());
    feed::Topic& topic = rig.topic("t", 64 * 1024);
    std::vector<FakeSocket*> sockets;
    for (int i = 0; i < 60; i++) {
        sockets.push_back(&rig.connect_open());
        rig.subscribe(*sockets.back(), topic, LaneKind::envelope);
        if (i % 3 == 0) sockets.back()->broken = 32;
    }
    rig.publish(topic, LaneKind::envelope, record("t", 1, 10));
    rig.settle();
    for (std::size_t i = 0; i < sockets.size(); i++) {
        CHECK(sockets[i]->live == (i % 3 != 0));
        CHECK(sockets[i]->take() == (i % 3 != 0 ? record("t", 1, 10) : std::string()));
    }
    CHECK(rig.sessions.count() == 40);
    CHECK(topic.lane(LaneKind::envelope)->size() == 40);
}

TEST_CASE("pump: topics of one reader take turns") {
    Rig rig(no_pings(), 1, 4 * 1024 * 1024);
    feed::Topic& first = rig.topic("a", 1024 * 1024);
    feed::Topic& second = rig.topic("b", 1024 * 1024);
    FakeSocket& socket = rig.connect_open();
    rig.subscribe(socket, first, LaneKind::envelope);
    rig.subscribe(socket, second, LaneKind::envelope);
    socket.room = 0;
    rig.publish(first, LaneKind::envelope, record("a", 1, 10));
    rig.publish(second, LaneKind::envelope, record("b", 1, 10));
    rig.turn();
    // The first is always ahead; the second is served all the same.
    for (feed::Seq seq = 2; seq < 10; seq++) {
        rig.publish(first, LaneKind::envelope, record("a", seq, 10));
    }
    socket.room = FakeSocket::endless;
    rig.turn();
    rig.publish(first, LaneKind::envelope, record("a", 10, 10));
    rig.turn();
    CHECK(socket.sent.find("b:1:") != std::string::npos);
}

TEST_CASE("pump: a walk may outlive its lane") {
    Rig rig(no_pings());
    feed::Topic& topic = rig.topic("t", 64 * 1024);
    rig.publish(topic, LaneKind::raw, record("t", 1, 10));
    topic.lanes[feed::LaneKind::raw].reset();
    CHECK(!rig.pump.idle());
    rig.turn();
    CHECK(rig.pump.idle());
}

TEST_CASE("pump: a lane with a flush interval gathers, and who catches up does not wait") {
    Rig rig{Config()};
    feed::Topic& topic = rig.topic("t", 65536);
    feed::Lane& lane = *topic.lane(LaneKind::envelope);
    lane.walk.interval = 5 * nanos_per_ms;
    FakeSocket& socket = rig.connect_open();
    FakeSocket& slow = rig.connect_open();
    rig.subscribe(socket, topic, LaneKind::envelope);
    rig.subscribe(slow, topic, LaneKind::envelope);
    rig.settle();
    CHECK(rig.pump.next_due() == INT64_MAX);
    const Nanos began = rig.reactor.now();
    rig.publish(topic, LaneKind::envelope, "one,");
    rig.settle();
    CHECK(rig.pump.next_due() == began + 5 * nanos_per_ms);
    rig.clock.advance(3 * nanos_per_ms);
    rig.settle();
    rig.publish(topic, LaneKind::envelope, "two,");
    rig.sessions.mark_ready(slow.conn);  // as if it had caught up
    rig.settle();
    CHECK(socket.take().empty());
    CHECK(slow.take() == "one,two,");
    rig.clock.advance(2 * nanos_per_ms);
    rig.settle();
    CHECK(socket.take() == "one,two,");
    CHECK(socket.sends == 1);
    CHECK(slow.take().empty());
    CHECK(rig.pump.next_due() == INT64_MAX);
}

TEST_CASE("pump: a random walk of lanes that gather: everything comes, in time and in order") {
    for (std::uint64_t seed = 1; seed <= 100; seed++) {
        CAPTURE(seed);
        ringcast::Random random(seed);
        Rig rig(Config(), seed);
        std::vector<feed::Topic*> topics;
        std::vector<std::vector<FakeSocket*>> readers(3);
        for (std::size_t i = 0; i < 3; i++) {
            topics.push_back(&rig.topic("t" + std::to_string(i), 65536));
            topics[i]->lane(LaneKind::envelope)->walk.interval =
                static_cast<Nanos>(random.below(3)) * 4 * nanos_per_ms;
            for (std::uint64_t n = random.between(1, 5); n > 0; n--) {
                readers[i].push_back(&rig.connect_open());
                rig.subscribe(*readers[i].back(), *topics[i], LaneKind::envelope);
            }
        }
        std::vector<std::string> published(3);
        std::vector<std::vector<std::string>> got(3);
        std::vector<std::vector<std::pair<Nanos, std::size_t>>> moments(3);
        for (std::size_t i = 0; i < 3; i++)
            got[i].resize(readers[i].size());
        for (int step = 0; step < 300; step++) {
            const std::size_t at = random.below(3);
            if (random.chance(1, 2)) {
                const std::string text = std::to_string(step) + ",";
                rig.publish(*topics[at], LaneKind::envelope, text);
                published[at] += text;
                moments[at].emplace_back(rig.reactor.now(), published[at].size());
            } else if (random.chance(1, 2)) {
                rig.turn();
            } else {
                rig.clock.advance(static_cast<Nanos>(random.below(5)) * nanos_per_ms);
            }
            rig.settle();
            for (std::size_t i = 0; i < 3; i++) {
                const Nanos interval = topics[i]->lane(LaneKind::envelope)->walk.interval;
                std::size_t owed = 0;
                for (const auto& [when, size] : moments[i])
                    if (when + interval <= rig.reactor.now()) owed = size;
                for (std::size_t n = 0; n < readers[i].size(); n++) {
                    got[i][n] += readers[i][n]->take();
                    REQUIRE(published[i].starts_with(got[i][n]));
                    REQUIRE(got[i][n].size() >= owed);
                }
            }
        }
    }
}
