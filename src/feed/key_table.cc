#include "feed/key_table.h"

#include <algorithm>

#include "base/hash.h"

namespace ringcast::feed {

namespace {

// What the allocator makes of a name: 8 bytes of its own, and 32 at least, in steps of 16.
[[nodiscard]] std::size_t allocated(std::size_t size) noexcept {
    return std::max<std::size_t>(32, (size + 8 + 15) / 16 * 16);
}

}  // namespace

std::uint64_t KeyTable::hash_of(Bytes name) const noexcept {
    return hash_bytes(name, hash_seed_);
}

KeyId KeyTable::find(Bytes name, std::uint64_t hash) const noexcept {
    return index_.find(
        hash, [&](KeyId candidate) { return as_text(place(candidate).name()) == as_text(name); });
}

KeyId KeyTable::create(Bytes name, std::uint64_t hash) noexcept {
    RC_CHECK(name.size() <= key_size_max);
    RC_DCHECK(find(name, hash) == none);
    KeyId id = free_;
    if (id != none) {
        free_ = place(id).older_;
    } else {
        RC_CHECK(id_end_ < none);
        id = id_end_++;
        if (id % chunk_size == 0) chunks_.push_back(std::make_unique<Key[]>(chunk_size));
    }
    Key& key = place(id);
    RC_CHECK(key.name_ == nullptr);
    key.older_ = none;
    key.name_ = std::make_unique_for_overwrite<std::byte[]>(name.size());
    std::copy(name.begin(), name.end(), key.name_.get());
    key.name_size_ = static_cast<std::uint8_t>(name.size());
    name_bytes_ += allocated(name.size());
    index_.insert(hash, id);
    return id;
}

void KeyTable::erase(KeyId id) noexcept {
    Key& key = place(id);
    RC_CHECK(key.name_ != nullptr);
    if (key.tombstone) revive(id);
    const KeyId erased =
        index_.erase(hash_of(key.name()), [&](KeyId candidate) { return candidate == id; });
    RC_CHECK(erased == id);
    name_bytes_ -= allocated(key.name_size_);
    key = Key{};
    key.older_ = free_;
    free_ = id;
}

void KeyTable::bury(KeyId id) noexcept {
    Key& key = place(id);
    RC_CHECK(!key.tombstone);
    key.tombstone = true;
    key.older_ = newest_;
    key.newer_ = none;
    (newest_ != none ? place(newest_).newer_ : oldest_) = id;
    newest_ = id;
    tombstones_++;
}

void KeyTable::revive(KeyId id) noexcept {
    Key& key = place(id);
    RC_CHECK(key.tombstone);
    RC_CHECK(tombstones_ > 0);
    (key.older_ != none ? place(key.older_).newer_ : oldest_) = key.newer_;
    (key.newer_ != none ? place(key.newer_).older_ : newest_) = key.older_;
    key.older_ = key.newer_ = none;
    key.tombstone = false;
    tombstones_--;
}

std::size_t KeyTable::heap_bytes() const noexcept {
    return name_bytes_ + chunks_.size() * (sizeof(Key) * chunk_size + sizeof(chunks_[0])) +
           index_.heap_bytes();
}

}  // namespace ringcast::feed
