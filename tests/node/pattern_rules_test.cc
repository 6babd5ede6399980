// Topics by pattern whose rules say keyed, durable or presence, and clients that come back.

#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/durable_cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config ruled_config(const TopicRule& rule) {
    Config config = open_config();
    config.messages_per_second = 0;
    config.ping_interval = units::hour;
    config.topic.push_back(rule);
    config.topic.back().pattern = ">";
    return config;
}

Config keyed_config() {
    TopicRule rule;
    rule.keyed = true;
    return ruled_config(rule);
}

std::string request(std::string_view type,
                    std::string_view topic,
                    std::string_view payload = {},
                    std::string_view more = {}) {
    std::string text = R"({"type":")" + std::string(type) + R"(","id":"i","topic":")" +
                       std::string(topic) + '"' + std::string(more);
    if (!payload.empty()) text += R"(,"payload":)" + std::string(payload);
    return text + '}';
}

std::string update(const std::string& topic, const std::string& key, const std::string& payload) {
    return request("publish", topic, payload, R"(,"key":")" + key + '"');
}

std::vector<Json> read(Client& client) {
    std::vector<Json> messages;
    for (const Frame& frame : client.take())
        if (frame.op == Op::text) messages.emplace_back(frame.payload);
    return messages;
}

std::vector<Json> ask(Cluster& cluster, Client& client, const std::string& text) {
    client.say(text);
    cluster.settle();
    return read(client);
}

// Those of one type that are about `topic`.
std::vector<Json> about(const std::vector<Json>& messages,
                        std::string_view type,
                        const std::string& topic) {
    std::vector<Json> found;
    for (const Json& message : messages)
        if (message.text("type") == type && message.text("topic") == topic)
            found.push_back(message);
    return found;
}

std::map<std::string, std::string> state_of(const std::vector<Json>& updates) {
    std::map<std::string, std::string> state;
    for (const Json& each : updates)
        state[each.text("key")] = each.text("payload");
    return state;
}

}  // namespace

TEST_CASE("patterns: keyed topics come with the latest of each key, now and later") {
    for (std::uint32_t home = 0; home < 2; home++) {
        for (std::uint32_t shard = 0; shard < 2; shard++) {
            Cluster cluster(keyed_config(), 2);
            const std::string old = cluster.topic_at(home, "p.a");
            const std::string late = cluster.topic_at(home, "p.b");
            Client& publisher = cluster.greet(0);
            for (const std::string payload : {"1", "2", "3"})
                publisher.say(update(old, "x", payload));
            publisher.say(update(old, "y", "4"));
            cluster.settle();
            Client& reader = cluster.greet(shard);
            std::vector<Json> heard = ask(cluster, reader, request("subscribe", "p.*"));
            REQUIRE(heard.size() == 4);
            CHECK(heard[1].text("payload.pattern") == "p.*");
            CHECK(heard[1].text("payload.keyed") == "true");
            CHECK(heard[1].text("payload.snapshot") == "true");
            CHECK(heard[1].number("payload.head") == 4);
            CHECK(heard[1].text("payload.offset") == "0");
            CHECK(state_of(about(heard, "data_update", old)) ==
                  std::map<std::string, std::string>{{"x", "3"}, {"y", "4"}});

            // A burst on a new one, with keys that are gone before the reader is there.
            for (int i = 0; i < 30; i++)
                publisher.say(update(late, std::to_string(i % 5), i < 25 ? "1" : "null"));
            publisher.say(update(late, "z", "7"));
            cluster.settle();
            heard = read(reader);
            const std::vector<Json> begun = about(heard, "subscribed", late);
            REQUIRE(begun.size() == 1);
            CHECK(begun[0].text("payload.snapshot") == "true");
            CHECK(begun[0].text("payload.offset") == "0");
            const auto state = state_of(about(heard, "data_update", late));
            CHECK(state.at("z") == "7");
            for (const auto& [key, payload] : state)
                CHECK((key == "z" || payload == "null"));
            CHECK(about(heard, "gap", late).empty());
        }
    }
}

