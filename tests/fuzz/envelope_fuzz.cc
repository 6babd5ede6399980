// Property: any bytes are refused with a named error or read; a payload that was read is itself one
// JSON value and lies inside the message; whatever was read can be written, in exactly the size
// announced, and read again with the same meaning, and so can the answers. The same bytes,
// published without an envelope, can be wrapped in one.

#include <string>
#include <vector>

#include "tests/fuzz/split.h"
#include "wire/envelope_writer.h"
#include "wire/frame.h"
#include "wire/utf8.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

EnvelopeParser& parser() {
    static Result<EnvelopeParser> made = EnvelopeParser::make(64 * 1024);
    test::demand(made.ok(), "there is memory");
    return made.value();
}

std::string padded(std::string_view text) {
    std::string copy(text);
    copy.resize(text.size() + 64, '"');
    return copy;
}

EnvelopeError read(const std::string& copy, Inbound& inbound) {
    return parser().parse(as_bytes(copy).first(copy.size() - 64), inbound);
}

// Writes `message` and reads it: it is a whole frame of the size announced, and no error.
template <typename Message>
void demand_readable(const Message& message, Inbound& inbound, std::string& again) {
    std::vector<std::byte> out(encoded_size(message));
    encode(message, out);
    FrameHeader header;
    test::demand(decode_header(out, header), "there is a header");
    test::demand(header.size + header.payload_size == out.size(), "the size is exact");
    again = padded(as_text(Bytes(out).subspan(header.size)));
    test::demand(read(again, inbound) == EnvelopeError::none, "what we write can be read");
}

void demand_round_trip(const DataUpdate& update, Inbound& inbound, std::string& again) {
    demand_readable(update, inbound, again);
    test::demand(inbound.id == update.id, "the id survives");
    test::demand(inbound.topic == update.topic, "the topic survives");
    test::demand(inbound.key == update.key, "the key survives");
    test::demand(inbound.ack_required == update.ack_required, "ack_required survives");
    test::demand(inbound.has_payload, "there is a payload");
    std::vector<std::byte> frame(encoded_size(update));
    encode(update, frame);
    test::demand(wants_ack(frame) == update.ack_required, "whoever has the bytes sees it");
    test::demand(has_id(frame, update.id), "and its id");
    test::demand(!has_id(frame, std::string(update.id) + "x"), "and no other");
}

// Everything else that the server says, with texts and a number that the client chose.
void answer(std::string_view id, std::string_view topic, std::string_view text) {
    const auto number = static_cast<std::uint64_t>(text.size());
    const auto ns = static_cast<std::int64_t>(number << 40U);
    Inbound inbound;
    std::string again;
    demand_readable(Welcome{.id = id, .wall_ns = ns, .client_id = text}, inbound, again);
    demand_readable(Subscribed{.id = id, .topic = topic, .epoch = number}, inbound, again);
    demand_readable(Unsubscribed{.id = id, .topic = topic}, inbound, again);
    const std::string record(R"({"type":"data_update","payload":[]})");
    const std::vector<Bytes> records(number % 4, as_bytes(record));
    // It is about some topic, always.
    const std::string_view name = topic.empty() ? "t" : topic;
    demand_readable(Ack{.id = id, .topic = name, .offset = number}, inbound, again);
    demand_readable(
        Expired{.id = id, .topic = name, .offset = number, .clients = number}, inbound, again);
    demand_readable(
        History{.id = id, .topic = name, .next = number, .records = records}, inbound, again);
    const std::vector<Present> clients(
        number % 3, Present{.client_id = text, .since_s = number, .info = record});
    demand_readable(
        Presence{.id = id, .topic = name, .listed = true, .clients = clients}, inbound, again);
    const std::vector<std::string_view> left(number % 3, text);
    demand_readable(
        PresenceUpdate{.topic = topic, .joined = clients, .left = left}, inbound, again);
    demand_readable(Pong{.id = id, .wall_ns = -ns}, inbound, again);
    demand_readable(Gap{.topic = topic, .to = number, .reason = text}, inbound, again);
    demand_readable(
        ErrorReply{.id = id, .topic = topic, .code = text, .message = text}, inbound, again);
    test::demand(inbound.id == id && inbound.topic == topic, "an answer names what it answers");
}

// The input as what somebody published without an envelope.
void wrap(Bytes raw) {
    const std::string copy = padded(as_text(raw));
    const Bytes bytes = as_bytes(copy).first(raw.size());
    const PayloadForm form = parser().payload_form(bytes, utf8_valid(bytes));
    // JSON of the greatest depth that we read is one too deep inside an envelope.
    const std::string deeper = padded("[" + std::string(as_text(raw)) + "]");
    const Bytes deeper_bytes = as_bytes(deeper).first(raw.size() + 2);
    if (form == PayloadForm::json &&
        parser().payload_form(deeper_bytes, true) != PayloadForm::json) {
        return;
    }
    Inbound inbound;
    std::string again;
    demand_round_trip(
        {.id = "1", .topic = "t", .payload = {.bytes = bytes, .form = form}}, inbound, again);
    const bool quoted = !inbound.payload.empty() && inbound.payload.front() == std::byte{'"'};
    test::demand(form == PayloadForm::json || quoted, "what is no JSON becomes a string");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    wrap(std::as_bytes(std::span(data, size)));
    const std::string message = padded(as_text(std::as_bytes(std::span(data, size))));
    Inbound inbound;
    const EnvelopeError error = read(message, inbound);
    test::demand(!envelope_error_name(error).empty(), "an error has a name");
    if (error != EnvelopeError::none) return 0;

    const std::string type(inbound.type_text);
    // A record always has an id: its offset, when the publisher gave none.
    const std::string id(inbound.id.empty() ? "1" : inbound.id);
    const std::string topic(inbound.topic);
    const std::string key(inbound.key);
    const std::string payload(as_text(inbound.payload));
    test::demand(!type.empty(), "there is a type");
    test::demand(inbound.history.limit >= 1 && inbound.history.limit <= 1000,
                 "a limit that was read is in its range");
    if (!inbound.subscribe.info.empty()) {
        const std::string info = padded(inbound.subscribe.info);
        const Bytes raw = as_bytes(info).first(inbound.subscribe.info.size());
        test::demand(raw.size() <= info_size_max, "info is as long as it may be");
        test::demand(payload.find(inbound.subscribe.info) != std::string::npos,
                     "info is a part of the payload");
        test::demand(parser().payload_form(raw, true) == PayloadForm::json, "info is JSON");
    }
    test::demand(topic.empty() || topic_valid(topic), "a topic that was read is valid");
    if (inbound.has_payload) {
        const std::string copy = padded(payload);
        const Bytes raw = as_bytes(copy).first(payload.size());
        test::demand(parser().payload_form(raw, true) == PayloadForm::json, "payload is JSON");
    }

    DataUpdate update{.id = id, .topic = topic, .offset = 1, .key = key};
    update.ack_required = inbound.ack_required;
    update.payload = {.bytes = as_bytes(payload),
                      .form = inbound.has_payload ? PayloadForm::json : PayloadForm::text};
    std::string again;
    demand_round_trip(update, inbound, again);
    test::demand(payload.empty() || as_text(inbound.payload) == payload, "the payload survives");
    answer(id, topic, payload.empty() ? type : payload);
    return 0;
}
