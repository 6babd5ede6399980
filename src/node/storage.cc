#include "node/storage.h"

#include "base/check.h"

namespace ringcast::node {

bool StoreState::failed(Nanos now) noexcept {
    RC_CHECK(now > 0);
    return failed_at_.exchange(now, std::memory_order_relaxed) == 0;
}

bool StoreState::worked(Nanos now) noexcept {
    Nanos failed_at = failed_at_.load(std::memory_order_relaxed);
    if (failed_at == 0 || now - failed_at < quiet) return false;
    return failed_at_.compare_exchange_strong(failed_at, 0, std::memory_order_relaxed);
}

io::Keep keep_of(const Config& config, const TopicRule& rule) noexcept {
    io::Keep keep{.records = rule.history,
                  .keyed = rule.keyed,
                  .ids = config.dedup_max,
                  .ids_age = static_cast<Nanos>(config.dedup_window)};
    if (rule.history != 0) {
        keep.bytes = rule.history_bytes;
        if (rule.history_age != 0) keep.age = static_cast<Nanos>(rule.history_age);
    }
    return keep;
}

}  // namespace ringcast::node
