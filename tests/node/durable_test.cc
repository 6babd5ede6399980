#include "node/durable.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/fake_reactor.h"
#include "tests/support/fake_store.h"
#include "tests/support/fake_worker.h"
#include "tests/support/temp_folder.h"
#include "wire/framer.h"

using namespace ringcast;
using namespace ringcast::node;
using ringcast::test::FakeReactor;
using ringcast::test::FakeStore;
using ringcast::test::FakeWorker;
using ringcast::test::TempFolder;
using ringcast::test::VirtualClock;
using Taken = Durable::Taken;
using Refusal = Durable::Refusal;

namespace {

[[nodiscard]] Durable::Pending pending(const std::string& topic,
                                       const std::string& id,
                                       std::uint64_t serial,
                                       const std::string& payload = "1") {
    Durable::Pending record;
    record.topic = topic;
    record.epoch = 7;
    record.client = "client";
    record.id = id;
    record.payload = Parcel::make(payload.size() + wire::payload_padding);
    std::memcpy(record.payload.bytes().data(), payload.data(), payload.size());
    record.size = payload.size();
    record.senders.push_back({.conn = 1, .serial = serial, .shard = 0});
    return record;
}

// What became of each sender.
struct Listener final : Durable::Owner {
    struct Answer {
        std::string topic;
        std::uint64_t offset;  // 0: refused
        Refusal refusal;

        friend bool operator==(const Answer&, const Answer&) = default;
    };
    void committed(const Durable::Pending& record) noexcept override {
        note(record, record.offset, Refusal::busy);
        offsets.push_back(record.offset);
        payloads.emplace_back(as_text(record.publication().payload));
    }
    void refused(const Durable::Pending& record, Refusal refusal) noexcept override {
        note(record, 0, refusal);
    }
    void store_failed(std::string_view why) noexcept override { failures.emplace_back(why); }

    void note(const Durable::Pending& record, std::uint64_t offset, Refusal refusal) {
        for (const Durable::Sender& sender : record.senders) {
            twice = twice || answers.contains(sender.serial);
            answers[sender.serial] = {record.topic, offset, refusal};
        }
    }
    std::map<std::uint64_t, Answer> answers;  // by serial
    std::vector<std::uint64_t> offsets;
    std::vector<std::string> payloads;
    std::vector<std::string> failures;
    bool twice = false;
};

struct Bench {
    explicit Bench(const Durable::Limits& limits = {}, std::size_t jobs_max = 64)
        : worker(jobs_max), durable(0, limits, worker, store, listener) {}

    Taken take(const std::string& topic, const std::string& id, std::uint64_t serial) {
        return durable.take(pending(topic, id, serial), keep);
    }
    // A turn: the mail first.
    void turn() {
        while (worker.tell_next()) {
        }
        durable.flush(1);
    }

    FakeStore store;
    FakeWorker worker;
    Listener listener;
    io::Keep keep;
    Durable durable;
};

}  // namespace

TEST_CASE("durable: nothing is said of a record before its commit, and then in order") {
    Bench bench;
    CHECK(bench.take("a", "1", 1) == Taken::waiting);
    CHECK(bench.take("a", "2", 2) == Taken::waiting);
    CHECK(bench.take("b", "1", 3) == Taken::waiting);
    CHECK(!bench.durable.idle());
    bench.turn();
    CHECK(bench.worker.taken() == 1);
    CHECK(bench.worker.run_next() == 1);
    CHECK(bench.store.topics().at("a").next == 3);
    CHECK(bench.listener.answers.empty());
    CHECK(!bench.durable.idle());
    bench.turn();
    CHECK(bench.listener.offsets == std::vector<std::uint64_t>{1, 2, 1});
    CHECK(bench.listener.answers[3] == Listener::Answer{"b", 1, Refusal::busy});
    CHECK(bench.durable.idle());
    CHECK(bench.store.appends() == 1);
    CHECK(bench.worker.taken() == 0);
}

