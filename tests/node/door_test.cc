// Requests against a whole shard on a fake reactor: where each leads, and what is answered.

#include "node/door.h"

#include <array>

#include "node/assets.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node::test;

namespace {

std::string plain(std::string_view method_and_target) {
    return std::string(method_and_target) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
}

Config dev_config() {
    Config config;
    config.dev = true;
    return config;
}

}  // namespace

TEST_CASE("door: each request gets its status, and nobody else notices") {
    struct Row {
        std::string request;
        int status;
    };
    std::string old_version = upgrade_request("/ws");
    old_version.replace(old_version.find(": 13"), 4, ": 8 ");
    const std::array<Row, 19> rows{{
        {upgrade_request("/ws"), 101},
        {upgrade_request("/ws?client_id=ann"), 101},
        {upgrade_request("/ws?client_id=" + std::string(65, 'a')), 400},
        {upgrade_request("/ws?client_id=%0a"), 400},
        {upgrade_request("/raw?topic=a&topic=b%20c"), 101},
        {upgrade_request("/raw?publish=a"), 101},
        {upgrade_request("/raw?publish=a&publish=b"), 400},
        {upgrade_request("/raw"), 400},
        {upgrade_request("/raw?topic="), 400},
        {upgrade_request("/raw?topic=%zz"), 400},
        {upgrade_request("/raw?topic=" + std::string(256, 't')), 400},
        {upgrade_request("/nowhere"), 404},
        {upgrade_request("/echo"), 404},  // not without --dev
        {old_version, 426},
        {plain("GET /ws"), 426},
        {plain("GET /"), 404},
        {plain("POST /ws"), 405},
        {"GET /ws HTTP/1.1\r\n\r\n", 400},
        {"nonsense\r\n\r\n", 400},
    }};
    Cluster cluster(open_config());
    Client& bystander = cluster.greet();
    for (const Row& row : rows) {
        CAPTURE(row.request);
        Client& client = cluster.dial();
        client.socket->say_split(row.request, cluster.random);
        cluster.settle();
        client.read();
        CHECK(client.peer.status == row.status);
        if (row.status == 101) continue;
        CHECK(client.socket->shut);
        client.socket->fin();
        cluster.settle();
        CHECK_FALSE(client.socket->live);
    }
    bystander.say(R"({"type":"ping","id":"1"})");
    cluster.settle();
    CHECK(Json(bystander.take_one()).text("type") == "pong");
}

TEST_CASE("door: strangers may not publish raw unless it was allowed") {
    Cluster cluster{Config()};
    CHECK(cluster.connect("/raw?publish=a").peer.status == 403);
    CHECK(cluster.connect("/raw?topic=a").peer.status == 101);
}

TEST_CASE("door: a raw client may name as many topics as a client may have, and no more") {
    Config config = open_config();
    config.topics_per_client_max = 3;
    Cluster cluster(config);
    CHECK(cluster.connect("/raw?topic=a&topic=b&topic=c&publish=d").peer.status == 101);
    CHECK(cluster.connect("/raw?topic=a&topic=b&topic=c&topic=d").peer.status == 400);
}

TEST_CASE("door: who comes when all places are taken is told when to come back") {
    Cluster cluster(open_config(), 1, 1, 2);
    cluster.greet();
    Client& second = cluster.greet();
    Client& third = cluster.connect("/ws");
    CHECK(third.peer.status == 503);
    CHECK(third.peer.head.find("Retry-After: ") != std::string::npos);
    second.socket->reset();
    cluster.settle();
    CHECK(cluster.connect("/ws").peer.status == 101);
}

TEST_CASE("door: frames that came right behind the request belong to the WebSocket") {
    Cluster cluster(open_config());
    Client& client = cluster.dial();
    client.socket->say(upgrade_request("/ws") +
                       client_frame(Op::text, R"({"type":"ping","id":"early"})"));
    cluster.settle();
    const std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("type") == "welcome");
    CHECK(Json(frames[1].payload).text("id") == "early");
}

TEST_CASE("door: the page is served whole with --dev, however slowly it is read") {
    Cluster cluster(dev_config());
    for (const node::Asset& asset : node::assets()) {
        CAPTURE(asset.path);
        Client& client = cluster.dial();
        client.socket->stingy = true;
        client.socket->say(plain("GET " + std::string(asset.path)));
        cluster.settle();
        client.read();
        CHECK(client.peer.status == 200);
        CHECK(client.peer.head.find(asset.content_type) != std::string::npos);
        CHECK(client.peer.body() == asset.body);
    }
    CHECK(cluster.connect("/echo").peer.status == 101);
}

