// Tokens and their keys, as those have them who use the library.

#include "node/tokens.h"

#include <string>

#include <doctest/doctest.h>

#include "ringcast/token.h"

#include "tests/support/signer.h"

using namespace ringcast;
using ringcast::test::Signer;

namespace {

TokenClaims some_claims() {
    TokenClaims claims;
    claims.user = "ann";
    claims.subscribe = {"a.>"};
    claims.expires_s = 1000;
    return claims;
}

}  // namespace

TEST_CASE("tokens: what is made is taken until it expires") {
    const std::string keys = Signer(TokenAlgorithm::hs256).keys();
    std::string token;
    REQUIRE(make_token(keys, some_claims(), token).empty());
    TokenRules rules;
    rules.algorithm = TokenAlgorithm::hs256;
    TokenClaims claims;
    CHECK(check_token(keys, rules, token, 999, claims).empty());
    CHECK(claims.user == "ann");
    CHECK(claims.subscribe == std::vector<std::string>{"a.>"});
    CHECK(check_token(keys, rules, token, 1000, claims) == "the token has expired");
    CHECK(claims.user.empty());
    rules.leeway_s = 1;
    CHECK(check_token(keys, rules, token, 1000, claims).empty());
    CHECK(check_token("short", rules, token, 999, claims) == "a secret has at least 32 characters");
    rules.algorithm = TokenAlgorithm::none;
    CHECK(check_token(keys, rules, token, 999, claims) == "there is no --auth-alg");
}

TEST_CASE("tokens: nothing is made that would not be taken") {
    const std::string keys = Signer(TokenAlgorithm::hs256).keys();
    std::string token = "before";
    TokenClaims claims = some_claims();
    claims.subscribe = {"a.>.b"};
    CHECK_FALSE(make_token(keys, claims, token).empty());
    CHECK(token.empty());
    claims = some_claims();
    claims.user = "";
    CHECK_FALSE(make_token(keys, claims, token).empty());
    claims = some_claims();
    claims.subscribe.assign(40, std::string(255, 'p'));
    CHECK(make_token(keys, claims, token) == "the token is over 8 KiB");
    CHECK_FALSE(make_token("", some_claims(), token).empty());
    // A pattern that is none, signed by somebody else.
    TokenRules rules;
    rules.algorithm = TokenAlgorithm::hs256;
    const std::string broken =
        Signer(TokenAlgorithm::hs256).token(R"({"sub":"a","exp":1000,"publish":["a.>.b"]})");
    CHECK_FALSE(check_token(keys, rules, broken, 1, claims).empty());
}

TEST_CASE("tokens: keys are checked, and wiped") {
    CHECK(check_keys(TokenAlgorithm::hs256, std::string(32, 's')).empty());
    CHECK_FALSE(check_keys(TokenAlgorithm::eddsa, std::string(32, 's')).empty());
    CHECK_FALSE(check_keys(TokenAlgorithm::none, std::string(32, 's')).empty());
    std::string secret(40, 's');
    const char* const memory = secret.data();
    wipe(secret);
    CHECK(secret.empty());
    CHECK(secret.data() == memory);
    CHECK(memory[1] == '\0');
}

TEST_CASE("tokens: every shard gets the keys by mail of its own") {
    node::Mesh mesh(3, 100);
    node::post_keys(mesh, "the keys");
    for (std::uint32_t shard = 0; shard < 3; shard++) {
        const auto mail = mesh.take(shard);
        REQUIRE(mail != nullptr);
        CHECK(mail->kind == node::MailKind::keys);
        CHECK(mail->from == shard);
        CHECK(mail->name == "the keys");
        CHECK(mesh.take(shard) == nullptr);
    }
}
