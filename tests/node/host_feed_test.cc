// The feed of --dev as a subscriber sees it.

#include "node/host_feed.h"

#include <array>

#include "node/topic_rules.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node::test;

TEST_CASE("host feed: each topic carries its figures ten times a second, as JSON") {
    struct Row {
        std::string topic;
        std::vector<std::string> members;
    };
    const std::array<Row, 4> rows{{
        {"host.cpu", {"cores"}},
        {"host.memory", {"total", "available", "used"}},
        {"host.network", {"rx", "tx", "loopback"}},
        {"host.server", {"connections", "deliveries_per_s", "messages_per_s", "cpu", "rss"}},
    }};
    Config config;
    config.dev = true;
    Cluster cluster(config, 2);
    for (const Row& row : rows) {
        CAPTURE(row.topic);
        Client& client = cluster.greet(static_cast<std::uint32_t>(cluster.random.below(2)));
        client.say(R"({"type":"subscribe","topic":")" + row.topic + "\"}");
        cluster.settle();
        CHECK(Json(client.take_one()).text("type") == "subscribed");
        for (int i = 0; i < 5; i++) {
            cluster.advance(110 * nanos_per_ms);
        }
        const std::vector<Frame> frames = client.take();
        CHECK(frames.size() >= 4);
        for (const Frame& frame : frames) {
            const Json envelope(frame.payload);
            REQUIRE(envelope.valid());
            CHECK(envelope.has("payload.t"));
            for (const std::string& member : row.members) {
                CAPTURE(member);
                const bool there =
                    envelope.has("payload." + member) || envelope.has("payload." + member + "[0]");
                CHECK(there);
            }
        }
    }
}

TEST_CASE("host feed: the server's own row counts the clients of all shards") {
    Config config;
    config.dev = true;
    Cluster cluster(config, 2);
    cluster.greet(0);
    cluster.greet(1);
    Client& client = cluster.greet(1);
    client.say(R"({"type":"subscribe","topic":"host.server"})");
    for (int i = 0; i < 4; i++) {
        cluster.advance(110 * nanos_per_ms);
    }
    const std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() >= 2);
    CHECK(Json(frames.back().payload).number("payload.connections") == 3);
}

TEST_CASE("host feed: what is kept of it is a rule like any other, for its own topics alone") {
    Config config;
    config.dev = true;
    config.topic.push_back(node::host_rule());
    CHECK(check(config).empty());
    CHECK(node::rule_number(config, "host.cpu") == 0);
    CHECK(node::rule_number(config, "chat") == feed::no_rule);
    CHECK(format_topic_rule(node::host_rule()) ==
          "host.>: history=3000, history-bytes=4MiB, history-age=5min");
}
