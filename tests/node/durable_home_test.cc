// Durable topics in whole shards: nothing is seen or acknowledged before its commit, and all of
// that is there after a crash.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/durable_cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

std::string subscribe(const std::string& topic) {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + R"("})";
}

std::string code_of(const std::string& envelope) {
    return Json(envelope).text("payload.code");
}

}  // namespace

TEST_CASE("durable topics: a record is seen and acknowledged once it is committed, in order") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        FakeStore store;
        DurableCluster durable(store, durable_config(), 2);
        Cluster& cluster = durable.cluster;
        const std::string topic = cluster.topic_at(0);
        Client& reader = cluster.greet(1 - shard);
        Client& publisher = cluster.greet(shard);
        reader.say(subscribe(topic));
        reader.say(subscribe("plain.a"));
        cluster.settle();
        CHECK(reader.take().size() == 2);
        for (int i = 1; i <= 3; i++)
            publisher.say(durable_publish(topic, std::to_string(i), std::to_string(i)));
        publisher.say(durable_publish("plain.a", "p", "0"));
        cluster.settle();
        CHECK(Json(publisher.take_one()).text("id") == "p");  // it waits for nobody
        CHECK(Json(reader.take_one()).text("topic") == "plain.a");

        CHECK(durable.worker.run_next() == 1);
        cluster.settle();
        CHECK(publisher.take().empty());
        durable.settle();
        const std::vector<Frame> acks = publisher.take();
        const std::vector<Frame> records = reader.take();
        REQUIRE(acks.size() == 3);
        REQUIRE(records.size() == 3);
        for (std::size_t i = 0; i < 3; i++) {
            CHECK(Json(acks[i].payload).number("payload.offset") == i + 1);
            CHECK(Json(records[i].payload).number("offset") == i + 1);
            CHECK(Json(records[i].payload).text("payload") == std::to_string(i + 1));
        }
        CHECK(cluster.shards[0]->counters().committed == 3);
        CHECK(store.topics().size() == 1);
    }
}

TEST_CASE("durable topics: a repeat has the same answer: while it waits, later, after a restart") {
    FakeStore store;
    {
        DurableCluster durable(store);
        Client& publisher = durable.cluster.greet(0, "/ws?client_id=c");
        publisher.say(durable_publish("t", "1", "1"));
        publisher.say(durable_publish("t", "1", "1"));
        durable.settle();
        CHECK(publisher.take().size() == 2);
        publisher.say(durable_publish("t", "1", "1"));
        durable.settle();
        CHECK(Json(publisher.take_one()).number("payload.offset") == 1);
        CHECK(durable.cluster.shards[0]->counters().repeats == 2);
    }
    DurableCluster durable(store, durable_config(), 2, 5);
    Client& publisher = durable.cluster.greet(1, "/ws?client_id=c");
    publisher.say(durable_publish("t", "1", "1"));
    publisher.say(durable_publish("t", "2", "1"));
    durable.settle();
    const std::vector<Frame> answers = publisher.take();
    REQUIRE(answers.size() == 2);
    CHECK(Json(answers[0].payload).number("payload.offset") == 1);
    CHECK(Json(answers[1].payload).number("payload.offset") == 2);
    CHECK(store.topics().at("t").records.size() == 2);
}

