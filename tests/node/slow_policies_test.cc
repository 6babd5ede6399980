#include "node/slow_policies.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "feed/pattern.h"
#include "node/close_codes.h"
#include "node/topic_rules.h"
#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

TopicRule rule_of(std::string_view text) {
    TopicRule rule;
    REQUIRE(parse_topic_rule(text, rule) == "");
    return rule;
}

Config ruled_config() {
    Config config = open_config();
    config.topic_log_max = 16 * 1024;
    config.topic = {rule_of("plain.closing: policy=close"),
                    rule_of("prices.*: keyed"),
                    rule_of("plain.>: policy=gap")};
    return config;
}

// A topic with an envelope reader on each shard, and one who publishes.
struct Scene {
    explicit Scene(const std::string& prefix, const Config& config = ruled_config())
        : cluster(config, 3), topic(cluster.topic_at(1, prefix)), publisher(cluster.greet(0)) {}

    void subscribe() {
        for (std::uint32_t shard = 0; shard < 3; shard++) {
            readers.push_back(&cluster.greet(shard));
            readers.back()->say(R"({"type":"subscribe","topic":")" + topic + R"("})");
            cluster.settle();
            CHECK(Json(readers.back()->take_one()).text("type") == "subscribed");
        }
    }
    // So much that whoever does not read falls off.
    void flood(int records = 60) {
        const std::string payload(900, 'x');
        for (int i = 0; i < records; i++) {
            publisher.say(R"({"type":"publish","topic":")" + topic + R"(","payload":")" + payload +
                          R"("})");
            cluster.settle();
            cluster.advance(20 * nanos_per_ms);
        }
    }
    void fall_off() {
        for (Client* reader : readers)
            reader->socket->room = 10;
        flood();
    }
    // What each of them came to hear: "gap", or a close code.
    void expect_all(const std::string& what) {
        for (Client* reader : readers) {
            reader->socket->room = FakeSocket::endless;
            cluster.settle();
            bool gap = false;
            for (const Frame& frame : reader->take()) {
                gap = gap || (frame.op == Op::text && Json(frame.payload).text("type") == "gap");
            }
            CHECK(gap == (what == "gap"));
            CHECK(reader->close_code() == (what == "gap" ? 0 : close_codes::slow_consumer));
        }
    }

    Cluster cluster;
    std::string topic;
    Client& publisher;
    std::vector<Client*> readers;
};

}  // namespace

TEST_CASE("slow policies: what the rule says holds, and --slow-policy where it says nothing") {
    Scene closing("plain.t", [] {
        Config config = ruled_config();
        config.topic.back().policy = SlowPolicy::close;
        return config;
    }());
    closing.subscribe();
    closing.fall_off();
    closing.expect_all("close");

    Scene spared("plain.t", [] {
        Config config = ruled_config();
        config.slow_policy = SlowPolicy::close;
        return config;
    }());
    spared.subscribe();
    spared.fall_off();
    spared.expect_all("gap");

    Scene other("other", [] {
        Config config = ruled_config();
        config.slow_policy = SlowPolicy::close;
        return config;
    }());
    other.subscribe();
    other.fall_off();
    other.expect_all("close");
}

TEST_CASE("slow policies: a change holds on all shards for those who are behind already") {
    Scene scene("plain.t");
    scene.subscribe();
    for (Client* reader : scene.readers)
        reader->socket->room = 10;
    scene.flood(3);  // behind, and nothing is gone yet
    post_policy(scene.cluster.mesh, "plain.*", SlowPolicy::close);
    scene.cluster.settle();
    scene.flood();
    scene.expect_all("close");

    Scene back("plain.t");
    back.subscribe();
    post_policy(back.cluster.mesh, ">", SlowPolicy::close);
    back.fall_off();
    post_policy(back.cluster.mesh, back.topic, SlowPolicy::gap);
    back.cluster.settle();
    back.expect_all("gap");  // they have fallen off, but nobody has dealt with them
}

TEST_CASE("slow policies: a change holds for topics that come later, and for no others") {
    Scene scene("plain.t");
    post_policy(scene.cluster.mesh, "plain.>", SlowPolicy::close);
    scene.cluster.settle();
    scene.subscribe();
    scene.fall_off();
    scene.expect_all("close");

    Scene other("other");
    post_policy(other.cluster.mesh, "plain.>", SlowPolicy::close);
    other.cluster.settle();
    other.subscribe();
    other.fall_off();
    other.expect_all("gap");
}

