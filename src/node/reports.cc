#include "node/reports.h"

#include "base/check.h"

namespace ringcast::node {

void Reports::open(Report report) noexcept {
    const Key key{.topic = report.hash ^ report.epoch, .offset = report.offset};
    if (open_.insert_or_assign(key, std::move(report)).second) order_.push_back(key);
    RC_CHECK(order_.size() == open_.size());
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
    return static_cast<std::int32_t>(now - found->second.ends) >= 0;
}

}  // namespace ringcast::node
