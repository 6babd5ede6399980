// The packed form of single frames; and whole shards with clients that take compression beside
// others, who must all see the same.

#include "node/packer.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/node/cluster.h"
#include "tests/support/inflate.h"
#include "wire/frame.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;
using ringcast::test::inflate_message;
using ringcast::test::server_frame;

namespace {

Config packing_config() {
    Config config = open_config();
    config.compression = true;
    config.messages_per_second = 0;
    config.topic_log_max = 64 * 1024;
    TopicRule rule;
    rule.pattern = "h.>";
    rule.history = 50;
    config.topic.push_back(rule);
    rule = TopicRule();
    rule.pattern = "k.>";
    rule.keyed = true;
    config.topic.push_back(rule);
    rule = TopicRule();
    rule.pattern = "u.>";
    rule.uncompressed = true;
    config.topic.push_back(rule);
    return config;
}

std::string tick(std::uint64_t number, std::size_t more) {
    return R"({"symbol":"AAPL","bid":187.12,"ask":187.14,"number":)" + std::to_string(number) +
           R"(,"more":")" + std::string(more, 'x') + R"("})";
}

std::string subscribe_to(const std::string& topic, const std::string& payload = {}) {
    const std::string options = payload.empty() ? "" : R"(,"payload":)" + payload;
    return R"({"type":"subscribe","topic":")" + topic + "\"" + options + "}";
}

Client& greet_packed(Cluster& cluster, std::uint32_t shard = 0) {
    Client& client = cluster.connect("/ws", shard, "permessage-deflate");
    REQUIRE(client.peer.status == 101);
    client.peer.inflate = &inflate_message;
    CHECK(Json(client.take_one()).text("type") == "welcome");
    return client;
}

// Some topics, who publishes on them, and clients of both kinds that come and go and read as they
// like. A client knows what it has to get: each record once, in order, or a gap for it.
class Walk {
  public:
    explicit Walk(std::uint64_t seed)
        : random_(seed), cluster_(packing_config(), 2, seed, 200, 256 * 1024) {
        for (const char* prefix : {"t.", "h.", "u."}) {
            topics_.push_back(cluster_.topic_at(0, prefix));
            topics_.push_back(cluster_.topic_at(1, prefix));
        }
        for (std::uint32_t i = 0; i < 8; i++) {
            readers_.push_back(
                {.packed = i % 2 == 0, .shard = static_cast<std::uint32_t>(random_.below(2))});
            enter(readers_.back());
        }
        publisher_ = &cluster_.greet(0);
    }

    void step() {
        const std::uint64_t dice = random_.below(20);
        Reader& reader = readers_[random_.below(readers_.size())];
        if (dice < 10) {
            publish();
        } else if (dice < 12) {
            reader.client->socket->room = random_.below(6000);
        } else if (dice < 14) {
            reader.client->socket->room = FakeSocket::endless;
        } else if (dice < 15) {
            reader.client->socket->reset();
            cluster_.settle();
            enter(reader);
        }
        if (random_.chance(1, 3)) cluster_.settle();
        if (random_.chance(1, 4)) judge(reader);
    }

    void finish() {
        for (Reader& reader : readers_)
            reader.client->socket->room = FakeSocket::endless;
        cluster_.settle();
        for (Reader& reader : readers_) {
            judge(reader);
            for (const std::string& topic : topics_)
                REQUIRE(reader.next[topic] == texts_[topic].size() + 1);
        }
    }

    std::uint64_t compressed = 0;
    std::uint64_t gaps = 0;

  private:
    struct Reader {
        bool packed = false;
        std::uint32_t shard = 0;
        Client* client = nullptr;
        std::map<std::string, std::uint64_t> next = {};  // offset
        std::map<std::string, std::string> epoch = {};
    };

