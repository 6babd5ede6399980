#include "node/tokens.h"

#include <cstring>
#include <memory>

#include "ringcast/token.h"

#include "feed/pattern.h"
#include "wire/jwt.h"

namespace ringcast {

namespace {

// Of whom make_token() is told nothing that check_token() would not take.
[[nodiscard]] bool patterns_good(const TokenClaims& claims) noexcept {
    for (const auto* list : {&claims.subscribe, &claims.publish, &claims.presence}) {
        for (const std::string& pattern : *list) {
            if (feed::kind_of(pattern) == feed::NameKind::broken) return false;
        }
    }
    return true;
}

}  // namespace

std::string check_keys(TokenAlgorithm algorithm, std::string_view keys) noexcept {
    if (algorithm == TokenAlgorithm::none) return "there is no --auth-alg";
    std::string problem;
    static_cast<void>(wire::JwtKeys::parse(algorithm, keys, problem));
    return problem;
}

std::string make_token(std::string_view keys,
                       const TokenClaims& claims,
                       std::string& token) noexcept {
    token.clear();
    std::string problem;
    const wire::JwtKeys parsed = wire::JwtKeys::parse(TokenAlgorithm::hs256, keys, problem);
    if (!problem.empty()) return problem;
    if (!wire::claims_valid(claims) || !patterns_good(claims)) {
        return wire::describe(wire::JwtError::bad_claims);
    }
    token = wire::make_jwt(parsed, claims);
    if (token.size() <= wire::jwt_size_max) return {};
    token.clear();
    return wire::describe(wire::JwtError::too_large);
}

std::string check_token(std::string_view keys,
                        const TokenRules& rules,
                        std::string_view token,
                        std::int64_t now_s,
                        TokenClaims& claims) noexcept {
    if (rules.algorithm == TokenAlgorithm::none) return "there is no --auth-alg";
    std::string problem;
    const wire::JwtKeys parsed = wire::JwtKeys::parse(rules.algorithm, keys, problem);
    if (!problem.empty()) return problem;
    const wire::JwtError error = wire::verify_jwt(token, parsed, rules, now_s, claims);
    if (error != wire::JwtError::none) return wire::describe(error);
    return patterns_good(claims) ? std::string() : wire::describe(wire::JwtError::bad_claims);
}

void wipe(std::string& secret) noexcept {
    explicit_bzero(secret.data(), secret.size());
    secret.clear();
}

namespace node {

void post_keys(Mesh& mesh, std::string_view keys) noexcept {
    for (std::uint32_t shard = 0; shard < mesh.shard_count(); shard++) {
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::keys;
        mail->from = shard;
        mail->name = keys;
        mesh.post(shard, std::move(mail));
    }
}

}  // namespace node

}  // namespace ringcast
