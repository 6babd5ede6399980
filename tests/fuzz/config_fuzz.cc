// Property: whatever the configuration file holds, there is either a Config that check() allows,
// and which written out as a file is read as the same again; or exactly one line that names the
// file.

#include <sstream>
#include <string>
#include <string_view>

#include <toml++/toml.h>

#include "app/config_file.h"
#include "app/settings.h"
#include "base/bytes.h"
#include "tests/fuzz/split.h"

using namespace ringcast;

namespace {

constexpr const char* file = "f.toml";

template <typename Value>
void put(toml::table& table, std::string_view key, Value value) {
    table.insert_or_assign(key, value);
}

void put_number(toml::table& table, const char* name, std::uint64_t number, Unit unit) {
    if (unit == Unit::count) {
        put(table, name, static_cast<std::int64_t>(number));
    } else {
        put(table, name, format_number(number, unit));
    }
}

toml::table written(const TopicRule& rule) {
    toml::table table;
    put(table, "pattern", rule.pattern);
    for (const RuleNumber& number : rule_numbers) {
        put_number(table, number.name, rule.*number.member, number.unit);
    }
    for (const RuleSwitch& at : rule_switches) {
        put(table, at.name, rule.*at.member);
    }
    for (const RuleRight& right : rule_rights) {
        if (rule.*right.member) put(table, right.name, std::string(name_of(*(rule.*right.member))));
    }
    if (rule.policy) put(table, "policy", rule.policy == SlowPolicy::gap ? "gap" : "close");
    if (!rule.seal.empty()) put(table, "seal", rule.seal);
    return table;
}

std::string written(const Config& config) {
    toml::table table;
    for (const NumberFlag& flag : number_flags) {
        put_number(table, flag.name, config.*flag.member, flag.unit);
    }
    for (const SwitchFlag& flag : switch_flags) {
        put(table, flag.name, config.*flag.member);
    }
    for (const app::ListFlag& flag : app::list_flags) {
        toml::array list;
        for (const std::string& item : config.*flag.member) {
            list.push_back(item);
        }
        put(table, flag.name, list);
    }
    put(table, "pin", config.pin);
    put(table, "congestion", config.congestion);
    if (config.auth_alg != TokenAlgorithm::none) {
        put(table, "auth-alg", std::string(name_of(config.auth_alg)));
    }
    for (const auto& [name, text] : {std::pair{"auth-key-file", &config.auth_key_file},
                                     std::pair{"auth-jwks-file", &config.auth_jwks_file},
                                     std::pair{"auth-issuer", &config.auth_issuer},
                                     std::pair{"auth-audience", &config.auth_audience}}) {
        if (!text->empty()) put(table, name, *text);
    }
    if (!config.store.empty()) put(table, "store", config.store);
    if (!config.seal_keys_file.empty()) put(table, "seal-keys-file", config.seal_keys_file);
    put(table, "slow-policy", config.slow_policy == SlowPolicy::gap ? "gap" : "close");
    put(table,
        "io",
        config.io == Io::automatic ? "auto"
        : config.io == Io::uring   ? "uring"
                                   : "epoll");
    toml::array rules;
    for (const TopicRule& rule : config.topic) {
        rules.push_back(written(rule));
    }
    put(table, "topic", rules);
    std::ostringstream text;
    text << table;
    return text.str();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Config config;
    const std::string_view text = as_text(std::as_bytes(std::span(data, size)));
    const std::string problem = app::read_config_text(text, file, config);
    if (problem.empty()) {
        test::demand(check(config).empty(), "what was read is allowed");
        const std::string first = written(config);
        Config again;
        test::demand(app::read_config_text(first, file, again).empty(), "it can be written");
        test::demand(written(again) == first, "and is read as the same");
        return 0;
    }
    test::demand(problem.starts_with(file), "a problem names the file first");
    for (const char c : problem) {
        test::demand(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "and is one line");
    }
    return 0;
}
