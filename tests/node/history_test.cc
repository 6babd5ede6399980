// What was published, asked for without a subscription: on the home shard and on others, against
// what was sent.

#include "node/history.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"
#include "wire/frame.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config history_config(std::uint64_t records) {
    Config config = open_config();
    config.messages_per_second = 0;
    TopicRule rule;
    rule.pattern = "none.>";
    config.topic.push_back(rule);
    rule.pattern = ">";
    rule.history = records;
    rule.history_bytes = 2 * units::mib;
    config.topic.push_back(rule);
    return config;
}

std::string publish(const std::string& topic, std::string_view payload) {
    return R"({"type":"publish","topic":")" + topic + R"(","payload":)" + std::string(payload) +
           '}';
}

std::string history(const std::string& topic, const std::string& payload = "{}") {
    return R"({"type":"history","id":"h","topic":")" + topic + R"(","payload":)" + payload + '}';
}

// The records of an answer, each as its text: envelopes of this test hold no braces in strings.
std::vector<std::string> records_of(const std::string& answer) {
    std::vector<std::string> records;
    const std::size_t begin = answer.find(R"("records":[)");
    REQUIRE(begin != std::string::npos);
    int depth = 0;
    std::size_t start = 0;
    for (std::size_t at = begin + 11; answer[at] != ']' || depth != 0; at++) {
        if (answer[at] == '{' && depth++ == 0) start = at;
        if (answer[at] == '}' && --depth == 0)
            records.push_back(answer.substr(start, at + 1 - start));
    }
    return records;
}

std::string ask(Cluster& cluster, Client& client, const std::string& question) {
    client.say(question);
    cluster.settle();
    std::string answer = client.take_one();
    REQUIRE(Json(answer).valid());
    return answer;
}

}  // namespace

TEST_CASE("history: whoever asks gets the records as they were sent, wherever home is") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(history_config(10), 2);
        const std::string topic = cluster.topic_at(0);
        Client& reader = cluster.greet(1 - shard);
        reader.say(R"({"type":"subscribe","id":"s","topic":")" + topic + R"("})");
        cluster.settle();
        const std::string epoch = Json(reader.take_one()).text("payload.epoch");
        Client& publisher = cluster.greet(0);
        for (int i = 1; i <= 12; i++)
            publisher.say(publish(topic, R"({"n":)" + std::to_string(i) + "}"));
        cluster.settle();
        const std::vector<Frame> sent = reader.take();
        REQUIRE(sent.size() == 12);

        Client& client = cluster.greet(shard);
        const std::string answer = ask(cluster, client, history(topic));
        const Json json(answer);
        CHECK(json.text("type") == "history");
        CHECK(json.text("id") == "h");
        CHECK(json.text("topic") == topic);
        CHECK(json.text("payload.epoch") == epoch);
        CHECK(json.number("payload.first") == 3);
        CHECK(json.number("payload.next") == 13);
        CHECK(json.text("payload.more") == "false");
        const std::vector<std::string> records = records_of(answer);
        REQUIRE(records.size() == 10);
        for (std::size_t i = 0; i < 10; i++)
            CHECK(records[i] == sent[i + 2].payload);

        const std::string part = ask(cluster, client, history(topic, R"({"from":5,"limit":2})"));
        CHECK(records_of(part) == std::vector{sent[4].payload, sent[5].payload});
        CHECK(Json(part).text("payload.more") == "true");
        const std::string none = ask(cluster, client, history(topic, R"({"from":99})"));
        CHECK(records_of(none).empty());
        CHECK(Json(none).text("payload.more") == "false");
        CHECK(Json(none).number("payload.next") == 13);
    }
}

TEST_CASE("history: a topic that nobody knows is not made by asking") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(history_config(10), 2);
        Client& client = cluster.greet(shard);
        const std::string answer = ask(cluster, client, history(cluster.topic_at(0)));
        CHECK(records_of(answer).empty());
        CHECK(Json(answer).number("payload.first") == 1);
        CHECK(Json(answer).number("payload.next") == 1);
        CHECK(Json(answer).text("payload.epoch") == "0000000000000000");
        CHECK(Json(answer).text("payload.more") == "false");
    }
}

TEST_CASE("history: a topic without a rule gives what there is, which is usually nothing") {
    Cluster cluster(history_config(10));
    Client& client = cluster.greet();
    client.say(publish("none.a", "1"));
    const std::string answer = ask(cluster, client, history("none.a"));
    CHECK(records_of(answer).empty());
    CHECK(Json(answer).number("payload.first") == 2);
    CHECK(Json(answer).number("payload.next") == 2);
    CHECK(Json(answer).text("payload.epoch") != "0000000000000000");
}

