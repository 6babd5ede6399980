#include "wire/framer.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/support/sanitized.h"
#include "tests/wire/naive.h"
#include "tests/wire/wall.h"
#include "wire/mask.h"

using namespace ringcast;
using namespace ringcast::wire;
using std::string_literals::operator""s;

namespace {

using Events = std::vector<std::string>;

const MaskKey key{std::byte{0x37}, std::byte{0xfa}, std::byte{0x21}, std::byte{0x3d}};
constexpr FramerLimits small_limits{.message_size_max = 1000, .fragments_max = 8};

// A client's frame, right or wrong: `first` is the first byte as it stands.
std::string frame(unsigned first, const std::string& payload, bool masked = true) {
    std::string out(masked_header_size_max, '\0');
    auto* at = reinterpret_cast<std::byte*>(out.data());
    const std::size_t size = masked ? encode_masked_header(at, Opcode::text, payload.size(), key)
                                    : encode_header(at, Opcode::text, payload.size());
    out.resize(size);
    out[0] = static_cast<char>(first);
    std::string body = payload;
    if (masked) apply_mask_scalar(std::as_writable_bytes(std::span(body)), key, 0);
    return out + body;
}

std::string text(const std::string& payload) {
    return frame(0x81, payload);
}
std::string begin_text(const std::string& payload) {
    return frame(0x01, payload);
}
std::string begin_binary(const std::string& payload) {
    return frame(0x02, payload);
}
std::string more(const std::string& payload) {
    return frame(0x00, payload);
}
std::string last(const std::string& payload) {
    return frame(0x80, payload);
}
std::string ping(const std::string& payload) {
    return frame(0x89, payload);
}
std::string pong(const std::string& payload) {
    return frame(0x8a, payload);
}
std::string close(const std::string& payload) {
    return frame(0x88, payload);
}
std::string close(unsigned code, const std::string& reason) {
    return close(std::string{static_cast<char>(code >> 8), static_cast<char>(code & 255)} + reason);
}

std::string repeat(const std::string& one, std::size_t count) {
    std::string all;
    for (std::size_t i = 0; i < count; i++)
        all += one;
    return all;
}

// Header bytes as given, then a mask key.
std::string header(const std::string& bytes) {
    return bytes + "\x01\x02\x03\x04";
}

std::string show(const Framer::Event& event) {
    const std::string payload(as_text(event.payload));
    switch (event.kind) {
        case FramerEvent::message:
            return (event.compressed ? "c" : "") +
                   std::string(event.opcode == Opcode::text ? "text:" : "binary:") + payload;
        case FramerEvent::ping:
            return "ping:" + payload;
        case FramerEvent::pong:
            return "pong:" + payload;
        case FramerEvent::close:
            return "close" + std::to_string(event.close_code) + ":" + payload;
        case FramerEvent::error:
            CHECK(!std::string_view(event.reason).empty());
            return "error" + std::to_string(event.close_code);
        case FramerEvent::need_more:
            break;
    }
    return "?";
}

// A payload that was put together must have its padding behind it: ASan watches.
void touch_padding(Bytes payload, Bytes input) {
    const bool in_place =
        payload.data() >= input.data() && payload.data() <= input.data() + input.size();
    if (in_place || payload.data() == nullptr) return;  // an error has none
    unsigned sum = 0;
    for (std::size_t i = 0; i < payload_padding; i++) {
        sum += std::to_integer<unsigned>(payload.data()[payload.size() + i]);
    }
    CHECK(sum <= 255 * payload_padding);
}

test::Wall wall;

struct Session {
    Framer framer;
    FramerLimits limits = small_limits;
    Events events;