TEST_CASE("patterns: without a snapshot a new keyed topic still begins with its first record") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(keyed_config(), 2);
        const std::string old = cluster.topic_at(0, "p.a");
        const std::string late = cluster.topic_at(0, "p.b");
        Client& publisher = cluster.greet(0);
        publisher.say(update(old, "x", "1"));
        cluster.settle();
        Client& reader = cluster.greet(shard);
        std::vector<Json> heard =
            ask(cluster, reader, request("subscribe", "p.*", R"({"snapshot":false})"));
        REQUIRE(heard.size() == 2);
        CHECK(heard[1].text("payload.snapshot") == "false");
        CHECK(heard[1].number("payload.offset") == 1);
        publisher.say(update(late, "x", "1"));
        publisher.say(update(late, "y", "2"));
        cluster.settle();
        heard = read(reader);
        REQUIRE(heard.size() == 3);
        CHECK(heard[0].text("payload.snapshot") == "false");
        CHECK(heard[0].text("payload.recovered") == "false");
        CHECK(heard[0].text("payload.offset") == "0");
        CHECK(heard[1].number("offset") == 1);
        CHECK(heard[2].number("offset") == 2);
    }
}

TEST_CASE("patterns: max_rate holds for each keyed topic, and no other notices") {
    TopicRule rule;
    rule.keyed = true;
    rule.pattern = "k.*";
    Config config = open_config();
    config.messages_per_second = 0;
    config.ping_interval = units::hour;
    config.topic.push_back(rule);
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(config, 2);
        Client& publisher = cluster.greet(0);
        Client& reader = cluster.greet(shard);
        CHECK(ask(cluster, reader, request("subscribe", ">", R"({"max_rate":0.5})"))
                  .at(0)
                  .text("type") == "subscribed");
        CHECK(ask(cluster, reader, request("subscribe", "a.*", R"({"max_rate":0.01})"))
                  .at(0)
                  .text("payload.code") == "bad_payload");
        publisher.say(update("k.a", "x", "0"));
        cluster.settle();
        static_cast<void>(reader.take());
        for (int i = 1; i <= 40; i++) {
            publisher.say(update("k.a", "x", std::to_string(i)));
            publisher.say(request("publish", "plain", std::to_string(i)));
            cluster.advance(100 * nanos_per_ms);
        }
        cluster.advance(3 * nanos_per_s);
        const std::vector<Json> heard = read(reader);
        CHECK(about(heard, "data_update", "plain").size() == 40);
        const std::vector<Json> paced = about(heard, "data_update", "k.a");
        CHECK(paced.size() >= 2);
        CHECK(paced.size() <= 4);
        CHECK(paced.back().text("payload") == "40");

        // By name it is as the name's request says: not paced any more.
        CHECK(!ask(cluster, reader, request("subscribe", "k.a", R"({"snapshot":false})")).empty());
        for (int i = 1; i <= 10; i++) {
            publisher.say(update("k.a", "x", std::to_string(i)));
            cluster.settle();
        }
        CHECK(about(read(reader), "data_update", "k.a").size() == 10);
    }
}

TEST_CASE("patterns: of two that cover a topic the first one decides how it comes") {
    Cluster cluster(keyed_config(), 2);
    Client& publisher = cluster.greet(0);
    publisher.say(update("p.a", "x", "1"));
    cluster.settle();
    Client& reader = cluster.greet(1);
    std::vector<Json> heard =
        ask(cluster, reader, request("subscribe", "p.*", R"({"snapshot":false})"));
    CHECK(heard.at(1).text("payload.snapshot") == "false");
    CHECK(ask(cluster, reader, request("subscribe", ">")).size() == 1);
    publisher.say(update("p.b", "x", "1"));
    publisher.say(update("q", "x", "1"));
    cluster.settle();
    heard = read(reader);
    CHECK(about(heard, "subscribed", "p.b").at(0).text("payload.pattern") == "p.*");
    CHECK(about(heard, "subscribed", "p.b").at(0).text("payload.snapshot") == "false");
    CHECK(about(heard, "subscribed", "q").at(0).text("payload.snapshot") == "true");
    CHECK(about(heard, "data_update", "p.b").size() == 1);
}

