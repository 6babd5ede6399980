#include "node/parking.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace ringcast::node {

void Parking::put(const std::string& session, std::vector<Owed> owed, Tick ends) noexcept {
    RC_CHECK(!owed.empty());
    for (Owed& before : take(session)) {
        const auto same = std::find_if(owed.begin(), owed.end(), [&](const Owed& each) {
            return each.topic == before.topic && each.epoch == before.epoch;
        });
        if (same == owed.end()) {
            owed.push_back(std::move(before));
            continue;
        }
        std::vector<feed::Seq> both;
        std::set_union(same->open.begin(),
                       same->open.end(),
                       before.open.begin(),
                       before.open.end(),
                       std::back_inserter(both));
        same->open = std::move(both);
    }
    Entry entry{.owed = std::move(owed), .size = session.size() + sizeof(Entry) + 128};
    for (const Owed& each : entry.owed) {
        entry.size += node::held_bytes(each);
    }
    entry.version = ++version_;
    size_ += entry.size;
    order_.push_back({.session = session, .ends = ends, .version = entry.version});
    size_ += size_of(order_.back());
    entries_.emplace(session, std::move(entry));
}

std::vector<Owed> Parking::take(const std::string& session) noexcept {
    const auto found = entries_.find(session);
    if (found == entries_.end()) return {};
    std::vector<Owed> owed = std::move(found->second.owed);
    size_ -= found->second.size;
    entries_.erase(found);
    return owed;
}

}  // namespace ringcast::node
