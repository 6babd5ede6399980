#include "wire/envelope.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::wire;
using std::string_literals::operator""s;

namespace {

constexpr std::size_t size_max = 64 * 1024;

EnvelopeParser& parser() {
    static Result<EnvelopeParser> made = EnvelopeParser::make(size_max);
    REQUIRE(made.ok());
    return made.value();
}

// A message with exactly its 64 bytes behind it, which are hostile: a parser that believes them
// goes wrong.
class Padded {
  public:
    explicit Padded(const std::string& text) : size_(text.size()), bytes_(text) {
        const std::string hostile = "\"}]}\\,:1";
        while (bytes_.size() < size_ + 64)
            bytes_ += hostile;
        bytes_.resize(size_ + 64);
        bytes_.shrink_to_fit();
    }
    [[nodiscard]] Bytes bytes() const { return as_bytes(bytes_).first(size_); }

  private:
    std::size_t size_;
    std::string bytes_;
};

struct Read {
    EnvelopeError error = EnvelopeError::none;
    Inbound inbound;
};

// The views live until the next read().
Read read(const std::string& text) {
    static std::unique_ptr<Padded> padded;
    padded = std::make_unique<Padded>(text);
    Read result;
    result.error = parser().parse(padded->bytes(), result.inbound);
    return result;
}

std::string error_of(const std::string& text) {
    const Read result = read(text);
    std::string name(envelope_error_name(result.error));
    const std::string member = result.inbound.member;
    return member.empty() ? name : name + " " + member;
}

std::string repeat(const std::string& one, std::size_t count) {
    std::string all;
    for (std::size_t i = 0; i < count; i++)
        all += one;
    return all;
}

// A publish whose payload is `json`.
std::string publish(const std::string& json) {
    return R"({"type":"publish","topic":"t","payload":)" + json + "}";
}

}  // namespace

TEST_CASE("envelope: a publish is read member by member, in any order and with any blanks") {
    const std::string messages[] = {
        R"({"type":"publish","id":"7","timestamp":1.5,"topic":"a/b","key":"k",)"
        R"("ack_required":true,"payload":{"x":[1,2]}})",
        R"( { "payload" : {"x":[1,2]} , "ack_required" : true, "key":"k","topic":"a/b")"
        R"(,"timestamp":-3,"id":"7","type":"publish" } )",
        "{\"type\":\"publish\",\n\t\"other\":{\"type\":\"x\",\"payload\":[{}]},\"id\":\"7\","
        "\"topic\":\"\\u0061\\/b\",\"key\":\"k\",\"ack_required\":true,\"payload\":{\"x\":[1,2]}}",
    };
    for (const std::string& message : messages) {
        CAPTURE(message);
        const Read result = read(message);
        REQUIRE(result.error == EnvelopeError::none);
        CHECK(result.inbound.type == MessageType::publish);
        CHECK(result.inbound.type_text == "publish");
        CHECK(result.inbound.id == "7");
        CHECK(result.inbound.topic == "a/b");
        CHECK(result.inbound.key == "k");
        CHECK(result.inbound.ack_required);
        CHECK(as_text(result.inbound.payload) == R"({"x":[1,2]})");
    }
}

TEST_CASE("envelope: the payload is handed on as it was written") {
    const std::string payloads[] = {
        "null",
        "true",
        "0",
        "-1.50e+07",
        R"("")",
        R"("a\"}]\\")",
        "{}",
        "[]",
        "[ ]",
        "{ }",
        R"({"payload":"}","a":[[],{"b":[{}]}]})",
        R"([1 , 2])",
        R"("\u0000")",
        R"("\ud83d\ude00")",
        "\"\xf0\x9f\x98\x80\"",
        "18446744073709551615",
        "-9223372036854775808",
        repeat("[", 30) + repeat("]", 30),
        R"(["{","}","[","]",",",":"])",
    };
    for (const std::string& payload : payloads) {
        CAPTURE(payload);
        for (const char* blank : {"", " ", "\r\n\t "}) {
            Read result = read(R"({"type":"publish","topic":"t","payload":)" + (blank + payload) +
                               blank + "}");
            REQUIRE(result.error == EnvelopeError::none);
            CHECK(as_text(result.inbound.payload) == payload);
            result = read(R"({"payload":)" + (blank + payload) + blank + R"(,"topic":"t","x":)" +
                          payload + R"(,"type":"publish"})");
            REQUIRE(result.error == EnvelopeError::none);
            CHECK(as_text(result.inbound.payload) == payload);
        }
    }
}