TEST_CASE("patterns: by name a keyed topic begins with the latest of each key anew") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(keyed_config(), 2);
        const std::string topic = cluster.topic_at(0);
        Client& publisher = cluster.greet(0);
        Client& reader = cluster.greet(shard);
        CHECK(ask(cluster, reader, request("subscribe", ">")).size() == 1);
        for (const std::string key : {"x", "y", "x"})
            publisher.say(update(topic, key, "1"));
        cluster.settle();
        const std::string epoch = read(reader).at(0).text("payload.epoch");
        std::vector<Json> heard = ask(cluster, reader, request("subscribe", topic));
        REQUIRE(heard.size() == 3);
        CHECK(heard[0].text("payload.snapshot") == "true");
        CHECK(!heard[0].has("payload.pattern"));
        CHECK(heard[1].number("offset") == 2);
        CHECK(heard[2].number("offset") == 3);
        // Once by name it stays, and there is one of it.
        CHECK(ask(cluster, reader, request("unsubscribe", ">")).size() == 1);
        publisher.say(update(topic, "z", "1"));
        cluster.settle();
        CHECK(read(reader).size() == 1);
        // And from a place on, instead of the whole.
        CHECK(ask(cluster, reader, request("unsubscribe", topic)).size() == 1);
        CHECK(ask(cluster, reader, request("subscribe", ">", R"({"snapshot":false})")).size() == 2);
        heard = ask(cluster,
                    reader,
                    request("subscribe", topic, R"({"offset":2,"epoch":")" + epoch + R"("})"));
        REQUIRE(heard.size() == 3);
        CHECK(heard[0].text("payload.recovered") == "true");
        CHECK(heard[1].number("offset") == 3);
        CHECK(heard[2].number("offset") == 4);
    }
}

TEST_CASE("patterns: by name behind the pattern, from an offset that is kept or is not") {
    TopicRule rule;
    rule.history = 4;
    rule.history_bytes = 64 * units::kib;
    Cluster cluster(ruled_config(rule), 2);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet(0);
    for (int i = 1; i <= 10; i++)
        publisher.say(request("publish", topic, std::to_string(i)));
    cluster.settle();
    const auto resume = [&](std::uint64_t offset, const std::string& epoch) {
        return request(
            "subscribe",
            topic,
            R"({"offset":)" + std::to_string(offset) + R"(,"epoch":")" + epoch + R"("})");
    };
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Client& kept = cluster.greet(shard);
        std::vector<Json> heard = ask(cluster, kept, request("subscribe", "*"));
        const std::string epoch = heard.at(1).text("payload.epoch");
        heard = ask(cluster, kept, resume(7, epoch));
        REQUIRE(heard.size() == 4);
        CHECK(heard[0].text("payload.recovered") == "true");
        for (std::size_t i = 1; i < 4; i++)
            CHECK(heard[i].number("offset") == 7 + i);

        // What is gone is told by a gap, and the subscription goes on.
        const std::pair<std::uint64_t, std::string> lost[] = {{2, epoch}, {2, "00000000000000aa"}};
        for (const auto& [offset, old] : lost) {
            Client& late = cluster.greet(shard);
            CHECK(ask(cluster, late, request("subscribe", "*")).size() == 2);
            heard = ask(cluster, late, resume(offset, old));
            REQUIRE(heard.size() == 2);
            CHECK(heard[0].text("payload.recovered") == "false");
            CHECK(heard[0].number("payload.offset") == 10);
            CHECK(heard[1].text("type") == "gap");
            CHECK(heard[1].text("payload.reason") == (old == epoch ? "history" : "new_epoch"));
            CHECK(heard[1].number("payload.from") == (old == epoch ? 3 : 1));
            CHECK(heard[1].number("payload.to") == 10);
            CHECK(heard[1].number("payload.next") == 11);
            late.socket->say(client_close(1000));
        }
        kept.socket->say(client_close(1000));
        cluster.settle();
    }
}

