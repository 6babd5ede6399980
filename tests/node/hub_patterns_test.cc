// Topics by pattern, over one to three shards: what is brought, from where on, and what ends.

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "feed/pattern.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

std::string request(std::string_view type,
                    std::string_view topic,
                    std::uint64_t id,
                    std::string_view payload = {}) {
    std::string text = R"({"type":")" + std::string(type) + R"(","topic":")" + std::string(topic) +
                       R"(","id":")" + std::to_string(id) + '"';
    if (!payload.empty()) text += R"(,"payload":)" + std::string(payload);
    return text + '}';
}

bool is_pattern(const std::string& name) {
    return feed::kind_of(name) == feed::NameKind::pattern;
}

// What all agree on: payloads by topic and offset; and when a topic was first named by anybody.
struct Truth {
    std::map<std::string, std::map<std::uint64_t, std::string>> records;
    std::map<std::string, std::uint64_t> named;
    std::uint64_t step = 0;
};

// A client holds each message against docs/PROTOCOL.md and what it had before.
struct Member {
    struct Topic {
        bool on = false;
        bool by_name = false;
        std::uint64_t next = 0;
    };
    struct Request {
        std::string topic;
        bool subscribe = false;
    };

    Client* client = nullptr;
    std::map<std::string, Topic> topics = {};
    std::map<std::string, std::uint64_t> patterns = {};  // since when they count
    std::map<std::uint64_t, Request> open = {};
    std::uint64_t next_id = 1;
    std::uint64_t from_the_first = 0;
    std::uint64_t gaps = 0;
    bool gone = false;

    void ask(const std::string& topic, bool subscribe, Truth& truth) {
        if (subscribe && !is_pattern(topic)) truth.named.try_emplace(topic, truth.step);
        open[next_id] = {.topic = topic, .subscribe = subscribe};
        client->say(request(subscribe ? "subscribe" : "unsubscribe", topic, next_id++));
    }
    void read(Truth& truth) {
        for (const Frame& frame : client->take()) {
            if (frame.op == Op::text) see(Json(frame.payload), truth);
        }
    }
    [[nodiscard]] bool covered(const std::string& topic) const {
        return std::any_of(patterns.begin(), patterns.end(), [&](const auto& each) {
            return feed::matches(each.first, topic);
        });
    }

    void see(const Json& message, Truth& truth) {
        REQUIRE(message.valid());
        const std::string type = message.text("type");
        const std::string name = message.text("topic");
        CAPTURE(name);
        if (type == "data_update") {
            Topic& topic = topics[name];
            REQUIRE(topic.on);
            REQUIRE(message.number("offset") == topic.next);
            const auto [at, fresh] =
                truth.records[name].try_emplace(topic.next++, message.text("payload"));
            REQUIRE(at->second == message.text("payload"));
        } else if (type == "gap") {
            REQUIRE(topics[name].on);
            REQUIRE(message.number("payload.from") == topics[name].next);
            topics[name].next = message.number("payload.next");
            gaps++;
        } else if (type == "subscribed" && message.text("id").empty()) {
            see_brought(name, message, truth);
        } else {
            see_answer(type, name, message, truth);
        }
    }

    void see_brought(const std::string& name, const Json& message, Truth& truth) {
        const std::string pattern = message.text("payload.pattern");
        REQUIRE(patterns.contains(pattern));
        REQUIRE(feed::matches(pattern, name));
        REQUIRE(message.text("payload.recovered") == "false");
        Topic& topic = topics[name];
        REQUIRE(!topic.on);
        topic.on = true;
        topic.next = message.number("payload.offset") + 1;
        // Nobody had named it when the pattern began to count: so it begins with its first record.
        if (truth.named.at(name) <= patterns[pattern]) return;
        REQUIRE(topic.next == 1);
        from_the_first++;
    }

