#include "ledger.h"

#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::tools;

namespace {

constexpr std::uint64_t epoch = 7;
constexpr std::uint64_t before = 100;  // the topic's newest offset when all begin

// One topic with one reader that has begun, and messages 0, 1, ... at offsets 101, 102, ...
struct World {
    World() { ledger.subscribed(place, {.offset = before, .epoch = epoch}); }

    void publish(std::uint64_t count) {
        for (; count > 0; count--) {
            const std::uint64_t seq = ledger.make(0);
            ledger.acknowledged(0, seq, {.offset = before + 1 + seq, .epoch = epoch});
        }
    }
    void deliver(std::uint64_t offset) { ledger.record(place, offset, offset - before - 1); }
    void come_back(std::uint64_t offset, bool recovered) {
        ledger.subscribed(place, {.offset = offset, .epoch = epoch, .recovered = recovered});
    }
    [[nodiscard]] const LedgerCounts& counts() const { return ledger.counts(); }

    Ledger ledger{1};
    Ledger::Place place;
};

struct Row {
    const char* name;
    void (*fault)(World& world);
    std::uint64_t LedgerCounts::*counter;
    std::uint64_t count;
};
// Five messages were published, and the first two delivered.
const Row rows[] = {
    {"lost: connection 0", [](World& world) { world.deliver(104); }, &LedgerCounts::lost, 1},
    {"lost: connection 0",
     [](World& world) { world.ledger.give_up(world.place); },
     &LedgerCounts::lost,
     3},
    {"lost: connection 0",
     [](World& world) {  // no gap for what it said it could not recover
         world.come_back(105, false);
         world.ledger.give_up(world.place);
     },
     &LedgerCounts::lost,
     3},
    {"lost: connection 0",
     [](World& world) { world.ledger.gap(world.place, {.from = 104, .to = 105, .next = 106}); },
     &LedgerCounts::lost,
     1},
    {"duplicated: connection 0",
     [](World& world) { world.deliver(102); },
     &LedgerCounts::duplicated,
     1},
    {"published twice: connection 0",
     [](World& world) {
         for (const std::uint64_t offset : {103U, 104U, 105U})
             world.deliver(offset);
         world.ledger.record(world.place, 106, world.ledger.make(0) - 5);
     },
     &LedgerCounts::twice,
     1},
    {"published twice: connection 0",
     [](World& world) { world.ledger.acknowledged(0, 4, {.offset = 106, .epoch = epoch}); },
     &LedgerCounts::twice,
     1},
    {"two messages under one offset: connection 0",
     [](World& world) { world.ledger.acknowledged(0, 2, {.offset = 101, .epoch = epoch}); },
     &LedgerCounts::wrong,
     1},
    {"no message of ours: connection 0",
     [](World& world) { world.ledger.record(world.place, 103, 5); },
     &LedgerCounts::wrong,
     1},
    {"no message of ours: connection 0",
     [](World& world) { world.ledger.acknowledged(0, 1, {.offset = 100, .epoch = epoch}); },
     &LedgerCounts::wrong,
     1},
    {"an offset that cannot be: connection 0",
     [](World& world) { world.ledger.record(world.place, 5000, 2); },
     &LedgerCounts::wrong,
     1},
    {"an ack from another epoch: connection 0",
     [](World& world) { world.ledger.acknowledged(0, 4, {.offset = 105, .epoch = 8}); },
     &LedgerCounts::wrong,
     1},
    {"another epoch: connection 0",
     [](World& world) { world.ledger.subscribed(world.place, {.offset = 105, .epoch = 8}); },
     &LedgerCounts::wrong,
     1},
    {"recovered from somewhere else: connection 0",
     [](World& world) { world.come_back(103, true); },
     &LedgerCounts::wrong,
     1},
    {"the server knows less than before: connection 0",
     [](World& world) { world.come_back(101, false); },
     &LedgerCounts::wrong,
     1},
    {"a wrong gap: connection 0",
     [](World& world) { world.ledger.gap(world.place, {.from = 102, .to = 104, .next = 105}); },
     &LedgerCounts::wrong,
     1},
    {"a wrong gap: connection 0",
     [](World& world) { world.ledger.gap(world.place, {.from = 103, .to = 104, .next = 106}); },
     &LedgerCounts::wrong,
     1},
    {"a wrong gap: connection 0",
     [](World& world) { world.ledger.gap(world.place, {.from = 103, .to = 106, .next = 107}); },
     &LedgerCounts::wrong,
     1},
};

}  // namespace

