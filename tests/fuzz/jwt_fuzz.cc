// Property: whatever is given as a token or as keys, nothing breaks; a token is taken only if it is
// in shape, of the configured algorithm, and says who it is of and until when; and a good token
// that was changed in any place is not taken any more. The first byte says what the rest is:
//   0  a token, for the secret of tests/support/signer.h (the corpus has some that are good)
//   1  a JWKS or a secret file (its second byte: of which algorithm)
//   2  edits of a good token: three bytes each, what is done, where, and with which character

#include <array>
#include <string>

#include "tests/fuzz/split.h"
#include "tests/support/signer.h"
#include "wire/jwt.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

constexpr std::int64_t now = 1'800'000'000;
constexpr std::array<TokenAlgorithm, 4> algorithms{TokenAlgorithm::hs256,
                                                   TokenAlgorithm::rs256,
                                                   TokenAlgorithm::es256,
                                                   TokenAlgorithm::eddsa};

struct Maker {
    explicit Maker(TokenAlgorithm algorithm) : signer(algorithm) {
        std::string problem;
        keys = JwtKeys::parse(algorithm, signer.keys(), problem);
        test::demand(problem.empty(), "our own keys are good");
        good = signer.token(
            R"({"sub":"ann","exp":1800000100,"subscribe":["a.>"],"info":{"n":1},"nbf":1})");
    }
    test::Signer signer;
    JwtKeys keys;
    std::string good;
};

const Maker& maker_of(TokenAlgorithm algorithm) {
    static const std::array<Maker, 4> makers{
        Maker(algorithms[0]), Maker(algorithms[1]), Maker(algorithms[2]), Maker(algorithms[3])};
    return makers[static_cast<std::size_t>(algorithm) - 1];
}

JwtError verify(std::string_view token, const JwtKeys& keys, TokenClaims& claims) {
    TokenRules rules;
    rules.algorithm = keys.algorithm();
    return verify_jwt(token, keys, rules, now, claims);
}

void check_token(std::string_view token) {
    const Maker& maker = maker_of(TokenAlgorithm::hs256);
    TokenClaims claims;
    const JwtError error = verify(token, maker.keys, claims);
    test::demand(describe(error)[0] != '\0', "an error has its line");
    if (error != JwtError::none) {
        test::demand(claims.user.empty(), "of a bad token nothing is told");
        return;
    }
    test::demand(token.size() <= jwt_size_max, "a good one keeps to its limit");
    test::demand(!claims.user.empty() && claims.expires_s > now, "it has sub and exp");
    test::demand(claims_valid(claims), "it could have been made here");
    const std::string made = make_jwt(maker.keys, claims);
    if (made.size() > jwt_size_max) return;  // `presence` was true, and is a list now
    TokenClaims again;
    test::demand(verify(made, maker.keys, again) == JwtError::none, "and made here it is good");
    test::demand(again.user == claims.user && again.subscribe == claims.subscribe &&
                     again.expires_s == claims.expires_s,
                 "and says the same");
}

void check_keys(std::string_view text) {
    if (text.empty()) return;
    const TokenAlgorithm algorithm = algorithms[static_cast<unsigned char>(text[0]) % 4];
    text.remove_prefix(1);
    std::string problem;
    const JwtKeys keys = JwtKeys::parse(algorithm, text, problem);
    test::demand(problem.empty() == (keys.size() != 0), "there are keys, or it is said why not");
    test::demand(problem.find('\n') == std::string::npos, "in one line");
    if (!problem.empty()) return;
    TokenClaims claims;
    const std::string token = maker_of(algorithm).good;
    static_cast<void>(verify(token, keys, claims));
}

void check_changed(std::string_view edits) {
    if (edits.empty()) return;
    const Maker& maker = maker_of(algorithms[static_cast<unsigned char>(edits[0]) % 4]);
    edits.remove_prefix(1);
    std::string token = maker.good;
    for (; edits.size() >= 3 && !token.empty(); edits.remove_prefix(3)) {
        // Two bytes could not reach all of a token with RSA: the first one has bits left.
        const std::size_t at = (static_cast<unsigned char>(edits[0]) / 4U * 256U +
                                static_cast<unsigned char>(edits[1])) %
                               token.size();
        switch (static_cast<unsigned char>(edits[0]) % 4) {
            case 0:
                token[at] = edits[2];
                break;
            case 1:
                token.insert(at, 1, edits[2]);
                break;
            case 2:
                token.erase(at, 1);
                break;
            default:
                token.resize(at);
        }
    }
    TokenClaims claims;
    const JwtError error = verify(token, maker.keys, claims);
    test::demand((error == JwtError::none) == (token == maker.good),
                 "a token that was changed is not good");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input = as_text(std::as_bytes(std::span(data, size)));
    if (input.empty()) return 0;
    const unsigned what = static_cast<unsigned char>(input[0]) % 3;
    input.remove_prefix(1);
    if (what == 0) check_token(input);
    if (what == 1) check_keys(input);
    if (what == 2) check_changed(input);
    return 0;
}
