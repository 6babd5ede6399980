#pragma once

// Publishers that want to know how many subscribers missed a record, at its topic's home.
//
// Shards tell what was missed whenever they find it, so what came of a record within a second is
// told as one number, and there may be several: they add up. A report is closed when no more can
// come. Past `reports_max`, or `publisher_max` of one publisher, no more are taken; and no more
// than `tells_max` are told at a time, so that nobody's outbox overflows by it.
//
// One thread owns a Reports.

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/wheel.h"
#include "feed/pool.h"
#include "io/reactor.h"

namespace ringcast::node {

struct Report {
    std::uint64_t hash = 0;   // of the topic's name ...
    std::uint64_t epoch = 0;  // ... and which sequence the offset belongs to
    feed::Seq offset = 0;
    std::string topic;
    std::string id;  // the publisher's, of the message
    io::ConnIndex conn = io::no_conn;
    std::uint64_t serial = 0;
    std::uint32_t shard = 0;
    Tick ends = 0;
    std::uint64_t clients = 0;  // that missed it and were not told of
};

class Reports {
  public:
    static constexpr std::size_t reports_max = 16 * 1024;
    static constexpr std::uint32_t publisher_max = 2048;
    static constexpr std::uint32_t tells_max = 1024;
    // Of one: a topic's name, an id, a place in the index.
    static constexpr std::size_t report_bytes = sizeof(Report) + 255 + 64 + 128;

    [[nodiscard]] bool full(std::uint32_t shard, std::uint64_t serial) const noexcept;
    // `ends` is not before that of any other. A record that was taken while there was room is
    // reported, so what waits for the disk may go over the limit.
    void open(Report report) noexcept;
    void missed(std::uint64_t hash,
                std::uint64_t epoch,
                feed::Seq offset,
                std::uint64_t clients) noexcept;

    // Calls tell(report) for each that has news, and closes those that end by `now`.
    template <typename Tell>
    void sweep(Tick now, const Tell& tell) noexcept {
        for (std::uint32_t left = tells_max; left > 0 && !news_.empty(); left--) {
            Report& report = open_.find(news_.front())->second;
            tell(std::as_const(report));
            report.clients = 0;
            news_.pop_front();
        }
        while (!order_.empty() && ended(order_.front(), now)) {
            close(order_.front());
            order_.pop_front();
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return open_.size(); }

  private:
    struct Key {
        std::uint64_t topic = 0;  // hash and epoch
        feed::Seq offset = 0;
        bool operator==(const Key&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept {
            return static_cast<std::size_t>(key.topic + key.offset * 0x9e3779b97f4a7c15U);
        }
    };

    [[nodiscard]] static std::uint64_t publisher(std::uint32_t shard,
                                                 std::uint64_t serial) noexcept {
        return serial << 6 | shard;  // at most 64 shards
    }
    [[nodiscard]] bool ended(const Key& key, Tick now) const noexcept;
    void close(const Key& key) noexcept;

    std::unordered_map<Key, Report, Hash> open_;
    std::unordered_map<std::uint64_t, std::uint32_t> publishers_;  // open ones of each
    std::deque<Key> order_;  // the one that ends first in front
    std::deque<Key> news_;
};

}  // namespace ringcast::node
