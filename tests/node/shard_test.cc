#include "node/shard.h"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "node/close_codes.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

std::string subscribe(std::string_view topic) {
    return R"({"type":"subscribe","topic":")" + std::string(topic) + R"("})";
}

std::string publish(std::string_view topic, std::size_t number, std::size_t size = 0) {
    return R"({"type":"publish","topic":")" + std::string(topic) + R"(","payload":")" +
           std::to_string(number) + ":" + std::string(size, 'x') + R"("})";
}

void stop(Cluster& cluster) {
    for (auto& shard : cluster.shards)
        shard->request_stop();
}

bool all_done(const Cluster& cluster) {
    for (const auto& shard : cluster.shards) {
        if (!shard->done()) return false;
    }
    return true;
}

Config patient_config() {
    Config config = open_config();
    config.ping_interval = units::hour;
    config.messages_per_second = 0;
    return config;
}

// The client is there for at least so long, and for less than `within` more.
void check_end(Cluster& cluster, const Client& client, Nanos at_least, Nanos within) {
    cluster.advance(at_least);
    CHECK(client.socket->live);
    cluster.advance(within);
    CHECK(!client.socket->live);
}

// The numbers of the data messages in `frames`; they must be what the publisher sent.
std::size_t count_in_order(const std::vector<Frame>& frames) {
    std::size_t next = 0;
    for (const Frame& frame : frames) {
        if (frame.op != Op::text) continue;
        const Json message(frame.payload);
        REQUIRE(message.text("type") == "data_update");
        const std::string payload = message.text("payload");
        REQUIRE(payload.substr(0, payload.find(':')) == std::to_string(next));
        next++;
    }
    return next;
}

}  // namespace

TEST_CASE("shard: a turn serves a client from its first byte to its close") {
    Cluster cluster(open_config());
    Client& client = cluster.greet();
    CHECK(cluster.shards[0]->session_count() == 1);
    client.say(subscribe("t"));
    cluster.settle();
    CHECK(Json(client.take_one()).text("type") == "subscribed");
    client.say(publish("t", 0));
    cluster.settle();
    CHECK(count_in_order(client.take()) == 1);
    client.socket->say(client_close(1000));
    cluster.settle();
    CHECK(client.close_code() == 1000);
    CHECK(!client.socket->live);
    CHECK(!client.socket->unread);
    CHECK(cluster.shards[0]->session_count() == 0);
    CHECK(cluster.shards[0]->counters().closed == 1);
    CHECK(!cluster.shards[0]->done());
}

// A newcomer's bytes come one wait() after its connection: they are what is just being published as
// the turn begins to send.
TEST_CASE("shard: before a long walk it hears what else is being published") {
    for (const std::size_t readers : {std::size_t{3}, std::size_t{150}}) {
        CAPTURE(readers);
        Cluster cluster(patient_config(), 1, 1, 200, 4 * 1024 * 1024);
        for (std::size_t i = 0; i < readers; i++) {
            cluster.connect("/raw?topic=t");
        }
        Client& writer = cluster.greet();
        constexpr std::size_t size = 60'000;  // times 150 is more than long_walk_min
        for (std::size_t i = 0; i < 4; i++) {
            writer.say(publish("t", i, size));  // so that the log's next segment is large
        }
        cluster.settle();
        std::vector<std::uint32_t> sends;
        for (std::size_t i = 0; i < readers; i++) {
            CHECK(cluster.clients[i].take().size() == 4);
            sends.push_back(cluster.clients[i].socket->sends);
        }
        Client& late = cluster.dial();
        late.socket->say(upgrade_request("/raw?publish=t") + client_frame(Op::text, "late"));
        writer.say(publish("t", 4, size));
        cluster.turn(0);
        for (std::size_t i = 0; i < readers; i++) {
            CHECK(cluster.clients[i].socket->sends == sends[i] + 1);
            CHECK(cluster.clients[i].take().size() == (readers == 3 ? 1 : 2));
        }
        // Whoever woke the shard in the middle of the turn is heard in the next one.
        if (readers > 3) CHECK(cluster.shards[0]->plan() == 0);
        cluster.settle();
        CHECK(cluster.clients[0].take().size() == (readers == 3 ? 1 : 0));
    }
}

