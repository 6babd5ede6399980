// Topics that keep the latest record of each key, from one client to another, over several shards.

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config keyed_config() {
    Config config = open_config();
    config.messages_per_second = 0;
    TopicRule rule;
    rule.pattern = ">";
    rule.keyed = true;
    config.topic.push_back(rule);
    return config;
}

std::string update(const std::string& topic, const std::string& key, const std::string& payload) {
    return R"({"type":"publish","topic":")" + topic + R"(","key":")" + key + R"(","payload":)" +
           payload + '}';
}

std::string subscribe(const std::string& topic, const std::string& payload = {}) {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + '"' +
           (payload.empty() ? "" : R"(,"payload":)" + payload) + '}';
}

std::string resume(const std::string& topic, std::uint64_t offset, const std::string& epoch) {
    return subscribe(topic,
                     R"({"offset":)" + std::to_string(offset) + R"(,"epoch":")" + epoch + R"("})");
}

using Table = std::map<std::string, std::string>;

// What a client makes of its one topic.
struct Reader {
    Client* client = nullptr;
    Table state = {};
    std::string epoch = {};
    std::uint64_t offset = 0;
    std::uint64_t head = 0;
    bool snapshot = false;
    std::uint64_t got = 0;
    std::uint64_t skipped = 0;
    std::uint64_t snapshots = 0;

    void read() {
        for (const Frame& frame : client->take()) {
            if (frame.op == Op::text) see(Json(frame.payload));
        }
    }
    void see(const Json& message) {
        const std::string type = message.text("type");
        if (type == "subscribed") {
            REQUIRE(message.text("payload.keyed") == "true");
            epoch = message.text("payload.epoch");
            head = message.number("payload.head");
            snapshot = message.text("payload.snapshot") == "true";
            if (message.text("payload.recovered") == "true") {
                REQUIRE(message.number("payload.offset") == offset);
                return;
            }
            offset = message.number("payload.offset");
            if (snapshot) state.clear();
            snapshots += snapshot ? 1 : 0;
        } else if (type == "data_update") {
            REQUIRE(message.number("offset") > offset);
            skipped += message.number("offset") - offset - 1;
            offset = message.number("offset");
            got++;
            if (message.text("payload") == "null") {
                state.erase(message.text("key"));
            } else {
                state[message.text("key")] = message.text("payload");
            }
        } else {
            REQUIRE(type == "welcome");
        }
    }
};

// What a publisher says, and what that makes of the table.
std::string change_something(Random& random,
                             const std::string& topic,
                             std::uint64_t keys,
                             const std::string& filler,
                             Table& table) {
    const std::string key = "k" + std::to_string(random.below(keys));
    if (random.chance(1, 10)) {
        table.erase(key);
        return update(topic, key, "null");
    }
    table[key] = filler + std::to_string(random.below(1'000'000));
    return update(topic, key, '"' + table[key] + '"');
}

}  // namespace

TEST_CASE("keyed: a snapshot first, then what changes, on whatever shard") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(keyed_config(), 2);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(0);
        for (int i = 0; i < 50; i++)
            publisher.say(update(topic, "k" + std::to_string(i % 5), std::to_string(i)));
        publisher.say(update(topic, "k3", "null"));
        cluster.settle();

        Reader reader{.client = &cluster.greet(shard)};
        reader.client->say(subscribe(topic));
        cluster.settle();
        reader.read();
        CHECK(reader.snapshot);
        CHECK(reader.head == 51);
        CHECK(reader.offset == 51);
        CHECK(reader.state == Table{{"k0", "45"}, {"k1", "46"}, {"k2", "47"}, {"k4", "49"}});

        publisher.say(update(topic, "k3", "7"));
        cluster.settle();
        reader.read();
        CHECK(reader.offset == 52);
        CHECK(reader.state["k3"] == "7");

        // Without a snapshot, and back from where one was.
        Reader plain{.client = &cluster.greet(shard)};
        plain.client->say(subscribe(topic, R"({"snapshot":false})"));
        Reader back{.client = &cluster.greet(shard), .offset = 49};
        back.client->say(subscribe(topic, R"({"offset":49,"epoch":")" + reader.epoch + "\"}"));
        cluster.settle();
        plain.read();
        back.read();
        CHECK_FALSE(plain.snapshot);
        CHECK(plain.offset == 52);
        CHECK(plain.got == 0);
        CHECK(back.state == Table{{"k4", "49"}, {"k3", "7"}});
    }
}

