// Property: any bytes are refused with a named error or read; a payload that was read is itself one
// JSON value and lies inside the message; whatever was read can be written, in exactly the size
// announced, and read again with the same meaning.

#include <string>
#include <vector>

#include "tests/fuzz/split.h"
#include "wire/envelope_writer.h"
#include "wire/frame.h"

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string message = padded(as_text(std::as_bytes(std::span(data, size))));
    Inbound inbound;
    const EnvelopeError error = read(message, inbound);
    test::demand(!envelope_error_name(error).empty(), "an error has a name");
    if (error != EnvelopeError::none) return 0;

    const std::string type(inbound.type_text);
    const std::string id(inbound.id);
    const std::string topic(inbound.topic);
    const std::string key(inbound.key);
    const std::string payload(as_text(inbound.payload));
    test::demand(!type.empty(), "there is a type");
    test::demand(topic.empty() || topic_valid(topic), "a topic that was read is valid");
    if (inbound.has_payload) {
        const std::string copy = padded(payload);
        const Bytes raw = as_bytes(copy).first(payload.size());
        test::demand(parser().payload_form(raw, true) == PayloadForm::json, "payload is JSON");
    }

    DataUpdate update{.id = id, .topic = topic, .offset = 1, .key = key};
    update.payload = {.bytes = as_bytes(payload),
                      .form = inbound.has_payload ? PayloadForm::json : PayloadForm::text};
    std::vector<std::byte> out(encoded_size(update));
    encode(update, out);
    FrameHeader header;
    test::demand(decode_header(out, header), "there is a header");
    test::demand(header.size + header.payload_size == out.size(), "the size is exact");
    const std::string again = padded(as_text(Bytes(out).subspan(header.size)));
    test::demand(read(again, inbound) == EnvelopeError::none, "what we write can be read");
    test::demand(inbound.id == id, "the id survives");
    test::demand(inbound.topic == topic, "the topic survives");
    test::demand(inbound.key == key, "the key survives");
    test::demand(payload.empty() || as_text(inbound.payload) == payload, "the payload survives");
    return 0;
}
