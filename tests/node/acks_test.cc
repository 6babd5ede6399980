// Records that subscribers acknowledge: sent again, given up, told to publishers, and taken along
// into the client's next connection, over several shards.

#include "node/acks.h"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

constexpr Nanos second = nanos_per_s;

Config acks_config() {
    Config config = open_config();
    config.messages_per_second = 0;
    config.ack_timeout = 2 * units::s;
    config.ack_timeout_max = 8 * units::s;
    config.ack_attempts = 3;
    config.ack_expiry = 60 * units::s;
    config.ping_interval = units::hour;
    return config;
}

std::string subscribe(const std::string& topic, const std::string& more = {}) {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + R"(","payload":{"acks":true)" +
           more + "}}";
}

std::string publish(const std::string& topic,
                    const std::string& id,
                    const std::string& more = {},
                    const std::string& payload = "1") {
    return R"({"type":"publish","ack_required":true,"topic":")" + topic + R"(","id":")" + id + '"' +
           more + R"(,"payload":)" + payload + "}";
}

std::string ack(const std::string& topic, std::uint64_t offset, const std::string& more = {}) {
    return R"({"type":"ack","id":"a","topic":")" + topic + R"(","payload":{"offset":)" +
           std::to_string(offset) + more + "}}";
}

// The offsets of the records that came since the last call, and a word for whatever else did.
std::vector<std::string> news(Client& client) {
    std::vector<std::string> all;
    for (const Frame& frame : client.take()) {
        const Json message(frame.payload);
        const std::string type = message.text("type");
        if (type == "data_update") {
            all.push_back(message.text("offset"));
        } else if (type == "error") {
            all.push_back(message.text("payload.code"));
        } else {
            all.push_back(type);
        }
    }
    return all;
}

using Words = std::vector<std::string>;

struct Joined {
    Client* client = nullptr;
    std::string name;  // as the server knows it
    std::string session;
    std::string epoch;
    std::uint64_t open = 0;
};

// A client that subscribes with acks. `target`: as whom it comes back.
Joined join(Cluster& cluster,
            const std::string& topic,
            std::uint32_t shard,
            const std::string& target = "/ws",
            const std::string& more = {}) {
    Client& client = cluster.connect(target, shard);
    cluster.settle();
    Joined joined;
    joined.client = &client;
    const std::vector<Frame> first = client.take();
    REQUIRE(first.size() == 1);
    joined.name = Json(first.front().payload).text("payload.client_id");
    client.say(subscribe(topic, more));
    cluster.settle();
    const std::vector<Frame> frames = client.take();
    REQUIRE_FALSE(frames.empty());
    const Json answer(frames.front().payload);
    REQUIRE(answer.text("type") == "subscribed");
    REQUIRE(answer.text("payload.acks") == "true");
    joined.session = answer.text("payload.session");
    joined.epoch = answer.text("payload.epoch");
    joined.open = answer.number("payload.open");
    return joined;
}

std::string as(const Joined& joined) {
    return "/ws?client_id=" + joined.name + "&session=" + joined.session;
}

std::string behind(const std::string& epoch, std::uint64_t offset) {
    return R"(,"offset":)" + std::to_string(offset) + R"(,"epoch":")" + epoch + '"';
}

std::string behind(const Joined& joined, std::uint64_t offset) {
    return behind(joined.epoch, offset);
}

// Of a client that is gone: it owes record 1 of t, which another reader keeps in the log.
Joined leave_with_a_debt(Cluster& cluster) {
    join(cluster, "t", 0);
    const Joined joined = join(cluster, "t", 0);
    cluster.greet().say(publish("t", "one"));
    cluster.settle();
    joined.client->socket->reset();
    cluster.settle();
    return joined;
}

}  // namespace

TEST_CASE("acks: a record comes again until it is acknowledged, after a longer wait each time") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(acks_config(), 2);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(0);
        Client& reader = *join(cluster, topic, shard).client;
        publisher.say(publish(topic, "one"));
        publisher.say(R"({"type":"publish","topic":")" + topic + R"(","payload":2})");
        cluster.settle();
        const std::vector<Frame> frames = reader.take();
        REQUIRE(frames.size() == 2);
        CHECK(Json(frames[0].payload).text("ack_required") == "true");
        CHECK_FALSE(Json(frames[1].payload).has("ack_required"));

        cluster.advance(3 * second);
        const std::vector<Frame> again = reader.take();
        REQUIRE(again.size() == 1);
        CHECK(again[0].payload == frames[0].payload);
        cluster.advance(2 * second);
        CHECK(news(reader).empty());  // now it is four
        cluster.advance(3 * second);
        CHECK(news(reader) == Words{"1"});
        reader.say(ack(topic, 1));
        cluster.advance(30 * second);
        CHECK(news(reader).empty());
        CHECK(cluster.shards[shard]->counters().acks == 1);
        CHECK(cluster.shards[shard]->counters().sent_again == 2);
        CHECK(cluster.shards[shard]->counters().acks_missed == 0);
    }
}

