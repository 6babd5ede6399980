// Property: for any bytes, cut anywhere, ProxyParser ends as it does when it gets them whole, the
// same bytes consumed; a header that is accepted is accepted again alone, and no part of it is.
// X-Forwarded-For of any bytes gives an address that the list contains in some form, or nothing.
// In front of the input stand the cuts (split.h).

#include <string>

#include "tests/fuzz/split.h"
#include "wire/proxy.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

struct Outcome {
    ProxyParser::Status status = ProxyParser::Status::need_more;
    std::size_t consumed = 0;
    bool has_source = false;
    Ip source;

    bool operator==(const Outcome&) const = default;
};

Outcome run(test::Cutter cutter, Bytes rest) {
    ProxyParser parser;
    Outcome outcome;
    while (!rest.empty() && outcome.status == ProxyParser::Status::need_more) {
        const std::string copy(as_text(cutter.cut(rest)));
        std::size_t consumed = 0;
        outcome.status = parser.feed(as_bytes(copy), consumed);
        test::demand(consumed <= copy.size(), "no more than there is");
        outcome.consumed += consumed;
    }
    outcome.has_source = parser.has_source();
    outcome.source = parser.source();
    return outcome;
}

void look_at_list(std::string_view list) {
    IpNetwork ours;
    test::demand(parse_network("10.0.0.0/8", ours), "a network");
    Ip client;
    Ip alone;
    const bool trusting = forwarded_client(list, std::span(&ours, 1), client);
    if (!forwarded_client(list, {}, alone)) {
        test::demand(!trusting, "the last one is always looked at");
        return;
    }
    if (!contains(ours, alone)) test::demand(trusting && client == alone, "strangers end it");
    Ip again;
    test::demand(forwarded_client(format_ip(alone), {}, again) && again == alone, "an address");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes input = std::as_bytes(std::span(data, size));
    const test::Cutter cutter(input);
    const Outcome whole = run({}, input);
    test::demand(whole == run(cutter, input), "the same outcome however it is cut");
    test::demand(whole.consumed <= proxy_header_max, "a header keeps to its limit");
    if (whole.status == ProxyParser::Status::done) {
        test::demand(whole == run({}, input.first(whole.consumed)), "nothing behind it matters");
        const Outcome part = run({}, input.first(whole.consumed - 1));
        test::demand(part.status == ProxyParser::Status::need_more, "all of it is needed");
    }
    look_at_list(as_text(input));
    return 0;
}
