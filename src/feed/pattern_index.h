#pragma once

// Patterns by number, and the question which of them a name matches, without looking at all.
//
// A tree over tokens: a pattern is a path from the root, and a name goes down by its own token and
// by "*" at each level, and asks for ">" everywhere. So a million patterns of which each client has
// one of its own ("user.17.>") cost a name no more than a few. What a name can cost is bounded by
// what a pattern may be (fits()): of paths with four "*" in 16 levels there are 2,517, whatever
// patterns there are; the usual name takes one or two.
//
// Memory: 80 bytes for each token that no other pattern has at this place, and the text.
//
// One thread owns a PatternIndex.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/index_table.h"

namespace ringcast::feed {

constexpr std::size_t pattern_levels_max = 16;
constexpr std::size_t pattern_stars_max = 4;

class PatternIndex {
  public:
    static constexpr std::uint32_t none = UINT32_MAX;

    // `hash_seed`: of the process, since patterns come from outside.
    explicit PatternIndex(std::uint64_t hash_seed) noexcept;
    PatternIndex(const PatternIndex&) = delete;
    PatternIndex& operator=(const PatternIndex&) = delete;
    ~PatternIndex() = default;

    // Whether a pattern has at most pattern_levels_max tokens and pattern_stars_max "*" among them.
    [[nodiscard]] static bool fits(std::string_view pattern) noexcept;

    // Its number, or none.
    [[nodiscard]] std::uint32_t find(std::string_view pattern) const noexcept;
    // Precondition: kind_of(pattern) is pattern, fits(pattern), and it is not there. Numbers are
    // small, and used again.
    std::uint32_t add(std::string_view pattern) noexcept;
    void remove(std::uint32_t pattern) noexcept;

    // The numbers of those that match `name`, which is plain, in `out`.
    void match(std::string_view name, std::vector<std::uint32_t>& out) const noexcept;

    [[nodiscard]] std::string_view text(std::uint32_t pattern) const noexcept {
        return texts_[pattern];
    }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t held_bytes() const noexcept;
    // What a pattern adds to that at most, since no token of it need be another's; and one of
    // `pattern_size` bytes, whatever it is.
    [[nodiscard]] static std::size_t cost_of(std::string_view pattern) noexcept;
    [[nodiscard]] static std::size_t cost_max(std::size_t pattern_size) noexcept;

  private:
    struct Node {
        std::string token;
        std::uint32_t parent = none;
        std::uint32_t passing = 0;     // patterns whose path goes through here; 0: a free place
        std::uint32_t pattern = none;  // the one whose path ends here
    };
    [[nodiscard]] static std::size_t cost(std::size_t levels, std::size_t size) noexcept;
    struct Step {
        std::uint32_t node = none;
        std::size_t begin = 0;  // of the name's next token
    };

    [[nodiscard]] std::uint64_t hash_of(std::uint32_t parent,
                                        std::string_view token) const noexcept;
    [[nodiscard]] std::uint32_t child(std::uint32_t parent, std::string_view token) const noexcept;
    std::uint32_t make_child(std::uint32_t parent, std::string_view token) noexcept;
    void drop(std::uint32_t node) noexcept;
    void take(std::uint32_t node, std::vector<std::uint32_t>& out) const noexcept;

    std::uint64_t hash_seed_;
    IndexTable index_;         // nodes by parent and token
    std::vector<Node> nodes_;  // the first is the root
    std::vector<std::uint32_t> free_nodes_;
    std::vector<std::string> texts_;  // by number; empty: free
    std::vector<std::uint32_t> free_patterns_;
    std::size_t texts_size_ = 0;
    std::size_t count_ = 0;
    mutable std::vector<Step> steps_;  // of match(), kept for its memory
};

}  // namespace ringcast::feed
