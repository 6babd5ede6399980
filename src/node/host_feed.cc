#include "node/host_feed.h"

#include <cstdarg>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/scratch.h"

namespace ringcast::node {

namespace {

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) noexcept {
    Scratch<char, 256> text;
    std::va_list arguments;
    va_start(arguments, pattern);
    const int size = std::vsnprintf(text.data(), text.size(), pattern, arguments);
    va_end(arguments);
    RC_CHECK(size >= 0);
    RC_CHECK(static_cast<std::size_t>(size) < text.size());
    return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace

TopicRule host_rule() noexcept {
    constexpr std::uint64_t span = 300 * units::s;
    TopicRule rule;
    rule.pattern = "host.>";
    rule.history = span / static_cast<std::uint64_t>(host_feed_interval);
    rule.history_age = span;
    rule.history_bytes = 4 * units::mib;  // a machine of 128 cores has a KiB a sample
    RC_CHECK(check_topic_rule(rule).empty());
    return rule;
}

HostFeed::HostFeed(std::uint32_t shard_count, io::Reactor& reactor, Hub& hub) noexcept
    : reactor_(reactor), hub_(hub), shards_(shard_count) {
    RC_CHECK(shard_count > 0);
}

void HostFeed::set(std::uint32_t shard, const ShardFigures& figures) noexcept {
    RC_CHECK(shard < shards_.size());
    shards_[shard] = figures;
}

void HostFeed::publish(std::string_view topic, std::string json) noexcept {
    // The parser reads past the end (wire::payload_padding).
    const std::size_t size = json.size();
    json.append(wire::payload_padding, ' ');
    hub_.publish(io::no_conn,
                 {.topic = topic, .payload = as_bytes(json).first(size), .json = true});
}

void HostFeed::tick() noexcept {
    const Nanos now = reactor_.now();
    const double seconds = static_cast<double>(now - ticked_at_) / static_cast<double>(nanos_per_s);
    const double t = static_cast<double>(reactor_.wall_now()) / 1e9;
    const io::HostFigures& host = stats_.sample(now);

    std::string cores = format("{\"t\":%.3f,\"cores\":[", t);
    for (std::size_t cpu = 0; cpu < host.cpu_busy.size(); cpu++) {
        cores += format("%s%.3f", cpu == 0 ? "" : ",", static_cast<double>(host.cpu_busy[cpu]));
    }
    publish("host.cpu", cores + "]}");
    const std::uint64_t used = host.memory_total - host.memory_available;
    publish("host.memory",
            format("{\"t\":%.3f,\"total\":%llu,\"available\":%llu,\"used\":%llu}",
                   t,
                   static_cast<unsigned long long>(host.memory_total),
                   static_cast<unsigned long long>(host.memory_available),
                   static_cast<unsigned long long>(used)));
    publish("host.network",
            format("{\"t\":%.3f,\"rx\":%.0f,\"tx\":%.0f,\"loopback\":%.0f}",
                   t,
                   host.network_rx_per_s,
                   host.network_tx_per_s,
                   host.loopback_per_s));
    publish_server(host, seconds);
    ticked_at_ = now;
}

void HostFeed::publish_server(const io::HostFigures& host, double seconds) noexcept {
    ShardFigures sum;
    for (const ShardFigures& shard : shards_) {
        sum.connections += shard.connections;
        sum.delivered += shard.delivered;
        sum.published += shard.published;
    }
    const auto rate = [&](std::uint64_t present, std::uint64_t past) {
        return seconds > 0 ? static_cast<double>(present - past) / seconds : 0.0;
    };
    publish("host.server",
            format("{\"t\":%.3f,\"connections\":%llu,\"deliveries_per_s\":%.1f,"
                   "\"messages_per_s\":%.1f,\"cpu\":%.3f,\"rss\":%llu}",
                   static_cast<double>(reactor_.wall_now()) / 1e9,
                   static_cast<unsigned long long>(sum.connections),
                   rate(sum.delivered, before_.delivered),
                   rate(sum.published, before_.published),
                   static_cast<double>(host.process_cpu),
                   static_cast<unsigned long long>(host.process_rss)));
    before_ = sum;
}

}  // namespace ringcast::node