    void feed(std::string_view bytes) {
        const MutBytes piece = wall.hold(as_bytes(bytes));
        MutBytes input = piece;
        while (true) {
            const Framer::Event event = framer.next(input, limits);
            if (event.kind == FramerEvent::need_more) break;
            touch_padding(event.payload, piece);
            events.push_back(show(event));
        }
        CHECK(input.empty());
    }
};

template <typename NextSize>
Events run(std::string_view bytes, const FramerLimits& limits, NextSize next_size) {
    Session session;
    session.limits = limits;
    while (!bytes.empty()) {
        const std::size_t size = std::min<std::size_t>(next_size(), bytes.size());
        session.feed(bytes.substr(0, size));
        bytes.remove_prefix(size);
    }
    return session.events;
}

Events whole(std::string_view bytes, const FramerLimits& limits = small_limits) {
    return run(bytes, limits, [] { return SIZE_MAX; });
}

Events bytewise(std::string_view bytes, const FramerLimits& limits = small_limits) {
    return run(bytes, limits, [] { return std::size_t{1}; });
}

struct Row {
    const char* name;
    std::string bytes;
    Events events;
};

// Autobahn's categories, and the classes of known failures named after who failed.
std::vector<Row> message_rows() {
    const std::string kosme = "\xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5";
    return {
        {"1.1.1 empty text", text(""), {"text:"}},
        {"1.1.2 text of 125", text(std::string(125, '*')), {"text:" + std::string(125, '*')}},
        {"1.1.3 text of 126", text(std::string(126, '*')), {"text:" + std::string(126, '*')}},
        {"1.2.1 empty binary", frame(0x82, ""), {"binary:"}},
        {"1.2.x binary that is no text", frame(0x82, "\xff\xfe\0"s), {"binary:\xff\xfe\0"s}},
        {"2.1 empty ping", ping(""), {"ping:"}},
        {"2.4 ping of 125", ping(std::string(125, '\xfe')), {"ping:" + std::string(125, '\xfe')}},
        {"2.7 unsolicited pong", pong("x"), {"pong:x"}},
        {"2.10 ten pings", repeat(ping("p"), 10), Events(10, "ping:p")},
        {"5.3 two fragments", begin_text("frag") + last("ment"), {"text:fragment"}},
        {"5.6 ping between fragments",
         begin_text("frag") + ping("p") + last("ment"),
         {"ping:p", "text:fragment"}},
        {"5.19 pings between five fragments",
         begin_text("1") + more("2") + ping("p") + more("3") + more("4") + ping("q") + last("5"),
         {"ping:p", "ping:q", "text:12345"}},
        {"empty fragments", begin_binary("") + more("") + last(""), {"binary:"}},
        {"fragmented, then whole", begin_text("a") + last("b") + text("c"), {"text:ab", "text:c"}},
        {"close between fragments", begin_text("a") + close("") + last("b"), {"close1005:"}},
        {"6.2.3 text cut inside characters",
         begin_text(kosme.substr(0, 1)) + more(kosme.substr(1, 2)) + last(kosme.substr(3)),
         {"text:" + kosme}},
        {"7.1.1 nothing after close", close("") + text("late") + "\xff\xff", {"close1005:"}},
        {"7.3.3 close 1000", close(1000, ""), {"close1000:"}},
        {"7.3.4 close with a reason", close(1000, "Hello"), {"close1000:Hello"}},
        {"7.3.5 close with 123 bytes",
         close(4999, std::string(123, '*')),
         {"close4999:" + std::string(123, '*')}},
        {"9.x message of the limit",
         frame(0x82, std::string(1000, 'm')),
         {"binary:" + std::string(1000, 'm')}},
        {"9.x fragments up to the limit",
         begin_text(std::string(999, 'm')) + last("m"),
         {"text:" + std::string(1000, 'm')}},
        {"as many fragments as may be",
         begin_text("a") + repeat(more(""), 6) + last("b"),
         {"text:ab"}},
    };
}

const Events e1002{"error1002"};
const Events e1007{"error1007"};
const Events e1009{"error1009"};

std::vector<Row> frame_error_rows() {
    return {
        {"3.1 RSV3", frame(0x91, "x"), e1002},
        {"3.2 RSV2 after a good message", text("a") + frame(0xa1, "x"), {"text:a", "error1002"}},
        {"CVE-2026-29035 class: RSV1 without an extension", frame(0xc1, "x"), e1002},
        {"CVE-2022-21676: RSV2 and RSV3", frame(0xb1, "x"), e1002},
        {"3.6 RSV on a close", frame(0xf8, ""), e1002},
        {"4.1 reserved opcode 3", frame(0x83, ""), e1002},
        {"4.1 reserved opcode 7", frame(0x87, "x"), e1002},
        {"4.2 reserved opcode 11", frame(0x8b, ""), e1002},
        {"4.2 reserved opcode 15", frame(0x8f, "x"), e1002},
        {"2.5 / jaspervdj 150: ping of 126", ping(std::string(126, 'x')), e1002},
        {"7.3.6 close of 126", close(1000, std::string(124, 'x')), e1002},
        {"control frame with a 64-bit length", header("\x89\xff\0\0\0\0\0\0\0\1"s), e1002},
        {"5.1 fragmented ping", frame(0x09, "x"), e1002},
        {"5.2 fragmented pong", frame(0x0a, "x"), e1002},
        {"fragmented close", frame(0x08, ""), e1002},
        {"5.9 continuation of nothing", last("x"), e1002},
        {"5.11 continuation of nothing, more to come", more("x"), e1002},
        {"5.12 continuation after a whole message", text("a") + more("x"), {"text:a", "error1002"}},
        {"5.18 text inside a fragmented text", begin_text("a") + text("b"), e1002},
        {"binary inside a fragmented text", begin_text("a") + frame(0x02, "b"), e1002},
        {"facil.io 169, uWebSockets: unmasked text", frame(0x81, "abc", false), e1002},
        {"unmasked ping", frame(0x89, "", false), e1002},
        {"unmasked frame behind a good one",
         text("a") + frame(0x81, "b", false),
         {"text:a", "error1002"}},
        {"bytes behind an error are swallowed", frame(0xf1, "x") + text("a"), e1002},
    };
}

std::vector<Row> length_error_rows() {
    return {
        {"16-bit length of 125", header("\x82\xfe\x00\x7d"s), e1002},
        {"16-bit length of 0", header("\x82\xfe\0\0"s), e1002},
        {"64-bit length of 0", header("\x82\xff\0\0\0\0\0\0\0\0"s), e1002},
        {"64-bit length of 65535", header("\x82\xff\0\0\0\0\0\0\xff\xff"s), e1002},
        {"CVE-2020-13935: top bit of the length", header("\x82\xff\x80\0\0\0\0\0\0\0"s), e1002},
        {"baresip 1584: length 2^64 - 4",
         header("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xfc"s),
         e1002},
        {"gpac 3860: length 2^64 - 1", header("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"s), e1002},
        {"length 2^63 - 1", header("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"s), e1009},
        {"CVE-2020-27813: continuation of 2^63 - 1 after a fragment",
         begin_text("a") + header("\x00\xff\x7f\xff\xff\xff\xff\xff\xff\xff"s),
         e1009},
        {"CVE-2026-27889: continuation of 2^63 after a fragment",
         begin_text("a") + header("\x00\xff\x80\0\0\0\0\0\0\0"s),
         e1002},
        {"CVE-2016-10542: announced 256 MiB", header("\x82\xff\0\0\0\0\x10\0\0\0"s), e1009},
        {"a byte over the limit", header("\x82\xfe\x03\xe9"s), e1009},
        {"CWIST 161: a byte over the limit in fragments",
         begin_text(std::string(1000, 'm')) + last("m"),
         e1009},
        {"CVE-2026-48779: more one-byte fragments than may be",
         begin_text("a") + repeat(more("b"), 8),
         {"error1008"}},
        {"ws 2329: more empty fragments than may be",
         begin_text("") + repeat(more(""), 8),
         {"error1008"}},
    };
}

std::vector<Row> content_error_rows() {
    return {
        {"6.3.1 surrogate in a text", text("\xce\xba\xed\xa0\x80 edited"), e1007},
        {"6.4.1 hopeless in the second fragment, the third never comes",
         begin_text("\xce\xba") + more("\xf4\x90"),
         e1007},
        {"6.4.3 hopeless in an unfinished frame", header("\x81\x94") + "\xfe", e1007},
        {"text ends inside a character", text("abc\xe2\x82"), e1007},
        {"fragmented text ends inside a character", begin_text("\xe2") + last("\x82"), e1007},
        {"7.3.2 close with half a code", close("x"), e1002},
        {"7.5.1 close reason that is not UTF-8", close(1000, "\xce\xba\xed\xa0\x80"), e1007},
        {"close reason that ends inside a character", close(1000, "\xe2\x82"), e1007},
        {"7.9.1 close 0", close(0, ""), e1002},
        {"7.9.2 close 999", close(999, ""), e1002},
        {"7.9.3 close 1004", close(1004, ""), e1002},
        {"7.9.4 close 1005", close(1005, ""), e1002},
        {"7.9.5 close 1006", close(1006, ""), e1002},
        {"7.9.6 close 1015", close(1015, ""), e1002},
        {"7.9.9 close 2999", close(2999, "x"), e1002},
        {"7.13.1 close 5000", close(5000, ""), e1002},
        {"7.13.2 close 65535", close(65535, ""), e1002},
    };
}

std::vector<Row> all_rows() {
    std::vector<Row> rows = message_rows();
    for (auto* const more_rows : {frame_error_rows, length_error_rows, content_error_rows}) {
        for (Row& row : more_rows())
            rows.push_back(std::move(row));
    }
    return rows;
}

Events naive(const std::string& bytes, const FramerLimits& limits = small_limits) {
    return test::NaiveFramer(
               limits.message_size_max, limits.fragments_max, limits.compressed_size_max)
        .read(bytes);
}

// Where compression was agreed upon.
constexpr FramerLimits deflate_limits{.message_size_max = 1000,
                                      .fragments_max = 8,
                                      .compressed_size_max = 1100};

}  // namespace

