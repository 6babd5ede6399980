// Who may do what, by rules and tokens.

#include "node/access.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/hash.h"

using namespace ringcast;
using namespace ringcast::node;

namespace {

constexpr std::uint64_t seed = 5;

Config with_rules(const std::vector<std::string>& rules, bool tokens = true) {
    Config config;
    if (tokens) config.auth_alg = TokenAlgorithm::hs256;
    for (const std::string& text : rules) {
        const std::string problem = parse_topic_rule(text, config.topic.emplace_back());
        REQUIRE_MESSAGE(problem.empty(), problem);
    }
    return config;
}

Identity identity(const std::string& user,
                  std::vector<std::string> subscribe = {},
                  std::vector<std::string> publish = {},
                  std::vector<std::string> presence = {}) {
    Identity made;
    made.claims.user = user;
    made.claims.subscribe = std::move(subscribe);
    made.claims.publish = std::move(publish);
    made.claims.presence = std::move(presence);
    return made;
}

struct Row {
    Deed deed;
    const char* topic;
    const Identity* who;
    bool may;
};

void check_rows(const Config& config, const std::vector<Row>& rows) {
    feed::TopicTable topics;
    const Access access(config, seed, topics);
    for (const Row& row : rows) {
        CAPTURE(row.topic);
        CAPTURE(static_cast<int>(row.deed));
        CAPTURE((row.who == nullptr ? std::string("nobody") : row.who->claims.user));
        CHECK(access.may(row.who, row.deed, row.topic) == row.may);
    }
}

constexpr auto subscribe = Deed::subscribe;
constexpr auto publish = Deed::publish;
constexpr auto presence = Deed::presence;
constexpr auto history = Deed::history;

}  // namespace

TEST_CASE("access: without tokens and rules everybody may all but publish, as was said") {
    Config config;
    feed::TopicTable topics;
    CHECK_FALSE(Access(config, seed, topics).restricts());
    CHECK(Access(config, seed, topics).anonymous());
    check_rows(config,
               {{subscribe, "a", nullptr, true},
                {subscribe, "user.ann", nullptr, true},
                {history, "a", nullptr, true},
                {presence, "a", nullptr, true},
                {publish, "a", nullptr, false}});
    config.anonymous_publish = true;
    check_rows(config, {{publish, "a", nullptr, true}});
    config =
        with_rules({"a: publish-by=anyone", "b: subscribe-by=nobody, history-by=anyone"}, false);
    CHECK(Access(config, seed, topics).restricts());
    check_rows(config,
               {{publish, "a", nullptr, true},
                {publish, "b", nullptr, false},
                {publish, "c", nullptr, false},
                {subscribe, "a", nullptr, true},
                {subscribe, "b", nullptr, false},
                {history, "b", nullptr, true},
                {presence, "b", nullptr, true},
                {subscribe, "user.ann", nullptr, true}});
}

TEST_CASE("access: with tokens they decide, and what they do not say is not allowed") {
    const Config config = with_rules({"secret.>: history=1"});
    feed::TopicTable topics;
    CHECK(Access(config, seed, topics).restricts());
    CHECK_FALSE(Access(config, seed, topics).anonymous());
    const Identity ann = identity("ann", {"a.*", "secret.x"}, {"b.>"}, {"a.1"});
    check_rows(config,
               {{subscribe, "a.1", &ann, true},
                {history, "a.1", &ann, true},
                {presence, "a.1", &ann, true},
                {presence, "a.2", &ann, false},
                {publish, "a.1", &ann, false},
                {subscribe, "a.1.2", &ann, false},
                {subscribe, "b.1", &ann, false},
                {publish, "b.1", &ann, true},
                {publish, "b", &ann, false},
                {subscribe, "secret.x", &ann, true},
                {subscribe, "secret.y", &ann, false},
                {subscribe, "a.1", nullptr, false},
                {history, "a.1", nullptr, false},
                {presence, "a.1", nullptr, false},
                {publish, "b.1", nullptr, false}});
}

TEST_CASE("access: a rule says who, and the first that matches alone") {
    const Config config = with_rules({"open.closed: subscribe-by=nobody",
                                      "open.>: subscribe-by=anyone, publish-by=user",
                                      "log.>: subscribe-by=token, history-by=nobody",
                                      "shout: publish-by=anyone, presence-by=user"});
    const Identity ann = identity("ann", {"open.closed", "log.a"}, {"open.closed", "other"});
    feed::TopicTable topics;
    CHECK(Access(config, seed, topics).anonymous());
    check_rows(config,
               {{subscribe, "open.a", nullptr, true},
                {history, "open.a", nullptr, true},
                {presence, "open.a", nullptr, false},
                {publish, "open.a", nullptr, false},
                {publish, "open.a", &ann, true},
                {subscribe, "open.closed", &ann, false},
                {history, "open.closed", &ann, false},
                {publish, "open.closed", &ann, true},
                {subscribe, "log.a", &ann, true},
                {history, "log.a", &ann, false},
                {publish, "shout", nullptr, true},
                {subscribe, "shout", nullptr, false},
                {presence, "shout", nullptr, false},
                {presence, "shout", &ann, true},
                {publish, "other", &ann, true},
                {publish, "others", &ann, false}});
}

