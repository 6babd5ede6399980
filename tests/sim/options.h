#pragma once

// What one seed decides before its world begins: the server's configuration, the network's weather
// and who the clients are. Swarm testing: every probability is itself drawn, and many faults are
// off in any one world, so that rare ones meet in odd company.

#include <cstdint>

#include "ringcast/config.h"

#include "base/time.h"
#include "io/sim_net.h"
#include "io/sim_random.h"

namespace ringcast::sim {

// From the command line; 0: the seed decides.
struct Wishes {
    std::uint32_t connections = 0;
    std::uint32_t shards = 0;
    std::uint32_t topics = 0;
    bool trace = false;           // tell on standard error what the clients see
    io::SimTape* tape = nullptr;  // records the world, or plays it: then the seed is on it
};

struct Options {
    std::uint64_t seed = 0;
    Config config;
    std::uint32_t shards = 1;
    std::uint32_t connections = 8;       // clients of the first phase
    std::uint32_t connections_max = 64;  // that the server takes
    std::uint32_t topics = 1;
    std::size_t arena_size = 0;
    io::SimChances chances;

    Nanos storm = 0;      // how long the first phase lasts
    Nanos delay_max = 0;  // of a link, one way
    std::size_t window_max = 0;
    std::size_t body_max = 0;  // of a published payload

    // Of 1024, each time the schedule has the choice.
    std::uint32_t spurious_wake = 0;
    std::uint32_t stall = 0;         // one shard stands still for a while
    std::uint32_t process_stop = 0;  // all of them do
    Nanos stall_max = 0;
    // Of 1024 answered pings: the process stops, for longer than a pong may take, while the answer
    // is on its way.
    std::uint32_t stop_at_pong = 0;
    // Of 1024 a second and link.
    std::uint32_t clog = 0;
    std::uint32_t hole = 0;
    std::uint32_t cut = 0;
    std::uint32_t wall_jump = 0;

    // How many of 1024 clients are of each kind; the rest are good.
    std::uint32_t slow = 0;
    std::uint32_t silent = 0;
    std::uint32_t slow_handshake = 0;
    std::uint32_t flooder = 0;
    std::uint32_t liar = 0;
    std::uint32_t half_closer = 0;
    std::uint32_t leaver = 0;
    // Of 1024: those with a client_id, and those who come back under another one.
    std::uint32_t named = 256;
    std::uint32_t renamed = 0;

    // Topics (the first ones) that are durable; of 1024 batches how many fail, or take long.
    std::uint32_t durable = 0;
    std::uint32_t disk_fault = 0;
    std::uint32_t disk_stall = 0;

    std::uint32_t wildcards = 0;  // of 1024 who may: those who subscribe to a pattern
    // How often the server crashes in the storm, and is started anew on what the disk has; about so
    // many turns pass in between.
    std::uint32_t crashes = 0;
    std::uint32_t crash_turns = 0;

    // Of 1024 times that a client does something: it asks what there was, and who is there.
    std::uint32_t questions = 0;
    bool presence = false;  // topics have it

    std::uint32_t compress = 0;  // of 1024 who may: those who take and send what is compressed
    std::uint32_t acks = 0;      // of 1024 who may: those who acknowledge what they get
    Nanos flush_interval = 0;    // of all topics
    // Memory for what grows (node/budget.h), and of it what the logs of a shard keep. 0: endless.
    std::uint64_t room = 0;
    std::uint64_t logs_floor = 0;

    bool keyed = false;    // topics keep the latest record of each key
    bool repeats = false;  // publishers say again what was not acknowledged
    bool stop_under_load = false;
    bool trace = false;
    io::SimTape* tape = nullptr;

    [[nodiscard]] static Options draw(std::uint64_t seed, const Wishes& wishes);
};

}  // namespace ringcast::sim