TEST_CASE("keyed: what cannot be taken is told to its publisher, and nothing else happens") {
    Config config = keyed_config();
    config.topic.back().keys_max = 2;
    Cluster cluster(config);
    Reader reader{.client = &cluster.greet()};
    reader.client->say(subscribe("t"));
    Client& publisher = cluster.greet();
    const auto code_of = [&](const std::string& message) {
        publisher.say(message);
        cluster.settle();
        const std::vector<Frame> frames = publisher.take();
        return frames.empty() ? "" : Json(frames[0].payload).text("payload.code");
    };
    CHECK(code_of(R"({"type":"publish","topic":"t","payload":1})") == "missing_key");
    CHECK(code_of(update("t", "a", "1")) == "");
    CHECK(code_of(update("t", "b", "1")) == "");
    CHECK(code_of(update("t", "c", "1")) == "too_many_keys");
    CHECK(code_of(update("t", "a", "2")) == "");
    CHECK(code_of(update("t", "b", "null")) == "");
    CHECK(code_of(update("t", "c", "3")) == "");
    reader.read();
    CHECK(reader.state == Table{{"a", "2"}, {"c", "3"}});
    CHECK(reader.offset == 5);

    Client& raw = cluster.connect("/raw?publish=t");
    raw.socket->say(client_frame(Op::text, "1"));
    cluster.settle();
    CHECK(raw.close_code() == 1008);
}

TEST_CASE("keyed: the bytes of all keys have a limit") {
    Config config = keyed_config();
    config.topic.back().keys_bytes = 64 * units::kib;
    Cluster cluster(config, 1, 1, 200, 16 * 1024 * 1024);
    Client& publisher = cluster.greet();
    const std::string payload = '"' + std::string(10'000, 'x') + '"';
    for (int i = 0; i < 8; i++)
        publisher.say(update("t", std::to_string(i), payload));
    cluster.settle();
    const std::vector<Frame> frames = publisher.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("payload.code") == "keys_full");
}

TEST_CASE("keyed: who missed the end of keys that are forgotten begins anew") {
    Cluster cluster(keyed_config());
    Reader reader{.client = &cluster.greet()};
    reader.client->say(subscribe("t"));
    Client& publisher = cluster.greet();
    for (int i = 0; i < 1500; i++)
        publisher.say(update("t", "k" + std::to_string(i), "1"));
    cluster.settle();
    reader.read();
    CHECK(reader.state.size() == 1500);
    reader.client->socket->room = 0;
    publisher.say(update("t", "k0", "null"));
    cluster.settle();
    for (int i = 1; i < 1499; i++)
        publisher.say(update("t", "k" + std::to_string(i), "null"));
    cluster.settle();
    reader.client->socket->room = FakeSocket::endless;
    cluster.settle();
    reader.read();
    CHECK(reader.snapshots == 2);
    CHECK(reader.state == Table{{"k1499", "1"}});

    // So does who comes back from before that.
    Reader back{.client = &cluster.greet(), .offset = 1500};
    back.client->say(resume("t", 1500, reader.epoch));
    cluster.settle();
    back.read();
    CHECK(back.snapshots == 1);
    CHECK(back.state == reader.state);
}

TEST_CASE("keyed: whoever wants no more than so many batches a second gets the latest in each") {
    Cluster cluster(keyed_config(), 2);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet(0);
    Reader paced{.client = &cluster.greet(1)};
    Reader quick{.client = &cluster.greet(1)};
    paced.client->say(subscribe(topic, R"({"max_rate":2})"));
    quick.client->say(subscribe(topic));
    cluster.settle();
    int value = 0;
    for (int tick = 0; tick < 300; tick++) {  // 3 s
        for (int i = 0; i < 3; i++)
            publisher.say(update(topic, "k" + std::to_string(i), std::to_string(value++)));
        cluster.advance(tick_length);
    }
    cluster.advance(nanos_per_s);
    paced.read();
    quick.read();
    CHECK(quick.got == 900);
    CHECK(paced.got >= 3 * 6);
    CHECK(paced.got <= 3 * 8);
    CHECK(paced.state == quick.state);
    CHECK(paced.offset == 900);

    paced.client->say(R"({"type":"unsubscribe","topic":")" + topic + "\"}");
    cluster.advance(nanos_per_s);
    static_cast<void>(paced.client->take());
    paced.client->say(subscribe(topic, R"({"max_rate":0.01})"));
    cluster.settle();
    CHECK(Json(paced.client->take_one()).text("payload.code") == "bad_payload");
}

