#include "node/topic_rules.h"

#include <algorithm>

#include "ringcast/seal_keys.h"

#include "base/check.h"
#include "feed/pattern.h"
#include "feed/topic.h"
#include "wire/envelope.h"

namespace ringcast {

namespace {

constexpr std::string_view policy_name = "policy";
constexpr std::string_view policy_values = "gap|close";
constexpr std::string_view seal_name = "seal";

std::string quoted(std::string_view text) {
    return "'" + std::string(text) + "'";
}

std::string problem_of(std::string_view pattern, std::string_view what) {
    return quoted(pattern) + ": " + std::string(what);
}

std::string not_allowed(const TopicRule& rule,
                        std::string_view word,
                        std::string_view value,
                        std::string_view allowed) {
    const std::string name(word);
    return problem_of(rule.pattern,
                      quoted(name + "=" + std::string(value)) + " is not allowed: " + name + "=" +
                          std::string(allowed));
}

std::string_view trimmed(std::string_view text) noexcept {
    const std::size_t first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::string all_words() {
    std::string words;
    for (const RuleNumber& number : rule_numbers) {
        words += std::string(number.name) + "=, ";
    }
    for (const RuleSwitch& at : rule_switches) {
        words += std::string(at.name) + ", ";
    }
    for (const RuleRight& right : rule_rights) {
        words += std::string(right.name) + "=, ";
    }
    return words + std::string(policy_name) + "=, " + std::string(seal_name) + "=";
}

template <typename Row, std::size_t count>
const Row* find_row(const std::array<Row, count>& rows, std::string_view name) noexcept {
    const auto found = std::find_if(rows.begin(), rows.end(), [=](const Row& row) {
        return std::string_view(row.name) == name;
    });
    return found == rows.end() ? nullptr : &*found;
}

std::string set_number(TopicRule& rule, const RuleNumber& number, std::string_view value) {
    std::uint64_t read = 0;
    const bool good =
        parse_number(value, number.unit, read) && read >= number.least && read <= number.most;
    if (!good) return not_allowed(rule, number.name, value, range_of(number));
    rule.*number.member = read;
    return {};
}

std::string set_policy(TopicRule& rule, std::string_view value) {
    if (value != "gap" && value != "close") {
        return not_allowed(rule, policy_name, value, policy_values);
    }
    rule.policy = value == "gap" ? SlowPolicy::gap : SlowPolicy::close;
    return {};
}

std::string set_right(TopicRule& rule, const RuleRight& right, std::string_view value) {
    for (const Who who : {Who::anyone, Who::user, Who::token, Who::nobody}) {
        if (name_of(who) != value) continue;
        rule.*right.member = who;
        return {};
    }
    return not_allowed(rule, right.name, value, who_words);
}

std::string set_seal(TopicRule& rule, std::string_view value) {
    if (!seal_name_valid(value)) {
        return not_allowed(rule, seal_name, value, "the name of a key in --seal-keys-file");
    }
    rule.seal = value;
    return {};
}

std::string check_pattern(std::string_view pattern) {
    if (!wire::topic_valid(pattern)) {
        return problem_of(pattern,
                          "a pattern has 1 to 255 bytes of UTF-8, without control characters");
    }
    if (feed::kind_of(pattern) == feed::NameKind::broken) {
        return problem_of(pattern, "> stands at the end of a pattern, or nowhere");
    }
    return {};
}

[[nodiscard]] bool is_set(const TopicRule& rule, std::string_view name) noexcept {
    const RuleNumber* number = find_row(rule_numbers, name);
    return rule.*number->member != number->fallback;
}

// Words that would do nothing beside the others: who writes them expects something.
std::string check_together(const TopicRule& rule) {
    for (const char* name : {"history", "history-bytes", "history-age"}) {
        if (rule.keyed && is_set(rule, name)) {
            return problem_of(rule.pattern,
                              std::string(name) +
                                  " is not for keyed, which keeps the latest of each key instead");
        }
        if (rule.history == 0 && is_set(rule, name)) {
            return problem_of(rule.pattern, std::string(name) + " needs history=N");
        }
    }
    for (const char* name : {"keys-max", "keys-bytes"}) {
        if (!rule.keyed && is_set(rule, name)) {
            return problem_of(rule.pattern, std::string(name) + " needs keyed");
        }
    }
    if (!rule.presence && is_set(rule, "presence-max")) {
        return problem_of(rule.pattern, "presence-max needs presence");
    }
    if (rule.keyed && rule.policy.has_value()) {
        return problem_of(rule.pattern,
                          "policy is not for keyed, whose slow readers skip what was superseded");
    }
    return {};
}

// Takes the next word off the front of `rest`.
std::string set_next_word(TopicRule& rule, std::string_view& rest, std::string& seen) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = trimmed(rest.substr(0, comma));
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);

