#include "node/restore.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/node/durable_cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

// `count` records of each topic, as a server before this one would have left them.
void fill(FakeStore& store, std::uint32_t topics, std::uint32_t count, const std::string& body) {
    for (std::uint32_t topic = 0; topic < topics; topic++) {
        const std::string name = "t" + std::to_string(topic);
        for (std::uint32_t i = 1; i <= count; i++) {
            const std::string payload = '"' + body + std::to_string(i) + '"';
            const std::string id = std::to_string(i);
            io::StoreRecord record{.topic = name,
                                   .epoch = 7 + topic,
                                   .wall_ns = VirtualClock().wall,
                                   .client = "c",
                                   .id = id,
                                   .payload = as_bytes(payload)};
            io::StoreRecord* all[] = {&record};
            REQUIRE(store.append(all).ok());
        }
    }
}

}  // namespace

TEST_CASE("restore: every topic is at its home, with its number, epoch, history and ids") {
    FakeStore store;
    fill(store, 20, 5, "x");
    for (std::uint32_t shards = 1; shards <= 3; shards++) {
        DurableCluster durable(store, durable_config(), shards);
        CHECK(durable.restored.problem.empty());
        CHECK(durable.restored.topics == 20);
        CHECK(durable.restored.records == 100);
        CHECK(durable.restored.strangers == 0);
        Cluster& cluster = durable.cluster;
        for (std::uint32_t topic = 0; topic < 20; topic++) {
            const std::string name = "t" + std::to_string(topic);
            Client& client = cluster.greet(topic % shards, "/ws?client_id=c");
            client.say(subscribe_from(name,
                                      0,
                                      "00000000000000" + std::string(topic < 9 ? "0" : "1") +
                                          "0123456789abcdef"[(7 + topic) % 16]));
            durable.settle();
            std::vector<Frame> frames = client.take();
            REQUIRE(frames.size() == 6);
            CHECK(Json(frames[0].payload).text("payload.recovered") == "true");
            CHECK(Json(frames[5].payload).text("payload") == "x5");
            CHECK(Json(frames[5].payload).number("offset") == 5);
            client.say(durable_publish(name, "3", "0"));
            durable.settle();
            CHECK(Json(client.take_one()).number("payload.offset") == 3);
        }
    }
}

TEST_CASE("restore: rules that are shorter than they were, and topics that are durable no more") {
    FakeStore store;
    fill(store, 2, 50, "x");
    Config config = durable_config(10);
    config.topic.front().pattern = "t1";
    DurableCluster durable(store, config);
    CHECK(durable.restored.topics == 1);
    CHECK(durable.restored.records == 10 + 50);  // t1 is left as it is
    CHECK(durable.restored.strangers == 1);
    CHECK(store.topics().at("t0").records.size() == 10);
    Client& client = durable.cluster.greet();
    client.say(subscribe_from("t0", 39, "0000000000000007"));
    durable.settle();
    std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[1].payload).number("payload.to") == 50);
    Client& back = durable.cluster.greet();
    back.say(subscribe_from("t0", 40, "0000000000000007"));
    durable.settle();
    CHECK(back.take().size() == 11);
}

TEST_CASE("restore: more topics than may be are no start") {
    FakeStore store;
    fill(store, 3, 1, "x");
    Config config = durable_config();
    config.topics_max = 2;
    const DurableCluster durable(store, config);
    CHECK(durable.restored.problem == "--topics-max: '2' is less than --store has durable topics");
}

TEST_CASE("restore: history that does not fit into the log is as short as it would have become") {
    FakeStore store;
    fill(store, 1, 3, std::string(600'000, 'x'));  // larger than any record of an arena of 1 MiB
    fill(store, 1, 20, std::string(20'000, 'y'));
    DurableCluster durable(store, durable_config(), 1, 1, 256 * 1024);
    CHECK(durable.restored.problem.empty());
    Client& client = durable.cluster.greet();
    client.say(subscribe_from("t0", 20, "0000000000000007"));
    durable.settle();
    const std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 4);
    CHECK(Json(frames[0].payload).text("payload.recovered") == "true");
    CHECK(Json(frames[3].payload).number("offset") == 23);
}

TEST_CASE("restore: history goes on growing old where it was") {
    FakeStore store;
    fill(store, 1, 5, "x");
    Config config = durable_config();
    config.topic.back().history_age = 10 * units::s;
    DurableCluster durable(store, config);
    durable.cluster.advance(5 * nanos_per_s);
    Client& client = durable.cluster.greet();
    client.say(subscribe_from("t0", 0, "0000000000000007"));
    durable.settle();
    CHECK(client.take().size() == 6);
    durable.cluster.advance(7 * nanos_per_s);
    Client& late = durable.cluster.greet();
    late.say(subscribe_from("t0", 0, "0000000000000007"));
    durable.settle();
    CHECK(late.take().size() == 2);
}
