#include "node/hub.h"

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"
#include "tests/node/rig.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;
using feed::LaneKind;

namespace {

std::string request(std::string_view type,
                    std::string_view topic,
                    std::uint64_t id,
                    std::string_view payload = {}) {
    std::string text = R"({"type":")" + std::string(type) + R"(","topic":")" + std::string(topic) +
                       R"(","id":")" + std::to_string(id) + '"';
    if (!payload.empty()) text += R"(,"payload":")" + std::string(payload) + '"';
    return text + '}';
}

// What everybody must agree on: which payload has which offset.
using Ledger = std::map<std::string, std::map<std::uint64_t, std::string>>;

// A client checks each message against what it asked for and what it had before.
struct Member {
    struct Topic {
        bool wanted = false;             // by what was asked so far
        bool active = false;             // by what was answered so far
        std::uint64_t asked = 0;         // the id of the last subscribe
        std::uint64_t answered = 0;      // the last `subscribed`
        std::uint64_t unsubscribed = 0;  // the last `unsubscribed`
        std::uint64_t next = 0;
        std::uint64_t epoch = 0;
    };

    Client* client = nullptr;
    std::map<std::string, Topic> topics = {};
    std::map<std::uint64_t, std::string> errors_due = {};  // code by id
    std::uint64_t next_id = 1;
    std::uint64_t gaps = 0;
    bool gone = false;

    void subscribe(const std::string& name) {
        Topic& topic = topics[name];
        const std::uint64_t id = next_id++;
        if (topic.wanted) {
            errors_due[id] = "already_subscribed";
        } else {
            topic.asked = id;
            topic.wanted = true;
        }
        client->say(request("subscribe", name, id));
    }
    void unsubscribe(const std::string& name) {
        Topic& topic = topics[name];
        const std::uint64_t id = next_id++;
        if (!topic.wanted) errors_due[id] = "not_subscribed";
        topic.wanted = false;
        client->say(request("unsubscribe", name, id));
    }
    void read(Ledger& ledger) {
        for (const Frame& frame : client->take()) {
            if (frame.op == Op::text) see(Json(frame.payload), ledger);
        }
    }
    void see(const Json& message, Ledger& ledger) {
        REQUIRE(message.valid());
        const std::string type = message.text("type");
        const std::string name = message.text("topic");
        Topic& topic = topics[name];
        if (type == "data_update") {
            REQUIRE(topic.active);
            REQUIRE(message.number("offset") == topic.next);
            const auto [at, fresh] = ledger[name].try_emplace(topic.next, message.text("payload"));
            REQUIRE(at->second == message.text("payload"));
            topic.next++;
        } else if (type == "subscribed") {
            const std::uint64_t id = message.number("id");
            REQUIRE(!topic.active);
            REQUIRE(id > topic.unsubscribed);  // no answer to what was taken back
            REQUIRE(id <= topic.asked);
            const std::uint64_t epoch = std::stoull(message.text("payload.epoch"), nullptr, 16);
            REQUIRE((topic.epoch == 0 || topic.epoch == epoch));
            topic.epoch = epoch;
            topic.answered = id;
            topic.active = true;
            topic.next = message.number("payload.offset") + 1;
        } else if (type == "unsubscribed") {
            topic.unsubscribed = message.number("id");
            topic.active = false;
        } else if (type == "gap") {
            REQUIRE(topic.active);
            REQUIRE(message.number("payload.from") == topic.next);
            REQUIRE(message.number("payload.next") > topic.next);
            topic.next = message.number("payload.next");
            gaps++;
        } else {
            REQUIRE(type == "error");
            const auto due = errors_due.find(message.number("id"));
            REQUIRE(due != errors_due.end());
            REQUIRE(message.text("payload.code") == due->second);
            errors_due.erase(due);
        }
    }
};

