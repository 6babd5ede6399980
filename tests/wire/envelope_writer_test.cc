#include "wire/envelope_writer.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/guarded.h"
#include "wire/frame.h"
#include "wire/seal.h"

using namespace ringcast;
using namespace ringcast::wire;
using std::string_literals::operator""s;

namespace {

constexpr std::int64_t wall = 1'700'000'000'123'999'999;

// The body of the frame; its size must be what was said, to the byte.
template <typename Message>
std::string body(const Message& message) {
    const std::size_t size = encoded_size(message);
    const std::vector<std::byte> blank(size);
    const test::Guarded out(blank);
    encode(message, out.bytes());
    FrameHeader header;
    REQUIRE(decode_header(out.bytes(), header));
    CHECK(header.fin);
    CHECK(header.opcode == Opcode::text);
    CHECK_FALSE(header.masked);
    REQUIRE(header.size + header.payload_size == size);
    CHECK(header.size == header_size(header.payload_size));
    return std::string(as_text(Bytes(out.bytes()).subspan(header.size)));
}

std::string json(const JsonPayload& payload) {
    std::string out(encoded_size(payload), '?');
    encode(payload, std::as_writable_bytes(std::span(out)));
    return out;
}

}  // namespace

TEST_CASE("writer: a record with everything, and with nothing that can be left out") {
    DataUpdate full{.id = "i", .wall_ns = wall, .topic = "a/b", .offset = UINT64_MAX, .key = "k"};
    full.ack_required = true;
    full.payload = {.bytes = as_bytes(R"({"x":1})")};
    CHECK(body(full) ==
          R"({"type":"data_update","ack_required":true,"id":"i","timestamp":1700000000.123,)"
          R"("topic":"a/b","offset":18446744073709551615,"key":"k","payload":{"x":1}})");
    const DataUpdate bare{.wall_ns = 0, .topic = "t", .payload = {.bytes = as_bytes("1")}};
    CHECK(body(bare) ==
          R"({"type":"data_update","id":"","timestamp":0.000,"topic":"t","offset":0,"payload":1})");
    const std::string octets("\xff\x00", 2);
    const JsonPayload binary{.bytes = as_bytes(octets), .form = PayloadForm::base64};
    CHECK(body(DataUpdate{.wall_ns = 7'000'000, .topic = "t", .offset = 5, .payload = binary}) ==
          R"({"type":"data_update","id":"","timestamp":0.007,"topic":"t","offset":5,)"
          R"("encoding":"base64","payload":"/wA="})");
}

TEST_CASE("writer: every other message") {
    CHECK(body(Welcome{
              .wall_ns = wall,
              .client_id = "c-1",
              .ping_interval_s = 25,
              .limits = {.message_size = 65536, .topics = 128, .messages_per_second = 100}}) ==
          R"({"type":"welcome","id":"welcome","timestamp":1700000000.123,)"
          R"("payload":{"client_id":"c-1","ping_interval_s":25,)"
          R"("limits":{"message_size":65536,"topics":128,"messages_per_second":100}}})");
    CHECK(body(Subscribed{.id = "1",
                          .wall_ns = wall,
                          .topic = "t",
                          .offset = 9,
                          .epoch = 0xab,
                          .recovered = true}) ==
          R"({"type":"subscribed","id":"1","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"offset":9,"epoch":"00000000000000ab","recovered":true}})");
    CHECK(body(Subscribed{.wall_ns = wall, .topic = "t", .epoch = UINT64_MAX}) ==
          R"({"type":"subscribed","id":"","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"offset":0,"epoch":"ffffffffffffffff","recovered":false}})");
    CHECK(body(Subscribed{.wall_ns = wall, .topic = "a.b", .epoch = 1, .pattern = "a.*"}) ==
          R"({"type":"subscribed","id":"","timestamp":1700000000.123,"topic":"a.b",)"
          R"("payload":{"offset":0,"epoch":"0000000000000001","recovered":false,)"
          R"("pattern":"a.*"}})");
    CHECK(body(PatternSubscribed{.id = "6", .wall_ns = wall, .topic = "a.>"}) ==
          R"({"type":"subscribed","id":"6","timestamp":1700000000.123,"topic":"a.>",)"
          R"("payload":{"pattern":true}})");
    CHECK(body(Unsubscribed{.id = "2", .wall_ns = wall, .topic = "t"}) ==
          R"({"type":"unsubscribed","id":"2","timestamp":1700000000.123,"topic":"t"})");
    CHECK(body(Ack{.id = "3", .wall_ns = wall, .topic = "t", .offset = 10, .epoch = 255}) ==
          R"({"type":"ack","id":"3","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"offset":10,"epoch":"00000000000000ff"}})");
    CHECK(body(Pong{.id = "4", .wall_ns = wall}) ==
          R"({"type":"pong","id":"4","timestamp":1700000000.123})");
    CHECK(body(Pong{.wall_ns = -1}) == R"({"type":"pong","id":"","timestamp":0.000})");
    CHECK(body(ErrorReply{.id = "5", .wall_ns = wall, .code = "bad_id", .message = "say \"id\""}) ==
          R"({"type":"error","id":"5","timestamp":1700000000.123,)"
          R"("payload":{"code":"bad_id","message":"say \"id\""}})");
    CHECK(body(Gap{
              .wall_ns = wall, .topic = "t", .from = 3, .to = 99, .reason = "slow", .next = 100}) ==
          R"({"type":"gap","id":"gap-100","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"from":3,"to":99,"reason":"slow","next":100}})");
}