TEST_CASE("keyed: what is held back is sent before the server ends") {
    Cluster cluster(keyed_config());
    Client& publisher = cluster.greet();
    Reader paced{.client = &cluster.greet()};
    paced.client->say(subscribe("t", R"({"max_rate":0.1})"));
    publisher.say(update("t", "a", "1"));
    cluster.settle();
    publisher.say(update("t", "a", "2"));
    cluster.settle();
    paced.read();
    CHECK(paced.state["a"] == "1");
    cluster.shards[0]->request_stop();
    cluster.settle();
    paced.read();
    CHECK(paced.state["a"] == "2");
    CHECK(paced.client->close_code() == 1012);
}

TEST_CASE("keyed: the history of such a topic is the latest of each key") {
    Cluster cluster(keyed_config());
    Client& client = cluster.greet();
    client.say(R"({"type":"history","id":"h","topic":"t"})");
    cluster.settle();
    CHECK(Json(client.take_one()).number("payload.next") == 1);
    for (int i = 0; i < 10; i++)
        client.say(update("t", "k" + std::to_string(i % 3), std::to_string(i)));
    client.say(R"({"type":"history","id":"h","topic":"t","payload":{"limit":2}})");
    cluster.settle();
    const Json answer(client.take_one());
    CHECK(answer.number("payload.first") == 8);
    CHECK(answer.number("payload.next") == 11);
    CHECK(answer.number("payload.records[0].offset") == 8);
    CHECK(answer.number("payload.records[1].offset") == 9);
    CHECK(answer.text("payload.more") == "true");
}

TEST_CASE("keyed: a random walk; whoever has the head has the latest of every key") {
    std::uint64_t skipped = 0;
    std::uint64_t snapshots = 0;
    for (std::uint64_t seed = 1; seed <= 60; seed++) {
        INFO("seed " << seed);
        Random random(seed);
        const auto shards = static_cast<std::uint32_t>(random.between(1, 3));
        Cluster cluster(keyed_config(), shards, seed, 200, 4 * 1024 * 1024);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(static_cast<std::uint32_t>(random.below(shards)));
        const std::uint64_t keys = random.between(1, random.chance(1, 2) ? 8 : 400);
        const std::string filler(random.below(3000), 'x');
        Table state;
        std::uint64_t published = 0;
        std::vector<Reader> readers(4);
        for (int step = 0; step < 120; step++) {
            for (std::uint64_t i = random.below(40); i > 0; i--) {
                publisher.say(change_something(random, topic, keys, filler, state));
                published++;
            }
            Reader& reader = readers[random.below(readers.size())];
            if (reader.client == nullptr) {
                reader.client = &cluster.greet(static_cast<std::uint32_t>(random.below(shards)));
                const bool resumes = !reader.epoch.empty() && random.chance(3, 4);
                if (!resumes) reader.state.clear();
                reader.client->socket->room = random.chance(1, 2) ? 20'000 : FakeSocket::endless;
                reader.client->say(resumes ? resume(topic, reader.offset, reader.epoch)
                                           : subscribe(topic));
            } else if (random.chance(1, 6)) {
                reader.read();
                reader.client->socket->say(client_close(1000));
                reader.client->socket->room = FakeSocket::endless;
                reader.client->socket->full = false;
                reader.client = nullptr;
            } else {
                reader.client->socket->room = random.chance(1, 2) ? 20'000 : FakeSocket::endless;
            }
            if (random.chance(2, 3)) cluster.settle();
            for (Reader& each : readers)
                if (each.client != nullptr) each.read();
        }
        for (int i = 0; i < 60; i++) {
            for (Reader& each : readers) {
                if (each.client == nullptr) continue;
                each.client->socket->room = FakeSocket::endless;
                each.read();
            }
            cluster.settle();
        }
        for (Reader& each : readers) {
            if (each.client == nullptr) continue;
            each.read();
            CHECK(each.offset == published);
            CHECK(each.state == state);
            skipped += each.skipped;
            snapshots += each.snapshots;
        }
    }
    CHECK(skipped > 1000);
    CHECK(snapshots > 50);
}
