#pragma once

// How much memory the server may come to use, computed from its limits before it starts.
//
// Two parts. What is *fixed* is reckoned at its worst, whether it is ever used or not: tables, the
// connections, buffers, mail. What clients make *grow* (logs, messages that are not complete,
// answers that nobody reads, subscriptions, topics) has a worst case, too, but one that is mostly
// absurd: every client with half a message, an outbox that is full and all its subscriptions. So
// these share a *room*, which is what the fixed part leaves of the memory there is, and
// node/budget.h sees at run time that they stay in it.
//
// The kernel's sockets are not in any sum: they are estimated apart.
//
// Everything here is a function of its arguments. Any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ringcast/config.h"

namespace ringcast::node {

// What is known of the machine, and what was settled by it.
struct MemoryFacts {
    std::uint64_t machine = 0;  // its memory, or the limit of a cgroup
    bool of_cgroup = false;
    std::uint64_t connections_max = 0;  // as the file limit has it
    std::size_t arena_size = 0;         // of one shard's logs
};

struct MemoryRow {
    const char* name;
    std::uint64_t bytes;  // UINT64_MAX: so many that it does not matter
    std::string how;      // "2 x 128MiB"
    const char* flag;     // what to lower; null: nothing
};

struct MemoryPlan {
    std::vector<MemoryRow> fixed;
    std::vector<MemoryRow> growing;     // the first row is the logs
    std::uint64_t limit = 0;            // --memory-max, or what stands for it
    std::uint64_t fixed_size = 0;       // sum of `fixed`
    std::uint64_t growing_size = 0;     // sum of `growing`
    std::uint64_t room = 0;             // for what grows, without what the allocator needs itself
    std::uint64_t room_min = 0;         // less is not enough to start with
    std::uint64_t logs_floor = 0;       // of one shard, whatever clients hold
    std::uint64_t mail_max = 0;         // --mail-max, or less: see "mail"
    std::uint64_t connections_max = 0;  // --connections-max, or what a quarter of `limit` has
    std::uint64_t sockets = 0;          // the kernel's, for so many clients that do nothing
    std::string source;                 // of `limit`: "3/4 of this machine's 2048MiB"
    std::string problem;                // not empty: it does not fit; which flag to lower
};

// Precondition: check(config) is empty, config.shards is settled.
[[nodiscard]] MemoryPlan plan_memory(const Config& config, const MemoryFacts& facts) noexcept;

// For the log, one a line.
[[nodiscard]] std::vector<std::string> describe(const MemoryPlan& plan) noexcept;

}  // namespace ringcast::node
