#include "base/slab.h"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using ringcast::Random;
using ringcast::Slab;

namespace {

struct Counted {
    explicit Counted(int& live_counter) noexcept : live(live_counter) { live++; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { live--; }
    int& live;
};

struct Big {
    std::array<std::byte, 100'000> bytes;
};
struct alignas(128) Aligned {
    char byte = 0;
};

}  // namespace

TEST_CASE("slab: an object lives from emplace to erase, at one address") {
    Slab<std::string> slab(100'000);
    CHECK(slab.find(99'999) == nullptr);
    CHECK(slab.find(100'000'000) == nullptr);
    std::string& object = slab.emplace(99'999, 3U, 'x');
    for (std::uint32_t index = 0; index < 5000; index++) {
        slab.emplace(index, std::to_string(index));
    }
    CHECK(object == "xxx");
    CHECK(slab.find(99'999) == &object);
    CHECK(&slab[99'999] == &object);
    CHECK(slab[4321] == "4321");
    CHECK(slab.live_count() == 5001);
    slab.erase(99'999);
    CHECK(slab.find(99'999) == nullptr);
    CHECK(slab.live_count() == 5000);
}

TEST_CASE("slab: destroying it destroys what is live, once") {
    int live = 0;
    {
        Slab<Counted> slab(10'000);
        for (std::uint32_t index = 0; index < 10'000; index += 7) {
            slab.emplace(index, live);
        }
        slab.erase(7);
        CHECK(static_cast<std::uint32_t>(live) == slab.live_count());
    }
    CHECK(live == 0);
}

TEST_CASE("slab: large and over-aligned objects have their place") {
    static_assert(Slab<Big>::chunk_count == 1);
    static_assert(Slab<Aligned>::chunk_count == 512);
    Slab<Big> big(3);
    CHECK(&big.emplace(2) != &big.emplace(1));
    Slab<Aligned> aligned(1000);
    for (std::uint32_t index = 0; index < 1000; index += 9) {
        CHECK(reinterpret_cast<std::uintptr_t>(&aligned.emplace(index)) % 128 == 0);
    }
}

TEST_CASE("slab: a random walk agrees with a map") {
    for (std::uint64_t seed = 0; seed < 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const auto index_count = static_cast<std::uint32_t>(random.between(1, 30'000));
        Slab<std::string> slab(index_count);
        std::map<std::uint32_t, std::string> model;
        for (int step = 0; step < 4000; step++) {
            const auto index = static_cast<std::uint32_t>(random.below(index_count));
            const auto entry = model.find(index);
            if (entry == model.end()) {
                REQUIRE(slab.find(index) == nullptr);
                slab.emplace(index, std::to_string(step));
                model[index] = std::to_string(step);
            } else if (random.chance(1, 2)) {
                REQUIRE(slab[index] == entry->second);
                slab.erase(index);
                model.erase(entry);
            }
            REQUIRE(slab.live_count() == model.size());
        }
        std::map<std::uint32_t, std::string> seen;
        slab.for_each([&](std::uint32_t index, std::string& object) { seen[index] = object; });
        CHECK(seen == model);
    }
}
