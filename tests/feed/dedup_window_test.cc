#include "feed/dedup_window.h"

#include <deque>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::feed;

TEST_CASE("dedup: what was said lately has its offset, for a time") {
    DedupWindow window(100, 10);
    CHECK_FALSE(window.find({1, 2}, 0).has_value());
    window.add({1, 2}, 7, 0);
    CHECK(window.find({1, 2}, 9) == 7);
    CHECK_FALSE(window.find({2, 2}, 9).has_value());  // half of it alike is not alike
    CHECK_FALSE(window.find({1, 2}, 10).has_value());
    CHECK(window.size() == 0);
}

TEST_CASE("dedup: past the count the oldest leave") {
    DedupWindow window(3, 1000);
    for (std::uint64_t i = 1; i <= 5; i++) {
        window.add({i, i}, i, 0);
    }
    CHECK_FALSE(window.find({2, 2}, 0).has_value());
    CHECK(window.find({3, 3}, 0) == 3);
    CHECK(window.find({5, 5}, 0) == 5);
    DedupWindow none(0, 1000);
    none.add({1, 1}, 1, 0);
    CHECK_FALSE(none.find({1, 1}, 0).has_value());
}

TEST_CASE("dedup: a window remembers just what a list would") {
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        INFO("seed " << seed);
        Random random(seed);
        const auto count_max = static_cast<std::uint32_t>(random.between(1, 300));
        const auto span = static_cast<Tick>(random.between(1, 50));
        DedupWindow window(count_max, span);
        struct Said {
            DedupWindow::Key key;
            Seq offset;
            Tick at;
        };
        std::deque<Said> list;
        Tick now = UINT32_MAX - 20;  // the clock wraps on the way
        for (Seq offset = 1; offset < 3000; offset++) {
            if (random.chance(1, 20)) now += static_cast<Tick>(random.below(10));
            while (!list.empty() && static_cast<Tick>(now - list.front().at) >= span)
                list.pop_front();
            // Few keys, and low halves that meet, so that everything happens.
            const DedupWindow::Key key{random.below(40), random.below(8)};
            std::optional<Seq> want;
            for (const Said& said : list)
                if (said.key == key) want = said.offset;
            REQUIRE(window.find(key, now) == want);
            if (want.has_value()) continue;
            window.add(key, offset, now);
            list.push_back({key, offset, now});
            if (list.size() > count_max) list.pop_front();
            REQUIRE(window.size() == list.size());
        }
    }
}
