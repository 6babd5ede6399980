// Property: for any text, read_extensions() ends with a verdict; an offer that it takes has windows
// of 8 to 15 bits, its answer fits, is itself well formed, and is an offer with the same windows.
// A malformed line stays so with an element in front of it; the first offer stays the first. The
// first byte tells whether context is allowed.

#include <array>
#include <string>

#include "tests/fuzz/split.h"
#include "wire/extension.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

void check_answer(const DeflateOffer& offer, bool allow_context) {
    const DeflateTerms terms = settle(offer, allow_context);
    test::demand(terms.agreed, "what was found is agreed upon");
    test::demand(allow_context || !terms.client_keeps_context, "context only where it is allowed");
    test::demand(!offer.client_no_context_takeover || !terms.client_keeps_context,
                 "no context that the client declined");
    test::demand(offer.limits_server_window == terms.limits_server_window &&
                     offer.server_window_bits == terms.server_window_bits,
                 "the server's window is the one asked for");
    test::demand(!terms.limits_client_window || offer.client_takes_limit,
                 "a limit only for a client that takes one");
    std::array<std::byte, terms_size_max> out{};
    const std::string answer(as_text(Bytes(out.data(), write_terms(out, terms))));
    DeflateOffer again;
    test::demand(read_extensions(answer, again) && again.found, "the answer is well formed");
    test::demand(again.server_window_bits == terms.server_window_bits &&
                     again.client_no_context_takeover == !terms.client_keeps_context &&
                     again.server_no_context_takeover,
                 "the answer says what was agreed upon");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const Bytes input = std::as_bytes(std::span(data, size));
    const std::string line(as_text(input.subspan(1)));
    DeflateOffer offer;
    const bool sound = read_extensions(line, offer);
    for (const std::uint8_t bits : {offer.server_window_bits, offer.client_window_bits}) {
        test::demand(bits >= window_bits_min && bits <= window_bits_max, "a window that exists");
    }
    if (sound && offer.found) check_answer(offer, (data[0] & 1) != 0);

    DeflateOffer behind;
    test::demand(read_extensions("x-other; a=b, " + line, behind) == sound,
                 "an element in front changes no verdict");
    test::demand(!sound || behind.found == offer.found, "nor what is found");
    DeflateOffer second;
    test::demand(read_extensions("permessage-deflate; server_max_window_bits=10", second),
                 "a line that is right");
    test::demand(read_extensions(line, second) == sound, "lines are judged one by one");
    test::demand(second.server_window_bits == 10, "the first offer stays the first");
    return 0;
}
