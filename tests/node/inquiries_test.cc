// Questions with large answers: how many, how fast, and from whom.

#include "node/inquiries.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "node/history.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config large_config() {
    Config config = open_config();
    config.messages_per_second = 0;
    TopicRule rule;
    rule.pattern = ">";
    rule.history = 1000;
    rule.history_bytes = units::mib;
    config.topic.push_back(rule);
    return config;
}

// 20 records of 10 KB: an answer is 200 KB.
void fill(Cluster& cluster, const std::string& topic) {
    Client& publisher = cluster.greet(0);
    for (int i = 0; i < 20; i++)
        publisher.say(R"({"type":"publish","topic":")" + topic + R"(","payload":")" +
                      std::string(10'000, 'x') + "\"}");
    cluster.settle();
}

std::string history(const std::string& topic, int id) {
    return R"({"type":"history","id":")" + std::to_string(id) + R"(","topic":")" + topic + "\"}";
}

// `count` of them, in one piece.
void ask(Client& client, const std::string& topic, int count) {
    std::string bytes;
    for (int i = 0; i < count; i++)
        bytes += client_frame(Op::text, history(topic, i));
    client.socket->say(bytes);
}

}  // namespace

TEST_CASE("inquiries: many questions in one piece are all answered, in order") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(large_config(), 2, 1, 20, 4 * 1024 * 1024);
        const std::string topic = cluster.topic_at(0);
        fill(cluster, topic);
        Client& client = cluster.greet(shard);
        ask(client, topic, 17);
        client.say(R"({"type":"ping","id":"p"})");
        cluster.settle();
        const std::vector<Frame> frames = client.take();
        REQUIRE(frames.size() == 18);
        int next = 0;
        for (const Frame& frame : frames) {
            const Json answer(frame.payload);
            if (answer.text("type") == "pong") continue;
            CHECK(answer.text("type") == "history");
            CHECK(answer.number("id") == static_cast<std::uint64_t>(next++));
            CHECK(frame.payload.size() > 200'000);
        }
        CHECK(next == 17);
        CHECK(client.socket->live);
        CHECK(!client.socket->paused);
    }
}

TEST_CASE("inquiries: who does not read holds one answer, is not read from, and is served later") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(large_config(), 2, 1, 20, 4 * 1024 * 1024);
        const std::string topic = cluster.topic_at(0);
        fill(cluster, topic);
        Client& client = cluster.greet(shard);
        client.socket->room = 1000;
        ask(client, topic, 5);
        cluster.settle();
        CHECK(client.socket->paused);
        CHECK(cluster.shards[shard]->audit().outbox_bytes < 2 * history_size_max);
        client.socket->room = FakeSocket::endless;
        cluster.settle();
        CHECK(client.take().size() == 5);
        CHECK(!client.socket->paused);
    }
}

TEST_CASE("inquiries: those that are too many are refused, and nothing else is harmed") {
    Cluster cluster(large_config(), 1, 1, 20, 4 * 1024 * 1024);
    fill(cluster, "t");
    Client& client = cluster.greet();
    client.socket->room = 1000;
    ask(client, "t", 20);
    cluster.settle();
    client.socket->room = FakeSocket::endless;
    cluster.settle();
    int busy = 0;
    int answered = 0;
    for (const Frame& frame : client.take()) {
        const Json answer(frame.payload);
        if (answer.text("payload.code") == "busy") busy++;
        if (answer.text("type") == "history") answered++;
    }
    CHECK(answered == 17);  // one at once, and those that may wait
    CHECK(busy == 3);
}

TEST_CASE("inquiries: an answer counts against the rate by its size") {
    Config config = large_config();
    config.messages_per_second = 10;
    config.messages_burst = 30;
    Cluster cluster(config, 2, 1, 20, 4 * 1024 * 1024);
    const std::string topic = cluster.topic_at(0);
    fill(cluster, topic);
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Client& client = cluster.greet(shard);
        const auto answer = [&] {
            client.say(history(topic, 1));
            cluster.settle();
            const Json json(client.take_one());
            return json.text("type") == "error" ? json.text("payload.code") : json.text("type");
        };
        CHECK(answer() == "history");  // 1 and 12
        CHECK(answer() == "history");
        CHECK(answer() == "history");  // 39 of 30
        CHECK(answer() == "rate_limited");
        cluster.advance(nanos_per_s);
        CHECK(answer() == "history");
        CHECK(answer() == "rate_limited");
    }
}

TEST_CASE("inquiries: who leaves with questions under way is forgotten") {
    Cluster cluster(large_config(), 2, 1, 20, 4 * 1024 * 1024);
    const std::string topic = cluster.topic_at(0);
    fill(cluster, topic);
    for (int round = 0; round < 20; round++) {
        Client& client = cluster.greet(1);
        ask(client, topic, 5);
        for (int i = 0; i < round / 4; i++)
            cluster.turn(static_cast<std::uint32_t>(1 - i % 2));
        client.socket->say(client_close(1000));
        cluster.settle();
        CHECK(!client.socket->live);
        Client& next = cluster.greet(1);  // perhaps under the same index
        next.say(history(topic, 100 + round));
        cluster.settle();
        CHECK(Json(next.take_one()).number("id") == static_cast<std::uint64_t>(100 + round));
        next.socket->say(client_close(1000));
    }
}
