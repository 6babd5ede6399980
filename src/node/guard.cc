#include "node/guard.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/hash.h"

namespace ringcast::node {

namespace {

constexpr std::uint16_t too_many = 429;
constexpr std::uint32_t retry_after_max_s = 5;

}  // namespace

Guard::Guard(const Config& config,
             Quotas* quotas,
             io::Reactor& reactor,
             Sessions& sessions,
             Counters& counters,
             std::uint32_t capacity) noexcept
    : config_(config),
      quotas_(quotas),
      reactor_(reactor),
      sessions_(sessions),
      counters_(counters),
      any_header_(!config.proxy_protocol.empty()),
      visitors_(capacity),
      pending_(capacity) {
    for (const std::string& text : config.trusted_proxies) {
        const bool parsed = parse_network(text, proxies_.emplace_back());
        RC_CHECK(parsed);  // check() saw to it
    }
    const std::vector<std::string>& asking = config.proxy_protocol;
    for (const std::string& text : config.listen) {
        header_wanted_.push_back(std::find(asking.begin(), asking.end(), text) != asking.end());
    }
}

void Guard::arrived(io::ConnIndex conn, std::uint32_t listener) noexcept {
    if (quotas_ == nullptr && proxies_.empty()) return;
    Visitor& visitor = visitors_.emplace(conn);
    if (quotas_ != nullptr) {
        const io::ConnIndex oldest = pending_.oldest();
        pending_.add(conn);
        const std::uint64_t before = quotas_->pending.fetch_add(1, std::memory_order_relaxed);
        // Not where few wait: else those of another shard would cost this one all of its own.
        const std::uint64_t shards = std::max<std::uint64_t>(config_.shards, 1);
        const bool many = pending_.count() > (quotas_->pending_max + shards - 1) / shards;
        if (before >= quotas_->pending_max && many && oldest != io::no_conn) evict(oldest);
    }
    auto peer = reactor_.peer(conn);
    if (!peer.ok()) return;  // a direct descriptor, or it is gone already
    meet(conn, visitor, ip_of(peer.value().v6, peer.value().ip));
    if (!any_header_ || listener >= header_wanted_.size() || !header_wanted_[listener]) return;
    if (visitor.trusted) {
        visitor.header = std::make_unique<wire::ProxyParser>();
        return;
    }
    counters_.bad_proxies++;
    sessions_.abort(conn);
}

bool Guard::take_header(io::ConnIndex conn, MutBytes& bytes) noexcept {
    Visitor& visitor = visitors_[conn];
    if (sessions_[conn].state == State::draining) return false;
    std::size_t consumed = 0;
    const wire::ProxyParser::Status status = visitor.header->feed(bytes, consumed);
    bytes = bytes.subspan(consumed);
    if (status == wire::ProxyParser::Status::need_more) return false;
    const std::unique_ptr<wire::ProxyParser> header = std::move(visitor.header);
    if (status == wire::ProxyParser::Status::failed) {
        counters_.bad_proxies++;
        sessions_.abort(conn);
        return false;
    }
    if (header->has_source()) meet(conn, visitor, header->source());
    return !bytes.empty();
}

// Who speaks from here on, as far as we know now: one more proxy, or somebody of his own.
void Guard::meet(io::ConnIndex conn, Visitor& visitor, const Ip& ip) noexcept {
    visitor.trusted = any_contains(proxies_, ip);
    if (!visitor.trusted) count(conn, visitor, ip);
}

void Guard::count(io::ConnIndex conn, Visitor& visitor, const Ip& ip) noexcept {
    if (quotas_ == nullptr) return;
    if (is_loopback(ip) && !config_.limit_loopback) return;
    RC_CHECK(visitor.key == 0);
    const Ip household = household_of(ip);
    std::array<std::uint8_t, sizeof(household.bytes) + 1> text{household.v6};
    std::copy(household.bytes.begin(), household.bytes.end(), text.begin() + 1);
    visitor.key = key_of(std::as_bytes(std::span(text)));

    const io::ConnIndex oldest = pending_.oldest_of(visitor.key);
    pending_.set_key(conn, visitor.key);
    const std::uint64_t pending = quotas_->pending_addresses.add(visitor.key);
    const bool crowded =
        quotas_->pending_per_address != 0 && pending > quotas_->pending_per_address;
    if (crowded && oldest != io::no_conn) evict(oldest);

    if (!quotas_->arrivals.take(visitor.key, quotas_->connects, reactor_.now())) {
        visitor.refusal = Refusal::hasty;
    } else if (quotas_->addresses.add_within(visitor.key, quotas_->per_address)) {
        visitor.counted = true;
    } else {
        visitor.refusal = Refusal::crowded;
    }
}

void Guard::evict(io::ConnIndex oldest) noexcept {
    counters_.evicted++;
    let_in(oldest);  // it counts no more, whatever the kernel still has to say of it
    sessions_.abort(oldest);
}

Guard::Verdict Guard::judge(io::ConnIndex conn,
                            std::string_view forwarded_for,
                            unsigned lines) noexcept {
    Visitor* visitor = visitors_.find(conn);
    if (visitor == nullptr) return {};
    if (visitor->trusted && lines > 1) {
        // Together they would be one list (RFC 9110, 5.3), whose last entries alone would be
        // proxies.
        counters_.bad_proxies++;
        return {.status = 400, .reason = "X-Forwarded-For in more lines than one"};
    }
    if (visitor->trusted && !forwarded_for.empty()) {
        Ip client;
        if (!wire::forwarded_client(forwarded_for, proxies_, client)) {
            counters_.bad_proxies++;
            return {.status = 400, .reason = "X-Forwarded-For of a trusted proxy names no address"};
        }
        visitor->trusted = false;
        if (!any_contains(proxies_, client)) count(conn, *visitor, client);
    }
    switch (visitor->refusal) {
        case Refusal::none:
            return {};
        case Refusal::crowded:
            counters_.crowded++;
            return {.status = too_many,
                    .reason = "too many connections of this address (--connections-per-address)"};
        case Refusal::hasty:
            counters_.hasty++;
            return {.status = too_many,
                    .reason = "this address connects too often (--connects-per-second)"};
    }
    return {};
}

std::uint32_t Guard::retry_after() noexcept {
    return 1 + static_cast<std::uint32_t>(reactor_.random() % retry_after_max_s);
}

bool Guard::set_user(io::ConnIndex conn, std::string_view user, std::uint64_t most) noexcept {
    Visitor* visitor = visitors_.find(conn);
    if (quotas_ == nullptr || visitor == nullptr) return true;
    const std::uint64_t key = user.empty() ? 0 : key_of(as_bytes(user));
    if (key == visitor->user_key) return true;
    const std::uint64_t all = quotas_->per_user;
    const std::uint64_t limit = most == 0 || all == 0 ? std::max(most, all) : std::min(most, all);
    if (key != 0 && !quotas_->users.add_within(key, limit)) {
        counters_.crowded_users++;
        return false;
    }
    if (visitor->user_key != 0) quotas_->users.remove(visitor->user_key);
    visitor->user_key = key;
    return true;
}

void Guard::let_in(io::ConnIndex conn) noexcept {
    if (quotas_ == nullptr || !pending_.contains(conn)) return;
    pending_.remove(conn);
    quotas_->pending.fetch_sub(1, std::memory_order_relaxed);
    const std::uint64_t key = visitors_[conn].key;
    if (key != 0) quotas_->pending_addresses.remove(key);
}

void Guard::left(io::ConnIndex conn) noexcept {
    const Visitor* visitor = visitors_.find(conn);
    if (visitor == nullptr) return;
    let_in(conn);
    if (visitor->counted) quotas_->addresses.remove(visitor->key);
    if (visitor->user_key != 0) quotas_->users.remove(visitor->user_key);
    visitors_.erase(conn);
}

// Not 0, which means nobody.
std::uint64_t Guard::key_of(Bytes bytes) const noexcept {
    const std::uint64_t hash = hash_bytes(bytes, quotas_->seed);
    return hash != 0 ? hash : 1;
}

}  // namespace ringcast::node
