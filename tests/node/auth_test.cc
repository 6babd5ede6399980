// Tokens on whole shards: who gets in with which, until when, and what he may then.

#include "node/auth.h"

#include <array>
#include <string>
#include <vector>

#include "node/close_codes.h"
#include "node/tokens.h"
#include "tests/node/cluster.h"
#include "tests/support/signer.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;
using ringcast::test::Signer;

namespace {

const Signer& signer() {
    static const Signer made(TokenAlgorithm::hs256);
    return made;
}

Config token_config(const std::vector<std::string>& rules = {}) {
    Config config;
    config.connections_per_user = 0;  // guard_test.cc
    config.auth_alg = TokenAlgorithm::hs256;
    config.auth_keys = signer().keys();
    config.auth_leeway = 0;
    config.messages_per_second = 0;
    config.ping_interval = units::hour;
    config.origin = {"https://a.example"};
    for (const std::string& text : rules) {
        REQUIRE(parse_topic_rule(text, config.topic.emplace_back()).empty());
    }
    REQUIRE(check(config).empty());
    return config;
}

std::int64_t now_of(const Cluster& cluster) {
    return cluster.reactors.front()->wall_now() / nanos_per_s;
}

// For so many seconds from now.
std::string token(const Cluster& cluster,
                  const std::string& user = "ann",
                  std::int64_t seconds = 60,
                  const std::string& more = R"(,"subscribe":["a.>"],"publish":["a.>"])") {
    return signer().token(R"({"sub":")" + user + R"(","exp":)" +
                          std::to_string(now_of(cluster) + seconds) + more + '}');
}

std::string upgrade(std::string_view target, std::string_view header) {
    std::string request = upgrade_request(target);
    request.insert(request.size() - 2, std::string(header) + "\r\n");
    return request;
}

Client& ask(Cluster& cluster, const std::string& request) {
    Client& client = cluster.dial();
    client.socket->say(request);
    cluster.settle();
    client.read();
    return client;
}

std::string auth(const std::string& token) {
    return R"({"type":"auth","id":"a1","payload":{"token":")" + token + R"("}})";
}

// Of the only message that came: "type", or "error CODE".
std::string said(Cluster& cluster, Client& client, const std::string& message) {
    client.say(message);
    cluster.settle();
    std::string all;
    for (const Frame& frame : client.take()) {
        if (frame.op != Op::text) continue;
        const Json json(frame.payload);
        const std::string code = json.text("payload.code");
        all += (all.empty() ? "" : ", ") + json.text("type") + (code.empty() ? "" : " ") + code;
    }
    return all;
}

std::string message(const std::string& type,
                    const std::string& topic,
                    const std::string& rest = {}) {
    return R"({"type":")" + type + R"(","id":"1","topic":")" + topic + '"' + rest + '}';
}

std::string publish(const std::string& topic) {
    return message("publish", topic, R"(,"ack_required":true,"payload":1)");
}

}  // namespace

