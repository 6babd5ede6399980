#include "node/parking.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace ringcast;
using namespace ringcast::node;

namespace {

std::vector<Owed> owed(const std::string& topic, std::vector<feed::Seq> open) {
    return {{.topic = topic, .epoch = 1, .open = std::move(open)}};
}

// Topics of the sessions that ended.
std::vector<std::string> swept(Parking& parking, Tick now) {
    std::vector<std::string> topics;
    while (parking.sweep(now, [&](const Owed& each) { topics.push_back(each.topic); })) {
    }
    return topics;
}

}  // namespace

TEST_CASE("parking: who comes back in time has it, once; then it is missed") {
    Parking parking(1 << 20);
    parking.put("a", owed("t", {1, 2}), 100);
    parking.put("b", owed("u", {3}), 200);
    CHECK(parking.held_bytes() > 0);
    CHECK(swept(parking, 99).empty());
    const std::vector<Owed> mine = parking.take("a");
    REQUIRE(mine.size() == 1);
    CHECK(mine[0].open == std::vector<feed::Seq>{1, 2});
    CHECK(parking.take("a").empty());
    CHECK(swept(parking, 150).empty());
    CHECK(swept(parking, 200) == std::vector<std::string>{"u"});
    CHECK(parking.size() == 0);
    CHECK(parking.held_bytes() == 0);
}

TEST_CASE("parking: what is put again lives from then on, with what was there of other topics") {
    Parking parking(1 << 20);
    parking.put("a", owed("t", {1}), 100);
    parking.put("a", owed("u", {2}), 200);
    CHECK(swept(parking, 150).empty());
    CHECK(parking.take("a").size() == 2);
    parking.put("a", owed("t", {1, 3}), 300);
    parking.put("a", owed("t", {1, 5}), 400);
    const std::vector<Owed> mine = parking.take("a");
    REQUIRE(mine.size() == 1);
    CHECK(mine[0].open == std::vector<feed::Seq>{1, 3, 5});
}

TEST_CASE("parking: many sessions end a few at a time") {
    Parking parking(1 << 20);
    for (int i = 0; i < 200; i++) {
        parking.put("client" + std::to_string(i), owed("t", {1}), 100);
    }
    int ended = 0;
    CHECK(parking.sweep(100, [&](const Owed&) { ended++; }));
    CHECK(ended == 64);
    CHECK(swept(parking, 100).size() == 136);
    CHECK(parking.held_bytes() == 0);
}

TEST_CASE("parking: when memory is short the sessions end first that would end first") {
    Parking parking(4096);
    for (int i = 0; i < 50; i++) {
        parking.put("client" + std::to_string(i), owed(std::to_string(i), {1, 2, 3}), 100);
    }
    const std::vector<std::string> gone = swept(parking, 0);
    CHECK(gone.size() > 20);
    CHECK(gone.front() == "0");
    CHECK(parking.held_bytes() <= 4096);
    CHECK(parking.size() + gone.size() == 50);
    CHECK(parking.take("client49").size() == 1);
}
