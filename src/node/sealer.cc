#include "node/sealer.h"

#include <algorithm>
#include <memory>

#include <openssl/crypto.h>

#include "base/check.h"

namespace ringcast::node {

SealTicket::SealTicket(SealTicket&& other) noexcept
    : subkey_(other.subkey_), number_(other.number_), tries_(other.tries_), mine_(other.mine_) {
    other.mine_ = false;
}

void SealTicket::seal(wire::SealCipher& cipher,
                      const wire::SealPlace& place,
                      wire::PayloadForm form,
                      Bytes payload,
                      MutBytes box) noexcept {
    RC_CHECK(mine_);
    RC_CHECK(tries_ != UINT32_MAX);
    wire::SealInput input{.place = place, .form = form, .payload = payload};
    store_be64(input.nonce.data(), number_);
    store_be16(input.nonce.data() + 8, static_cast<std::uint16_t>(tries_ >> 16));
    store_be16(input.nonce.data() + 10, static_cast<std::uint16_t>(tries_ & 0xffff));
    tries_++;
    cipher.seal(subkey_, input, box);
}

Sealer::Sealer(const Config& config) noexcept : config_(config) {
    const bool any = std::any_of(config.topic.begin(),
                                 config.topic.end(),
                                 [](const TopicRule& rule) { return !rule.seal.empty(); });
    if (!any) return;
    for (const TopicRule& rule : config.topic) {
        subkey_of_.push_back(rule.seal.empty() ? none : missing);
    }
}

void Sealer::set_keys(const SealKeys& keys) noexcept {
    RC_CHECK(check_seal_keys(config_, keys).empty());
    if (!cipher_.has_value()) cipher_.emplace();
    subkeys_.clear();
    for (std::size_t rule = 0; rule < subkey_of_.size(); rule++) {
        if (subkey_of_[rule] == none) continue;
        const SealKey* key = find_seal_key(keys, config_.topic[rule].seal);
        const auto known = std::find_if(subkeys_.begin(), subkeys_.end(), [=](const auto& subkey) {
            return subkey.id == key->id;
        });
        subkey_of_[rule] = static_cast<std::uint16_t>(known - subkeys_.begin());
        if (known != subkeys_.end()) continue;
        subkeys_.push_back(wire::SealSubkey::derive(key->secret, key->id, salt_));
    }
    RC_CHECK(subkeys_.size() < missing);
}

const wire::SealSubkey& Sealer::subkey(std::uint16_t rule) const noexcept {
    RC_CHECK(seals(rule));
    RC_CHECK(subkey_of_[rule] < subkeys_.size());
    return subkeys_[subkey_of_[rule]];
}

SealTicket Sealer::ticket(std::uint16_t rule) noexcept {
    RC_CHECK(next_ != UINT64_MAX);
    return {subkey(rule), next_++};
}

Bytes Sealer::seal(std::uint16_t rule,
                   const wire::SealPlace& place,
                   wire::PayloadForm form,
                   Bytes payload) noexcept {
    SealTicket once = ticket(rule);
    const MutBytes box = room(once.size_for(payload.size()));
    once.seal(*cipher_, place, form, payload, box);
    return box;
}

Bytes Sealer::outline(std::uint16_t rule, std::size_t payload_size) noexcept {
    const std::string& id = subkey(rule).id;
    const MutBytes box = room(wire::sealed_size(id.size(), payload_size));
    wire::begin_box(id, box);
    return box;
}

MutBytes Sealer::room(std::size_t size) noexcept {
    if (room_.size() < size) room_.resize(size);
    return MutBytes(room_).first(size);
}

std::string check_seal_keys(const Config& config, const SealKeys& keys) noexcept {
    for (const TopicRule& rule : config.topic) {
        if (rule.seal.empty() || find_seal_key(keys, rule.seal) != nullptr) continue;
        return "'" + rule.pattern + "': seal=" + rule.seal + ": there is no key of this name";
    }
    return {};
}

std::string check_seal_change(const SealKeys& before, const SealKeys& keys) noexcept {
    for (const SealKey& old : before) {
        for (const SealKey& key : keys) {
            if (key.id != old.id) continue;
            const bool same =
                CRYPTO_memcmp(key.secret.bytes.data(), old.secret.bytes.data(), SealSecret::size) ==
                0;
            if (!same) return "id " + key.id + " is another key than before: give it another id";
        }
    }
    return {};
}

void post_seal_keys(Mesh& mesh, const SealKeys& keys) noexcept {
    for (std::uint32_t shard = 0; shard < mesh.shard_count(); shard++) {
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::seal_keys;
        mail->from = shard;  // in its own name: there need be no other
        mail->seal_keys = std::make_unique<SealKeys>(keys);
        mesh.post(shard, std::move(mail));
    }
}

}  // namespace ringcast::node