    // Comes (again), and wants what it missed.
    void enter(Reader& reader) {
        reader.client =
            reader.packed ? &greet_packed(cluster_, reader.shard) : &cluster_.greet(reader.shard);
        reader.client->socket->stingy = random_.chance(1, 2);
        for (const std::string& topic : topics_) {
            std::string resume;
            if (!reader.epoch[topic].empty()) {
                resume = R"({"offset":)" + std::to_string(reader.next[topic] - 1) +
                         R"(,"epoch":")" + reader.epoch[topic] + R"("})";
            }
            reader.client->say(subscribe_to(topic, resume));
        }
        cluster_.settle();
    }

    void publish() {
        const std::string& topic = topics_[random_.below(topics_.size())];
        std::vector<std::string>& texts = texts_[topic];
        texts.push_back(tick(texts.size(), random_.chance(1, 4) ? random_.below(9000) : 10));
        publisher_->say(R"({"type":"publish","topic":")" + topic + R"(","payload":)" +
                        texts.back() + "}");
    }

    void judge(Reader& reader) {
        for (const Frame& frame : reader.client->take()) {
            const Json json(frame.payload);
            const std::string topic = json.text("topic");
            const std::string type = json.text("type");
            std::uint64_t& next = reader.next[topic];
            if (frame.compressed) REQUIRE(reader.packed);
            if (type == "subscribed") {
                reader.epoch[topic] = json.text("payload.epoch");
                next = json.number("payload.offset") + 1;
            } else if (type == "gap") {
                REQUIRE(json.number("payload.from") >= 1);
                next = json.number("payload.next");
                gaps++;
            } else {
                REQUIRE(type == "data_update");
                REQUIRE(json.number("offset") == next);
                const std::string& text = texts_[topic][next - 1];
                REQUIRE(frame.payload.find("\"payload\":" + text) != std::string::npos);
                REQUIRE((!frame.compressed || !topic.starts_with("u.")));
                compressed += frame.compressed ? 1 : 0;
                next++;
            }
        }
    }

    Random random_;
    Cluster cluster_;
    std::vector<std::string> topics_;
    std::vector<Reader> readers_;
    Client* publisher_ = nullptr;
    std::map<std::string, std::vector<std::string>> texts_;
};

}  // namespace