class Storm {
  public:
    Storm(std::uint64_t seed, std::uint32_t shards)
        : cluster_(config(), shards, seed, 60, 256 * 1024), random_(seed), shards_(shards) {
        for (std::uint64_t i = random_.between(1, 5); i > 0; i--)
            names_.push_back("topic-" + std::to_string(i));
        for (int i = 0; i < 8; i++)
            join();
    }

    void run(int steps) {
        for (int i = 0; i < steps; i++)
            step();
        for (Member& member : members_) {
            member.client->socket->room = FakeSocket::endless;
            member.client->socket->stingy = false;
        }
        settle();
        // All is quiet: the next record of a topic is the next of every reader.
        for (const std::string& name : names_)
            publish(members_.back(), name);
        settle();
        for (Member& member : members_) {
            if (!member.gone) check_complete(member);
        }
        for (const std::string& name : names_)
            check_ledger(name);
    }

  private:
    static Config config() {
        Config config = open_config();
        config.ping_interval = units::hour;
        config.messages_per_second = 0;
        config.mail_max = 16;  // publishers wait often
        config.topic_log_max = 64 * units::kib;
        config.outbox_max = units::mib;
        return config;
    }

    void join() {
        const auto shard = static_cast<std::uint32_t>(random_.below(shards_));
        Member& member = members_.emplace_back();
        member.client = &cluster_.greet(shard);
        member.client->socket->stingy = random_.chance(1, 2);
    }
    void settle() {
        cluster_.settle();
        for (Member& member : members_)
            member.read(ledger_);
    }
    void publish(Member& member, const std::string& name) {
        published_[name]++;
        member.client->say(
            request("publish",
                    name,
                    member.next_id++,
                    "n" + std::to_string(number_++) + std::string(random_.below(600), 'x')));
    }

    void step() {
        Member& member = members_[random_.below(members_.size())];
        const std::string& name = names_[random_.below(names_.size())];
        const std::uint64_t what = random_.below(16);
        if (what >= 9) {
            cluster_.turn(static_cast<std::uint32_t>(random_.below(shards_)));
            if (what == 15) member.read(ledger_);
            return;
        }
        if (member.gone) return;
        if (what < 3) {
            publish(member, name);
        } else if (what < 5) {
            member.subscribe(name);
        } else if (what == 5) {
            member.unsubscribe(name);
        } else if (what == 6) {  // a storm in one read
            for (std::uint64_t i = random_.between(2, 6); i > 0; i--) {
                member.unsubscribe(name);
                member.subscribe(name);
            }
        } else if (what == 7) {
            member.client->socket->room =
                random_.chance(1, 2) ? FakeSocket::endless : random_.below(4000);
        } else if (random_.chance(1, 6) && members_.size() < 40) {
            leave(member);
            join();
        }
    }
    void leave(Member& member) {
        // Its publications that were not heard yet are lost with it, so they count as possible.
        member.gone = true;
        leave_somehow(*member.client, random_);
    }

    void check_complete(Member& member) {
        CHECK(member.client->close_code() == 0);
        CHECK(member.errors_due.empty());
        for (const auto& entry : member.topics) {
            const std::string& name = entry.first;
            const Member::Topic& topic = entry.second;
            if (name.empty()) continue;
            CAPTURE(name);
            CHECK(topic.active == topic.wanted);
            if (!topic.wanted) continue;
            CHECK(topic.answered == topic.asked);
            REQUIRE(!ledger_[name].empty());
            CHECK(topic.next == ledger_[name].rbegin()->first + 1);
        }
    }
    void check_ledger(const std::string& name) {
        std::set<std::string> seen;
        for (const auto& [offset, payload] : ledger_[name]) {
            CHECK(offset <= published_[name]);
            CHECK(seen.insert(payload).second);  // no record has two offsets
        }
    }

    Cluster cluster_;
    Random random_;
    std::uint32_t shards_;
    std::vector<std::string> names_;
    std::deque<Member> members_;
    Ledger ledger_;
    std::map<std::string, std::uint64_t> published_;
    std::uint64_t number_ = 0;
};