TEST_CASE("envelope: a number of any size is a payload, verbatim, but nothing that we read") {
    const std::string numbers[] = {"18446744073709551615",
                                   "18446744073709551616",
                                   "-9223372036854775808",
                                   "-9223372036854775809",
                                   "123456789012345678901234567890",
                                   "-0.123456789012345678901234567890",
                                   "9e308",
                                   "1e400",
                                   "-1E+400",
                                   "1e999999",
                                   "1e-400",
                                   std::string(60'000, '9')};
    for (const std::string& number : numbers) {
        CAPTURE(number.substr(0, 40));
        for (const std::string& payload :
             {number, "[" + number + " ," + number + "]", "{\"a\":" + number + "}"}) {
            if (payload.size() > 64'000) continue;
            const std::string text = R"({"id":"i","payload": )" + payload +
                                     R"( ,"type":"publish","topic":"t\u0041","timestamp":)" +
                                     (number.size() > 100 ? "1" : number) + "}";
            const Read result = read(text);
            REQUIRE(result.error == EnvelopeError::none);
            CHECK(as_text(result.inbound.payload) == payload);
            CHECK(result.inbound.topic == "tA");
            CHECK(parser().payload_form(Padded(payload).bytes(), true) == PayloadForm::json);
        }
    }
    for (const char* name : {"offset", "max_rate"}) {
        for (const char* number : {"1e400", "123456789012345678901234567890"}) {
            CHECK(error_of(R"({"type":"subscribe","topic":"t","payload":{")" + std::string(name) +
                           "\":" + number + "}}") == "bad_payload " + std::string(name));
        }
    }
}

TEST_CASE("envelope: what is not one JSON object of modest depth is refused") {
    struct Row {
        const char* name;
        std::string text;
        const char* error;
    };
    const Row rows[] = {
        {"nothing", "", "bad_json"},
        {"blanks", "  \n", "bad_json"},
        {"half an object", R"({"type":"ping")", "bad_json"},
        {"an unfinished string", R"({"type":"pi)", "bad_json"},
        {"trailing garbage", R"({"type":"ping"}x)", "bad_json"},
        {"two documents", R"({"type":"ping"}{"type":"ping"})", "bad_json"},
        {"trailing comma", R"({"type":"ping",})", "bad_json"},
        {"single quotes", "{'type':'ping'}", "bad_json"},
        {"a name without quotes", R"({type:"ping"})", "bad_json"},
        {"a comment", R"({"type":"ping"/**/})", "bad_json"},
        {"byte order mark", "\xef\xbb\xbf{\"type\":\"ping\"}", "bad_json"},
        {"NUL behind", "{\"type\":\"ping\"}\0"s, "bad_json"},
        {"raw NUL in a string", "{\"type\":\"pi\0ng\"}"s, "bad_json"},
        {"raw newline in a string", "{\"type\":\"pi\nng\"}", "bad_json"},
        {"not UTF-8", "{\"type\":\"\xff\"}", "bad_json"},
        {"overlong UTF-8", "{\"x\":\"\xc0\xaf\",\"type\":\"ping\"}", "bad_json"},
        {"a large number, and trailing garbage", publish("[1e400]") + "x", "bad_json"},
        {"a large number, and no number", publish("[1e400,1e400x]"), "bad_json"},
        {"a large number with a leading zero", publish("0123456789012345678901234"), "bad_json"},
        {"a large number without a fraction", publish("123456789012345678901234."), "bad_json"},
        {"a large number without an exponent", publish("123456789012345678901234e"), "bad_json"},
        {"a large number too deep",
         publish(repeat("[", 32) + "1e400" + repeat("]", 32)),
         "bad_json"},
        {"leading zero", publish("01"), "bad_json"},
        {"NaN", publish("NaN"), "bad_json"},
        {"lone high surrogate", publish(R"("\ud800")"), "bad_json"},
        {"lone low surrogate", publish(R"("\udc00")"), "bad_json"},
        {"high surrogate and a letter", publish(R"("\ud800a")"), "bad_json"},
        {"high surrogate and no low one", publish(R"("\ud800\u0061")"), "bad_json"},
        {"two high surrogates", publish(R"("\ud800\ud800")"), "bad_json"},
        {"escape that does not exist", publish(R"("\x41")"), "bad_json"},
        {"depth 32", publish(repeat("[", 31) + repeat("]", 31)), "none"},
        {"depth 33", publish(repeat("[", 32) + repeat("]", 32)), "bad_json"},
        {"depth 30000", publish(repeat("[", 30'000) + repeat("]", 30'000)), "bad_json"},
        {"depth 9000 of objects",
         publish(repeat("{\"a\":", 9'000) + "1" + repeat("}", 9'000)),
         "bad_json"},
        {"an open depth bomb", repeat("[", 60'000), "bad_json"},
        {"too long", publish("\"" + std::string(size_max, 'x') + "\""), "too_large"},
        {"array", R"(["type","ping"])", "not_an_object"},
        {"string", R"("ping")", "not_an_object"},
        {"number", "1", "not_an_object"},
        {"null", "null", "not_an_object"},
        {"empty object", "{}", "missing_member type"},
        {"100000 topics",
         R"({"type":"subscribe","topic":[)" + repeat("1,", 30'000) + "1]}",
         "bad_topic topic"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        CHECK(error_of(row.text) == row.error);
    }
}

TEST_CASE("envelope: every known member in every type, missing and twice") {
    struct Member {
        const char* name;
        const char* good;
        const char* error;
        std::vector<std::string> fits;
    };
    const std::vector<std::string> values = {"null",
                                             "true",
                                             "1",
                                             "-1.5",
                                             R"("x")",
                                             R"("")",
                                             "[]",
                                             "{}",
                                             R"("a\u0000b")",
                                             R"("a\nb")",
                                             R"("a\u007fb")"};
    const Member all[] = {
        {"type", R"("ping")", "bad_type type", {R"("x")"}},
        {"id", R"("i")", "bad_id id", {R"("x")"}},
        {"timestamp", "1.5", "bad_timestamp timestamp", {"1", "-1.5"}},
        {"topic", R"("t")", "bad_topic topic", {R"("x")"}},
        {"key", R"("k")", "bad_key key", {R"("x")"}},
        {"ack_required", "false", "bad_ack_required ack_required", {"true"}},
        {"payload", "{}", "none", values},
    };
    for (const Member& member : all) {
        const std::string quoted = "\"" + std::string(member.name) + "\":";
        const std::string type = std::string(member.name) == "type" ? "" : R"("type":"ping",)";
        for (const std::string& value : values) {
            const std::string text = "{" + type + quoted + value + "}";
            CAPTURE(text);
            const bool fits =
                std::find(member.fits.begin(), member.fits.end(), value) != member.fits.end();
            CHECK(error_of(text) == (fits ? "none" : member.error));
        }
        const std::string twice =
            "{" + type + quoted + member.good + "," + quoted + member.good + "}";
        CAPTURE(twice);
        CHECK(error_of(twice) == "duplicate_member " + std::string(member.name));
    }
    CHECK(error_of(R"({"type":"ping","x":1,"x":2})") == "none");
    CHECK(error_of(R"({"type":"ping","t\u0079pe":"pong"})") == "duplicate_member type");
}

TEST_CASE("envelope: each type names the member it lacks") {
    struct Row {
        const char* text;
        const char* error;
        MessageType type;
    };
    const Row rows[] = {
        {R"({"type":"ping"})", "none", MessageType::ping},
        {R"({"type":"publish","payload":1})", "missing_member topic", MessageType::publish},
        {R"({"type":"publish","topic":"t"})", "missing_member payload", MessageType::publish},
        {R"({"type":"publish","topic":"t","payload":null})", "none", MessageType::publish},
        {R"({"type":"subscribe"})", "missing_member topic", MessageType::subscribe},
        {R"({"type":"subscribe","topic":"t"})", "none", MessageType::subscribe},
        {R"({"type":"unsubscribe","payload":{}})",
         "missing_member topic",
         MessageType::unsubscribe},
        {R"({"type":"unsubscribe","topic":"t"})", "none", MessageType::unsubscribe},
        {R"({"type":"ack"})", "missing_member id", MessageType::ack},
        {R"({"type":"ack","id":"1"})", "none", MessageType::ack},
        {R"({"type":"auth"})", "missing_member payload", MessageType::auth},
        {R"({"type":"auth","payload":{"token":"t"}})", "none", MessageType::auth},
        {R"({"type":"auth","payload":{"token":""}})", "bad_payload token", MessageType::auth},
        {R"({"type":"auth","payload":{"token":1}})", "bad_payload token", MessageType::auth},
        {R"({"type":"auth","payload":{}})", "bad_payload token", MessageType::auth},
        {R"({"type":"auth","payload":"t"})", "bad_payload token", MessageType::auth},
        {R"({"type":"Ping"})", "none", MessageType::unknown},
        {R"({"type":"my_own","topic":"*"})", "none", MessageType::unknown},
    };
    for (const Row& row : rows) {
        CAPTURE(row.text);
        CHECK(error_of(row.text) == row.error);
        CHECK(read(row.text).inbound.type == row.type);
    }
}

TEST_CASE("envelope: names have a size") {
    struct Row {
        const char* member;
        std::size_t size;
        const char* error;
    };
    const Row rows[] = {{"id", 64, "none"},
                        {"id", 65, "bad_id id"},
                        {"topic", 255, "none"},
                        {"topic", 256, "bad_topic topic"},
                        {"topic", 60'000, "bad_topic topic"},
                        {"key", 255, "none"},
                        {"key", 256, "bad_key key"}};
    for (const Row& row : rows) {
        CAPTURE(row.member);
        CAPTURE(row.size);
        const std::string name(row.size, 'n');
        CHECK(error_of(R"({"type":"ping",")"s + row.member + "\":\"" + name + "\"}") == row.error);
    }
    CHECK(error_of(R"({"type":")" + std::string(64, 'n') + "\"}") == "none");
    CHECK(error_of(R"({"type":")" + std::string(65, 'n') + "\"}") == "bad_type type");
}

TEST_CASE("envelope: an error still knows the id it must be answered with") {
    const Read result = read(R"({"topic":1,"type":"publish","key":2,"id":"later"})");
    CHECK(result.error == EnvelopeError::bad_topic);
    CHECK(result.inbound.member == "topic"s);
    CHECK(result.inbound.id == "later");
    CHECK(result.inbound.type_text == "publish");
}

TEST_CASE("envelope: what subscribe may ask for") {
    const Read good = read(
        R"({"type":"subscribe","topic":"t","payload":{"offset":9223372036854775807,)"
        R"("epoch":"00000000000000ff","snapshot":true,"max_rate":2.5,"policy":"skip","x":null}})");
    REQUIRE(good.error == EnvelopeError::none);
    const SubscribeOptions& options = good.inbound.subscribe;
    CHECK(options.has_offset);
    CHECK(options.offset == INT64_MAX);
    CHECK(options.has_epoch);
    CHECK(options.epoch == 255);
    CHECK(options.has_snapshot);
    CHECK(options.snapshot);
    CHECK(options.max_rate == 2.5);
    CHECK(options.policy == "skip");

    struct Row {
        const char* payload;
        const char* error;
    };
    const Row rows[] = {
        {R"({})", "none"},
        {R"({"offset":0})", "none"},
        {R"({"offset":-1})", "bad_payload offset"},
        {R"({"offset":9223372036854775808})", "bad_payload offset"},
        {R"({"offset":1.0})", "bad_payload offset"},
        {R"({"offset":"1"})", "bad_payload offset"},
        {R"({"offset":null})", "bad_payload offset"},
        {R"({"offset":[1]})", "bad_payload offset"},
        {R"({"offset":1,"offset":1})", "duplicate_member offset"},
        {R"({"epoch":"another server's"})", "none"},
        {R"({"epoch":"fffffffffffffffff"})", "none"},
        {R"({"epoch":1})", "bad_payload epoch"},
        {R"({"epoch":""})", "bad_payload epoch"},
        {R"({"snapshot":1})", "bad_payload snapshot"},
        {R"({"max_rate":1})", "none"},
        {R"({"max_rate":0})", "bad_payload max_rate"},
        {R"({"max_rate":-1})", "bad_payload max_rate"},
        {R"({"max_rate":"1"})", "bad_payload max_rate"},
        {R"({"policy":""})", "bad_payload policy"},
        {R"({"policy":{}})", "bad_payload policy"},
        {R"("text")", "bad_payload payload"},
        {R"(null)", "bad_payload payload"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.payload);
        CHECK(error_of(R"({"type":"subscribe","topic":"t","payload":)"s + row.payload + "}") ==
              row.error);
    }
    CHECK(read(R"({"type":"subscribe","topic":"t","payload":{"epoch":"strange"}})")
              .inbound.subscribe.epoch == 0);
}

TEST_CASE("envelope: what a subscriber says of itself is handed on as it was written") {
    const std::string values[] = {R"({ "a" : [1, {"b":"]}"}] ,"c":null})",
                                  "[ ]",
                                  "1e9999",
                                  "123456789012345678901234567890",
                                  R"("\u00e9\"")",
                                  "null"};
    for (const std::string& value : values) {
        CAPTURE(value);
        const std::string message =
            R"({"key":[{"x":1}],"payload" : {"presence": true ,"x":{"info":[]}, "info" :  )" +
            value + R"( , "y":[[]]} ,"type":"subscribe","topic":"t"})";
        const Read good = read(message);
        CHECK(good.error == EnvelopeError::bad_key);  // what follows is read all the same
        CHECK(good.inbound.subscribe.presence);
        CHECK(good.inbound.subscribe.info == value);
    }
    const auto with = [](const std::string& member) {
        return R"({"type":"subscribe","topic":"t","payload":{)" + member + "}}";
    };
    CHECK(error_of(with(R"("info":")" + std::string(254, 'x') + '"')) == "none");
    CHECK(error_of(with(R"("info":")" + std::string(255, 'x') + '"')) == "bad_payload info");
    CHECK(error_of(with(R"("info":1,"info":1)")) == "duplicate_member info");
    CHECK(error_of(with(R"("presence":1)")) == "bad_payload presence");
    CHECK(read(with("")).inbound.subscribe.info.empty());
    CHECK(error_of(R"({"type":"presence","topic":"t"})") == "none");
    CHECK(error_of(R"({"type":"presence"})") == "missing_member topic");
}

TEST_CASE("envelope: what history may ask for") {
    const Read plain = read(R"({"type":"history","topic":"t"})");
    REQUIRE(plain.error == EnvelopeError::none);
    CHECK(plain.inbound.type == MessageType::history);
    CHECK(plain.inbound.history.from == 0);
    CHECK(plain.inbound.history.limit == 100);
    const Read good = read(
        R"({"type":"history","topic":"t","payload":{"from":9223372036854775807,"limit":1000}})");
    REQUIRE(good.error == EnvelopeError::none);
    CHECK(good.inbound.history.from == INT64_MAX);
    CHECK(good.inbound.history.limit == 1000);

    struct Row {
        const char* payload;
        const char* error;
    };
    const Row rows[] = {
        {R"({})", "none"},
        {R"({"from":1,"limit":1,"offset":"x"})", "none"},
        {R"({"from":0})", "bad_payload from"},
        {R"({"from":-1})", "bad_payload from"},
        {R"({"from":1.5})", "bad_payload from"},
        {R"({"from":"1"})", "bad_payload from"},
        {R"({"from":9223372036854775808})", "bad_payload from"},
        {R"({"limit":0})", "bad_payload limit"},
        {R"({"limit":1001})", "bad_payload limit"},
        {R"({"limit":null})", "bad_payload limit"},
        {R"({"limit":1,"limit":1})", "duplicate_member limit"},
        {R"([])", "bad_payload payload"},
        {R"(null)", "bad_payload payload"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.payload);
        CHECK(error_of(R"({"type":"history","topic":"t","payload":)"s + row.payload + "}") ==
              row.error);
    }
    CHECK(error_of(R"({"type":"history","id":"h"})") == "missing_member topic");
}

TEST_CASE("envelope: a raw payload is JSON, text or base64") {
    struct Row {
        std::string raw;
        PayloadForm form;
    };
    const Row rows[] = {
        {"42", PayloadForm::json},
        {R"("x")", PayloadForm::json},
        {R"( {"a":[1,2]} )", PayloadForm::json},
        {"null", PayloadForm::json},
        {"", PayloadForm::text},
        {"hello", PayloadForm::text},
        {"1 2", PayloadForm::text},
        {R"({"a":1}{"b":2})", PayloadForm::text},
        {"01", PayloadForm::text},
        {repeat("[", 40) + repeat("]", 40), PayloadForm::text},
        {std::string(size_max + 1, '1'), PayloadForm::text},
    };
    for (const Row& row : rows) {
        CAPTURE(row.raw);
        const Padded padded(row.raw);
        CHECK(parser().payload_form(padded.bytes(), true) == row.form);
        CHECK(parser().payload_form(padded.bytes(), false) == PayloadForm::base64);
    }
}

TEST_CASE("envelope: a parser of any size takes messages of just that size") {
    for (const std::size_t size : {1UL, 2UL, 15UL, 33UL, 100UL, 4096UL}) {
        CAPTURE(size);
        Result<EnvelopeParser> made = EnvelopeParser::make(size);
        REQUIRE(made.ok());
        Inbound inbound;
        const Padded fits(std::string(size, '1').substr(0, size < 15 ? size : 15) +
                          std::string(size < 15 ? 0 : size - 15, ' '));
        CHECK(made.value().parse(fits.bytes(), inbound) == EnvelopeError::not_an_object);
        const Padded over(std::string(size + 1, '1'));
        CHECK(made.value().parse(over.bytes(), inbound) == EnvelopeError::too_large);
    }
}

TEST_CASE("envelope: damaged messages are refused or read, and the parser stays good") {
    const std::string good =
        R"({"type":"publish","id":"i\u0041","topic":"a","key":"k","payload":{"a":["b",1.5e3,{}]}})";
    for (std::uint32_t seed = 1; seed <= 20'000; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::string text = good;
        const auto damage = 1 + random.below(4);
        for (std::uint32_t i = 0; i < damage; i++) {
            const std::size_t at = random.below(text.size());
            if (random.chance(1, 3)) text.erase(at, 1 + random.below(5));
            if (text.empty()) break;
            text[random.below(text.size())] = "{}[]\",:\\u0 1ae-\n"[random.below(16)];
        }
        const Read result = read(text);
        if (result.error == EnvelopeError::none && result.inbound.has_payload) {
            const std::string payload(as_text(result.inbound.payload));
            CHECK(text.find(payload) != std::string::npos);
            CHECK(parser().payload_form(Padded(payload).bytes(), true) == PayloadForm::json);
        }
    }
    CHECK(read(good).error == EnvelopeError::none);
}

TEST_CASE("envelope: one rule for topic names") {
    CHECK(topic_valid("a"));
    CHECK(topic_valid("a b/*?#\xe2\x82\xac"));
    CHECK(topic_valid(std::string(255, 'a')));
    CHECK_FALSE(topic_valid(""));
    CHECK_FALSE(topic_valid(std::string(256, 'a')));
    CHECK_FALSE(topic_valid("a\nb"));
    CHECK_FALSE(topic_valid("a\0b"s));
    CHECK_FALSE(topic_valid("a\x7f"));
    CHECK_FALSE(topic_valid("\xff"));
}