TEST_CASE("shard: a stop tells everybody 1012 and is done when they are gone") {
    Cluster cluster(patient_config());
    for (int i = 0; i < 20; i++)
        cluster.greet();
    Client& silent = cluster.dial();  // no byte of its request is here
    cluster.settle();
    stop(cluster);
    cluster.settle();
    CHECK(!cluster.reactors[0]->listening());
    CHECK(!cluster.shards[0]->done());
    CHECK(!silent.socket->live);
    CHECK(silent.socket->sent.empty());
    for (Client& client : cluster.clients) {
        if (&client == &silent) continue;
        CHECK(client.close_code() == 1012);
        CHECK(client.socket->live);
        client.socket->say(client_close(1012));
    }
    cluster.settle();
    CHECK(cluster.shards[0]->done());
}

TEST_CASE("shard: a stop without clients is done at once") {
    for (const std::uint32_t shards : {1u, 3u}) {
        CAPTURE(shards);
        Cluster cluster(patient_config(), shards);
        stop(cluster);
        cluster.settle();
        CHECK(all_done(cluster));
    }
}

TEST_CASE("shard: who does not answer the 1012 is cut at the drain time-out") {
    Config config = patient_config();
    config.drain_timeout = 2 * units::s;
    config.close_timeout = units::hour;
    Cluster cluster(config);
    Client& mute = cluster.greet();
    Client& stuck = cluster.greet();
    stuck.say(subscribe("t"));
    cluster.settle();
    static_cast<void>(stuck.take());
    stuck.socket->room = 0;
    mute.say(publish("t", 0));
    cluster.settle();
    stop(cluster);
    cluster.settle();
    cluster.advance(static_cast<Nanos>(1700 * units::ms));
    CHECK(mute.close_code() == 1012);
    CHECK(stuck.socket->live);
    cluster.advance(static_cast<Nanos>(100 * units::ms));
    CHECK(mute.socket->live);
    cluster.advance(static_cast<Nanos>(260 * units::ms));
    CHECK(!mute.socket->live);
    CHECK(!stuck.socket->live);
    CHECK(cluster.shards[0]->done());
}

TEST_CASE("shard: the second request to stop cuts at once") {
    Cluster cluster(patient_config());
    Client& client = cluster.greet();
    stop(cluster);
    cluster.settle();
    CHECK(!cluster.shards[0]->done());
    stop(cluster);
    cluster.settle();
    CHECK(!client.socket->live);
    CHECK(cluster.shards[0]->done());
}

TEST_CASE("shard: what was published before a stop comes before the 1012") {
    for (std::uint64_t seed = 1; seed <= 60; seed++) {
        CAPTURE(seed);
        const auto shards = static_cast<std::uint32_t>(1 + seed % 3);
        Cluster cluster(patient_config(), shards, seed);
        Random& random = cluster.random;
        std::vector<Client*> readers;
        for (std::uint32_t i = 0; i < 6; i++) {
            readers.push_back(&cluster.greet(i % shards));
            readers.back()->say(subscribe("t"));
        }
        cluster.settle();
        for (Client* reader : readers) {
            CHECK(Json(reader->take_one()).text("type") == "subscribed");
            if (random.chance(1, 2)) reader->socket->room = random.below(3000);
            reader->socket->stingy = random.chance(1, 2);
        }
        const auto home = static_cast<std::uint32_t>(random.below(shards));
        Client& publisher = cluster.greet(home);
        const std::size_t count = random.between(1, 60);
        for (std::size_t i = 0; i < count; i++)
            publisher.say(publish("t", i, random.below(300)));
        cluster.turn(home);  // they are heard, and may be no further than the mail
        stop(cluster);
        for (int i = 0; i < 200; i++)
            cluster.turn(static_cast<std::uint32_t>(random.below(shards)));
        for (Client* reader : readers) {
            reader->socket->room = FakeSocket::endless;
            reader->socket->stingy = false;
        }
        cluster.settle();
        for (Client* reader : readers) {
            CHECK(count_in_order(reader->take()) == count);
            CHECK(reader->close_code() == 1012);
            reader->socket->say(client_close(1012));
        }
        publisher.socket->say(client_close(1012));
        cluster.settle();
        CHECK(all_done(cluster));
    }
}