TEST_CASE("framer: the catalogue gives the same events whole, byte by byte and at every cut") {
    for (const Row& row : all_rows()) {
        CAPTURE(row.name);
        CHECK(whole(row.bytes) == row.events);
        CHECK(bytewise(row.bytes) == row.events);
        CHECK(naive(row.bytes) == row.events);
        for (std::size_t cut = 1; cut < row.bytes.size(); cut++) {
            bool first = true;
            const Events events = run(row.bytes, small_limits, [&] {
                return std::exchange(first, false) ? cut : SIZE_MAX;
            });
            REQUIRE(events == row.events);
        }
    }
}

TEST_CASE("framer: all first two bytes are judged as the naive framer judges them") {
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            const std::string bytes{static_cast<char>(first), static_cast<char>(second)};
            REQUIRE(whole(bytes) == naive(bytes));
            const std::string inside = begin_binary("") + bytes + "\x00\x7e\x00\x80\xff\xff\xff"s;
            REQUIRE(whole(inside) == naive(inside));
            REQUIRE(bytewise(inside) == naive(inside));
        }
    }
}

TEST_CASE("framer: RSV1 stands on the first frame of a message, where it was agreed upon") {
    const std::vector<Row> rows{
        {"whole text", frame(0xc1, "abc"), {"ctext:abc"}},
        {"whole binary", frame(0xc2, "abc"), {"cbinary:abc"}},
        {"what it is not looked at", frame(0xc1, "\xff\xfe"), {"ctext:\xff\xfe"}},
        {"empty", frame(0xc1, ""), {"ctext:"}},
        {"in fragments",
         frame(0x41, "a") + more("\xff") + last("c"),
         {"ctext:a\xff"
          "c"}},
        {"with a ping between", frame(0x42, "a") + ping("p") + last("c"), {"ping:p", "cbinary:ac"}},
        {"and a plain one behind it", frame(0xc1, "a") + text("b"), {"ctext:a", "text:b"}},
        {"a plain one in fragments", begin_text("a") + last("b"), {"text:ab"}},
        {"plain text is still looked at",
         frame(0xc1, "\xff") + text("\xff"),
         {"ctext:\xff", "error1007"}},
        {"on a continuation", frame(0x41, "a") + frame(0x40, "b"), {"error1002"}},
        {"on the last continuation", frame(0x41, "a") + frame(0xc0, "b"), {"error1002"}},
        {"on the continuation alone", begin_text("a") + frame(0xc0, "b"), {"error1002"}},
        {"on a ping", frame(0xc9, "a"), {"error1002"}},
        {"on a pong", frame(0xca, "a"), {"error1002"}},
        {"on a close", frame(0xc8, ""), {"error1002"}},
        {"RSV2", frame(0xa1, "a"), {"error1002"}},
        {"RSV3", frame(0x91, "a"), {"error1002"}},
        {"RSV1 and RSV2", frame(0xe1, "a"), {"error1002"}},
        {"all of them", frame(0xf2, "a"), {"error1002"}},
        {"on a reserved opcode", frame(0xc3, "a"), {"error1002"}},
        {"a message in a message", frame(0x41, "a") + frame(0xc1, "b"), {"error1002"}},
        {"as large as it may be",
         frame(0xc2, std::string(1100, 'x')),
         {"cbinary:" + std::string(1100, 'x')}},
        {"one more", frame(0xc2, std::string(1101, 'x')), {"error1009"}},
        {"one more in fragments", frame(0x42, std::string(1100, 'x')) + last("x"), {"error1009"}},
        {"a plain one of that size", frame(0x82, std::string(1001, 'x')), {"error1009"}},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        CHECK(whole(row.bytes, deflate_limits) == row.events);
        CHECK(bytewise(row.bytes, deflate_limits) == row.events);
        CHECK(naive(row.bytes, deflate_limits) == row.events);
    }
    CHECK(whole(frame(0xc1, "abc")) == Events{"error1002"});
    CHECK(whole(frame(0x41, "abc")) == Events{"error1002"});
}

