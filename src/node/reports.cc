#include "node/reports.h"

#include "base/check.h"

namespace ringcast::node {

void Reports::open(Report report) noexcept {
    const Key key{.topic = report.hash ^ report.epoch, .offset = report.offset};
    const std::uint64_t who = publisher(report.shard, report.serial);
    if (!open_.try_emplace(key, std::move(report)).second) return;  // two topics with one hash
    order_.push_back(key);
    publishers_[who]++;
    RC_CHECK(order_.size() == open_.size());
}

bool Reports::full(std::uint32_t shard, std::uint64_t serial) const noexcept {
    const auto found = publishers_.find(publisher(shard, serial));
    return open_.size() >= reports_max ||
           (found != publishers_.end() && found->second >= publisher_max);
}

void Reports::close(const Key& key) noexcept {
    const auto found = open_.find(key);
    const auto of = publishers_.find(publisher(found->second.shard, found->second.serial));
    RC_CHECK(of != publishers_.end());
    if (--of->second == 0) publishers_.erase(of);
    open_.erase(found);
}

void Reports::missed(std::uint64_t hash,
                     std::uint64_t epoch,
                     feed::Seq offset,
                     std::uint64_t clients) noexcept {
    const Key key{.topic = hash ^ epoch, .offset = offset};
    const auto found = open_.find(key);
    if (found == open_.end()) return;  // its publisher did not ask
    if (found->second.clients == 0) news_.push_back(key);
    found->second.clients += clients;
}

bool Reports::ended(const Key& key, Tick now) const noexcept {
    const auto found = open_.find(key);
    RC_CHECK(found != open_.end());
    // Not before what is known was told.
    return static_cast<std::int32_t>(now - found->second.ends) >= 0 && found->second.clients == 0;
}

}  // namespace ringcast::node