// A hub without a shard around it, to look at the pool.
struct HubRig {
    explicit HubRig(const Config& config)
        : rig(config),
          mesh(1, config.mail_max),
          parser(wire::EnvelopeParser::make(config.message_max).value()),
          access(rig.config, 1, rig.topics),
          hub(rig.config,
              0,
              1,
              rig.reactor,
              mesh,
              rig.sessions,
              rig.topics,
              rig.pool,
              rig.pump,
              parser,
              rig.counters,
              access) {}
    void publish(std::string_view topic, std::string_view json) {
        std::string padded(json);
        padded.append(wire::payload_padding, '\0');
        hub.publish(io::no_conn,
                    {.topic = topic, .payload = as_bytes(padded).first(json.size()), .json = true});
    }

    Rig rig;
    Mesh mesh;
    wire::EnvelopeParser parser;
    Access access;
    Hub hub;
};

Json ask(Cluster& cluster, Client& client, const std::string& text) {
    client.say(text);
    cluster.settle();
    return Json(client.take_one());
}

}  // namespace

TEST_CASE("hub: on one shard every reader gets each record from its `subscribed` on, in order") {
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        CAPTURE(seed);
        Storm(seed, 1).run(800);
    }
}

TEST_CASE("hub: on two and three shards, stepped in any order, too") {
    for (std::uint64_t seed = 100; seed < 180; seed++) {
        CAPTURE(seed);
        Storm(seed, 2 + seed % 2).run(800);
    }
}

TEST_CASE("hub: a shard that takes no mail stops its publishers, wherever home is, and no more") {
    struct Row {
        std::uint32_t home;
        std::size_t size;
    };
    constexpr std::uint32_t away = 2;  // the shard that stands still
    for (const Row row : {Row{0, 10}, {0, 10'000}, {1, 10}, {1, 10'000}}) {
        CAPTURE(row.home);
        CAPTURE(row.size);
        Config config = open_config();
        config.messages_per_second = 0;
        config.mail_max = 64;
        Cluster cluster(config, 3, 1, 20, 16 * units::mib);
        const std::string topic = cluster.topic_at(row.home);
        Client& reader = cluster.greet(away);
        CHECK(ask(cluster, reader, request("subscribe", topic, 1)).text("type") == "subscribed");
        constexpr std::uint64_t each = 200;
        std::vector<Client*> publishers;
        for (int i = 0; i < 4; i++)
            publishers.push_back(&cluster.greet(0));
        for (Client* publisher : publishers) {
            for (std::uint64_t i = 0; i < each; i++)
                publisher->say(request("publish", topic, i, std::string(row.size, 'x')));
        }
        const std::uint64_t heard_before = cluster.shards[0]->counters().messages_in;
        for (int i = 0; i < 1000; i++) {
            cluster.turn(0);
            cluster.turn(1);
        }
        // At most the credit, the one that went over it, and one read of each publisher.
        const std::uint64_t cost = 1 + row.size / mail_unit;
        const std::uint64_t most = config.mail_max / cost + 1 + publishers.size();
        const std::uint64_t heard = cluster.shards[0]->counters().messages_in - heard_before;
        const std::uint64_t numbered = cluster.shards[row.home]->counters().published;
        CHECK(numbered >= config.mail_max / cost);
        CHECK(numbered <= most);
        CHECK(heard - numbered <= (row.home == 0 ? 0 : most));
        CHECK(numbered * row.size <= (config.mail_max + cost * 5) * mail_unit);
        for (const Client* publisher : publishers)
            CHECK(publisher->socket->paused);
        CHECK(cluster.shards[0]->counters().publish_pauses >= publishers.size());

        // What needs no mail goes on meanwhile.
        Client& local = cluster.dial(0);
        local.socket->say(upgrade_request("/ws"));
        local.say(request("subscribe", cluster.topic_at(0, "local"), 1));
        local.say(request("publish", cluster.topic_at(0, "local"), 2, "x"));
        for (int i = 0; i < 10; i++)
            cluster.turn(0);
        CHECK(local.take().size() == 3);

        cluster.settle();
        std::uint64_t next = 1;
        for (const Frame& frame : reader.take())
            CHECK(Json(frame.payload).number("offset") == next++);
        CHECK(next == publishers.size() * each + 1);
        for (const Client* publisher : publishers)
            CHECK(!publisher->socket->paused);
    }
}

