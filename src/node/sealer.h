#pragma once

// Seals what is published on topics whose rule says `seal`, at their home shard: once for all
// subscribers, when the record has its number.
//
// No nonce is used twice under one key, whatever happens. The salt of a Sealer is drawn from the
// kernel when the server is built, one for each shard, and every box is sealed under a key that is
// derived from its salt; under that the nonce is a count: 64 bits for the records that this shard
// has sealed, whatever their topics and keys, and 32 for the tries of one record. So another life,
// shard or machine has other keys, and within a life nothing is counted twice. Epochs and offsets
// are what a box is bound to, and no part of this: they do come again where a batch of records
// fails on its way to the disk, and where a disk is put back to what it was
// (docs/DECISIONS.md, "Sealed payloads").
//
// One thread owns a Sealer; a ticket is its holder's.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/config.h"
#include "ringcast/seal_keys.h"

#include "base/bytes.h"
#include "node/mesh.h"
#include "wire/seal.h"

namespace ringcast::node {

// The right to seal one record, wherever and as often as that has to be tried: each time it is
// another nonce. It is moved, never copied.
class SealTicket {
  public:
    SealTicket(const wire::SealSubkey& subkey, std::uint64_t number) noexcept
        : subkey_(subkey), number_(number) {}
    SealTicket(SealTicket&& other) noexcept;
    SealTicket& operator=(SealTicket&&) = delete;
    SealTicket(const SealTicket&) = delete;
    SealTicket& operator=(const SealTicket&) = delete;
    ~SealTicket() = default;

    [[nodiscard]] std::size_t size_for(std::size_t payload_size) const noexcept {
        return wire::sealed_size(subkey_.id.size(), payload_size);
    }
    // Precondition: `box` has size_for() bytes.
    void seal(wire::SealCipher& cipher,
              const wire::SealPlace& place,
              wire::PayloadForm form,
              Bytes payload,
              MutBytes box) noexcept;

  private:
    wire::SealSubkey subkey_;
    std::uint64_t number_;
    std::uint32_t tries_ = 0;
    bool mine_ = true;  // it was not moved away
};

class Sealer {
  public:
    explicit Sealer(const Config& config) noexcept;

    // Before the first set_keys(). The salt is no secret, and nobody else has it.
    void set_salt(const wire::SealSalt& salt) noexcept { salt_ = salt; }
    // From now on these. Precondition: check_seal_keys().
    void set_keys(const SealKeys& keys) noexcept;

    // Whether topics with the rule of this number are sealed.
    [[nodiscard]] bool seals(std::uint16_t rule) const noexcept {
        return rule < subkey_of_.size() && subkey_of_[rule] != none;
    }
    // Preconditions of the rest: seals(rule), and there are keys.
    [[nodiscard]] SealTicket ticket(std::uint16_t rule) noexcept;
    // The box, until the next call of anything.
    [[nodiscard]] Bytes seal(std::uint16_t rule,
                             const wire::SealPlace& place,
                             wire::PayloadForm form,
                             Bytes payload) noexcept;
    // What is as large as that box, and has its id, but nothing in it.
    [[nodiscard]] Bytes outline(std::uint16_t rule, std::size_t payload_size) noexcept;

  private:
    static constexpr std::uint16_t none = UINT16_MAX;
    static constexpr std::uint16_t missing = none - 1;  // it is sealed, but there are no keys yet

    [[nodiscard]] const wire::SealSubkey& subkey(std::uint16_t rule) const noexcept;
    [[nodiscard]] MutBytes room(std::size_t size) noexcept;

    const Config& config_;
    wire::SealSalt salt_{};
    std::uint64_t next_ = 1;  // the next ticket's number
    std::vector<wire::SealSubkey> subkeys_;
    std::vector<std::uint16_t> subkey_of_;  // by number of rule; empty: no rule says `seal`
    std::optional<wire::SealCipher> cipher_;
    std::vector<std::byte> room_;
};

// Whether these keys will do: a line about the first rule whose key is not there; empty if none.
[[nodiscard]] std::string check_seal_keys(const Config& config, const SealKeys& keys) noexcept;
// ... and in place of those: an id that is in both must be the same key.
[[nodiscard]] std::string check_seal_change(const SealKeys& before, const SealKeys& keys) noexcept;
// Gives every shard these keys, each when it comes to its mail. Any thread, but one at a time.
void post_seal_keys(Mesh& mesh, const SealKeys& keys) noexcept;

}  // namespace ringcast::node
