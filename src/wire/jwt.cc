#include "wire/jwt.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <simdjson.h>

#include "base/check.h"
#include "wire/base64.h"
#include "wire/envelope.h"

namespace ringcast::wire {

namespace {

namespace dom = simdjson::dom;

constexpr std::size_t depth_max = 16;
constexpr double seconds_max = 9007199254740992.0;  // 2^53: what a double counts to

struct Parts {
    std::string_view signed_text;  // header and claims, with the dot between them
    std::string_view header;
    std::string_view claims;
    std::string_view signature;
};

[[nodiscard]] bool split(std::string_view token, Parts& parts) noexcept {
    const std::size_t first = token.find('.');
    const std::size_t last = token.rfind('.');
    if (first == std::string_view::npos || first == last) return false;
    parts.signed_text = token.substr(0, last);
    parts.header = token.substr(0, first);
    parts.claims = token.substr(first + 1, last - first - 1);
    parts.signature = token.substr(last + 1);
    return parts.claims.find('.') == std::string_view::npos && !parts.header.empty() &&
           !parts.claims.empty() && !parts.signature.empty();
}

[[nodiscard]] bool read_object(dom::parser& parser,
                               std::string_view text,
                               dom::object& object) noexcept {
    if (parser.allocate(std::max<std::size_t>(text.size(), 64), depth_max) != simdjson::SUCCESS) {
        return false;
    }
    dom::element root;
    return parser.parse(text.data(), text.size()).get(root) == simdjson::SUCCESS &&
           root.get_object().get(object) == simdjson::SUCCESS;
}

[[nodiscard]] bool read_text(const dom::element& value, std::string_view& text) noexcept {
    return value.get_string().get(text) == simdjson::SUCCESS;
}

// Without control characters, so that it can stand in front of what is separated by one.
[[nodiscard]] bool is_name(std::string_view text, std::size_t size_max) noexcept {
    return !text.empty() && text.size() <= size_max &&
           std::none_of(text.begin(), text.end(), [](char c) {
               return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
           });
}

// NumericDate (RFC 7519, section 2): seconds, perhaps with a fraction.
[[nodiscard]] bool read_seconds(const dom::element& value, std::int64_t& seconds) noexcept {
    double number = 0;
    if (value.get_double().get(number) != simdjson::SUCCESS) return false;
    if (!std::isfinite(number) || number < 1 || number > seconds_max) return false;
    seconds = static_cast<std::int64_t>(number);
    return true;
}

[[nodiscard]] bool read_patterns(const dom::element& value,
                                 std::vector<std::string>& patterns) noexcept {
    dom::array list;
    if (value.get_array().get(list) != simdjson::SUCCESS) return false;
    for (const dom::element item : list) {
        std::string_view text;
        if (!read_text(item, text) || !topic_valid(text)) return false;
        if (patterns.size() == jwt_patterns_max) return false;
        patterns.emplace_back(text);
    }
    return true;
}

[[nodiscard]] bool read_count(const dom::element& value, std::uint32_t& count) noexcept {
    std::uint64_t number = 0;
    if (value.get_uint64().get(number) != simdjson::SUCCESS || number < 1 || number > UINT32_MAX) {
        return false;
    }
    count = static_cast<std::uint32_t>(number);
    return true;
}

[[nodiscard]] bool read_limits(const dom::element& value, TokenClaims& claims) noexcept {
    dom::object limits;
    if (value.get_object().get(limits) != simdjson::SUCCESS) return false;
    for (const dom::key_value_pair field : limits) {
        std::uint32_t* const count = field.key == "connections" ? &claims.connections
                                     : field.key == "messages"  ? &claims.messages
                                                                : nullptr;
        if (count == nullptr) continue;
        if (*count != 0 || !read_count(field.value, *count)) return false;
    }
    return true;
}

// `aud` is a text or a list of texts (RFC 7519, section 4.1.3).
[[nodiscard]] bool read_audience(const dom::element& value,
                                 const std::string& wanted,
                                 bool& found) noexcept {
    std::string_view text;
    if (read_text(value, text)) {
        found = text == wanted;
        return true;
    }
    dom::array list;
    if (value.get_array().get(list) != simdjson::SUCCESS) return false;
    for (const dom::element item : list) {
        if (!read_text(item, text)) return false;
        found = found || text == wanted;
    }
    return true;
}

// What is read of a header.
struct Header {
    std::string_view algorithm{};
    std::string_view kid{};
};

[[nodiscard]] bool read_header(const dom::object& object, Header& header) noexcept {
    unsigned seen = 0;
    for (const dom::key_value_pair field : object) {
        const unsigned bit = field.key == "alg" ? 1 : field.key == "kid" ? 2 : 0;
        if (field.key == "crit" || (seen & bit) != 0) return false;
        seen |= bit;
        if (bit == 1 && !read_text(field.value, header.algorithm)) return false;
        if (bit == 2 && !read_text(field.value, header.kid)) return false;
    }
    return (seen & 1) != 0 && header.kid.size() <= jwt_kid_size_max;
}

// The claims, and what of them is compared here.
struct Reading {
    TokenClaims& claims;
    const TokenRules& rules;
    bool issuer_good;
    bool audience_good;
    bool presence_of_all = false;
};

[[nodiscard]] bool read_user(const dom::element& value, Reading& to) noexcept {
    std::string_view text;
    if (!read_text(value, text) || !is_name(text, jwt_user_size_max)) return false;
    to.claims.user = text;
    return true;
}

[[nodiscard]] bool read_presence(const dom::element& value, Reading& to) noexcept {
    if (value.get_bool().get(to.presence_of_all) == simdjson::SUCCESS) return true;
    return read_patterns(value, to.claims.presence);
}

[[nodiscard]] bool read_info(const dom::element& value, Reading& to) noexcept {
    to.claims.info = simdjson::minify(value);
    return to.claims.info.size() <= info_size_max;
}

[[nodiscard]] bool read_issuer(const dom::element& value, Reading& to) noexcept {
    std::string_view text;
    if (!read_text(value, text)) return false;
    to.issuer_good = to.rules.issuer.empty() || text == to.rules.issuer;
    return true;
}

struct ClaimRow {
    std::string_view name;
    bool (*read)(const dom::element& value, Reading& to) noexcept;
};

constexpr std::array<ClaimRow, 11> claim_rows{{
    {"sub", &read_user},
    {"subscribe",
     [](const dom::element& value, Reading& to) noexcept {
         return read_patterns(value, to.claims.subscribe);
     }},
    {"publish",
     [](const dom::element& value, Reading& to) noexcept {
         return read_patterns(value, to.claims.publish);
     }},
    {"presence", &read_presence},
    {"info", &read_info},
    {"limits",
     [](const dom::element& value, Reading& to) noexcept { return read_limits(value, to.claims); }},
    {"exp",
     [](const dom::element& value, Reading& to) noexcept {
         return read_seconds(value, to.claims.expires_s);
     }},
    {"nbf",
     [](const dom::element& value, Reading& to) noexcept {
         return read_seconds(value, to.claims.not_before_s);
     }},
    {"iat",
     [](const dom::element& value, Reading& to) noexcept {
         return read_seconds(value, to.claims.issued_s);
     }},
    {"iss", &read_issuer},
    {"aud",
     [](const dom::element& value, Reading& to) noexcept {
         if (to.rules.audience.empty()) return true;
         return read_audience(value, to.rules.audience, to.audience_good);
     }},
}};

// False: one of those that we know is there twice, or not what it must be.
[[nodiscard]] bool read_claims(const dom::object& object, Reading& to) noexcept {
    unsigned seen = 0;
    for (const dom::key_value_pair field : object) {
        unsigned bit = 1;
        for (const ClaimRow& row : claim_rows) {
            if (field.key == row.name) {
                if ((seen & bit) != 0 || !row.read(field.value, to)) return false;
                seen |= bit;
            }
            bit <<= 1;
        }
    }
    if (to.presence_of_all) to.claims.presence = to.claims.subscribe;
    return true;
}

[[nodiscard]] JwtError judge(const Reading& reading, std::int64_t now_s) noexcept {
    const TokenClaims& claims = reading.claims;
    const std::int64_t leeway = reading.rules.leeway_s;
    if (claims.user.empty()) return JwtError::no_user;
    if (claims.expires_s == 0) return JwtError::no_expiry;
    if (now_s >= claims.expires_s + leeway) return JwtError::expired;
    if (claims.not_before_s > now_s + leeway || claims.issued_s > now_s + leeway) {
        return JwtError::not_yet;
    }
    if (!reading.issuer_good) return JwtError::wrong_issuer;
    return reading.audience_good ? JwtError::none : JwtError::wrong_audience;
}

void append_quoted(std::string& json, std::string_view text) noexcept {
    constexpr std::string_view digits = "0123456789abcdef";
    json += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20) {
            json += "\\u00";
            json += digits[byte >> 4];
            json += digits[byte & 15];
            continue;
        }
        if (c == '"' || c == '\\') json += '\\';
        json += c;
    }
    json += '"';
}

