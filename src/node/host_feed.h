#pragma once

// With --dev: live figures of this machine and of the server itself on topics host.cpu,
// host.memory, host.network and host.server, ten times a second. What a newcomer sees move.
//
// Lives on shard 0; the other shards mail it their counters. One thread owns it.

#include <cstdint>
#include <string>
#include <vector>

#include "ringcast/config.h"

#include "io/host_stats.h"
#include "io/reactor.h"
#include "node/counters.h"
#include "node/hub.h"

namespace ringcast::node {

constexpr Nanos host_feed_interval = 100 * nanos_per_ms;

// What one shard did since it began, and who is on it now.
struct ShardFigures {
    std::uint64_t connections = 0;
    std::uint64_t delivered = 0;
    std::uint64_t published = 0;
};

// Topics that only the server's own feeds may publish to, so that nobody's figures pass for the
// machine's.
[[nodiscard]] inline bool is_reserved(const Config& config, std::string_view topic) noexcept {
    return config.dev && (topic.starts_with("host.") || topic.starts_with("demo."));
}

// What is kept of host.* where the operator has no rule for it: five minutes, for who comes back.
[[nodiscard]] TopicRule host_rule() noexcept;

class HostFeed {
  public:
    HostFeed(std::uint32_t shard_count, io::Reactor& reactor, Hub& hub) noexcept;
    HostFeed(const HostFeed&) = delete;
    HostFeed& operator=(const HostFeed&) = delete;

    void set(std::uint32_t shard, const ShardFigures& figures) noexcept;
    // Samples and publishes.
    void tick() noexcept;

  private:
    void publish(std::string_view topic, std::string json) noexcept;
    void publish_server(const io::HostFigures& host, double seconds) noexcept;

    io::Reactor& reactor_;
    Hub& hub_;
    io::HostStats stats_;
    std::vector<ShardFigures> shards_;
    ShardFigures before_;
    Nanos ticked_at_ = 0;
};

}  // namespace ringcast::node