TEST_CASE("framer: with compression all first two bytes are judged as the naive framer does") {
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            const std::string bytes{static_cast<char>(first), static_cast<char>(second)};
            REQUIRE(whole(bytes, deflate_limits) == naive(bytes, deflate_limits));
            for (const unsigned begin : {0x02U, 0x42U}) {
                const std::string inside =
                    frame(begin, "") + bytes + "\x00\x7e\x00\x80\xff\xff\xff"s;
                REQUIRE(whole(inside, deflate_limits) == naive(inside, deflate_limits));
            }
        }
    }
}

TEST_CASE("framer: all header forms with lengths around every limit") {
    const std::uint64_t lengths[] = {0,
                                     1,
                                     125,
                                     126,
                                     127,
                                     999,
                                     1000,
                                     1001,
                                     65535,
                                     65536,
                                     1 << 20,
                                     UINT32_MAX,
                                     std::uint64_t{UINT32_MAX} + 1,
                                     INT64_MAX - 1,
                                     INT64_MAX,
                                     std::uint64_t{INT64_MAX} + 1,
                                     UINT64_MAX - 15,
                                     UINT64_MAX - 4,
                                     UINT64_MAX};
    for (const std::string& before : {std::string(), begin_text(""), begin_text("abc")}) {
        for (unsigned first = 0; first < 256; first++) {
            for (const std::uint64_t length : lengths) {
                std::string wide(14, '\1');
                wide[0] = static_cast<char>(first);
                wide[1] = '\xff';
                store_be64(reinterpret_cast<std::byte*>(&wide[2]), length);
                std::string narrow(8, '\1');
                narrow[0] = static_cast<char>(first);
                narrow[1] = '\xfe';
                store_be16(reinterpret_cast<std::byte*>(&narrow[2]),
                           static_cast<std::uint16_t>(length));
                REQUIRE(whole(before + wide) == naive(before + wide));
                REQUIRE(bytewise(before + narrow) == naive(before + narrow));
            }
        }
    }
}