TEST_CASE("acks: who did not say so at subscribing is left alone") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    Client& reader = cluster.greet();
    reader.say(R"({"type":"subscribe","topic":"t"})");
    join(cluster, "t", 0);
    static_cast<void>(reader.take());
    publisher.say(publish("t", "one"));
    cluster.advance(30 * second);
    CHECK(news(reader) == Words{"1"});
    reader.say(ack("t", 1));
    cluster.settle();
    CHECK(news(reader) == Words{"not_awaited"});
}

TEST_CASE("acks: by id, by topic and id, by offset, or all before it") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    Client& reader = *join(cluster, "t", 0).client;
    reader.say(subscribe("u"));
    cluster.settle();
    for (const char* id : {"a", "b\\\"c", "d", "e", "f"}) {
        publisher.say(publish("t", id));
    }
    publisher.say(publish("u", "a"));
    cluster.settle();
    static_cast<void>(reader.take());
    reader.say(R"({"type":"ack","id":"b\"c"})");
    reader.say(R"({"type":"ack","id":"a","topic":"u"})");
    reader.say(R"({"type":"ack","id":"a"})");
    cluster.settle();
    CHECK(news(reader).empty());
    reader.say(R"({"type":"ack","id":"a"})");
    cluster.settle();
    CHECK(news(reader) == Words{"not_awaited"});
    reader.say(ack("t", 4, R"(,"all_before":true)"));
    cluster.advance(3 * second);
    CHECK(news(reader) == Words{"5"});
    CHECK(cluster.shards[0]->counters().acks == 5);
}

TEST_CASE("acks: what waits for none is told so, and nothing else happens") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    Client& reader = *join(cluster, "t", 0).client;
    Client& other = *join(cluster, "t", 0).client;
    publisher.say(R"({"type":"publish","topic":"t","payload":1})");
    publisher.say(publish("t", "two"));
    cluster.settle();
    static_cast<void>(reader.take());
    static_cast<void>(other.take());
    reader.say(ack("t", 2));
    for (const std::string& wrong : {ack("t", 2),
                                     ack("t", 1),
                                     ack("t", 0),
                                     ack("t", 3),
                                     ack("t", 9223372036854775807),
                                     ack("nowhere", 2),
                                     ack("t", 2, R"(,"all_before":true)"),
                                     std::string(R"({"type":"ack","id":"two"})")}) {
        CAPTURE(wrong);
        reader.say(wrong);
        cluster.settle();
        CHECK(news(reader) == Words{"not_awaited"});
    }
    for (const std::string& wrong : {std::string(R"({"type":"ack"})"),
                                     std::string(R"({"type":"ack","payload":{"offset":2}})")}) {
        reader.say(wrong);
        cluster.settle();
        CHECK(news(reader) == Words{"missing_member"});
    }
    for (const std::string& wrong : {std::string(R"({"type":"ack","id":"x","payload":1})"),
                                     ack("t", 2, R"(,"all_before":1)"),
                                     std::string(R"({"type":"ack","id":"x","topic":"t",)"
                                                 R"("payload":{"offset":-1}})"),
                                     std::string(R"({"type":"ack","id":"x","payload":)"
                                                 R"({"all_before":true}})")}) {
        CAPTURE(wrong);
        reader.say(wrong);
        cluster.settle();
        CHECK(news(reader) == Words{"bad_payload"});
    }
    cluster.advance(3 * second);
    CHECK(news(other) == Words{"2"});  // it owes it all the same
    CHECK(news(reader).empty());
}

