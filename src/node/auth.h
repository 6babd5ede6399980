#pragma once

// Tokens of clients: where a request may have one, whether it is good, and whose session it makes.
//
// A request has its token in one of three places: `Authorization: Bearer` (RFC 6750, 2.1),
// `?token=` (2.3; browsers cannot set headers), or as sub-protocol `ringcast.token.TOKEN` beside
// `ringcast.v1`. Later, and from whoever had none, it comes in an `auth` message.
//
// A token is verified on the shard of its client, 30 to 150 us of its thread; each shard has keys
// of its own, so nothing is shared. Nothing here is ever logged.
//
// One thread owns an Auth.

#include <memory>
#include <string>
#include <string_view>

#include "ringcast/config.h"

#include "io/reactor.h"
#include "node/counters.h"
#include "node/identity.h"
#include "node/sessions.h"
#include "wire/http.h"
#include "wire/jwt.h"

namespace ringcast::node {

[[nodiscard]] TokenRules token_rules(const Config& config) noexcept;

class Auth {
  public:
    // Precondition: check_keys() has nothing against config.auth_keys, where there is an
    // --auth-alg.
    Auth(const Config& config,
         io::Reactor& reactor,
         Sessions& sessions,
         Counters& counters) noexcept;
    Auth(const Auth&) = delete;
    Auth& operator=(const Auth&) = delete;

    [[nodiscard]] bool on() const noexcept { return rules_.algorithm != TokenAlgorithm::none; }
    // From now on these; who is connected stays. Precondition: as above.
    void set_keys(std::string_view keys) noexcept;

    // What a request shows; `status` 0: nothing is wrong. No identity: it had no token.
    struct Shown {
        std::unique_ptr<Identity> identity;
        int status = 0;
        const char* reason = "";
    };
    // `query_token`: the value of token=, `query_tokens`: how often that stood there.
    [[nodiscard]] Shown read(const wire::Request& request,
                             std::string_view query_token,
                             unsigned query_tokens) noexcept;
    // Null, and one line: it is not good.
    [[nodiscard]] std::unique_ptr<Identity> verify(std::string_view token,
                                                   const char*& problem) noexcept;

    // The session is its user's from now on, and until it expires.
    void adopt(io::ConnIndex conn, std::unique_ptr<Identity> identity) noexcept;
    // An open session has to show a token before the end of its handshake's time.
    void demand(io::ConnIndex conn) noexcept;

  private:
    io::Reactor& reactor_;
    Sessions& sessions_;
    Counters& counters_;
    TokenRules rules_;
    std::uint64_t messages_per_second_;
    std::uint64_t messages_burst_;
    wire::JwtKeys keys_;
};

}  // namespace ringcast::node
