#include "node/registry.h"

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "node/close_codes.h"
#include "tests/node/rig.h"

using namespace ringcast;
using namespace ringcast::node;
using namespace ringcast::node::test;

namespace {

constexpr std::uint64_t seed_of_hash = 99;

// A shard with sessions and a registry, and nothing else.
struct Place {
    Place(std::uint32_t shard, Mesh& mesh)
        : rig(Config()),
          registry(rig.config, shard, seed_of_hash, mesh, rig.sessions),
          index(shard) {}

    FakeSocket& join(const std::string& id) {
        FakeSocket& socket = rig.connect_open();
        claim(socket, id);
        return socket;
    }
    void claim(const FakeSocket& socket, const std::string& id) {
        rig.sessions[socket.conn].client_id = std::make_unique<std::string>(id);
        registry.claim(socket.conn);
    }
    // It was anonymous, and is that user's now.
    void rename(const FakeSocket& socket, const std::string& user) {
        Session& session = rig.sessions[socket.conn];
        const std::string former = scoped_name(session, *session.client_id);
        session.identity = std::make_unique<Identity>();
        session.identity->claims.user = user;
        registry.rename(socket.conn, former);
    }
    // As the shard does when a session leaves.
    void drop(FakeSocket& socket) {
        registry.release(socket.conn);
        rig.sessions.abort(socket.conn);
        rig.turn();
        rig.turn();
    }
    [[nodiscard]] bool open(const FakeSocket& socket) {
        return socket.live && rig.sessions[socket.conn].state == State::open;
    }

    Rig rig;
    Registry registry;
    std::uint32_t index;
};

struct World {
    explicit World(std::uint32_t shards) : mesh(shards, 1000) {
        for (std::uint32_t shard = 0; shard < shards; shard++)
            places.push_back(std::make_unique<Place>(shard, mesh));
    }
    bool take_one(std::uint32_t shard) {
        const std::unique_ptr<Mail> mail = mesh.take(shard);
        if (mail == nullptr) return false;
        places[shard]->registry.receive(*mail);
        return true;
    }
    void settle() {
        for (bool more = true; more;) {
            more = false;
            for (const auto& place : places)
                more = take_one(place->index) || more;
        }
    }
    // One clock for all of them.
    void advance(Nanos span) {
        for (const auto& place : places)
            place->rig.clock.advance(span);
    }
    [[nodiscard]] std::size_t holders() const {
        std::size_t sum = 0;
        for (const auto& place : places)
            sum += place->registry.size();
        return sum;
    }

    Mesh mesh;
    std::vector<std::unique_ptr<Place>> places;
};

struct Member {
    Place* place = nullptr;
    FakeSocket* socket = nullptr;
    std::string id;
    bool dropped = false;
    bool claimed = true;
};

}  // namespace

TEST_CASE("registry: the newest connection of an id wins, the older one is told 4501") {
    for (std::uint32_t older = 0; older < 3; older++) {
        for (std::uint32_t newer = 0; newer < 3; newer++) {
            CAPTURE(older);
            CAPTURE(newer);
            World world(3);
            FakeSocket& first = world.places[older]->join("me");
            FakeSocket& other = world.places[older]->join("you");
            world.settle();
            FakeSocket& second = world.places[newer]->join("me");
            world.settle();
            CHECK(!world.places[older]->open(first));
            CHECK(world.places[older]->open(other));
            CHECK(world.places[newer]->open(second));
            world.places[older]->rig.settle();
            ringcast::test::Peer peer(true);
            peer.feed(first.take());
            CHECK(peer.close_code() == close_codes::replaced);
            CHECK(world.holders() == 2);
        }
    }
}

// Its client gave up during the handshake, and what it had said came after its next connection.
TEST_CASE("registry: who was accepted earlier and claims later is the older one") {
    for (std::uint32_t older = 0; older < 3; older++) {
        for (std::uint32_t newer = 0; newer < 3; newer++) {
            CAPTURE(older);
            CAPTURE(newer);
            World world(3);
            FakeSocket& first = world.places[older]->rig.connect_open();
            if (older != newer) world.advance(1);  // on one shard their order is enough
            FakeSocket& second = world.places[newer]->join("me");
            world.settle();
            world.places[older]->claim(first, "me");
            world.settle();
            CHECK(!world.places[older]->open(first));
            CHECK(world.places[newer]->open(second));
            world.places[older]->drop(first);
            world.settle();
            CHECK(world.holders() == 1);
        }
    }
}