TEST_CASE("door: a file of the page that the browser has is not sent again") {
    Cluster cluster(dev_config());
    const node::Asset& page = node::assets().front();
    const std::string etag(page.etag);
    struct Row {
        std::string if_none_match;
        int status;
    };
    for (const Row& row : std::array<Row, 9>{{{etag, 304},
                                              {"W/" + etag, 304},
                                              {"\"x\", " + etag + " ", 304},
                                              {"\"x\",W/" + etag + ",\"y\"", 304},
                                              {"*", 304},
                                              {"\"x\"", 200},
                                              {"", 200},
                                              {etag.substr(1), 200},
                                              {"X" + etag, 200}}}) {
        CAPTURE(row.if_none_match);
        Client& client = cluster.dial();
        client.socket->say("GET " + std::string(page.path) +
                           " HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: " + row.if_none_match +
                           "\r\n\r\n");
        cluster.settle();
        client.read();
        CHECK(client.peer.status == row.status);
        CHECK(client.peer.head.find("\r\nETag: " + etag + "\r\n") != std::string::npos);
        CHECK(client.peer.head.find("\r\nCache-Control: no-cache\r\n") != std::string::npos);
        CHECK(client.peer.body() == (row.status == 200 ? page.body : ""));
        CHECK(client.socket->shut);
    }
}

TEST_CASE("door: the page may load nothing but its own files, and run nothing inline") {
    Cluster cluster(dev_config());
    Client& client = cluster.dial();
    client.socket->say("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
    cluster.settle();
    client.read();
    const std::string& head = client.peer.head;
    const std::size_t begin = head.find("\r\nContent-Security-Policy: default-src 'none';");
    REQUIRE(begin != std::string::npos);
    const std::string policy = head.substr(begin, head.find('\r', begin + 2) - begin);
    CHECK(policy.find("unsafe") == std::string::npos);
    CHECK(policy.find("connect-src 'self' ws://127.0.0.1:8080 wss://127.0.0.1:8080;") !=
          std::string::npos);
    CHECK(policy.find('*') == std::string::npos);

    // A policy has no words for an IPv6 address; 'self' must do.
    Client& six = cluster.dial();
    six.socket->say("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n");
    cluster.settle();
    six.read();
    CHECK(six.peer.status == 200);
    CHECK(six.peer.head.find("connect-src 'self';") != std::string::npos);
}

TEST_CASE("door: with --dev no page of somebody else gets in, by any name or path") {
    struct Row {
        const char* target;
        const char* host;
        const char* origin;  // none when null
        int status;
    };
    const std::array<Row, 9> rows{{
        {"/ws", "127.0.0.1:8080", nullptr, 101},
        {"/ws", "127.0.0.1:8080", "http://127.0.0.1:8080", 101},
        {"/ws", "127.0.0.1:8080", "https://evil.example", 403},
        {"/raw?publish=a", "127.0.0.1:8080", "https://evil.example", 403},
        {"/raw?topic=a", "127.0.0.1:8080", "null", 403},
        {"/echo", "127.0.0.1:8080", "https://evil.example", 403},
        {"/nowhere", "127.0.0.1:8080", "https://evil.example", 403},
        {"/ws", "evil.example:8080", "http://evil.example:8080", 403},
        {"/ws", "evil.example:8080", nullptr, 403},
    }};
    Cluster cluster(dev_config());
    for (const Row& row : rows) {
        CAPTURE(row.target);
        CAPTURE(row.host);
        std::string request = upgrade_request(row.target);
        request.replace(
            request.find("Host: "),
            request.find("\r\nUpgrade") - request.find("Host: "),
            std::string("Host: ") + row.host +
                (row.origin == nullptr ? "" : std::string("\r\nOrigin: ") + row.origin));
        Client& client = cluster.dial();
        client.socket->say(request);
        cluster.settle();
        client.read();
        CHECK(client.peer.status == row.status);
        if (row.status == 403) CHECK(client.peer.body().find("--origin") != std::string::npos);
    }
    Client& page = cluster.dial();
    page.socket->say("GET / HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n");
    cluster.settle();
    page.read();
    CHECK(page.peer.status == 403);
}

TEST_CASE("door: the limits of a request's head are the operator's") {
    Config config = open_config();
    config.header_max = 400;
    config.header_lines_max = 8;
    Cluster cluster(config);
    const std::string long_line = "X: " + std::string(400, 'a') + "\r\n";
    struct Row {
        std::string extra;
        int status;
    };
    const std::array<Row, 4> rows{{
        {"", 101},
        {"A: b\r\nC: d\r\n", 101},
        {"A:\r\nB:\r\nC:\r\nD:\r\n", 431},
        {long_line, 431},
    }};
    for (const Row& row : rows) {
        CAPTURE(row.extra);
        std::string request = upgrade_request("/ws");
        request.insert(request.size() - 2, row.extra);
        Client& client = cluster.dial();
        client.socket->say(request);
        cluster.settle();
        client.read();
        CHECK(client.peer.status == row.status);
    }
}

TEST_CASE("door: a request that never ends is cut at the deadline, whatever trickles in") {
    Config config = open_config();
    config.handshake_timeout = units::s;
    Cluster cluster(config);
    Client& client = cluster.dial();
    client.socket->say("GET /ws HTTP/1.1\r\nX: ");
    cluster.settle();
    for (int i = 0; i < 9; i++) {
        client.socket->say("a");
        cluster.advance(100 * nanos_per_ms);
        CHECK(client.socket->live);
    }
    cluster.advance(120 * nanos_per_ms);
    CHECK_FALSE(client.socket->live);
}