TEST_CASE("hub: two shards that are out of credit for each other both go on") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Config config = open_config();
        config.messages_per_second = 0;
        config.mail_max = 16;
        Cluster cluster(config, 2, seed, 20, 4 * units::mib);
        const std::vector<std::string> topics{cluster.topic_at(0), cluster.topic_at(1)};
        std::vector<Client*> readers;
        std::vector<Client*> publishers;
        for (std::uint32_t shard = 0; shard < 2; shard++) {
            readers.push_back(&cluster.greet(shard));
            publishers.push_back(&cluster.greet(shard));
            publishers.push_back(&cluster.greet(shard));
            for (const std::string& topic : topics)
                readers.back()->say(request("subscribe", topic, 1));
        }
        cluster.settle();
        for (Client* reader : readers)
            CHECK(reader->take().size() == 2);
        constexpr std::uint64_t each = 200;
        for (std::size_t who = 0; who < publishers.size(); who++) {
            for (std::uint64_t i = 0; i < each; i++)
                publishers[who]->say(request("publish", topics[who % 2], i, "x"));
        }
        // Each runs for long stretches without the other, until both are out of everything.
        for (int i = 0; i < 40; i++) {
            const auto shard = static_cast<std::uint32_t>(cluster.random.below(2));
            for (std::uint64_t turns = cluster.random.below(60); turns > 0; turns--)
                cluster.turn(shard);
        }
        cluster.settle();
        for (Client* reader : readers) {
            std::map<std::string, std::uint64_t> next;
            for (const Frame& frame : reader->take()) {
                const Json update(frame.payload);
                REQUIRE(update.number("offset") == ++next[update.text("topic")]);
            }
            for (const std::string& topic : topics)
                CHECK(next[topic] == 2 * each);
        }
    }
}

TEST_CASE("hub: a subscription taken back before home answers is not answered") {
    Cluster cluster(open_config(), 2);
    // On both shards, so that one of them is not home.
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Client& client = cluster.greet(shard);
        client.say(request("subscribe", "t", 1));
        client.say(request("unsubscribe", "t", 2));
        client.say(request("subscribe", "t", 3));
        cluster.settle();
        std::uint64_t last = 0;
        for (const Frame& frame : client.take()) {
            const Json message(frame.payload);
            CHECK(message.number("id") > last);
            last = message.number("id");
        }
        CHECK(last == 3);
        CHECK(ask(cluster, client, request("publish", "t", 4, "x")).text("type") == "data_update");
        CHECK(ask(cluster, client, request("unsubscribe", "t", 5)).text("type") == "unsubscribed");
    }
}

TEST_CASE("hub: over --topics-max a new topic is refused by name, and nothing else suffers") {
    for (const std::uint32_t shards : {1u, 2u, 3u}) {
        CAPTURE(shards);
        Config config = open_config();
        config.topics_max = 2;
        Cluster cluster(config, shards);
        Client& client = cluster.greet();
        for (std::uint64_t id = 1; id <= 12; id++) {
            const std::string name = "t" + std::to_string(id);
            const Json answer = ask(cluster, client, request("subscribe", name, id));
            CHECK(answer.number("id") == id);
            CHECK(answer.text("topic") == name);
            if (id <= 2) {
                CHECK(answer.text("type") == "subscribed");
                continue;
            }
            CHECK(answer.text("payload.code") == "too_many_topics");
            const Json refused = ask(cluster, client, request("publish", name, id + 100, "x"));
            CHECK(refused.text("payload.code") == "too_many_topics");
            CHECK(refused.number("id") == id + 100);
            CHECK(ask(cluster, client, request("unsubscribe", name, id)).text("payload.code") ==
                  "not_subscribed");
        }
        for (const std::string name : {"t1", "t2"}) {
            const Json update = ask(cluster, client, request("publish", name, 50, "x"));
            CHECK(update.text("type") == "data_update");
            CHECK(update.number("offset") == 1);
        }
    }
}

