// Limits by address and user, and whose address it is, against whole shards on fake reactors.

#include "node/guard.h"

#include <map>
#include <string>

#include <doctest/doctest.h>

#include "tests/node/cluster.h"
#include "tests/node/rig.h"

using namespace ringcast;
using namespace ringcast::node::test;
using ringcast::node::Guard;
using ringcast::node::Quotas;

namespace {

io::Address address(std::string_view text) {
    Ip ip;
    REQUIRE_MESSAGE(parse_ip(text, ip), std::string(text));
    io::Address made{.v6 = ip.v6, .port = 1234};
    made.ip = ip.bytes;
    return made;
}

Client& dial(Cluster& cluster, std::string_view from, std::uint32_t shard = 0) {
    Client& client = cluster.dial(shard);
    client.socket->from = address(from);
    return client;
}

std::string request(std::string_view forwarded_for = {}) {
    std::string text = upgrade_request("/ws");
    if (forwarded_for.empty()) return text;
    text.insert(text.size() - 2, "X-Forwarded-For: " + std::string(forwarded_for) + "\r\n");
    return text;
}

// The status that a client gets who says this.
int answer(Cluster& cluster, Client& client, std::string_view text) {
    client.socket->say_split(text, cluster.random);
    cluster.settle();
    client.read();
    return client.peer.status;
}

int connect(Cluster& cluster,
            std::string_view from,
            std::string_view forwarded_for = {},
            std::uint32_t shard = 0) {
    return answer(cluster, dial(cluster, from, shard), request(forwarded_for));
}

Config limited() {
    Config config = open_config();
    config.connections_per_address = 3;
    config.connects_per_second = 0;
    return config;
}

}  // namespace

TEST_CASE("guard: so many connections of an address and no more, over all shards") {
    Cluster cluster(limited(), 2);
    for (const char* from : {"192.0.2.1", "2001:db8:1:2::1"}) {
        CAPTURE(from);
        CHECK(connect(cluster, from, {}, 0) == 101);
        CHECK(connect(cluster, from, {}, 1) == 101);
        CHECK(connect(cluster, from, {}, 0) == 101);
        Client& last = cluster.clients.back();
        CHECK(connect(cluster, from, {}, 1) == 429);
        Client& refused = cluster.clients.back();
        CHECK(refused.peer.head.find("Retry-After: ") != std::string::npos);
        refused.socket->fin();
        CHECK(connect(cluster, from, {}, 0) == 429);
        last.socket->reset();
        cluster.settle();
        CHECK(connect(cluster, from, {}, 1) == 101);
    }
    // An IPv6 network of 64 bits is one; another one is not.
    CHECK(connect(cluster, "2001:db8:1:2:ffff::") == 429);
    CHECK(connect(cluster, "2001:db8:1:3::1") == 101);
    CHECK(connect(cluster, "192.0.2.2") == 101);
    CHECK(cluster.shards[0]->counters().crowded + cluster.shards[1]->counters().crowded == 5);
}

TEST_CASE("guard: this machine itself has no limits unless that is wanted") {
    for (const bool wanted : {false, true}) {
        Config config = limited();
        config.limit_loopback = wanted;
        Cluster cluster(config);
        for (int i = 0; i < 5; i++) {
            CHECK(connect(cluster, "127.0.0.1") == (wanted && i >= 3 ? 429 : 101));
            CHECK(connect(cluster, "::1") == (wanted && i >= 3 ? 429 : 101));
        }
    }
}

TEST_CASE("guard: an address that connects too often waits") {
    Config config = limited();
    config.connections_per_address = 0;
    config.connects_per_second = 2;
    config.connects_burst = 4;
    Cluster cluster(config);
    for (int i = 0; i < 4; i++) {
        CHECK(connect(cluster, "192.0.2.1") == 101);
    }
    CHECK(connect(cluster, "192.0.2.1") == 429);
    CHECK(connect(cluster, "192.0.2.2") == 101);
    cluster.advance(nanos_per_s / 2);
    CHECK(connect(cluster, "192.0.2.1") == 101);
    CHECK(connect(cluster, "192.0.2.1") == 429);
    CHECK(cluster.shards[0]->counters().hasty == 2);
}

