#include "node/session.h"

#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::node;

TEST_CASE("session: one table says what may follow what") {
    constexpr State states[] = {State::accepted,
                                State::handshaking,
                                State::open,
                                State::closing,
                                State::draining,
                                State::gone};
    constexpr std::string_view table[] = {
        // accepted handshaking open closing draining gone
        ".h..d.",  // accepted
        "..ocd.",  // handshaking
        "...cd.",  // open
        "....d.",  // closing
        ".....g",  // draining
        "a.....",  // gone
    };
    for (std::size_t from = 0; from < 6; from++) {
        for (std::size_t to = 0; to < 6; to++) {
            CAPTURE(from);
            CAPTURE(to);
            CHECK(may_become(states[from], states[to]) == (table[from][to] != '.'));
        }
    }
}

TEST_CASE("session: a list of subscriptions is a vector whose last entry fills the hole") {
    for (std::uint64_t seed = 1; seed <= 50; seed++) {
        CAPTURE(seed);
        Random random(seed);
        SubscriptionList list;
        std::vector<std::uint32_t> model;
        for (std::uint32_t step = 0; step < 2000; step++) {
            const bool grow = random.chance(model.size() < 40 ? 2 : 1, 3);
            if (grow || model.empty()) {
                const std::uint32_t link =
                    list.add({.topic = step, .row = step * 3, .lane = feed::LaneKind::raw});
                model.push_back(step);
                CHECK(link == model.size() - 1);
            } else {
                const auto link = static_cast<std::uint32_t>(random.below(model.size()));
                list.remove(link);
                model[link] = model.back();
                model.pop_back();
            }
            REQUIRE(list.size() == model.size());
            for (std::uint32_t i = 0; i < model.size(); i++) {
                REQUIRE(list[i].topic == model[i]);
                REQUIRE(list[i].row == model[i] * 3);
            }
        }
    }
}

TEST_CASE("session: a client may have as many subscriptions as the flag allows at most") {
    SubscriptionList list;
    for (std::uint32_t i = 0; i < 65'535; i++) {
        REQUIRE(list.add({.topic = i}) == i);
    }
    CHECK(list.size() == 65'535);
    CHECK(list[65'534].topic == 65'534);
    list.remove(0);
    CHECK(list[0].topic == 65'534);
}

TEST_CASE("session: the name of a client is within its user") {
    Session session;
    CHECK(scoped_name(session, "c") == "c");
    session.identity = std::make_unique<Identity>();
    session.identity->claims.user = "ann";
    CHECK(scoped_name(session, "c") == "ann\tc");
    session.identity->claims.user = std::string(wire::jwt_user_size_max, 'u');
    CHECK(scoped_name(session, std::string(wire::id_size_max, 'c')).size() == scoped_name_size_max);
}
