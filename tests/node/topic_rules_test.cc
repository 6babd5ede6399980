// The operator's rules for topics: as one line, word by word, and which of them holds.

#include "node/topic_rules.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;

namespace {

const TopicRule& rule_of(const Config& config, std::string_view name) {
    return node::numbered_rule(config, node::rule_number(config, name));
}

TopicRule parsed(std::string_view text) {
    TopicRule rule;
    const std::string problem = parse_topic_rule(text, rule);
    REQUIRE_MESSAGE(problem.empty(), problem);
    return rule;
}

std::string problem_of(std::string_view text) {
    TopicRule rule;
    return parse_topic_rule(text, rule);
}

// Any rule that is allowed.
TopicRule drawn(Random& random) {
    static const std::array<const char*, 6> patterns{
        "a", "a.*", ">", "a:b", "*.b c.>", "\xe2\x82\xac,=x"};
    TopicRule rule;
    rule.pattern = patterns[random.below(patterns.size())];
    rule.keyed = random.below(2) == 0;
    rule.presence = random.below(2) == 0;
    rule.durable = random.below(2) == 0;
    rule.uncompressed = random.below(2) == 0;
    if (!rule.keyed && random.below(2) == 0) rule.history = 1;  // so that what needs it may come
    for (const RuleNumber& number : rule_numbers) {
        if (random.below(2) == 0) continue;
        TopicRule tried = rule;
        tried.*number.member = number.least + random.below(number.most - number.least + 1);
        if (check_topic_rule(tried).empty()) rule = tried;
    }
    if (!rule.keyed && random.below(2) == 0) rule.policy = SlowPolicy::close;
    for (const RuleRight& right : rule_rights) {
        const std::uint64_t who = random.below(5);
        if (who < 4) rule.*right.member = static_cast<Who>(who);
    }
    if (random.below(2) == 0) rule.seal = "Key_1.a-b";
    return rule;
}

bool same(const TopicRule& a, const TopicRule& b) {
    for (const RuleNumber& number : rule_numbers) {
        if (a.*number.member != b.*number.member) return false;
    }
    for (const RuleSwitch& at : rule_switches) {
        if (a.*at.member != b.*at.member) return false;
    }
    for (const RuleRight& right : rule_rights) {
        if (a.*right.member != b.*right.member) return false;
    }
    return a.pattern == b.pattern && a.policy == b.policy && a.seal == b.seal;
}

}  // namespace

TEST_CASE("topic rules: a line says pattern and words, and nothing else changes") {
    const TopicRule rule = parsed(
        "prices.*: history=1000, history-age=60s ,history-bytes = 4MiB,presence, policy=close");
    CHECK(rule.pattern == "prices.*");
    CHECK(rule.history == 1000);
    CHECK(rule.history_age == 60 * units::s);
    CHECK(rule.history_bytes == 4 * units::mib);
    CHECK(rule.presence);
    CHECK(rule.policy == SlowPolicy::close);
    CHECK_FALSE(rule.keyed);
    CHECK(rule.keys_max == TopicRule().keys_max);
    CHECK(parsed("a: keyed=false").keyed == false);
    CHECK(parsed("a: subscribe-by=anyone").subscribe_by == Who::anyone);
    CHECK(parsed("a: publish-by=user, keyed").publish_by == Who::user);
    CHECK(parsed("a: presence-by=token").presence_by == Who::token);
    CHECK(parsed("a: history-by=nobody").history_by == Who::nobody);
    CHECK_FALSE(parsed("a: history-by=nobody").subscribe_by.has_value());
    CHECK(problem_of("a: publish-by=all") ==
          "'a': 'publish-by=all' is not allowed: publish-by=anyone|user|token|nobody");
    CHECK(problem_of("a: publish-by").starts_with("'a': 'publish-by=' is not allowed"));
    CHECK(parsed("a: policy=gap").policy == SlowPolicy::gap);
    CHECK(same(parsed(" a:"), parsed("a:  ")));
    CHECK_FALSE(parsed("a:").policy.has_value());
}

