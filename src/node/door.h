#pragma once

// What comes before a session is open: the request, where it leads, and the answer.
//
//   /ws            the JSON envelope (docs/PROTOCOL.md); ?client_id=X
//   /raw           ?topic=A&topic=B receives payloads only, ?publish=A publishes what it sends
//   /echo          with --dev: every message comes back
//   anything else  with --dev the demo page; else 404
//
// Pages of other servers may be kept out: node/origin.h.
//
// One thread owns a Door.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/config.h"

#include "io/reactor.h"
#include "node/auth.h"
#include "node/counters.h"
#include "node/guard.h"
#include "node/hub.h"
#include "node/registry.h"
#include "node/sessions.h"
#include "wire/handshake.h"
#include "wire/http.h"
#include "wire/session_token.h"

namespace ringcast::node {

class Door {
  public:
    // `id_prefix`: what the ids begin with that this shard gives to clients.
    Door(const Config& config,
         std::uint64_t id_prefix,
         const wire::TokenKey& token_key,
         io::Reactor& reactor,
         Sessions& sessions,
         Hub& hub,
         Registry& registry,
         Guard& guard,
         Auth& auth,
         Counters& counters) noexcept;
    Door(const Door&) = delete;
    Door& operator=(const Door&) = delete;

    // Bytes of a session that is accepted or handshaking. What is behind the request stays in
    // `input` and belongs to the WebSocket, if the session is open now.
    void receive(io::ConnIndex conn, MutBytes& input) noexcept;

    // The id that the client goes by: its own choice or ours.
    [[nodiscard]] std::string client_id(io::ConnIndex conn) noexcept;
    // ... and where names of all users' clients stand side by side.
    [[nodiscard]] std::string name_of(io::ConnIndex conn) noexcept {
        return scoped_name(sessions_[conn], client_id(conn));
    }
    // What an `auth` message says. Empty: the client is that token's user now, and was welcomed;
    // else one line, and who had shown none before is closed.
    [[nodiscard]] std::string_view authenticate(io::ConnIndex conn,
                                                std::string_view id,
                                                std::string_view token) noexcept;
    [[nodiscard]] bool knows_tokens() const noexcept { return auth_.on(); }
    // The token with which the client comes back as itself.
    [[nodiscard]] std::string session_of(io::ConnIndex conn) noexcept;
    // Tells an envelope client who it is and what its limits are. `id`: of the message it answers.
    void welcome(io::ConnIndex conn, std::string_view id) noexcept;

  private:
    struct Wishes {  // of a query string
        std::vector<std::string> topics;
        std::string publish;
        std::string client_id;
        std::string session;
        std::string token;
        unsigned tokens = 0;                      // how often token= stood there
        std::unique_ptr<Identity> identity = {};  // of whatever token there was
        bool must_prove = false;
        bool publishes = false;
        const char* problem = nullptr;
    };

    void answer(io::ConnIndex conn, const wire::Request& request) noexcept;
    void upgrade(io::ConnIndex conn,
                 const wire::Request& request,
                 const wire::Decision& decision) noexcept;
    // False: refused.
    [[nodiscard]] bool identify(io::ConnIndex conn,
                                const wire::Request& request,
                                Wishes& wishes) noexcept;
    [[nodiscard]] const char* forbidden_on_raw(const Wishes& wishes) const noexcept;
    // False: the user has as many connections as he may.
    [[nodiscard]] bool set_user(io::ConnIndex conn, const Identity& identity) noexcept;
    void open(io::ConnIndex conn, Role role, const wire::Decision& decision) noexcept;
    [[nodiscard]] std::size_t agree(Session& session,
                                    const wire::DeflateOffer& offer,
                                    MutBytes out) const noexcept;
    void open_envelope(io::ConnIndex conn, Wishes& wishes, const wire::Decision& decision) noexcept;
    void open_raw(io::ConnIndex conn, Wishes& wishes, const wire::Decision& decision) noexcept;
    // The id that the client chose, if it did: who has it already is closed with 4501.
    void claim(io::ConnIndex conn, Wishes& wishes) noexcept;
    void rename(io::ConnIndex conn, std::string_view former) noexcept;
    [[nodiscard]] bool resume(io::ConnIndex conn, const Wishes& wishes) noexcept;
    void serve_page(io::ConnIndex conn, const wire::Request& request) noexcept;
    void refuse(io::ConnIndex conn, int status, std::string_view reason) noexcept;
    [[nodiscard]] Wishes read_query(std::string_view query) const noexcept;
    void note_wish(const wire::QueryReader::Item& item, Wishes& wishes) const noexcept;

    const Config& config_;
    wire::RequestLimits limits_;
    std::uint64_t id_prefix_;
    wire::TokenKey token_key_;
    io::Reactor& reactor_;
    Sessions& sessions_;
    Hub& hub_;
    Registry& registry_;
    Guard& guard_;
    Auth& auth_;
    Counters& counters_;
};

}  // namespace ringcast::node