TEST_CASE("patterns: who comes back names what it knows, then the pattern: nothing twice or lost") {
    TopicRule rule;
    rule.history = 1000;
    rule.history_bytes = units::mib;
    for (std::uint64_t seed = 1; seed <= 30; seed++) {
        CAPTURE(seed);
        Cluster cluster(ruled_config(rule), 3, seed);
        Random random(seed);
        Client& publisher = cluster.greet(0);
        struct Known {
            std::string epoch;
            std::uint64_t next = 1;
        };
        std::map<std::string, Known> known;
        std::map<std::string, std::uint64_t> published;
        const auto publish = [&] {
            const std::string topic = "p." + std::to_string(random.below(8 + published.size()));
            publisher.say(request("publish", topic, std::to_string(++published[topic])));
        };
        for (int life = 0; life < 6; life++) {
            Client& reader = cluster.greet(static_cast<std::uint32_t>(random.below(3)));
            for (const auto& [topic, at] : known)
                reader.say(request("subscribe",
                                   topic,
                                   R"({"offset":)" + std::to_string(at.next - 1) + R"(,"epoch":")" +
                                       at.epoch + R"("})"));
            reader.say(request("subscribe", "p.*"));
            const bool first = life == 0;
            for (int i = 0; i < 40; i++) {
                if (!first || i > 0) publish();
                if (random.chance(1, 4)) cluster.turn(static_cast<std::uint32_t>(random.below(3)));
                if (first && i == 0) cluster.settle();
            }
            if (random.chance(1, 2)) cluster.settle();
            std::set<std::string> told;
            for (const Json& message : read(reader)) {
                const std::string topic = message.text("topic");
                if (topic == "p.*") continue;
                if (message.text("type") == "subscribed") {
                    REQUIRE(told.insert(topic).second);
                    // A topic that it has not known is new, or was made while it was away: that
                    // begins where it stands.
                    const bool recovered = message.text("payload.recovered") == "true";
                    REQUIRE(recovered == known.contains(topic));
                    Known& at = known[topic];
                    if (recovered) REQUIRE(message.number("payload.offset") + 1 == at.next);
                    at = {.epoch = message.text("payload.epoch"),
                          .next = message.number("payload.offset") + 1};
                    continue;
                }
                REQUIRE(message.text("type") == "data_update");
                REQUIRE(message.number("offset") == known[topic].next++);
                REQUIRE(message.number("payload") == message.number("offset"));
            }
            reader.socket->reset();
            for (std::uint64_t i = random.below(10); i > 0; i--)
                publish();
            cluster.settle();
        }
        Client& reader = cluster.greet(1);
        for (const auto& [topic, at] : known)
            reader.say(subscribe_from(topic, at.next - 1, at.epoch));
        cluster.settle();
        for (const Json& message : read(reader))
            if (message.text("type") == "data_update")
                REQUIRE(message.number("offset") == known[message.text("topic")].next++);
        for (const auto& [topic, at] : known)
            CHECK(at.next == published[topic] + 1);
    }
}

TEST_CASE("patterns: what a pattern brings counts for presence, with what it says of itself") {
    TopicRule rule;
    rule.presence = true;
    for (std::uint32_t home = 0; home < 2; home++) {
        Cluster cluster(ruled_config(rule), 2);
        const std::string topic = cluster.topic_at(home, "p.");
        Client& reader = cluster.greet(0, "/ws?client_id=reader");
        Client& asker = cluster.greet(1, "/ws?client_id=asker");
        CHECK(ask(cluster, reader, request("subscribe", "p.*", R"({"presence":true,"info":"I"})"))
                  .size() == 1);
        CHECK(ask(cluster, reader, request("subscribe", ">")).size() == 1);
        const auto list = [&] {
            std::vector<Json> heard = ask(cluster, asker, request("presence", topic));
            return heard.at(0);
        };
        CHECK(list().number("payload.count") == 0);
        asker.say(request("publish", topic, "1"));
        cluster.settle();
        CHECK(list().number("payload.count") == 1);
        CHECK(list().text("payload.clients[0].client_id") == "reader");
        CHECK(list().text("payload.clients[0].info") == "I");
        static_cast<void>(reader.take());
        CHECK(ask(cluster, asker, request("subscribe", topic)).size() == 1);
        cluster.advance(3 * nanos_per_s);
        std::vector<Json> updates = about(read(reader), "presence_update", topic);
        REQUIRE(!updates.empty());
        CHECK(updates.back().number("payload.count") == 2);

        // By name, with another word for itself; still one entry, that watches no more.
        CHECK(ask(cluster, reader, request("subscribe", topic, R"({"info":"me"})")).size() == 1);
        const Json both = list();
        CHECK(both.number("payload.count") == 2);
        CHECK(both.text("payload.clients[1].info") == "me");
        CHECK(ask(cluster, reader, request("unsubscribe", "p.*")).size() == 1);
        CHECK(ask(cluster, reader, request("unsubscribe", ">")).size() == 1);
        CHECK(list().number("payload.count") == 2);
        CHECK(ask(cluster, reader, request("unsubscribe", topic)).size() == 1);
        CHECK(list().number("payload.count") == 1);
        CHECK(list().text("payload.clients[0].client_id") == "asker");

        // And with the last pattern, or the connection, they are gone.
        CHECK(!ask(cluster, reader, request("subscribe", ">")).empty());
        CHECK(list().number("payload.count") == 2);
        CHECK(ask(cluster, reader, request("unsubscribe", ">")).size() == 1);
        CHECK(list().number("payload.count") == 1);
        CHECK(!ask(cluster, reader, request("subscribe", ">")).empty());
        reader.socket->reset();
        cluster.settle();
        CHECK(list().number("payload.count") == 1);
    }
}