TEST_CASE("shard: who has not read all shortly before the drain time-out gets the 1012 then") {
    Config config = patient_config();
    config.drain_timeout = 8 * units::s;
    Cluster cluster(config);
    Client& reader = cluster.greet();
    Client& publisher = cluster.greet();
    reader.say(subscribe("t"));
    cluster.settle();
    static_cast<void>(reader.take());
    reader.socket->room = 100;  // a record and a half
    for (std::size_t i = 0; i < 5; i++)
        publisher.say(publish("t", i));
    cluster.settle();
    stop(cluster);
    cluster.settle();
    cluster.advance(static_cast<Nanos>(6 * units::s));
    CHECK(reader.close_code() == 0);
    cluster.advance(static_cast<Nanos>(1100 * units::ms));
    reader.socket->room = FakeSocket::endless;
    cluster.settle();
    // The record that was begun, and the number of each that does not come.
    std::vector<Frame> frames = reader.take();
    REQUIRE(frames.size() >= 3);
    REQUIRE(frames.back().op == Op::close);
    frames.pop_back();
    const Json gap(frames.back().payload);
    frames.pop_back();
    const std::size_t got = count_in_order(frames);
    CHECK(got < 5);
    CHECK(gap.text("type") == "gap");
    CHECK(gap.number("payload.from") == got + 1);
    CHECK(gap.number("payload.to") == 5);
    CHECK(gap.text("payload.reason") == "restart");
    CHECK(reader.close_code() == 1012);
    CHECK(!reader.peer.inside_frame());
}

TEST_CASE("shard: a raw reader, who cannot be told what he missed, is closed as slow then") {
    Config config = patient_config();
    config.drain_timeout = 8 * units::s;
    Cluster cluster(config);
    Client& slow = cluster.connect("/raw?topic=t");
    Client& quick = cluster.connect("/raw?topic=t");
    Client& publisher = cluster.connect("/raw?publish=t");
    slow.socket->room = 15;  // a record of twelve bytes with its header, and a part of the next
    for (int i = 0; i < 5; i++)
        publisher.say("record " + std::to_string(i) + "...");
    cluster.settle();
    stop(cluster);
    cluster.settle();
    CHECK(quick.close_code() == 1012);
    CHECK(slow.close_code() == 0);
    cluster.advance(static_cast<Nanos>(7100 * units::ms));
    slow.socket->room = FakeSocket::endless;
    cluster.settle();
    const std::vector<Frame> frames = slow.take();
    REQUIRE(frames.size() == 3);  // what was begun is ended
    CHECK(frames[0].payload == "record 0...");
    CHECK(frames[1].payload == "record 1...");
    CHECK(slow.close_code() == close_codes::slow_consumer);
    CHECK(!slow.peer.inside_frame());
}

