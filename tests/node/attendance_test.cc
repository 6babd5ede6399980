#include "node/attendance.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::node;

TEST_CASE("attendance: a client is one entry, whatever it has of subscriptions") {
    Attendance list(10);
    list.join("a", R"({"x":1})", 5);
    list.join("a", "", 6);
    CHECK(list.count() == 1);
    CHECK(list.entries().at("a").since_s == 5);
    CHECK(list.entries().at("a").info == R"({"x":1})");
    list.join("a", "2", 7);
    list.leave("a");
    list.leave("a");
    CHECK(list.count() == 1);
    CHECK(list.entries().at("a").info == "2");
    list.leave("a");
    CHECK(list.count() == 0);
    CHECK(list.held_bytes() == 0);
}

TEST_CASE("attendance: of whoever came or went, what is now is told") {
    Attendance list(10);
    list.join("old", "", 1);
    CHECK(!list.changed());  // nobody watches
    list.watch(true);
    list.leave("old");
    list.join("old", "", 2);
    list.join("new", "", 2);
    list.leave("new");
    CHECK(list.changes().size() == 2);
    CHECK(list.changes().at("old"));
    CHECK(!list.changes().at("new"));
    list.forget_changes();
    CHECK(!list.changed());
}

TEST_CASE("attendance: too many changes are only said to be too many") {
    Attendance list(5000);
    list.watch(true);
    for (std::size_t i = 0; i < Attendance::changes_max; i++)
        list.join(std::to_string(i), "", 1);
    CHECK(list.changes().size() == Attendance::changes_max);
    CHECK(!list.too_many_changes());
    list.join("one", "", 1);
    CHECK(list.too_many_changes());
    CHECK(list.changed());
    CHECK(list.changes().empty());
    list.forget_changes();
    list.leave("one");
    CHECK(list.changes().size() == 1);
}

TEST_CASE("attendance: a subscription may go on under another name") {
    Attendance list(2);
    list.watch(true);
    list.join("a", "1", 5);
    list.join("a", "", 6);
    list.join("b", "2", 7);
    list.join("c", "3", 8);  // there is no room for it
    list.forget_changes();
    list.rename("a", "ann", "", 9);
    CHECK(list.entries().at("a").subscriptions == 1);
    CHECK(list.unlisted() == 2);
    list.rename("b", "bob", "", 10);
    CHECK(list.entries().at("bob").info == "2");
    CHECK(list.entries().at("bob").since_s == 10);
    CHECK(list.changes().at("b") == false);
    CHECK(list.changes().at("bob") == true);
    list.rename("a", "bob", "4", 11);  // what its token says stands above
    CHECK(list.entries().size() == 1);
    CHECK(list.entries().at("bob").info == "4");
    CHECK(list.entries().at("bob").subscriptions == 2);
    list.rename("c", "cat", "", 12);
    CHECK(list.entries().contains("cat"));
    CHECK(list.count() == 3);
    CHECK(list.unlisted() == 1);
}

TEST_CASE("attendance: a random walk against sets") {
    for (std::uint64_t seed = 1; seed <= 200; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const std::uint64_t listed_max = random.between(1, 12);
        Attendance list(listed_max);
        std::vector<std::string> subscriptions;
        std::set<std::string> told;  // what a watcher that applies each update believes
        bool watched = false;
        for (int step = 0; step < 400; step++) {
            if (random.chance(1, 40)) {
                watched = random.chance(1, 2);
                list.watch(watched);
                told.clear();
                for (const auto& entry : list.entries())
                    told.insert(entry.first);
            }
            if (subscriptions.empty() || random.chance(1, 2)) {
                const std::string client = "c" + std::to_string(random.below(16));
                subscriptions.push_back(client);
                list.join(client, random.chance(1, 2) ? "1" : "", 1);
            } else if (random.chance(1, 4)) {
                const std::size_t at = random.below(subscriptions.size());
                const std::string client = "c" + std::to_string(random.below(16));
                list.rename(subscriptions[at], client, random.chance(1, 2) ? "22" : "", 1);
                subscriptions[at] = client;
            } else {
                const std::size_t at = random.below(subscriptions.size());
                list.leave(subscriptions[at]);
                subscriptions[at] = subscriptions.back();
                subscriptions.pop_back();
            }
            std::uint64_t listed = 0;
            for (const auto& entry : list.entries()) {
                listed += entry.second.subscriptions;
                REQUIRE(std::count(subscriptions.begin(), subscriptions.end(), entry.first) >=
                        static_cast<std::ptrdiff_t>(entry.second.subscriptions));
            }
            REQUIRE(list.entries().size() <= listed_max);
            REQUIRE(listed + list.unlisted() == subscriptions.size());
            if (list.unlisted() == 0) {
                const std::set<std::string> clients(subscriptions.begin(), subscriptions.end());
                REQUIRE(clients.size() == list.count());
            }
            if (!watched) {
                REQUIRE(!list.changed());
                continue;
            }
            if (!random.chance(1, 5)) continue;
            for (const auto& [client, present] : list.changes()) {
                if (present) {
                    told.insert(client);
                } else {
                    told.erase(client);
                }
            }
            list.forget_changes();
            std::set<std::string> now;
            for (const auto& entry : list.entries())
                now.insert(entry.first);
            REQUIRE(told == now);
        }
        list.watch(false);
        for (const std::string& client : subscriptions)
            list.leave(client);
        REQUIRE(list.count() == 0);
        REQUIRE(list.held_bytes() == 0);
    }
}