void append_text(std::string& json, std::string_view name, std::string_view text) noexcept {
    if (text.empty()) return;
    json += json.empty() ? '{' : ',';
    append_quoted(json, name);
    json += ':';
    append_quoted(json, text);
}

void append_raw(std::string& json, std::string_view name, std::string_view text) noexcept {
    json += json.empty() ? '{' : ',';
    append_quoted(json, name);
    json += ':';
    json += text;
}

void append_seconds(std::string& json, std::string_view name, std::int64_t seconds) noexcept {
    if (seconds != 0) append_raw(json, name, std::to_string(seconds));
}

void append_list(std::string& json,
                 std::string_view name,
                 const std::vector<std::string>& list) noexcept {
    if (list.empty()) return;
    std::string text;
    for (const std::string& item : list) {
        text += text.empty() ? '[' : ',';
        append_quoted(text, item);
    }
    append_raw(json, name, text + ']');
}

[[nodiscard]] std::string written(const TokenClaims& claims) noexcept {
    std::string json;
    append_text(json, "sub", claims.user);
    append_text(json, "iss", claims.issuer);
    append_text(json, "aud", claims.audience);
    append_seconds(json, "exp", claims.expires_s);
    append_seconds(json, "nbf", claims.not_before_s);
    append_seconds(json, "iat", claims.issued_s);
    append_list(json, "subscribe", claims.subscribe);
    append_list(json, "publish", claims.publish);
    append_list(json, "presence", claims.presence);
    if (!claims.info.empty()) append_raw(json, "info", claims.info);
    std::string limits;
    if (claims.connections != 0) {
        append_raw(limits, "connections", std::to_string(claims.connections));
    }
    if (claims.messages != 0) append_raw(limits, "messages", std::to_string(claims.messages));
    if (!limits.empty()) append_raw(json, "limits", limits + '}');
    return json.empty() ? "{}" : json + '}';
}

}  // namespace