TEST_CASE("shard: who sent FIN may still read, gets what is owed, and then our FIN") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Cluster cluster(patient_config(), 2, seed);
        Client& reader = cluster.greet(0);
        Client& publisher = cluster.greet(1);
        reader.say(subscribe("t"));
        cluster.settle();
        static_cast<void>(reader.take());
        reader.socket->room = cluster.random.below(300);
        reader.socket->stingy = true;
        for (std::size_t i = 0; i < 5; i++)
            publisher.say(publish("t", i));
        cluster.settle();
        reader.socket->fin();
        cluster.settle();
        CHECK(reader.socket->live);
        reader.socket->room = FakeSocket::endless;
        cluster.settle();
        CHECK(count_in_order(reader.take()) == 5);
        CHECK(reader.close_code() == 0);  // it said no goodbye, and gets none
        CHECK_FALSE(reader.peer.inside_frame());
        CHECK_FALSE(reader.socket->live);
        CHECK(cluster.shards[0]->session_count() == 0);
    }
}

TEST_CASE("shard: who sent FIN and reads too slowly is cut at the close time-out, never pinged") {
    Config config = open_config();
    config.ping_interval = units::s;
    config.close_timeout = 3 * units::s;
    Cluster cluster(config);
    Client& reader = cluster.greet();
    reader.say(subscribe("t"));
    cluster.settle();
    static_cast<void>(reader.take());
    reader.socket->room = 0;
    Client& publisher = cluster.greet();
    for (std::size_t i = 0; i < 50; i++)
        publisher.say(publish("t", i));
    cluster.settle();
    reader.socket->fin();
    cluster.settle();
    for (std::size_t i = 0; i < 29; i++) {
        reader.socket->room = 10;  // it takes some, and more comes
        publisher.say(publish("t", 50 + i));
        cluster.advance(static_cast<Nanos>(100 * units::ms));
    }
    CHECK(reader.socket->live);
    cluster.advance(static_cast<Nanos>(100 * units::ms));
    CHECK_FALSE(reader.socket->live);
    CHECK(count_in_order(reader.take()) == 2);
    CHECK(cluster.shards[0]->counters().stalls == 0);
    CHECK(cluster.shards[0]->counters().pong_timeouts == 0);
}

TEST_CASE("shard: who is gone with all it owned is forgotten at the first send") {
    Cluster cluster(patient_config());
    Client& reader = cluster.greet();
    reader.say(subscribe("t"));
    cluster.settle();
    reader.socket->room = 0;
    Client& publisher = cluster.greet();
    publisher.say(publish("t", 0));
    cluster.settle();
    reader.socket->broken = 32;  // EPIPE
    reader.socket->fin();
    cluster.settle();
    CHECK_FALSE(reader.socket->live);
}

TEST_CASE("shard: a close frame and a newer connection end the rest at a whole record, at once") {
    for (const bool replaced : {false, true}) {
        CAPTURE(replaced);
        Cluster cluster(patient_config());
        Client& reader = cluster.greet(0, "/ws?client_id=me");
        reader.say(subscribe("t"));
        cluster.settle();
        static_cast<void>(reader.take());
        reader.socket->room = 100;  // a record and a part of the next
        Client& publisher = cluster.greet();
        for (std::size_t i = 0; i < 5; i++)
            publisher.say(publish("t", i));
        cluster.settle();
        if (replaced) {
            cluster.greet(0, "/ws?client_id=me");
        } else {
            reader.socket->say(client_close(1000));
        }
        cluster.settle();
        reader.socket->room = FakeSocket::endless;
        cluster.settle();
        CHECK(count_in_order(reader.take()) == 2);
        CHECK(reader.close_code() == (replaced ? 4501 : 1000));
        CHECK(reader.socket->live == replaced);  // its answer is still missing
    }
}