TEST_CASE("framer: random streams in random pieces give the events of the naive framer") {
    for (std::uint32_t seed = 1; seed <= 2000; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const auto chance = [&](unsigned one_in) { return random.chance(1, one_in); };
        std::string bytes;
        bool open = false;
        for (int frames = 0; frames < 30; frames++) {
            std::string payload(chance(4) ? random.below(300) : random.below(12), 'a');
            if (chance(3)) payload += "\xe2\x82\xac";
            if (chance(60)) payload += '\xff';
            if (chance(6)) {
                payload.resize(std::min<std::size_t>(payload.size(), 125));
                bytes += chance(2) ? ping(payload) : pong(payload);
                continue;
            }
            const bool fin = !chance(3);
            const unsigned opcode = open ? 0 : random.chance(1, 2) ? 1 : 2;
            const unsigned compressed = !open && seed % 2 == 0 && chance(3) ? 0x40U : 0;
            bytes += frame((fin ? 0x80U : 0) | compressed | opcode, payload);
            open = !fin;
        }
        if (chance(2))
            bytes[random.below(bytes.size())] ^= static_cast<char>(1U << random.below(8));
        if (chance(4)) bytes += close(1000, "bye");
        for (const FramerLimits& limits : {small_limits, deflate_limits}) {
            const Events expected = naive(bytes, limits);
            REQUIRE(whole(bytes, limits) == expected);
            REQUIRE(bytewise(bytes, limits) == expected);
            REQUIRE(run(bytes, limits, [&] { return 1 + random.below(40); }) == expected);
            REQUIRE(run(bytes, limits, [&] { return 1 + random.below(400); }) == expected);
        }
    }
}