TEST_CASE("durable topics: a disk that fails is told to their publishers, and to nobody else") {
    struct Row {
        io::StoreFault fault;
        const char* code;
    };
    for (const Row row :
         {Row{io::StoreFault::full, "store_full"}, Row{io::StoreFault::io, "store_failed"}}) {
        FakeStore store;
        DurableCluster durable(store, durable_config(), 2);
        Cluster& cluster = durable.cluster;
        const std::string topic = cluster.topic_at(0);
        Client& here = cluster.greet(0);
        Client& there = cluster.greet(1);
        Client& raw = cluster.connect("/raw?publish=" + topic, 1);
        store.fail(row.fault, 2);
        for (Client* client : {&here, &there})
            client->say(durable_publish(topic, "1", "1"));
        // Without ack_required bad news are told all the same.
        here.say(R"({"type":"publish","id":"2","topic":")" + topic + R"(","payload":1})");
        raw.socket->say(client_frame(Op::text, "x"));
        durable.settle();
        CHECK(here.take().size() == 2);
        CHECK(code_of(there.take_one()) == row.code);
        CHECK(raw.close_code() == 1013);
        CHECK(durable.lines.size() == 1);
        CHECK(cluster.shards[0]->counters().uncommitted == 4);

        here.say(durable_publish(topic, "1", "1"));
        here.say(durable_publish("plain.a", "p", "1"));
        durable.settle();
        CHECK(here.take().size() == 2);
        there.say(durable_publish(topic, "1", "1"));  // the disk is well again
        durable.settle();
        CHECK(Json(there.take_one()).number("payload.offset") <= 2);
        cluster.advance(6 * nanos_per_s);
        there.say(durable_publish(topic, "3", "1"));
        durable.settle();
        CHECK(durable.lines.size() == 2);
    }
}

TEST_CASE("durable topics: what a slow disk has not taken is bounded, and past it busy") {
    FakeStore store;
    DurableCluster durable(store);
    Client& publisher = durable.cluster.greet();
    const std::size_t most = 2 * Durable::Limits().records;
    for (std::size_t i = 0; i < most + 3; i++) {
        publisher.say(R"({"type":"publish","topic":"t","payload":1})");
        if (i == 0) durable.cluster.settle();  // the first batch is that one alone
    }
    durable.cluster.settle();
    const std::vector<Frame> errors = publisher.take();
    CHECK(errors.size() == most / 2 + 2);
    CHECK(code_of(errors.back().payload) == "busy");
    durable.settle();
    CHECK(publisher.take().empty());
    CHECK(durable.cluster.shards[0]->counters().committed == most / 2 + 1);
}

TEST_CASE("durable topics: a publisher of many is held up until the disk has them") {
    FakeStore store;
    DurableCluster durable(store);
    Client& publisher = durable.cluster.greet();
    for (int i = 0; i < 1000; i++)
        publisher.say(durable_publish("t", std::to_string(i), "1"));
    durable.cluster.settle();
    CHECK(publisher.socket->paused);
    durable.settle();
    CHECK_FALSE(publisher.socket->paused);
    CHECK(publisher.take().size() == 1000);
}

TEST_CASE("durable topics: one with a record is never forgotten; one without is") {
    FakeStore store;
    Config config = durable_config(0);  // no history: number and epoch stay
    DurableCluster durable(store, config);
    Cluster& cluster = durable.cluster;
    Client& client = cluster.greet();
    client.say(durable_publish("t", "1", "1"));
    client.say(subscribe("empty"));
    durable.settle();
    std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 2);
    const std::string empty = Json(frames[0].payload).text("payload.epoch");
    const std::string epoch = Json(frames[1].payload).text("payload.epoch");
    client.say(R"({"type":"unsubscribe","id":"u","topic":"empty"})");
    cluster.advance(70 * nanos_per_s);
    Client& later = cluster.greet();
    later.say(subscribe("t"));
    later.say(subscribe("empty"));
    durable.settle();
    frames = later.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("payload.epoch") == epoch);
    CHECK(Json(frames[0].payload).number("payload.offset") == 1);
    CHECK(Json(frames[1].payload).text("payload.epoch") != empty);
}

TEST_CASE("durable topics: history that grows old is trimmed in the store as well") {
    FakeStore store;
    Config config = durable_config();
    config.topic.back().history_age = 10 * units::s;
    DurableCluster durable(store, config);
    Client& client = durable.cluster.greet();
    client.say(durable_publish("t", "1", "1"));
    durable.settle();
    const std::size_t before = store.trims();
    for (int i = 0; i < 140; i++) {
        durable.cluster.advance(nanos_per_s);
        durable.settle();
    }
    CHECK(store.trims() >= before + 2);
    CHECK(store.trims() <= before + 3);
}

