// Who is on a topic, as those who ask and those who watch see it, on whatever shard.

#include "node/presence.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config presence_config(std::uint64_t listed_max = 10'000) {
    Config config = open_config();
    config.messages_per_second = 0;
    config.ping_interval = units::hour;
    TopicRule rule;
    rule.pattern = "plain*";  // matches nothing
    config.topic.push_back(rule);
    rule.pattern = ">";
    rule.presence = true;
    rule.presence_max = listed_max;
    config.topic.push_back(rule);
    return config;
}

std::string subscribe(const std::string& topic, const std::string& payload = "{}") {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + R"(","payload":)" + payload + '}';
}

std::string unsubscribe(const std::string& topic) {
    return R"({"type":"unsubscribe","id":"u","topic":")" + topic + R"("})";
}

std::string presence(const std::string& topic) {
    return R"({"type":"presence","id":"p","topic":")" + topic + R"("})";
}

// client_id by info, of a list of the message.
std::map<std::string, std::string> clients_of(const Json& message, const std::string& list) {
    std::map<std::string, std::string> clients;
    for (std::size_t i = 0;; i++) {
        const std::string entry = "payload." + list + "[" + std::to_string(i) + "]";
        if (!message.has(entry)) return clients;
        clients[message.text(entry + ".client_id")] = message.text(entry + ".info");
    }
}

std::vector<std::string> left_of(const Json& message) {
    std::vector<std::string> clients;
    for (std::size_t i = 0;; i++) {
        const std::string entry = "payload.left[" + std::to_string(i) + "]";
        if (!message.has(entry)) return clients;
        clients.push_back(message.text(entry));
    }
}

// The last message of that type among what came.
std::string last(Client& client, const std::string& type) {
    std::string found;
    for (const Frame& frame : client.take())
        if (frame.op == Op::text && Json(frame.payload).text("type") == type) found = frame.payload;
    return found;
}

Json ask(Cluster& cluster, Client& client, const std::string& topic) {
    client.say(presence(topic));
    cluster.settle();
    const std::string answer = last(client, "presence");
    REQUIRE(Json(answer).valid());
    return Json(answer);
}

}  // namespace

TEST_CASE("presence: an answer behind `subscribed` includes oneself, wherever home is") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(presence_config(), 2);
        const std::string topic = cluster.topic_at(0);
        Client& other = cluster.greet(1 - shard, "/ws?client_id=other");
        other.say(subscribe(topic));
        cluster.settle();
        Client& client = cluster.greet(shard, "/ws?client_id=me");
        client.say(subscribe(topic, R"({"info":{"name" : "Me"}})"));
        client.say(presence(topic));
        cluster.settle();
        std::vector<Frame> frames = client.take();
        // Home may be elsewhere: then the question may be there before the subscription began.
        if (Json(frames[0].payload).text("type") == "presence") std::swap(frames[0], frames[1]);
        const Json answer = ask(cluster, client, topic);
        CHECK(answer.text("id") == "p");
        CHECK(answer.text("topic") == topic);
        CHECK(answer.number("payload.count") == 2);
        CHECK(answer.text("payload.more") == "false");
        CHECK(answer.number("payload.clients[0].since") == 1'700'000'000);
        const auto clients = clients_of(answer, "clients");
        CHECK(clients.size() == 2);
        CHECK(clients.at("me") == R"({"name" : "Me"})");
        CHECK(clients.at("other") == "null");

        client.say(unsubscribe(topic));
        CHECK(clients_of(ask(cluster, client, topic), "clients").size() == 1);
        other.socket->reset();
        cluster.settle();
        const Json nobody = ask(cluster, client, topic);
        CHECK(nobody.number("payload.count") == 0);
        CHECK(nobody.has("payload.clients"));
    }
}

TEST_CASE("presence: a topic without the rule is counted, on all shards together") {
    Config config = presence_config();
    config.topic.clear();
    for (std::uint32_t shards = 1; shards <= 3; shards++) {
        Cluster cluster(config, shards);
        for (std::uint32_t shard = 0; shard < shards; shard++) {
            cluster.greet(shard).say(subscribe("a"));
            static_cast<void>(cluster.connect("/raw?topic=a", shard));
        }
        Client& client = cluster.greet(shards - 1);
        client.say(subscribe("a"));
        cluster.settle();
        static_cast<void>(client.take());
        const Json answer = ask(cluster, client, "a");
        CHECK(answer.number("payload.count") == 2 * shards + 1);
        CHECK(!answer.has("payload.clients"));
        CHECK(ask(cluster, client, "nobody").number("payload.count") == 0);
    }
}

