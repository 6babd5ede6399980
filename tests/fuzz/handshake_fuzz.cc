// Property: for any bytes, cut anywhere, RequestParser ends as it does when it gets them whole:
// the same verdict, the same request, the same number of bytes consumed; an accepted head ends with
// an empty line and keeps to its limits, and decide() and the answers to it work. In front of the
// input stand the cuts (split.h), then a byte that tells whether limits are small.

#include <memory>
#include <string>

#include "tests/fuzz/split.h"
#include "wire/handshake.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

struct Outcome {
    RequestParser::Status status = RequestParser::Status::need_more;
    int error = 0;
    std::size_t consumed = 0;
    std::string text;

    bool operator==(const Outcome&) const = default;
};

Outcome run(RequestLimits limits, test::Cutter cutter, Bytes rest) {
    auto parser = std::make_unique<RequestParser>(limits);
    Outcome outcome;
    while (!rest.empty() && outcome.status == RequestParser::Status::need_more) {
        const std::string copy(as_text(cutter.cut(rest)));
        std::size_t consumed = 0;
        outcome.status = parser->feed(as_bytes(copy), consumed);
        outcome.consumed += consumed;
    }
    outcome.error = parser->error_status();
    if (outcome.status == RequestParser::Status::failed) {
        test::demand(outcome.error >= 400, "a failure has a status");
        outcome.consumed = 0;
    }
    if (outcome.status != RequestParser::Status::done) return outcome;

    const Request& request = parser->request();
    for (const std::string_view part : {request.path,
                                        request.query,
                                        request.host,
                                        request.origin,
                                        request.authorization,
                                        request.forwarded_for,
                                        request.key}) {
        outcome.text.append(part).append("|");
    }
    const Decision decision = decide(request);
    outcome.text += std::to_string(decision.status);
    outcome.text += request.deflate.found ? "c" : "";
    std::array<std::byte, refusal_size_max> out{};
    if (decision.kind == Decision::Kind::websocket) {
        test::demand(write_switching_protocols(out, decision.accept, decision.protocol) > 100,
                     "an upgrade is answered");
    } else {
        test::demand(write_refusal(out, decision.status, decision.reason, 1) > 50,
                     "a refusal is answered");
    }
    test::demand(write_refusal(out, 503, request.path, 1) > 50, "so is one for want of room");
    std::array<char, target_size_max> scratch{};
    QueryReader reader(request.query);
    QueryReader::Item item;
    std::size_t items = 0;
    while (reader.next(scratch, item) == QueryReader::Status::item) {
        std::array<char, target_size_max> other{};
        const std::string first(query_value(request.query, item.name, other));
        test::demand(items > 0 || first == item.value, "the first of a name is the value of it");
        items++;
    }
    test::demand(items <= query_items_max, "a query is bounded");
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes input = std::as_bytes(std::span(data, size));
    const test::Cutter cutter(input);
    if (input.empty()) return 0;
    RequestLimits limits;
    if (std::to_integer<unsigned>(input[0]) % 4 == 0) {
        limits = {.head_size_max = 300, .head_lines_max = 8};
    }
    limits.read_extensions = std::to_integer<unsigned>(input[0]) / 4 % 2 != 0;
    input = input.subspan(1);
    const Outcome whole = run(limits, {}, input);
    test::demand(whole == run(limits, cutter, input), "the same outcome however it is cut");
    if (whole.status == RequestParser::Status::done) {
        const std::string_view head = as_text(input.first(whole.consumed));
        test::demand(head.size() <= limits.head_size_max, "a head keeps to its limit");
        test::demand(head.ends_with("\r\n\r\n"), "a head ends with an empty line");
        test::demand(head.find("\r\n\r\n") == head.size() - 4, "and with the first one");
    }
    return 0;
}
