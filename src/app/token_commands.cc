#include "app/token_commands.h"

#include <cstdio>
#include <ctime>
#include <string>

#include "app/key_file.h"
#include "app/settings.h"

namespace ringcast::app {

namespace {

constexpr std::size_t input_max = 64 * 1024;

int refused(const std::string& line) {
    std::fprintf(stderr, "ringcastd: %s\n", as_line(line).c_str());
    return 1;
}

std::string read_input() {
    std::string text(input_max, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), stdin));
    while (text.ends_with('\n') || text.ends_with('\r') || text.ends_with(' ')) {
        text.pop_back();
    }
    return text;
}

void print(const char* name, const std::string& text) {
    if (!text.empty()) std::printf("%s: %s\n", name, text.c_str());
}

void print(const char* name, const std::vector<std::string>& list) {
    for (const std::string& item : list) {
        print(name, item);
    }
}

void print(const char* name, std::int64_t number) {
    if (number != 0) std::printf("%s: %lld\n", name, static_cast<long long>(number));
}

}  // namespace

int gen_token(const Config& config, TokenOrder order) {
    std::string keys;
    if (const std::string problem = read_keys(config, keys); !problem.empty()) {
        return refused(problem);
    }
    TokenClaims& claims = order.claims;
    claims.issuer = config.auth_issuer;
    claims.audience = config.auth_audience;
    claims.issued_s = std::time(nullptr);
    claims.expires_s = claims.issued_s + static_cast<std::int64_t>(order.expires / units::s);
    std::string token;
    const std::string problem = make_token(keys, claims, token);
    wipe(keys);
    if (!problem.empty()) return refused(problem);
    std::printf("%s\n", token.c_str());
    return 0;
}

int check_token(const Config& config) {
    std::string keys;
    if (const std::string problem = read_keys(config, keys); !problem.empty()) {
        return refused(problem);
    }
    const TokenRules rules{.algorithm = config.auth_alg,
                           .issuer = config.auth_issuer,
                           .audience = config.auth_audience,
                           .leeway_s = static_cast<std::int64_t>(config.auth_leeway / units::s)};
    TokenClaims claims;
    const std::string problem =
        ringcast::check_token(keys, rules, read_input(), std::time(nullptr), claims);
    wipe(keys);
    if (!problem.empty()) return refused(problem);
    print("sub", claims.user);
    print("subscribe", claims.subscribe);
    print("publish", claims.publish);
    print("presence", claims.presence);
    print("info", claims.info);
    print("limits.connections", std::int64_t{claims.connections});
    print("limits.messages", std::int64_t{claims.messages});
    print("iat", claims.issued_s);
    print("nbf", claims.not_before_s);
    print("exp", claims.expires_s);
    return 0;
}

}  // namespace ringcast::app
