#pragma once

// Patterns over topic names, as subjects are matched in NATS: a name is tokens between dots; the
// token "*" stands for any one token, and ">" as the last one for one or more.
//
// Only a whole token is a wildcard: "a*" is a plain name. An empty token is a token like any other
// ("a..b" has three), so every name has a place.

#include <cstdint>
#include <string_view>

namespace ringcast::feed {

enum class NameKind : std::uint8_t {
    plain,    // a topic
    pattern,  // stands for many
    broken,   // ">" before the end: neither
};

[[nodiscard]] NameKind kind_of(std::string_view name) noexcept;

// Whether `name`, which is plain, is one of those that `pattern` stands for. A plain pattern stands
// for itself alone. O(size of both), no recursion.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view name) noexcept;

// Of two patterns (neither is broken), or names: whether some name matches both, and whether every
// name that `special` stands for is one of those of `general`. O(size of both), no recursion.
[[nodiscard]] bool overlap(std::string_view a, std::string_view b) noexcept;
[[nodiscard]] bool covers(std::string_view general, std::string_view special) noexcept;

}  // namespace ringcast::feed
