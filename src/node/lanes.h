#pragma once

// The logs of one shard: opened with what the topic's rule says, filled, given up, and cleared of
// what nobody needs.
//
// One thread owns a Lanes.

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "node/id_list.h"
#include "node/packer.h"
#include "node/pump.h"
#include "node/sessions.h"

namespace ringcast::node {

constexpr std::array<feed::LaneKind, feed::lane_kind_count> all_lanes{feed::LaneKind::envelope,
                                                                      feed::LaneKind::raw};

[[nodiscard]] constexpr std::size_t index_of(feed::LaneKind kind) noexcept {
    return static_cast<std::size_t>(kind);
}

class Lanes {
  public:
    Lanes(const Config& config,
          std::uint64_t hash_seed,
          Sessions& sessions,
          feed::TopicTable& topics,
          feed::SegmentPool& pool,
          Pump& pump) noexcept;
    Lanes(const Lanes&) = delete;
    Lanes& operator=(const Lanes&) = delete;

    // A topic that is not there yet, with its rule.
    [[nodiscard]] feed::Topic& create(std::string_view name, std::uint64_t hash) noexcept;
    [[nodiscard]] const TopicRule& rule_of(const feed::Topic& topic) const noexcept;
    // Whether this lane of the topic keeps what everybody has, be it history or the latest of each
    // key: only envelopes carry the offsets with which one comes back.
    [[nodiscard]] bool keeps_state(const feed::Topic& topic, feed::LaneKind kind) const noexcept {
        const TopicRule& rule = rule_of(topic);
        return kind == feed::LaneKind::envelope && (rule.history != 0 || rule.keyed);
    }

    // Precondition: the topic has no such lane. The first record will be number `next`.
    feed::Lane& open(feed::Topic& topic, feed::LaneKind kind, feed::Seq next) noexcept;
    // Adds record number `offset`, which is the next one, and has it sent. An empty `record` was
    // encoded into the lane's reserve() already.
    void append(feed::Topic& topic, feed::LaneKind kind, Bytes record, feed::Seq offset) noexcept;
    // The record that is the lane's next one was published at `at`, in the past: for history-age.
    void restore_age(const feed::Topic& topic, const feed::Lane& lane, Tick at) noexcept;

    // The same with keys, on a shard that is not home: false if there is no memory for it, and
    // nothing changed.
    [[nodiscard]] bool append_keyed(feed::Topic& topic,
                                    const feed::CompactLog::Record& record) noexcept;

    // Row `row` of the lane goes to a client that takes compression. Nothing changes for topics
    // that are never compressed.
    void read_packed(const feed::Topic& topic, feed::LaneKind kind, std::uint32_t row) noexcept;

    // From hold() to let_go() the envelopes' lane keeps all its records, for readers who are on
    // their way, as if they were history. They may be taken when memory is short. One with keys
    // keeps what it always does.
    void hold(const feed::Topic& topic) noexcept;
    void let_go(const feed::Topic& topic) noexcept;

    // Drained logs give their memory back, and history that is too old goes. Once a second.
    void sweep() noexcept;
    [[nodiscard]] std::size_t to_sweep() const noexcept { return holding_.size(); }

  private:
    // When which record was the next one: a few moments of the past, the oldest first.
    struct Ages {
        static constexpr std::uint32_t count = 32;  // so an age is kept to about 3 %
        struct Mark {
            Tick at = 0;
            feed::Seq next = 0;
        };
        std::array<Mark, count + 2> marks{};
        std::uint32_t size = 0;
        std::uint64_t epoch = 0;  // a topic made anew has other ones
    };

    [[nodiscard]] static Tick age_span(std::uint64_t age_max) noexcept;
    [[nodiscard]] Ages& mark(const feed::Topic& topic, const feed::Lane& lane, Tick at) noexcept;
    void age(const feed::Topic& topic, feed::Lane& lane) noexcept;
    [[nodiscard]] bool may_compress(const feed::Topic& topic) const noexcept;
    static void save_tail(void* context, feed::Reader reader, Bytes rest) noexcept;

    const Config& config_;
    std::uint64_t hash_seed_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    feed::SegmentPool& pool_;
    Pump& pump_;
    Packer packer_;
    IdList holding_;                                // topics that may hold segments
    std::unordered_map<std::uint32_t, Ages> ages_;  // of topics whose history grows old
};

}  // namespace ringcast::node
