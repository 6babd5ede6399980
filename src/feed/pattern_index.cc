#include "feed/pattern_index.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "feed/pattern.h"

namespace ringcast::feed {

namespace {

constexpr std::uint32_t root = 0;
// Of the index, for a node; and of a pattern in vectors that double, beside its text, which is
// there twice: as a whole and as tokens.
constexpr std::size_t slot_bytes = 24;
constexpr std::size_t text_bytes = 2 * (sizeof(std::string) + sizeof(std::uint32_t));

[[nodiscard]] std::string_view token_at(std::string_view name, std::size_t begin) noexcept {
    return name.substr(begin, name.find('.', begin) - begin);
}

}  // namespace

PatternIndex::PatternIndex(std::uint64_t hash_seed) noexcept : hash_seed_(hash_seed), nodes_(1) {}

bool PatternIndex::fits(std::string_view pattern) noexcept {
    std::size_t levels = 0;
    std::size_t stars = 0;
    for (std::size_t begin = 0; begin <= pattern.size();) {
        const std::string_view token = token_at(pattern, begin);
        levels++;
        if (token == "*") stars++;
        begin += token.size() + 1;
    }
    return levels <= pattern_levels_max && stars <= pattern_stars_max;
}

std::uint64_t PatternIndex::hash_of(std::uint32_t parent, std::string_view token) const noexcept {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;  // the golden ratio: spreads small numbers
    return hash_bytes(as_bytes(token), hash_seed_ ^ (parent * odd));
}

std::uint32_t PatternIndex::child(std::uint32_t parent, std::string_view token) const noexcept {
    return index_.find(hash_of(parent, token), [&](std::uint32_t node) {
        return nodes_[node].parent == parent && nodes_[node].token == token;
    });
}

std::uint32_t PatternIndex::make_child(std::uint32_t parent, std::string_view token) noexcept {
    auto node = static_cast<std::uint32_t>(nodes_.size());
    if (free_nodes_.empty()) {
        RC_CHECK(node < none);
        nodes_.emplace_back();
    } else {
        node = free_nodes_.back();
        free_nodes_.pop_back();
    }
    nodes_[node] = {.token = std::string(token), .parent = parent};
    index_.insert(hash_of(parent, token), node);
    return node;
}

void PatternIndex::drop(std::uint32_t node) noexcept {
    const Node& gone = nodes_[node];
    RC_CHECK(gone.passing == 0);
    RC_CHECK(gone.pattern == none);
    const std::uint32_t erased = index_.erase(hash_of(gone.parent, gone.token),
                                              [&](std::uint32_t at) { return at == node; });
    RC_CHECK(erased == node);
    nodes_[node] = {};
    free_nodes_.push_back(node);
}

std::uint32_t PatternIndex::find(std::string_view pattern) const noexcept {
    std::uint32_t node = root;
    for (std::size_t begin = 0; begin <= pattern.size() && node != none;) {
        const std::string_view token = token_at(pattern, begin);
        node = child(node, token);
        begin += token.size() + 1;
    }
    return node == none ? none : nodes_[node].pattern;
}

std::uint32_t PatternIndex::add(std::string_view pattern) noexcept {
    RC_CHECK(kind_of(pattern) == NameKind::pattern);
    RC_CHECK(fits(pattern));
    auto number = static_cast<std::uint32_t>(texts_.size());
    if (free_patterns_.empty()) {
        texts_.emplace_back(pattern);
    } else {
        number = free_patterns_.back();
        free_patterns_.pop_back();
        texts_[number] = pattern;
    }
    std::uint32_t node = root;
    for (std::size_t begin = 0; begin <= pattern.size();) {
        const std::string_view token = token_at(pattern, begin);
        std::uint32_t next = child(node, token);
        if (next == none) next = make_child(node, token);
        node = next;
        nodes_[node].passing++;
        begin += token.size() + 1;
    }
    RC_CHECK(nodes_[node].pattern == none);
    nodes_[node].pattern = number;
    texts_size_ += pattern.size();
    count_++;
    return number;
}

void PatternIndex::remove(std::uint32_t pattern) noexcept {
    RC_CHECK(pattern < texts_.size());
    RC_CHECK(!texts_[pattern].empty());
    const std::string text = std::move(texts_[pattern]);
    texts_[pattern].clear();
    free_patterns_.push_back(pattern);
    texts_size_ -= text.size();
    count_--;
    std::uint32_t node = root;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::string_view token = token_at(text, begin);
        node = child(node, token);
        RC_CHECK(node != none);
        begin += token.size() + 1;
    }
    RC_CHECK(nodes_[node].pattern == pattern);
    nodes_[node].pattern = none;
    while (node != root) {
        const std::uint32_t parent = nodes_[node].parent;
        nodes_[node].passing--;
        if (nodes_[node].passing == 0) drop(node);
        node = parent;
    }
}

void PatternIndex::take(std::uint32_t node, std::vector<std::uint32_t>& out) const noexcept {
    if (node != none && nodes_[node].pattern != none) out.push_back(nodes_[node].pattern);
}

void PatternIndex::match(std::string_view name, std::vector<std::uint32_t>& out) const noexcept {
    out.clear();
    if (count_ == 0) return;
    steps_.assign(1, {.node = root, .begin = 0});
    while (!steps_.empty()) {
        const Step at = steps_.back();
        steps_.pop_back();
        take(child(at.node, ">"), out);
        const std::string_view token = token_at(name, at.begin);
        const std::size_t begin = at.begin + token.size() + 1;
        for (const std::string_view each : {token, std::string_view("*")}) {
            const std::uint32_t next = child(at.node, each);
            if (begin > name.size()) {
                take(next, out);
            } else if (next != none) {
                steps_.push_back({.node = next, .begin = begin});
            }
        }
    }
}

std::size_t PatternIndex::held_bytes() const noexcept {
    return nodes_.capacity() * sizeof(Node) + nodes_.size() * slot_bytes +
           texts_.size() * text_bytes + 2 * texts_size_;
}

std::size_t PatternIndex::cost(std::size_t levels, std::size_t size) noexcept {
    return levels * (2 * sizeof(Node) + slot_bytes) + text_bytes + 2 * size;
}

std::size_t PatternIndex::cost_of(std::string_view pattern) noexcept {
    const auto dots = static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), '.'));
    return cost(dots + 1, pattern.size());
}

std::size_t PatternIndex::cost_max(std::size_t pattern_size) noexcept {
    return cost(pattern_levels_max, pattern_size);
}

}  // namespace ringcast::feed
