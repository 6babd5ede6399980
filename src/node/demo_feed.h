#pragma once

// With --dev: made-up prices on the keyed topic `demo.prices`, 200 changes a second of 40 keys, for
// the demo page's table: what a reader sees of that at one batch a second shows what a topic with
// keys does. They are drawn (a random walk), and are nobody's prices; the keys are things of a
// market stall. Every five seconds one of them is sold out, and its key deleted, and the one before
// is there again.
//
// Lives on shard 0, like the host's figures. One thread owns it.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "io/reactor.h"
#include "node/hub.h"
#include "node/topic_rules.h"

namespace ringcast::node {

constexpr std::string_view demo_topic = "demo.prices";
constexpr Nanos demo_feed_interval = 50 * nanos_per_ms;

// What is kept of it where the operator has no rule for it: the latest of each key.
[[nodiscard]] TopicRule demo_rule() noexcept;

class DemoFeed {
  public:
    static constexpr std::uint32_t keys = 40;

    DemoFeed(io::Reactor& reactor, Hub& hub) noexcept;
    DemoFeed(const DemoFeed&) = delete;
    DemoFeed& operator=(const DemoFeed&) = delete;

    // The first time all keys, then some that changed.
    void tick() noexcept;

  private:
    static constexpr std::uint32_t none = keys;

    struct Price {
        std::int64_t first = 0;  // cents, above 0
        std::int64_t now = 0;
    };

    void change(std::uint32_t key) noexcept;
    void sell_out() noexcept;
    void publish(std::uint32_t key, std::string json) noexcept;

    Hub& hub_;
    Random chance_;
    std::array<Price, keys> prices_;
    std::uint32_t sold_out_ = none;
    std::uint32_t ticks_ = 0;
};

}  // namespace ringcast::node
