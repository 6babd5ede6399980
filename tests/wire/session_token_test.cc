#include "wire/session_token.h"

#include <doctest/doctest.h>

using namespace ringcast;
using wire::session_token;
using wire::session_token_valid;
using wire::TokenKey;

TEST_CASE("session token: HMAC-SHA-256, the first half, as RFC 4231 has it") {
    TokenKey key{};  // shorter keys are filled up with zeros (RFC 2104, 2), so 20 bytes of 0x0b ...
    for (std::size_t i = 0; i < 20; i++) {
        key[i] = std::byte{0x0b};
    }
    CHECK(session_token(key, "Hi There") == "b0344c61d8db38535ca8afceaf0bf12b");  // ... test case 1
}

TEST_CASE("session token: of this id and this key alone") {
    TokenKey key{};
    key[31] = std::byte{1};
    const std::string token = session_token(key, "me");
    CHECK(token.size() == 32);
    CHECK(session_token_valid(key, "me", token));
    CHECK_FALSE(session_token_valid(key, "you", token));
    CHECK_FALSE(session_token_valid(TokenKey{}, "me", token));
    CHECK_FALSE(session_token_valid(key, "me", ""));
    CHECK_FALSE(session_token_valid(key, "me", token.substr(1)));
    CHECK_FALSE(session_token_valid(key, "me", token + "0"));
}
