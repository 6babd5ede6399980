// The made-up prices of --dev as subscribers see them.

#include "node/demo_feed.h"

#include <map>
#include <set>
#include <string>

#include "node/host_feed.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

constexpr Nanos step = demo_feed_interval + tick_length;

Config demo_config() {
    Config config;
    config.dev = true;
    config.topic.push_back(demo_rule());
    return config;
}

// What a client knows of the prices, by key.
struct Table {
    void take(Client& client) {
        for (const Frame& frame : client.take()) {
            const Json envelope(frame.payload);
            REQUIRE(envelope.valid());
            if (envelope.text("type") != "data_update") continue;
            records++;
            const std::string key = envelope.text("key");
            REQUIRE_FALSE(key.empty());
            if (!envelope.has("payload.price")) {
                CHECK(frame.payload.ends_with("\"payload\":null}"));
                prices.erase(key);
                deleted.insert(key);
                continue;
            }
            CHECK(envelope.has("payload.change"));
            prices[key] = frame.payload;
        }
    }
    std::map<std::string, std::string> prices;
    std::set<std::string> deleted;
    int records = 0;
};

}  // namespace

TEST_CASE("demo feed: 40 made-up prices change 200 times a second, and now and then one is gone") {
    for (const std::uint32_t shards : {1U, 2U}) {
        CAPTURE(shards);
        Cluster cluster(demo_config(), shards);
        Client& client = cluster.greet(shards - 1);
        client.say(R"({"type":"subscribe","topic":"demo.prices"})");
        cluster.settle();
        Table table;
        cluster.advance(step);
        table.take(client);
        CHECK(table.prices.size() == DemoFeed::keys);
        table.records = 0;
        cluster.advance(nanos_per_s);
        table.take(client);
        CHECK(table.records >= 150);
        CHECK(table.records <= 210);
        cluster.advance(11 * nanos_per_s);
        table.take(client);
        CHECK(table.deleted.size() >= 1);
        CHECK(table.prices.size() == DemoFeed::keys - 1);

        // Who comes now gets the same state.
        Client& late = cluster.greet(0);
        late.say(R"({"type":"subscribe","topic":"demo.prices"})");
        cluster.settle();
        Table state;
        state.take(late);
        table.take(client);
        CHECK(state.prices == table.prices);
    }
}

TEST_CASE("demo feed: at one batch a second most changes are superseded by later ones") {
    Cluster cluster(demo_config());
    Client& client = cluster.greet();
    cluster.advance(step);
    client.say(R"({"type":"subscribe","topic":"demo.prices","payload":{"max_rate":1}})");
    cluster.settle();
    Table table;
    table.take(client);
    CHECK(table.prices.size() == DemoFeed::keys);
    table.records = 0;
    for (int i = 0; i < 4; i++) {
        cluster.advance(nanos_per_s);
        table.take(client);
    }
    CHECK(table.records >= 80);  // 800 changes; of four batches each has a key at most once
    CHECK(table.records <= 5 * static_cast<int>(DemoFeed::keys));
}

TEST_CASE("demo feed: nobody else publishes there, and there is none without --dev") {
    Cluster cluster(demo_config());
    Client& client = cluster.greet();
    client.say(R"({"type":"publish","id":"1","topic":"demo.prices","key":"figs","payload":1})");
    cluster.settle();
    CHECK(Json(client.take_one()).text("payload.code") == "forbidden");

    Config plain = open_config();
    plain.topic.push_back(demo_rule());
    Cluster quiet(plain);
    Client& reader = quiet.greet();
    reader.say(R"({"type":"subscribe","topic":"demo.prices"})");
    quiet.settle();
    CHECK(Json(reader.take_one()).text("type") == "subscribed");
    quiet.advance(nanos_per_s);
    CHECK(reader.take().empty());
}

TEST_CASE("demo feed: its rule is one like any other, for its topic alone") {
    const Config config = demo_config();
    CHECK(check(config).empty());
    CHECK(rule_number(config, "demo.prices") == 0);
    CHECK(rule_number(config, "demo.other") == feed::no_rule);
    CHECK(format_topic_rule(demo_rule()) == "demo.prices: keys-max=40, keys-bytes=64KiB, keyed");
}
