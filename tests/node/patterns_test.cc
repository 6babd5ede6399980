#include "node/patterns.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

std::string request(std::string_view type, std::string_view topic, std::string_view id) {
    return R"({"type":")" + std::string(type) + R"(","topic":")" + std::string(topic) +
           R"(","id":")" + std::string(id) + R"(","payload":{}})";
}

void turns(Cluster& cluster, std::initializer_list<std::uint32_t> shards) {
    for (int i = 0; i < 20; i++) {
        for (const std::uint32_t shard : shards)
            cluster.turn(shard);
    }
}

}  // namespace

TEST_CASE("patterns: a reader is told when every home watches, and the next one at once") {
    Cluster cluster(open_config(), 3);
    Client& first = cluster.greet(0);
    Client& second = cluster.greet(0);
    first.say(request("subscribe", "a.*", "1"));
    turns(cluster, {0, 1});
    CHECK(first.take().empty());
    second.say(request("subscribe", "a.*", "2"));
    turns(cluster, {0, 1});
    CHECK(second.take().empty());
    cluster.settle();
    CHECK(Json(first.take_one()).text("id") == "1");
    CHECK(Json(second.take_one()).text("id") == "2");

    Client& third = cluster.greet(0);
    third.say(request("subscribe", "a.*", "3"));
    cluster.turn(0);
    cluster.turn(0);
    CHECK(Json(third.take_one()).text("id") == "3");
}

TEST_CASE(
    "patterns: what is taken back before a home answers is not answered, and can come again") {
    Cluster cluster(open_config(), 2);
    Client& client = cluster.greet(0);
    client.say(request("subscribe", "a.*", "1"));
    client.say(request("unsubscribe", "a.*", "2"));
    turns(cluster, {0});
    CHECK(Json(client.take_one()).text("id") == "2");
    client.say(request("subscribe", "a.*", "3"));
    turns(cluster, {0});
    CHECK(client.take().empty());
    cluster.settle();
    CHECK(Json(client.take_one()).text("id") == "3");
    // The last reader leaves while nothing is under way: the homes forget the pattern, and learn it
    // again.
    for (int i = 0; i < 3; i++) {
        client.say(request("unsubscribe", "a.*", "4"));
        client.say(request("subscribe", "a.*", "5"));
        cluster.settle();
        CHECK(client.take().size() == 2);
    }
}

TEST_CASE("patterns: readers that go in any order leave the others as they are") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        Cluster cluster(open_config(), 2, seed);
        Client& publisher = cluster.greet(1);
        std::vector<Client*> readers;
        for (int i = 0; i < 12; i++) {
            readers.push_back(&cluster.greet(0));
            readers.back()->say(request("subscribe", "a.*", "1"));
            readers.back()->say(request("subscribe", ">", "2"));
        }
        cluster.settle();
        for (int round = 0; !readers.empty(); round++) {
            const std::size_t which = cluster.random.below(readers.size());
            readers[which]->socket->reset();
            readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(which));
            cluster.settle();
            for (Client* reader : readers)
                static_cast<void>(reader->take());
            publisher.say(request("publish", "a." + std::to_string(round), "3"));
            cluster.settle();
            for (Client* reader : readers)
                CHECK(reader->take().size() == 2);
        }
    }
}

TEST_CASE("patterns: a list that was asked for before the pattern was taken back brings nothing") {
    Cluster cluster(open_config(), 2);
    Client& publisher = cluster.greet(1);
    publisher.say(request("publish", cluster.topic_at(1, "a."), "1"));
    cluster.settle();
    Client& client = cluster.greet(0);
    client.say(request("subscribe", "a.*", "1"));
    turns(cluster, {0});
    cluster.turn(1);
    turns(cluster, {0});  // it counts, and has asked for what is there
    CHECK(Json(client.take_one()).text("id") == "1");
    cluster.turn(1);
    client.say(request("unsubscribe", "a.*", "2"));
    client.say(request("subscribe", "a.*", "3"));
    turns(cluster, {0});
    CHECK(Json(client.take_one()).text("id") == "2");
    cluster.settle();
    const std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("id") == "3");
    CHECK(Json(frames[1].payload).text("payload.pattern") == "a.*");
}

TEST_CASE("patterns: asked for again and again, only the last list goes on") {
    const auto time_of = [](int times) {
        Config config = open_config();
        config.messages_per_second = 0;
        Cluster cluster(config);
        Client& publisher = cluster.greet();
        for (int i = 0; i < 6000; i++) {  // a list takes six mails and their answers
            publisher.say(request("publish", "b." + std::to_string(i), "1"));
            if (i % 100 == 0) cluster.settle();
        }
        Client& keeper = cluster.greet();
        keeper.say(request("subscribe", "a.*", "1"));
        cluster.settle();
        Client& client = cluster.greet();
        for (int i = 0; i < times; i++) {
            client.say(request("subscribe", "a.*", "1"));
            client.say(request("unsubscribe", "a.*", "2"));
        }
        client.say(request("subscribe", "a.*", "3"));
        cluster.reactors[0]->set_work_time(1000);  // whenever it looks how much it has done
        const Nanos before = cluster.clock.now;
        cluster.settle();
        CHECK(client.take().size() == static_cast<std::size_t>(2 * times + 1));
        return cluster.clock.now - before;
    };
    CHECK(time_of(100) < time_of(0) + 100 * 2000);  // the first mail of each, and not the rest
}