    void see_answer(const std::string& type,
                    const std::string& name,
                    const Json& message,
                    const Truth& truth) {
        const auto found = open.find(message.number("id"));
        REQUIRE(found != open.end());
        const Request asked = found->second;
        open.erase(found);
        REQUIRE(asked.topic == name);
        if (type == "subscribed" && is_pattern(name)) {
            REQUIRE(message.text("payload.pattern") == "true");
            REQUIRE(patterns.try_emplace(name, truth.step).second);
        } else if (type == "subscribed") {
            Topic& topic = topics[name];
            REQUIRE(!topic.by_name);
            REQUIRE(!message.has("payload.pattern"));
            const std::uint64_t next = message.number("payload.offset") + 1;
            if (topic.on) REQUIRE(next == topic.next);  // one subscription, which goes on
            topic = {.on = true, .by_name = true, .next = next};
        } else if (type == "unsubscribed") {
            end(name, message.number("id"));
        } else {
            REQUIRE(type == "error");
            const std::string code = message.text("payload.code");
            if (code == "covered") REQUIRE(covered(name));
            REQUIRE((code == "covered" || code == "not_subscribed") != asked.subscribe);
            REQUIRE((code == "already_subscribed") == asked.subscribe);
        }
    }
    void end(const std::string& name, std::uint64_t id) {
        std::erase_if(open, [&](const auto& each) {  // what was taken back is not answered
            return each.second.topic == name && each.second.subscribe && each.first < id;
        });
        if (!is_pattern(name)) {
            REQUIRE(!covered(name));
            topics[name] = {};
            return;
        }
        patterns.erase(name);
        for (auto& each : topics) {
            if (!each.second.by_name && !covered(each.first)) each.second.on = false;
        }
    }
};

class Walk {
  public:
    Walk(std::uint64_t seed, std::uint32_t shards)
        : cluster_(config(), shards, seed, 60, 256 * 1024), random_(seed), shards_(shards) {
        for (int i = 0; i < 6; i++)
            join();
    }

    void run(int steps) {
        for (int i = 0; i < steps; i++) {
            truth_.step++;
            step();
        }
        for (Member& member : members_) {
            member.client->socket->room = FakeSocket::endless;
            member.client->socket->stingy = false;
        }
        settle();
        join();
        for (const auto& each : truth_.named) {
            publish(members_.back(), each.first);
            settle();
        }
        for (const Member& member : members_) {
            if (!member.gone) check_complete(member);
        }
    }
    std::uint64_t from_the_first = 0;
    std::uint64_t brought = 0;

  private:
    static Config config() {
        Config config = open_config();
        config.ping_interval = units::hour;
        config.messages_per_second = 0;
        config.mail_max = 16;
        config.topics_per_client_max = 10'000;
        config.topic_log_max = 64 * units::kib;
        config.outbox_max = units::mib;
        return config;
    }
    void join() {
        Member& member = members_.emplace_back();
        member.client = &cluster_.greet(static_cast<std::uint32_t>(random_.below(shards_)));
        member.client->socket->stingy = random_.chance(1, 2);
    }
    void settle() {
        truth_.step++;
        cluster_.settle();
        for (Member& member : members_)
            member.read(truth_);
        truth_.step++;
    }
    std::string a_name() {
        static constexpr std::string_view known[] = {"a", "b", "a.a", "a.b", "b.a", "b.b", "a.b.a"};
        if (random_.chance(3, 4)) return std::string(known[random_.below(7)]);
        const std::string number = std::to_string(random_.below(60));
        return random_.chance(1, 2) ? "a." + number : "b." + number + ".b";
    }
    std::string a_pattern() {
        static constexpr std::string_view all[] = {"*", ">", "a.*", "a.>", "*.b", "b.*.b"};
        return std::string(all[random_.below(6)]);
    }
    void publish(Member& member, const std::string& name) {
        truth_.named.try_emplace(name, truth_.step);
        const std::string body =
            '"' + std::to_string(number_++) + std::string(random_.below(300), 'x') + '"';
        member.client->say(R"({"type":"publish","topic":")" + name + R"(","payload":)" + body +
                           '}');
    }

