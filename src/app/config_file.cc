#include "app/config_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include <toml++/toml.h>

#include "app/settings.h"

namespace ringcast::app {

namespace {

using Entry = std::pair<const toml::key*, const toml::node*>;

// In the order of the file, so that the first problem is the topmost one. The parser's own order
// is that of the alphabet.
std::vector<Entry> entries_of(const toml::table& table) {
    std::vector<Entry> entries;
    for (const auto& [key, node] : table) {
        entries.emplace_back(&key, &node);
    }
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return a.first->source().begin.line < b.first->source().begin.line;
    });
    return entries;
}

std::string at(const std::string& file, const toml::source_region& place, std::string_view what) {
    return file + ":" + std::to_string(place.begin.line) + ": " + std::string(what);
}

// A number or word as the command line would say it; none if it is of another type.
std::optional<std::string> text_of(const toml::node& node, bool integer, bool string) {
    if (integer && node.is_integer()) return std::to_string(node.as_integer()->get());
    if (string && node.is_string()) return node.as_string()->get();
    return std::nullopt;
}

std::optional<std::string> text_of(const toml::node& node, Unit unit) {
    return text_of(node, unit != Unit::nanos, unit != Unit::count);
}

const char* type_of(Unit unit) {
    return unit == Unit::count   ? "an integer is needed"
           : unit == Unit::nanos ? "a string is needed, as \"25s\""
                                 : "a string as \"64KiB\" is needed, or an integer of bytes";
}

const char* type_of(const WordFlag& flag) {
    return flag.integer ? "an integer is needed" : "a string is needed";
}

std::string set_list(const toml::node& node, std::vector<std::string>& list) {
    constexpr const char* needed = "an array of strings is needed";
    list.clear();
    if (!node.is_array()) return needed;
    for (const toml::node& item : *node.as_array()) {
        if (!item.is_string()) return needed;
        list.push_back(item.as_string()->get());
    }
    return {};
}

std::string set_switch(const toml::node& node, bool& target) {
    if (!node.is_boolean()) return "true or false is needed";
    target = node.as_boolean()->get();
    return {};
}

// One entry of a [[topic]] table, but its pattern.
std::string set_in_rule(TopicRule& rule, std::string_view key, const toml::node& node) {
    for (const RuleNumber& number : rule_numbers) {
        if (key != number.name) continue;
        const auto text = text_of(node, number.unit);
        return text ? set_rule_word(rule, key, *text) : type_of(number.unit);
    }
    for (const RuleSwitch& it : rule_switches) {
        if (key == it.name) return set_switch(node, rule.*it.member);
    }
    const auto text = text_of(node, false, true);
    const bool is_word = key == "policy" || key == "seal" ||
                         std::any_of(rule_rights.begin(), rule_rights.end(), [=](const auto& it) {
                             return key == it.name;
                         });
    if (is_word && !text) return "a string is needed";
    return set_rule_word(rule, key, text.value_or(""));  // or says which words there are
}

std::string read_rule(const toml::table& table, const std::string& file, TopicRule& rule) {
    const toml::node* pattern = table.get("pattern");
    if (pattern == nullptr) return at(file, table.source(), "topic: it has no pattern");
    if (!pattern->is_string()) {
        return at(file, pattern->source(), "topic.pattern: a string is needed");
    }
    rule.pattern = pattern->as_string()->get();
    for (const auto& [key, node] : entries_of(table)) {
        if (node == pattern) continue;
        const std::string problem = set_in_rule(rule, key->str(), *node);
        if (problem.empty()) continue;
        return at(file, key->source(), "topic." + std::string(key->str()) + ": " + problem);
    }
    const std::string problem = check_topic_rule(rule);
    return problem.empty() ? problem : at(file, table.source(), "topic: " + problem);
}

std::string read_rules(const toml::node& node, const std::string& file, Config& config) {
    constexpr const char* needed = "topic: rules are [[topic]] tables";
    if (!node.is_array()) return at(file, node.source(), needed);
    for (const toml::node& item : *node.as_array()) {
        if (!item.is_table()) return at(file, item.source(), needed);
        std::string problem = read_rule(*item.as_table(), file, config.topic.emplace_back());
        if (!problem.empty()) return problem;
    }
    return {};
}

// One entry at the top of the file, but the rules.
std::string set_at_top(Config& config, std::string_view key, const toml::node& node) {
    for (const NumberFlag& flag : number_flags) {
        if (key != flag.name) continue;
        const auto text = text_of(node, flag.unit);
        return text ? set_number(config, flag, *text) : type_of(flag.unit);
    }
    for (const SwitchFlag& flag : switch_flags) {
        if (key == flag.name) return set_switch(node, config.*flag.member);
    }
    for (const ListFlag& flag : list_flags) {
        if (key == flag.name) return set_list(node, config.*flag.member);
    }
    for (const WordFlag& flag : word_flags) {
        if (key != flag.name) continue;
        const auto text = text_of(node, flag.integer, !flag.integer);
        return text ? set_word(config, flag, *text) : type_of(flag);
    }
    for (const WordFlag& flag : auth_flags) {
        if (key != flag.name) continue;
        const auto text = text_of(node, false, true);
        return text ? set_word(config, flag, *text) : type_of(flag);
    }
    return "is no setting: see ringcastd serve --help";
}

// What check() says begins with the name of a flag: it is shown where that flag stands.
std::string placed(const std::string& problem, const std::string& file, const toml::table& root) {
    const std::string_view said(problem);
    const std::string_view key = said.substr(2, said.find_first_of(": ") - 2);
    const auto found = root.find(key);
    if (found == root.end()) return file + ": " + problem;
    return at(file, found->first.source(), said.substr(2));
}

std::string read_text(std::string_view text, const std::string& file, Config& config) {
    toml::table root;
    try {
        root = toml::parse(text, file);
    } catch (const toml::parse_error& error) {
        return at(file, error.source(), error.description());
    }
    for (const auto& [key, node] : entries_of(root)) {
        if (key->str() == "topic") {
            std::string problem = read_rules(*node, file, config);
            if (!problem.empty()) return problem;
            continue;
        }
        const std::string problem = set_at_top(config, key->str(), *node);
        if (problem.empty()) continue;
        return at(file, key->source(), std::string(key->str()) + ": " + problem);
    }
    const std::string problem = check(config);
    return problem.empty() ? problem : placed(problem, file, root);
}

struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

std::string read_config_text(std::string_view text, const std::string& file, Config& config) {
    return as_line(read_text(text, file, config));
}

std::string read_config_file(const std::string& file, Config& config) {
    const std::unique_ptr<std::FILE, Close> opened(std::fopen(file.c_str(), "re"));
    if (opened == nullptr) return "--config " + file + ": " + strerrordesc_np(errno);
    std::string text(config_file_size_max + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), opened.get()));
    if (std::ferror(opened.get()) != 0) return "--config " + file + ": " + strerrordesc_np(errno);
    if (text.size() > config_file_size_max) {
        return "--config " + file + ": larger than " +
               format_number(config_file_size_max, Unit::bytes);
    }
    return read_config_text(text, file, config);
}

}  // namespace ringcast::app
