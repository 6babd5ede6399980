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
// One thread owns a Registry.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/time.h"
#include "io/reactor.h"
#include "node/mesh.h"
#include "node/sessions.h"

namespace ringcast::node {

class Registry {
  public:
    Registry(std::uint32_t shard, std::uint64_t hash_seed, Mesh& mesh, Sessions& sessions) noexcept;
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    // The session has its client_id: announces it.
    void claim(io::ConnIndex conn) noexcept;
    // The session goes.
    void release(io::ConnIndex conn) noexcept;
    // Mail of the kinds claim, release, evict.
    void receive(const Mail& mail) noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return holders_.size(); }

  private:
    struct Holder {
        std::uint32_t shard = 0;
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
        Nanos accepted_at = 0;
    };

    [[nodiscard]] static bool is_older(const Holder& who, const Holder& than) noexcept;
    [[nodiscard]] Holder holder_of(io::ConnIndex conn) noexcept;
    void post(MailKind kind, std::uint32_t to, const Holder& who, std::string_view id) noexcept;
    void handle(MailKind kind, const Holder& who, std::string_view id) noexcept;

    std::uint32_t shard_;
    std::uint64_t hash_seed_;
    Mesh& mesh_;
    Sessions& sessions_;
    std::unordered_map<std::string, Holder> holders_;  // of the ids whose home is here
};

}  // namespace ringcast::node
