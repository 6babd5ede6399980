#include "base/copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "base/random.h"
#include "tests/support/guarded.h"

using ringcast::copy_bytes;

namespace {

constexpr std::size_t page_size = 4096;
constexpr std::byte canary{0xa5};

// The first address in `memory` that is `offset` past a page.
std::byte* at_page_offset(std::vector<std::byte>& memory, std::size_t offset) {
    const std::size_t past = reinterpret_cast<std::uintptr_t>(memory.data()) % page_size;
    return memory.data() + (page_size - past) + offset;
}

std::vector<std::byte> noise(std::size_t size) {
    ringcast::Random random(1);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(random.next() & 0xff);
    }
    return bytes;
}

}  // namespace

TEST_CASE("copy: every distance and alignment copies just what was asked for") {
    constexpr std::size_t size_max = 3 * page_size;
    std::vector<std::byte> source_memory = noise(size_max + 3 * page_size);
    std::vector<std::byte> target_memory(size_max + 3 * page_size);
    const std::size_t sizes[] = {0, 1, 64, 1023, 1024, 1025, 2047, 2048, 2049, 4097, size_max};
    for (std::size_t size : sizes) {
        for (std::size_t source_offset = 0; source_offset < 64; source_offset += 5) {
            for (std::size_t step = 0; step < 64; step++) {
                // 32 distances on both sides of a whole page.
                const std::size_t distance = (page_size - 32 + step) % page_size;
                const std::byte* source = at_page_offset(source_memory, source_offset);
                std::byte* target =
                    at_page_offset(target_memory, (source_offset + distance) % page_size + 64);
                CAPTURE(size);
                CAPTURE(source_offset);
                CAPTURE(distance);
                std::fill(target - 64, target + size + 64, canary);
                copy_bytes(target, source, size);
                REQUIRE((size == 0 || std::memcmp(target, source, size) == 0));
                REQUIRE(std::count(target - 64, target, canary) == 64);
                REQUIRE(std::count(target + size, target + size + 64, canary) == 64);
            }
        }
    }
}

TEST_CASE("copy: it neither reads nor writes past the end of mapped memory") {
    const std::vector<std::byte> memory = noise(5000);
    const ringcast::Bytes bytes = memory;
    for (std::size_t size = 900; size < 3200; size += 11) {
        const ringcast::test::Guarded source(bytes.first(size));
        // Both end at a page's end, so 1 to 15 bytes less make the distance of the trap.
        for (std::size_t less = 0; less < 17; less++) {
            const ringcast::test::Guarded target(bytes.last(size - less));
            copy_bytes(target.bytes().data(), source.bytes().data(), size - less);
            REQUIRE(std::memcmp(target.bytes().data(), bytes.data(), size - less) == 0);
        }
    }
}

TEST_CASE("copy: nothing may come from nowhere") {
    copy_bytes(nullptr, nullptr, 0);
}