TEST_CASE("shard: a late wake-up hears its input before it looks at its timers") {
    std::uint64_t pong_timeout = 5 * units::s;
    SUBCASE("with long time-outs") {}
    SUBCASE("with short ones, of which a short stop uses up as much") {
        pong_timeout = 100 * units::ms;
    }
    Config config = open_config();
    config.ping_interval = 2 * pong_timeout;
    config.pong_timeout = pong_timeout;
    Cluster cluster(config);
    Client& client = cluster.greet();
    Client& dead = cluster.greet();
    cluster.advance(static_cast<Nanos>(2 * pong_timeout));
    CHECK(client.take().front().op == Op::ping);
    CHECK(dead.take().front().op == Op::ping);
    client.socket->say(client_frame(Op::pong, {}));  // and then the process is stopped
    const std::uint64_t late_before = cluster.shards[0]->counters().late_turns;
    cluster.clock.advance(static_cast<Nanos>(2 * pong_timeout));
    cluster.turn(0);
    CHECK(cluster.shards[0]->counters().late_turns == late_before + 1);
    cluster.settle();
    CHECK(client.socket->live);
    cluster.advance(static_cast<Nanos>(pong_timeout));
    CHECK(client.socket->live);
    CHECK(!dead.socket->live);
    CHECK(cluster.shards[0]->counters().pong_timeouts == 1);
}

TEST_CASE("shard: time in which it stood still counts against nobody") {
    Config config = patient_config();
    config.close_timeout = 2 * units::s;
    Cluster cluster(config);
    Client& reader = cluster.greet();
    reader.say(subscribe("t"));
    Client& mute = cluster.greet();
    cluster.settle();
    static_cast<void>(reader.take());
    reader.socket->room = 100;  // a record and a part of the next
    Client& publisher = cluster.greet();
    for (std::size_t i = 0; i < 5; i++)
        publisher.say(publish("t", i));
    cluster.settle();
    reader.socket->say(client_close(1000));
    mute.socket->say(std::string_view("\x83\x80\0\0\0\0", 6));  // opcode 3; never hangs up
    cluster.settle();
    cluster.clock.advance(static_cast<Nanos>(10 * units::s));  // the process is stopped
    reader.socket->room = 10;  // the rest of the record and the answer need more than one go
    cluster.settle();
    CHECK(reader.socket->live);
    CHECK(mute.socket->live);
    reader.socket->room = FakeSocket::endless;
    cluster.settle();
    CHECK(count_in_order(reader.take()) == 2);
    CHECK(reader.close_code() == 1000);
    // And the time before and after it does count: it slept for a second at most.
    check_end(cluster, mute, 900 * nanos_per_ms, 1200 * nanos_per_ms);
}

TEST_CASE("shard: where every turn is late, timers still fire") {
    Config config = patient_config();
    config.handshake_timeout = 2 * units::s;
    Cluster cluster(config);
    Client& mute = cluster.dial();
    Client& talker = cluster.greet();
    for (int i = 0; i < 20'000 && !mute.socket->closed; i++) {
        const Nanos until = cluster.shards[0]->plan();
        const Nanos planned = std::max(until, cluster.clock.now);
        cluster.clock.advance(planned - cluster.clock.now + 600 * nanos_per_ms);
        talker.say(R"({"type":"ping"})");  // there is always something to hear first
        cluster.shards[0]->turn(until);
        static_cast<void>(talker.take());
    }
    CHECK(mute.socket->closed);
    CHECK(talker.socket->live);
}

TEST_CASE("shard: mail that takes long waits for the next turn") {
    Cluster cluster(patient_config(), 2);
    const std::string topic = cluster.topic_at(0);
    Client& reader = cluster.greet(0);
    reader.say(subscribe(topic));
    Client& publisher = cluster.greet(1);
    cluster.settle();
    CHECK(Json(reader.take_one()).text("type") == "subscribed");
    for (std::size_t i = 0; i < 100; i++)
        publisher.say(publish(topic, i));
    cluster.turn(1);
    cluster.reactors[0]->set_work_time(nanos_per_ms);
    const std::uint64_t before = cluster.shards[0]->counters().published;
    cluster.turn(0);
    CHECK(cluster.shards[0]->counters().published > before);
    CHECK(cluster.shards[0]->counters().published < before + 100);
    CHECK(cluster.shards[0]->plan() == 0);
    cluster.reactors[0]->set_work_time(0);
    cluster.settle();
    CHECK(count_in_order(reader.take()) == 100);
}

