#include "node/attendance.h"

#include "base/check.h"

namespace ringcast::node {

namespace {

// A node of a map with what it points to, as an allocator gives it out.
constexpr std::size_t node_bytes = 160;
constexpr std::size_t change_bytes = 96;

}  // namespace

void Attendance::join(std::string_view client,
                      std::string_view info,
                      std::uint64_t now_s) noexcept {
    auto found = entries_.find(client);
    if (found == entries_.end()) {
        if (entries_.size() >= listed_max_) {
            unlisted_++;
            count_changed_ = count_changed_ || watched_;
            return;
        }
        found = entries_.emplace(client, Entry{.since_s = now_s}).first;
        held_ += node_bytes + client.size();
        note(client, true);
    }
    Entry& entry = found->second;
    entry.subscriptions++;
    if (info.empty()) return;
    held_ += info.size() - entry.info.size();
    entry.info = info;
}

void Attendance::leave(std::string_view client) noexcept {
    const auto found = entries_.find(client);
    if (found == entries_.end()) {
        RC_CHECK(unlisted_ > 0);
        unlisted_--;
        count_changed_ = count_changed_ || watched_;
        return;
    }
    Entry& entry = found->second;
    RC_CHECK(entry.subscriptions > 0);
    entry.subscriptions--;
    if (entry.subscriptions > 0) return;
    note(client, false);
    held_ -= node_bytes + client.size() + entry.info.size();
    entries_.erase(found);
}

void Attendance::rename(std::string_view former,
                        std::string_view client,
                        std::string_view info,
                        std::uint64_t now_s) noexcept {
    const auto found = entries_.find(former);
    const bool keeps = info.empty() && found != entries_.end();
    const std::string kept(keeps ? std::string_view(found->second.info) : info);
    leave(former);
    join(client, kept, now_s);
}

void Attendance::note(std::string_view client, bool present) noexcept {
    if (!watched_ || too_many_) return;
    const auto found = changes_.find(client);
    if (found != changes_.end()) {
        RC_CHECK(found->second != present);
        found->second = present;
        return;
    }
    if (changes_.size() == changes_max) {
        forget_changes();
        too_many_ = true;
        return;
    }
    changes_.emplace(client, present);
    held_ += change_bytes + client.size();
}

void Attendance::watch(bool watched) noexcept {
    watched_ = watched;
    forget_changes();
}

void Attendance::forget_changes() noexcept {
    for (const auto& change : changes_) {
        held_ -= change_bytes + change.first.size();
    }
    changes_.clear();
    count_changed_ = too_many_ = false;
}

}  // namespace ringcast::node