TEST_CASE("writer: history holds records as they are") {
    const std::vector<Bytes> records{as_bytes(std::string_view(R"({"a":1})")),
                                     as_bytes(std::string_view(R"({"b": "]"})"))};
    History message{.id = "1", .wall_ns = wall, .topic = "t", .epoch = 255, .first = 3, .next = 7};
    CHECK(
        body(message) ==
        R"({"type":"history","id":"1","timestamp":1700000000.123,"topic":"t",)"
        R"("payload":{"epoch":"00000000000000ff","first":3,"next":7,"records":[],"more":false}})");
    message.records = records;
    message.more = true;
    CHECK(body(message) == R"({"type":"history","id":"1","timestamp":1700000000.123,"topic":"t",)"
                           R"("payload":{"epoch":"00000000000000ff","first":3,"next":7,)"
                           R"("records":[{"a":1},{"b": "]"}],"more":true}})");
}

TEST_CASE("writer: who is there, and who came and went") {
    const std::vector<Present> clients{{.client_id = "a\"", .since_s = 17, .info = "[1, 2]"},
                                       {.client_id = "b", .since_s = 18}};
    const std::string list = R"([{"client_id":"a\"","since":17,"info":[1, 2]})"
                             R"(,{"client_id":"b","since":18,"info":null}])";
    CHECK(body(Presence{.id = "1", .wall_ns = wall, .topic = "t", .count = 3}) ==
          R"({"type":"presence","id":"1","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"count":3}})");
    CHECK(body(Presence{.id = "1",
                        .wall_ns = wall,
                        .topic = "t",
                        .count = 3,
                        .listed = true,
                        .clients = clients,
                        .more = true}) ==
          R"({"type":"presence","id":"1","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"count":3,"clients":)" +
              list + R"(,"more":true}})");
    const std::vector<std::string_view> left{"x", "y"};
    CHECK(body(PresenceUpdate{
              .wall_ns = wall, .topic = "t", .count = 9, .joined = clients, .left = left}) ==
          R"({"type":"presence_update","id":"presence","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"joined":)" +
              list + R"(,"left":["x","y"],"count":9}})");
    CHECK(body(PresenceUpdate{.wall_ns = wall, .topic = "t", .count = 9, .truncated = true}) ==
          R"({"type":"presence_update","id":"presence","timestamp":1700000000.123,"topic":"t",)"
          R"("payload":{"count":9,"truncated":true}})");
}

