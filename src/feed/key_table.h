#pragma once

// The keys of a topic, by name and by number, and where the latest record of each lies.
//
// About 100 bytes of heap a key with a name of 20. A number is used again after erase(). One thread
// owns a KeyTable.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/index_table.h"
#include "feed/pool.h"

namespace ringcast::feed {

using KeyId = std::uint32_t;

constexpr std::size_t key_size_max = 255;

struct Key {
    Seq seq = 0;                 // of its latest record
    Segment* segment = nullptr;  // where that is
    std::uint32_t size = 0;      // bytes of it
    bool tombstone = false;      // it says that the key is gone

    [[nodiscard]] Bytes name() const noexcept { return {name_.get(), name_size_}; }

  private:
    friend class KeyTable;
    std::uint8_t name_size_ = 0;
    KeyId older_ = IndexTable::none;     // in the list of tombstones; of a free place: the next
    KeyId newer_ = IndexTable::none;     // in the list of tombstones
    std::unique_ptr<std::byte[]> name_;  // null: this place is free
};

static_assert(sizeof(Key) <= 48);

class KeyTable {
  public:
    static constexpr KeyId none = IndexTable::none;

    // `hash_seed`: the process's (base/hash.h), since names come from outside.
    explicit KeyTable(std::uint64_t hash_seed) noexcept : hash_seed_(hash_seed) {}
    KeyTable(const KeyTable&) = delete;
    KeyTable& operator=(const KeyTable&) = delete;
    ~KeyTable() = default;

    [[nodiscard]] std::uint64_t hash_of(Bytes name) const noexcept;
    // The number of the key called `name`, or none. `hash` is hash_of(name).
    [[nodiscard]] KeyId find(Bytes name, std::uint64_t hash) const noexcept;
    // Precondition: there is no such key; name.size() <= key_size_max.
    KeyId create(Bytes name, std::uint64_t hash) noexcept;
    void erase(KeyId id) noexcept;

    // Precondition: `id` was once a key's number; what is free has the seq 0.
    [[nodiscard]] Key& operator[](KeyId id) noexcept { return place(id); }
    [[nodiscard]] const Key& operator[](KeyId id) const noexcept { return place(id); }

    // The tombstones among the keys, in the order in which they became that.
    void bury(KeyId id) noexcept;
    void revive(KeyId id) noexcept;
    [[nodiscard]] KeyId oldest_tombstone() const noexcept { return oldest_; }

    [[nodiscard]] std::size_t count() const noexcept { return index_.size(); }
    [[nodiscard]] std::size_t tombstones() const noexcept { return tombstones_; }  // of these
    // What the table has allocated.
    [[nodiscard]] std::size_t heap_bytes() const noexcept;

  private:
    static constexpr KeyId chunk_size = 64;

    [[nodiscard]] Key& place(KeyId id) const noexcept {
        RC_DCHECK(id < id_end_);
        return chunks_[id / chunk_size][id % chunk_size];
    }

    std::uint64_t hash_seed_;
    IndexTable index_;
    std::vector<std::unique_ptr<Key[]>> chunks_;  // they never move
    KeyId id_end_ = 0;
    KeyId free_ = none;  // the place freed last
    KeyId oldest_ = none;
    KeyId newest_ = none;
    std::size_t tombstones_ = 0;
    std::size_t name_bytes_ = 0;
};

}  // namespace ringcast::feed
