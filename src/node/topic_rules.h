#pragma once

// Which of the operator's rules holds for a topic. Any thread; the rules do not change.

#include <string_view>

#include "ringcast/config.h"

namespace ringcast::node {

// The first of `config.topic` whose pattern stands for `name`, or the defaults. Lives as long as
// the Config. O(rules x size of both): for when a topic is made, not for a message.
[[nodiscard]] const TopicRule& rule_of(const Config& config, std::string_view name) noexcept;

}  // namespace ringcast::node