    void step() {
        const std::uint64_t what = random_.below(20);
        if (what >= 12) {
            cluster_.turn(static_cast<std::uint32_t>(random_.below(shards_)));
            if (what >= 17) members_[random_.below(members_.size())].read(truth_);
            return;
        }
        Member& member = members_[random_.below(members_.size())];
        if (member.gone) return;
        if (what < 5) {
            for (std::uint64_t left = random_.between(1, 3); left > 0; left--)
                publish(member, a_name());
        } else if (what < 7) {
            member.ask(a_pattern(), true, truth_);
        } else if (what == 7) {
            member.ask(a_pattern(), false, truth_);
        } else if (what < 10) {
            member.ask(a_name(), what == 8, truth_);
        } else if (what == 10) {
            member.client->socket->room =
                random_.chance(1, 2) ? FakeSocket::endless : random_.below(4000);
        } else if (random_.chance(1, 8) && members_.size() < 40) {
            leave(member);
            join();
        }
    }
    void leave(Member& member) {
        member.gone = true;
        leave_somehow(*member.client, random_);
    }
    void check_complete(const Member& member) {
        CHECK(member.client->close_code() == 0);
        CHECK(member.open.empty());
        from_the_first += member.from_the_first;
        for (const auto& each : truth_.named) {
            const std::string& name = each.first;
            CAPTURE(name);
            const auto found = member.topics.find(name);
            const Member::Topic topic =
                found == member.topics.end() ? Member::Topic{} : found->second;
            CHECK(topic.on == (topic.by_name || member.covered(name)));
            if (topic.on && !topic.by_name) brought++;
            if (topic.on) CHECK(topic.next == truth_.records[name].rbegin()->first + 1);
        }
    }

    Cluster cluster_;
    Random random_;
    std::uint32_t shards_;
    std::deque<Member> members_;
    Truth truth_;
    std::uint64_t number_ = 0;
};

std::vector<Json> ask(Cluster& cluster, Client& client, const std::string& text) {
    client.say(text);
    cluster.settle();
    std::vector<Json> answers;
    for (const Frame& frame : client.take())
        answers.emplace_back(frame.payload);
    return answers;
}

std::vector<Json> read(Client& client) {
    std::vector<Json> messages;
    for (const Frame& frame : client.take())
        messages.emplace_back(frame.payload);
    return messages;
}

}  // namespace

TEST_CASE("patterns: everybody gets what is theirs and nothing else, on one shard and on several") {
    std::uint64_t from_the_first = 0;
    std::uint64_t brought = 0;
    for (std::uint64_t seed = 1; seed <= 90; seed++) {
        CAPTURE(seed);
        Walk walk(seed, 1 + static_cast<std::uint32_t>(seed % 3));
        walk.run(600);
        from_the_first += walk.from_the_first;
        brought += walk.brought;
    }
    CHECK(from_the_first > 500);
    CHECK(brought > 1000);
}

TEST_CASE("patterns: what is there is brought, and what is made later from its first record on") {
    for (std::uint32_t home = 0; home < 2; home++) {
        for (std::uint32_t shard = 0; shard < 2; shard++) {
            Cluster cluster(open_config(), 2);
            const std::string old = cluster.topic_at(home, "p.a");
            const std::string late = cluster.topic_at(home, "p.b");
            Client& publisher = cluster.greet(0);
            publisher.say(request("publish", old, 1, "1"));
            cluster.settle();
            Client& reader = cluster.greet(shard);
            std::vector<Json> heard = ask(cluster, reader, request("subscribe", "p.*", 7));
            REQUIRE(heard.size() == 2);
            CHECK(heard[0].text("topic") == "p.*");
            CHECK(heard[0].text("id") == "7");
            CHECK(heard[0].text("payload") == R"({"pattern":true})");
            CHECK(heard[1].text("topic") == old);
            CHECK(heard[1].text("id").empty());
            CHECK(heard[1].number("payload.offset") == 1);
            CHECK(heard[1].text("payload.pattern") == "p.*");

            for (int i = 2; i < 5; i++)
                publisher.say(request("publish", late, 2, "2"));
            publisher.say(request("publish", "q." + late, 5, "2"));
            cluster.settle();
            heard = read(reader);
            REQUIRE(heard.size() == 4);
            CHECK(heard[0].text("topic") == late);
            CHECK(heard[0].text("payload.offset") == "0");
            for (std::size_t i = 1; i < 4; i++)
                CHECK(heard[i].number("offset") == i);

            heard = ask(cluster, reader, request("unsubscribe", late, 8));
            REQUIRE(heard.size() == 1);
            CHECK(heard[0].text("payload.code") == "covered");
            heard = ask(cluster, reader, request("unsubscribe", "p.*", 9));
            REQUIRE(heard.size() == 1);
            CHECK(heard[0].text("type") == "unsubscribed");
            publisher.say(request("publish", late, 6, "3"));
            publisher.say(request("publish", cluster.topic_at(home, "p.c"), 6, "3"));
            cluster.settle();
            CHECK(reader.take().empty());
        }
    }
}

