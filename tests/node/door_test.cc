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
