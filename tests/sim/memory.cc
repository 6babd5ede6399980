// Worlds in which memory is short: who may be turned away or cut for it, and that all is well again
// when it is not.

#include <algorithm>

#include "tests/sim/world.h"

namespace ringcast::sim {

namespace {

constexpr Nanos ms = nanos_per_ms;
constexpr Nanos given_back = 5'000 * ms;  // what sessions hold is counted anew with their timers
constexpr Nanos prompt = 400 * ms;        // as in world.cc

}  // namespace

bool World::refused(io::LinkId link) const {
    const Nanos at = net_.link(link).accepted_at;
    return std::binary_search(short_at_.begin(), short_at_.end(), at);
}

bool World::was_cut() {
    if (mourned_ >= cut_) return false;
    mourned_++;
    return true;
}

// Clients were cut in this turn: history went before them.
void World::feel_pressure(const Slot& slot, std::uint64_t cut_before) {
    cut_ += slot.shard->counters().memory_cut - cut_before;
    net_.count_fault();
    note("the server cuts " + std::to_string(slot.shard->counters().memory_cut - cut_before));
    if (options_.keyed) return;  // keys have no history
    if (slot.shard->audit().log_bytes > options_.logs_floor) {
        fail("clients were cut while there was history to give up");
    }
}

// The pressure is gone, so whoever comes is let in, and hears what is published.
void World::welcome_more() {
    run_until(now() + given_back);
    if (mesh_->budget().pressure() >= node::Pressure::refuse) {
        fail("memory is short although nobody holds much");
        return;
    }
    for (std::uint32_t shard = 0; shard < options_.shards && !full(); shard++) {
        Plan plan = draw_plan();
        plan.kind = Kind::good;
        plan.raw = false;
        plan.who = none;
        plan.reactor = shard;
        add_client(plan).come_late();
    }
    settle(prompt + options_.flush_interval, "newcomers are not let in");
}

}  // namespace ringcast::sim