TEST_CASE("packer: its memory is what the plan has for it, in whatever order sizes come") {
    Packer packer(packing_config());
    Random random(5);
    std::size_t largest = 0;
    for (int turn = 0; turn < 300; turn++) {
        const bool large = random.chance(1, 8);
        const std::size_t size = random.between(1, large ? 600'000 : Packer::size_max);
        const std::string frame = server_frame(Op::text, std::string(size, 'x'));
        largest = std::max(largest, frame.size());
        CHECK(!packer.pack(as_bytes(frame)).empty());
        CHECK(wire::Deflater::memory_max + packer.scratch_bytes() <= Packer::memory_of(largest));
        // What is large stays until the next one.
        if (size <= Packer::size_max) {
            CHECK(wire::Deflater::memory_max + packer.scratch_bytes() <= Packer::memory_of(0));
        }
    }
}

TEST_CASE("packer: a frame is packed where that makes it smaller, and is itself otherwise") {
    Config config;
    config.compression_min_size = 64;
    Packer packer(config);
    Random random(1);
    for (const Op op : {Op::text, Op::binary}) {
        for (const std::size_t size : {0UL,
                                       1UL,
                                       63UL,
                                       64UL,
                                       125UL,
                                       126UL,
                                       300UL,
                                       65'535UL,
                                       65'536UL,
                                       131'072UL,
                                       131'073UL,
                                       300'000UL,
                                       64UL}) {
            CAPTURE(size);
            const std::string text(size, 'x');
            const std::string frame = server_frame(op, text);
            const std::string packed(as_text(packer.pack(as_bytes(frame))));
            const bool tried = size >= 64 && size <= Packer::size_max;
            CHECK((packed != frame) == tried);
            ringcast::test::Peer peer(true);
            peer.inflate = &inflate_message;
            peer.feed(packed);
            const std::vector<Frame> frames = peer.take();
            REQUIRE(frames.size() == 1);
            CHECK(frames[0].op == op);
            CHECK(frames[0].payload == text);
            CHECK(frames[0].compressed == tried);
        }
        std::string noise;
        for (int i = 0; i < 1000; i++)
            noise += static_cast<char>(random.below(256));
        const std::string frame = server_frame(op, noise);
        CHECK(as_text(packer.pack(as_bytes(frame))) == frame);
    }
}

TEST_CASE("packer: whoever takes compression sees what everybody sees, on any shard") {
    std::uint64_t compressed = 0;
    std::uint64_t gaps = 0;
    for (std::uint64_t seed = 1; seed <= 12; seed++) {
        CAPTURE(seed);
        Walk walk(seed);
        for (int step = 0; step < 250; step++)
            walk.step();
        walk.finish();
        compressed += walk.compressed;
        gaps += walk.gaps;
    }
    CHECK(compressed > 1000);
    CHECK(gaps > 10);
}

TEST_CASE("packer: topics with keys come packed, but for a snapshot; with a rate they do not") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(packing_config(), 2);
        const std::string topic = cluster.topic_at(0, "k.");
        Client& publisher = cluster.greet(0);
        const auto publish = [&](const std::string& key, std::uint64_t number) {
            publisher.say(R"({"type":"publish","topic":")" + topic + R"(","key":")" + key +
                          R"(","payload":)" + tick(number, 50) + "}");
            cluster.settle();
        };
        publish("a", 1);
        publish("b", 2);
        publish("a", 3);
        Client& packed = greet_packed(cluster, shard);
        Client& paced = greet_packed(cluster, shard);
        packed.say(subscribe_to(topic));
        paced.say(subscribe_to(topic, R"({"max_rate":10})"));
        cluster.settle();
        std::vector<Frame> frames = packed.take();
        REQUIRE(frames.size() == 3);  // subscribed, b, a
        CHECK_FALSE(frames[1].compressed);
        CHECK(Json(frames[1].payload).text("key") == "b");
        CHECK(Json(frames[2].payload).text("key") == "a");
        static_cast<void>(paced.take());
        publish("b", 4);
        publish("c", 5);
        frames = packed.take();
        REQUIRE(frames.size() == 2);
        CHECK(frames[0].compressed);
        CHECK(frames[1].compressed);
        CHECK(Json(frames[1].payload).number("payload.number") == 5);
        cluster.advance(nanos_per_s);
        frames = paced.take();
        REQUIRE(frames.size() == 2);
        CHECK_FALSE(frames[0].compressed);
        // Behind the window of what is fresh it gets the latest of each, and is packed again then.
        packed.socket->room = 0;
        for (std::uint64_t i = 0; i < 3000; i++)
            publish(i % 2 == 0 ? "a" : "b", i);
        packed.socket->room = FakeSocket::endless;
        cluster.settle();
        frames = packed.take();
        REQUIRE(!frames.empty());
        CHECK(Json(frames.back().payload).number("payload.number") == 2999);
        publish("c", 6);
        CHECK(packed.take().back().compressed);
    }
}

TEST_CASE("packer: /raw and a window that is too small for what all get") {
    Cluster cluster(packing_config());
    Client& raw = cluster.connect("/raw?topic=t", 0, "permessage-deflate");
    raw.peer.inflate = &inflate_message;
    Client& small =
        cluster.connect("/raw?topic=t", 0, "permessage-deflate; server_max_window_bits=14");
    Client& publisher = cluster.connect("/raw?publish=t");
    publisher.socket->say(client_frame(Op::binary, std::string(500, 'b')));
    publisher.say(tick(1, 100));
    cluster.settle();
    const std::vector<Frame> frames = raw.take();
    REQUIRE(frames.size() == 2);
    CHECK(frames[0].compressed);
    CHECK(frames[0].op == Op::binary);
    CHECK(frames[0].payload == std::string(500, 'b'));
    CHECK(frames[1].payload == tick(1, 100));
    CHECK(small.take().size() == 2);  // its peer takes no RSV bit
}