TEST_CASE("guard: of those who only wait the oldest goes, those who are in stay") {
    Config config = limited();
    config.connections_per_address = 0;
    config.pending_per_address = 4;
    Cluster cluster(config);
    CHECK(connect(cluster, "192.0.2.1") == 101);
    Client& in = cluster.clients.back();
    std::vector<Client*> idle;
    for (int i = 0; i < 6; i++) {
        idle.push_back(&dial(cluster, "192.0.2.1"));
        if (i % 2 == 0) idle.back()->socket->say("GET /ws HTT");
        cluster.settle();
    }
    for (std::size_t i = 0; i < idle.size(); i++) {
        CHECK(idle[i]->socket->live == (i >= 2));
    }
    // The one that means it gets in, whoever waits.
    CHECK(connect(cluster, "192.0.2.1") == 101);
    CHECK_FALSE(idle[2]->socket->live);
    CHECK(idle[3]->socket->live);
    CHECK(connect(cluster, "192.0.2.2") == 101);
    CHECK(idle[3]->socket->live);
    CHECK(in.socket->live);
    CHECK(cluster.shards[0]->counters().evicted == 3);
}

TEST_CASE("guard: too many of all addresses: the oldest of all goes") {
    Config config = limited();
    config.pending_max = 5;
    Cluster cluster(config);
    std::vector<Client*> idle;
    for (int i = 0; i < 8; i++) {
        idle.push_back(&dial(cluster, "192.0.2." + std::to_string(i)));
        cluster.settle();
    }
    for (std::size_t i = 0; i < idle.size(); i++) {
        CHECK(idle[i]->socket->live == (i >= 3));
    }
    CHECK(cluster.quotas.pending.load() == 5);
    for (Client* client : idle) {
        client->socket->reset();
    }
    cluster.settle();
    CHECK(cluster.quotas.pending.load() == 0);
}

TEST_CASE("guard: whoever is refused is not let in, and is cut when it does not go") {
    Config config = limited();
    config.pending_per_address = 2;
    Cluster cluster(config);
    for (int i = 0; i < 3; i++) {
        CHECK(connect(cluster, "192.0.2.1") == 101);
    }
    CHECK(connect(cluster, "192.0.2.1") == 429);
    FakeSocket& refused = *cluster.clients.back().socket;
    CHECK(refused.live);
    CHECK(connect(cluster, "192.0.2.1") == 429);
    CHECK(connect(cluster, "192.0.2.1") == 429);
    CHECK_FALSE(refused.live);
}

TEST_CASE("guard: X-Forwarded-For counts when a trusted proxy says it") {
    Config config = limited();
    config.trusted_proxies = {"10.0.0.0/8", "2001:db8:1::/48"};
    Cluster cluster(config);
    // A proxy may have any number, and each client behind it three.
    for (int i = 0; i < 3; i++) {
        CHECK(connect(cluster, "10.0.0.1", "192.0.2.1") == 101);
        CHECK(connect(cluster, "2001:db8:1::9", "junk, 192.0.2.2, 10.9.9.9") == 101);
        CHECK(connect(cluster, "10.0.0.1") == 101);  // says nothing: itself
    }
    CHECK(connect(cluster, "10.0.0.2", "192.0.2.1") == 429);
    CHECK(connect(cluster, "192.0.2.1") == 429);  // straight
    CHECK(connect(cluster, "10.0.0.1", "198.51.100.1, 192.0.2.2") == 429);
    CHECK(connect(cluster, "10.0.0.1", "192.0.2.2, 198.51.100.1") == 101);
    CHECK(connect(cluster, "10.0.0.1", "nobody") == 400);
    // Two lines, as of two proxies in a row that do not append: the last one names a proxy only.
    CHECK(connect(cluster, "10.0.0.1", "192.0.2.1\r\nX-Forwarded-For: 10.0.0.2") == 400);
    CHECK(connect(cluster, "10.0.0.1", "192.0.2.1, unknown, 10.0.0.2") == 400);
    CHECK(connect(cluster, "10.0.0.1", "10.0.0.7, 10.0.0.8") == 101);
    CHECK(cluster.shards[0]->counters().bad_proxies == 3);
    // Of others it is not even looked at.
    for (int i = 0; i < 3; i++) {
        CHECK(connect(cluster, "198.51.100.7", "203.0.113." + std::to_string(i)) == 101);
        CHECK(connect(cluster, "198.51.100.8", "nobody") == 101);
    }
    CHECK(connect(cluster, "198.51.100.7", "203.0.113.9") == 429);
}