TEST_CASE("registry: the release of an older connection does not drop a newer one") {
    for (std::uint32_t newer = 0; newer < 2; newer++) {
        CAPTURE(newer);
        World world(2);
        FakeSocket& first = world.places[0]->join("me");
        world.settle();
        FakeSocket& second = world.places[newer]->join("me");
        world.places[0]->drop(first);  // its release meets the newer claim under way
        world.settle();
        CHECK(world.holders() == 1);
        FakeSocket& third = world.places[1]->join("me");
        world.settle();
        CHECK(!world.places[newer]->open(second));  // it was still known
        CHECK(world.places[1]->open(third));
        world.places[1]->drop(third);
        world.settle();
        CHECK(world.holders() == 0);
    }
}

TEST_CASE("registry: an eviction that comes late meets nobody else in that slot") {
    World world(2);
    FakeSocket& first = world.places[0]->join("me");
    world.settle();
    world.places[1]->join("me");
    world.places[0]->drop(first);
    FakeSocket& next = world.places[0]->join("somebody");
    REQUIRE(next.conn == first.conn);
    world.settle();
    CHECK(world.places[0]->open(next));
}

TEST_CASE("registry: who becomes a user's takes its id along, and leaves it to others") {
    for (std::uint32_t shards = 1; shards <= 3; shards++) {
        for (const bool late : {false, true}) {
            CAPTURE(shards);
            CAPTURE(late);
            World world(shards);
            FakeSocket& first = world.places[0]->join("me");
            world.settle();
            world.advance(1);
            Place& elsewhere = *world.places[shards - 1];
            if (late && shards > 1) {  // the eviction is under way when it has another name already
                FakeSocket& second = elsewhere.join("me");
                world.places[0]->rename(first, "ann");
                world.settle();
                CHECK(elsewhere.open(second));
            } else {
                world.places[0]->rename(first, "ann");
                FakeSocket& second = elsewhere.join("me");
                world.settle();
                CHECK(elsewhere.open(second));
            }
            CHECK(world.places[0]->open(first));
            CHECK(world.holders() == 2);

            world.advance(1);
            FakeSocket& another = elsewhere.join("me");  // anonymous, and then bob's, then ann's
            elsewhere.rename(another, "bob");
            world.settle();
            CHECK(world.places[0]->open(first));
            world.advance(1);
            FakeSocket& newer = elsewhere.join("me");
            elsewhere.rename(newer, "ann");
            world.settle();
            CHECK_FALSE(world.places[0]->open(first));
            CHECK(elsewhere.open(newer));
            world.places[0]->drop(first);
            elsewhere.drop(another);
            elsewhere.drop(newer);
            world.settle();
            CHECK(world.holders() == 0);  // the anonymous ones had to make room for each other
        }
    }
}

TEST_CASE("registry: in any order of mail one connection an id stays, and no entry of the gone") {
    for (std::uint64_t seed = 1; seed <= 300; seed++) {
        CAPTURE(seed);
        Random random(seed);
        World world(static_cast<std::uint32_t>(random.between(1, 4)));
        std::vector<Member> members;
        for (int step = 0; step < 60; step++) {
            Place& place = *world.places[random.below(world.places.size())];
            world.advance(1);
            if (random.chance(1, 3)) {
                world.take_one(place.index);
            } else if (random.chance(2, 3) && members.size() < 30) {
                const std::string id = "id" + std::to_string(random.below(3));
                const bool claimed = random.chance(3, 4);
                FakeSocket& socket = claimed ? place.join(id) : place.rig.connect_open();
                members.push_back(
                    {.place = &place, .socket = &socket, .id = id, .claimed = claimed});
            } else if (!members.empty()) {
                Member& member = members[random.below(members.size())];
                if (!std::exchange(member.claimed, true)) {
                    member.place->claim(*member.socket, member.id);
                    continue;
                }
                if (!member.dropped) member.place->drop(*member.socket);
                member.dropped = true;
            }
        }
        world.settle();
        std::map<std::string, int> open;
        for (const Member& member : members) {
            if (member.claimed && !member.dropped && member.place->open(*member.socket))
                open[member.id]++;
        }
        for (const auto& entry : open) {
            CAPTURE(entry.first);
            CHECK(entry.second == 1);
        }
        CHECK(world.holders() == open.size());
    }
}
