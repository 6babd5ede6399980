#include "node/budget.h"

#include <algorithm>

#include "base/check.h"

namespace ringcast::node {

namespace {

// part of `total` that falls to `own` of `all`, rounded up.
[[nodiscard]] std::uint64_t share(std::uint64_t total,
                                  std::uint64_t own,
                                  std::uint64_t all) noexcept {
    if (all == 0) return 0;
    const double part = static_cast<double>(own) / static_cast<double>(all);
    return static_cast<std::uint64_t>(static_cast<double>(total) * part) + 1;
}

}  // namespace

// Written by one shard, in a cache line of its own; the sums need not be of one moment.
struct alignas(64) Budget::Report {
    std::atomic<std::uint64_t> clients{0};
    std::atomic<std::uint64_t> logs{0};
};

Budget::Budget(std::uint32_t shard_count)
    : shard_count_(shard_count), reports_(std::make_unique<Report[]>(shard_count)) {}

Budget::~Budget() = default;

void Budget::set_room(std::uint64_t room, std::uint64_t logs_floor) noexcept {
    RC_CHECK(room > 0);
    room_ = room;
    logs_floor_ = logs_floor;
}

Budget::Sums Budget::sums() const noexcept {
    Sums sums;
    for (std::uint32_t shard = 0; shard < shard_count_; shard++) {
        sums.clients += reports_[shard].clients.load(std::memory_order_relaxed);
        sums.logs += reports_[shard].logs.load(std::memory_order_relaxed);
    }
    return sums;
}

Pressure Budget::report(std::uint32_t shard, std::uint64_t clients, std::uint64_t logs) noexcept {
    RC_CHECK(shard < shard_count_);
    reports_[shard].clients.store(clients, std::memory_order_relaxed);
    reports_[shard].logs.store(logs, std::memory_order_relaxed);
    const Sums all = sums();
    const std::uint64_t alone = all.clients + logs_floor_ * shard_count_;
    auto now = Pressure::none;
    if (all.clients + all.logs > soft()) now = Pressure::shed;
    if (alone > soft()) now = Pressure::refuse;
    if (alone > room_) now = Pressure::cut;
    pressure_.store(now, std::memory_order_relaxed);
    return now;
}

// A race of two shards costs a line, or has the other one say it.
Budget::News Budget::news(Pressure pressure, Nanos now) noexcept {
    Pressure told = told_.load(std::memory_order_relaxed);
    if (pressure != Pressure::none) {
        felt_at_.store(now, std::memory_order_relaxed);
        const bool worse = pressure > told && told_.compare_exchange_strong(told, pressure);
        return worse ? News::rose : News::nothing;
    }
    if (told == Pressure::none || now - felt_at_.load(std::memory_order_relaxed) < quiet) {
        return News::nothing;
    }
    return told_.compare_exchange_strong(told, Pressure::none) ? News::gone : News::nothing;
}

std::uint64_t Budget::logs_to_keep(std::uint32_t shard) const noexcept {
    const Sums all = sums();
    const std::uint64_t own = reports_[shard].logs.load(std::memory_order_relaxed);
    const std::uint64_t held = all.clients + all.logs;
    if (held <= soft()) return own;
    const std::uint64_t over = share(held - soft(), own, all.logs);
    return std::max(logs_floor_, own - std::min(own, over));
}

// A little more than what is too much, so that the next byte does not cut again.
std::uint64_t Budget::clients_to_cut(std::uint32_t shard) const noexcept {
    const Sums all = sums();
    const std::uint64_t own = reports_[shard].clients.load(std::memory_order_relaxed);
    const std::uint64_t alone = all.clients + logs_floor_ * shard_count_;
    if (alone <= room_) return 0;
    return share(alone - room_ + room_ / 32, own, all.clients);
}

}  // namespace ringcast::node