TEST_CASE("durable: what comes while a batch is under way goes with the next, all of it together") {
    Bench bench;
    std::uint64_t serial = 0;
    for (int turn = 0; turn < 5; turn++) {
        REQUIRE(bench.take("a", std::to_string(serial), serial) == Taken::waiting);
        serial++;
        bench.turn();
    }
    CHECK(bench.worker.taken() == 1);
    bench.worker.run_next();
    bench.turn();
    CHECK(bench.listener.offsets == std::vector<std::uint64_t>{1});
    bench.worker.run_next();
    bench.turn();
    CHECK(bench.listener.offsets == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
    CHECK(bench.store.appends() == 2);
}

TEST_CASE(
    "durable: a slow disk makes larger batches, up to their limit, and then the answer is busy") {
    SUBCASE("records") {
        Bench bench({.records = 3});
        REQUIRE(bench.take("a", "0", 100) == Taken::waiting);
        bench.turn();
        for (std::uint64_t i = 1; i <= 3; i++) {
            CHECK(bench.take("a", std::to_string(i), i) == Taken::waiting);
        }
        CHECK(bench.take("a", "4", 4) == Taken::busy);
        bench.turn();  // nothing new: the first is still under way
        CHECK(bench.take("b", "4", 4) == Taken::busy);
        CHECK(bench.durable.waiting() == 4);
        bench.worker.run_next();
        bench.turn();
        CHECK(bench.take("a", "4", 4) == Taken::waiting);
        bench.worker.run_next();
        bench.turn();
        bench.worker.run_next();
        bench.turn();
        CHECK(bench.listener.offsets == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
    }
    SUBCASE("bytes") {
        Bench bench({.bytes = 100});
        const io::Keep keep;
        // One alone may be larger: it could never go otherwise.
        CHECK(bench.durable.take(pending("a", "1", 1, std::string(500, 'x')), keep) ==
              Taken::waiting);
        CHECK(bench.durable.take(pending("a", "2", 2, "x"), keep) == Taken::busy);
        bench.turn();
        CHECK(bench.durable.take(pending("a", "2", 2, std::string(60, 'y')), keep) ==
              Taken::waiting);
        CHECK(bench.durable.take(pending("a", "3", 3, std::string(40, 'z')), keep) ==
              Taken::waiting);
        CHECK(bench.durable.take(pending("a", "4", 4, "x"), keep) == Taken::busy);
    }
}

TEST_CASE("durable: a batch that fails is refused whole, and its numbers go to the next") {
    struct Row {
        io::StoreFault fault;
        Refusal refusal;
    };
    for (const Row row : {Row{io::StoreFault::full, Refusal::full},
                          {io::StoreFault::io, Refusal::broken},
                          {io::StoreFault::corrupt, Refusal::broken}}) {
        Bench bench;
        CHECK(bench.take("a", "1", 1) == Taken::waiting);
        bench.turn();
        bench.worker.run_next();
        bench.turn();
        CHECK(bench.take("a", "2", 2) == Taken::waiting);
        CHECK(bench.take("a", "3", 3) == Taken::waiting);
        CHECK(bench.take("b", "4", 4) == Taken::waiting);
        bench.turn();
        CHECK(bench.take("a", "5", 5) == Taken::waiting);  // collected behind the one that fails
        bench.store.fail(row.fault, 1);
        bench.worker.run_next();
        bench.turn();
        for (const std::uint64_t serial : {2u, 3u, 4u}) {
            CHECK(bench.listener.answers[serial].offset == 0);
            CHECK(bench.listener.answers[serial].refusal == row.refusal);
        }
        CHECK(bench.listener.failures == std::vector<std::string>{"fake.db: it fails"});
        CHECK(bench.take("a", "2", 6) == Taken::waiting);  // its sender tries again
        bench.worker.run_next();
        bench.turn();
        CHECK(bench.listener.answers[5].offset == 2);
        bench.worker.run_next();
        bench.turn();
        CHECK(bench.listener.answers[6].offset == 3);
        CHECK(bench.store.topics().at("a").next == 4);
        CHECK(bench.durable.idle());
    }
}

TEST_CASE("durable: when the workers have no room the answer is busy, at once") {
    Bench bench({}, 1);
    FakeStore other_store;
    Listener other_listener;
    Durable other(1, {}, bench.worker, other_store, other_listener);
    REQUIRE(other.take(pending("z", "1", 1), {}) == Taken::waiting);
    other.flush(1);
    CHECK(bench.take("a", "1", 1) == Taken::waiting);
    bench.durable.trim("a", {});
    bench.turn();
    CHECK(bench.listener.answers[1] == Listener::Answer{"a", 0, Refusal::busy});
    CHECK(bench.listener.failures.empty());
    CHECK(bench.durable.idle());
    CHECK(bench.take("a", "1", 2) == Taken::waiting);
    bench.worker.settle();
    bench.turn();
    bench.worker.settle();
    CHECK(bench.listener.answers[2].offset == 1);
    CHECK(bench.store.trims() == 1);  // that was not forgotten
}

TEST_CASE("durable: a repeat of what waits is no second record, and its sender is answered too") {
    Bench bench({.records = 2});
    CHECK(bench.take("a", "1", 1) == Taken::waiting);
    CHECK(bench.take("a", "1", 2) == Taken::repeated);  // while it is collected
    bench.turn();
    CHECK(bench.take("a", "1", 3) == Taken::repeated);  // while it is under way
    CHECK(bench.take("a", "1", 4) == Taken::busy);      // enough of them
    CHECK(bench.take("b", "1", 5) == Taken::waiting);   // the same id elsewhere
    CHECK(bench.take("a", "", 6) == Taken::waiting);    // no id: it cannot be told
    bench.worker.run_next();
    bench.turn();
    for (const std::uint64_t serial : {1u, 2u, 3u}) {
        CHECK(bench.listener.answers[serial] == Listener::Answer{"a", 1, Refusal::busy});
    }
    CHECK(bench.take("a", "1", 7) == Taken::waiting);  // from here on its owner has to know
    CHECK(bench.store.topics().at("a").records.size() == 1);
    // Topic, client and id are told apart wherever one ends and the next begins.
    Durable::Pending one = pending("t", "bc", 8);
    one.client = "a";
    Durable::Pending two = pending("t", "c", 9);
    two.client = "ab";
    Bench fresh;
    CHECK(fresh.durable.take(std::move(one), {}) == Taken::waiting);
    CHECK(fresh.durable.take(std::move(two), {}) == Taken::waiting);
}

TEST_CASE("durable: batches of several shards share a commit, and none fails for the other") {
    FakeStore store;
    FakeWorker worker;
    Listener zero_heard;
    Listener one_heard;
    Durable zero(0, {}, worker, store, zero_heard);
    Durable one(1, {}, worker, store, one_heard);
    REQUIRE(zero.take(pending("a", "1", 1), {}) == Taken::waiting);
    REQUIRE(one.take(pending("b", "1", 2), {}) == Taken::waiting);
    REQUIRE(one.take(pending("b", "2", 3), {}) == Taken::waiting);
    zero.flush(1);
    one.flush(1);
    CHECK(worker.run_next() == 2);
    CHECK(store.appends() == 1);
    worker.settle();
    CHECK(zero_heard.answers[1].offset == 1);
    CHECK(one_heard.answers[3].offset == 2);

    // Together they are too much, then one of them alone is.
    store.set_batch_max(2);
    for (std::uint64_t i = 3; i < 6; i++) {
        REQUIRE(one.take(pending("b", std::to_string(i), 10 + i), {}) == Taken::waiting);
    }
    REQUIRE(zero.take(pending("a", "2", 20), {}) == Taken::waiting);
    zero.flush(1);
    one.flush(1);
    worker.settle();
    CHECK(zero_heard.answers[20].offset == 2);
    CHECK(zero_heard.failures.empty());
    CHECK(one_heard.answers[13] == Listener::Answer{"b", 0, Refusal::full});
    CHECK(one_heard.failures.size() == 1);
}

TEST_CASE("durable: topics are trimmed as they grow, when they are in the way, and when asked") {
    Bench bench;
    bench.keep.records = 10;
    const auto publish = [&](int count) {
        for (int i = 0; i < count; i++) {
            REQUIRE(bench.take("a", "", 1) == Taken::waiting);
        }
        bench.turn();
        bench.worker.run_next();
        bench.turn();
    };
    publish(1023);
    CHECK(bench.worker.taken() == 0);
    publish(1);
    CHECK(bench.worker.taken() == 1);  // without any record
    CHECK(bench.durable.idle());
    bench.worker.settle();
    CHECK(bench.store.trims() == 1);
    CHECK(bench.store.topics().at("a").records.size() == 10);
    CHECK(bench.store.topics().at("a").next == 1025);
    publish(1000);
    CHECK(bench.store.trims() == 1);

    bench.store.fail(io::StoreFault::full, 1);
    publish(1);
    bench.worker.settle();
    CHECK(bench.store.trims() == 2);
    CHECK(bench.listener.answers[1].refusal == Refusal::full);

    for (int topic = 0; topic < 10; topic++) {
        bench.durable.trim(std::to_string(topic), bench.keep);
        bench.durable.trim(std::to_string(topic), bench.keep);
    }
    for (int turn = 0; turn < 4; turn++) {
        bench.turn();
        bench.worker.settle();
    }
    CHECK(bench.store.trims() == 12);  // some at a time, each once
}

TEST_CASE("durable: at a stop what was committed is answered, the rest was never told") {
    Bench bench;
    CHECK(bench.take("a", "1", 1) == Taken::waiting);
    bench.turn();
    CHECK(bench.take("a", "2", 2) == Taken::waiting);
    // Drained: turns go on until it is idle.
    int turns = 0;
    while (!bench.durable.idle()) {
        bench.worker.run_next();
        bench.turn();
        turns++;
    }
    CHECK(turns == 2);
    CHECK(bench.listener.answers.size() == 2);
    {
        // Cut: one is written but not told, one was never sent off.
        Durable cut(0, {}, bench.worker, bench.store, bench.listener);
        REQUIRE(cut.take(pending("a", "3", 3), {}) == Taken::waiting);
        cut.flush(1);
        REQUIRE(cut.take(pending("a", "4", 4), {}) == Taken::waiting);
        bench.worker.run_next();
    }
    CHECK(bench.listener.answers.size() == 2);
    CHECK(bench.store.topics().at("a").next == 4);
    CHECK(bench.worker.untold() == 1);  // its batch goes with the mail
}

TEST_CASE("durable: a publication is what was taken, byte for byte and form for form") {
    struct Row {
        io::StoreForm form;
        bool json;
        bool text;
    };
    for (const Row row : {Row{io::StoreForm::json, true, true},
                          {io::StoreForm::deletion, true, true},
                          {io::StoreForm::text, false, true},
                          {io::StoreForm::binary, false, false}}) {
        Durable::Pending record = pending("a", "1", 1, "null");
        record.key = "k";
        record.form = row.form;
        const Publication publication = record.publication();
        CHECK(publication.topic == "a");
        CHECK(publication.id == "1");
        CHECK(publication.key == "k");
        CHECK(as_text(publication.payload) == "null");
        CHECK(publication.json == row.json);
        if (!row.json) CHECK(publication.text == row.text);
    }
}

// Every sender has one answer; numbers go up by one in the order of the taking; what was answered
// with a number is in the store, and nothing else.
TEST_CASE("durable: whatever the disk does and whenever, no number is left out or used twice") {
    for (std::uint64_t seed = 1; seed <= 100; seed++) {
        CAPTURE(seed);
        Random random(seed);
        Bench bench({.records = 1 + random.below(20), .bytes = 1 + random.below(200)},
                    1 + random.below(2));
        std::map<std::uint64_t, std::string> expected;  // senders who were told to wait
        std::uint64_t serial = 0;
        for (int step = 0; step < 500; step++) {
            const std::uint64_t dice = random.below(10);
            if (dice < 6) {
                const std::string topic(1, static_cast<char>('a' + random.below(3)));
                const std::string id = std::to_string(random.below(200));
                serial++;
                if (bench.take(topic, id, serial) != Taken::busy) expected[serial] = topic + id;
            } else if (dice < 7) {
                bench.durable.flush(1);
            } else if (dice < 8) {
                bench.worker.run_next();
            } else if (dice < 9) {
                static_cast<void>(bench.worker.tell_next());
            } else if (random.chance(1, 4)) {
                const bool full = random.chance(1, 2);
                const auto times = static_cast<int>(1 + random.below(2));
                bench.store.fail(full ? io::StoreFault::full : io::StoreFault::io, times);
            }
        }
        while (!bench.durable.idle()) {
            bench.turn();
            bench.worker.run_next();
        }
        REQUIRE(!bench.listener.twice);
        REQUIRE(bench.listener.answers.size() == expected.size());
        std::size_t stored = 0;
        for (const auto& [name, topic] : bench.store.topics()) {
            std::uint64_t next = 1;
            for (const FakeStore::Record& record : topic.records) {
                REQUIRE(record.offset == next++);
                stored++;
            }
        }
        CHECK(bench.listener.offsets.size() == stored);
        for (const auto& [who, answer] : bench.listener.answers) {
            if (answer.offset == 0) continue;
            const FakeStore::Topic& topic = bench.store.topics().at(answer.topic);
            const FakeStore::Record& record = topic.records[answer.offset - 1];
            REQUIRE(answer.topic + record.id == expected[who]);
        }
    }
}

// Two shards with threads of their own, the pool and a file.
TEST_CASE("durable: with real threads and a real file every answer is a record of it") {
    constexpr std::uint32_t shards = 2;
    constexpr std::uint64_t total = 300;  // of each shard
    const TempFolder folder(TempFolder::On::memory);
    std::string why;
    auto opened = io::open_store({.path = folder.file("a.db")}, why);
    REQUIRE(opened.ok());
    const std::unique_ptr<io::Store> store = std::move(opened).value();
    VirtualClock clock;
    Mesh mesh(shards, 1000);
    FakeReactor reactors[shards] = {{clock, 1}, {clock, 2}};
    Listener listeners[shards];
    {
        WorkerPool pool(mesh, 2, 8);
        std::vector<std::thread> threads;
        for (std::uint32_t shard = 0; shard < shards; shard++) {
            mesh.attach(shard, reactors[shard]);
            threads.emplace_back([&, shard] {
                Durable durable(shard, {.records = 16}, pool, *store, listeners[shard]);
                const std::string topic = "topic " + std::to_string(shard);
                for (std::uint64_t serial = 0; serial < total || !durable.idle();) {
                    if (serial < total) {
                        // Each id twice: the second is a repeat, or new because it came too late.
                        const std::string id = std::to_string(serial / 2);
                        if (durable.take(pending(topic, id, serial), {}) != Taken::busy) serial++;
                    }
                    durable.flush(1);
                    while (const auto mail = mesh.take(shard)) {
                        mail->job->done();
                    }
                }
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
    }
    struct Visitor final : io::StoreVisitor {
        void topic(const io::StoreTopic& topic) noexcept override {
            next[std::string(topic.name)] = topic.next;
        }
        void record(const io::StoreRecord& record) noexcept override {
            ids[std::string(record.topic)].emplace_back(record.id);
        }
        std::map<std::string, std::uint64_t> next;
        std::map<std::string, std::vector<std::string>> ids;
    } content;
    REQUIRE(store->load_topics(content).ok());
    REQUIRE(store->load_records(content).ok());
    for (std::uint32_t shard = 0; shard < shards; shard++) {
        const std::string topic = "topic " + std::to_string(shard);
        CHECK(listeners[shard].answers.size() == total);
        CHECK(!listeners[shard].twice);
        CHECK(listeners[shard].failures.empty());
        CHECK(content.next[topic] == listeners[shard].offsets.size() + 1);
        for (const auto& [serial, answer] : listeners[shard].answers) {
            REQUIRE(content.ids[topic][answer.offset - 1] == std::to_string(serial / 2));
        }
    }
}