TEST_CASE("patterns: durable topics come from their first record on, and again after a restart") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        FakeStore store;
        std::string topic;
        std::string epoch;
        {
            DurableCluster durable(store, durable_config(), 2);
            topic = durable.cluster.topic_at(0, "d.");
            Client& publisher = durable.cluster.greet(0);
            Client& reader = durable.cluster.greet(shard);
            CHECK(ask(durable.cluster, reader, request("subscribe", "d.*")).size() == 1);
            for (int i = 1; i <= 3; i++)
                publisher.say(durable_publish(topic, std::to_string(i), std::to_string(i)));
            durable.settle();
            const std::vector<Json> heard = read(reader);
            REQUIRE(heard.size() == 4);
            CHECK(heard[0].text("payload.offset") == "0");
            epoch = heard[0].text("payload.epoch");
            for (std::size_t i = 1; i < 4; i++)
                CHECK(heard[i].number("offset") == i);
        }
        DurableCluster durable(store, durable_config(), 2);
        Client& reader = durable.cluster.greet(shard);
        reader.say(subscribe_from(topic, 1, epoch));
        const std::vector<Json> heard = ask(durable.cluster, reader, request("subscribe", "d.*"));
        CHECK(about(heard, "subscribed", topic).size() == 1);
        CHECK(about(heard, "subscribed", topic)[0].text("payload.recovered") == "true");
        CHECK(about(heard, "data_update", topic).size() == 2);
        CHECK(about(heard, "subscribed", "d.*").size() == 1);
        Client& other = durable.cluster.greet(shard);
        const std::vector<Json> brought = ask(durable.cluster, other, request("subscribe", "d.*"));
        CHECK(about(brought, "subscribed", topic).at(0).number("payload.offset") == 3);
        CHECK(about(brought, "subscribed", topic).at(0).text("payload.epoch") == epoch);
    }
}

TEST_CASE("patterns: without memory for the keys of a new topic its readers are let go") {
    for (const bool asked : {false, true}) {
        Config config = keyed_config();
        Cluster cluster(config, 2, 1, 200, 64 * 1024);
        Client& filler = cluster.greet(1);
        const std::string full = cluster.topic_at(1, "full");
        const std::string topic = cluster.topic_at(0, "p.");
        const std::string body = '"' + std::string(1500, 'x') + '"';
        for (int i = 0; i < 60; i++)
            filler.say(update(full, std::to_string(i), body));
        cluster.settle();
        std::vector<Json> refused = read(filler);
        REQUIRE(!refused.empty());
        CHECK(refused.back().text("payload.code") == "no_memory");

        Client& reader = cluster.greet(1);
        CHECK(ask(cluster, reader, request("subscribe", "p.*")).size() == 1);
        Client& named = cluster.greet(1);
        Client& publisher = cluster.greet(0);
        if (asked) {  // its request is under way when the topic is made
            named.say(request("subscribe", topic));
            cluster.turn(1);
        }
        for (int i = 0; i < 15; i++)
            publisher.say(update(topic, std::to_string(i), body));
        cluster.turn(0);
        cluster.settle();
        CHECK(reader.close_code() == 1013);
        CHECK(named.close_code() == (asked ? 1013 : 0));

        // Who comes then is told so, by a pattern or by name.
        Client& later = cluster.greet(1);
        const std::vector<Json> heard = ask(cluster, later, request("subscribe", "p.*"));
        REQUIRE(heard.size() == 2);
        CHECK(heard[1].text("topic") == topic);
        CHECK(heard[1].text("id").empty());
        CHECK(heard[1].text("payload.code") == "no_memory");
        const std::vector<Json> answer = ask(cluster, later, request("subscribe", topic));
        REQUIRE(answer.size() == 1);
        CHECK(answer[0].text("id") == "i");
        CHECK(answer[0].text("payload.code") == "no_memory");
        // Home goes on without them.
        CHECK(!about(ask(cluster, publisher, request("subscribe", topic)), "data_update", topic)
                   .empty());
    }
}