TEST_CASE("hub: --topics-max counts the topics of all shards, each once") {
    Config config = open_config();
    config.topics_max = 30;
    Cluster cluster(config, 3);
    // Readers on every shard do not make more of them.
    for (std::uint32_t shard = 0; shard < 3; shard++) {
        Client& client = cluster.greet(shard);
        for (std::uint64_t id = 1; id <= 30; id++) {
            const Json answer =
                ask(cluster, client, request("subscribe", "t" + std::to_string(id), id));
            CHECK(answer.text("type") == "subscribed");
        }
        const Json answer = ask(cluster, client, request("subscribe", "u", 31));
        CHECK(answer.text("payload.code") == "too_many_topics");
    }
}

TEST_CASE("hub: a topic that nobody needs is forgotten after a while, and begins a new epoch") {
    for (const std::uint32_t shards : {1u, 3u}) {
        CAPTURE(shards);
        Config config = open_config();
        config.ping_interval = units::hour;
        config.topics_max = 12;
        Cluster cluster(config, shards);
        Client& client = cluster.greet();
        Client& other = cluster.greet(shards - 1);
        std::map<std::string, std::string> epochs;
        const auto visit = [&](const std::string& name) {
            const Json answer = ask(cluster, client, request("subscribe", name, 1));
            REQUIRE(answer.text("type") == "subscribed");
            REQUIRE(ask(cluster, client, request("unsubscribe", name, 2)).valid());
            const std::string epoch = answer.text("payload.epoch");
            const bool same = std::exchange(epochs[name], epoch) == epoch;
            return std::pair(same, answer.number("payload.offset"));
        };
        const auto publish = [&](const std::string& name) {
            client.say(request("publish", name, 3, "x"));
            cluster.settle();
        };
        // Of each kind one per shard: forgotten, published now and then, read elsewhere.
        for (std::uint32_t shard = 0; shard < shards; shard++) {
            for (const char* kind : {"quiet", "busy", "read"}) {
                const std::string name = cluster.topic_at(shard, kind);
                static_cast<void>(visit(name));
                publish(name);
            }
            const std::string read = cluster.topic_at(shard, "read");
            CHECK(ask(cluster, other, request("subscribe", read, 1)).text("type") == "subscribed");
        }
        for (int i = 0; i < 5; i++) {
            cluster.advance(20 * nanos_per_s);
            for (std::uint32_t shard = 0; shard < shards; shard++)
                publish(cluster.topic_at(shard, "busy"));
        }
        for (std::uint32_t shard = 0; shard < shards; shard++) {
            using Seen = std::pair<bool, std::uint64_t>;
            CHECK(visit(cluster.topic_at(shard, "quiet")) == Seen(false, 0));
            CHECK(visit(cluster.topic_at(shard, "busy")) == Seen(true, 6));
            CHECK(visit(cluster.topic_at(shard, "read")) == Seen(true, 1));
        }
        // Their places are free again, however often names come and go.
        for (int round = 0; round < 4; round++) {
            cluster.advance(40 * nanos_per_s);
            cluster.advance(40 * nanos_per_s);
            for (std::uint32_t i = 0; i < 12 - shards; i++)
                publish("r" + std::to_string(round) + "-" + std::to_string(i));
            CHECK(client.take().empty());
        }
    }
}

