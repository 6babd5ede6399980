#include "node/parking.h"

#include <algorithm>

#include "base/check.h"

namespace ringcast::node {

void Parking::put(const std::string& client_id, std::vector<Owed> owed, Tick ends) noexcept {
    RC_CHECK(!owed.empty());
    for (Owed& before : take(client_id)) {
        const bool known = std::any_of(
            owed.begin(), owed.end(), [&](const Owed& each) { return each.topic == before.topic; });
        if (!known) owed.push_back(std::move(before));
    }
    Entry entry{.owed = std::move(owed),
                .size = client_id.size() + sizeof(Turn) + sizeof(Entry) + 128};
    for (const Owed& each : entry.owed) {
        entry.size += node::held_bytes(each);
    }
    entry.version = ++version_;
    size_ += entry.size;
    order_.push_back({.client_id = client_id, .ends = ends, .version = entry.version});
    entries_.emplace(client_id, std::move(entry));
}

std::vector<Owed> Parking::take(const std::string& client_id) noexcept {
    const auto found = entries_.find(client_id);
    if (found == entries_.end()) return {};
    std::vector<Owed> owed = std::move(found->second.owed);
    size_ -= found->second.size;
    entries_.erase(found);
    return owed;
}

}  // namespace ringcast::node