TEST_CASE("ledger: what was missed comes, or is told, and all is sound") {
    World world;
    world.publish(10);
    world.deliver(101);
    world.deliver(102);
    CHECK(world.ledger.owed(world.place) == 8);
    world.come_back(102, true);
    CHECK(world.counts().made_up == 8);
    world.deliver(103);
    world.come_back(110, false);
    world.ledger.gap(world.place, {.from = 104, .to = 110, .next = 111});
    CHECK(world.ledger.owed(world.place) == 0);
    world.publish(1);
    world.deliver(111);
    world.ledger.give_up(world.place);
    CHECK(world.ledger.sound());
    CHECK(world.counts().delivered == 4);
    CHECK(world.counts().recovered == 1);
    CHECK(world.counts().gaps == 1);
    CHECK(world.counts().told == 7);
}

TEST_CASE("ledger: a gap of nothing is sound") {
    World world;
    world.come_back(before, false);
    world.ledger.gap(world.place, {.from = 101, .to = 100, .next = 101});
    CHECK(world.ledger.sound());
    CHECK(world.counts().told == 0);
}

TEST_CASE("ledger: a record may come before the ack of its message") {
    World world;
    const std::uint64_t seq = world.ledger.make(0);
    world.deliver(before + 1 + seq);
    world.ledger.acknowledged(0, seq, {.offset = before + 1 + seq, .epoch = epoch});
    CHECK(world.ledger.sound());
}

TEST_CASE("ledger: each fault of a server is found, and named once") {
    for (const Row& row : rows) {
        World world;
        world.publish(5);
        world.deliver(101);
        world.deliver(102);
        REQUIRE(world.ledger.sound());
        row.fault(world);
        CAPTURE(row.name);
        CHECK_FALSE(world.ledger.sound());
        CHECK(world.counts().*row.counter == row.count);
        CHECK(world.ledger.first_offence() == row.name);
    }
}

TEST_CASE("ledger: who never subscribed can have neither records nor gaps, nor anything before") {
    Ledger ledger(2);
    Ledger::Place place{.topic = 1, .id = 9};
    ledger.record(place, 1, 0);
    CHECK(ledger.first_offence() == "a record before `subscribed`: connection 9");
    ledger.gap(place, {.from = 1, .to = 0, .next = 1});
    ledger.subscribed(place, {.offset = 0, .epoch = epoch, .recovered = true});
    CHECK(ledger.counts().wrong == 3);
    CHECK(ledger.owed(place) == 0);
}

// A right server, whatever it keeps, and readers that come and go: nothing is ever found. One
// record left out of what a reader gets: it is.
TEST_CASE("ledger: a random walk") {
    for (std::uint64_t seed = 0; seed < 300; seed++) {
        CAPTURE(seed);
        Random random(seed);
        Ledger ledger(1);
        std::vector<Ledger::Place> places(3);
        std::vector<bool> there(places.size());
        std::uint64_t head = before;
        std::uint64_t acked = 0;
        std::uint64_t theft = random.chance(1, 2) ? random.between(1, 40) : 0;
        bool stolen = false;
        for (Ledger::Place& place : places) {
            place.id = static_cast<std::uint32_t>(&place - places.data());
            ledger.subscribed(place, {.offset = before, .epoch = epoch});
            there[place.id] = true;
        }
        for (int step = 0; step < 400; step++) {
            const std::uint64_t kept = before + 1 + (head - before) / 2;
            Ledger::Place& place = places[random.below(places.size())];
            const std::uint64_t action = random.below(8);
            if (action < 2) {
                ledger.make(0);
                head++;
            } else if (action == 2 && acked < head - before) {
                ledger.acknowledged(0, acked, {.offset = before + 1 + acked, .epoch = epoch});
                acked++;
            } else if (action == 3) {
                there[place.id] = false;
            } else if (action == 4 && !there[place.id]) {
                there[place.id] = true;
                const bool recovered = place.next >= kept;
                const std::uint64_t offset = recovered ? place.next - 1 : head;
                ledger.subscribed(place,
                                  {.offset = offset, .epoch = epoch, .recovered = recovered});
                if (!recovered) {
                    ledger.gap(place, {.from = place.next, .to = head, .next = head + 1});
                }
            } else if (there[place.id] && place.next <= head) {
                const bool now = theft > 0 && --theft == 0 && place.next < head;
                stolen = stolen || now;
                const std::uint64_t offset = place.next + (now ? 1 : 0);
                ledger.record(place, offset, offset - before - 1);
            }
        }
        CHECK(ledger.sound() == !stolen);
        CHECK(ledger.counts().lost == (stolen ? 1 : 0));
    }
}
