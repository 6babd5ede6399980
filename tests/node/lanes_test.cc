#include "node/lanes.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config aging_config(std::uint64_t age) {
    Config config = open_config();
    TopicRule rule;
    rule.pattern = "a";
    rule.history = 1000;
    rule.history_age = age;
    config.topic.push_back(rule);
    return config;
}

// Whether a client that has everything up to `offset` may go on there.
bool recovers(Cluster& cluster, std::uint64_t offset, const std::string& epoch) {
    Client& client = cluster.greet();
    client.say(R"({"type":"subscribe","id":"s","topic":"a","payload":{"offset":)" +
               std::to_string(offset) + R"(,"epoch":")" + epoch + R"("}})");
    cluster.settle();
    const bool recovered = Json(client.take().front().payload).text("payload.recovered") == "true";
    client.socket->say(client_close(1000));
    cluster.settle();
    return recovered;
}

}  // namespace

TEST_CASE("lanes: history grows old, to about a thirtieth of its age") {
    Cluster cluster(aging_config(10 * units::s));
    Client& client = cluster.greet();
    client.say(R"({"type":"subscribe","topic":"a"})");
    client.say(R"({"type":"publish","topic":"a","payload":1})");
    cluster.settle();
    const std::string epoch = Json(client.take().front().payload).text("payload.epoch");
    cluster.advance(8 * nanos_per_s);
    client.say(R"({"type":"publish","topic":"a","payload":2})");
    cluster.settle();
    CHECK(recovers(cluster, 0, epoch));
    cluster.advance(4 * nanos_per_s);
    CHECK_FALSE(recovers(cluster, 0, epoch));
    CHECK(recovers(cluster, 1, epoch));
    cluster.advance(8 * nanos_per_s);
    CHECK_FALSE(recovers(cluster, 1, epoch));
    CHECK(recovers(cluster, 2, epoch));
}

TEST_CASE("lanes: a topic is kept for its history, and forgotten a minute after that is gone") {
    Cluster cluster(aging_config(10 * units::s));
    Client& client = cluster.greet();
    client.say(R"({"type":"publish","id":"1","ack_required":true,"topic":"a","payload":1})");
    cluster.settle();
    const std::string epoch = Json(client.take_one()).text("payload.epoch");
    cluster.advance(5 * nanos_per_s);
    CHECK(recovers(cluster, 0, epoch));
    CHECK(cluster.shards[0]->audit().log_bytes > 0);
    cluster.advance(15 * nanos_per_s);
    CHECK(cluster.shards[0]->audit().log_bytes == 0);
    CHECK(recovers(cluster, 1, epoch));  // the offset is still known
    cluster.advance(75 * nanos_per_s);
    CHECK_FALSE(recovers(cluster, 1, epoch));
}

TEST_CASE("lanes: a rule's flush interval holds records back, and the shard sleeps until then") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Config config = open_config();
        TopicRule rule;
        rule.pattern = ">";
        rule.flush_interval = 3 * units::ms;
        config.topic.push_back(rule);
        Cluster cluster(config, 2);
        const std::string topic = cluster.topic_at(0);
        Client& reader = cluster.greet(shard);
        reader.say(R"({"type":"subscribe","topic":")" + topic + R"("})");
        cluster.settle();
        static_cast<void>(reader.take());
        Client& publisher = cluster.greet(0);
        const std::string publish = R"({"type":"publish","topic":")" + topic + R"(","payload":1})";
        const Nanos began = cluster.clock.now;
        publisher.say(publish);
        cluster.settle();
        CHECK(reader.take().empty());
        CHECK(cluster.reactors[shard]->deadline() <= began + 3 * nanos_per_ms);
        cluster.clock.advance(nanos_per_ms);
        publisher.say(publish);
        cluster.settle();
        CHECK(reader.take().empty());
        cluster.clock.advance(2 * nanos_per_ms);
        cluster.settle();
        CHECK(reader.take().size() == 2);
    }
}
