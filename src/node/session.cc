#include "node/session.h"

#include <algorithm>

namespace ringcast::node {

std::uint32_t SubscriptionList::add(const Subscription& subscription) noexcept {
    RC_CHECK(size_ < UINT16_MAX);  // links are below no_link
    if (size_ == capacity_) {
        const auto grown = static_cast<std::uint16_t>(std::min(capacity_ * 2 + 2, UINT16_MAX));
        auto larger = std::make_unique<Subscription[]>(grown);
        for (std::uint32_t link = 0; link < size_; link++) {
            larger[link] = (*this)[link];
        }
        many_ = std::move(larger);
        capacity_ = grown;
    }
    size_++;
    (*this)[size_ - 1u] = subscription;
    return size_ - 1u;
}

void SubscriptionList::remove(std::uint32_t link) noexcept {
    RC_CHECK(link < size_);
    (*this)[link] = (*this)[size_ - 1u];
    size_--;
}

std::string scoped_name(const Session& session, std::string_view client_id) noexcept {
    const bool scoped = session.identity != nullptr;
    std::string name = scoped ? session.identity->claims.user + name_separator : std::string();
    return name.append(client_id);
}

}  // namespace ringcast::node