TEST_CASE("guard: a PROXY header in front, from trusted proxies alone") {
    Config config = limited();
    config.listen = {"127.0.0.1:8080", "127.0.0.1:8081"};
    config.proxy_protocol = {"127.0.0.1:8081"};
    config.trusted_proxies = {"10.0.0.0/8"};
    Cluster cluster(config);
    const auto through = [&](std::string_view from, const std::string& text) {
        Client& client = dial(cluster, from);
        client.socket->listener = 1;
        return answer(cluster, client, text);
    };
    const std::string header = "PROXY TCP4 192.0.2.1 10.0.0.9 4711 80\r\n";
    for (int i = 0; i < 3; i++) {
        CHECK(through("10.0.0.1", header + request()) == 101);
    }
    CHECK(through("10.0.0.1", header + request()) == 429);
    CHECK(connect(cluster, "192.0.2.1") == 429);  // on the other listener
    // The client's own words are not those of a proxy; those of a second proxy are.
    CHECK(through("10.0.0.1", header + request("203.0.113.5")) == 429);
    const std::string chain = "PROXY TCP4 10.0.0.2 10.0.0.9 1 2\r\n";
    CHECK(through("10.0.0.1", chain + request("203.0.113.5")) == 101);
    CHECK(through("10.0.0.1", chain + request("192.0.2.1")) == 429);
    CHECK(through("10.0.0.1", "PROXY UNKNOWN\r\n" + request()) == 101);
    // What is no header, and who is no proxy, is cut without a word.
    CHECK(through("10.0.0.1", request()) == 0);
    CHECK_FALSE(cluster.clients.back().socket->live);
    CHECK(through("192.0.2.9", header + request()) == 0);
    CHECK_FALSE(cluster.clients.back().socket->live);
    CHECK(cluster.shards[0]->counters().bad_proxies == 2);
    // Half a header is bound by the same deadline as half a request.
    Client& slow = dial(cluster, "10.0.0.1");
    slow.socket->listener = 1;
    slow.socket->say("PROXY TCP4 192");
    cluster.settle();
    CHECK(slow.socket->live);
    cluster.advance(static_cast<Nanos>(config.handshake_timeout) + 2 * node::tick_length);
    CHECK_FALSE(slow.socket->live);
}

TEST_CASE("guard: a user has so many connections, whatever their addresses") {
    Config config;
    config.connections_per_user = 2;
    Rig rig(config);
    Quotas quotas(config, 64, 1);
    Guard guard(rig.config, &quotas, rig.reactor, rig.sessions, rig.counters, 64);
    io::ConnIndex conns[4] = {};
    for (io::ConnIndex& conn : conns) {
        conn = rig.connect().conn;
        guard.arrived(conn, 0);
    }
    CHECK(guard.set_user(conns[0], "ann"));
    CHECK(guard.set_user(conns[0], "ann"));  // again: nothing changes
    CHECK(guard.set_user(conns[1], "ann"));
    CHECK_FALSE(guard.set_user(conns[2], "ann"));
    CHECK(guard.set_user(conns[2], ""));
    CHECK(guard.set_user(conns[2], "bob"));
    CHECK(guard.set_user(conns[1], "bob"));  // somebody else now
    CHECK(guard.set_user(conns[3], "ann"));
    CHECK_FALSE(guard.set_user(conns[3], "bob"));
    guard.left(conns[1]);
    CHECK_FALSE(guard.set_user(conns[3], "bob", 1));  // by his token
    CHECK(guard.set_user(conns[3], "bob", 9));
    CHECK(rig.counters.crowded_users == 3);
    CHECK(guard.pending_count() == 3);
    for (const io::ConnIndex conn : {conns[0], conns[2], conns[3]}) {
        guard.let_in(conn);
        guard.let_in(conn);
        CHECK(guard.pending_count() == quotas.pending.load());
        guard.left(conn);
    }
    CHECK(guard.pending_count() == 0);
}

TEST_CASE("guard: a walk of arrivals, requests and ends against exact counts") {
    for (std::uint64_t seed = 1; seed <= 4; seed++) {
        Config config = limited();
        config.connections_per_address = 5;
        config.pending_per_address = 0;
        Cluster cluster(config, 2, seed);
        Random random(seed);
        std::map<std::string, std::uint32_t> in;
        std::vector<std::pair<Client*, std::string>> open;
        for (int step = 0; step < 600; step++) {
            if (random.chance(3, 5)) {
                const std::string from = "192.0.2." + std::to_string(random.below(6));
                const bool room = in[from] < config.connections_per_address;
                const int status =
                    connect(cluster, from, {}, static_cast<std::uint32_t>(random.below(2)));
                REQUIRE(status == (room ? 101 : 429));
                in[from] += room ? 1U : 0U;
                Client& client = cluster.clients.back();
                if (room) {
                    open.emplace_back(&client, from);
                } else {
                    client.socket->reset();
                    cluster.settle();
                }
            } else if (!open.empty()) {
                const std::size_t at = random.below(open.size());
                open[at].first->socket->reset();
                in[open[at].second]--;
                open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
                cluster.settle();
            }
            REQUIRE(cluster.quotas.pending.load() == 0);
        }
    }
}
