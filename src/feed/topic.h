#pragma once

// The topics of one shard, by name and by number.
//
// A topic that nobody on this shard reads has no lanes: its name, its place in the order of
// records, and which shards care. That is about 133 bytes with a name of 20, so a million quiet
// topics take a seventh of a gigabyte.
//
// A number (Topic::id) is used again after erase(); whoever keeps one across turns must compare the
// name or the epoch too. A Topic does not move while it lives.
//
// One thread owns a TopicTable.

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/index_table.h"
#include "feed/lane.h"

namespace ringcast::feed {

// The encodings of a topic: one lane each, made only while it has readers or history.
enum LaneKind : std::uint8_t { envelope, raw };
constexpr std::size_t lane_kind_count = 2;

constexpr std::size_t topic_name_size_max = 255;
constexpr std::size_t shard_count_max = 64;  // one bit each in Topic::interest
constexpr std::uint16_t no_rule = UINT16_MAX;

struct Topic {
    std::uint64_t hash = 0;
    Seq next = 1;             // the number of the next record
    std::uint64_t epoch = 0;  // which sequence `next` belongs to; a topic made anew has another
    std::array<std::unique_ptr<Lane>, lane_kind_count> lanes;
    std::array<std::uint64_t, lane_kind_count> interest{};  // bit n: shard n wants this encoding
    std::uint32_t used = 0;        // when last, by the owner's clock; the table does not look at it
    std::uint16_t rule = no_rule;  // the owner's number of what the operator decided for it
    bool appearing = false;  // kept from its first record on for readers who have yet to be brought

    [[nodiscard]] std::string_view name() const noexcept { return {name_.get(), name_size_}; }
    [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
    [[nodiscard]] Lane* lane(LaneKind kind) const noexcept { return lanes[kind].get(); }

  private:
    friend class TopicTable;
    std::unique_ptr<char[]> name_;  // null: this place is free
    std::uint32_t id_ = 0;          // of a free place: the next free one
    std::uint8_t name_size_ = 0;
};

static_assert(sizeof(Topic) <= 80);

class TopicTable {
  public:
    TopicTable() noexcept = default;
    TopicTable(const TopicTable&) = delete;
    TopicTable& operator=(const TopicTable&) = delete;
    ~TopicTable() = default;

    // `hash` is hash_bytes(name, the process's seed): the caller has it, it names the home shard.
    [[nodiscard]] Topic* find(std::string_view name, std::uint64_t hash) noexcept;
    // Precondition: no topic of this name is here; 0 < name.size() <= topic_name_size_max.
    Topic& create(std::string_view name, std::uint64_t hash) noexcept;
    // Null if there is no topic of this number (any more).
    [[nodiscard]] Topic* get(std::uint32_t id) noexcept {
        if (id >= id_end_) return nullptr;
        Topic& topic = place(id);
        return topic.name_ != nullptr ? &topic : nullptr;
    }
    // Its lanes go too: unsubscribe their readers before.
    void erase(Topic& topic) noexcept;

    [[nodiscard]] std::size_t count() const noexcept { return index_.size(); }
    // Memory of places and names; that of lanes is not in it.
    [[nodiscard]] std::size_t held_bytes() const noexcept {
        return std::size_t{id_end_} * place_size + names_size_;
    }
    // To walk all topics, a few at a time if need be: get() every id below this.
    [[nodiscard]] std::uint32_t id_end() const noexcept { return id_end_; }

  private:
    static constexpr std::uint32_t chunk_size = 256;
    // With its slots in the index, which is 3/8 full at least, once it grew: 8 * 8 / 3.
    static constexpr std::size_t place_size = sizeof(Topic) + 22;

    // What an allocator takes for it.
    [[nodiscard]] static std::size_t memory_of_name(const Topic& topic) noexcept {
        return (std::size_t{topic.name_size_} + 8 + 31) / 16 * 16;
    }

    [[nodiscard]] Topic& place(std::uint32_t id) noexcept {
        return chunks_[id / chunk_size][id % chunk_size];
    }

    IndexTable index_;
    std::vector<std::unique_ptr<Topic[]>> chunks_;
    std::size_t names_size_ = 0;  // memory
    std::uint32_t id_end_ = 0;
    std::uint32_t free_ = IndexTable::none;  // the place freed last
};

}  // namespace ringcast::feed