TEST_CASE("framer: a message that lies whole in the input is handed out where it lies") {
    std::string bytes = text("hello") + ping("p") + frame(0x82, std::string(300, 'x'));
    MutBytes input = std::as_writable_bytes(std::span(bytes));
    const Bytes all = input;
    Framer framer;
    for (int i = 0; i < 3; i++) {
        const Framer::Event event = framer.next(input, small_limits);
        CHECK(event.payload.data() > all.data());
        CHECK(event.payload.data() < all.data() + all.size());
        CHECK(framer.held_bytes() == 0);
    }
    CHECK(framer.next(input, small_limits).kind == FramerEvent::need_more);
}

TEST_CASE("framer: memory follows the bytes that arrived, never the length announced") {
    const FramerLimits limits{.message_size_max = 1 << 20, .fragments_max = 1 << 30};
    Session session;
    session.limits = limits;
    session.feed(header("\x82\xff\0\0\0\0\0\x10\0\0"s));  // a megabyte, to come
    CHECK(session.framer.held_bytes() == 0);
    CHECK(session.framer.in_message());
    std::size_t arrived = 0;
    for (int i = 0; i < 100; i++) {
        session.feed(std::string(997, 'x'));
        arrived += 997;
        CHECK(session.framer.held_bytes() <= 2 * arrived + 512);
    }
    CHECK(session.events.empty());
}

TEST_CASE("framer: 131000 fragments of one byte cost their bytes and nothing else") {
    const FramerLimits limits{.message_size_max = 1 << 20, .fragments_max = 1 << 20};
    Session session;
    session.limits = limits;
    session.feed(begin_binary("x"));
    const std::string thousand = repeat(more("x"), 1000);
    for (int i = 0; i < 131; i++)
        session.feed(thousand);
    CHECK(session.framer.held_bytes() <= 2 * 131'001 + 512);
    session.feed(last(""));
    REQUIRE(session.events.size() == 1);
    CHECK(session.events[0] == "binary:" + std::string(131'001, 'x'));
    CHECK_FALSE(session.framer.in_message());
}

TEST_CASE("framer: no memory is held between messages, nor after the end") {
    Session session;
    session.feed(begin_text("abc"));
    CHECK(session.framer.held_bytes() > 0);
    session.feed(last("def"));
    CHECK(session.framer.held_bytes() == 0);
    session.feed(ping("half").substr(0, 8));
    CHECK(session.framer.held_bytes() > 0);
    CHECK_FALSE(session.framer.in_message());
    session.feed(ping("half").substr(8));
    CHECK(session.framer.held_bytes() == 0);
    session.feed(begin_text("abc") + frame(0xf1, ""));
    CHECK(session.framer.held_bytes() == 0);
    CHECK(session.events == Events{"text:abcdef", "ping:half", "error1002"});
}

TEST_CASE("framer: one that is stopped holds nothing and hears nothing") {
    Session session;
    session.feed(begin_text("abc"));
    session.framer.stop();
    CHECK(session.framer.held_bytes() == 0);
    session.feed(last("def") + ping("x"));
    CHECK(session.events.empty());
    CHECK(session.framer.held_bytes() == 0);
}

#if !RC_TEST_ADDRESS_SANITIZER  // it needs all the address space that the limit takes away
TEST_CASE("framer: no memory for a message ends that connection, with 1011") {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const FramerLimits limits{.message_size_max = 1 << 30, .fragments_max = 1};
        std::string piece = header("\x82\xff\0\0\0\0\x40\0\0\0"s) + std::string(1 << 20, 'x');
        const rlimit none{.rlim_cur = 0, .rlim_max = 0};
        Framer framer;
        if (::setrlimit(RLIMIT_AS, &none) != 0) ::_exit(1);
        for (int i = 0; i < 64; i++) {
            MutBytes input = std::as_writable_bytes(std::span(piece));
            if (i != 0) input = input.subspan(14);
            const Framer::Event event = framer.next(input, limits);
            if (event.kind == FramerEvent::need_more) continue;
            ::_exit(event.close_code == close_code::internal_error ? 0 : 2);
        }
        ::_exit(3);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}
#endif

TEST_CASE("framer: nchan 8f8d0e22: a hundred thousand frames in one read") {
    const Events events = whole(repeat(text("x"), 100'000));
    CHECK(events.size() == 100'000);
}
