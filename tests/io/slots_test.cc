#include "io/slots.h"

#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

namespace ringcast::io::test {

TEST_CASE("slots: a random walk agrees with a plain set") {
    struct Slot {
        std::uint32_t link;
        std::uint32_t owner;
    };
    for (std::uint32_t seed = 0; seed < 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const auto capacity = static_cast<std::uint32_t>(1 + random.below(50));
        Slots<Slot> slots(capacity);
        std::set<std::uint32_t> model;
        for (std::uint32_t step = 0; step < 2000; step++) {
            if (random.chance(1, 2)) {
                const std::uint32_t index = slots.take();
                REQUIRE((index == Slots<Slot>::none) == (model.size() == capacity));
                if (index == Slots<Slot>::none) continue;
                REQUIRE(index < capacity);
                REQUIRE(model.insert(index).second);
                slots[index].owner = index;
            } else if (!model.empty()) {
                const auto chosen =
                    std::next(model.begin(), static_cast<long>(random.below(model.size())));
                REQUIRE(slots[*chosen].owner == *chosen);
                slots.give_back(*chosen);
                model.erase(chosen);
            }
            REQUIRE(slots.taken() == model.size());
            REQUIRE(slots.full() == (model.size() == capacity));
            REQUIRE(slots.touched() <= capacity);
        }
    }
}

}  // namespace ringcast::io::test
