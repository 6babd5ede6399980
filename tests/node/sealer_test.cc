// Sealing at home: what goes out opens, no nonce comes twice, keys change while it runs, and
// whoever reads gets the same bytes.

#include "node/sealer.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/node/durable_cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

SealKey key_of(std::string_view name, std::string_view id, unsigned fill) {
    SealKey key{.name = std::string(name), .id = std::string(id), .secret = {}};
    for (std::byte& each : key.secret.bytes)
        each = static_cast<std::byte>(fill++);
    return key;
}

SealKeys some_keys() {
    return {key_of("prices", "p1", 1), key_of("chat", "c1", 2)};
}

wire::SealSalt salt_of(std::uint64_t number) {
    wire::SealSalt salt{};
    store_be64(salt.data(), number);
    return salt;
}

// "s.>" is sealed with `prices`, "keyed" too, nothing else is.
Config sealed_config(bool durable = false) {
    Config config = open_config();
    config.messages_per_second = 0;
    config.seal_keys_file = "given otherwise";
    TopicRule rule;
    rule.pattern = "keyed";
    rule.keyed = true;
    rule.seal = "prices";
    config.topic.push_back(rule);
    rule = TopicRule();
    rule.pattern = "s.>";
    rule.history = 1000;
    rule.seal = "prices";
    rule.durable = durable;
    if (durable) config.store = "fake.db";
    config.topic.push_back(rule);
    return config;
}

void give_keys(Cluster& cluster, const SealKeys& keys, std::uint64_t life = 1) {
    for (std::size_t shard = 0; shard < cluster.shards.size(); shard++) {
        Sealer& sealer = cluster.shards[shard]->hub().home().sealer();
        sealer.set_salt(salt_of(life * 100 + shard));
        sealer.set_keys(keys);
    }
}

std::string publish(const std::string& topic,
                    const std::string& payload,
                    const std::string& more = {}) {
    return R"({"type":"publish","topic":")" + topic + '"' + more + R"(,"payload":)" + payload + '}';
}

std::string subscribe(const std::string& topic) {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + R"("})";
}

std::string from_base64url(const std::string& text) {
    std::string bytes;
    unsigned bits = 0;
    unsigned group = 0;
    for (const char c : text) {
        const auto at =
            std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
                .find(c);
        REQUIRE(at != std::string_view::npos);
        group = (group << 6 | static_cast<unsigned>(at)) & 0xffff;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes += static_cast<char>(group >> bits & 0xff);
    }
    return bytes;
}

std::uint64_t epoch_of(const Json& subscribed) {
    return std::stoull(subscribed.text("payload.epoch"), nullptr, 16);
}

// The box in some JSON, `at` the member that holds "sealed".
std::vector<std::byte> box_in(const Json& json, const std::string& at) {
    const std::string id = json.text(at + "sealed.kid");
    const std::string data = from_base64url(json.text(at + "sealed.data"));
    std::string box = std::string(1, static_cast<char>(id.size())) + id + data;
    const Bytes bytes = as_bytes(box);
    return {bytes.begin(), bytes.end()};
}

// What a box holds; "-" if it does not open there.
std::string opened(const std::vector<std::byte>& box,
                   const wire::SealPlace& place,
                   const SealKey& key) {
    wire::SealCipher cipher;
    wire::PayloadForm form = wire::PayloadForm::sealed;
    std::string payload;
    return cipher.open(key.secret, place, box, form, payload) ? payload : "-";
}

// A record as the envelope says it, opened.
std::string opened(const std::string& envelope, std::uint64_t epoch, const SealKey& key) {
    const Json json(envelope);
    const std::string topic = json.text("topic");
    const std::string record_key =
        envelope.find(R"(,"key":)") == std::string::npos ? "" : json.text("key");
    return opened(
        box_in(json, "payload."),
        {.topic = topic, .epoch = epoch, .offset = json.number("offset"), .key = record_key},
        key);
}

