#include "node/audit.h"

#include <doctest/doctest.h>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

// That it ends the process where the books do not add up is for those who try it: each settle() of
// the cluster and each world of the simulator does.

TEST_CASE("audit: what a shard holds is counted, and nothing is left behind the last client") {
    Config config = open_config();
    config.messages_per_second = 0;
    Cluster cluster(config);
    CHECK(cluster.shards[0]->audit().rows == 0);
    Client& reader = cluster.greet();
    reader.say(R"({"type":"subscribe","topic":"t"})");
    reader.say(R"({"type":"subscribe","topic":"u"})");
    Client& publisher = cluster.greet();
    cluster.settle();
    static_cast<void>(reader.take());
    Holdings holdings = cluster.shards[0]->audit();
    CHECK(holdings.rows == 2);
    CHECK(holdings.log_bytes == 0);
    CHECK(holdings.outbox_bytes == 0);
    CHECK(holdings.message_bytes == 0);

    reader.socket->room = 0;
    publisher.say(R"({"type":"publish","topic":"t","payload":1})");
    reader.say(R"({"type":"ping"})");
    const std::string frame = client_frame(Op::text, R"({"type":"ping"})");
    publisher.socket->say(std::string_view(frame).substr(0, frame.size() - 1));
    cluster.settle();
    holdings = cluster.shards[0]->audit();
    CHECK(holdings.log_bytes == 4096);
    CHECK(holdings.outbox_bytes > 0);
    CHECK(holdings.outbox_bytes <= 128);
    CHECK(holdings.message_bytes > 0);

    reader.socket->reset();
    publisher.socket->reset();
    cluster.settle();
    holdings = cluster.shards[0]->audit();
    CHECK(holdings.rows + holdings.log_bytes == 0);
    CHECK(holdings.outbox_bytes + holdings.message_bytes == 0);
}