TEST_CASE("auth: a request has its token in one of three places") {
    Cluster cluster(token_config());
    const std::string good = token(cluster);
    const std::string bad = good.substr(0, good.size() - 3) + "AAA";
    const std::string protocol = "Sec-WebSocket-Protocol: ringcast.v1, ringcast.token.";
    struct Row {
        std::string request;
        int status;
    };
    for (const Row& row :
         std::vector<Row>{{upgrade("/ws", "Authorization: Bearer " + good), 101},
                          {upgrade("/ws", "Authorization: bEaReR   " + good), 101},
                          {upgrade_request("/ws?token=" + good), 101},
                          {upgrade_request("/ws?client_id=x&token=" + good), 101},
                          {upgrade("/ws", protocol + good), 101},
                          {upgrade("/ws", "Sec-WebSocket-Protocol: ringcast.token." + good), 101},
                          {upgrade_request("/raw?topic=a.b&token=" + good), 101},
                          {upgrade_request("/raw?publish=a.b&token=" + good), 101},
                          {upgrade("/ws", "Authorization: Bearer " + bad), 401},
                          {upgrade_request("/ws?token=" + bad), 401},
                          {upgrade("/ws", protocol + bad), 401},
                          {upgrade("/ws", protocol), 401},
                          {upgrade_request("/ws?token="), 401},
                          {upgrade_request("/raw?topic=a.b"), 401},
                          {upgrade_request("/raw?topic=b&token=" + good), 403},
                          {upgrade_request("/raw?topic=a.b&topic=b&token=" + good), 403},
                          {upgrade_request("/raw?publish=b&token=" + good), 403},
                          {upgrade("/ws?token=" + good, "Authorization: Bearer " + good), 400},
                          {upgrade_request("/ws?token=" + good + "&token=" + good), 400},
                          {upgrade("/ws?token=" + good, protocol + good), 400},
                          {upgrade("/ws", protocol + good + ", ringcast.token." + good), 400},
                          {upgrade_request("/ws?token=" + token(cluster, "ann", 0)), 401},
                          {upgrade("/ws?token=" + good, "Origin: https://b.example"), 403}}) {
        CAPTURE(row.request);
        Client& client = ask(cluster, row.request);
        CHECK(client.peer.status == row.status);
        CHECK((client.peer.head.find("WWW-Authenticate: Bearer\r\n") != std::string::npos) ==
              (row.status == 401));
        CHECK(client.peer.head.find(good) == std::string::npos);
        CHECK(client.peer.body().find("eyJ") == std::string::npos);
    }
    Client& client = ask(cluster, upgrade("/ws", protocol + good));
    CHECK(client.peer.head.find("Sec-WebSocket-Protocol: ringcast.v1\r\n") != std::string::npos);
    const Json welcome(client.take_one());
    CHECK(welcome.text("type") == "welcome");
    CHECK(welcome.text("payload.user") == "ann");
    CHECK(welcome.number("payload.expires") == static_cast<std::uint64_t>(now_of(cluster) + 60));
    CHECK(cluster.shards[0]->counters().tokens_refused == 6);
}

TEST_CASE("auth: who has none says it first, in time, and does nothing before") {
    Cluster cluster(token_config());
    Client& client = cluster.connect("/ws?client_id=c");
    REQUIRE(client.peer.status == 101);
    CHECK(client.take().empty());
    CHECK(said(cluster, client, auth(token(cluster))) == "welcome");
    CHECK(said(cluster, client, message("subscribe", "a.b")) == "subscribed");

    for (const std::string& first : {message("subscribe", "a.b"),
                                     message("ping", "x"),
                                     std::string("no JSON"),
                                     std::string(R"({"type":"auth"})")}) {
        CAPTURE(first);
        Client& hasty = cluster.connect();
        const std::string heard = said(cluster, hasty, first);
        if (first.find("auth") == std::string::npos) {
            CHECK(heard == "error unauthorized");
            CHECK(hasty.close_code() == close_codes::unauthorized);
        } else {
            CHECK(heard == "error missing_member");
            CHECK(hasty.close_code() == 0);
        }
    }
    Client& forger = cluster.connect();
    CHECK(said(cluster, forger, auth("a.b.c")) == "error unauthorized");
    CHECK(forger.close_code() == close_codes::unauthorized);

    Client& large = cluster.connect();
    large.say(R"({"type":"auth","payload":{"token":")" + std::string(10'000, 'a') + R"("}})");
    cluster.settle();
    CHECK(large.close_code() == 1009);

    Client& silent = cluster.connect();
    Client& pinging = cluster.connect();
    cluster.advance(static_cast<Nanos>(9 * units::s));
    pinging.socket->say(client_frame(Op::ping, "x"));
    cluster.settle();
    CHECK(silent.close_code() == 0);
    cluster.advance(static_cast<Nanos>(1100 * units::ms));
    CHECK(silent.close_code() == close_codes::unauthorized);
    CHECK(pinging.close_code() == close_codes::unauthorized);
    CHECK(client.close_code() == 0);
    CHECK(cluster.shards[0]->counters().tokens_expired == 3);  // and the one without a payload
}

