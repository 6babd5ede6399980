#pragma once

// What happens to a reader that fell off the log: what was last said of the topic while the server
// ran, else what its rule says, else --slow-policy.
//
// A change holds for all topics whose names match its pattern, those that are there and those that
// come, until the server ends; of several that match a name the newest holds. A reader that is
// behind when it comes is dealt with by the policy of the moment in which it falls off.
//
// Asked for each time that somebody falls off, so a match of at most `changes_max` patterns: some
// microseconds beside the sends and frees that this costs anyhow, and no topic has to be found.
//
// One thread owns a SlowPolicies; each shard has one, and whoever makes changes, to refuse what
// there is no room for.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "node/mesh.h"

namespace ringcast::node {

class SlowPolicies {
  public:
    static constexpr std::size_t changes_max = 256;

    explicit SlowPolicies(const Config& config) noexcept : config_(config) {}

    [[nodiscard]] SlowPolicy of(const feed::Topic& topic) const noexcept;
    // False: there are as many as may be, and nothing changed. What no name can ask for any more,
    // since this pattern covers it, is forgotten. Precondition: the pattern is none that is broken.
    [[nodiscard]] bool set(std::string_view pattern, SlowPolicy policy) noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return changes_.size(); }

  private:
    struct Change {
        std::string pattern;
        SlowPolicy policy = SlowPolicy::gap;
    };

    const Config& config_;
    std::vector<Change> changes_;  // the newest last
};

// What `policy` may be: "gap" and "close" of topics without keys, "conflate" of those with keys,
// which have no other. A line about what is not allowed, which names the rule; empty when all is.
// `gap` and `close` for whatever may have keys are refused, and `conflate` for what may have none.
// Any thread.
[[nodiscard]] std::string check_policy(const Config& config,
                                       std::string_view pattern,
                                       std::string_view policy) noexcept;

// Has every shard set it, each when it comes to its mail. Any thread, but one at a time: else
// shards may hear of two changes in different order.
void post_policy(Mesh& mesh, std::string_view pattern, SlowPolicy policy) noexcept;

}  // namespace ringcast::node