TEST_CASE("acks: behind 64 that are out the subscriber gets nothing more, and others do") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    Client& reader = *join(cluster, "t", 0).client;
    Client& quick = cluster.greet();
    quick.say(R"({"type":"subscribe","topic":"t"})");
    cluster.settle();
    static_cast<void>(quick.take());
    for (int i = 1; i <= 100; i++) {
        publisher.say(publish("t", std::to_string(i)));
    }
    cluster.settle();
    CHECK(news(quick).size() == 100);
    CHECK(news(reader).size() == 64);
    reader.say(ack("t", 2));
    cluster.settle();
    CHECK(news(reader).empty());
    reader.say(ack("t", 1));
    cluster.settle();
    CHECK(news(reader) == Words{"65", "66"});
    reader.say(ack("t", 66, R"(,"all_before":true)"));
    cluster.settle();
    CHECK(news(reader).size() == 34);
    static_cast<void>(cluster.shards[0]->audit());
}

TEST_CASE("acks: who never acknowledges gives a record up after its attempts, and goes on") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    Client& reader = *join(cluster, "t", 0).client;
    for (int i = 1; i <= 70; i++) {
        publisher.say(publish("t", std::to_string(i)));
    }
    cluster.advance(60 * second);
    std::size_t firsts = 0;
    for (const std::string& word : news(reader)) {
        if (word == "1") firsts++;
    }
    CHECK(firsts == 4);
    cluster.advance(60 * second);
    CHECK(cluster.shards[0]->counters().acks_missed == 70);
    publisher.say(publish("t", "last"));
    cluster.settle();
    CHECK(news(reader).back() == "71");
}

TEST_CASE("acks: a publisher that asked is told how many did not acknowledge") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(acks_config(), 2);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(shard);
        Client& good = *join(cluster, topic, 0).client;
        join(cluster, topic, 0);
        join(cluster, topic, 1);
        publisher.say(publish(topic, "one", R"(,"report_expired":true)"));
        publisher.say(publish(topic, "two"));
        publisher.say(publish(topic, "three", R"(,"report_expired":true)"));
        cluster.settle();
        CHECK(news(publisher) == Words{"ack", "ack", "ack"});
        good.say(ack(topic, 3, R"(,"all_before":true)"));
        cluster.advance(90 * second);
        std::uint64_t clients = 0;
        for (const Frame& frame : publisher.take()) {
            const Json message(frame.payload);
            REQUIRE(message.text("type") == "expired");
            REQUIRE(message.text("topic") == topic);
            const bool one = message.text("id") == "one";
            CHECK(message.number("payload.offset") == (one ? 1 : 3));
            CHECK((one || message.text("id") == "three"));
            clients += message.number("payload.clients");
        }
        CHECK(clients == 4);
    }
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    publisher.say(R"({"type":"publish","topic":"t","id":"1","report_expired":true,"payload":1})");
    publisher.say(R"({"type":"publish","topic":"t","id":"1","report_expired":1,"payload":1})");
    cluster.settle();
    CHECK(news(publisher) == Words{"missing_member", "bad_report_expired"});
}

TEST_CASE("acks: who comes back with its token goes on with what it owes, on whatever shard") {
    for (std::uint32_t first = 0; first < 3; first++) {
        for (std::uint32_t then = 0; then < 3; then++) {
            CAPTURE(first);
            CAPTURE(then);
            Cluster cluster(acks_config(), 3);
            const std::string topic = cluster.topic_at(0);
            Client& publisher = cluster.greet(1);
            join(cluster, topic, 0);  // keeps the log in which they are
            join(cluster, topic, 1);
            join(cluster, topic, 2);
            const Joined joined = join(cluster, topic, first);
            for (int i = 1; i <= 4; i++) {
                publisher.say(publish(topic, std::to_string(i)));
            }
            cluster.settle();
            CHECK(news(*joined.client) == Words{"1", "2", "3", "4"});
            joined.client->say(ack(topic, 2));
            cluster.settle();
            const bool half_open = (first + then) % 2 == 0;  // the server has not noticed yet
            if (!half_open) joined.client->socket->reset();
            cluster.settle();

            Joined back = join(cluster, topic, then, as(joined), behind(joined, 3));
            CHECK(back.open == 2);
            CHECK(back.session == joined.session);
            cluster.advance(second);
            CHECK(news(*back.client) == Words{"1", "3"});  // and 4, which it had not, came before
            if (half_open) CHECK(joined.client->close_code() == 4501);
            back.client->say(ack(topic, 1));
            back.client->say(ack(topic, 3));
            back.client->say(ack(topic, 4));
            cluster.advance(30 * second);
            CHECK(news(*back.client).empty());
        }
    }
}

