// Messages of clients against a whole shard on a fake reactor.

#include "node/dispatch.h"

#include <array>

#include "node/close_codes.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node::test;

namespace {

std::string code_of(const std::string& envelope) {
    return Json(envelope).text("payload.code");
}

}  // namespace

TEST_CASE("dispatch: what is wrong with one message is answered, and the next one works") {
    struct Row {
        std::string_view message;
        std::string_view code;
    };
    constexpr std::array<Row, 18> rows{{
        {"{", "bad_json"},
        {"[]", "not_an_object"},
        {"{}", "missing_member"},
        {R"({"type":7})", "bad_type"},
        {R"({"type":"subscribe","id":"i"})", "missing_member"},
        {R"({"type":"subscribe","id":"i","topic":""})", "bad_topic"},
        {R"({"type":"subscribe","id":7,"topic":"a"})", "bad_id"},
        {R"({"type":"subscribe","type":"x","topic":"a"})", "duplicate_member"},
        {R"({"type":"unsubscribe","id":"i","topic":"none"})", "not_subscribed"},
        {R"({"type":"dance","id":"i"})", "unknown_type"},
        {R"({"type":"ack","id":"i"})", "not_awaited"},
        {R"({"type":"auth","id":"i","payload":{"token":"x"}})", "not_supported"},
        {R"({"type":"publish","id":"i","topic":"a"})", "missing_member"},
        {R"({"type":"publish","topic":"a","payload":1,"ack_required":true})", "missing_member"},
        {R"({"type":"publish","id":"i","topic":"a.*","payload":1})", "bad_topic"},
        {R"({"type":"subscribe","id":"i","topic":"a","payload":{"offset":1}})", "bad_payload"},
        {R"({"type":"subscribe","id":"i","topic":"a","payload":{"max_rate":1}})", "not_keyed"},
        {R"({"type":"publish","id":"i","topic":"a","payload":1e})", "bad_json"},
    }};
    Cluster cluster(open_config());
    Client& client = cluster.greet();
    Client& bystander = cluster.greet();
    for (const Row& row : rows) {
        CAPTURE(row.message);
        client.say(row.message);
        cluster.settle();
        const std::string answer = client.take_one();
        CHECK(Json(answer).text("type") == "error");
        CHECK(code_of(answer) == row.code);
        client.say(R"({"type":"ping","id":"p"})");
        cluster.settle();
        CHECK(Json(client.take_one()).text("type") == "pong");
    }
    CHECK(bystander.take().empty());
}

TEST_CASE("dispatch: subscribe, publish and unsubscribe do what they say") {
    Cluster cluster(open_config());
    Client& client = cluster.greet();
    client.say(R"({"type":"subscribe","id":"1","topic":"a"})");
    client.say(R"({"type":"subscribe","id":"2","topic":"a"})");
    client.say(R"({"type":"publish","id":"3","topic":"a","payload":{"x":[1, 2]}})");
    client.say(R"({"type":"publish","topic":"a","payload":null})");
    cluster.settle();
    const std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 4);
    CHECK(Json(frames[0].payload).text("type") == "subscribed");
    CHECK(code_of(frames[1].payload) == "already_subscribed");
    CHECK(frames[2].payload.find(R"("payload":{"x":[1, 2]})") != std::string::npos);
    CHECK(Json(frames[2].payload).text("id") == "3");
    CHECK(Json(frames[2].payload).number("offset") == 1);
    CHECK(Json(frames[3].payload).text("id") == "2");  // nobody gave it one: its offset

    client.say(R"({"type":"unsubscribe","id":"4","topic":"a"})");
    client.say(R"({"type":"publish","topic":"a","payload":3})");
    cluster.settle();
    CHECK(Json(client.take_one()).text("type") == "unsubscribed");
}

TEST_CASE("dispatch: a topic's name may be as long as the operator says, and no longer") {
    Config config = open_config();
    config.topic_name_max = 8;
    Cluster cluster(config);
    Client& client = cluster.greet();
    for (const std::string_view kind : {"subscribe", "publish", "unsubscribe"}) {
        CAPTURE(kind);
        client.say(R"({"type":")" + std::string(kind) +
                   R"(","id":"long","topic":"123456789","payload":{}})");
        cluster.settle();
        const std::string answer = client.take_one();
        CHECK(code_of(answer) == "bad_topic");
        CHECK(Json(answer).text("id") == "long");
    }
    client.say(R"({"type":"subscribe","id":"1","topic":"12345678"})");
    cluster.settle();
    CHECK(Json(client.take_one()).text("type") == "subscribed");
}

