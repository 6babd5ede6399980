// Memory that is short: history goes first, then newcomers are refused, then the largest are cut.

#include "node/budget.h"

#include <string>
#include <vector>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

Config roomy_config() {
    Config config;
    config.anonymous_publish = true;
    config.messages_per_second = 0;
    config.message_max = units::mib;
    return config;
}

// The begin of a message of 512 KiB, and all but a few bytes of it.
std::string half_a_message() {
    const std::string whole = client_frame(Op::text, std::string(512 * units::kib, 'x'));
    return whole.substr(0, whole.size() - 10);
}

// Fills the log of a topic with what a reader that does not read still wants.
void fill_logs(Cluster& cluster, Client& reader, Client& writer) {
    reader.say(R"({"type":"subscribe","id":"1","topic":"t"})");
    cluster.settle();
    CHECK(Json(reader.take_one()).text("type") == "subscribed");
    reader.socket->room = 0;
    const std::string payload(8000, 'x');
    for (int i = 0; i < 600; i++) {
        writer.say(R"({"type":"publish","id":"1","topic":"t","payload":")" + payload + "\"}");
        cluster.settle();
    }
}

}  // namespace

TEST_CASE("budget: without a room there is no pressure") {
    Budget budget(2);
    CHECK(budget.report(0, UINT64_MAX / 4, UINT64_MAX / 4) == Pressure::none);
    CHECK(budget.report(1, UINT64_MAX / 4, 0) == Pressure::none);
}

TEST_CASE("budget: pressure rises in steps, and falls again") {
    Budget budget(2);
    budget.set_room(800, 50);  // soft: 700; logs keep 100
    CHECK(budget.report(0, 100, 400) == Pressure::none);
    CHECK(budget.report(1, 100, 100) == Pressure::none);
    CHECK(budget.report(1, 101, 100) == Pressure::shed);
    CHECK(budget.logs_to_keep(0) == 399);  // its part of one, rounded up
    CHECK(budget.report(0, 499, 400) == Pressure::shed);
    CHECK(budget.report(0, 500, 400) == Pressure::refuse);
    CHECK(budget.logs_to_keep(0) == 79);  // 401 too much, four fifths of them here
    CHECK(budget.report(0, 599, 50) == Pressure::refuse);
    CHECK(budget.clients_to_cut(0) == 0);
    CHECK(budget.report(0, 700, 50) == Pressure::cut);
    CHECK(budget.pressure() == Pressure::cut);
    CHECK(budget.logs_to_keep(0) == 50);
    // 101 too much and a thirty-second of the room, as 700 is to 101, rounded up.
    CHECK(budget.clients_to_cut(0) == 111);
    CHECK(budget.clients_to_cut(1) == 16);
    CHECK(budget.report(0, 0, 50) == Pressure::none);
}

TEST_CASE(
    "budget: pressure is news when it comes, when it grows, and when it was gone for a while") {
    using News = Budget::News;
    Budget budget(1);
    CHECK(budget.news(Pressure::none, 0) == News::nothing);
    CHECK(budget.news(Pressure::shed, 10) == News::rose);
    CHECK(budget.news(Pressure::none, 20) == News::nothing);
    CHECK(budget.news(Pressure::shed, 30) == News::nothing);
    CHECK(budget.news(Pressure::cut, 40) == News::rose);
    CHECK(budget.news(Pressure::refuse, 50) == News::nothing);
    CHECK(budget.news(Pressure::none, 49 + Budget::quiet) == News::nothing);
    CHECK(budget.news(Pressure::none, 50 + Budget::quiet) == News::gone);
    CHECK(budget.news(Pressure::none, 60 + Budget::quiet) == News::nothing);
    CHECK(budget.news(Pressure::shed, 70 + Budget::quiet) == News::rose);
}

TEST_CASE("budget: the log has a line when memory is short, and one when it is not") {
    std::vector<std::string> lines;
    const LogSink log{.write =
                          [](void* context, LogLevel /*level*/, std::string_view line) noexcept {
                              static_cast<std::vector<std::string>*>(context)->emplace_back(line);
                          },
                      .context = &lines};
    Cluster cluster(roomy_config(), 2, 1, 200, 2 * units::mib, nullptr, log);
    cluster.mesh.budget().set_room(4 * units::mib, 64 * units::kib);
    std::vector<Client*> holders;
    while (cluster.mesh.budget().pressure() < Pressure::refuse) {
        holders.push_back(&cluster.greet(static_cast<std::uint32_t>(holders.size() % 2)));
        holders.back()->socket->say(half_a_message());
        cluster.settle();
    }
    REQUIRE(lines.size() >= 1);
    CHECK(lines.back().find("memory: short: ") == 0);
    CHECK(lines.back().find(" of 4096KiB are in use: new clients get 503") != std::string::npos);
    const std::size_t told = lines.size();
    cluster.advance(20 * nanos_per_s);
    CHECK(lines.size() == told);  // no line a second
    for (Client* holder : holders) {
        holder->socket->say(std::string(10, 'x'));
    }
    cluster.advance(20 * nanos_per_s);
    REQUIRE(lines.size() == told + 1);
    CHECK(lines.back() == "memory: there is enough again");
}