TEST_CASE("hub: a sweep forgets a bounded number of topics, and all in time") {
    HubRig node{Config()};
    constexpr std::size_t count = 40'000;
    for (std::size_t i = 0; i < count; i++)
        node.publish("t" + std::to_string(i), "1");
    CHECK(node.rig.topics.count() == count);
    for (int i = 0; i < 10; i++)
        node.hub.sweep();
    CHECK(node.rig.topics.count() == count);
    node.rig.sessions.set_now(node.rig.sessions.now() + ticks_of(61 * units::s));
    node.hub.sweep();
    CHECK(node.rig.topics.count() >= count - 16'384);
    CHECK(node.rig.topics.count() < count);
    for (int i = 0; i < 2; i++)
        node.hub.sweep();
    CHECK(node.rig.topics.count() == 0);
}

TEST_CASE("hub: a record that cannot fit is refused to its sender and takes no offset") {
    for (const std::uint32_t shards : {1u, 2u, 3u}) {
        CAPTURE(shards);
        Cluster cluster(open_config(), shards, 1, 20, 64 * 1024);
        for (std::uint32_t shard = 0; shard < shards; shard++) {
            Client& reader = cluster.greet(shard);
            Client& sender = cluster.greet(shards - 1 - shard);
            const std::string name = "t" + std::to_string(shard);
            CHECK(ask(cluster, reader, request("subscribe", name, 1)).text("type") == "subscribed");
            sender.say(request("publish", name, 2, "fits"));
            sender.say(request("publish", name, 3, std::string(20'000, 'x')));
            sender.say(request("publish", name, 4, "fits"));
            cluster.settle();
            const Json refused(sender.take_one());
            CHECK(refused.text("payload.code") == "too_large");
            CHECK(refused.number("id") == 3);
            const std::vector<Frame> frames = reader.take();
            REQUIRE(frames.size() == 2);
            CHECK(Json(frames[0].payload).number("offset") == 1);
            CHECK(Json(frames[1].payload).number("offset") == 2);
        }
    }
}

TEST_CASE("hub: what cannot be done closes a raw client with one code, wherever home is") {
    for (const std::uint32_t shards : {1u, 3u}) {
        CAPTURE(shards);
        Config config = open_config();
        config.topics_max = 3;
        Cluster cluster(config, shards, 1, 40, 64 * 1024);
        std::vector<std::string> names;
        for (std::uint32_t i = 0; i < 3; i++) {
            names.push_back(cluster.topic_at(i % shards, "full" + std::to_string(i)));
            cluster.connect("/raw?topic=" + names.back());
        }
        for (std::uint32_t shard = 0; shard < shards; shard++) {
            CAPTURE(shard);
            const std::string name = cluster.topic_at(shard, "new");
            CHECK(cluster.connect("/raw?topic=" + name).close_code() == 1013);
            CHECK(cluster.connect("/raw?topic=" + names[0] + "&topic=" + name).close_code() ==
                  1013);
            Client& publisher = cluster.connect("/raw?publish=" + name);
            publisher.socket->say(client_frame(Op::text, "x"));
            cluster.settle();
            CHECK(publisher.close_code() == 1013);
            Client& talker = cluster.connect("/raw?publish=" + names[shard]);
            talker.socket->say(client_frame(Op::binary, std::string(20'000, 'x')));
            cluster.settle();
            CHECK(talker.close_code() == 1009);
        }
    }
}

TEST_CASE("hub: a sweep gives the memory of drained logs back, and of no others") {
    HubRig node{Config()};
    FakeSocket& quick = node.rig.connect_open();
    FakeSocket& slow = node.rig.connect_open();
    for (const std::string name : {"a", "b", "c"}) {
        const bool both =
            node.hub.subscribe(quick.conn, name, LaneKind::envelope, {}) ==
                Hub::Subscribing::asked &&
            node.hub.subscribe(quick.conn, name, LaneKind::raw, {}) == Hub::Subscribing::asked;
        REQUIRE(both);
    }
    REQUIRE(node.hub.subscribe(slow.conn, "a", LaneKind::envelope, {}) == Hub::Subscribing::asked);
    node.rig.settle();
    slow.room = 0;
    for (const std::string name : {"a", "b", "c"})
        node.publish(name, "1");
    CHECK(node.rig.pool.bytes_in_use() == 6 * feed::page_size);
    node.hub.sweep();
    CHECK(node.rig.pool.bytes_in_use() == 6 * feed::page_size);  // nobody has read any
    node.rig.settle();
    node.hub.sweep();
    CHECK(node.rig.pool.bytes_in_use() == feed::page_size);  // what `slow` still wants
    slow.room = FakeSocket::endless;
    node.rig.settle();
    node.hub.sweep();
    CHECK(node.rig.pool.bytes_in_use() == 0);
    // And again: a log that was emptied is on the list when it fills.
    node.publish("b", "2");
    CHECK(node.rig.pool.bytes_in_use() == 2 * feed::page_size);
    node.rig.settle();
    node.hub.sweep();
    CHECK(node.rig.pool.bytes_in_use() == 0);
}

TEST_CASE("hub: a lane that goes with its last reader leaves no memory behind") {
    HubRig node{Config()};
    FakeSocket& socket = node.rig.connect_open();
    for (int i = 0; i < 100; i++) {
        REQUIRE(node.hub.subscribe(socket.conn, "t", LaneKind::envelope, {}) ==
                Hub::Subscribing::asked);
        node.publish("t", "1");
        CHECK(node.hub.unsubscribe(socket.conn, "t", LaneKind::envelope) ==
              Hub::Unsubscribing::done);
        CHECK(node.hub.unsubscribe(socket.conn, "t", LaneKind::envelope) ==
              Hub::Unsubscribing::not_subscribed);
    }
    CHECK(node.rig.pool.bytes_in_use() == 0);
    CHECK(node.hub.to_sweep() == 1);  // one topic, listed once
    node.hub.sweep();
    CHECK(node.hub.to_sweep() == 0);
    node.rig.settle();
    CHECK(node.rig.topics.count() == 1);  // its offset is remembered
}

TEST_CASE("hub: what a pattern holds counts for one of its readers, and then for the next") {
    HubRig node{Config()};
    Sessions& sessions = node.rig.sessions;
    const io::ConnIndex first = node.rig.connect_open().conn;
    const io::ConnIndex second = node.rig.connect_open().conn;
    std::vector<std::string> patterns;
    for (int i = 0; i < 50; i++)
        patterns.push_back("a" + std::to_string(i) + ".b.*");
    const auto subscribe = [&](io::ConnIndex conn) {
        for (const std::string& pattern : patterns)
            REQUIRE(node.hub.subscribe_pattern(conn, pattern, "1") == Hub::Subscribing::asked);
    };
    subscribe(first);
    const std::uint32_t whole = sessions[first].pattern_bytes;
    CHECK(whole >= 50 * 2 * feed::PatternIndex::cost_of(patterns[0]));
    CHECK(sessions.held_bytes() >= whole);
    subscribe(second);
    const std::uint32_t part = sessions[second].pattern_bytes;
    CHECK(part < whole);
    CHECK(part > 0);
    for (const std::string& pattern : patterns)
        REQUIRE(node.hub.unsubscribe_pattern(first, pattern));
    CHECK(sessions[first].pattern_bytes == 0);
    CHECK(sessions[second].pattern_bytes == whole);
    subscribe(first);
    CHECK(sessions[first].pattern_bytes == part);
    node.hub.forget(second);
    CHECK(sessions[second].pattern_bytes == 0);
    CHECK(sessions[first].pattern_bytes == whole);
    // Other words for itself are its own.
    REQUIRE(node.hub.subscribe_pattern(first, "c.>", "1", {.info = std::string(200, '1')}) ==
            Hub::Subscribing::asked);
    CHECK(sessions[first].pattern_bytes >= whole + 200);
    node.hub.forget(first);
    CHECK(sessions[first].pattern_bytes == 0);
}