TEST_CASE("topic rules: the last colon ends the pattern") {
    CHECK(parsed("chat:room:1: keyed").pattern == "chat:room:1");
    CHECK(parsed("::").pattern == ":");
    CHECK(parsed("a, b=c d: keyed").pattern == "a, b=c d");
}

TEST_CASE("topic rules: what is not allowed is named, with what is") {
    struct Row {
        const char* text;
        const char* problem;
    };
    const std::string words =
        "history=, history-bytes=, history-age=, keys-max=, keys-bytes=, flush-interval=, "
        "presence-max=, keyed, "
        "presence, durable, uncompressed, subscribe-by=, publish-by=, presence-by=, history-by=, "
        "policy=, seal=";
    for (const Row& row : std::array<Row, 25>{{
             {"", "'': a colon ends the pattern"},
             {"prices.*", "'prices.*': a colon ends the pattern"},
             {": keyed", "'': a pattern has 1 to 255 bytes"},
             {"a\x01: keyed", "a pattern has 1 to 255 bytes"},
             {"\xff: keyed", "a pattern has 1 to 255 bytes"},
             {"a.>.b: keyed", "'a.>.b': > stands at the end"},
             {"a: histry=1", "'a': 'histry' is not allowed: "},
             {"a: histry=1", words.c_str()},
             {"a: keyed,,", "'' is not allowed"},
             {"a: history", "'history=' is not allowed: history=0 to 1000000000"},
             {"a: history=1000000001", "'history=1000000001' is not allowed: history=0 to"},
             {"a: history=-1", "'history=-1'"},
             {"a: history=1=2", "'history=1=2'"},
             {"a: history=1, history-age=60", "history-age=0 to 1000h"},
             {"a: keyed=maybe", "'keyed=maybe' is not allowed: keyed=true|false"},
             {"a: policy", "'policy=' is not allowed: policy=gap|close"},
             {"a: policy=drop", "'policy=drop' is not allowed: policy=gap|close"},
             {"a: keyed, keyed", "'keyed' is there twice"},
             {"a: seal", "'seal=' is not allowed: seal=the name of a key in --seal-keys-file"},
             {"a: seal=b/c", "'seal=b/c' is not allowed: seal=the name of a key"},
             {"a: keyed, history=5", "history is not for keyed"},
             {"a: history-age=5s", "history-age needs history"},
             {"a: keys-max=5", "keys-max needs keyed"},
             {"a: presence-max=5", "presence-max needs presence"},
             {"a: keyed, policy=close", "policy is not for keyed"},
         }}) {
        CAPTURE(row.text);
        const std::string said = problem_of(row.text);
        CAPTURE(said);
        CHECK(said.find(row.problem) != std::string::npos);
    }
    CHECK_FALSE(problem_of(std::string(256, 'a') + ": keyed").empty());
    CHECK(problem_of(std::string(255, 'a') + ": keyed").empty());
}

TEST_CASE("topic rules: what is written is read as the same") {
    Random random(7);
    for (int i = 0; i < 2000; i++) {
        const TopicRule rule = drawn(random);
        const std::string line = format_topic_rule(rule);
        CAPTURE(line);
        REQUIRE(check_topic_rule(rule).empty());
        CHECK(same(parsed(line), rule));
    }
}

TEST_CASE("topic rules: the first that matches a name holds, or the defaults") {
    Config config;
    config.topic = {parsed("prices.internal:"),
                    parsed("prices.*: history=7"),
                    parsed(">: keyed"),
                    parsed("prices.x: history=9")};
    CHECK(rule_of(config, "prices.x").history == 7);
    CHECK(rule_of(config, "prices.internal").history == 0);
    CHECK_FALSE(rule_of(config, "prices.internal").keyed);
    CHECK(rule_of(config, "prices.x.y").keyed);
    CHECK(&rule_of(config, "a") == &config.topic[2]);
    config.topic.pop_back();
    config.topic.pop_back();
    CHECK(same(rule_of(config, "a"), TopicRule()));
}