TEST_CASE("patterns: a topic by name and by a pattern is one subscription") {
    Cluster cluster(open_config(), 2);
    Client& publisher = cluster.greet(0);
    Client& reader = cluster.greet(1);
    CHECK(ask(cluster, reader, request("subscribe", "p.a", 1)).size() == 1);
    CHECK(ask(cluster, reader, request("subscribe", "p.*", 2)).size() == 1);
    CHECK(ask(cluster, reader, request("subscribe", "*.*", 3)).size() == 1);
    publisher.say(request("publish", "p.b", 1, "1"));
    publisher.say(request("publish", "p.b", 2, "2"));
    cluster.settle();
    CHECK(read(reader).size() == 3);  // once, though two patterns cover it
    std::vector<Json> heard = ask(cluster, reader, request("subscribe", "p.b", 4));
    REQUIRE(heard.size() == 1);
    CHECK(heard[0].text("type") == "subscribed");
    CHECK(heard[0].text("id") == "4");
    CHECK(heard[0].number("payload.offset") == 2);
    CHECK(heard[0].text("payload.recovered") == "false");
    heard = ask(cluster, reader, request("subscribe", "p.b", 5));
    CHECK(heard.at(0).text("payload.code") == "already_subscribed");
    heard = ask(cluster, reader, request("subscribe", "p.*", 5));
    CHECK(heard.at(0).text("payload.code") == "already_subscribed");
    // With the patterns go what they alone brought; what was asked for by name stays.
    publisher.say(request("publish", "p.c", 3, "1"));
    cluster.settle();
    CHECK(read(reader).size() == 2);
    CHECK(ask(cluster, reader, request("unsubscribe", "p.*", 6)).size() == 1);
    publisher.say(request("publish", "p.c", 4, "2"));
    cluster.settle();
    CHECK(read(reader).size() == 1);
    CHECK(ask(cluster, reader, request("unsubscribe", "*.*", 7)).size() == 1);
    for (const std::string_view name : {"p.a", "p.b", "p.c"})
        publisher.say(request("publish", name, 5, "3"));
    cluster.settle();
    CHECK(read(reader).size() == 2);
}

TEST_CASE("patterns: by name with the position where it stands is a recovery") {
    Cluster cluster(open_config());
    Client& reader = cluster.greet();
    CHECK(ask(cluster, reader, request("subscribe", ">", 1)).size() == 1);
    std::vector<Json> heard = ask(cluster, reader, request("publish", "t", 2, "1"));
    REQUIRE(heard.size() == 2);
    const std::string epoch = heard[0].text("payload.epoch");
    heard = ask(cluster,
                reader,
                request("subscribe", "t", 3, R"({"offset":1,"epoch":")" + epoch + R"("})"));
    REQUIRE(heard.size() == 1);
    CHECK(heard[0].text("payload.recovered") == "true");
    CHECK(heard[0].number("payload.offset") == 1);
}

TEST_CASE("patterns: who has as many as he may is told each topic that he does not get") {
    Config config = open_config();
    config.topics_per_client_max = 3;
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(config, 2);
        Client& publisher = cluster.greet(0);
        Client& reader = cluster.greet(shard);
        CHECK(ask(cluster, reader, request("subscribe", "p.*", 1)).size() == 1);
        for (int i = 0; i < 4; i++)
            publisher.say(request("publish", "p." + std::to_string(i), 2, "1"));
        cluster.settle();
        std::set<std::string> refused;
        std::uint64_t records = 0;
        for (const Json& message : read(reader)) {
            if (message.text("payload.code") == "too_many_subscriptions") {
                CHECK(refused.insert(message.text("topic")).second);
            }
            if (message.text("type") == "data_update") records++;
        }
        CHECK(refused.size() == 2);
        CHECK(records == 2);
        CHECK(ask(cluster, reader, request("subscribe", "q", 3)).at(0).text("payload.code") ==
              "too_many_subscriptions");
        // Of those that were there before, one for each home is enough to know.
        Client& late = cluster.greet(shard);
        refused.clear();
        for (const Json& message : ask(cluster, late, request("subscribe", "p.*", 1))) {
            if (message.text("type") == "error") refused.insert(message.text("topic"));
        }
        CHECK(!refused.empty());
        CHECK(refused.size() <= 2);
    }
}