TEST_CASE(
    "budget: history goes before anybody is refused, and who is refused is told when to come") {
    Cluster cluster(roomy_config(), 1, 1, 200, 8 * units::mib);
    cluster.mesh.budget().set_room(10 * units::mib, units::mib);
    Client& reader = cluster.greet();
    Client& writer = cluster.greet();
    fill_logs(cluster, reader, writer);
    const std::size_t full = cluster.shards[0]->audit().log_bytes;
    CHECK(full > 4 * units::mib);
    CHECK(cluster.mesh.budget().pressure() == Pressure::none);

    std::vector<Client*> holders;
    while (cluster.mesh.budget().pressure() < Pressure::refuse && holders.size() < 40) {
        holders.push_back(&cluster.greet());  // let in: nobody is refused while history is there
        holders.back()->socket->say(half_a_message());
        cluster.settle();
    }
    CHECK(holders.size() > 10);
    CHECK(holders.size() < 20);
    CHECK(cluster.shards[0]->audit().log_bytes <= units::mib);
    CHECK(cluster.shards[0]->counters().memory_cut == 0);

    Client& late = cluster.connect();
    CHECK(late.peer.status == 503);
    CHECK(late.peer.head.find("Retry-After:") != std::string::npos);
    writer.say(R"({"type":"publish","id":"7","topic":"new","payload":1})");
    cluster.settle();
    CHECK(Json(writer.take_one()).text("type") == "error");

    // Whoever was there is served, and is told what it missed.
    reader.socket->room = FakeSocket::endless;
    cluster.settle();
    bool told = false;
    for (const Frame& frame : reader.take()) {
        told = told || Json(frame.payload).text("type") == "gap";
    }
    CHECK(told);

    for (Client* holder : holders) {
        holder->socket->say(std::string(10, 'x'));  // its end: not an envelope, but complete
    }
    cluster.advance(2 * nanos_per_s);
    CHECK(cluster.mesh.budget().pressure() == Pressure::none);
    CHECK(cluster.connect().peer.status == 101);
}

// Both lie beside the logs, and nobody's log can be made shorter for them.
TEST_CASE("budget: keys, and the ids of what was acknowledged, count as well") {
    for (const bool keyed : {true, false}) {
        CAPTURE(keyed);
        Config config = roomy_config();
        TopicRule rule;
        CHECK(parse_topic_rule(keyed ? ">: keyed" : ">: history=1", rule).empty());
        config.topic = {rule};
        Cluster cluster(config, 1, 1, 200, 8 * units::mib);
        cluster.mesh.budget().set_room(units::mib, 64 * units::kib);
        Client& writer = cluster.greet();
        const std::string name(200, 'k');
        int said = 0;
        for (; cluster.mesh.budget().pressure() < Pressure::refuse && said < 40'000; said++) {
            const std::string which = std::to_string(said);
            writer.say(R"({"type":"publish","topic":"t","payload":1,"id":")" + which + '"' +
                       (keyed ? R"(,"key":")" + name + which + "\"}" : R"(,"ack_required":true})"));
            cluster.settle();
            static_cast<void>(writer.take());
        }
        CHECK(said > 1000);
        CHECK(said < 20'000);
        // The records of keys cannot be given back, and so nobody goes on trying.
        for (int i = 0; i < 5; i++)
            cluster.shards[0]->turn();
        CHECK(cluster.shards[0]->plan() != 0);
        cluster.shards[0]->turn(0);
    }
}

TEST_CASE("budget: when it is all used up, who holds most is cut, on every shard") {
    Cluster cluster(roomy_config(), 2, 1, 200, 4 * units::mib);
    cluster.mesh.budget().set_room(12 * units::mib, units::mib);
    std::vector<Client*> clients;
    for (std::uint32_t i = 0; i < 40; i++) {
        clients.push_back(&cluster.greet(i % 2));
    }
    for (Client* client : clients) {
        if (client != clients.front()) client->socket->say(half_a_message());
        cluster.settle();
        cluster.advance(tick_length);
        std::uint64_t held = 0;
        for (const auto& shard : cluster.shards) {
            held += shard->audit().message_bytes;
        }
        CHECK(held <= 12 * units::mib);
    }
    for (const auto& shard : cluster.shards) {
        CHECK(shard->counters().memory_cut > 0);
    }
    clients.front()->say(R"({"type":"ping","id":"1"})");
    cluster.settle();
    CHECK(Json(clients.front()->take_one()).text("type") == "pong");
}
