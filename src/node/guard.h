#pragma once

// Who is at the other end of a connection, and whether so many of him are allowed.
//
// The address is that of the socket, or what a trusted proxy says (--trusted-proxies): by the
// PROXY protocol in front of everything else, on listeners that ask for it (--proxy-protocol), by
// X-Forwarded-For, or both. What others say in X-Forwarded-For is not looked at. A proxy that says
// nothing has no address here, and no quotas; neither has this machine itself (loopback) unless
// --limit-loopback.
//
// A connection is *pending* from accept until it is let in. Too many of one address, or of all
// together: the one that has been trying for longest is cut, so that whoever means it, and is done
// in a few round trips, gets in while others sit there and wait. A shard cuts one of its own, and
// of all together only if it has more than its share: so there may be twice as many for a moment.
//
// Whoever is refused for a limit stays pending until he has heard why (429) and is gone.
//
// One thread owns a Guard; what it counts in is shared by all (node/quotas.h). Without them
// nothing is counted; what proxies say is understood all the same.

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "ringcast/config.h"

#include "base/bytes.h"
#include "base/ip.h"
#include "base/slab.h"
#include "io/reactor.h"
#include "node/counters.h"
#include "node/pending.h"
#include "node/quotas.h"
#include "node/sessions.h"
#include "wire/proxy.h"

namespace ringcast::node {

class Guard {
  public:
    // `quotas`: null where there are none. `capacity`: of connection indexes.
    Guard(const Config& config,
          Quotas* quotas,
          io::Reactor& reactor,
          Sessions& sessions,
          Counters& counters,
          std::uint32_t capacity) noexcept;
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // A connection whose session has just been made, through listener number `listener`.
    void arrived(io::ConnIndex conn, std::uint32_t listener) noexcept;
    // Its first bytes, before anybody else has them. False: they are used up, or the connection is.
    // Only ever to be asked while awaits_header().
    [[nodiscard]] bool awaits_header(io::ConnIndex conn) noexcept {
        if (!any_header_) return false;
        const Visitor* visitor = visitors_.find(conn);
        return visitor != nullptr && visitor->header != nullptr;
    }
    [[nodiscard]] bool take_header(io::ConnIndex conn, MutBytes& bytes) noexcept;

    // Its request is here, with this X-Forwarded-For (empty: none).
    struct Verdict {
        std::uint16_t status = 0;  // 0: it may come in; else that of the answer
        const char* reason = "";
    };
    [[nodiscard]] Verdict judge(io::ConnIndex conn,
                                std::string_view forwarded_for,
                                unsigned lines) noexcept;
    // What a refused one is told to wait, in seconds: not the same for all.
    [[nodiscard]] std::uint32_t retry_after() noexcept;

    // Whose connection it is, once that is known; may change. False: that user has as many as he
    // may, and nothing has changed (429, or close code 4030). Empty: nobody's. `most`: of this
    // user, if that is less than --connections-per-user; 0: as configured.
    [[nodiscard]] bool set_user(io::ConnIndex conn,
                                std::string_view user,
                                std::uint64_t most = 0) noexcept;
    // It is pending no more: shaken hands and, where that is asked for, authenticated.
    void let_in(io::ConnIndex conn) noexcept;
    // Its session is about to be erased.
    void left(io::ConnIndex conn) noexcept;

    [[nodiscard]] std::uint32_t pending_count() const noexcept { return pending_.count(); }

  private:
    enum class Refusal : std::uint8_t { none, crowded, hasty };

    struct Visitor {
        std::unique_ptr<wire::ProxyParser> header;  // that is still to come
        std::uint64_t key = 0;                      // of his address; 0: no limits
        std::uint64_t user_key = 0;                 // 0: nobody's
        Refusal refusal = Refusal::none;
        bool trusted : 1 = false;  // who speaks is a proxy: what he says of the client counts
        bool counted : 1 = false;  // among the connections of his address
    };

    void meet(io::ConnIndex conn, Visitor& visitor, const Ip& ip) noexcept;
    void count(io::ConnIndex conn, Visitor& visitor, const Ip& ip) noexcept;
    void evict(io::ConnIndex oldest) noexcept;
    [[nodiscard]] std::uint64_t key_of(Bytes bytes) const noexcept;

    const Config& config_;
    Quotas* quotas_;
    io::Reactor& reactor_;
    Sessions& sessions_;
    Counters& counters_;
    std::vector<IpNetwork> proxies_;
    std::vector<bool> header_wanted_;  // by listener
    bool any_header_ = false;
    Slab<Visitor> visitors_;
    PendingList pending_;
};

}  // namespace ringcast::node