TEST_CASE("durable topics: a message that would not fit into the log is not taken") {
    FakeStore store;
    Config config = durable_config();
    config.message_max = 512 * 1024;
    DurableCluster durable(store, config, 1, 1, 256 * 1024);
    Client& client = durable.cluster.greet();
    client.say(durable_publish("t", "1", '"' + std::string(300 * 1024, 'x') + '"'));
    durable.settle();
    CHECK(code_of(client.take_one()) == "too_large");
    CHECK(store.topics().empty());
}

TEST_CASE("durable topics: a stop waits for the disk, and takes nothing more") {
    FakeStore store;
    DurableCluster durable(store, durable_config(), 2);
    Cluster& cluster = durable.cluster;
    const std::string topic = cluster.topic_at(0);
    Client& here = cluster.greet(0);
    Client& there = cluster.greet(1);
    there.say(durable_publish(topic, "1", "1"));
    cluster.settle();
    for (const auto& shard : cluster.shards)
        shard->request_stop();
    cluster.settle();
    here.say(durable_publish(topic, "2", "1"));
    cluster.settle();
    CHECK(code_of(here.take_one()) == "busy");
    CHECK(there.close_code() == 0);
    durable.settle();
    CHECK(there.close_code() == 1012);
    CHECK(here.close_code() == 1012);
    const std::vector<Frame> frames = there.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).number("payload.offset") == 1);
}

TEST_CASE("durable topics: a disk that hangs does not keep a stop past the drain time-out") {
    FakeStore store;
    DurableCluster durable(store);
    Client& client = durable.cluster.greet();
    client.say(durable_publish("t", "1", "1"));
    durable.cluster.settle();
    durable.cluster.shards[0]->request_stop();
    durable.cluster.advance(6 * nanos_per_s);
    CHECK(client.close_code() == 1012);
    client.socket->say(client_close(1012));
    client.socket->fin();
    durable.cluster.settle();
    CHECK(durable.cluster.shards[0]->done());
}

namespace {

// One seed: publishers who repeat what is not answered, readers, a disk that fails, and crashes at
// any moment.
class CrashWalk {
  public:
    explicit CrashWalk(std::uint64_t seed) : random_(seed), config_(durable_config()) {
        if (random_.chance(1, 2)) config_.mail_max = 16;
        start();
    }

    void run() {
        for (int step = 0; step < 300; step++) {
            const std::uint64_t dice = random_.below(100);
            if (dice < 50) {
                publish();
            } else if (dice < 60) {
                repeat();
            } else if (dice < 75) {
                durable_->worker.run_next();
            } else if (dice < 90) {
                durable_->worker.post_next(durable_->cluster.mesh);
            } else if (dice < 93) {
                const bool full = random_.chance(1, 2);
                const auto times = static_cast<int>(random_.between(1, 3));
                store_.fail(full ? io::StoreFault::full : io::StoreFault::io, times);
            } else if (dice < 95) {
                crash();
            } else {
                durable_->settle();
            }
            if (random_.chance(1, 2)) {
                durable_->cluster.turn(static_cast<std::uint32_t>(random_.below(shards_)));
            } else {
                durable_->cluster.settle();
            }
            listen();
        }
        store_.fail(io::StoreFault::none, 0);
        crash();
        repeat_all();
        CHECK(unanswered_.empty());
        check_readers();
    }
    std::uint64_t acks = 0;
    std::uint64_t crashes = 0;
    std::uint64_t refusals = 0;

  private:
    struct Record {
        std::string topic;
        std::string payload;
        std::uint64_t offset = 0;  // as acknowledged
    };
    struct Reader {
        Client* client = nullptr;
        std::uint64_t offset = 0;
    };

    void start() {
        shards_ = static_cast<std::uint32_t>(random_.between(1, 3));
        durable_ =
            std::make_unique<DurableCluster>(store_, config_, shards_, random_.between(1, 1000));
        REQUIRE(durable_->restored.problem.empty());
        publisher_ = &durable_->cluster.greet(any_shard(), "/ws?client_id=c");
        readers_.clear();
        for (const auto& [topic, epoch] : epochs_) {
            Reader& reader = readers_[topic];
            reader.client = &durable_->cluster.greet(any_shard());
            reader.client->say(subscribe_from(topic, 0, epoch));
        }
    }
    [[nodiscard]] std::uint32_t any_shard() {
        return static_cast<std::uint32_t>(random_.below(shards_));
    }

