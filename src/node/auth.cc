#include "node/auth.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "feed/pattern.h"

namespace ringcast::node {

namespace {

constexpr std::int64_t life_max_s = std::int64_t{10} * 366 * 24 * 3600;  // more is no time-out

// The token of "Bearer TOKEN"; empty of anything else. The scheme's case does not matter (RFC 9110,
// section 11.1).
[[nodiscard]] std::string_view bearer_of(std::string_view authorization) noexcept {
    constexpr std::string_view scheme = "bearer ";
    if (authorization.size() <= scheme.size()) return {};
    for (std::size_t i = 0; i < scheme.size(); i++) {
        const char c = authorization[i];
        if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != scheme[i]) return {};
    }
    authorization.remove_prefix(scheme.size());
    authorization.remove_prefix(
        std::min(authorization.find_first_not_of(' '), authorization.size()));
    return authorization;
}

[[nodiscard]] bool patterns_good(const std::vector<std::string>& patterns) noexcept {
    return std::none_of(patterns.begin(), patterns.end(), [](const std::string& each) {
        return feed::kind_of(each) == feed::NameKind::broken;
    });
}

}  // namespace

TokenRules token_rules(const Config& config) noexcept {
    return {.algorithm = config.auth_alg,
            .issuer = config.auth_issuer,
            .audience = config.auth_audience,
            .leeway_s = static_cast<std::int64_t>(config.auth_leeway / units::s)};
}

Auth::Auth(const Config& config,
           io::Reactor& reactor,
           Sessions& sessions,
           Counters& counters) noexcept
    : reactor_(reactor),
      sessions_(sessions),
      counters_(counters),
      rules_(token_rules(config)),
      messages_per_second_(config.messages_per_second),
      messages_burst_(config.messages_burst) {
    if (on()) set_keys(config.auth_keys);
}

void Auth::set_keys(std::string_view keys) noexcept {
    RC_CHECK(on());
    std::string problem;
    keys_ = wire::JwtKeys::parse(rules_.algorithm, keys, problem);
    RC_CHECK(problem.empty());
}

Auth::Shown Auth::read(const wire::Request& request,
                       std::string_view query_token,
                       unsigned query_tokens) noexcept {
    RC_CHECK(on());
    const std::string_view bearer = bearer_of(request.authorization);
    const unsigned count = query_tokens + request.protocol_token_count + (bearer.empty() ? 0 : 1);
    Shown shown;
    if (count == 0) return shown;
    if (count > 1) {
        shown.status = 400;
        shown.reason = "more than one token";
        return shown;
    }
    const std::string_view token = query_tokens != 0                   ? query_token
                                   : request.protocol_token_count != 0 ? request.protocol_token
                                                                       : bearer;
    shown.identity = verify(token, shown.reason);
    if (shown.identity == nullptr) shown.status = 401;
    return shown;
}

std::unique_ptr<Identity> Auth::verify(std::string_view token, const char*& problem) noexcept {
    RC_CHECK(on());
    auto identity = std::make_unique<Identity>();
    const std::int64_t now_s = reactor_.wall_now() / nanos_per_s;
    TokenClaims& claims = identity->claims;
    wire::JwtError error = wire::verify_jwt(token, keys_, rules_, now_s, claims);
    if (error == wire::JwtError::none &&
        !(patterns_good(claims.subscribe) && patterns_good(claims.publish) &&
          patterns_good(claims.presence))) {
        error = wire::JwtError::bad_claims;
    }
    if (error != wire::JwtError::none) {
        counters_.tokens_refused++;
        problem = wire::describe(error);
        return nullptr;
    }
    const std::int64_t left_s = claims.expires_s + rules_.leeway_s - now_s;
    identity->expires_at = reactor_.now() + std::min(left_s, life_max_s) * nanos_per_s;
    std::uint64_t rate = messages_per_second_;
    if (claims.messages != 0)
        rate = rate == 0 ? claims.messages : std::min<std::uint64_t>(rate, claims.messages);
    identity->messages = Rate::of(rate, messages_burst_);
    return identity;
}

void Auth::adopt(io::ConnIndex conn, std::unique_ptr<Identity> identity) noexcept {
    Session& session = sessions_[conn];
    RC_CHECK(session.state == State::open);
    RC_CHECK(identity != nullptr);
    session.identity = std::move(identity);
    session.unproven = false;
    sessions_.bound(conn);
    sessions_.recount(conn);
}

void Auth::demand(io::ConnIndex conn) noexcept {
    Session& session = sessions_[conn];
    RC_CHECK(session.state == State::open);
    RC_CHECK(session.identity == nullptr);
    session.unproven = true;
    sessions_.bound(conn);
}

}  // namespace ringcast::node