TEST_CASE("shard: a flood of publications holds up neither heartbeats nor another topic") {
    Config config = patient_config();
    config.ping_interval = 1 * units::s;
    config.pong_timeout = 1 * units::s;
    config.messages_per_second = 0;
    Cluster cluster(config);
    Client& flooder = cluster.greet();
    Client& flooded = cluster.greet();
    Client& silent = cluster.greet();
    Client& publisher = cluster.greet();
    Client& reader = cluster.greet();
    flooded.say(subscribe("flood"));
    reader.say(subscribe("calm"));
    cluster.settle();
    static_cast<void>(flooded.take());
    static_cast<void>(reader.take());

    cluster.reactors[0]->set_work_time(nanos_per_ms / 10);  // there is more to do than time for it
    int pings = 0;
    int waited = -1;  // turns, for a record of the calm topic
    int worst = 0;
    std::size_t sent = 0;
    std::size_t calm = 0;
    const Nanos began = cluster.clock.now;
    while (cluster.clock.now < began + 5 * nanos_per_s) {
        while (flooder.socket->inbox.size() < 500)
            flooder.say(publish("flood", sent++));
        if (waited < 0) {
            publisher.say(publish("calm", calm++));
            waited = 0;
        }
        cluster.turn(0);
        cluster.clock.advance(nanos_per_ms);
        waited++;
        for (Client& client : cluster.clients) {
            for (const Frame& frame : client.take()) {
                if (frame.op == Op::ping) client.socket->say(client_frame(Op::pong, frame.payload));
                if (frame.op == Op::ping && &client == &silent) pings++;
                if (frame.op == Op::text && &client == &reader) {
                    worst = std::max(worst, std::exchange(waited, -1));
                }
            }
        }
    }
    CHECK(cluster.shards[0]->counters().published > 1'000);
    CHECK(pings >= 4);
    CHECK(worst <= 4);
    CHECK(calm > 100);
    for (const Client& client : cluster.clients)
        CHECK(client.socket->live);
    cluster.reactors[0]->set_work_time(0);
    cluster.settle();
}

TEST_CASE("shard: timers that take long wait for the next turn") {
    Config config = patient_config();
    config.handshake_timeout = 500 * units::ms;
    Cluster cluster(config);
    constexpr std::size_t count = 100;
    for (std::size_t i = 0; i < count; i++)
        cluster.dial();
    cluster.settle();
    const auto cut = [&cluster] {
        return static_cast<std::size_t>(
            std::count_if(cluster.clients.begin(), cluster.clients.end(), [](const Client& client) {
                return client.socket->closed;
            }));
    };
    CHECK(cut() == 0);
    cluster.clock.advance(static_cast<Nanos>(500 * units::ms));
    cluster.reactors[0]->set_work_time(nanos_per_ms);
    cluster.turn(0);
    CHECK(cut() > 0);
    CHECK(cut() < count);
    CHECK(cluster.shards[0]->plan() == 0);
    cluster.reactors[0]->set_work_time(0);
    cluster.settle();
    CHECK(cut() == count);
}

TEST_CASE("shard: leavers whose topics take long to leave do not all go in one turn") {
    Cluster cluster(patient_config());
    constexpr std::size_t count = 20;
    for (std::size_t i = 0; i < count; i++) {
        cluster.greet().say(subscribe("t"));
    }
    cluster.settle();
    for (Client& client : cluster.clients)
        client.socket->reset();
    cluster.reactors[0]->set_work_time(nanos_per_ms);
    cluster.turn(0);
    CHECK(cluster.shards[0]->plan() == 0);  // though nothing waits but those who are left
    cluster.shards[0]->turn(0);
    CHECK(cluster.shards[0]->session_count() == 0);
    cluster.reactors[0]->set_work_time(0);
    cluster.settle();
    // Their places are given to others, who stay.
    std::vector<Client*> others;
    for (std::size_t i = 0; i < count; i++) {
        others.push_back(&cluster.greet());
        others.back()->say(subscribe("t"));
    }
    cluster.settle();
    for (Client* other : others)
        CHECK(Json(other->take_one()).text("type") == "subscribed");
    others.front()->say(publish("t", 0));
    cluster.settle();
    for (Client* other : others)
        CHECK(count_in_order(other->take()) == 1);
}

TEST_CASE("shard: a turn is long by the CPU it took, and hindered if it only lasted") {
    Cluster cluster(patient_config());
    cluster.settle();
    const Counters& counters = cluster.shards[0]->counters();
    CHECK(counters.long_turns == 0);
    cluster.clock.advance(900 * nanos_per_ms);  // a sleep is neither
    cluster.turn(0);
    CHECK(counters.hindered_turns == 0);
    static_cast<void>(cluster.shards[0]->plan());
    cluster.clock.advance(6 * nanos_per_ms);
    cluster.shards[0]->turn(0);
    CHECK(counters.hindered_turns == 1);
    CHECK(counters.long_turns == 0);
    cluster.reactors[0]->set_work_time(6 * nanos_per_ms);
    cluster.turn(0);
    CHECK(counters.long_turns == 1);
    CHECK(counters.hindered_turns == 1);
}

TEST_CASE("shard: a newcomer has its whole handshake time-out, however long the shard slept") {
    Config config = open_config();
    config.handshake_timeout = 300 * units::ms;
    Cluster cluster(config);
    cluster.settle();
    cluster.clock.advance(static_cast<Nanos>(900 * units::ms));
    Client& newcomer = cluster.dial();  // ends the sleep
    cluster.settle();
    CHECK(newcomer.socket->live);
    check_end(cluster, newcomer, 290 * nanos_per_ms, 10 * nanos_per_ms);
}

TEST_CASE("shard: what ends a sleep is heard now, not when the sleep began") {
    Config config = open_config();
    config.ping_interval = 1200 * units::ms;
    Cluster cluster(config);
    Client& client = cluster.greet();
    for (int i = 0; i < 20; i++) {
        cluster.clock.advance(static_cast<Nanos>(900 * units::ms));
        client.say(R"({"type":"ping"})");  // ends the sleep
        cluster.settle();
        CHECK(Json(client.take_one()).text("type") == "pong");
        cluster.advance(static_cast<Nanos>(590 * units::ms));
        CHECK(client.take().empty());
    }
}

TEST_CASE("shard: a slot serves one client after another and mixes up none") {
    Cluster cluster(patient_config(), 1, 7, 4);
    for (std::size_t round = 0; round < 50; round++) {
        CAPTURE(round);
        Client& first = cluster.greet();
        Client& second = cluster.greet();
        first.say(subscribe("t"));
        second.say(subscribe("u"));
        cluster.settle();
        CHECK(Json(first.take_one()).text("topic") == "t");
        CHECK(Json(second.take_one()).text("topic") == "u");
        second.say(publish("t", 0));
        cluster.settle();
        CHECK(count_in_order(first.take()) == 1);
        CHECK(second.take().empty());
        if (round % 2 == 0) {
            first.socket->reset();
        } else {
            first.socket->say(client_close(1000));
        }
        second.socket->reset();
        cluster.settle();
        CHECK(!first.socket->live);
        CHECK(cluster.shards[0]->session_count() == 0);
    }
    CHECK(cluster.shards[0]->counters().accepted == 100);
    CHECK(cluster.shards[0]->counters().refused == 0);
}

TEST_CASE("shard: one client too many is told 503, and its place is free again") {
    Cluster cluster(patient_config(), 1, 1, 2);
    Client& first = cluster.greet();
    cluster.greet();
    Client& third = cluster.connect();
    CHECK(third.peer.status == 503);
    first.socket->reset();
    cluster.settle();
    cluster.greet();
    CHECK(cluster.shards[0]->counters().refused == 1);
}