TEST_CASE("acks: without the token, or with another's, nobody gets at it, and it expires") {
    Cluster cluster(acks_config(), 2);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet(0);
    join(cluster, topic, 0);
    const Joined joined = join(cluster, topic, 1, "/ws?client_id=me");
    CHECK(joined.name == "me");
    publisher.say(publish(topic, "one", R"(,"report_expired":true)"));
    cluster.settle();
    static_cast<void>(publisher.take());
    joined.client->socket->reset();
    cluster.settle();
    for (const std::string& target : {std::string("/ws?client_id=me"),
                                      "/ws?client_id=you&session=" + joined.session,
                                      "/ws?client_id=me&session=" + std::string(32, '0'),
                                      std::string("/ws?client_id=me&session=")}) {
        CAPTURE(target);
        const Joined other = join(cluster, topic, 0, target, behind(joined, 1));
        CHECK(other.open == 0);
        other.client->socket->reset();
        cluster.settle();
    }
    cluster.advance(70 * second);
    std::uint64_t clients = 0;
    for (const Frame& frame : publisher.take()) {
        clients += Json(frame.payload).number("payload.clients");
    }
    CHECK(clients == 2);  // the one that is still there does not acknowledge either
    CHECK(join(cluster, topic, 1, as(joined), behind(joined, 1)).open == 0);
}

TEST_CASE("acks: debts of a topic that is not asked for again go on to the next connection") {
    Cluster cluster(acks_config());
    const Joined joined = leave_with_a_debt(cluster);
    const Joined elsewhere = join(cluster, "u", 0, as(joined));
    CHECK(elsewhere.open == 0);
    elsewhere.client->socket->fin();
    cluster.settle();
    CHECK(join(cluster, "t", 0, as(joined), behind(joined, 1)).open == 1);
}

TEST_CASE("acks: whoever recovers without a token owes what it had not, wherever it comes") {
    Config config = acks_config();
    TopicRule rule;
    rule.pattern = ">";
    rule.history = 100;
    config.topic.push_back(rule);
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(config, 2);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(0);
        for (int i = 1; i <= 5; i++) {
            publisher.say(publish(topic, std::to_string(i)));
        }
        cluster.settle();
        const std::string epoch = Json(publisher.take().front().payload).text("payload.epoch");
        Client& reader = cluster.greet(shard);
        reader.say(subscribe(topic, behind(epoch, 2)));
        cluster.settle();
        CHECK(news(reader) == Words{"subscribed", "3", "4", "5"});
        reader.say(ack(topic, 4));
        cluster.advance(3 * second);
        CHECK(news(reader) == Words{"3", "5"});
    }
}

TEST_CASE("acks: what the log had to let go of is missed, and a gap tells the rest") {
    Config config = acks_config();
    config.topic_log_max = 64 * units::kib;
    Cluster cluster(config);
    Client& publisher = cluster.greet();
    Client& reader = *join(cluster, "t", 0).client;
    publisher.say(publish("t", "one"));
    cluster.settle();
    CHECK(news(reader) == Words{"1"});
    const std::string filler = '"' + std::string(4000, 'x') + '"';
    for (int i = 0; i < 40; i++) {
        publisher.say(R"({"type":"publish","topic":"t","payload":)" + filler + "}");
        cluster.settle();
    }
    CHECK(news(reader).size() == 40);
    cluster.advance(3 * second);
    CHECK(news(reader).empty());
    CHECK(cluster.shards[0]->counters().acks_missed == 1);
}

TEST_CASE("acks: a topic that keeps the latest of each key has none") {
    Config config = acks_config();
    TopicRule rule;
    rule.pattern = ">";
    rule.keyed = true;
    config.topic.push_back(rule);
    Cluster cluster(config);
    Client& reader = cluster.greet();
    reader.say(subscribe("t"));
    cluster.settle();
    CHECK(news(reader) == Words{"keyed"});
}

TEST_CASE("acks: what was behind a window that was given up comes by itself") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    Client& reader = *join(cluster, "t", 0).client;
    for (int i = 1; i <= 70; i++) {
        publisher.say(publish("t", std::to_string(i)));
    }
    cluster.advance(40 * second);  // after 2, 4, 8 and 8 s
    const Words words = news(reader);
    CHECK(std::find(words.begin(), words.end(), "70") != words.end());
}

