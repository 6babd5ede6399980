#pragma once

// The memory that clients can make the server take, of all shards together, against what there is.
//
// Each shard reports what its clients and topics hold, and what its logs have in memory; the sums
// say how much pressure there is, and every shard acts by that in its own turn. History goes first:
//
//   shed    above 7/8 of the room: logs give back their oldest, down to their floor
//   refuse  clients alone, with all logs at their floor, are above 7/8: 503 for new clients, and
//           no new topics
//   cut     they are above all of it: who holds most is cut, and nobody is let in at all
//
// Reports are a turn old at worst, so the room is to have a margin: see node/memory_plan.h. With no
// room set there is no pressure. report() belongs to the shard's thread; any thread may read,
// and ask for news().

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/time.h"

namespace ringcast::node {

enum class Pressure : std::uint8_t { none, shed, refuse, cut };

class Budget {
  public:
    explicit Budget(std::uint32_t shard_count);
    Budget(const Budget&) = delete;
    Budget& operator=(const Budget&) = delete;
    ~Budget();

    // Before any report. `logs_floor`: what the logs of one shard may keep in any case.
    void set_room(std::uint64_t room, std::uint64_t logs_floor) noexcept;

    // What shard `shard` holds now.
    Pressure report(std::uint32_t shard, std::uint64_t clients, std::uint64_t logs) noexcept;
    // As of the last report of anybody.
    [[nodiscard]] Pressure pressure() const noexcept {
        return pressure_.load(std::memory_order_relaxed);
    }

    // What the log should say, once for all shards: that there is more pressure than anybody was
    // told of, or that there has been none for `quiet`. `now`: Reactor::now(), one clock for all.
    enum class News : std::uint8_t { nothing, rose, gone };
    static constexpr Nanos quiet = 5 * nanos_per_s;
    [[nodiscard]] News news(Pressure pressure, Nanos now) noexcept;

    [[nodiscard]] std::uint64_t room() const noexcept { return room_; }
    // As of the last reports.
    [[nodiscard]] std::uint64_t held() const noexcept {
        const Sums all = sums();
        return all.clients + all.logs;
    }

    // This shard's part of what is too much, in proportion to what it reported.
    [[nodiscard]] std::uint64_t logs_to_keep(std::uint32_t shard) const noexcept;
    [[nodiscard]] std::uint64_t clients_to_cut(std::uint32_t shard) const noexcept;

  private:
    struct alignas(64) Report;
    struct Sums {
        std::uint64_t clients = 0;
        std::uint64_t logs = 0;
    };
    [[nodiscard]] Sums sums() const noexcept;
    [[nodiscard]] std::uint64_t soft() const noexcept { return room_ - room_ / 8; }

    std::uint32_t shard_count_;
    std::unique_ptr<Report[]> reports_;
    std::uint64_t room_ = UINT64_MAX;
    std::uint64_t logs_floor_ = 0;  // of one shard
    std::atomic<Pressure> pressure_{Pressure::none};
    std::atomic<Pressure> told_{Pressure::none};  // the worst since it was gone
    std::atomic<Nanos> felt_at_{0};               // when there was pressure last
};

}  // namespace ringcast::node
