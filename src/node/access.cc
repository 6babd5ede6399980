#include "node/access.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/hash.h"
#include "feed/pattern.h"
#include "node/topic_rules.h"

namespace ringcast::node {

namespace {

constexpr std::string_view user_prefix = "user.";

// A topic of a user; a pattern that speaks of these, and not only of everything.
[[nodiscard]] bool is_of_user(std::string_view name) noexcept {
    return name.starts_with(user_prefix);
}

[[nodiscard]] bool says_who(const TopicRule& rule) noexcept {
    return std::any_of(rule_rights.begin(), rule_rights.end(), [&](const RuleRight& right) {
        return (rule.*right.member).has_value();
    });
}

[[nodiscard]] bool allows_anyone(const TopicRule& rule) noexcept {
    return std::any_of(rule_rights.begin(), rule_rights.end(), [&](const RuleRight& right) {
        return rule.*right.member == Who::anyone;
    });
}

// What its token says of a deed. Whoever may subscribe sees what there was.
[[nodiscard]] const std::vector<std::string>& granted(const Identity& identity,
                                                      Deed deed) noexcept {
    switch (deed) {
        case Deed::publish:
            return identity.claims.publish;
        case Deed::presence:
            return identity.claims.presence;
        case Deed::subscribe:
        case Deed::history:
            break;
    }
    return identity.claims.subscribe;
}

// What a rule says of this client; nothing: its token has to say it.
[[nodiscard]] std::optional<bool> by_rule(Who who, const Identity* identity) noexcept {
    switch (who) {
        case Who::anyone:
            return true;
        case Who::user:
            return identity != nullptr;
        case Who::token:
            break;
        case Who::nobody:
            return false;
    }
    if (identity == nullptr) return false;
    return std::nullopt;
}

}  // namespace

const TopicRule* first_anonymous_rule(const Config& config) noexcept {
    if (config.auth_alg == TokenAlgorithm::none) return nullptr;
    const auto found = std::find_if(config.topic.begin(), config.topic.end(), allows_anyone);
    return found == config.topic.end() ? nullptr : &*found;
}

Access::Access(const Config& config, std::uint64_t hash_seed, feed::TopicTable& topics) noexcept
    : config_(config),
      hash_seed_(hash_seed),
      topics_(topics),
      tokens_(config.auth_alg != TokenAlgorithm::none),
      restricts_(tokens_ || std::any_of(config.topic.begin(), config.topic.end(), says_who)),
      anonymous_(!tokens_ || first_anonymous_rule(config) != nullptr),
      open_publishing_(config.dev || config.anonymous_publish) {}

const TopicRule& Access::rule_of(std::string_view name) const noexcept {
    const feed::Topic* known = topics_.find(name, hash_bytes(as_bytes(name), hash_seed_));
    return numbered_rule(config_, known != nullptr ? known->rule : rule_number(config_, name));
}

Who Access::who_may(const TopicRule& rule, Deed deed) const noexcept {
    const auto unsaid = [&]() noexcept {
        if (tokens_) return Who::token;
        return deed == Deed::publish && !open_publishing_ ? Who::nobody : Who::anyone;
    };
    switch (deed) {
        case Deed::subscribe:
            break;
        case Deed::publish:
            return rule.publish_by.value_or(unsaid());
        case Deed::presence:
            return rule.presence_by.value_or(unsaid());
        case Deed::history:
            if (rule.history_by) return *rule.history_by;
            break;
    }
    return rule.subscribe_by.value_or(unsaid());
}

bool Access::may(const Identity* identity, Deed deed, std::string_view name) const noexcept {
    if (!restricts_) return deed != Deed::publish || open_publishing_;
    if (tokens_ && is_of_user(name)) return may_of_user(identity, deed, name);
    const std::optional<bool> ruled = by_rule(who_may(rule_of(name), deed), identity);
    if (ruled) return *ruled;
    const std::vector<std::string>& patterns = granted(*identity, deed);
    return std::any_of(patterns.begin(), patterns.end(), [=](const std::string& pattern) {
        return feed::matches(pattern, name);
    });
}

bool Access::may_of_user(const Identity* identity,
                         Deed deed,
                         std::string_view name) const noexcept {
    RC_CHECK(tokens_);
    RC_CHECK(is_of_user(name));
    if (deed != Deed::publish) {
        return identity != nullptr && name.substr(user_prefix.size()) == identity->claims.user;
    }
    const TopicRule& rule = rule_of(name);
    const Who who = who_may(rule, deed);
    const bool speaks = who == Who::nobody || is_of_user(rule.pattern);
    const std::optional<bool> ruled = by_rule(speaks ? who : Who::token, identity);
    if (ruled) return *ruled;
    const std::vector<std::string>& patterns = identity->claims.publish;
    return std::any_of(patterns.begin(), patterns.end(), [=](const std::string& pattern) {
        return is_of_user(pattern) && feed::matches(pattern, name);
    });
}

bool Access::may_subscribe_to_all(const Identity* identity,
                                  std::string_view pattern) const noexcept {
    RC_CHECK(feed::kind_of(pattern) == feed::NameKind::pattern);
    if (!restricts_) return true;
    // What earlier rules take of it is seen topic by topic; this one has all the rest.
    static const TopicRule defaults;
    const auto found =
        std::find_if(config_.topic.begin(), config_.topic.end(), [=](const TopicRule& rule) {
            return feed::covers(rule.pattern, pattern);
        });
    const TopicRule& rule = found == config_.topic.end() ? defaults : *found;
    const std::optional<bool> ruled = by_rule(who_may(rule, Deed::subscribe), identity);
    if (ruled) return *ruled;
    const std::vector<std::string>& patterns = identity->claims.subscribe;
    return std::any_of(patterns.begin(), patterns.end(), [=](const std::string& each) {
        return feed::covers(each, pattern);
    });
}

}  // namespace ringcast::node
