// Property: whatever a client says, in whatever pieces, the filter takes all of it, never crashes,
// says nothing as plaintext that no honest client said, and OpenSSL holds no more for it than a
// handshake may. In front of the input stand the cuts (split.h), then a byte: 0 to 63, what follows
// is what the client says; else an honest client shakes hands and speaks, and what follows are
// changes to its bytes, four bytes each: where (2), how, and by what.

#include <cstdlib>
#include <string>
#include <vector>

// Without its runner: a REQUIRE of the client's that does not hold ends the run.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <openssl/crypto.h>

#include "tests/fuzz/split.h"
#include "tests/support/tls.h"
#include "wire/tls.h"

using namespace ringcast;

namespace {

constexpr std::size_t client_held_max = std::size_t{224} * 1024;  // the honest client is OpenSSL's
constexpr std::string_view said = "this is what an honest client says";
std::size_t held = 0;  // by OpenSSL

void* count_new(std::size_t size, const char* /*file*/, int /*line*/) {
    auto* block = static_cast<std::max_align_t*>(std::malloc(size + sizeof(std::max_align_t)));
    if (block == nullptr) return nullptr;
    *reinterpret_cast<std::size_t*>(block) = size;
    held += size;
    return block + 1;
}

void count_free(void* memory, const char* /*file*/, int /*line*/) {
    if (memory == nullptr) return;
    auto* block = static_cast<std::max_align_t*>(memory) - 1;
    held -= *reinterpret_cast<std::size_t*>(block);
    std::free(block);
}

void* count_resize(void* memory, std::size_t size, const char* file, int line) {
    if (memory == nullptr) return count_new(size, file, line);
    auto* block = static_cast<std::max_align_t*>(memory) - 1;
    held -= *reinterpret_cast<std::size_t*>(block);
    block = static_cast<std::max_align_t*>(std::realloc(block, size + sizeof(std::max_align_t)));
    if (block == nullptr) return nullptr;
    *reinterpret_cast<std::size_t*>(block) = size;
    held += size;
    return block + 1;
}

const wire::TlsContext& context() {
    static const wire::TlsContext made = test::one_context();
    return made;
}

struct Host {
    void feed(Bytes bytes, test::Cutter& cutter) {
        while (!bytes.empty()) {
            Bytes piece = cutter.cut(bytes);
            std::size_t size = 0;
            do {
                size = filter.receive(piece, target, out);
                heard += as_text(Bytes(target).first(size));
                test::demand(held <= before + held_most, "memory is bounded");
            } while (size == target.size());
            test::demand(piece.empty(), "all input is consumed");
        }
    }

    std::size_t before = held;
    std::size_t held_most = wire::tls_handshake_held_max;
    wire::TlsFilter filter{context()};
    std::vector<std::byte> target{std::vector<std::byte>(4096)};
    std::vector<std::byte> out;
    std::string heard;
};

// Changes `bytes`, of which `passed` came before, as the input says.
void change(std::string& bytes, std::size_t passed, Bytes changes) {
    for (; changes.size() >= 4; changes = changes.subspan(4)) {
        const std::size_t at = load_be16(changes.data()) % 2048;
        if (at < passed || at >= passed + bytes.size()) continue;
        const auto how = std::to_integer<unsigned>(changes[2]);
        const auto what = static_cast<char>(changes[3]);
        const std::size_t place = at - passed;
        if (how % 4 == 0) bytes[place] = what;
        if (how % 4 == 1) bytes[place] = static_cast<char>(bytes[place] ^ what);
        if (how % 4 == 2) bytes.insert(place, how, what);
        if (how % 4 == 3) bytes.erase(place, how / 4);
        if (bytes.empty()) return;
    }
}

void honest(Host& host, test::Cutter& cutter, Bytes changes, unsigned kind) {
    const bool older = kind % 2 == 0;
    host.held_most += client_held_max;
    test::TlsClient client({.version_max = older ? TLS1_2_VERSION : TLS1_3_VERSION});
    std::size_t passed = 0;
    client.feed("");
    for (int flight = 0; flight < 4; flight++) {
        if (flight == 2 && client.open()) client.say(said);
        std::string bytes = client.take();
        const std::size_t size = bytes.size();
        change(bytes, passed, changes);
        passed += size;
        host.feed(as_bytes(bytes), cutter);
        client.feed(as_text(std::exchange(host.out, {})));
    }
    if (changes.size() < 4) test::demand(host.heard == said, "an honest client is heard");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
    static doctest::Context runner;
    runner.setAsDefaultForAssertsOutOfTestCases();
    test::demand(CRYPTO_set_mem_functions(&count_new, &count_resize, &count_free) == 1,
                 "OpenSSL has no memory yet");
    static_cast<void>(context());
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes input = std::as_bytes(std::span(data, size));
    test::Cutter cutter(input);
    if (input.empty()) return 0;
    const auto kind = std::to_integer<unsigned>(input[0]);
    input = input.subspan(1);
    Host host;
    if (kind < 64) {
        host.feed(input, cutter);
        test::demand(host.heard.empty(), "nobody is heard without keys");
    } else {
        honest(host, cutter, input, kind);
        test::demand(said.starts_with(host.heard), "nothing is heard that was not said");
    }
    return 0;
}
