#pragma once

// Whole shards on fake reactors, stepped by hand in one thread, and clients that speak to them in
// bytes. What happens is a function of the seed alone.

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/hash.h"
#include "node/shard.h"
#include "tests/support/fake_reactor.h"
#include "tests/support/json.h"
#include "tests/support/peer.h"

namespace ringcast::node::test {

using ringcast::test::client_close;
using ringcast::test::client_frame;
using ringcast::test::FakeReactor;
using ringcast::test::FakeSocket;
using ringcast::test::Frame;
using ringcast::test::Json;
using ringcast::test::Op;
using ringcast::test::Peer;
using ringcast::test::upgrade_request;
using ringcast::test::VirtualClock;

// A client of some shard, and what it has read so far.
struct Client {
    FakeSocket* socket = nullptr;
    Peer peer;

    void say(std::string_view envelope) { socket->say(client_frame(Op::text, envelope)); }
    void read() {
        peer.feed(socket->take());
        CHECK_MESSAGE(peer.fault.empty(), peer.fault);
    }
    // The frames that came since the last call.
    [[nodiscard]] std::vector<Frame> take() {
        read();
        return peer.take();
    }
    // The payload of the only one; empty if it is not the only one.
    [[nodiscard]] std::string take_one() {
        const std::vector<Frame> frames = take();
        CHECK(frames.size() == 1);
        return frames.size() == 1 ? frames.front().payload : std::string();
    }
    [[nodiscard]] std::uint16_t close_code() {
        read();
        return peer.close_code();
    }
};

class Cluster {
  public:
    explicit Cluster(const Config& config,
                     std::uint32_t shard_count = 1,
                     std::uint64_t seed = 1,
                     std::uint32_t connections_max = 200,
                     std::size_t arena_size = 1024 * 1024,
                     const Storage* storage = nullptr,
                     const LogSink& log = {},
                     const SealKeys* seal_keys = nullptr)
        : hash_seed(seed),
          random(seed),
          mesh(shard_count, config.mail_max),
          quotas(config, connections_max, seed) {
        for (std::uint32_t index = 0; index < shard_count; index++) {
            auto memory = io::MemFile::create("test", arena_size);
            auto parser = wire::EnvelopeParser::make(config.message_max);
            REQUIRE(memory.ok());
            REQUIRE(parser.ok());
            auto reactor = std::make_unique<FakeReactor>(
                clock, seed * 64 + index, Shard::capacity_for(connections_max));
            reactors.push_back(reactor.get());
            shards.push_back(std::make_unique<Shard>(config,
                                                     ShardSetup{.index = index,
                                                                .connections_max = connections_max,
                                                                .table_size = connections_max,
                                                                .hash_seed = seed,
                                                                .arena_size = arena_size,
                                                                .storage = storage,
                                                                .seal_keys = seal_keys,
                                                                .quotas = &quotas,
                                                                .log = log},
                                                     mesh,
                                                     std::move(memory).value(),
                                                     std::move(reactor),
                                                     std::move(parser).value()));
        }
    }

    // A connection that has said nothing yet.
    Client& dial(std::uint32_t shard = 0) {
        clients.emplace_back().socket = &reactors[shard]->accept();
        return clients.back();
    }
    // ... that asked for a WebSocket, and had its answer.
    Client& connect(std::string_view target = "/ws",
                    std::uint32_t shard = 0,
                    std::string_view extensions = {}) {
        Client& client = dial(shard);
        client.socket->say(upgrade_request(target, extensions));
        settle();
        client.read();
        return client;
    }
    // An open envelope client whose welcome has been read.
    Client& greet(std::uint32_t shard = 0, std::string_view target = "/ws") {
        Client& client = connect(target, shard);
        REQUIRE(client.peer.status == 101);
        CHECK(Json(client.take_one()).text("type") == "welcome");
        return client;
    }

    // A topic's name whose home is `shard`.
    [[nodiscard]] std::string topic_at(std::uint32_t shard, std::string_view prefix = "t") const {
        for (int i = 0;; i++) {
            std::string name = std::string(prefix) + std::to_string(i);
            if ((hash_bytes(as_bytes(name), hash_seed) >> 32) % shards.size() == shard) return name;
        }
    }

    void turn(std::uint32_t shard) { shards[shard]->turn(); }
    // Turns of all until nothing happens any more.
    void settle() {
        int quiet = 0;
        for (int i = 0; i < 20'000 && quiet < 4; i++) {
            std::uint64_t before = 0;
            std::uint64_t after = 0;
            bool idle = true;
            for (std::uint32_t shard = 0; shard < shards.size(); shard++) {
                before += reactors[shard]->slices();
                turn(shard);
                after += reactors[shard]->slices();
                idle = idle && reactors[shard]->was_idle();
            }
            quiet = idle && before == after ? quiet + 1 : 0;
        }
        REQUIRE(quiet == 4);
        for (const std::unique_ptr<Shard>& shard : shards) {
            static_cast<void>(shard->audit());
        }
    }
    // Time passes while all shards run: none of them is ever late.
    void advance(Nanos span) {
        while (span > 0) {
            const Nanos step = std::min(span, tick_length);
            clock.advance(step);
            settle();
            span -= step;
        }
    }

    std::uint64_t hash_seed;
    Random random;
    VirtualClock clock;
    Mesh mesh;
    Quotas quotas;
    std::vector<FakeReactor*> reactors;
    std::vector<std::unique_ptr<Shard>> shards;
    std::deque<Client> clients;
};

// By a reset, or by a close frame.
inline void leave_somehow(Client& client, Random& random) {
    if (random.chance(1, 2)) {
        client.socket->reset();
    } else {
        client.socket->say(client_close(1000));
    }
}

// Anybody may publish; without the rest of --dev.
inline Config open_config() {
    Config config;
    config.anonymous_publish = true;
    return config;
}

}  // namespace ringcast::node::test