// From the salt to the nonce: what must never be there twice.
std::string nonce_of(Bytes box) {
    wire::SealedBox view;
    REQUIRE(wire::read_box(box, view));
    return std::string(as_text(view.data.first(wire::seal_salt_size + wire::seal_nonce_size)));
}

}  // namespace

TEST_CASE("sealer: 1,000,000 records in ten lives, with new keys now and then: no nonce twice") {
    const Config config = sealed_config();
    // The same place each time, as after a batch that failed or a disk that was put back.
    const wire::SealPlace place{.topic = "s.a", .epoch = 7, .offset = 1};
    std::vector<std::uint64_t> seen;
    seen.reserve(1'000'000);
    Random random(1);
    for (std::uint64_t life = 1; life <= 10; life++) {
        Sealer sealer(config);
        sealer.set_salt(salt_of(life));
        sealer.set_keys(some_keys());
        for (int i = 0; i < 100'000; i++) {
            if (random.chance(1, 10'000)) {
                sealer.set_keys({key_of("prices", "p" + std::to_string(i), 3)});
            }
            wire::SealedBox view;
            REQUIRE(wire::read_box(sealer.seal(1, place, {}, as_bytes("x")), view));
            const std::byte* salt = view.data.data();
            const std::byte* nonce = salt + wire::seal_salt_size;
            REQUIRE(load_be64(nonce) < UINT32_MAX);
            seen.push_back(load_be64(salt) << 32 | load_be64(nonce));
        }
    }
    std::sort(seen.begin(), seen.end());
    CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
    CHECK(seen.size() == 1'000'000);
}

TEST_CASE("sealer: each try of a ticket is another nonce, wherever it was moved to") {
    const Config config = sealed_config();
    const wire::SealPlace place{.topic = "s.a", .epoch = 7, .offset = 1};
    Sealer sealer(config);
    sealer.set_salt(salt_of(1));
    sealer.set_keys(some_keys());
    wire::SealCipher cipher;
    std::set<std::string> seen;
    std::vector<SealTicket> tickets;
    for (int i = 0; i < 100; i++) {
        tickets.push_back(sealer.ticket(1));  // which moves the others, now and then
        for (SealTicket& ticket : tickets) {
            std::vector<std::byte> box(ticket.size_for(1));
            ticket.seal(cipher, place, {}, as_bytes("x"), box);
            REQUIRE(seen.insert(nonce_of(box)).second);
        }
        REQUIRE(seen.insert(nonce_of(sealer.seal(1, place, {}, as_bytes("x")))).second);
    }
    CHECK(seen.size() == 100 * 101 / 2 + 100);
}

TEST_CASE("sealer: which keys will do, and what may take their place") {
    const Config config = sealed_config();
    CHECK(check_seal_keys(config, some_keys()).empty());
    CHECK(check_seal_keys(config, {key_of("chat", "c", 1)}) ==
          "'keyed': seal=prices: there is no key of this name");
    CHECK(check_seal_keys(Config(), {}).empty());
    CHECK(check_seal_change(some_keys(), some_keys()).empty());
    CHECK(check_seal_change(some_keys(), {key_of("prices", "p2", 9)}).empty());
    CHECK(check_seal_change(some_keys(), {key_of("chat", "p1", 9)}) ==
          "id p1 is another key than before: give it another id");
    const Sealer sealer(config);
    CHECK(sealer.seals(0));
    CHECK(sealer.seals(1));
    CHECK_FALSE(sealer.seals(2));
    CHECK_FALSE(sealer.seals(feed::no_rule));
    CHECK_FALSE(Sealer(Config()).seals(0));
}

TEST_CASE("sealed topics: readers of both lanes on all shards get one box, and it opens") {
    for (std::uint32_t home = 0; home < 2; home++) {
        Cluster cluster(sealed_config(), 2);
        give_keys(cluster, some_keys());
        const std::string topic = cluster.topic_at(home, "s.");
        std::vector<Client*> readers{&cluster.greet(0), &cluster.greet(1)};
        std::vector<Client*> raws{&cluster.connect("/raw?topic=" + topic, 0),
                                  &cluster.connect("/raw?topic=" + topic, 1)};
        for (Client* reader : readers)
            reader->say(subscribe(topic));
        cluster.settle();
        const std::uint64_t epoch = epoch_of(Json(readers[0]->take_one()));
        static_cast<void>(readers[1]->take_one());
        const std::string secret_text = R"({"secret":[1,2]})";
        cluster.greet(1).say(publish(topic, secret_text, R"(,"key":"k")"));
        cluster.settle();
        const std::string envelope = readers[0]->take_one();
        CHECK(readers[1]->take_one() == envelope);
        CHECK(envelope.find("secret\"") == std::string::npos);
        CHECK(opened(envelope, epoch, some_keys()[0]) == secret_text);
        CHECK(opened(envelope, epoch + 1, some_keys()[0]) == "-");
        CHECK(opened(envelope, epoch, some_keys()[1]) == "-");
        const std::string raw = raws[0]->take_one();
        CHECK(raws[1]->take_one() == raw);
        const Json message(raw);
        CHECK(message.text("sealed.topic") == topic);
        CHECK(message.text("sealed.key") == "k");
        CHECK(message.number("sealed.offset") == 1);
        CHECK(box_in(message, "") == box_in(Json(envelope), "payload."));

        // History and recovery are the same bytes.
        readers[0]->say(R"({"type":"history","id":"h","topic":")" + topic + R"("})");
        Client& late = cluster.greet(0);
        late.say(subscribe_from(topic, 0, Json(raw).text("sealed.epoch")));
        cluster.settle();
        CHECK(readers[0]->take_one().find(envelope) != std::string::npos);
        const std::vector<Frame> frames = late.take();
        REQUIRE(frames.size() == 2);
        CHECK(frames[1].payload == envelope);
    }
}

TEST_CASE("sealed topics: what is published raw keeps its form; other topics are as ever") {
    Cluster cluster(sealed_config());
    give_keys(cluster, some_keys());
    Client& reader = cluster.greet();
    reader.say(subscribe("s.a"));
    reader.say(subscribe("plain"));
    cluster.settle();
    const std::uint64_t epoch = epoch_of(Json(reader.take().front().payload));
    Client& raw = cluster.connect("/raw?publish=s.a");
    raw.socket->say(client_frame(Op::text, "no JSON"));
    raw.socket->say(client_frame(Op::binary, std::string_view("\0\xff", 2)));
    raw.socket->say(client_frame(Op::text, "[1]"));
    cluster.greet().say(publish("plain", "[2]"));
    cluster.settle();
    const std::vector<Frame> frames = reader.take();
    REQUIRE(frames.size() == 4);
    CHECK(opened(frames[0].payload, epoch, some_keys()[0]) == "no JSON");
    CHECK(opened(frames[1].payload, epoch, some_keys()[0]) == std::string_view("\0\xff", 2));
    CHECK(frames[1].payload.find("encoding") == std::string::npos);
    CHECK(opened(frames[2].payload, epoch, some_keys()[0]) == "[1]");
    CHECK(frames[3].payload.find(R"("payload":[2])") != std::string::npos);
}

TEST_CASE("sealed topics: keyed ones keep the latest of each key, and delete by null as ever") {
    Cluster cluster(sealed_config(), 2);
    give_keys(cluster, some_keys());
    Client& publisher = cluster.greet(0);
    for (const char* payload : {"1", "2"})
        publisher.say(publish("keyed", payload, R"(,"key":"a")"));
    publisher.say(publish("keyed", "3", R"(,"key":"b")"));
    publisher.say(publish("keyed", "4", R"(,"key":"c")"));
    publisher.say(publish("keyed", "null", R"(,"key":"c")"));
    cluster.settle();
    Client& reader = cluster.greet(1);
    reader.say(subscribe("keyed"));
    cluster.settle();
    const std::vector<Frame> frames = reader.take();
    REQUIRE(frames.size() >= 3);
    const std::uint64_t epoch = epoch_of(Json(frames[0].payload));
    CHECK(opened(frames[1].payload, epoch, some_keys()[0]) == "2");
    CHECK(opened(frames[2].payload, epoch, some_keys()[0]) == "3");
    CHECK(Json(frames[1].payload).text("key") == "a");
    for (std::size_t i = 3; i < frames.size(); i++)
        CHECK(opened(frames[i].payload, epoch, some_keys()[0]) == "null");
}

TEST_CASE("sealed topics: keys change while it runs; what was sealed before stays as it is") {
    Cluster cluster(sealed_config(), 2);
    give_keys(cluster, some_keys());
    const std::string topic = cluster.topic_at(1, "s.");
    Client& reader = cluster.greet(0);
    reader.say(subscribe(topic));
    cluster.settle();
    const std::uint64_t epoch = epoch_of(Json(reader.take_one()));
    reader.say(publish(topic, "1"));
    cluster.settle();
    const SealKeys rotated{key_of("prices", "p2", 9), key_of("prices", "p1", 1)};
    post_seal_keys(cluster.mesh, rotated);
    cluster.settle();
    reader.say(publish(topic, "2"));
    cluster.settle();
    const std::vector<Frame> frames = reader.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("payload.sealed.kid") == "p1");
    CHECK(opened(frames[0].payload, epoch, rotated[1]) == "1");
    CHECK(Json(frames[1].payload).text("payload.sealed.kid") == "p2");
    CHECK(opened(frames[1].payload, epoch, rotated[0]) == "2");
}