TEST_CASE("presence: a client and its successor are one entry") {
    Cluster cluster(presence_config(), 2);
    const std::string topic = cluster.topic_at(0);
    Client& watcher = cluster.greet(1, "/ws?client_id=watcher");
    watcher.say(subscribe(topic, R"({"presence":true})"));
    Client& first = cluster.greet(0, "/ws?client_id=one");
    first.say(subscribe(topic, R"({"info":1})"));
    cluster.settle();
    cluster.advance(2 * nanos_per_s);
    const Json joined(last(watcher, "presence_update"));
    CHECK(clients_of(joined, "joined").size() == 2);
    CHECK(joined.number("payload.count") == 2);

    Client& two = cluster.greet(0, "/ws?client_id=two");
    two.say(subscribe(topic));
    cluster.settle();
    cluster.advance(2 * nanos_per_s);
    static_cast<void>(watcher.take());
    two.socket->reset();
    // The newer connection replaces the older one.
    Client& second = cluster.greet(1, "/ws?client_id=one");
    second.say(subscribe(topic, R"({"info":2})"));
    cluster.settle();
    CHECK(first.close_code() == 4501);
    cluster.advance(2 * nanos_per_s);
    const Json replaced(last(watcher, "presence_update"));
    CHECK(clients_of(replaced, "joined") == std::map<std::string, std::string>{{"one", "2"}});
    CHECK(left_of(replaced) == std::vector<std::string>{"two"});
    CHECK(replaced.number("payload.count") == 2);
    const Json answer = ask(cluster, watcher, topic);
    CHECK(answer.number("payload.count") == 2);
    CHECK(clients_of(answer, "clients").at("one") == "2");
    second.socket->reset();
    cluster.settle();
    cluster.advance(2 * nanos_per_s);
    const Json left(last(watcher, "presence_update"));
    CHECK(left_of(left) == std::vector<std::string>{"one"});
    CHECK(left.number("payload.count") == 1);
}

TEST_CASE("presence: a storm is one message, and too large a storm is a count") {
    Cluster cluster(presence_config(), 2, 1, 1500, 4 * 1024 * 1024);
    const std::string topic = cluster.topic_at(0);
    Client& watcher = cluster.greet(1);
    watcher.say(subscribe(topic, R"({"presence":true})"));
    cluster.settle();
    cluster.advance(2 * nanos_per_s);
    static_cast<void>(watcher.take());
    for (const int count : {200, 1100}) {
        std::vector<Client*> crowd;
        for (int i = 0; i < count; i++) {
            Client& client = cluster.dial(static_cast<std::uint32_t>(i % 2));
            client.socket->say(upgrade_request("/raw?topic=" + topic));
            crowd.push_back(&client);
        }
        cluster.settle();
        cluster.advance(2 * nanos_per_s);
        const std::vector<Frame> frames = watcher.take();
        REQUIRE(frames.size() == 1);
        const Json update(frames[0].payload);
        CHECK(update.number("payload.count") == static_cast<std::uint64_t>(count) + 1);
        CHECK((update.text("payload.truncated") == "true") == (count > 1000));
        CHECK(clients_of(update, "joined").size() == (count > 1000 ? 0 : 200));
        const Json answer = ask(cluster, watcher, topic);
        CHECK((answer.text("payload.more") == "true") == (count > 1000));
        CHECK(clients_of(answer, "clients").size() ==
              std::min<std::size_t>(static_cast<std::size_t>(count) + 1, 1000));
        for (Client* client : crowd)
            client->socket->reset();
        cluster.settle();
        cluster.advance(2 * nanos_per_s);
        CHECK(watcher.take().size() == 1);
    }
}

TEST_CASE("presence: past presence-max clients are counted and not listed") {
    Cluster cluster(presence_config(3), 2);
    const std::string topic = cluster.topic_at(0);
    std::vector<Client*> clients;
    for (int i = 0; i < 5; i++) {
        Client& client = cluster.greet(static_cast<std::uint32_t>(i % 2));
        client.say(subscribe(topic));
        cluster.settle();
        clients.push_back(&client);
    }
    static_cast<void>(clients[0]->take());
    const Json answer = ask(cluster, *clients[0], topic);
    CHECK(answer.number("payload.count") == 5);
    CHECK(answer.text("payload.more") == "true");
    CHECK(clients_of(answer, "clients").size() == 3);
    for (std::size_t i = 1; i < 5; i++)
        clients[i]->say(unsubscribe(topic));
    cluster.settle();
    CHECK(ask(cluster, *clients[0], topic).number("payload.count") == 1);
}

