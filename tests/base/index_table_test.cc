#include "base/index_table.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using ringcast::IndexTable;
using ringcast::Random;

namespace {

// Hashes as bad as wished: few bits make long runs of equal and neighbouring slots.
std::uint64_t hash_of(std::uint32_t key, unsigned bits) {
    const std::uint64_t mixed = (key + 1) * 0x9e3779b97f4a7c15U;
    return bits == 0 ? 0 : mixed >> (64 - bits);
}

}  // namespace

TEST_CASE("index_table: an empty table finds and erases nothing") {
    IndexTable table;
    const auto any = [](std::uint32_t) { return true; };
    CHECK(table.find(1, any) == IndexTable::none);
    CHECK(table.erase(1, any) == IndexTable::none);
    CHECK(table.size() == 0);
    CHECK(table.heap_bytes() == 0);
}

TEST_CASE("index_table: of entries with one hash, the functor chooses") {
    IndexTable table;
    for (std::uint32_t id = 0; id < 100; id++) {
        table.insert(42, id);
    }
    for (std::uint32_t id = 0; id < 100; id++) {
        CHECK(table.find(42, [id](std::uint32_t other) { return other == id; }) == id);
    }
    CHECK(table.find(42, [](std::uint32_t) { return false; }) == IndexTable::none);
    CHECK(table.find(43, [](std::uint32_t) { return true; }) == IndexTable::none);
}

TEST_CASE("index_table: reserve leaves room without growing, and keeps what is there") {
    IndexTable table;
    table.insert(7, 1);
    table.reserve(100'000);
    CHECK(table.find(7, [](std::uint32_t id) { return id == 1; }) == 1);
    CHECK(table.size() == 1);
    CHECK(table.heap_bytes() == 262'144 * 8);
}

TEST_CASE("index_table: a random walk agrees with a map, for good hashes and bad ones") {
    for (std::uint64_t seed = 0; seed < 60; seed++) {
        CAPTURE(seed);
        Random random(seed);
        constexpr unsigned widths[] = {0, 2, 5, 12, 32, 64};
        const unsigned bits = widths[seed % 6];
        const std::uint64_t key_count = bits < 5 ? 60 : random.between(1, 3000);
        IndexTable table;
        std::vector<std::uint32_t> key_of;  // by id, as an owner keeps it
        std::map<std::uint32_t, std::uint32_t> model;
        for (int step = 0; step < 5000; step++) {
            const auto key = static_cast<std::uint32_t>(random.below(key_count));
            const auto eq = [&](std::uint32_t id) { return key_of[id] == key; };
            const auto entry = model.find(key);
            if (entry == model.end()) {
                REQUIRE(table.find(hash_of(key, bits), eq) == IndexTable::none);
                REQUIRE(table.erase(hash_of(key, bits), eq) == IndexTable::none);
                const auto id = static_cast<std::uint32_t>(key_of.size());
                key_of.push_back(key);
                table.insert(hash_of(key, bits), id);
                model[key] = id;
            } else if (random.chance(step % 2000 < 1000 ? 1 : 3, 4)) {
                REQUIRE(table.erase(hash_of(key, bits), eq) == entry->second);
                model.erase(entry);
            } else {
                REQUIRE(table.find(hash_of(key, bits), eq) == entry->second);
            }
            REQUIRE(table.size() == model.size());
        }
    }
}