TEST_CASE("history: an answer is bounded in bytes, and a record larger than that is named") {
    Config config = history_config(100);
    config.message_max = units::mib;
    Cluster cluster(config, 2, 1, 50, 8 * 1024 * 1024);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet(0);
    const std::string large = '"' + std::string(100'000, 'x') + '"';
    for (int i = 0; i < 3; i++)
        publisher.say(publish(topic, large));
    publisher.say(publish(topic, '"' + std::string(300'000, 'y') + '"'));
    publisher.say(publish(topic, "5"));
    cluster.settle();
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Client& client = cluster.greet(shard);
        const std::string first = ask(cluster, client, history(topic));
        CHECK(first.size() < history_size_max + 1024);
        CHECK(records_of(first).size() == 2);
        CHECK(Json(first).text("payload.more") == "true");
        const std::string second = ask(cluster, client, history(topic, R"({"from":3})"));
        CHECK(records_of(second).size() == 1);
        CHECK(Json(second).text("payload.more") == "true");
        const std::string third = ask(cluster, client, history(topic, R"({"from":4})"));
        CHECK(Json(third).text("payload.code") == "too_large");
        CHECK(Json(third).text("id") == "h");
        const std::string last = ask(cluster, client, history(topic, R"({"from":5})"));
        CHECK(records_of(last).size() == 1);
        CHECK(Json(last).text("payload.more") == "false");
    }
}

TEST_CASE("history: what cannot be asked is an error") {
    Cluster cluster(history_config(10));
    Client& client = cluster.greet();
    const auto code = [&](const std::string& question) {
        return Json(ask(cluster, client, question)).text("payload.code");
    };
    CHECK(code(history("t", R"({"from":0})")) == "bad_payload");
    CHECK(code(history("t", R"({"limit":1001})")) == "bad_payload");
    CHECK(code(history("t", "7")) == "bad_payload");
    CHECK(code(history("t.*")) == "bad_topic");
    CHECK(code(R"({"type":"history","id":"h"})") == "missing_member");
}

TEST_CASE("history: a random walk of publishers and askers, against the ledger") {
    std::uint64_t answers = 0;
    std::uint64_t full = 0;
    for (std::uint64_t seed = 1; seed <= 60; seed++) {
        INFO("seed " << seed);
        Random random(seed);
        const std::uint64_t kept = random.between(1, 60);
        const auto shards = static_cast<std::uint32_t>(random.between(1, 3));
        Cluster cluster(history_config(kept), shards, seed);
        const std::string topic = cluster.topic_at(0);
        std::map<std::uint64_t, std::string> ledger;
        Client& publisher = cluster.greet(static_cast<std::uint32_t>(random.below(shards)));
        std::vector<Client*> askers;
        for (std::uint32_t shard = 0; shard < shards; shard++)
            askers.push_back(&cluster.greet(shard));
        for (int step = 0; step < 40; step++) {
            for (std::uint64_t i = random.below(30); i > 0; i--) {
                const std::uint64_t offset = ledger.size() + 1;
                ledger[offset] = std::to_string(random.below(1'000'000));
                publisher.say(publish(topic, ledger[offset]));
            }
            cluster.settle();
            const std::uint64_t from = random.between(1, ledger.size() + 3);
            const std::uint64_t limit = random.between(1, 50);
            const std::string answer =
                ask(cluster,
                    *askers[random.below(shards)],
                    history(topic,
                            R"({"from":)" + std::to_string(from) + R"(,"limit":)" +
                                std::to_string(limit) + '}'));
            const Json json(answer);
            const std::uint64_t next = ledger.size() + 1;
            const std::uint64_t first = json.number("payload.first");
            REQUIRE(json.number("payload.next") == next);
            REQUIRE(next - first == std::min<std::uint64_t>(kept, ledger.size()));
            std::uint64_t at = std::max(from, first);
            for (const std::string& text : records_of(answer)) {
                const Json record(text);
                REQUIRE(record.text("type") == "data_update");
                REQUIRE(record.number("offset") == at);
                REQUIRE(record.text("payload") == ledger.at(at));
                at++;
            }
            REQUIRE(at - std::max(from, first) ==
                    (from < next ? std::min(limit, next - std::max(from, first)) : 0));
            REQUIRE(json.text("payload.more") == (at < next ? "true" : "false"));
            answers++;
            full += at < next ? 1 : 0;
        }
    }
    CHECK(answers == 2400);
    CHECK(full > 100);
}
