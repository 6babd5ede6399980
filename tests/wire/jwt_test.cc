// Tokens, good ones and all the ways in which they can be bad.

#include "wire/jwt.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/signer.h"

using namespace ringcast;
using namespace ringcast::wire;
using ringcast::test::Signer;

namespace {

constexpr std::int64_t now = 1'800'000'000;
constexpr std::string_view plain = R"({"sub":"ann","exp":1800000100})";

const Signer& signer(TokenAlgorithm algorithm) {
    static const Signer hs(TokenAlgorithm::hs256);
    static const Signer rs(TokenAlgorithm::rs256);
    static const Signer es(TokenAlgorithm::es256);
    static const Signer ed(TokenAlgorithm::eddsa);
    switch (algorithm) {
        case TokenAlgorithm::none:
        case TokenAlgorithm::hs256:
            break;
        case TokenAlgorithm::rs256:
            return rs;
        case TokenAlgorithm::es256:
            return es;
        case TokenAlgorithm::eddsa:
            return ed;
    }
    return hs;
}

constexpr auto HS = TokenAlgorithm::hs256;
constexpr auto RS = TokenAlgorithm::rs256;
constexpr auto ES = TokenAlgorithm::es256;
constexpr auto ED = TokenAlgorithm::eddsa;

JwtKeys keys_of(TokenAlgorithm algorithm, std::string_view text) {
    std::string problem;
    JwtKeys keys = JwtKeys::parse(algorithm, text, problem);
    REQUIRE_MESSAGE(problem.empty(), problem);
    return keys;
}

struct Row {
    const char* what;
    std::string token;
    JwtError error = JwtError::none;
    TokenAlgorithm keys = HS;  // of whose signer
};

JwtError verdict(const Row& row, const TokenRules& given = {}, TokenClaims* claims = nullptr) {
    TokenRules rules = given;
    rules.algorithm = row.keys;
    rules.leeway_s = 10;
    TokenClaims read;
    const JwtKeys keys = keys_of(row.keys, signer(row.keys).keys("k1"));
    const JwtError error = verify_jwt(row.token, keys, rules, now, read);
    if (error != JwtError::none) CHECK(read.user.empty());
    if (claims != nullptr) *claims = read;
    return error;
}

void check_rows(const std::vector<Row>& rows, const TokenRules& rules = {}) {
    for (const Row& row : rows) {
        CAPTURE(row.what);
        CHECK(std::string(describe(verdict(row, rules))) == describe(row.error));
    }
}

std::string hs(std::string_view claims) {
    return signer(HS).token(claims);
}
std::string with_header(std::string_view header) {
    return signer(HS).token(header, plain);
}
std::string with_claim(std::string_view claim) {
    return hs(R"({"sub":"ann","exp":1800000100,)" + std::string(claim) + '}');
}

// Of the three parts; `what` is put in place of one.
std::string with_part(std::string_view token, int part, std::string_view what) {
    const std::size_t first = token.find('.');
    const std::size_t last = token.rfind('.');
    std::string parts[] = {std::string(token.substr(0, first)),
                           std::string(token.substr(first + 1, last - first - 1)),
                           std::string(token.substr(last + 1))};
    parts[part] = what;
    return parts[0] + '.' + parts[1] + '.' + parts[2];
}

std::string signature_of(std::string_view token) {
    return std::string(token.substr(token.rfind('.') + 1));
}

std::string deep() {
    return with_claim(R"("x":)" + std::string(40, '[') + std::string(40, ']'));
}

std::string patterns(int count) {
    std::string list = R"("subscribe":[)";
    for (int i = 0; i < count; i++) {
        list += (i == 0 ? "" : ",") + std::string(R"("t)") + std::to_string(i) + '"';
    }
    return list + ']';
}

}  // namespace

