#pragma once

// The keys of the tickets with which clients resume (RFC 5077; RFC 8446, 4.6.1): one makes them,
// and the one before it still opens those that it made. They are changed by the time of whoever
// calls tend(), and by nothing else: certificates that are read again have nothing to do with them.
//
// A ticket is AES-256-CBC under HMAC-SHA-256, as RFC 5077, 4, recommends. The keys are drawn from
// OpenSSL's generator and never leave this object but for the time of a handshake.
//
// Any number of threads, without a lock. A key's words are atomic, so one that is replaced while it
// is read is a key that opens nothing: that client shakes hands in full.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

struct ssl_ctx_st;

namespace ringcast::wire {

class TlsTickets {
  public:
    // How long a key makes tickets. For as long again it opens them, so a ticket is good for that
    // long at least, which is longer than a client may use it (tls_ticket_lifetime_s).
    static constexpr Nanos key_time = Nanos{4} * 60 * 60 * nanos_per_s;

    TlsTickets() noexcept;
    TlsTickets(const TlsTickets&) = delete;
    TlsTickets& operator=(const TlsTickets&) = delete;
    ~TlsTickets();

    // `now`: the moment, by a clock that all callers share. The first call begins the time of the
    // key that is there; then those are replaced whose time is over. Cheap if there is nothing to
    // do.
    void tend(Nanos now) noexcept;
    // When there is; `never` before the first tend().
    [[nodiscard]] Nanos due() const noexcept { return due_.load(std::memory_order_relaxed); }

    // The context's tickets are made and opened with these. They must outlive it, and all
    // connections that were made with it.
    void serve(ssl_ctx_st* context) const noexcept;

    static constexpr std::size_t name_size = 16;
    static constexpr std::size_t secret_size = 32;

    // One as it is used. Wiped when it goes.
    struct Key {
        std::array<unsigned char, name_size> name{};  // stands in the ticket
        std::array<unsigned char, secret_size> cipher{};
        std::array<unsigned char, secret_size> mac{};

        Key() noexcept = default;
        Key(const Key&) = delete;
        Key& operator=(const Key&) = delete;
        ~Key();
    };
    // Whether `key` is the one that makes tickets, or was just before.
    enum class Age : std::uint8_t { none, present, former };
    void take_present(Key& key) const noexcept;
    // The one of that name, which has name_size bytes.
    [[nodiscard]] Age find(const unsigned char* name, Key& key) const noexcept;

  private:
    static constexpr std::size_t words = sizeof(Key) / sizeof(std::uint64_t);
    using Slot = std::array<std::atomic<std::uint64_t>, words>;

    [[nodiscard]] bool replace() noexcept;
    static void load(const Slot& slot, Key& key) noexcept;

    std::array<Slot, 2> slots_{};  // the keys of even and of odd numbers
    // Of the key that makes tickets. Released when its slot is written.
    std::atomic<std::uint64_t> number_{0};
    std::atomic<Nanos> due_{never};
};

}  // namespace ringcast::wire
