// The servers of a world: it has one at a time. It may crash, and is started anew on what the disk
// has by then.

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "io/memfile.h"
#include "node/restore.h"
#include "tests/sim/world.h"
#include "wire/envelope.h"

namespace ringcast::sim {

namespace {

constexpr Nanos ms = nanos_per_ms;
constexpr std::uint64_t start_alarm = UINT64_MAX - 2;

[[nodiscard]] std::string epoch_text(std::uint64_t epoch) {
    char text[17];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(epoch));
    return text;
}

}  // namespace

void World::start() {
    const bool first = starts_.empty();
    mesh_ = std::make_unique<node::Mesh>(options_.shards, options_.config.mail_max);
    if (options_.room != 0) mesh_->budget().set_room(options_.room, options_.logs_floor);
    disk_.attach(*mesh_);
    Config endless = options_.config;
    endless.connections_per_address = 0;
    endless.connects_per_second = 0;
    endless.pending_per_address = 0;
    quotas_ = std::make_unique<node::Quotas>(endless, options_.connections_max, options_.seed);
    build_shards();
    starts_.push_back(now());
    if (!first) started_at_ = now();
    down_ = false;
    plan_crash();
    if (options_.durable == 0 || first) return;
    std::vector<node::Shard*> shards;
    for (const Slot& slot : slots_) {
        shards.push_back(slot.shard.get());
    }
    const node::Restored restored =
        node::restore(options_.config, disk_.store(), net_.wall(), shards);
    if (!restored.problem.empty()) fail("not started anew: " + restored.problem);
}

void World::build_shards() {
    const std::uint32_t capacity = node::Shard::capacity_for(options_.connections_max);
    for (std::uint32_t index = 0; index < options_.shards; index++) {
        auto memory = io::MemFile::create("sim", options_.arena_size);
        auto parser = wire::EnvelopeParser::make(options_.config.message_max);
        RC_CHECK(memory.ok());
        RC_CHECK(parser.ok());
        io::MemFile file = std::move(memory).value();
        auto reactor = std::make_unique<io::SimReactor>(
            net_,
            index,
            options_.seed * 64 + index + starts_.size() * 0x9e3779b97f4a7c15,
            io::ReactorOptions{
                .connections_max = capacity,
                .log_file = file.fd(),
                .sendfile_min = static_cast<std::uint32_t>(options_.config.sendfile_min)});
        Slot& slot = slots_[index];
        slot.busy_until = now();
        slot.done = false;
        net_.listen(index);
        slot.reactor = reactor.get();
        slot.shard = std::make_unique<node::Shard>(
            options_.config,
            node::ShardSetup{.index = index,
                             .connections_max = options_.connections_max,
                             .table_size = options_.connections_max,
                             .hash_seed = options_.seed + starts_.size(),
                             .arena_size = options_.arena_size,
                             .storage = options_.durable != 0 ? &disk_.storage() : nullptr,
                             .quotas = quotas_.get()},
            *mesh_,
            std::move(file),
            std::move(reactor),
            std::move(parser).value());
    }
}

const TopicRule* World::rule_of(std::uint32_t topic) const {
    for (const TopicRule& rule : options_.config.topic) {
        if (rule.pattern == ">" || rule.pattern == oracle_.topic_name(topic)) return &rule;
    }
    return nullptr;
}

std::uint64_t World::keeps_most(std::uint32_t topic) const {
    const TopicRule* rule = rule_of(topic);
    if (options_.wildcards != 0) return 0;  // a new one keeps all until patterns have brought it
    return rule == nullptr || rule->keyed ? 0 : rule->history;
}

// Unless there was no room for it, in its log or in the arena.
std::uint64_t World::keeps(std::uint32_t topic) const {
    const TopicRule* rule = rule_of(topic);
    if (rule == nullptr || rule->keyed || rule->history == 0 || rule->history_age != 0) return 0;
    const std::uint64_t most = rule->history * (options_.body_max * 4 / 3 + 500) * 2;
    if (most > rule->history_bytes || most > options_.config.topic_log_max) return 0;
    if (options_.room != 0) return 0;
    const bool plenty = std::all_of(slots_.begin(), slots_.end(), [](const Slot& slot) {
        return slot.shard != nullptr && slot.shard->evictions() == 0;
    });
    return plenty ? rule->history : 0;
}

void World::plan_crash() {
    crash_turn_ = never_;
    if (crashes_left_ == 0 || calm_) return;
    crashes_left_--;
    crash_turn_ = turns_ + doom_.between(1, std::uint64_t{2} * options_.crash_turns);
}

// In the middle of whatever it was about. Half of the time it is the process, whose sockets the
// kernel closes; else the machine, and then nobody gets what was under way.
void World::crash() {
    note("the server crashes");
    net_.count_fault();
    crash_turn_ = never_;
    down_ = true;
    look_at_disk();
    if (doom_.chance(1, 2)) {
        for (const Client& client : clients_) {
            if (!client.dialed() || net_.link(client.link()).conn == io::no_conn) continue;
            net_.disconnect(client.link(), io::server_side, false);
        }
    }
    disk_.crash();
    for (std::uint32_t shard = 0; shard < slots_.size(); shard++) {
        mesh_->awake(shard);  // or the last words of one wake another that is gone
    }
    for (std::uint32_t shard = 0; shard < slots_.size(); shard++) {
        Slot gone;
        gone.stalled = slots_[shard].stalled;
        gone.done = true;
        slots_[shard] = std::move(gone);
        net_.forget(shard);
    }
    mesh_.reset();
    oracle_.forgive_all();
    net_.alarm(now() + static_cast<Nanos>(doom_.between(1, 400)) * ms, start_alarm);
}

std::uint32_t World::life_of(io::LinkId link) const {
    const Nanos at = net_.link(link).accepted_at;
    const auto later = std::upper_bound(starts_.begin(), starts_.end(), at);
    return static_cast<std::uint32_t>(later - starts_.begin());
}

Nanos World::stalled() const {
    Nanos sum = 0;
    for (const Slot& slot : slots_) {
        sum += slot.stalled;
    }
    return sum;
}

// Whatever of a durable topic was acknowledged or seen is there, under its number.
void World::look_at_disk() {
    for (std::uint32_t i = 0; i < oracle_.count(); i++) {
        const Publication& what = oracle_[i];
        if (what.topic >= options_.durable || what.offset == 0) continue;
        const auto& topics = disk_.store().topics();
        const auto found = topics.find(oracle_.topic_name(what.topic));
        if (found == topics.end() || what.offset >= found->second.next ||
            oracle_.epoch_name(what) != epoch_text(found->second.epoch)) {
            fail("record N" + std::to_string(i) + " was seen, and is not on disk");
            return;
        }
        for (const test::FakeStore::Record& record : found->second.records) {
            if (record.offset != what.offset || record.payload.find(what.body) == 0 ||
                record.payload.find(what.body) == 1) {
                continue;
            }
            fail("record N" + std::to_string(i) + " is something else on disk");
            return;
        }
    }
}

}  // namespace ringcast::sim
