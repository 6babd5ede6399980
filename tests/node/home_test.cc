#include "node/home.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

std::string publish(const std::string& topic, std::string_view id, std::string_view payload) {
    return R"({"type":"publish","ack_required":true,"topic":")" + topic + R"(","id":")" +
           std::string(id) + R"(","payload":)" + std::string(payload) + '}';
}

}  // namespace

TEST_CASE("acks: a publisher hears under which offset, wherever the topic's home is") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(open_config(), 2);
        const std::string topic = cluster.topic_at(0);
        Client& reader = cluster.greet(0);
        reader.say(R"({"type":"subscribe","topic":")" + topic + R"("})");
        cluster.settle();
        const Json start(reader.take_one());
        Client& publisher = cluster.greet(shard);
        for (int i = 1; i <= 3; i++) {
            publisher.say(publish(topic, "id" + std::to_string(i), "1"));
            cluster.settle();
            const Json ack(publisher.take_one());
            CHECK(ack.text("type") == "ack");
            CHECK(ack.text("id") == "id" + std::to_string(i));
            CHECK(ack.text("topic") == topic);
            CHECK(ack.number("payload.offset") == static_cast<std::uint64_t>(i));
            CHECK(ack.text("payload.epoch") == start.text("payload.epoch"));
        }
        CHECK(reader.take().size() == 3);
    }
}

TEST_CASE("acks: what is said again is answered again, and not published again") {
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        Cluster cluster(open_config(), 2);
        const std::string topic = cluster.topic_at(0);
        Client& reader = cluster.greet(0);
        reader.say(R"({"type":"subscribe","topic":")" + topic + R"("})");
        cluster.settle();
        static_cast<void>(reader.take());

        Client& publisher = cluster.greet(shard, "/ws?client_id=one");
        publisher.say(publish(topic, "a", "1"));
        publisher.say(publish(topic, "a", "1"));
        cluster.settle();
        std::vector<Frame> answers = publisher.take();
        REQUIRE(answers.size() == 2);
        CHECK(Json(answers[1].payload).number("payload.offset") == 1);

        // The same client on another connection, and on another shard.
        Client& again = cluster.greet(1 - shard, "/ws?client_id=one");
        again.say(publish(topic, "a", "1"));
        again.say(publish(topic, "b", "2"));
        cluster.settle();
        answers = again.take();
        REQUIRE(answers.size() == 2);
        CHECK(Json(answers[0].payload).number("payload.offset") == 1);
        CHECK(Json(answers[1].payload).number("payload.offset") == 2);

        // The same id of somebody else is something else; so is the same on another topic.
        Client& other = cluster.greet(shard, "/ws?client_id=two");
        other.say(publish(topic, "a", "3"));
        other.say(publish("elsewhere", "a", "3"));
        cluster.settle();
        answers = other.take();
        REQUIRE(answers.size() == 2);
        CHECK(Json(answers[0].payload).number("payload.offset") +
                  Json(answers[1].payload).number("payload.offset") ==
              4);
        CHECK(reader.take().size() == 3);
        const Counters& counters = cluster.shards[0]->counters();
        CHECK(counters.repeats == 2);
    }
}

TEST_CASE("acks: a window of time and of count") {
    Config config = open_config();
    config.dedup_window = 2 * units::s;
    config.dedup_max = 2;
    Cluster cluster(config);
    Client& publisher = cluster.greet();
    const auto offset_of = [&](std::string_view id) {
        publisher.say(publish("t", id, "0"));
        cluster.settle();
        return Json(publisher.take_one()).number("payload.offset");
    };
    CHECK(offset_of("a") == 1);
    CHECK(offset_of("a") == 1);
    cluster.advance(2 * nanos_per_s);
    CHECK(offset_of("a") == 2);
    CHECK(offset_of("b") == 3);
    CHECK(offset_of("c") == 4);
    CHECK(offset_of("a") == 5);  // two others came since
    CHECK(offset_of("c") == 4);
}

TEST_CASE("acks: a publisher that says much at once is held up, and answered in full") {
    Config config = open_config();
    config.messages_per_second = 0;
    Cluster cluster(config, 2);
    const std::string topic = cluster.topic_at(0);
    Client& publisher = cluster.greet(1);
    for (int i = 0; i < 3000; i++)
        publisher.say(publish(topic, std::to_string(i), "1"));
    cluster.turn(1);
    CHECK(publisher.socket->paused);
    cluster.settle();
    const std::vector<Frame> answers = publisher.take();
    REQUIRE(answers.size() == 3000);
    for (std::size_t i = 0; i < answers.size(); i++)
        REQUIRE(Json(answers[i].payload).number("payload.offset") == i + 1);
}

TEST_CASE("acks: an ack needs an id, and a name without wildcards") {
    Cluster cluster(open_config());
    Client& publisher = cluster.greet();
    publisher.say(R"({"type":"publish","ack_required":true,"topic":"t","payload":1})");
    cluster.settle();
    CHECK(Json(publisher.take_one()).text("payload.code") == "missing_member");
    publisher.say(publish("t.*", "x", "1"));
    cluster.settle();
    CHECK(Json(publisher.take_one()).text("payload.code") == "bad_topic");
}