TEST_CASE("dispatch: an answer about a name that escaping makes long comes whole") {
    Cluster cluster(open_config());
    Client& client = cluster.greet();
    std::string name;
    for (int i = 0; i < 255; i++)
        name += R"(\")";
    client.say(R"({"type":"subscribe","id":"1","topic":")" + name + R"("})");
    client.say(R"({"type":"subscribe","id":"2","topic":")" + name + R"("})");
    cluster.settle();
    const std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 2);
    CHECK(Json(frames[0].payload).text("topic") == name);
    CHECK(Json(frames[1].payload).text("topic") == name);
    CHECK(code_of(frames[1].payload) == "already_subscribed");
}

TEST_CASE("dispatch: strangers may not publish unless it was allowed, and stay") {
    Cluster cluster{Config()};
    Client& client = cluster.greet();
    Client& reader = cluster.greet();
    reader.say(R"({"type":"subscribe","id":"1","topic":"a"})");
    client.say(R"({"type":"publish","id":"2","topic":"a","payload":1})");
    cluster.settle();
    const std::string answer = client.take_one();
    CHECK(code_of(answer) == "forbidden");
    CHECK(Json(answer).text("id") == "2");
    CHECK(Json(reader.take_one()).text("type") == "subscribed");
    client.say(R"({"type":"ping","id":"3"})");
    cluster.settle();
    CHECK(Json(client.take_one()).text("type") == "pong");
}

TEST_CASE("dispatch: who sends too fast is told, message by message, and closed if he goes on") {
    Config config = open_config();
    config.messages_per_second = 10;
    config.messages_burst = 5;
    Cluster cluster(config);
    Client& client = cluster.greet();
    for (int i = 0; i < 8; i++) {
        client.say(R"({"type":"ping","id":"x"})");
    }
    cluster.settle();
    std::vector<Frame> frames = client.take();
    REQUIRE(frames.size() == 8);
    CHECK(Json(frames[4].payload).text("type") == "pong");
    CHECK(code_of(frames[5].payload) == "rate_limited");
    cluster.advance(nanos_per_s);
    client.say(R"({"type":"ping","id":"x"})");
    cluster.settle();
    CHECK(Json(client.take_one()).text("type") == "pong");

    Client& raw = cluster.connect("/raw?publish=a");
    for (int i = 0; i < 6; i++) {
        raw.say("x");
    }
    cluster.settle();
    CHECK(raw.close_code() == node::close_codes::rate_limited);
}

TEST_CASE("dispatch: of too many pings only some are answered, and the connection stays") {
    Config config = open_config();
    config.control_per_second = 3;
    Cluster cluster(config);
    Client& client = cluster.greet();
    for (int i = 0; i < 10; i++) {
        client.socket->say(client_frame(Op::ping, "p"));
    }
    cluster.settle();
    CHECK(client.take().size() == 3);
    CHECK(client.socket->live);
}

TEST_CASE("dispatch: only who keeps sending more than ten times the rate is closed for it") {
    struct Row {
        std::string_view name;
        int messages;  // in each tenth of a second; allowed is one
        int pings;     // the same
        std::uint16_t code;
    };
    constexpr std::uint16_t stays = 0;
    constexpr std::uint16_t closed = node::close_codes::rate_limited;
    constexpr std::array<Row, 8> rows{{
        {"pings at twice the rate", 0, 2, stays},
        {"pings at ten times the rate", 0, 10, stays},
        {"pings at twelve times the rate", 0, 12, closed},
        {"messages at twice the rate", 2, 0, stays},
        {"messages at ten times the rate", 10, 0, stays},
        {"messages at twelve times the rate", 12, 0, closed},
        {"good messages do not pay for pings", 1, 12, closed},
        {"nor good pings for messages", 12, 1, closed},
    }};
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Config config = open_config();
        config.ping_interval = units::hour;
        config.messages_per_second = 10;
        config.messages_burst = 1;
        config.control_per_second = 10;
        Cluster cluster(config);
        Client& client = cluster.greet();
        for (int i = 0; i < 1500 && client.close_code() == 0; i++) {
            std::string said;
            for (int j = 0; j < row.messages; j++)
                said += client_frame(Op::text, R"({"type":"ping"})");
            for (int j = 0; j < row.pings; j++)
                said += client_frame(Op::ping, {});
            client.socket->say(said);
            cluster.clock.advance(static_cast<Nanos>(100 * units::ms));
            cluster.turn(0);
            static_cast<void>(client.take());
        }
        CHECK(client.close_code() == row.code);
    }
}

