#include "node/record.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/json.h"
#include "tests/support/peer.h"
#include "wire/seal.h"

using namespace ringcast;
using namespace ringcast::node;
using feed::LaneKind;
using ringcast::test::Frame;
using ringcast::test::Json;
using ringcast::test::Op;
using ringcast::test::Peer;

namespace {

// The only frame in what a record is encoded to.
Frame frame_of(const Record& record, LaneKind kind) {
    std::string bytes(encoded_size(record, kind), '\0');
    encode(record, kind, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()});
    Peer peer(true);
    peer.feed(bytes);
    CHECK_MESSAGE(peer.fault.empty(), peer.fault);
    const std::vector<Frame> frames = peer.take();
    REQUIRE(frames.size() == 1);
    return frames.front();
}

}  // namespace

TEST_CASE("record: the raw lane gets the payload alone, as the kind it was published as") {
    struct Row {
        bool json;
        bool text;
        Op op;
    };
    for (const Row row :
         {Row{true, true, Op::text}, {false, true, Op::text}, {false, false, Op::binary}}) {
        for (const std::size_t size : {0u, 1u, 125u, 126u, 65'535u, 65'536u}) {
            CAPTURE(size);
            const std::string payload(size, 'x');
            const Publication publication{
                .topic = "t", .payload = as_bytes(payload), .json = row.json, .text = row.text};
            const Frame frame =
                frame_of({publication, wire::PayloadForm::json, 1, 0}, LaneKind::raw);
            CHECK(frame.op == row.op);
            CHECK(frame.payload == payload);
        }
    }
}

TEST_CASE("record: the envelope has the sender's id, or else the offset") {
    struct Row {
        std::string_view id;
        feed::Seq offset;
        std::string_view expected;
    };
    for (const Row row :
         {Row{"mine", 7, "mine"}, {"", 7, "7"}, {"", UINT64_MAX, "18446744073709551615"}}) {
        CAPTURE(row.offset);
        const Publication publication{.topic = "t",
                                      .id = row.id,
                                      .key = "k",
                                      .payload = as_bytes(std::string_view("[1]")),
                                      .json = true};
        const Frame frame =
            frame_of({publication, wire::PayloadForm::json, row.offset, 0}, LaneKind::envelope);
        CHECK(frame.op == Op::text);
        const Json update(frame.payload);
        CHECK(update.text("id") == row.expected);
        CHECK(update.text("topic") == "t");
        CHECK(update.text("key") == "k");
        CHECK(frame.payload.find("\"payload\":[1]") != std::string::npos);
    }
}

TEST_CASE("record: of a sealed one both lanes have the box, and raw says where it belongs") {
    const Publication publication{
        .topic = "t", .key = "k", .payload = as_bytes("secret"), .text = false};
    std::string box(wire::sealed_size(2, 6), '\0');
    wire::begin_box("k1", std::as_writable_bytes(std::span(box)));
    const Record record{.publication = publication,
                        .form = wire::PayloadForm::sealed,
                        .offset = 7,
                        .wall_ns = 0,
                        .epoch = 1,
                        .box = as_bytes(box)};
    const Json update(frame_of(record, LaneKind::envelope).payload);
    CHECK(update.text("payload.sealed.kid") == "k1");
    CHECK(update.text("key") == "k");
    const Frame raw = frame_of(record, LaneKind::raw);
    CHECK(raw.op == Op::text);
    const Json message(raw.payload);
    CHECK(message.text("sealed.topic") == "t");
    CHECK(message.text("sealed.epoch") == "0000000000000001");
    CHECK(message.number("sealed.offset") == 7);
    CHECK(message.text("sealed.data") == update.text("payload.sealed.data"));
}
