#include "node/slow_policies.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "feed/pattern.h"
#include "node/topic_rules.h"

namespace ringcast::node {

SlowPolicy SlowPolicies::of(const feed::Topic& topic) const noexcept {
    for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
        if (feed::matches(change->pattern, topic.name())) return change->policy;
    }
    return numbered_rule(config_, topic.rule).policy.value_or(config_.slow_policy);
}

bool SlowPolicies::set(std::string_view pattern, SlowPolicy policy) noexcept {
    RC_CHECK(feed::kind_of(pattern) != feed::NameKind::broken);
    std::erase_if(changes_,
                  [&](const Change& change) { return feed::covers(pattern, change.pattern); });
    if (changes_.size() == changes_max) return false;
    changes_.push_back({.pattern = std::string(pattern), .policy = policy});
    RC_CHECK(changes_.size() <= changes_max);
    return true;
}

std::string check_policy(const Config& config,
                         std::string_view pattern,
                         std::string_view policy) noexcept {
    const std::string quoted = "'" + std::string(pattern) + "': ";
    if (policy != "gap" && policy != "close" && policy != "conflate") {
        return quoted + "'policy=" + std::string(policy) +
               "' is not allowed: policy=gap|close|conflate";
    }
    TopicRule plain;
    plain.pattern = pattern;
    if (std::string problem = check_topic_rule(plain); !problem.empty()) return problem;
    const bool conflates = policy == "conflate";
    for (const TopicRule& rule : config.topic) {
        if (!feed::overlap(rule.pattern, pattern)) continue;
        if (rule.keyed && !conflates) {
            return quoted + "policy=" + std::string(policy) + " is not for keyed ('" +
                   rule.pattern + "'), whose slow readers skip what was superseded";
        }
        if (!rule.keyed && conflates) {
            return quoted + "policy=conflate is for keyed alone, which '" + rule.pattern +
                   "' is not";
        }
        // Rules behind it hold for none of these names.
        if (feed::covers(rule.pattern, pattern)) return {};
    }
    return conflates ? quoted +
                           "policy=conflate is for keyed alone, and no rule says that of all "
                           "these topics"
                     : std::string();
}

void post_policy(Mesh& mesh, std::string_view pattern, SlowPolicy policy) noexcept {
    for (std::uint32_t shard = 0; shard < mesh.shard_count(); shard++) {
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::policy;
        mail->from = shard;  // in its own name: there need be no other
        mail->flag = policy == SlowPolicy::close;
        mail->name = pattern;
        mesh.post(shard, std::move(mail));
    }
}

}  // namespace ringcast::node