TEST_CASE("slow policies: what no topic can have is refused, with the rule that is against it") {
    const Config config = ruled_config();
    const struct {
        const char* pattern;
        const char* policy;
        const char* problem;  // the beginning; empty: allowed
    } rows[] = {
        {"plain.>", "close", ""},
        {"plain.closing", "gap", ""},
        {"elsewhere", "close", ""},
        {"prices.eur.bid", "close", ""},  // the rule is for one token alone
        {"prices.*", "conflate", ""},
        {"prices.eur", "conflate", ""},
        {"prices.eur",
         "close",
         "'prices.eur': policy=close is not for keyed ('prices.*'), whose slow readers skip what "
         "was superseded"},
        {">", "gap", "'>': policy=gap is not for keyed ('prices.*')"},
        {"*.*", "close", "'*.*': policy=close is not for keyed"},
        {"prices.>",
         "conflate",
         "'prices.>': policy=conflate is for keyed alone, and no rule says that of all these"},
        {"plain.a", "conflate", "'plain.a': policy=conflate is for keyed alone, which 'plain.>'"},
        {"other", "conflate", "'other': policy=conflate is for keyed alone, and no rule"},
        {"other", "drop", "'other': 'policy=drop' is not allowed: policy=gap|close|conflate"},
        {"other", "", "'other': 'policy=' is not allowed"},
        {"", "gap", "'': a pattern has 1 to 255 bytes"},
        {"a.>.b", "gap", "'a.>.b': > stands at the end of a pattern"},
        {"a\nb", "close", "'a\nb': a pattern has"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.pattern);
        CAPTURE(row.policy);
        const std::string problem = check_policy(config, row.pattern, row.policy);
        CHECK(problem.starts_with(row.problem));
        CHECK(problem.empty() == std::string_view(row.problem).empty());
    }
}

TEST_CASE("slow policies: there is room for so many, and one takes the place of those it covers") {
    const Config config;
    SlowPolicies policies(config);
    for (std::size_t i = 0; i < SlowPolicies::changes_max; i++) {
        REQUIRE(policies.set("a." + std::to_string(i), SlowPolicy::close));
    }
    CHECK_FALSE(policies.set("b", SlowPolicy::close));
    CHECK(policies.set("a.7", SlowPolicy::gap));
    CHECK(policies.size() == SlowPolicies::changes_max);
    CHECK(policies.set("a.*", SlowPolicy::gap));
    CHECK(policies.size() == 1);
    CHECK(policies.set("b", SlowPolicy::close));
}

TEST_CASE("slow policies: after random changes each topic has the newest that matches it") {
    Config config;
    config.topic = {rule_of("a.*: policy=close"), rule_of("b.>: policy=gap")};
    Random random(5);
    feed::TopicTable topics;
    std::vector<std::string> names;
    for (const char* first : {"a", "b", "c"}) {
        for (const char* second : {"", ".a", ".b", ".a.b"}) {
            names.push_back(std::string(first) + second);
            topics.create(names.back(), names.size()).rule = rule_number(config, names.back());
        }
    }
    const std::vector<std::string> patterns = {">", "a.*", "*", "*.a", "b.>", "a", "c.a.b", "*.*"};
    auto policies = std::make_unique<SlowPolicies>(config);
    std::deque<std::pair<std::string, SlowPolicy>> changes;  // the newest first
    for (int step = 0; step < 2'000; step++) {
        const std::string& pattern = patterns[random.below(patterns.size())];
        const SlowPolicy policy = random.chance(1, 2) ? SlowPolicy::gap : SlowPolicy::close;
        REQUIRE(policies->set(pattern, policy));
        if (random.chance(1, 50)) {
            policies = std::make_unique<SlowPolicies>(config);
            changes.clear();
            continue;
        }
        changes.emplace_front(pattern, policy);
        for (std::size_t i = 0; i < names.size(); i++) {
            SlowPolicy expected = numbered_rule(config, rule_number(config, names[i]))
                                      .policy.value_or(config.slow_policy);
            for (auto at = changes.rbegin(); at != changes.rend(); ++at) {
                if (feed::matches(at->first, names[i])) expected = at->second;
            }
            REQUIRE(policies->of(*topics.find(names[i], i + 1)) == expected);
        }
    }
}