    void publish() {
        const std::string id = std::to_string(records_.size() + 1);
        Record& record = records_[id];
        record.topic = "t" + std::to_string(random_.below(4));
        record.payload = std::to_string(random_.below(1'000'000));
        unanswered_.insert(id);
        say(id);
    }
    void say(const std::string& id) {
        const Record& record = records_.at(id);
        publisher_->say(durable_publish(record.topic, id, record.payload));
    }
    void repeat() {
        if (records_.empty()) return;
        say(std::to_string(random_.between(1, records_.size())));
    }
    void repeat_all() {
        for (const auto& [id, record] : records_)
            say(id);
        durable_->settle();
        listen();
    }
    // Whatever was under way is gone; the file is not.
    void crash() {
        crashes++;
        durable_.reset();
        start();
        for (const std::string& id : unanswered_)
            say(id);
        if (random_.chance(1, 2)) durable_->settle();
        listen();
        check_store();
    }

    void listen() {
        for (const Frame& frame : publisher_->take()) {
            REQUIRE(frame.op == Op::text);
            const Json message(frame.payload);
            Record& record = records_.at(message.text("id"));
            if (message.text("type") == "error") {
                refusals++;
                continue;  // it will be said again
            }
            REQUIRE(message.text("type") == "ack");
            const std::uint64_t offset = message.number("payload.offset");
            REQUIRE((record.offset == 0 || record.offset == offset));
            record.offset = offset;
            unanswered_.erase(message.text("id"));
            acks++;
            const auto epoch = epochs_.emplace(record.topic, message.text("payload.epoch")).first;
            REQUIRE(epoch->second == message.text("payload.epoch"));
        }
        for (auto& [topic, reader] : readers_)
            read(topic, reader);
    }
    void read(const std::string& topic, Reader& reader) {
        for (const Frame& frame : reader.client->take()) {
            const Json message(frame.payload);
            if (message.text("type") == "subscribed") {
                REQUIRE(message.text("payload.recovered") == "true");
                continue;
            }
            REQUIRE(message.text("type") == "data_update");
            REQUIRE(message.number("offset") == ++reader.offset);
            std::string& seen = seen_[topic][reader.offset];
            REQUIRE((seen.empty() || seen == message.text("id")));
            seen = message.text("id");
            REQUIRE(message.text("payload") == records_.at(seen).payload);
        }
    }
    // Nothing twice, and all that was acknowledged.
    void check_store() {
        for (const auto& [name, topic] : store_.topics()) {
            std::set<std::string> ids;
            for (const FakeStore::Record& record : topic.records)
                REQUIRE(ids.insert(record.id).second);
        }
        for (const auto& [id, record] : records_) {
            if (record.offset == 0) continue;
            REQUIRE(store_.topics().at(record.topic).records.at(record.offset - 1).id == id);
        }
    }
    void check_readers() {
        durable_->settle();
        listen();
        for (const auto& [topic, reader] : readers_)
            CHECK(reader.offset + 1 == store_.topics().at(topic).next);
    }

    Random random_;
    Config config_;
    FakeStore store_;
    std::unique_ptr<DurableCluster> durable_;
    std::uint32_t shards_ = 1;
    Client* publisher_ = nullptr;
    std::map<std::string, Reader> readers_;
    std::map<std::string, Record> records_;  // by id
    std::set<std::string> unanswered_;
    std::map<std::string, std::string> epochs_;
    std::map<std::string, std::map<std::uint64_t, std::string>> seen_;
};

}  // namespace

TEST_CASE("durable topics: a random walk of crashes") {
    std::uint64_t acks = 0;
    std::uint64_t crashes = 0;
    std::uint64_t refusals = 0;
    for (std::uint64_t seed = 1; seed <= 100; seed++) {
        INFO("seed " << seed);
        CrashWalk walk(seed);
        walk.run();
        acks += walk.acks;
        crashes += walk.crashes;
        refusals += walk.refusals;
    }
    CHECK(acks > 5000);
    CHECK(crashes > 300);
    CHECK(refusals > 100);
}