TEST_CASE("sealed topics: limits are for what is sent, and acks and repeats are as ever") {
    Config config = sealed_config();
    config.message_max = 512 * units::kib;
    Cluster cluster(config, 1, 1, 200, 256 * 1024);
    give_keys(cluster, some_keys());
    Client& client = cluster.greet(0, "/ws?client_id=c");
    const auto sure = [&](const std::string& id, std::size_t size) {
        client.say(publish("s.a",
                           '"' + std::string(size, 'x') + '"',
                           R"(,"ack_required":true,"id":")" + id + '"'));
        cluster.settle();
        return client.take_one();
    };
    CHECK(Json(sure("1", 10)).number("payload.offset") == 1);
    CHECK(Json(sure("1", 10)).number("payload.offset") == 1);
    const std::size_t most = 256 * 1024 / 4;
    CHECK(Json(sure("2", most)).text("payload.code") == "too_large");
    CHECK(Json(sure("3", 10)).number("payload.offset") == 2);
}

namespace {

// All boxes of a store, and whether plain text is in it.
std::vector<std::string> boxes_of(const FakeStore& store, const std::string& topic) {
    std::vector<std::string> boxes;
    for (const FakeStore::Record& record : store.topics().at(topic).records) {
        CHECK(record.payload.find("secret") == std::string::npos);
        CHECK(record.form == io::StoreForm::sealed);
        boxes.push_back(record.payload);
    }
    return boxes;
}

}  // namespace

TEST_CASE("sealed topics, durable: the disk has boxes, and a restart gives the same ones") {
    FakeStore store;
    std::vector<std::string> before;
    std::string epoch;
    for (std::uint64_t life = 1; life <= 2; life++) {
        DurableCluster durable(store, sealed_config(true), 2, life);
        Cluster& cluster = durable.cluster;
        // In its second life with other keys alone: nothing has to be opened here.
        give_keys(cluster, life == 1 ? some_keys() : SealKeys{key_of("prices", "p9", 9)}, life);
        Client& client = cluster.greet(0, "/ws?client_id=c");
        client.say(life == 1 ? subscribe("s.a") : subscribe_from("s.a", 0, epoch));
        cluster.settle();
        std::vector<Frame> frames = client.take();
        REQUIRE(frames.size() == 1 + before.size());
        epoch = Json(frames[0].payload).text("payload.epoch");
        for (std::size_t i = 0; i < before.size(); i++)
            CHECK(frames[1 + i].payload == before[i]);
        for (int i = 0; i < 3; i++)
            client.say(
                durable_publish("s.a", std::to_string(i), R"("secret)" + std::to_string(i) + '"'));
        durable.settle();
        frames = client.take();
        REQUIRE(frames.size() == (life == 1 ? 6 : 3));  // in the second life these are repeats
        if (life == 2) continue;
        for (const Frame& frame : frames) {
            if (Json(frame.payload).text("type") == "data_update") before.push_back(frame.payload);
        }
        REQUIRE(before.size() == 3);
        CHECK(opened(before[2], std::stoull(epoch, nullptr, 16), some_keys()[0]) == R"("secret2")");
    }
    CHECK(boxes_of(store, "s.a").size() == 3);
}

TEST_CASE("sealed topics, durable: a batch that fails uses up its nonces") {
    FakeStore store;
    std::set<std::string> nonces;
    for (std::uint64_t life = 1; life <= 3; life++) {
        const FakeStore backup = store;
        DurableCluster durable(store, sealed_config(true), 2, life);
        Cluster& cluster = durable.cluster;
        give_keys(cluster, some_keys(), life);
        Client& client = cluster.greet(0, "/ws?client_id=c" + std::to_string(life));
        // The workers put the batches of two shards into one transaction, try again one by one,
        // and records get the offsets of others that failed.
        for (int round = 0; round < 20; round++) {
            if (round % 3 == 0) store.fail(io::StoreFault::io, 1);
            for (int i = 0; i < 3; i++) {
                const std::string id = std::to_string(10 * round + i);
                client.say(durable_publish(cluster.topic_at(0, "s."), id, R"("secret")"));
                client.say(durable_publish(cluster.topic_at(1, "s."), id, R"("secret")"));
            }
            durable.settle();
        }
        for (const auto& [name, topic] : store.topics()) {
            for (const std::string& box : boxes_of(store, name)) {
                const std::size_t before = nonces.size();
                nonces.insert(nonce_of(as_bytes(box)));
                const bool old = std::any_of(
                    backup.topics().begin(), backup.topics().end(), [&](const auto& entry) {
                        return std::any_of(entry.second.records.begin(),
                                           entry.second.records.end(),
                                           [&](const auto& each) { return each.payload == box; });
                    });
                CHECK(nonces.size() == before + (old ? 0 : 1));
            }
        }
        if (life == 2) store = backup;  // the disk is put back: offsets come again, nonces do not
    }
}

TEST_CASE("sealed topics, durable: what was written before there was a key is sealed at start") {
    FakeStore store;
    const std::string text = R"("secret")";
    io::StoreRecord record{.topic = "s.a", .epoch = 7, .id = "i", .payload = as_bytes(text)};
    io::StoreRecord broken{.topic = "s.b",
                           .epoch = 7,
                           .id = "i",
                           .payload = as_bytes(text),
                           .form = io::StoreForm::sealed};
    io::StoreRecord* all[] = {&record, &broken};
    REQUIRE(store.append(all).ok());
    const SealKeys keys = some_keys();
    Config config = sealed_config(true);
    DurableCluster durable(store, config, 1, 1, 1024 * 1024, &keys);
    Client& client = durable.cluster.greet();
    client.say(subscribe_from("s.a", 0, "0000000000000007"));
    durable.settle();
    std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 2);
    CHECK(opened(frames[1].payload, 7, keys[0]) == text);
    client.say(subscribe_from("s.b", 0, "0000000000000007"));
    durable.settle();
    frames = client.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("payload.recovered") == "false");
    CHECK(Json(frames[1].payload).text("type") == "gap");  // no box: its history ends there
}
