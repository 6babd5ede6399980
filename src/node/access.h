#pragma once

// Who may do what: the rules of the operator, and the token of the client.
//
// Without --auth-alg, and without a rule that says who, everybody may do everything but publish:
// restricts() is false then, and nobody asks further.
//
// With it: the first rule that matches a topic says who may, and where it does not, whose token
// says so. A topic `user.NAME` is of that user: whatever rules and tokens say, nobody else may
// subscribe to it, or ask for its history or who is there, and its user always may. To publish
// there needs a rule or a token that speaks of `user.` itself: one for everything ("*.x", ">") does
// not reach into it. Of a pattern this holds for each topic that it brings; and the pattern itself
// must lie within what is allowed, or whoever asks for too much would be told too late.
//
// One thread owns an Access.

#include <cstdint>
#include <string_view>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "node/identity.h"

namespace ringcast::node {

enum class Deed : std::uint8_t { subscribe, publish, presence, history };

// With --auth-alg: the first rule that allows something to those without a token; null if none.
[[nodiscard]] const TopicRule* first_anonymous_rule(const Config& config) noexcept;

class Access {
  public:
    Access(const Config& config, std::uint64_t hash_seed, feed::TopicTable& topics) noexcept;

    [[nodiscard]] bool restricts() const noexcept { return restricts_; }
    // Without a token there are things that one may do.
    [[nodiscard]] bool anonymous() const noexcept { return anonymous_; }

    // `identity`: null of who showed no token; `name`: a topic.
    [[nodiscard]] bool may(const Identity* identity,
                           Deed deed,
                           std::string_view name) const noexcept;
    // Whether there may be topics for which it may subscribe to all that `pattern` stands for, but
    // for those that an earlier rule, or being another user's, keeps from it.
    [[nodiscard]] bool may_subscribe_to_all(const Identity* identity,
                                            std::string_view pattern) const noexcept;

  private:
    [[nodiscard]] Who who_may(const TopicRule& rule, Deed deed) const noexcept;
    [[nodiscard]] const TopicRule& rule_of(std::string_view name) const noexcept;
    [[nodiscard]] bool may_of_user(const Identity* identity,
                                   Deed deed,
                                   std::string_view name) const noexcept;

    const Config& config_;
    std::uint64_t hash_seed_;
    feed::TopicTable& topics_;
    bool tokens_;  // with --auth-alg
    bool restricts_;
    bool anonymous_;
    bool open_publishing_;
};

}  // namespace ringcast::node