    const std::size_t equals = item.find('=');
    const std::string_view word = trimmed(item.substr(0, equals));
    const std::string marked = "," + std::string(word) + ",";
    if (seen.find(marked) != std::string::npos) {
        return problem_of(rule.pattern, quoted(word) + " is there twice");
    }
    seen += marked;
    if (equals != std::string_view::npos) {
        return set_rule_word(rule, word, trimmed(item.substr(equals + 1)));
    }
    const bool is_switch = find_row(rule_switches, word) != nullptr;
    return set_rule_word(rule, word, is_switch ? "true" : "");
}

}  // namespace

std::string range_of(const RuleNumber& number) noexcept {
    return format_number(number.least, number.unit) + " to " +
           format_number(number.most, number.unit);
}

std::string set_rule_word(TopicRule& rule, std::string_view word, std::string_view value) noexcept {
    if (word == policy_name) return set_policy(rule, value);
    if (word == seal_name) return set_seal(rule, value);
    if (const RuleNumber* number = find_row(rule_numbers, word); number != nullptr) {
        return set_number(rule, *number, value);
    }
    if (const RuleRight* right = find_row(rule_rights, word); right != nullptr) {
        return set_right(rule, *right, value);
    }
    const RuleSwitch* found = find_row(rule_switches, word);
    if (found == nullptr) {
        return problem_of(rule.pattern, quoted(word) + " is not allowed: " + all_words());
    }
    if (value != "true" && value != "false") {
        return not_allowed(rule, word, value, "true|false");
    }
    rule.*found->member = value == "true";
    return {};
}

std::string parse_topic_rule(std::string_view text, TopicRule& rule) noexcept {
    rule = TopicRule();
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return problem_of(text, "a colon ends the pattern: 'PATTERN: WORD, WORD=VALUE, ...'");
    }
    rule.pattern = trimmed(text.substr(0, colon));
    std::string problem = check_pattern(rule.pattern);
    std::string_view rest = trimmed(text.substr(colon + 1));
    std::string seen;
    while (problem.empty() && !rest.empty()) {
        problem = set_next_word(rule, rest, seen);
    }
    return problem.empty() ? check_together(rule) : problem;
}

std::string check_topic_rule(const TopicRule& rule) noexcept {
    if (std::string problem = check_pattern(rule.pattern); !problem.empty()) return problem;
    for (const RuleNumber& number : rule_numbers) {
        const std::uint64_t value = rule.*number.member;
        if (value >= number.least && value <= number.most) continue;
        return not_allowed(rule, number.name, format_number(value, number.unit), range_of(number));
    }
    if (!rule.seal.empty() && !seal_name_valid(rule.seal)) {
        return not_allowed(rule, seal_name, rule.seal, "the name of a key in --seal-keys-file");
    }
    return check_together(rule);
}

std::string format_topic_rule(const TopicRule& rule) noexcept {
    std::string words;
    for (const RuleNumber& number : rule_numbers) {
        const std::uint64_t value = rule.*number.member;
        if (value == number.fallback) continue;
        words += (words.empty() ? " " : ", ") + std::string(number.name) + "=" +
                 format_number(value, number.unit);
    }
    for (const RuleSwitch& at : rule_switches) {
        if (rule.*at.member) words += (words.empty() ? " " : ", ") + std::string(at.name);
    }
    for (const RuleRight& right : rule_rights) {
        if (!(rule.*right.member).has_value()) continue;
        words += (words.empty() ? " " : ", ") + std::string(right.name) + "=" +
                 std::string(name_of(*(rule.*right.member)));
    }
    if (rule.policy.has_value()) {
        words += (words.empty() ? " " : ", ") + std::string(policy_name) + "=" +
                 (*rule.policy == SlowPolicy::gap ? "gap" : "close");
    }
    if (!rule.seal.empty()) {
        words += (words.empty() ? " " : ", ") + std::string(seal_name) + "=" + rule.seal;
    }
    return rule.pattern + ":" + words;
}

namespace node {

std::uint16_t rule_number(const Config& config, std::string_view name) noexcept {
    RC_CHECK(config.topic.size() < feed::no_rule);  // rules_max
    for (std::size_t number = 0; number < config.topic.size(); number++) {
        if (feed::matches(config.topic[number].pattern, name)) {
            return static_cast<std::uint16_t>(number);
        }
    }
    return feed::no_rule;
}

const TopicRule& numbered_rule(const Config& config, std::uint16_t number) noexcept {
    static const TopicRule defaults;
    if (number == feed::no_rule) return defaults;
    RC_CHECK(number < config.topic.size());
    return config.topic[number];
}

}  // namespace node

}  // namespace ringcast
