#pragma once

// Who holds which client id. The newest connection of an id wins; the older one is closed with
// 4501, wherever it is.
//
// Newest by when it was accepted, not by when it claimed: a handshake that its client gave up may
// come late, behind the claim of the client's next connection. This rests on Reactor::now() being
// one clock for all shards, and on each of them accepting within a turn: a client that dials again
// sooner than that may still be told wrong. On one shard the serial settles what was accepted at
// the same moment; on two, the claim that comes last.
//
// Only ids that clients choose are here (ids that the server makes are unique as they are). An id
// has a home shard by its hash; claims and releases travel there as mail, so two connections that
// come at the same moment on two shards are put in one order.
//
// Sessions are held like ids, under a name that nobody can choose (it has a control character and
// chance in it): that of a connection which acknowledges, and whoever shows its token is the same
// client. What it owes when its connection ends it leaves at the session's home (node/parking.h),
// and gets it from there when it comes back: from an older connection that is still there, too, as
// soon as that one is gone.
//
// One thread owns a Registry.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ringcast/config.h"

#include "base/time.h"
#include "io/reactor.h"
#include "node/mesh.h"
#include "node/parking.h"
#include "node/sessions.h"

namespace ringcast::node {

class Registry {
  public:
    Registry(const Config& config,
             std::uint32_t shard,
             std::uint64_t hash_seed,
             Mesh& mesh,
             Sessions& sessions) noexcept;
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    // It has its client_id: announces it.
    void claim(io::ConnIndex conn) noexcept;
    // It is a user's now: `former` is free, and its client_id is claimed under the new name. Its
    // session keeps the name that it has, which nobody can choose.
    void rename(io::ConnIndex conn, std::string_view former) noexcept;
    // It has its session's name. `back`: by an earlier connection's token, and it is not read from
    // until it has what that one owed.
    void enter(io::ConnIndex conn, bool back) noexcept;
    // It goes, and owes this.
    void release(io::ConnIndex conn, std::vector<Owed> owed = {}) noexcept;
    // Mail of the kinds claim, release, evict, park, resume.
    void receive(Mail& mail) noexcept;

    // Ends some sessions that nobody came back to: missed(owed) for each topic. Once a second, and
    // again as long as it is true.
    template <typename Tell>
    [[nodiscard]] bool sweep(const Tell& missed) noexcept {
        return parking_.sweep(sessions_.now(), missed);
    }

    // Names that somebody has; O(names).
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] std::size_t held_bytes() const noexcept { return parking_.held_bytes(); }

  private:
    struct Holder {
        std::uint32_t shard = 0;
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
        Nanos accepted_at = 0;
        bool operator==(const Holder&) const = default;
    };
    struct Entry {
        Holder holder;
        std::vector<Holder> before;  // older ones that are not gone yet, nearly always none
        bool waits = false;          // for them, to have what they owe
        bool vacant = false;         // nobody has it; there are older ones
    };

    [[nodiscard]] static bool is_older(const Holder& who, const Holder& than) noexcept;
    [[nodiscard]] Holder holder_of(io::ConnIndex conn) noexcept;
    [[nodiscard]] std::uint32_t home_of(std::string_view id) const noexcept;
    void on_evict(const Mail& mail) noexcept;
    [[nodiscard]] std::unique_ptr<Mail> mail_of(MailKind kind,
                                                const Holder& who,
                                                std::string_view id) const noexcept;
    void post(std::uint32_t to, std::unique_ptr<Mail> mail) noexcept;
    void on_claim(const Holder& who, const std::string& id, bool back) noexcept;
    void on_release(const Holder& who, const std::string& id) noexcept;
    void on_resume(Mail& mail) noexcept;
    void give_back(const Holder& who, const std::string& id) noexcept;

    std::uint32_t shard_;
    std::uint64_t hash_seed_;
    Mesh& mesh_;
    Sessions& sessions_;
    std::unordered_map<std::string, Entry> holders_;  // of the ids whose home is here
    Tick session_time_;
    Parking parking_;
};

}  // namespace ringcast::node