TEST_CASE("access: a user's topic is the user's, whatever else is said") {
    const Config config =
        with_rules({"user.>: subscribe-by=anyone, history-by=anyone, publish-by=user"});
    const Identity ann = identity("ann", {">"}, {}, {">", "user.bob"});
    const Identity dotted = identity("a.b");
    const Identity wild = identity("*");
    check_rows(config,
               {{subscribe, "user.ann", &ann, true},
                {history, "user.ann", &ann, true},
                {subscribe, "user.bob", &ann, false},
                {history, "user.bob", &ann, false},
                {subscribe, "user.", &ann, false},
                {subscribe, "user.ann.x", &ann, false},
                {subscribe, "user.ann", nullptr, false},
                {subscribe, "user", &ann, true},
                {subscribe, "users.bob", &ann, true},
                {publish, "user.bob", &ann, true},
                {publish, "user.bob", nullptr, false},
                {presence, "user.bob", &ann, false},
                {presence, "user.ann", &ann, true},
                {presence, "user.ann", nullptr, false},
                {subscribe, "user.a.b", &dotted, true},
                {subscribe, "user.a", &dotted, false},
                {subscribe, "user.ann", &wild, false}});
}

TEST_CASE("access: who is there is asked of a user's topic by its user alone, too") {
    const Config config = with_rules({"user.>: presence, presence-by=anyone"});
    const Identity ann = identity("ann", {}, {}, {"user.*", "user.bob", ">"});
    const Identity bob = identity("bob");
    check_rows(config,
               {{presence, "user.bob", &ann, false},
                {presence, "user.bob", nullptr, false},
                {presence, "user.bob", &bob, true},
                {presence, "user", &ann, true}});
}

TEST_CASE("access: what is for everything does not reach into users' topics") {
    const Identity wide = identity("wide", {}, {">", "*.bob", "*.>"});
    const Identity service = identity("service", {}, {"user.*"});
    const Identity friends = identity("friends", {}, {"user.bob"});
    check_rows(with_rules({}),
               {{publish, "user.bob", &wide, false},
                {publish, "user.bob", &service, true},
                {publish, "user.bob.x", &service, false},
                {publish, "user.bob", &friends, true},
                {publish, "user.eve", &friends, false},
                {publish, "user.wide", &wide, false},
                {publish, "user", &wide, true},
                {publish, "users.bob", &wide, true}});
    for (const char* rule : {">: publish-by=anyone", "*.>: publish-by=user"}) {
        CAPTURE(rule);
        check_rows(with_rules({rule}),
                   {{publish, "user.bob", nullptr, false},
                    {publish, "user.bob", &wide, false},
                    {publish, "user.bob", &service, true},
                    {publish, "a.bob", &friends, true}});
    }
    check_rows(with_rules({">: publish-by=nobody"}), {{publish, "user.bob", &service, false}});
    check_rows(with_rules({"user.bob: publish-by=anyone"}),
               {{publish, "user.bob", nullptr, true}, {publish, "user.eve", &wide, false}});
    // Without tokens nobody is anybody.
    Config open;
    open.anonymous_publish = true;
    check_rows(open, {{publish, "user.bob", nullptr, true}, {presence, "user.bob", nullptr, true}});
}

TEST_CASE("access: a pattern lies within what is allowed") {
    struct Line {
        const char* pattern;
        const Identity* who;
        bool may;
    };
    const Config config = with_rules({"a.secret: subscribe-by=nobody",
                                      "open.>: subscribe-by=anyone",
                                      "all.*: subscribe-by=user",
                                      "shut.>: subscribe-by=nobody"});
    const Identity ann = identity("ann", {"a.>", "b.*", "shut.x.*", "name"});
    const Identity root = identity("root", {">"});
    feed::TopicTable topics;
    const Access access(config, seed, topics);
    for (const Line& line : std::vector<Line>{{"a.>", &ann, true},
                                              {"a.*", &ann, true},
                                              {"a.*.b.>", &ann, true},
                                              {"*.a", &ann, false},
                                              {">", &ann, false},
                                              {"b.*", &ann, true},
                                              {"b.>", &ann, false},
                                              {"b.*.*", &ann, false},
                                              {"open.*", &ann, true},
                                              {"open.>", nullptr, true},
                                              {"*", nullptr, false},
                                              {"all.*", &ann, true},
                                              {"all.*", nullptr, false},
                                              {"all.>", &ann, false},
                                              {"shut.x.*", &ann, false},
                                              {">", &root, true},
                                              {"user.*", &root, true},
                                              {"user.*", &ann, false},
                                              {"shut.>", &root, false}}) {
        CAPTURE(line.pattern);
        CHECK(access.may_subscribe_to_all(line.who, line.pattern) == line.may);
    }
    CHECK_FALSE(access.may(&ann, Deed::subscribe, "a.secret"));
    const Config open;
    CHECK(Access(open, seed, topics).may_subscribe_to_all(nullptr, ">"));
}

TEST_CASE("access: a topic that is there has its rule already") {
    const Config config = with_rules({"a: subscribe-by=anyone", "b: subscribe-by=nobody"});
    feed::TopicTable topics;
    const Access access(config, seed, topics);
    for (const char* name : {"a", "b"}) {
        feed::Topic& topic =
            topics.create(name, hash_bytes(as_bytes(std::string_view(name)), seed));
        CHECK_FALSE(access.may(nullptr, Deed::subscribe, name));  // it has no rule
        topic.rule = name[0] == 'a' ? 0 : 1;
    }
    CHECK(access.may(nullptr, Deed::subscribe, "a"));
    CHECK_FALSE(access.may(nullptr, Deed::subscribe, "b"));
}