TEST_CASE("patterns: a thousand topics that were there come all, and only what matches") {
    Config config = open_config();
    config.messages_per_second = 0;
    config.topics_per_client_max = 2000;
    Cluster cluster(config, 3);
    Client& publisher = cluster.greet(1);
    for (int i = 0; i < 2000; i++)
        publisher.say(request("publish", (i % 2 == 0 ? "e." : "o.") + std::to_string(i), 1, "1"));
    cluster.settle();
    Client& reader = cluster.greet(2);
    std::set<std::string> topics;
    for (const Json& message : ask(cluster, reader, request("subscribe", "e.>", 1))) {
        REQUIRE(message.text("type") == "subscribed");
        if (message.text("payload.pattern") == "e.>") topics.insert(message.text("topic"));
    }
    CHECK(topics.size() == 1000);
    CHECK(std::all_of(topics.begin(), topics.end(), [](const std::string& topic) {
        return topic.starts_with("e.");
    }));
}

TEST_CASE("patterns: history of a topic is neither lost nor brought") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Config config = open_config();
        TopicRule rule;
        rule.pattern = ">";
        rule.history = 1;
        rule.history_bytes = 64 * units::kib;
        config.topic.push_back(rule);
        Cluster cluster(config, 2);
        Client& publisher = cluster.greet(0);
        const std::string topic = cluster.topic_at(0);
        const std::string late = cluster.topic_at(0, "late");
        publisher.say(request("publish", topic, 1, "1"));
        cluster.settle();
        Client& reader = cluster.greet(shard);
        std::vector<Json> heard = ask(cluster, reader, request("subscribe", "*", 1));
        REQUIRE(heard.size() == 2);
        CHECK(heard[1].number("payload.offset") == 1);
        for (int i = 0; i < 20; i++)
            publisher.say(request("publish", late, 2, "1"));
        cluster.settle();
        CHECK(read(reader).size() == 21);  // all, though the rule keeps one
    }
}

TEST_CASE("patterns: a reader by pattern keeps a topic, and a topic made anew begins anew") {
    Config config = open_config();
    config.ping_interval = units::hour;
    Cluster cluster(config, 2);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet(0);
    Client& reader = cluster.greet(1);
    CHECK(ask(cluster, reader, request("subscribe", "*", 1)).size() == 1);
    publisher.say(request("publish", topic, 1, "1"));
    cluster.settle();
    CHECK(read(reader).size() == 2);
    cluster.advance(130 * nanos_per_s);
    static_cast<void>(reader.take());
    publisher.say(request("publish", topic, 1, "1"));
    cluster.settle();
    CHECK(read(reader).at(0).number("offset") == 2);
    CHECK(ask(cluster, reader, request("unsubscribe", "*", 2)).size() == 1);
    cluster.advance(130 * nanos_per_s);
    static_cast<void>(reader.take());
    CHECK(ask(cluster, reader, request("subscribe", "*", 3)).size() == 1);  // it was forgotten
    publisher.say(request("publish", topic, 1, "1"));
    cluster.settle();
    const std::vector<Json> heard = read(reader);
    REQUIRE(heard.size() == 2);
    CHECK(heard[0].text("payload.offset") == "0");
    CHECK(heard[1].number("offset") == 1);
}

TEST_CASE("patterns: what is no pattern here, and what a pattern cannot do") {
    Cluster cluster(open_config());
    Client& client = cluster.greet();
    const auto code = [&](const std::string& text) {
        return ask(cluster, client, text).at(0).text("payload.code");
    };
    CHECK(code(request("subscribe", "a.>.b", 1)) == "bad_topic");
    CHECK(code(request("subscribe", "*.*.*.*.*", 1)) == "bad_topic");
    CHECK(code(request("subscribe", "a.*", 1, R"({"offset":1,"epoch":"0123456789abcdef"})")) ==
          "bad_payload");
    CHECK(code(request("unsubscribe", "a.*", 1)) == "not_subscribed");
    CHECK(code(request("publish", "a.*", 1, "1")) == "bad_topic");
    CHECK(ask(cluster, client, request("subscribe", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r", 1))
              .at(0)
              .text("type") == "subscribed");
}