TEST_CASE("writer: a size near every header size is exact") {
    for (std::size_t size = 0; size < 200; size++) {
        const std::string payload(size, '1');
        CHECK(body(DataUpdate{.topic = "t", .payload = {.bytes = as_bytes(payload)}}).size() >
              size);
    }
    for (std::size_t size = 65'400; size < 65'600; size++) {
        const std::string payload(size, '1');
        CHECK(body(DataUpdate{.topic = "t", .payload = {.bytes = as_bytes(payload)}}).size() >
              size);
    }
}

TEST_CASE("writer: a string is escaped where JSON asks for it, at any place in it") {
    for (unsigned c = 0; c < 256; c++) {
        for (const std::size_t before : {0U, 3U, 7U, 8U, 9U, 20U}) {
            const std::string around(before, 'x');
            const std::string text = around + static_cast<char>(c) + "\xe2\x82\xac";
            std::string expected(1, static_cast<char>(c));
            if (c < 0x20) {
                const char* const hex = "0123456789abcdef";
                expected = "\\u00"s + hex[c / 16] + hex[c % 16];
            }
            if (c == '"' || c == '\\') expected.insert(0, "\\");
            for (const auto& [byte, letter] :
                 {std::pair{8U, 'b'}, {9U, 't'}, {10U, 'n'}, {12U, 'f'}, {13U, 'r'}}) {
                if (c == byte) expected = "\\"s + letter;
            }
            const JsonPayload payload{.bytes = as_bytes(text), .form = PayloadForm::text};
            CHECK(json(payload) == "\"" + around + expected + "\xe2\x82\xac\"");
        }
    }
}

TEST_CASE("writer: what is written is read back as what it was") {
    Result<EnvelopeParser> made = EnvelopeParser::make(64 * 1024);
    REQUIRE(made.ok());
    for (std::uint32_t seed = 1; seed <= 2000; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::string topic;
        const std::size_t size = 1 + random.below(100);
        while (topic.size() < size) {
            const char* const pieces[] = {"\"", "\\", "/", "a", "bcdefgh", "\xe2\x82\xac", " "};
            topic += pieces[random.below(7)];
        }
        std::string payload;
        for (std::size_t i = random.below(60); i > 0; i--) {
            payload += static_cast<char>(random.below(128));
        }
        const DataUpdate update{.id = "\\\"",
                                .wall_ns = wall,
                                .topic = topic,
                                .offset = random.next(),
                                .payload = {.bytes = as_bytes(payload), .form = PayloadForm::text}};
        std::string text = body(update);
        const std::size_t written = text.size();
        text.resize(written + 64);
        Inbound inbound;
        REQUIRE(made.value().parse(as_bytes(text).first(written), inbound) == EnvelopeError::none);
        CHECK(inbound.type_text == "data_update");
        CHECK(inbound.id == "\\\"");
        CHECK(inbound.topic == topic);
        CHECK(inbound.has_payload);
    }
}

TEST_CASE("writer: a sealed payload says its key and how it is sealed") {
    std::string box(sealed_size(2, 0), '\xff');
    begin_box("k1", std::as_writable_bytes(std::span(box)));
    const std::string data((box.size() - 3) / 3 * 4, '_');
    const std::string sealed = R"({"sealed":{"v":1,"alg":"A256GCM","kid":"k1",)";
    const DataUpdate update{.topic = "t",
                            .offset = 1,
                            .payload = {.bytes = as_bytes(box), .form = PayloadForm::sealed}};
    CHECK(body(update) == R"({"type":"data_update","id":"","timestamp":0.000,"topic":"t",)"
                          R"("offset":1,"payload":)" +
                              sealed + R"("data":")" + data + R"("}}})");
    SealedMessage alone{.box = as_bytes(box), .topic = "a\"b", .epoch = 255, .offset = 7};
    CHECK(body(alone) == sealed + R"("topic":"a\"b","epoch":"00000000000000ff","offset":7,)" +
                             R"("data":")" + data + R"("}})");
    alone.key = "k";
    CHECK(body(alone) == sealed + R"("topic":"a\"b","epoch":"00000000000000ff","offset":7,)" +
                             R"("key":"k","data":")" + data + R"("}})");
}