const char* describe(JwtError error) noexcept {
    switch (error) {
        case JwtError::none:
            return "the token is good";
        case JwtError::too_large:
            return "the token is over 8 KiB";
        case JwtError::malformed:
            return "the token is not three parts in base64url with dots between them";
        case JwtError::bad_header:
            return "the token's header is no JSON object with alg, says crit, or something twice";
        case JwtError::wrong_algorithm:
            return "the token's alg is not the one that this server takes";
        case JwtError::unknown_key:
            return "no key here has the kid of the token";
        case JwtError::bad_signature:
            return "the token is not signed with a key of this server";
        case JwtError::bad_claims:
            return "a claim of the token has the wrong type or size, or is there twice";
        case JwtError::no_user:
            return "the token has no sub";
        case JwtError::no_expiry:
            return "the token has no exp";
        case JwtError::expired:
            return "the token has expired";
        case JwtError::not_yet:
            return "the token is not valid yet (nbf, iat)";
        case JwtError::wrong_issuer:
            return "the token's iss is not the one that this server takes";
        case JwtError::wrong_audience:
            return "the token's aud is not this server";
    }
    return "the token is not good";
}

JwtError verify_jwt(std::string_view token,
                    const JwtKeys& keys,
                    const TokenRules& rules,
                    std::int64_t now_s,
                    TokenClaims& claims) noexcept {
    RC_CHECK(keys.algorithm() == rules.algorithm);
    RC_CHECK(rules.algorithm != TokenAlgorithm::none);
    claims = TokenClaims();
    Parts parts;
    std::string header_text;
    std::string claims_text;
    std::string signature;
    if (token.size() > jwt_size_max) return JwtError::too_large;
    if (!split(token, parts) || !base64url_decode(parts.header, header_text) ||
        !base64url_decode(parts.claims, claims_text) ||
        !base64url_decode(parts.signature, signature)) {
        return JwtError::malformed;
    }
    dom::parser parser;
    dom::object object;
    Header header;
    if (!read_object(parser, header_text, object) || !read_header(object, header)) {
        return JwtError::bad_header;
    }
    if (header.algorithm != name_of(rules.algorithm)) return JwtError::wrong_algorithm;
    if (!header.kid.empty() && !keys.knows(header.kid)) return JwtError::unknown_key;
    if (!keys.signed_by_one(header.kid, parts.signed_text, signature)) {
        return JwtError::bad_signature;
    }
    TokenClaims read;
    Reading reading{.claims = read,
                    .rules = rules,
                    .issuer_good = rules.issuer.empty(),
                    .audience_good = rules.audience.empty()};
    if (!read_object(parser, claims_text, object) || !read_claims(object, reading)) {
        return JwtError::bad_claims;
    }
    const JwtError error = judge(reading, now_s);
    if (error == JwtError::none) claims = std::move(read);
    return error;
}

std::string make_jwt(const JwtKeys& keys, const TokenClaims& claims) noexcept {
    const std::string text = base64url_encode(R"({"alg":"HS256","typ":"JWT"})") + '.' +
                             base64url_encode(written(claims));
    return text + '.' + base64url_encode(keys.sign(text));
}

bool claims_valid(const TokenClaims& claims) noexcept {
    const std::string text = written(claims);
    const TokenRules rules;
    dom::parser parser;
    dom::object object;
    TokenClaims read;
    Reading reading{.claims = read, .rules = rules, .issuer_good = true, .audience_good = true};
    if (!read_object(parser, text, object) || !read_claims(object, reading)) return false;
    return read.user == claims.user && !read.user.empty() && read.expires_s == claims.expires_s &&
           claims.expires_s != 0;
}

}  // namespace ringcast::wire
