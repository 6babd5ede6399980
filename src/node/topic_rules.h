#pragma once

// Which of the operator's rules holds for a topic. Any thread; the rules do not change.

#include <cstdint>
#include <string_view>

#include "ringcast/config.h"

namespace ringcast::node {

// The number of the first of `config.topic` whose pattern stands for `name`; feed::no_rule if there
// is none. O(rules x size of both): for when a topic is made, not for a message.
[[nodiscard]] std::uint16_t rule_number(const Config& config, std::string_view name) noexcept;
// The rule of that number, or the defaults. Lives as long as the Config.
[[nodiscard]] const TopicRule& numbered_rule(const Config& config, std::uint16_t number) noexcept;

}  // namespace ringcast::node
