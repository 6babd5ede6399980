#pragma once

// Sealed payloads: AES-256-GCM (NIST SP 800-38D) under a key that HKDF-SHA-256 (RFC 5869) derives
// from a secret, a salt and the secret's id. What it protects from: docs/SECURITY.md.
//
// A box holds everything but the secret, and where the record is:
//   id size (1)  id  salt (16)  nonce (12)  ciphertext  tag (16)
// The plaintext is one byte, how the payload stands (PayloadForm), and the payload. Associated data
// is the place of the record, so that a box opens only there:
//   "RCS1"  id size (1) id  topic size (1) topic  key size (1) key  epoch (8)  offset (8)
// Numbers are big-endian. Every text has its size in front, so no two places read alike.
//
// GCM forgives no nonce that is used twice under one key: who knows two such boxes can forge others
// and reads what differs. So whoever seals draws a salt of his own from the kernel, once, and
// counts; nothing that may come again (an offset, an epoch, a clock) is part of it (node/sealer.h).

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ringcast/seal_keys.h"

#include "base/bytes.h"
#include "wire/envelope.h"

namespace ringcast::wire {

constexpr std::size_t seal_salt_size = 16;
constexpr std::size_t seal_nonce_size = 12;
constexpr std::size_t seal_tag_size = 16;

using SealSalt = std::array<std::byte, seal_salt_size>;
using SealNonce = std::array<std::byte, seal_nonce_size>;

// Where a record is: what its reader knows anyhow, and nobody may change.
struct SealPlace {
    std::string_view topic = {};  // at most topic_size_max bytes
    std::uint64_t epoch = 0;
    std::uint64_t offset = 0;
    std::string_view key = {};  // of a keyed topic, at most key_size_max bytes; else empty
};

// What is sealed. `form`: not PayloadForm::sealed.
struct SealInput {
    SealNonce nonce{};
    SealPlace place{};
    PayloadForm form = PayloadForm::json;
    Bytes payload{};
};

// The key for all boxes of one salt. Wiped when it goes.
struct SealSubkey {
    std::string id;
    SealSalt salt{};
    SealSecret bytes;

    // Precondition: seal_name_valid(id).
    [[nodiscard]] static SealSubkey derive(const SealSecret& secret,
                                           std::string_view id,
                                           const SealSalt& salt) noexcept;
};

[[nodiscard]] constexpr std::size_t sealed_size(std::size_t id_size,
                                                std::size_t payload_size) noexcept {
    return 1 + id_size + seal_salt_size + seal_nonce_size + 1 + payload_size + seal_tag_size;
}

// A box, looked at from outside. `data`: from the salt to the tag, what goes over the wire.
struct SealedBox {
    std::string_view id;
    Bytes data;
};
// False, if these bytes are no box.
[[nodiscard]] bool read_box(Bytes bytes, SealedBox& box) noexcept;
// What seal() begins a box of that id with: enough for read_box(). Precondition: `box` has the size
// of a box.
void begin_box(std::string_view id, MutBytes box) noexcept;

// AES-GCM with its state, which is not made anew each time. One thread at a time.
class SealCipher {
  public:
    SealCipher() noexcept;
    SealCipher(const SealCipher&) = delete;
    SealCipher& operator=(const SealCipher&) = delete;
    ~SealCipher();

    // Fills `box`, whose size must be sealed_size(). Precondition: no other input had this nonce
    // under this subkey.
    void seal(const SealSubkey& subkey, const SealInput& input, MutBytes box) noexcept;

    // False, and an empty payload, if this is not what was sealed with that secret, for that place.
    [[nodiscard]] bool open(const SealSecret& secret,
                            const SealPlace& place,
                            Bytes box,
                            PayloadForm& form,
                            std::string& payload) noexcept;

  private:
    struct State;
    State* state_;
};

}  // namespace ringcast::wire