TEST_CASE("auth: a token ends while its client is there, unless it is renewed") {
    Cluster cluster(token_config());
    Client& leaves = cluster.greet(0, "/ws?token=" + token(cluster, "ann", 20));
    Client& raw = cluster.connect("/raw?topic=a.b&token=" + token(cluster, "ann", 20));
    Client& stays = cluster.greet(0, "/ws?token=" + token(cluster, "bob", 20));
    Client& far = cluster.greet(0, "/ws?token=" + token(cluster, "cat", 3'000'000'000));
    CHECK(said(cluster, leaves, message("subscribe", "a.b")) == "subscribed");
    cluster.advance(static_cast<Nanos>(15 * units::s));
    CHECK(said(cluster, stays, auth(token(cluster, "bob", -1))) == "error unauthorized");
    CHECK(said(cluster, stays, auth(token(cluster, "ann"))) == "error unauthorized");
    CHECK(said(cluster, stays, auth(token(cluster, "bob", 20))) == "welcome");
    CHECK(leaves.close_code() == 0);
    cluster.advance(static_cast<Nanos>(5100 * units::ms));
    CHECK(leaves.close_code() == close_codes::token_expired);
    CHECK(raw.close_code() == close_codes::token_expired);
    CHECK(stays.close_code() == 0);
    cluster.advance(static_cast<Nanos>(15 * units::s));
    CHECK(stays.close_code() == close_codes::token_expired);
    CHECK(said(cluster, far, message("ping", "x")) == "pong");
    CHECK(cluster.shards[0]->counters().tokens_expired == 3);
}

TEST_CASE("auth: a process that stands still lengthens no token") {
    Cluster cluster(token_config());
    Client& client = cluster.greet(0, "/ws?token=" + token(cluster, "ann", 20));
    cluster.advance(static_cast<Nanos>(units::s));
    cluster.clock.advance(static_cast<Nanos>(30 * units::s));
    cluster.settle();
    // Its timer is at a tick that an absence has moved; the first one that fires tells.
    cluster.advance(static_cast<Nanos>(20 * units::s));
    CHECK(client.close_code() == close_codes::token_expired);
}

TEST_CASE("auth: what a token does not allow is refused, and the connection stays") {
    Cluster cluster(token_config({"open.>: subscribe-by=anyone, presence",
                                  "shut: publish-by=nobody",
                                  "user.>: publish-by=user",
                                  "a.>: presence"}));
    Client& ann = cluster.greet(0, "/ws?token=" + token(cluster));
    struct Row {
        std::string message;
        const char* answer;
    };
    for (const Row& row : std::vector<Row>{
             {message("subscribe", "a.b"), "subscribed"},
             {message("subscribe", "b"), "error forbidden"},
             {message("subscribe", "a.*"), "subscribed"},
             {message("subscribe", ">"), "error forbidden"},
             {message("subscribe", "open.x"), "subscribed"},
             {message("subscribe", "user.ann"), "subscribed"},
             {message("subscribe", "user.bob"), "error forbidden"},
             {message("history", "a.c"), "history"},
             {message("history", "b"), "error forbidden"},
             {message("history", "user.bob"), "error forbidden"},
             {message("presence", "user.bob"), "error forbidden"},
             {message("presence", "user.ann"), "presence"},
             {message("presence", "a.b"), "error forbidden"},
             {message("subscribe", "a.p", R"(,"payload":{"presence":true})"), "error forbidden"},
             {publish("b"), "error forbidden"},
             {publish("shut"), "error forbidden"},
             {publish("user.bob"), "ack"},
             {message("ping", "x"), "pong"}}) {
        CAPTURE(row.message);
        CHECK(said(cluster, ann, row.message) == row.answer);
    }
    Client& watcher = cluster.greet(
        0, "/ws?token=" + token(cluster, "wim", 60, R"(,"subscribe":["a.>"],"presence":true)"));
    CHECK(said(cluster, watcher, message("presence", "a.b")) == "presence");
    Client& spy = cluster.greet(
        0, "/ws?token=" + token(cluster, "spy", 60, R"(,"subscribe":[">"],"presence":true)"));
    CHECK(said(cluster, spy, message("presence", "a.b")) == "presence");
    CHECK(said(cluster, spy, message("presence", "user.ann")) == "error forbidden");
    CHECK(said(cluster, watcher, publish("a.b")) == "error forbidden");
    CHECK(ann.close_code() == 0);
}

TEST_CASE("auth: topics that a pattern brings later are asked for, too") {
    Cluster cluster(token_config({"a.secret: subscribe-by=nobody", "user.>: publish-by=user"}), 2);
    Client& root = cluster.greet(
        0, "/ws?token=" + token(cluster, "root", 60, R"(,"subscribe":[">"],"publish":[">"])"));
    CHECK(said(cluster, root, publish("a.early")) == "ack");
    CHECK(said(cluster, root, publish("user.bob")) == "ack");
    CHECK(said(cluster, root, message("subscribe", ">")) == "subscribed, subscribed");
    for (const char* hidden : {"a.secret", "user.eve"}) {
        CAPTURE(hidden);
        CHECK(said(cluster, root, publish(hidden)) == "ack");
    }
    CHECK(said(cluster, root, publish("user.root")).find("data_update") != std::string::npos);
    CHECK(said(cluster, root, publish("a.late")).find("data_update") != std::string::npos);
}

TEST_CASE("auth: another token may take away what the first one gave") {
    Cluster cluster(token_config());
    Client& ann = cluster.greet(
        0,
        "/ws?token=" + token(cluster, "ann", 60, R"(,"subscribe":["a.>","b"],"publish":["a.x"])"));
    CHECK(said(cluster, ann, publish("a.x")) == "ack");
    CHECK(said(cluster, ann, message("subscribe", "b")) == "subscribed");
    CHECK(said(cluster, ann, message("subscribe", "a.y")) == "subscribed");
    CHECK(said(cluster, ann, message("subscribe", "a.*")) == "subscribed, subscribed");
    CHECK(said(cluster, ann, auth(token(cluster, "ann", 60, R"(,"subscribe":["a.y"])"))) ==
          "error forbidden, error forbidden, welcome");
    CHECK(said(cluster, ann, message("unsubscribe", "b")) == "error not_subscribed");
    CHECK(said(cluster, ann, message("unsubscribe", "a.*")) == "error not_subscribed");
    CHECK(said(cluster, ann, message("unsubscribe", "a.x")) == "error not_subscribed");
    CHECK(said(cluster, ann, message("unsubscribe", "a.y")) == "unsubscribed");
    CHECK(said(cluster, ann, publish("a.x")) == "error forbidden");
}

TEST_CASE("auth: so it may the right to be told who is there") {
    Cluster cluster(token_config({"a.>: presence"}));
    const std::string sees = R"(,"subscribe":["a.>"],"presence":true)";
    Client& ann = cluster.greet(0, "/ws?token=" + token(cluster, "ann", 60, sees));
    Client& bob = cluster.greet(0, "/ws?token=" + token(cluster, "bob"));
    CHECK(said(cluster, ann, message("subscribe", "a.r", R"(,"payload":{"presence":true})")) ==
          "subscribed");
    cluster.advance(static_cast<Nanos>(3 * units::s));
    static_cast<void>(ann.take());
    CHECK(said(cluster, bob, message("subscribe", "a.r")) == "subscribed");
    cluster.advance(static_cast<Nanos>(3 * units::s));
    CHECK(Json(ann.take_one()).text("payload.joined[0].user") == "bob");
    CHECK(said(cluster, ann, auth(token(cluster))) == "welcome");
    CHECK(said(cluster, bob, message("unsubscribe", "a.r")) == "unsubscribed");
    cluster.advance(static_cast<Nanos>(3 * units::s));
    CHECK(ann.take().empty());
}

TEST_CASE("auth: nobody is anonymous but where a rule lets him in, and his page is listed") {
    Cluster cluster(token_config({"open.>: subscribe-by=anyone, publish-by=anyone"}));
    const std::string origin = "Origin: https://a.example";
    Client& page = ask(cluster, upgrade("/ws", origin));
    const Json welcome(page.take_one());
    CHECK(welcome.text("type") == "welcome");
    CHECK_FALSE(welcome.has("payload.user"));
    CHECK(said(cluster, page, message("subscribe", "open.a")) == "subscribed");
    CHECK(said(cluster, page, message("subscribe", "a.b")) == "error forbidden");
    CHECK(said(cluster, page, publish("open.b")) == "ack");
    CHECK(said(cluster, page, auth("a.b.c")) == "error unauthorized");
    CHECK(said(cluster, page, auth(token(cluster))) == "welcome");
    CHECK(said(cluster, page, message("subscribe", "a.b")) == "subscribed");
    CHECK(ask(cluster, upgrade("/raw?topic=open.a", origin)).peer.status == 101);
    CHECK(ask(cluster, upgrade("/raw?topic=a.b", origin)).peer.status == 403);
    CHECK(ask(cluster, upgrade("/ws", "Origin: https://b.example")).peer.status == 403);
    CHECK(ask(cluster, upgrade_request("/raw?topic=open.a")).peer.status == 401);
    Client& program = cluster.connect();
    CHECK(program.take().empty());
    CHECK(said(cluster, program, message("subscribe", "open.a")) == "error unauthorized");
}

TEST_CASE("auth: a client id is its user's own, and so are ids of messages") {
    Cluster cluster(token_config({"a.>: presence"}), 2);
    const std::string may = R"(,"subscribe":["a.>"],"publish":["a.>"],"presence":true)";
    const auto target = [&](const std::string& user) {
        return "/ws?client_id=same&token=" + token(cluster, user, 60, may);
    };
    Client& ann = cluster.greet(0, target("ann"));
    Client& bob = cluster.greet(1, target("bob"));
    CHECK(said(cluster, ann, message("subscribe", "a.b", R"(,"payload":{"presence":true})")) ==
          "subscribed");
    CHECK(said(cluster, bob, message("subscribe", "a.b")) == "subscribed");
    CHECK(ann.close_code() == 0);
    CHECK(bob.close_code() == 0);
    cluster.advance(static_cast<Nanos>(3 * units::s));
    static_cast<void>(ann.take());
    ann.say(message("presence", "a.b"));
    cluster.settle();
    const Json list(ann.take_one());
    CHECK(list.number("payload.count") == 2);
    CHECK(list.text("payload.clients[0].client_id") == "same");
    CHECK(list.text("payload.clients[0].user") == "ann");
    CHECK(list.text("payload.clients[1].client_id") == "same");
    CHECK(list.text("payload.clients[1].user") == "bob");

    CHECK(said(cluster, ann, publish("a.c")) == "ack");
    CHECK(said(cluster, bob, publish("a.c")) == "ack");
    std::uint64_t repeats = 0;
    for (const auto& shard : cluster.shards) {
        repeats += shard->counters().repeats;
    }
    CHECK(repeats == 0);

    Client& again = cluster.greet(1, target("ann"));
    CHECK(ann.close_code() == close_codes::replaced);
    CHECK(bob.close_code() == 0);
    CHECK(again.close_code() == 0);
    Client& later = cluster.connect("/ws?client_id=same");
    CHECK(bob.close_code() == 0);
    CHECK(again.close_code() == 0);  // it has said nothing of who it is
    CHECK(said(cluster, later, auth(token(cluster, "bob", 60, may))) == "welcome");
    CHECK(bob.close_code() == close_codes::replaced);
}

TEST_CASE("auth: who was anonymous takes his client id along, and nobody else has it then") {
    Cluster cluster(
        token_config(
            {"open.>: subscribe-by=anyone, publish-by=anyone, presence-by=anyone, presence"}),
        2);
    const auto page = [&](const std::string& name, std::uint32_t shard) -> Client& {
        Client& client = cluster.dial(shard);
        client.socket->say(upgrade("/ws?client_id=" + name, "Origin: https://a.example"));
        cluster.settle();
        CHECK(Json(client.take_one()).text("type") == "welcome");
        return client;
    };
    Client& client = page("same", 0);
    Client& watcher = page("watcher", 1);
    const std::string room = "open.room";
    CHECK(said(cluster, client, message("subscribe", room, R"(,"payload":{"info":{"n":1}})")) ==
          "subscribed");
    CHECK(said(cluster, watcher, message("subscribe", room, R"(,"payload":{"presence":true})")) ==
          "subscribed");
    cluster.advance(static_cast<Nanos>(3 * units::s));
    static_cast<void>(watcher.take());
    CHECK(said(cluster, client, auth(token(cluster))) == "welcome");
    cluster.advance(static_cast<Nanos>(3 * units::s));
    const Json update(watcher.take_one());
    CHECK(update.text("payload.joined[0].client_id") == "same");
    CHECK(update.text("payload.joined[0].user") == "ann");
    CHECK(update.text("payload.joined[0].info") == R"({"n":1})");
    CHECK(update.text("payload.left[0]") == "same");
    CHECK(update.number("payload.count") == 2);

    Client& stranger = page("same", 1);
    Client& bob = cluster.greet(1, "/ws?client_id=same&token=" + token(cluster, "bob"));
    CHECK(client.close_code() == 0);
    CHECK(said(cluster, client, publish("open.ids")) == "ack");
    CHECK(said(cluster, stranger, publish("open.ids")) == "ack");
    CHECK(said(cluster, bob, message("subscribe", room)) == "subscribed");
    std::uint64_t repeats = 0;
    for (const auto& shard : cluster.shards) {
        repeats += shard->counters().repeats;
    }
    CHECK(repeats == 0);

    Client& again = cluster.greet(1, "/ws?client_id=same&token=" + token(cluster));
    CHECK(client.close_code() == close_codes::replaced);
    CHECK(stranger.close_code() == 0);
    CHECK(again.close_code() == 0);
    client.socket->reset();
    bob.socket->reset();
    cluster.settle();
    static_cast<void>(watcher.take());
    watcher.say(message("presence", room));
    cluster.settle();
    const Json list(watcher.take_one());
    CHECK(list.number("payload.count") == 1);  // nothing is left of either name
    CHECK(list.text("payload.clients[0].client_id") == "watcher");
}

TEST_CASE("auth: a name that the server gave is the user's from then on, too") {
    Cluster cluster(
        token_config({"open.>: subscribe-by=anyone, presence-by=anyone, presence, history=9"}), 2);
    const std::string origin = "Origin: https://a.example";
    Client& client = ask(cluster, upgrade("/ws", origin));
    static_cast<void>(client.take());
    const std::string may = R"(,"info":{"n":2},"publish":["open.>"])";
    CHECK(said(cluster, client, message("subscribe", "open.a")) == "subscribed");
    CHECK(said(cluster, client, auth(token(cluster, "ann", 60, may))) == "welcome");
    CHECK(said(cluster, client, message("subscribe", "open.b")) == "subscribed");
    for (const char* topic : {"open.a", "open.b"}) {
        CAPTURE(topic);
        client.say(message("presence", topic));
        cluster.settle();
        const Json list(client.take_one());
        CHECK(list.number("payload.count") == 1);
        CHECK(list.text("payload.clients[0].user") == "ann");
        CHECK(list.text("payload.clients[0].info") == R"({"n":2})");
    }
}

TEST_CASE("auth: what one owed before he was somebody's waits for him all the same") {
    Cluster cluster(token_config({"open.>: subscribe-by=anyone, history=10"}));
    Client& client = ask(cluster, upgrade("/ws?client_id=me", "Origin: https://a.example"));
    static_cast<void>(client.take());
    client.say(message("subscribe", "open.a", R"(,"payload":{"acks":true})"));
    cluster.settle();
    const Json joined(client.take_one());
    const std::string session = "&session=" + joined.text("payload.session");
    const std::string place =
        R"(,"payload":{"acks":true,"offset":1,"epoch":")" + joined.text("payload.epoch") + R"("})";
    const std::string may = R"(,"publish":["open.>"])";
    Client& sender = cluster.greet(0, "/ws?token=" + token(cluster, "sender", 60, may));
    CHECK(said(cluster, sender, publish("open.a")) == "ack");
    CHECK(said(cluster, client, auth(token(cluster))) == "data_update, welcome");
    client.socket->reset();
    cluster.settle();
    // Neither is it bob's who knows the name alone, nor does it matter whose name it is by now.
    Client& bob = cluster.greet(0, "/ws?client_id=me&token=" + token(cluster, "bob", 60));
    bob.say(message("subscribe", "open.a", place));
    cluster.settle();
    CHECK(Json(bob.take_one()).number("payload.open") == 0);
    Client& back = cluster.greet(0, "/ws?client_id=me" + session + "&token=" + token(cluster));
    back.say(message("subscribe", "open.a", place));
    cluster.settle();
    CHECK(Json(back.take_one()).number("payload.open") == 1);
}

TEST_CASE("auth: limits and info of a token hold for its client") {
    Config config = token_config({"a.>: presence"});
    config.messages_per_second = 100;
    config.messages_burst = 2;
    Cluster cluster(config);
    const std::string claims =
        R"(,"subscribe":["a.>"],"presence":true,"info":{"n":1},"limits":{"messages":5})";
    Client& ann = cluster.connect("/ws?token=" + token(cluster, "ann", 60, claims));
    CHECK(Json(ann.take_one()).number("payload.limits.messages_per_second") == 5);
    CHECK(said(cluster, ann, message("subscribe", "a.b", R"(,"payload":{"info":"I am root"})")) ==
          "subscribed");
    ann.say(message("presence", "a.b"));
    cluster.settle();
    CHECK(Json(ann.take_one()).text("payload.clients[0].info") == R"({"n":1})");
    CHECK(said(cluster, ann, message("ping", "x")) == "error rate_limited");
    cluster.advance(static_cast<Nanos>(210 * units::ms));
    CHECK(said(cluster, ann, message("ping", "x")) == "pong");
    CHECK(said(cluster, ann, message("ping", "x")) == "error rate_limited");
}

TEST_CASE("auth: new keys hold from then on, and nobody who is there is sent away") {
    Cluster cluster(token_config(), 2);
    Client& ann = cluster.greet(1, "/ws?token=" + token(cluster));
    const std::string old_token = token(cluster);
    const Signer next(TokenAlgorithm::hs256, "the next secret is as long as that");
    post_keys(cluster.mesh, next.keys());
    cluster.settle();
    for (std::uint32_t shard = 0; shard < 2; shard++) {
        CHECK(cluster.connect("/ws?token=" + old_token, shard).peer.status == 401);
        const std::string fresh =
            next.token(R"({"sub":"ann","exp":)" + std::to_string(now_of(cluster) + 60) + '}');
        CHECK(cluster.connect("/ws?token=" + fresh, shard).peer.status == 101);
    }
    CHECK(said(cluster, ann, message("ping", "x")) == "pong");
}

TEST_CASE("auth: without --auth-alg nothing has changed") {
    Cluster cluster(open_config());
    Client& client = cluster.greet(0, "/ws?token=whatever");
    CHECK(said(cluster, client, auth("x")) == "error not_supported");
    CHECK(said(cluster, client, message("subscribe", "user.ann")) == "subscribed");
    CHECK(said(cluster, client, publish("user.ann")) == "ack, data_update");
}

TEST_CASE("auth: rules can be of use without tokens") {
    Config config;
    REQUIRE(parse_topic_rule("news: publish-by=nobody", config.topic.emplace_back()).empty());
    REQUIRE(parse_topic_rule("chat: publish-by=anyone", config.topic.emplace_back()).empty());
    REQUIRE(parse_topic_rule("dark: subscribe-by=nobody", config.topic.emplace_back()).empty());
    REQUIRE(check(config).empty());
    Cluster cluster(config);
    Client& client = cluster.greet();
    CHECK(said(cluster, client, publish("chat")) == "ack");
    CHECK(said(cluster, client, publish("news")) == "error forbidden");
    CHECK(said(cluster, client, publish("other")) == "error forbidden");
    CHECK(said(cluster, client, message("subscribe", "dark")) == "error forbidden");
    CHECK(said(cluster, client, message("subscribe", "news")) == "subscribed");
    CHECK(cluster.connect("/raw?topic=dark").peer.status == 403);
    CHECK(cluster.connect("/raw?publish=chat").peer.status == 101);
}