TEST_CASE("acks: who takes a client's name does not get its session") {
    Cluster cluster(acks_config(), 2);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet();
    join(cluster, topic, 0);
    join(cluster, topic, 1);
    const Joined mine = join(cluster, topic, 0, "/ws?client_id=me");
    publisher.say(publish(topic, "one"));
    cluster.settle();
    const Joined thief = join(cluster, topic, 1, "/ws?client_id=me");
    CHECK(mine.client->close_code() == 4501);
    CHECK(thief.session != mine.session);
    CHECK(join(cluster, topic, 0, as(thief), behind(mine, 1)).open == 0);
    CHECK(join(cluster, topic, 1, as(mine), behind(mine, 1)).open == 1);
    // The server's names, too, are no way to anybody's session.
    const Joined nameless = join(cluster, topic, 0);
    const Joined squatter = join(cluster, topic, 0, "/ws?client_id=" + nameless.name);
    CHECK(squatter.session != nameless.session);
    cluster.settle();
    CHECK(nameless.client->close_code() == 0);
}

TEST_CASE("acks: a reader that ends, or falls behind, costs no publisher its connection") {
    for (const bool ends : {true, false}) {
        Config config = acks_config();
        config.topic_log_max = units::mib;
        Cluster cluster(config, 1, 1, 200, 16 * 1024 * 1024);
        Client& publisher = cluster.greet();
        Client& reader = *join(cluster, "t", 0).client;
        for (int i = 0; i < 2000; i++) {
            publisher.say(publish("t",
                                  "message-" + std::to_string(i),
                                  R"(,"report_expired":true)",
                                  ends ? "1" : '"' + std::string(900, 'x') + '"'));
            if (i % 50 != 0) continue;
            cluster.settle();
            static_cast<void>(publisher.take());
        }
        cluster.settle();
        static_cast<void>(publisher.take());
        if (ends) reader.socket->fin();
        cluster.settle();
        static_cast<void>(reader.take());
        for (int i = 0; i < 70; i++) {
            cluster.advance(second);
            static_cast<void>(publisher.take());
        }
        CHECK(publisher.close_code() == 0);
    }
}

TEST_CASE("acks: what a connection owes is left behind once") {
    Cluster cluster(acks_config());
    const Joined joined = leave_with_a_debt(cluster);
    join(cluster, "u", 0, as(joined));  // has the debt of t now
    const Joined back = join(cluster, "t", 0, as(joined), behind(joined, 1));
    CHECK(back.open == 1);
    back.client->say(ack("t", 1));
    cluster.advance(10 * second);  // the one before is cut
    back.client->socket->reset();
    cluster.settle();
    CHECK(join(cluster, "t", 0, as(joined), behind(joined, 1)).open == 0);
}

TEST_CASE("acks: what the log has not any more when its client is back is told") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    const Joined joined = join(cluster, "t", 0);  // the only reader
    publisher.say(publish("t", "one", R"(,"report_expired":true)"));
    cluster.settle();
    static_cast<void>(publisher.take());
    joined.client->socket->reset();
    cluster.settle();
    CHECK(join(cluster, "t", 0, as(joined), behind(joined, 1)).open == 0);
    cluster.advance(90 * second);
    CHECK(news(publisher) == Words{"expired"});
}

TEST_CASE("acks: a pattern brings them, and by name they are as that request says") {
    Cluster cluster(acks_config());
    Client& publisher = cluster.greet();
    Client& reader = cluster.greet();
    reader.say(subscribe(">"));
    cluster.settle();
    for (const std::string topic : {"t", "u"}) {
        publisher.say(publish(topic, "first"));
    }
    cluster.settle();
    static_cast<void>(reader.take());
    cluster.advance(3 * second);
    CHECK(news(reader) == Words{"1", "1"});
    reader.say(R"({"type":"subscribe","id":"n","topic":"t"})");
    reader.say(subscribe("u"));
    cluster.settle();
    static_cast<void>(reader.take());
    for (int i = 0; i < 70; i++) {
        publisher.say(publish("t", std::to_string(i)));
        publisher.say(publish("u", std::to_string(i)));
    }
    cluster.settle();
    CHECK(news(reader).size() == 70 + 63);  // of u one was open
}

TEST_CASE("acks: a third connection has what the first one owed, in whatever order they go") {
    Cluster cluster(acks_config(), 2);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet();
    join(cluster, topic, 0);
    join(cluster, topic, 1);
    const Joined first = join(cluster, topic, 0);
    publisher.say(publish(topic, "one"));
    cluster.settle();
    Client& second_one = cluster.dial(1);
    second_one.socket->say(upgrade_request(as(first)));
    cluster.turn(1);
    second_one.socket->reset();
    cluster.turn(1);
    CHECK(join(cluster, topic, 0, as(first), behind(first, 1)).open == 1);
}
