// What is taken for keys, and what is not.

#include "wire/jwt_keys.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/support/signer.h"

using namespace ringcast;
using namespace ringcast::wire;
using ringcast::test::Signer;

namespace {

std::string problem_of(TokenAlgorithm algorithm, const std::string& text) {
    std::string problem;
    const JwtKeys keys = JwtKeys::parse(algorithm, text, problem);
    CHECK(problem.empty() == (keys.size() > 0));
    CHECK(keys.algorithm() == algorithm);
    return problem;
}

std::size_t count_of(TokenAlgorithm algorithm, const std::string& text) {
    std::string problem;
    const JwtKeys keys = JwtKeys::parse(algorithm, text, problem);
    CHECK_MESSAGE(problem.empty(), problem);
    return keys.size();
}

std::string set_of(const std::string& keys) {
    return R"({"keys":[)" + keys + "]}";
}

}  // namespace

TEST_CASE("jwt keys: secrets are lines, long enough, of printable characters") {
    const std::string secret(32, 's');
    CHECK(count_of(TokenAlgorithm::hs256, secret) == 1);
    CHECK(count_of(TokenAlgorithm::hs256, secret + "\n") == 1);
    CHECK(count_of(TokenAlgorithm::hs256, "\r\n" + secret + "\r\n\n" + secret + "2\n") == 2);
    for (const std::string& wrong : {std::string(),
                                     std::string("\n\n"),
                                     std::string(31, 's'),
                                     secret + "\nshort",
                                     secret + '\0',
                                     secret + "\t",
                                     secret + "\xc3\xa4"}) {
        CAPTURE(wrong);
        const std::string problem = problem_of(TokenAlgorithm::hs256, wrong);
        CHECK_FALSE(problem.empty());
        CHECK(problem.find("sss") == std::string::npos);
    }
    std::string many;
    for (int i = 0; i < 16; i++) {
        many += secret + std::to_string(i) + '\n';
    }
    CHECK(count_of(TokenAlgorithm::hs256, many) == 16);
    CHECK(problem_of(TokenAlgorithm::hs256, many + secret) == "there are over 16 keys");
    CHECK(problem_of(TokenAlgorithm::hs256, std::string(70'000, 's')) ==
          "the keys are over 64 KiB");
}

TEST_CASE("jwt keys: of a JWKS the keys of the algorithm count") {
    const Signer rs(TokenAlgorithm::rs256);
    const Signer es(TokenAlgorithm::es256);
    const Signer ed(TokenAlgorithm::eddsa);
    const std::string all = set_of(rs.jwk("r") + ',' + es.jwk() + ',' + ed.jwk("e") + ',' +
                                   R"({"kty":"EC","crv":"P-384"},{"kty":"new"},7,)" + ed.jwk("e2"));
    CHECK(count_of(TokenAlgorithm::rs256, all) == 1);
    CHECK(count_of(TokenAlgorithm::es256, all) == 1);
    CHECK(count_of(TokenAlgorithm::eddsa, all) == 2);
    std::string problem;
    const JwtKeys keys = JwtKeys::parse(TokenAlgorithm::eddsa, all, problem);
    CHECK(keys.knows("e"));
    CHECK(keys.knows("e2"));
    CHECK_FALSE(keys.knows("r"));
    CHECK_FALSE(keys.knows(""));
    CHECK(JwtKeys::parse(TokenAlgorithm::es256, all, problem).knows("any"));

    const std::string end = ed.jwk().substr(1);
    CHECK(count_of(TokenAlgorithm::eddsa, set_of(R"({"use":"sig","alg":"EdDSA",)" + end)) == 1);
    for (const char* other : {R"({"use":"enc",)", R"({"alg":"ES256",)"}) {
        CHECK(problem_of(TokenAlgorithm::eddsa, set_of(other + end)) ==
              "the JWKS has no key of this algorithm");
    }
}

TEST_CASE("jwt keys: what is no JWKS, or no good one") {
    const Signer ed(TokenAlgorithm::eddsa);
    for (const char* text :
         {"", "{", "[]", "7", R"({"keys":{}})", R"({"keys":[]})", R"({"key":[]})"}) {
        CAPTURE(text);
        CHECK_FALSE(problem_of(TokenAlgorithm::eddsa, text).empty());
    }
    CHECK(problem_of(TokenAlgorithm::eddsa, std::string(32, 's')).starts_with("not a JWKS"));
    for (const std::string& secret :
         {R"({"d":"AA",)" + ed.jwk().substr(1), std::string(R"({"kty":"oct","k":"AA"})")}) {
        CHECK(problem_of(TokenAlgorithm::eddsa, set_of(ed.jwk() + ',' + secret)).find("private") !=
              std::string::npos);
    }
    const std::string x = wire::base64url_encode(std::string(32, 'x'));
    const std::string malformed = "a key of the JWKS is malformed, or too short";
    CHECK(problem_of(TokenAlgorithm::eddsa,
                     set_of(R"({"kty":"OKP","crv":"Ed25519","x":"AAAA"})")) == malformed);
    CHECK(problem_of(TokenAlgorithm::eddsa, set_of(R"({"kty":"OKP","crv":"Ed25519"})")) ==
          malformed);
    CHECK(problem_of(TokenAlgorithm::es256,
                     set_of(R"({"kty":"EC","crv":"P-256","x":")" + x + R"(","y":")" + x +
                            R"("})")) == malformed);  // not on the curve
    const std::string weak = wire::base64url_encode('\x81' + std::string(127, '\x01'));
    CHECK(problem_of(TokenAlgorithm::rs256,
                     set_of(R"({"kty":"RSA","e":"AQAB","n":")" + weak + R"("})")) == malformed);
    const std::string long_one = wire::base64url_encode('\x81' + std::string(255, '\x01'));
    for (const char* exponent : {"", "AA", "AQ", "AAE", "BA", "AQAAAAAAAAAB"}) {
        CAPTURE(exponent);
        CHECK(problem_of(TokenAlgorithm::rs256,
                         set_of(R"({"kty":"RSA","e":")" + std::string(exponent) + R"(","n":")" +
                                long_one + R"("})")) == malformed);
    }
    CHECK(count_of(TokenAlgorithm::rs256,
                   set_of(R"({"kty":"RSA","e":"AQAB","n":")" + long_one + R"("})")) == 1);
}

TEST_CASE("jwt keys: they can be moved, and replaced") {
    const Signer hs(TokenAlgorithm::hs256);
    std::string problem;
    JwtKeys keys = JwtKeys::parse(TokenAlgorithm::hs256, hs.keys(), problem);
    JwtKeys other = std::move(keys);
    CHECK(other.signed_by_one({}, "text", hs.sign("text")));
    CHECK_FALSE(other.signed_by_one({}, "text", hs.sign("another")));
    CHECK(other.sign("text") == hs.sign("text"));
    const Signer next(TokenAlgorithm::hs256, "the next secret is as long as that");
    other = JwtKeys::parse(TokenAlgorithm::hs256, next.keys(), problem);
    CHECK_FALSE(other.signed_by_one({}, "text", hs.sign("text")));
    CHECK(other.signed_by_one({}, "text", next.sign("text")));
}
