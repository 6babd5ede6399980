#pragma once

// What the operator decided for the topics whose names match a pattern: --topic on the command
// line, [[topic]] in the configuration file. The first rule that matches a name holds for it; a
// topic that none matches has the defaults.
//
// As one line, a rule is "PATTERN: WORD, WORD=VALUE, ...", for example
// "prices.*: history=1000, history-age=60s, policy=close". The last colon ends the pattern, since
// names may contain colons and words do not; blanks around pattern, words and values do not count.
// No word at all is a rule, too: it keeps what it matches from those behind it.
//
// `rule_numbers`, `rule_switches` and `rule_rights` are the only source of names, units, ranges and
// defaults.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ringcast/units.h"

namespace ringcast {

// What happens to a reader that fell off the tail of the log: it skips and is told (an envelope
// client; a raw client cannot be told in its stream and is always closed), or it is closed.
enum class SlowPolicy : std::uint8_t { gap, close };

// Who may do a thing. `user` and `token` need --auth-alg.
enum class Who : std::uint8_t {
    anyone,  // without a token, too
    user,    // whoever shows a token
    token,   // whose token says so
    nobody,
};

struct TopicRule {
    std::string pattern;               // "prices.*", "chat.>", or one name (feed/pattern.h)
    std::optional<SlowPolicy> policy;  // none: --slow-policy
    std::string seal;                  // name of the key (seal_keys.h); empty: as it is published

    std::uint64_t history = 0;
    std::uint64_t history_bytes = 0;
    std::uint64_t history_age = 0;
    std::uint64_t keys_max = 0;
    std::uint64_t keys_bytes = 0;
    std::uint64_t flush_interval = 0;
    std::uint64_t presence_max = 0;

    bool keyed = false;
    bool presence = false;
    bool durable = false;
    bool uncompressed = false;

    // None: with --auth-alg as `token`, and history as who may subscribe; else everybody, but for
    // publishing (--anonymous-publish).
    std::optional<Who> subscribe_by;
    std::optional<Who> publish_by;
    std::optional<Who> presence_by;
    std::optional<Who> history_by;

    TopicRule() noexcept;
};

struct RuleNumber {
    const char* name;
    std::uint64_t TopicRule::*member;
    Unit unit;
    std::uint64_t fallback;
    std::uint64_t least;
    std::uint64_t most;
    const char* help;
};

struct RuleSwitch {
    const char* name;
    bool TopicRule::*member;
    const char* help;
};

struct RuleRight {
    const char* name;
    std::optional<Who> TopicRule::*member;
    const char* help;
};

inline constexpr std::array<RuleNumber, 7> rule_numbers{{
    {"history",
     &TopicRule::history,
     Unit::count,
     0,
     0,
     1'000'000'000,
     "newest records kept for those who come back; 0 = none"},
    {"history-bytes",
     &TopicRule::history_bytes,
     Unit::bytes,
     units::mib,
     64 * units::kib,
     1024 * units::gib,
     "memory of these, on each shard that reads the topic"},
    {"history-age",
     &TopicRule::history_age,
     Unit::nanos,
     0,
     0,
     1000 * units::hour,
     "how old they may be; 0s = any age"},
    {"keys-max", &TopicRule::keys_max, Unit::count, 10'000, 1, 10'000'000, "keys of a keyed topic"},
    {"keys-bytes",
     &TopicRule::keys_bytes,
     Unit::bytes,
     4 * units::mib,
     64 * units::kib,
     1024 * units::gib,
     "bytes of their latest records"},
    {"flush-interval",
     &TopicRule::flush_interval,
     Unit::nanos,
     0,
     0,
     10 * units::s,
     "how long records are gathered before they are sent; 0s = not at all"},
    {"presence-max",
     &TopicRule::presence_max,
     Unit::count,
     10'000,
     1,
     10'000'000,
     "clients that presence lists; past it they are counted"},
}};

inline constexpr std::array<RuleSwitch, 4> rule_switches{{
    {"keyed", &TopicRule::keyed, "keeps the latest record of each key: snapshots and conflation"},
    {"presence", &TopicRule::presence, "clients may ask, and are told, who is there"},
    {"durable", &TopicRule::durable, "on disk before it is acknowledged (--store)"},
    {"uncompressed", &TopicRule::uncompressed, "never compressed, whatever --compression says"},
}};

inline constexpr std::array<RuleRight, 4> rule_rights{{
    {"subscribe-by", &TopicRule::subscribe_by, "who may subscribe"},
    {"publish-by", &TopicRule::publish_by, "who may publish"},
    {"presence-by", &TopicRule::presence_by, "who may ask, and be told, who is there"},
    {"history-by", &TopicRule::history_by, "who may ask for history"},
}};

constexpr std::string_view who_words = "anyone|user|token|nobody";
[[nodiscard]] constexpr std::string_view name_of(Who who) noexcept {
    constexpr std::array<std::string_view, 4> names{"anyone", "user", "token", "nobody"};
    return names[static_cast<std::size_t>(who)];
}

constexpr std::size_t topic_rules_max = 1024;

// Each of these returns one line about the first thing that is not allowed, which begins with the
// pattern in quotes; empty when all is. Any thread.

// The whole of a line. `rule` is what it says; after a problem, no matter what.
[[nodiscard]] std::string parse_topic_rule(std::string_view text, TopicRule& rule) noexcept;
// One word, for a rule that has its pattern: a number, "true" or "false" for a switch, the name of
// a policy, one of `who_words`, or that of a key.
[[nodiscard]] std::string set_rule_word(TopicRule& rule,
                                        std::string_view word,
                                        std::string_view value) noexcept;
// The pattern, the ranges, and what goes together.
[[nodiscard]] std::string check_topic_rule(const TopicRule& rule) noexcept;

// A line that parse_topic_rule() reads as the same, if the pattern has no blank at its ends.
[[nodiscard]] std::string format_topic_rule(const TopicRule& rule) noexcept;
[[nodiscard]] std::string range_of(const RuleNumber& number) noexcept;  // "0s to 1000h"

inline TopicRule::TopicRule() noexcept {
    for (const RuleNumber& number : rule_numbers) {
        this->*number.member = number.fallback;
    }
}

}  // namespace ringcast
