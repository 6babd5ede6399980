// Those who come back: history on the home shard and on others, and what is told when it is gone.

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config history_config(std::uint64_t records, std::uint64_t bytes = units::mib) {
    Config config = open_config();
    config.messages_per_second = 0;
    TopicRule rule;
    rule.pattern = "t*";  // a plain name: matches nothing
    config.topic.push_back(rule);
    rule.pattern = ">";
    rule.history = records;
    rule.history_bytes = bytes;
    config.topic.push_back(rule);
    return config;
}

std::string publish(const std::string& topic, std::string_view payload) {
    return R"({"type":"publish","topic":")" + topic + R"(","payload":)" + std::string(payload) +
           '}';
}

std::string subscribe(const std::string& topic) {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + R"("})";
}

std::string resume(const std::string& topic, std::uint64_t offset, const std::string& epoch) {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + R"(","payload":{"offset":)" +
           std::to_string(offset) + R"(,"epoch":")" + epoch + R"("}})";
}

// What a client saw of its one topic.
struct Reader {
    Client* client = nullptr;
    std::string epoch = {};
    std::uint64_t offset = 0;  // it has everything up to here, or was told
    bool subscribed = false;
    std::uint64_t resumed_from = 0;
    bool resumed = false;
    std::uint64_t recovered = 0;
    std::uint64_t gaps = 0;
    std::uint64_t got = 0;

    // Against the ledger: payload by offset. `kept`: records that must still be there.
    void read(const std::map<std::uint64_t, std::string>& ledger, std::uint64_t kept) {
        for (const Frame& frame : client->take()) {
            if (frame.op != Op::text) continue;
            const Json message(frame.payload);
            const std::string type = message.text("type");
            if (type == "subscribed") {
                see_subscribed(message, kept);
            } else if (type == "gap") {
                REQUIRE(message.number("payload.from") == resumed_from + 1);
                REQUIRE(message.number("payload.to") == offset);
                REQUIRE(message.number("payload.next") == offset + 1);
                REQUIRE(message.text("payload.reason") == "history");
                gaps++;
            } else if (type == "data_update") {
                REQUIRE(subscribed);
                REQUIRE(message.number("offset") == ++offset);
                REQUIRE(message.text("payload") == ledger.at(offset));
                got++;
            } else {
                REQUIRE(type == "welcome");
            }
        }
    }

    void see_subscribed(const Json& message, std::uint64_t kept) {
        const std::uint64_t now = message.number("payload.offset");
        subscribed = true;
        if (epoch.empty()) epoch = message.text("payload.epoch");
        REQUIRE(message.text("payload.epoch") == epoch);
        const bool recovery = message.text("payload.recovered") == "true";
        if (recovery) {
            REQUIRE(resumed);
            REQUIRE(now == resumed_from);
            recovered++;
        } else if (resumed) {
            REQUIRE(now - resumed_from > kept);
        }
        offset = now;
    }
};

}  // namespace

TEST_CASE("recovery: whoever comes back in time misses nothing, on whatever shard") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(history_config(10), 2);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(0);
        for (int i = 1; i <= 20; i++)
            publisher.say(publish(topic, std::to_string(i)));
        cluster.settle();

        Client& first = cluster.greet(shard);
        first.say(subscribe(topic));
        cluster.settle();
        const Json start(first.take_one());
        CHECK(start.number("payload.offset") == 20);
        CHECK(start.text("payload.recovered") == "false");
        const std::string epoch = start.text("payload.epoch");

        Client& back = cluster.greet(shard);
        back.say(resume(topic, 15, epoch));
        cluster.settle();
        const std::vector<Frame> frames = back.take();
        REQUIRE(frames.size() == 6);
        CHECK(Json(frames[0].payload).text("payload.recovered") == "true");
        CHECK(Json(frames[0].payload).number("payload.offset") == 15);
        CHECK(Json(frames[1].payload).number("offset") == 16);
        CHECK(Json(frames[5].payload).text("payload") == "20");

        Client& late = cluster.greet(shard);
        late.say(resume(topic, 9, epoch));
        cluster.settle();
        const std::vector<Frame> told = late.take();
        REQUIRE(told.size() == 2);
        CHECK(Json(told[0].payload).text("payload.recovered") == "false");
        CHECK(Json(told[1].payload).text("type") == "gap");
        CHECK(Json(told[1].payload).number("payload.from") == 10);
        CHECK(Json(told[1].payload).number("payload.to") == 20);
    }
}

TEST_CASE("recovery: another epoch, and an offset that never was, are told") {
    Cluster cluster(history_config(10));
    Client& client = cluster.greet();
    client.say(publish("a", "1"));
    client.say(resume("a", 1, "0123456789abcdef"));
    cluster.settle();
    std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("payload.recovered") == "false");
    CHECK(Json(frames[1].payload).text("payload.reason") == "new_epoch");
    CHECK(Json(frames[1].payload).number("payload.from") == 1);
    CHECK(Json(frames[1].payload).number("payload.to") == 1);

    const std::string epoch = Json(frames[0].payload).text("payload.epoch");
    Client& liar = cluster.greet();
    liar.say(resume("a", 5, epoch));
    cluster.settle();
    frames = liar.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[1].payload).text("payload.reason") == "unknown_offset");
    CHECK(Json(frames[1].payload).number("payload.from") == 2);
    CHECK(Json(frames[1].payload).number("payload.to") == 1);
    liar.say(R"({"type":"subscribe","id":"x","topic":"b","payload":{"offset":3}})");
    cluster.settle();
    CHECK(Json(liar.take_one()).text("payload.code") == "bad_payload");
}

