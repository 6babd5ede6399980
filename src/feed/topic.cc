#include "feed/topic.h"

#include <algorithm>

namespace ringcast::feed {

Topic* TopicTable::find(std::string_view name, std::uint64_t hash) noexcept {
    const std::uint32_t id =
        index_.find(hash, [&](std::uint32_t candidate) { return place(candidate).name() == name; });
    return id == IndexTable::none ? nullptr : &place(id);
}

Topic& TopicTable::create(std::string_view name, std::uint64_t hash) noexcept {
    RC_CHECK(!name.empty());
    RC_CHECK(name.size() <= topic_name_size_max);
    RC_DCHECK(find(name, hash) == nullptr);

    std::uint32_t id = free_;
    if (id != IndexTable::none) {
        free_ = place(id).id_;
    } else {
        RC_CHECK(id_end_ < IndexTable::none);
        id = id_end_++;
        if (id % chunk_size == 0) chunks_.push_back(std::make_unique<Topic[]>(chunk_size));
    }
    Topic& topic = place(id);
    RC_CHECK(topic.name_ == nullptr);
    topic.name_ = std::make_unique_for_overwrite<char[]>(name.size());
    std::copy(name.begin(), name.end(), topic.name_.get());
    topic.name_size_ = static_cast<std::uint8_t>(name.size());
    topic.id_ = id;
    topic.hash = hash;
    names_size_ += memory_of_name(topic);
    index_.insert(hash, id);
    return topic;
}

void TopicTable::erase(Topic& topic) noexcept {
    const std::uint32_t id = topic.id_;
    RC_CHECK(get(id) == &topic);
    for (const std::unique_ptr<Lane>& lane : topic.lanes) {
        RC_CHECK(lane == nullptr || lane->size() == 0);
    }
    const std::uint32_t erased =
        index_.erase(topic.hash, [&](std::uint32_t candidate) { return candidate == id; });
    RC_CHECK(erased == id);
    names_size_ -= memory_of_name(topic);
    topic = Topic{};
    topic.id_ = free_;
    free_ = id;
}

}  // namespace ringcast::feed
