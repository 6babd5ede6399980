#include "wire/mask.h"

#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/guarded.h"

using namespace ringcast;
using namespace ringcast::wire;

namespace {

const MaskKey key{std::byte{0x37}, std::byte{0xfa}, std::byte{0x21}, std::byte{0x3d}};

std::vector<std::byte> noise(std::size_t size) {
    Random random(7);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes)
        byte = static_cast<std::byte>(random.next());
    return bytes;
}

}  // namespace

TEST_CASE("mask: the example of RFC 6455, section 5.7") {
    std::vector<std::byte> bytes{
        std::byte{0x7f}, std::byte{0x9f}, std::byte{0x4d}, std::byte{0x51}, std::byte{0x58}};
    apply_mask(bytes, key, 0);
    CHECK(as_text(bytes) == "Hello");
}

TEST_CASE("mask: every length, alignment and phase equals the definition and stays inside") {
    constexpr std::size_t margin = 40;
    for (std::size_t size = 0; size <= 600; size += size < 300 ? 1 : 37) {
        for (std::size_t offset = 0; offset < 33; offset += size < 70 ? 1 : 7) {
            for (std::size_t phase = 0; phase < 4; phase++) {
                std::vector<std::byte> fast = noise(size + offset + margin);
                std::vector<std::byte> slow = fast;
                apply_mask(MutBytes(fast).subspan(offset, size), key, phase);
                apply_mask_scalar(MutBytes(slow).subspan(offset, size), key, phase);
                REQUIRE(fast == slow);
            }
        }
    }
}

TEST_CASE("mask: nothing behind the end is touched") {
    for (std::size_t size = 0; size <= 520; size++) {
        const std::vector<std::byte> plain = noise(size);
        const test::Guarded wall(plain);
        apply_mask(wall.bytes(), key, 1);
        apply_mask_scalar(wall.bytes(), key, 1);
        REQUIRE(std::equal(plain.begin(), plain.end(), wall.bytes().begin()));
    }
}

TEST_CASE("mask: pieces with a running phase equal the whole") {
    const std::vector<std::byte> plain = noise(3000);
    std::vector<std::byte> whole = plain;
    apply_mask(whole, key, 0);
    for (std::uint32_t seed = 1; seed <= 50; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::vector<std::byte> pieces = plain;
        std::size_t at = 0;
        while (at < pieces.size()) {
            const std::size_t size = std::min<std::size_t>(random.below(400), pieces.size() - at);
            apply_mask(MutBytes(pieces).subspan(at, size), key, at);
            at += size;
        }
        REQUIRE(pieces == whole);
    }
}