TEST_CASE("presence: a watcher that does not read is told counts, and is not closed for it") {
    Config config = presence_config();
    config.outbox_max = 1024;
    config.stall_timeout = units::hour;
    Cluster cluster(config, 2, 1, 400);
    const std::string topic = cluster.topic_at(0);
    Client& watcher = cluster.greet(1);
    watcher.say(subscribe(topic, R"({"presence":true})"));
    cluster.settle();
    watcher.socket->room = 0;
    const std::string info(250, 'x');
    for (int round = 0; round < 40; round++) {
        Client& client = cluster.greet(0);
        client.say(subscribe(topic, R"({"info":")" + info + R"("})"));
        cluster.settle();
        cluster.advance(nanos_per_s);
    }
    CHECK(cluster.shards[1]->audit().outbox_bytes < 20'000);
    watcher.socket->room = FakeSocket::endless;
    cluster.settle();
    const Json update(last(watcher, "presence_update"));
    CHECK(update.text("payload.truncated") == "true");
    CHECK(watcher.socket->live);
}

namespace {

// A watcher that keeps the list by answers and updates.
struct Watcher {
    Client* client = nullptr;
    std::set<std::string> known = {};
    bool whole = false;  // it had an answer, and nothing truncated since

    void read() {
        for (const Frame& frame : client->take()) {
            if (frame.op != Op::text) continue;
            const Json message(frame.payload);
            if (message.text("type") == "presence") {
                known.clear();
                for (const auto& entry : clients_of(message, "clients"))
                    known.insert(entry.first);
                whole = true;
            } else if (message.text("type") == "presence_update") {
                if (message.has("payload.truncated")) whole = false;
                for (const auto& entry : clients_of(message, "joined"))
                    known.insert(entry.first);
                for (const std::string& name : left_of(message))
                    known.erase(name);
            }
        }
    }
};

// One connection, and what it is subscribed to.
struct Member {
    Client* client = nullptr;
    std::string name = {};
    bool raw = false;
    bool on = false;
};

class Walk {
  public:
    explicit Walk(std::uint64_t seed)
        : random_(seed),
          shards_(static_cast<std::uint32_t>(random_.between(1, 3))),
          cluster_(config(), shards_, seed, 400),
          topic_(cluster_.topic_at(0)) {
        for (std::uint32_t shard = 0; shard < shards_; shard++) {
            Watcher& watcher = watchers_.emplace_back();
            watcher.client = &cluster_.greet(shard, "/ws?client_id=w" + std::to_string(shard));
            watcher.client->say(subscribe(topic_, R"({"presence":true})"));
            cluster_.settle();
            watcher.client->say(presence(topic_));
        }
    }

    void run(int steps) {
        for (int i = 0; i < steps; i++)
            step();
        cluster_.settle();
        cluster_.advance(2 * nanos_per_s);
        std::set<std::string> expected;
        for (std::uint32_t shard = 0; shard < shards_; shard++)
            expected.insert("w" + std::to_string(shard));
        for (const Member& member : members_) {
            const bool replaced = member.client->close_code() != 0;
            const bool there = member.client->socket->live && !replaced;
            if (member.on && there) expected.insert(member.name);
        }
        for (Watcher& watcher : watchers_) {
            watcher.read();
            if (watcher.whole) CHECK(watcher.known == expected);
            watcher.client->say(presence(topic_));
            cluster_.settle();
            watcher.read();
            CHECK(watcher.known == expected);
        }
    }

  private:
    static Config config() {
        Config config = presence_config();
        config.mail_max = 16;
        return config;
    }

    void join() {
        Member& member = members_.emplace_back();
        member.name = "n" + std::to_string(random_.below(8));
        member.raw = random_.chance(1, 3);
        member.on = member.raw;
        const std::string target = member.raw ? "/raw?topic=" + topic_ + "&" : "/ws?";
        member.client = &cluster_.dial(static_cast<std::uint32_t>(random_.below(shards_)));
        member.client->socket->say(upgrade_request(target + "client_id=" + member.name));
    }

    void step() {
        const std::uint64_t what = random_.below(12);
        if (members_.empty() || (what == 0 && members_.size() < 100)) {
            join();
        } else if (what < 5) {
            Member& member = members_[random_.below(members_.size())];
            if (member.raw || !member.client->socket->live) return;
            member.client->say(member.on ? unsubscribe(topic_) : subscribe(topic_));
            member.on = !member.on;
        } else if (what == 5) {
            members_[random_.below(members_.size())].client->socket->reset();
        } else if (what == 6) {
            watchers_[random_.below(watchers_.size())].client->say(presence(topic_));
        } else if (what == 7) {
            cluster_.advance(nanos_per_s / 4);
        } else if (what == 8) {
            cluster_.settle();
        } else {
            cluster_.turn(static_cast<std::uint32_t>(random_.below(shards_)));
        }
    }

    Random random_;
    std::uint32_t shards_;
    Cluster cluster_;
    std::string topic_;
    std::vector<Watcher> watchers_;
    std::vector<Member> members_;
};

}  // namespace

TEST_CASE("presence: a random walk of clients that come and go, against the set of them") {
    for (std::uint64_t seed = 1; seed <= 60; seed++) {
        CAPTURE(seed);
        Walk walk(seed);
        for (int round = 0; round < 4; round++)
            walk.run(60);
    }
}
