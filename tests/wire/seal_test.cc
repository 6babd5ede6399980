// Sealed payloads: known answers, and that a box opens for its secret and place alone.

#include "wire/seal.h"

#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/guarded.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

std::string hex(Bytes bytes) {
    std::string text;
    for (const std::byte each : bytes) {
        text += "0123456789abcdef"[std::to_integer<unsigned>(each) >> 4];
        text += "0123456789abcdef"[std::to_integer<unsigned>(each) & 15];
    }
    return text;
}

// Bytes that count up.
template <std::size_t size>
std::array<std::byte, size> counting(unsigned from) {
    std::array<std::byte, size> bytes{};
    for (std::byte& each : bytes)
        each = static_cast<std::byte>(from++);
    return bytes;
}

SealSecret secret_of(unsigned from) {
    SealSecret secret;
    secret.bytes = counting<32>(from);
    return secret;
}

constexpr SealPlace aapl{.topic = "prices",
                         .epoch = 0x5f1e6f35ce265273,
                         .offset = 7,
                         .key = "AAPL"};

std::vector<std::byte> boxed(const SealInput& input,
                             const SealSecret& secret = secret_of(0),
                             std::string_view id = "k1") {
    SealCipher cipher;
    const auto subkey = SealSubkey::derive(secret, id, counting<16>(0x40));
    std::vector<std::byte> box(sealed_size(id.size(), input.payload.size()));
    cipher.seal(subkey, input, box);
    return box;
}

// What opens; or "-".
std::string opened(Bytes box,
                   const SealPlace& place = aapl,
                   const SealSecret& secret = secret_of(0)) {
    SealCipher cipher;
    PayloadForm form = PayloadForm::sealed;
    std::string payload = "left over";
    if (cipher.open(secret, place, box, form, payload)) {
        return std::to_string(static_cast<int>(form)) + payload;
    }
    CHECK(payload.empty());
    return "-";
}

SealInput some_input() {
    return {.nonce = counting<12>(0x80),
            .place = aapl,
            .payload = as_bytes(std::string_view(R"({"p":1})"))};
}

}  // namespace

// Made by other code (Python's cryptography 38).
TEST_CASE("seal: a known answer") {
    const auto subkey = SealSubkey::derive(secret_of(0), "k1", counting<16>(0x40));
    CHECK(hex(subkey.bytes.bytes) ==
          "27d86727cb3f0793303b144981364152ce598ec464354c373b972018cadc1559");
    const std::vector<std::byte> box = boxed(some_input());
    CHECK(hex(box) == "026b31" + hex(counting<16>(0x40)) + hex(counting<12>(0x80)) +
                          "59f91202a924540ba7bdc533e83d803f430da251a2c7f042");
    CHECK(opened(box) == R"(0{"p":1})");
    SealedBox view;
    REQUIRE(read_box(box, view));
    CHECK(view.id == "k1");
    CHECK(view.data.size() == box.size() - 3);
}

TEST_CASE("seal: every size and form comes out as it went in, with one cipher for both ways") {
    SealCipher cipher;
    Random random(1);
    for (std::uint64_t number = 0; number < 300; number++) {
        std::string payload(number < 64 ? number : random.below(20'000), ' ');
        for (char& c : payload)
            c = static_cast<char>(random.below(256));
        const auto form = static_cast<PayloadForm>(random.below(3));
        const std::string id(1 + random.below(64), 'k');
        const std::string topic(1 + random.below(255), 't');
        const std::string key(random.below(256), 'x');
        const SealPlace place{
            .topic = topic, .epoch = random.next(), .offset = random.next(), .key = key};
        SealInput input{.place = place, .form = form, .payload = as_bytes(payload)};
        store_be64(input.nonce.data(), number);
        const auto subkey = SealSubkey::derive(secret_of(1), id, counting<16>(2));
        std::vector<std::byte> box(sealed_size(id.size(), payload.size()));
        cipher.seal(subkey, input, box);
        const test::Guarded guarded(box);
        PayloadForm found = PayloadForm::sealed;
        std::string text;
        REQUIRE(cipher.open(secret_of(1), place, guarded.bytes(), found, text));
        CHECK(found == form);
        CHECK(text == payload);
    }
}

TEST_CASE("seal: a bit changed anywhere in the box, or a byte less, opens nothing") {
    const std::vector<std::byte> box = boxed(some_input());
    for (std::size_t bit = 0; bit < 8 * box.size(); bit++) {
        std::vector<std::byte> changed = box;
        changed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
        CAPTURE(bit);
        CHECK(opened(changed) == "-");
    }
    for (std::size_t size = 0; size < box.size(); size++) {
        const test::Guarded cut(Bytes(box).first(size));
        CHECK(opened(cut.bytes()) == "-");
    }
    std::vector<std::byte> longer = box;
    longer.push_back(std::byte{0});
    CHECK(opened(longer) == "-");
    CHECK(opened(box, aapl, secret_of(1)) == "-");
}

TEST_CASE("seal: a box opens in its own place alone") {
    const std::vector<std::byte> box = boxed(some_input());
    std::vector<SealPlace> places(9, aapl);
    places[0].topic = "price";
    places[1].topic = "pricesA";  // the sizes are part of it: no text may move on to the next
    places[1].key = "APL";
    places[2].topic = "pricesAAPL";
    places[2].key = {};
    places[3].key = "AAPM";
    places[4].key = {};
    places[5].epoch++;
    places[6].offset++;
    places[7].offset = aapl.epoch;
    places[7].epoch = aapl.offset;
    places[8].topic = "Prices";
    for (const SealPlace& place : places) {
        CAPTURE(place.topic);
        CHECK(opened(box, place) == "-");
    }
    CHECK(opened(box) == R"(0{"p":1})");
    // The same bytes under another id: another key.
    std::vector<std::byte> renamed = box;
    renamed[2] = std::byte{'2'};
    CHECK(opened(renamed) == "-");
}

TEST_CASE("seal: subkeys differ by secret, id and salt") {
    const auto bytes = [](unsigned secret, std::string_view id, unsigned salt) {
        return hex(SealSubkey::derive(secret_of(secret), id, counting<16>(salt)).bytes.bytes);
    };
    CHECK(bytes(0, "a", 0) == bytes(0, "a", 0));
    CHECK(bytes(0, "a", 0) != bytes(1, "a", 0));
    CHECK(bytes(0, "a", 0) != bytes(0, "b", 0));
    CHECK(bytes(0, "a", 0) != bytes(0, "a", 1));
}

TEST_CASE("seal: what is no box is seen without a key") {
    SealedBox view;
    CHECK_FALSE(read_box({}, view));
    std::vector<std::byte> box(sealed_size(2, 0));
    CHECK_FALSE(read_box(box, view));  // its id is empty, or then of zeros
    begin_box("ab", box);
    CHECK(read_box(box, view));
    CHECK(view.id == "ab");
    CHECK_FALSE(read_box(Bytes(box).first(box.size() - 1), view));
    box[1] = std::byte{'"'};
    CHECK_FALSE(read_box(box, view));
}