TEST_CASE("dispatch: raw carries text as text and binary as binary, and only where it may") {
    Cluster cluster(open_config());
    Client& reader = cluster.connect("/raw?topic=a");
    Client& envelope = cluster.greet();
    envelope.say(R"({"type":"subscribe","topic":"a"})");
    Client& writer = cluster.connect("/raw?publish=a");
    cluster.settle();
    static_cast<void>(envelope.take());
    writer.say("words");
    writer.socket->say(client_frame(Op::binary, std::string("\x01\x02", 2)));
    cluster.settle();
    const std::vector<Frame> frames = reader.take();
    REQUIRE(frames.size() == 2);
    CHECK(frames[0].op == Op::text);
    CHECK(frames[0].payload == "words");
    CHECK(frames[1].op == Op::binary);
    const std::vector<Frame> same = envelope.take();
    REQUIRE(same.size() == 2);
    CHECK(Json(same[0].payload).text("payload") == "words");
    CHECK(Json(same[1].payload).text("payload") == "AQI=");
    CHECK(Json(same[1].payload).text("encoding") == "base64");

    reader.say("may I?");
    cluster.settle();
    CHECK(reader.close_code() == 1008);
}

TEST_CASE("dispatch: nobody's figures pass for those of the machine") {
    Config config = open_config();
    config.dev = true;
    Cluster cluster(config);
    Client& client = cluster.greet();
    client.say(R"({"type":"publish","id":"i","topic":"host.cpu","payload":1})");
    cluster.settle();
    CHECK(code_of(client.take_one()) == "forbidden");
    Client& raw = cluster.dial();
    raw.socket->say(upgrade_request("/raw?publish=host.cpu"));
    cluster.settle();
    CHECK(raw.socket->sent.starts_with("HTTP/1.1 403 "));
}

TEST_CASE("dispatch: an echo client that does not read is not read from, and loses nothing") {
    Config config;
    config.dev = true;
    Cluster cluster(config);
    Client& client = cluster.connect("/echo");
    client.socket->room = 100;
    std::string expected;
    for (int i = 0; i < 40; i++) {
        const std::string message(1000, static_cast<char>('a' + i % 26));
        client.say(message);
        expected += message;
        cluster.settle();
    }
    CHECK(client.socket->paused);
    client.socket->room = FakeSocket::endless;
    cluster.settle();
    CHECK_FALSE(client.socket->paused);
    std::string got;
    for (const Frame& frame : client.take()) {
        got += frame.payload;
    }
    CHECK(got == expected);
}

TEST_CASE("dispatch: a close frame is answered with its own code, and the server hangs up") {
    Cluster cluster(open_config());
    Client& client = cluster.greet();
    client.socket->say(client_close(1000, "bye"));
    cluster.settle();
    CHECK(client.close_code() == 1000);
    CHECK_FALSE(client.socket->live);
}

TEST_CASE("dispatch: broken frames end that connection with their code") {
    struct Row {
        std::string bytes;
        std::uint16_t code;
    };
    const std::array<Row, 4> rows{{
        {std::string("\x81\x01x", 3), 1002},  // not masked
        {client_frame(Op::text, "\xff"), 1007},
        {client_frame(Op::text, std::string(65 * 1024, 'x')), 1009},
        {client_frame(Op::binary, "x"), 1003},  // an envelope is text
    }};
    Cluster cluster(open_config());
    Client& bystander = cluster.greet();
    for (const Row& row : rows) {
        CAPTURE(row.code);
        Client& client = cluster.greet();
        client.socket->say(row.bytes);
        cluster.settle();
        CHECK(client.close_code() == row.code);
    }
    CHECK(bystander.socket->live);
}