TEST_CASE("jwt: good ones") {
    check_rows({
        {"least", hs(plain)},
        {"RS256", signer(RS).token(plain), JwtError::none, RS},
        {"ES256", signer(ES).token(plain), JwtError::none, ES},
        {"EdDSA", signer(ED).token(plain), JwtError::none, ED},
        {"with typ", with_header(R"({"typ":"JWT","alg":"HS256"})")},
        {"a kid that is known",
         signer(RS).token(R"({"alg":"RS256","kid":"k1"})", plain),
         JwtError::none,
         RS},
        {"a kid, where secrets have none", with_header(R"({"alg":"HS256","kid":"x"})")},
        {"a key of its own, which is not looked at",
         with_header(R"({"alg":"HS256","jwk":{"kty":"oct","k":"AA"},"jku":"https://x"})")},
        {"blanks in JSON", signer(HS).token(" {\n\"alg\" : \"HS256\" } ", plain)},
        {"exp with a fraction", hs(R"({"sub":"ann","exp":1800000000.5})")},
        {"exp past by less than the leeway", hs(R"({"sub":"ann","exp":1799999991})")},
        {"nbf ahead by no more than the leeway", with_claim(R"("nbf":1800000010)")},
        {"iat now", with_claim(R"("iat":1800000000)")},
        {"claims of others", with_claim(R"("scope":"a b","x":{"sub":1},"jti":7)")},
        {"iss and aud that nobody asks for", with_claim(R"("iss":"i","aud":["a",7])")},
        {"64 patterns", with_claim(patterns(64))},
    });
}

TEST_CASE("jwt: not in shape") {
    const std::string good = hs(plain);
    check_rows({
        {"nothing", "", JwtError::malformed},
        {"one part", "abcd", JwtError::malformed},
        {"two parts", "abcd.abcd", JwtError::malformed},
        {"four parts", good + ".abcd", JwtError::malformed},
        {"dots alone", "..", JwtError::malformed},
        {"no header", with_part(good, 0, ""), JwtError::malformed},
        {"no claims", with_part(good, 1, ""), JwtError::malformed},
        {"no signature", with_part(good, 2, ""), JwtError::malformed},
        {"a padded signature", good + '=', JwtError::malformed},
        {"a line break behind it", good + '\n', JwtError::malformed},
        {"a blank before it", ' ' + good, JwtError::malformed},
        {"the other alphabet", with_part(good, 1, "ab+/"), JwtError::malformed},
        {"one digit too many", with_part(good, 2, "abcde"), JwtError::malformed},
        {"bits left over", with_part(good, 2, "-_B"), JwtError::malformed},
        {"a zero byte", with_part(good, 1, std::string_view("a\0b", 3)), JwtError::malformed},
        {"too large", hs(std::string(9000, ' ') + std::string(plain)), JwtError::too_large},
        {"as JSON (RFC 7515, 7.2)", R"({"payload":"e30","signatures":[]})", JwtError::malformed},
    });
}

TEST_CASE("jwt: headers and algorithms") {
    const Signer psychic(HS, std::string(32, '\0'));
    const std::string as_secret = signer(RS).keys("k1");
    check_rows({
        {"none, unsigned", "eyJhbGciOiJub25lIn0.e30.", JwtError::malformed},
        {"none, signed", with_header(R"({"alg":"none"})"), JwtError::wrong_algorithm},
        {"nOnE", with_header(R"({"alg":"nOnE"})"), JwtError::wrong_algorithm},
        {"in small letters", with_header(R"({"alg":"hs256"})"), JwtError::wrong_algorithm},
        {"HS512", with_header(R"({"alg":"HS512"})"), JwtError::wrong_algorithm},
        {"no alg", with_header(R"({"typ":"JWT"})"), JwtError::bad_header},
        {"a number", with_header(R"({"alg":256})"), JwtError::bad_header},
        {"null", with_header(R"({"alg":null})"), JwtError::bad_header},
        {"alg twice", with_header(R"({"alg":"none","alg":"HS256"})"), JwtError::bad_header},
        {"crit", with_header(R"({"alg":"HS256","crit":["exp"]})"), JwtError::bad_header},
        {"b64 (RFC 7797)",
         with_header(R"({"alg":"HS256","b64":false,"crit":["b64"]})"),
         JwtError::bad_header},
        {"a list", with_header(R"(["HS256"])"), JwtError::bad_header},
        {"no JSON", with_header(R"({"alg":"HS256")"), JwtError::bad_header},
        {"not UTF-8", with_header("{\"alg\":\"HS256\",\"x\":\"\xff\"}"), JwtError::bad_header},
        {"a kid that is none", with_header(R"({"alg":"HS256","kid":7})"), JwtError::bad_header},
        {"a kid without end",
         with_header(R"({"alg":"HS256","kid":")" + std::string(256, 'k') + R"("})"),
         JwtError::bad_header},
        {"a kid that nobody has",
         signer(RS).token(R"({"alg":"RS256","kid":"k2"})", plain),
         JwtError::unknown_key,
         RS},
        {"the public key as a secret",
         Signer(HS, as_secret).token(plain),
         JwtError::wrong_algorithm,
         RS},
        {"the same, said to be RS256",
         Signer(HS, as_secret).token(R"({"alg":"RS256"})", plain),
         JwtError::bad_signature,
         RS},
        {"ES256 where RS256 is taken", signer(ES).token(plain), JwtError::wrong_algorithm, RS},
        {"EdDSA, said to be ES256",
         signer(ED).token(R"({"alg":"ES256"})", plain),
         JwtError::bad_signature,
         ES},
        {"RS256, said to be HS256",
         signer(RS).token(R"({"alg":"HS256"})", plain),
         JwtError::bad_signature},
        {"an empty secret", psychic.token(plain), JwtError::bad_signature},
    });
}

TEST_CASE("jwt: signatures") {
    const std::string good = hs(plain);
    const std::string zeros = base64url_encode(std::string(64, '\0'));
    const std::string es = signer(ES).token(plain);
    const std::string rs = signer(RS).token(plain);
    std::string rs_bytes;
    REQUIRE(base64url_decode(signature_of(rs), rs_bytes));
    const Signer other_rs(RS);
    const Signer other_es(ES);
    const Signer other_ed(ED);
    check_rows({
        {"another secret",
         Signer(HS, "another secret of at least 32 bytes").token(plain),
         JwtError::bad_signature},
        {"another RSA key", other_rs.token(plain), JwtError::bad_signature, RS},
        {"another curve key", other_es.token(plain), JwtError::bad_signature, ES},
        {"another Ed25519 key", other_ed.token(plain), JwtError::bad_signature, ED},
        {"another key with our kid",
         other_rs.token(R"({"alg":"RS256","kid":"k1"})", plain),
         JwtError::bad_signature,
         RS},
        {"of other claims",
         with_part(good, 2, signature_of(hs(R"({"sub":"bob","exp":1800000100})"))),
         JwtError::bad_signature},
        {"claims of another token",
         with_part(good, 1, base64url_encode(R"({"sub":"bob","exp":1800000100})")),
         JwtError::bad_signature},
        {"cut short", good.substr(0, good.size() - 3), JwtError::bad_signature},
        {"a byte more", with_part(good, 2, signature_of(good) + "AA"), JwtError::malformed},
        {"three bytes more", good.substr(0, good.size() - 3) + "AAAAAAA", JwtError::bad_signature},
        {"zeros",
         with_part(good, 2, base64url_encode(std::string(32, '\0'))),
         JwtError::bad_signature},
        {"r and s of zero", with_part(es, 2, zeros), JwtError::bad_signature, ES},
        {"in DER",
         with_part(es, 2, base64url_encode(std::string("\x30\x06\x02\x01\x01\x02\x01\x01"))),
         JwtError::bad_signature,
         ES},
        {"RSA with a zero in front",
         with_part(rs, 2, base64url_encode(std::string(1, '\0') + rs_bytes)),
         JwtError::bad_signature,
         RS},
        {"Ed25519 of zeros",
         with_part(signer(ED).token(plain), 2, zeros),
         JwtError::bad_signature,
         ED},
    });
}

TEST_CASE("jwt: claims") {
    check_rows({
        {"no exp", hs(R"({"sub":"ann"})"), JwtError::no_expiry},
        {"exp as text", hs(R"({"sub":"ann","exp":"1800000100"})"), JwtError::bad_claims},
        {"exp null", hs(R"({"sub":"ann","exp":null})"), JwtError::bad_claims},
        {"exp below zero", hs(R"({"sub":"ann","exp":-1})"), JwtError::bad_claims},
        {"exp past all", hs(R"({"sub":"ann","exp":1e300})"), JwtError::bad_claims},
        {"exp of milliseconds' size is far away", hs(R"({"sub":"ann","exp":1800000100000})")},
        {"exp twice",
         hs(R"({"sub":"ann","exp":1800000100,"exp":1900000000})"),
         JwtError::bad_claims},
        {"expired", hs(R"({"sub":"ann","exp":1799990000})"), JwtError::expired},
        {"expired just now", hs(R"({"sub":"ann","exp":1799999990})"), JwtError::expired},
        {"nbf ahead", with_claim(R"("nbf":1800000011)"), JwtError::not_yet},
        {"iat ahead", with_claim(R"("iat":1800000011)"), JwtError::not_yet},
        {"nbf as text", with_claim(R"("nbf":"soon")"), JwtError::bad_claims},
        {"no sub", hs(R"({"exp":1800000100})"), JwtError::no_user},
        {"an empty sub", hs(R"({"sub":"","exp":1800000100})"), JwtError::bad_claims},
        {"sub as a number", hs(R"({"sub":7,"exp":1800000100})"), JwtError::bad_claims},
        {"sub with a tab", hs(R"({"sub":"a\tb","exp":1800000100})"), JwtError::bad_claims},
        {"sub without end",
         hs(R"({"exp":1800000100,"sub":")" + std::string(129, 'a') + R"("})"),
         JwtError::bad_claims},
        {"sub twice", with_claim(R"("sub":"bob")"), JwtError::bad_claims},
        {"a pattern as text", with_claim(R"("subscribe":"a.>")"), JwtError::bad_claims},
        {"a number among patterns", with_claim(R"("publish":["a",1])"), JwtError::bad_claims},
        {"a pattern with a line break", with_claim(R"("publish":["a\n"])"), JwtError::bad_claims},
        {"65 patterns", with_claim(patterns(65)), JwtError::bad_claims},
        {"presence as text", with_claim(R"("presence":"yes")"), JwtError::bad_claims},
        {"info without end",
         with_claim(R"("info":")" + std::string(256, 'i') + '"'),
         JwtError::bad_claims},
        {"a limit of zero", with_claim(R"("limits":{"messages":0})"), JwtError::bad_claims},
        {"a limit below zero", with_claim(R"("limits":{"messages":-1})"), JwtError::bad_claims},
        {"limits as a list", with_claim(R"("limits":[1])"), JwtError::bad_claims},
        {"a list", hs(R"(["ann"])"), JwtError::bad_claims},
        {"no JSON", hs(R"({"sub":"ann","exp":1800000100)"), JwtError::bad_claims},
        {"something behind", hs(std::string(plain) + "{}"), JwtError::bad_claims},
        {"a depth without end", deep(), JwtError::bad_claims},
    });
}

TEST_CASE("jwt: issuer and audience, where they are asked for") {
    TokenRules rules;
    rules.issuer = "https://id.example";
    check_rows({{"right", with_claim(R"("iss":"https://id.example")")},
                {"missing", hs(plain), JwtError::wrong_issuer},
                {"another", with_claim(R"("iss":"https://id.example/")"), JwtError::wrong_issuer},
                {"no text", with_claim(R"("iss":["https://id.example"])"), JwtError::bad_claims}},
               rules);
    rules = {};
    rules.audience = "ringcast";
    check_rows({{"right", with_claim(R"("aud":"ringcast")")},
                {"listed", with_claim(R"("aud":["a","ringcast"])")},
                {"missing", hs(plain), JwtError::wrong_audience},
                {"another", with_claim(R"("aud":"Ringcast")"), JwtError::wrong_audience},
                {"not listed", with_claim(R"("aud":["a","b"])"), JwtError::wrong_audience},
                {"an empty list", with_claim(R"("aud":[])"), JwtError::wrong_audience},
                {"a number", with_claim(R"("aud":7)"), JwtError::bad_claims},
                {"a number listed", with_claim(R"("aud":["ringcast",7])"), JwtError::bad_claims}},
               rules);
}

TEST_CASE("jwt: what it says is read") {
    TokenClaims claims;
    const Row row{"all of it", hs(R"({"sub":"ann","exp":1800000100.9,"nbf":1700000000,
        "iat":1600000000,"subscribe":["a.>","b"],"publish":["b"],"presence":true,
        "info":{"name" : "Ann"},"limits":{"connections":3,"messages":7,"more":[]}})")};
    REQUIRE(verdict(row, {}, &claims) == JwtError::none);
    CHECK(claims.user == "ann");
    CHECK(claims.subscribe == std::vector<std::string>{"a.>", "b"});
    CHECK(claims.publish == std::vector<std::string>{"b"});
    CHECK(claims.presence == claims.subscribe);
    CHECK(claims.info == R"({"name":"Ann"})");
    CHECK(claims.expires_s == 1'800'000'100);
    CHECK(claims.not_before_s == 1'700'000'000);
    CHECK(claims.issued_s == 1'600'000'000);
    CHECK(claims.connections == 3);
    CHECK(claims.messages == 7);
    REQUIRE(verdict({"some", with_claim(R"("presence":["p"])")}, {}, &claims) == JwtError::none);
    CHECK(claims.presence == std::vector<std::string>{"p"});
    REQUIRE(verdict({"none", with_claim(R"("presence":false)")}, {}, &claims) == JwtError::none);
    CHECK(claims.presence.empty());
}

TEST_CASE("jwt: of several keys any may have signed, one with the token's kid if it has one") {
    const Signer old_one(ED);
    const Signer new_one(ED);
    const std::string text = R"({"keys":[)" + old_one.jwk("old") + ',' + new_one.jwk("new") + "]}";
    const JwtKeys keys = keys_of(ED, text);
    TokenRules rules;
    rules.algorithm = ED;
    TokenClaims claims;
    const auto error = [&](const std::string& token) {
        return verify_jwt(token, keys, rules, now, claims);
    };
    CHECK(error(old_one.token(plain)) == JwtError::none);
    CHECK(error(new_one.token(plain)) == JwtError::none);
    CHECK(error(new_one.token(R"({"alg":"EdDSA","kid":"new"})", plain)) == JwtError::none);
    CHECK(error(new_one.token(R"({"alg":"EdDSA","kid":"old"})", plain)) == JwtError::bad_signature);
    CHECK(error(new_one.token(R"({"alg":"EdDSA","kid":"older"})", plain)) == JwtError::unknown_key);
}

TEST_CASE("jwt: one that is made is good, and says the same") {
    const std::string first = "the first secret, which is the one that signs";
    const JwtKeys keys = keys_of(HS, first + "\r\n\nthe second secret, which is still good\n");
    TokenRules rules;
    rules.algorithm = HS;
    TokenClaims made;
    made.user = "a\"\\\xe2\x82\xac";
    made.subscribe = {"a.*", "b\"c"};
    made.publish = {">"};
    made.presence = {"p"};
    made.info = R"({"x":[1,null]})";
    made.issuer = rules.issuer = "i";
    made.audience = rules.audience = "a";
    made.issued_s = now - 1;
    made.not_before_s = now - 2;
    made.expires_s = now + 1;
    made.connections = 1;
    made.messages = UINT32_MAX;
    REQUIRE(claims_valid(made));
    const std::string token = make_jwt(keys, made);
    TokenClaims read;
    REQUIRE(verify_jwt(token, keys, rules, now, read) == JwtError::none);
    CHECK(read.user == made.user);
    CHECK(read.subscribe == made.subscribe);
    CHECK(read.publish == made.publish);
    CHECK(read.presence == made.presence);
    CHECK(read.info == made.info);
    CHECK(read.expires_s == made.expires_s);
    CHECK(read.issued_s == made.issued_s);
    CHECK(read.not_before_s == made.not_before_s);
    CHECK(read.connections == made.connections);
    CHECK(read.messages == made.messages);
    CHECK(verify_jwt(token, keys_of(HS, first), rules, now, read) == JwtError::none);

    for (const char* user : {"", "a\nb", "a\x7f"}) {
        TokenClaims wrong = made;
        wrong.user = user;
        CHECK_FALSE(claims_valid(wrong));
    }
    TokenClaims wrong = made;
    wrong.info = "{";
    CHECK_FALSE(claims_valid(wrong));
    wrong = made;
    wrong.expires_s = 0;
    CHECK_FALSE(claims_valid(wrong));
    wrong = made;
    wrong.subscribe = {""};
    CHECK_FALSE(claims_valid(wrong));
}

TEST_CASE("jwt: changed in any place it is not good any more") {
    Random random(7);
    for (const TokenAlgorithm algorithm : {HS, RS, ES, ED}) {
        const std::string good = signer(algorithm).token(plain);
        const JwtKeys keys = keys_of(algorithm, signer(algorithm).keys());
        TokenRules rules;
        rules.algorithm = algorithm;
        TokenClaims claims;
        REQUIRE(verify_jwt(good, keys, rules, now, claims) == JwtError::none);
        for (std::size_t at = 0; at < good.size(); at++) {
            std::string changed = good;
            changed[at] = static_cast<char>(changed[at] ^ static_cast<char>(1 + random.below(255)));
            CHECK(verify_jwt(changed, keys, rules, now, claims) != JwtError::none);
            CHECK(verify_jwt(good.substr(0, at), keys, rules, now, claims) != JwtError::none);
        }
    }
}