TEST_CASE("recovery: more history than one piece of mail goes to another shard whole") {
    Cluster cluster(history_config(100'000, 4 * units::mib), 2, 1, 200, 16 * 1024 * 1024);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet(0);
    Client& reader = cluster.greet(1);
    const std::string filler(1000, 'x');
    for (int i = 0; i < 2000; i++)
        publisher.say(publish(topic, '"' + filler + std::to_string(i) + '"'));
    cluster.settle();
    publisher.say(subscribe(topic));
    cluster.settle();
    const std::string epoch = Json(publisher.take_one()).text("payload.epoch");
    reader.say(resume(topic, 0, epoch));
    for (int i = 0; i < 12; i++) {  // records that come between the pieces
        publisher.say(publish(topic, std::to_string(i)));
        cluster.turn(0);
        cluster.turn(1);
    }
    cluster.settle();
    const std::vector<Frame> frames = reader.take();
    REQUIRE(frames.size() == 2013);
    CHECK(Json(frames[0].payload).text("payload.recovered") == "true");
    for (std::size_t i = 1; i < frames.size(); i++)
        REQUIRE(Json(frames[i].payload).number("offset") == i);
}

TEST_CASE("recovery: who leaves while history is under way takes nothing from who waits") {
    for (int turns = 1; turns < 12; turns++) {
        CAPTURE(turns);
        Cluster cluster(history_config(100'000, 4 * units::mib), 2, 1, 200, 16 * 1024 * 1024);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(0);
        Client& leaver = cluster.greet(1);
        Client& reader = cluster.greet(1);
        const std::string filler(1000, 'x');
        for (int i = 0; i < 1000; i++)
            publisher.say(publish(topic, '"' + filler + '"'));
        cluster.settle();
        leaver.say(subscribe(topic));
        reader.say(subscribe(topic));
        cluster.turn(1);
        for (int i = 0; i < turns; i++)
            cluster.turn(static_cast<std::uint32_t>(i % 2));
        leaver.say(R"({"type":"unsubscribe","topic":")" + topic + R"("})");
        cluster.settle();
        static_cast<void>(reader.take());
        publisher.say(publish(topic, "1"));
        cluster.settle();
        CHECK(Json(reader.take_one()).number("offset") == 1001);
    }
}

TEST_CASE("recovery: a random walk of clients that go and come back") {
    std::uint64_t recovered = 0;
    std::uint64_t gaps = 0;
    for (std::uint64_t seed = 1; seed <= 60; seed++) {
        INFO("seed " << seed);
        Random random(seed);
        const std::uint64_t records = random.between(1, 40);
        const auto shards = static_cast<std::uint32_t>(random.between(1, 3));
        Cluster cluster(history_config(records), shards, seed);
        const std::string topic = cluster.topic_at(0);
        std::map<std::uint64_t, std::string> ledger;
        Client& publisher = cluster.greet(static_cast<std::uint32_t>(random.below(shards)));
        std::vector<Reader> readers(4);
        for (int step = 0; step < 150; step++) {
            for (std::uint64_t i = random.below(8); i > 0; i--) {
                const std::uint64_t offset = ledger.size() + 1;
                ledger[offset] = std::to_string(random.below(1'000'000));
                publisher.say(publish(topic, ledger[offset]));
            }
            Reader& reader = readers[random.below(readers.size())];
            if (reader.client == nullptr) {
                reader.client = &cluster.greet(static_cast<std::uint32_t>(random.below(shards)));
                reader.resumed = !reader.epoch.empty();
                reader.resumed_from = reader.offset;
                reader.subscribed = false;
                reader.client->say(reader.resumed ? resume(topic, reader.offset, reader.epoch)
                                                  : subscribe(topic));
            } else if (random.chance(1, 4)) {
                reader.read(ledger, records);
                reader.client->socket->say(client_close(1000));
                reader.client = nullptr;
            }
            if (random.chance(1, 2)) cluster.settle();
            for (Reader& each : readers)
                if (each.client != nullptr) each.read(ledger, records);
        }
        for (int i = 0; i < 20; i++) {  // what is read makes room in a socket for more
            cluster.settle();
            for (Reader& each : readers)
                if (each.client != nullptr) each.read(ledger, records);
        }
        for (const Reader& each : readers) {
            if (each.client == nullptr) continue;
            CHECK(each.offset == ledger.size());
            recovered += each.recovered;
            gaps += each.gaps;
        }
    }
    CHECK(recovered > 100);
    CHECK(gaps > 20);
}
