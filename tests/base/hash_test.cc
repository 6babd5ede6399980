#include "base/hash.h"

#include <cstdint>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/guarded.h"

using ringcast::as_bytes;
using ringcast::Bytes;
using ringcast::hash_bytes;

TEST_CASE("hash: it is XXH3, as its specification has it") {
    CHECK(hash_bytes(Bytes{}, 0) == 0x2d06800538d394c2);
}

TEST_CASE("hash: the seed changes every hash, whatever the length") {
    std::set<std::uint64_t> seen;
    std::string name;
    for (int size = 0; size < 600; size++) {
        for (std::uint64_t seed = 0; seed < 8; seed++) {
            CHECK(seen.insert(hash_bytes(as_bytes(name), seed)).second);
        }
        name += 'a';
    }
}

TEST_CASE("hash: similar names spread over the low bits and the high bits alike") {
    constexpr std::uint64_t name_count = 1 << 16;
    std::uint32_t low[256] = {};
    std::uint32_t high[256] = {};
    for (std::uint64_t i = 0; i < name_count; i++) {
        const std::string name = "prices/" + std::to_string(i);
        const std::uint64_t hash = hash_bytes(as_bytes(name), 99);
        low[hash & 255]++;
        high[hash >> 56]++;
    }
    for (int i = 0; i < 256; i++) {  // 256 expected each, with a deviation of 16
        CHECK(low[i] > 160);
        CHECK(low[i] < 352);
        CHECK(high[i] > 160);
        CHECK(high[i] < 352);
    }
}

TEST_CASE("hash: it reads no byte past the end") {
    const std::string text(1025, 'x');
    for (std::size_t size = 0; size <= text.size(); size++) {
        const ringcast::test::Guarded guarded(as_bytes(text).first(size));
        CHECK(hash_bytes(guarded.bytes(), 1) == hash_bytes(as_bytes(text).first(size), 1));
    }
}
