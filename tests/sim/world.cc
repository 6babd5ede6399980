#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/check.h"

namespace ringcast::sim {

namespace {

constexpr Nanos ms = nanos_per_ms;
constexpr std::uint64_t disturb_alarm = UINT64_MAX;
constexpr std::uint64_t disk_alarm = UINT64_MAX - 1;
constexpr std::uint64_t start_alarm = UINT64_MAX - 2;  // as in servers.cc
constexpr Nanos disturb_interval = 50 * ms;
constexpr Nanos settle_span = 90 * nanos_per_s;
// In calm weather a record takes a few round trips and turns.
constexpr Nanos settled_after = 200 * ms;      // from 101 to the last shard that must know
constexpr Nanos prompt = 400 * ms;             // and no pause is longer
constexpr std::uint64_t poke_interval = 16;    // moments at which nobody can run
constexpr std::uint32_t sleepless_max = 5000;  // turns in a row; one takes about 25 us
constexpr std::uint64_t audit_interval = 64;   // turns
constexpr std::uint64_t turns_max = 3'000'000;

}  // namespace

World::World(const Options& options)
    : options_(options),
      net_(options.seed ^ 0x4e7, options.shards, options.tape),
      schedule_(options.seed ^ 0x5cede, options.tape),
      faults_(options.seed ^ 0xfa17, options.tape),
      client_random_(options.seed ^ 0xc11e47, options.tape),
      company_(options.seed ^ 0xc0117, options.tape),
      wildcards_(options.seed ^ 0x3a8d5, options.tape),
      doom_(options.seed ^ 0xd003, options.tape),
      vows_(options.seed ^ 0x70f5, options.tape),
      squeezes_(options.seed ^ 0x59ee2e, options.tape),
      oracle_(options.topics, options.keyed, options.durable),
      disk_(options_, net_, disk_alarm),
      slots_(options.shards),
      started_(net_.now()),
      crashes_left_(options.crashes) {
    net_.chances = options.chances;
    start();
    build_clients();
    net_.alarm(now() + disturb_interval, disturb_alarm);
}

World::~World() {
    if (failure_.empty()) return;
    // A shard with clients left would post mail to shards that are gone: leave it as it is.
    for (Slot& slot : slots_) {
        static_cast<void>(slot.shard.release());
    }
    static_cast<void>(mesh_.release());
}

Plan World::draw_plan() {
    io::SimRandom& random = client_random_;
    Plan plan;
    std::uint64_t dice = random.below(1024);
    const std::pair<Kind, std::uint32_t> kinds[] = {{Kind::slow, options_.slow},
                                                    {Kind::silent, options_.silent},
                                                    {Kind::slow_handshake, options_.slow_handshake},
                                                    {Kind::flooder, options_.flooder},
                                                    {Kind::liar, options_.liar},
                                                    {Kind::half_closer, options_.half_closer},
                                                    {Kind::leaver, options_.leaver}};
    for (const auto& [kind, share] : kinds) {
        if (plan.kind == Kind::good && dice < share) plan.kind = kind;
        dice -= std::min<std::uint64_t>(dice, share);
        if (plan.kind != Kind::good) break;
    }
    plan.raw = random.chance(1, 3);
    plan.publishes = random.chance(1, 3) || plan.kind == Kind::flooder;
    if (options_.keyed && plan.raw) plan.publishes = false;  // nothing there has a key
    plan.reactor = static_cast<std::uint32_t>(random.below(options_.shards));
    if (random.chance(options_.named, 1024) && !plan.raw)
        plan.who = static_cast<std::uint32_t>(random.below(6));
    const std::uint64_t most = std::min<std::uint64_t>(options_.topics, plan.raw ? 2 : 4);
    const std::uint64_t count = random.between(plan.publishes ? 0 : 1, most);
    const auto first = static_cast<std::uint32_t>(random.below(options_.topics));
    for (std::uint32_t i = 0; i < count; i++) {
        plan.topics.push_back((first + i) % options_.topics);
    }
    plan.publish_topic = static_cast<std::uint32_t>(random.below(options_.topics));
    plan.variant = static_cast<std::uint32_t>(random.below(64));
    plan.act_every = static_cast<Nanos>(random.between(2, 300)) * ms;
    const bool may =
        plan.kind == Kind::good || plan.kind == Kind::slow || plan.kind == Kind::leaver;
    if (may && !plan.raw && options_.wildcards > 0 && wildcards_.chance(options_.wildcards, 1024)) {
        plan.pattern = wildcards_.chance(1, 2) ? ">" : "*";
        plan.topics.clear();
        for (std::uint32_t topic = 0; topic < options_.topics; topic++) {
            plan.topics.push_back(topic);
        }
    }
    plan.acks = may && !plan.raw && options_.acks > 0 && vows_.chance(options_.acks, 1024);
    plan.compress = may && options_.compress > 0 && squeezes_.chance(options_.compress, 1024);
    return plan;
}

void World::build_clients() {
    for (std::uint32_t i = 0; i < options_.connections; i++) {
        const Plan plan = draw_plan();
        add_client(plan);
        const auto half = static_cast<std::uint64_t>(options_.storm / 2);
        net_.alarm(now() + static_cast<Nanos>(client_random_.below(half)),
                   (std::uint64_t{i} << 8) | static_cast<std::uint64_t>(Client::Alarm::dial));
    }
}

Client& World::add_client(const Plan& plan) {
    const auto index = static_cast<std::uint32_t>(clients_.size());
    return clients_.emplace_back(*this, index, plan);
}

void World::linked(io::LinkId link, std::uint32_t client) {
    RC_CHECK(link == owners_.size());
    owners_.push_back(client);
}

void World::come_back(const Plan& plan, Nanos after) {
    const std::size_t most = options_.connections * (3 + options_.crashes) + 8;
    if (calm_ || clients_.size() > most) return;
    const std::uint64_t index = clients_.size();
    Plan again = plan;
    again.variant = static_cast<std::uint32_t>(client_random_.below(64));
    if (!plan.raw && company_.chance(options_.renamed, 1024)) {
        again.who = company_.chance(1, 2) ? none : static_cast<std::uint32_t>(company_.below(6));
    }
    if (again.who != plan.who) {  // to the server it is somebody else
        again.unanswered.clear();
        again.session.clear();
        again.debts.clear();
    }
    add_client(again);
    net_.alarm(now() + after, (index << 8) | static_cast<std::uint64_t>(Client::Alarm::dial));
}

bool World::hung_up(std::uint32_t client) const {
    const std::uint16_t code = clients_[client].close_code();
    return code != 0 && code != 1012;
}

bool World::may_refuse_messages() const {
    return options_.config.messages_per_second != 0 || options_.config.topics_max < options_.topics;
}

bool World::may_refuse_now(std::uint32_t topic) const {
    return (topic < options_.durable || options_.room != 0) && (!calm_ || stopped_at_ != never);
}

bool World::replaced(std::uint32_t client) const {
    const std::uint32_t who = clients_[client].plan().who;
    if (who == none || !clients_[client].dialed()) return false;
    const Nanos accepted_at = net_.link(clients_[client].link()).accepted_at;
    return std::any_of(clients_.begin(), clients_.end(), [&](const Client& each) {
        if (each.plan().who != who || !each.dialed() || &each == &clients_[client]) return false;
        const Nanos at = net_.link(each.link()).accepted_at;
        return at != never && at >= accepted_at;
    });
}

bool World::full() const {
    std::uint32_t dialed = 0;
    for (const Client& each : clients_) {
        if (each.dialed()) dialed++;
    }
    return dialed > options_.connections_max;
}

void World::fail(const std::string& what) {
    if (!failure_.empty()) return;
    failure_ = what + ", at " + std::to_string((now() - started_) / 1000) + " us";
}

void World::note(const std::string& what) const {
    if (!options_.trace) return;
    std::fprintf(
        stderr, "%9lld us  %s\n", static_cast<long long>((now() - started_) / 1000), what.c_str());
}

// The schedule.

bool World::runnable(const Slot& slot) {
    if (slot.done || slot.busy_until > now()) return false;
    return !slot.planned || slot.until <= now() || slot.reactor->pending();
}

bool World::step(Nanos limit) {
    if (!failure_.empty()) return false;
    if (turns_ >= crash_turn_ && !down_) crash();
    if (turns_ > turns_max) {
        fail("the shards never come to rest");
        return false;
    }
    runnable_.clear();
    Nanos at = net_.next_at();
    for (std::uint32_t shard = 0; shard < slots_.size(); shard++) {
        const Slot& slot = slots_[shard];
        if (runnable(slot)) runnable_.push_back(shard);
        if (slot.done) continue;
        if (slot.busy_until > now()) {
            at = std::min(at, slot.busy_until);
        } else if (slot.planned) {
            at = std::min(at, slot.until);
        }
    }
    if (!runnable_.empty() && now() <= limit) {
        act(runnable_[schedule_.below(runnable_.size())]);
        return true;
    }
    if (idle_++ % poke_interval == 0) poke();
    if (at > limit) {
        net_.advance(std::max(limit, now()));
        return false;
    }
    if (net_.next_at() <= at) {
        dispatch(net_.step());
    } else {
        net_.advance(at);
    }
    return true;
}

void World::run_until(Nanos limit) {
    while (step(limit)) {
    }
}

void World::act(std::uint32_t shard) {
    Slot& slot = slots_[shard];
    net_.trace(shard * 2 + (slot.planned ? 1 : 0));
    if (!slot.planned) {
        slot.until = slot.shard->plan();
        slot.sleepless = slot.until == 0 ? slot.sleepless + 1 : 0;
        if (slot.sleepless > sleepless_max) fail("a shard spins");
        slot.planned = true;
        return;
    }
    const bool lets_in = mesh_->budget().pressure() < node::Pressure::refuse;
    if (!lets_in && (short_at_.empty() || short_at_.back() != now())) short_at_.push_back(now());
    const std::uint64_t cut = slot.shard->counters().memory_cut;
    slot.shard->turn(slot.until);
    if (slot.shard->counters().memory_cut != cut) feel_pressure(slot, cut);
    slot.planned = false;
    turns_++;
    if (turns_ % audit_interval == 0) static_cast<void>(slot.shard->audit());
    slot.done = slot.shard->done();
    rest(slot);
}

// How long the turn took, and what else keeps the shard from its next one.
void World::rest(Slot& slot) {
    slot.busy_until = now() + static_cast<Nanos>(1000 + schedule_.below(50'000));
    if (calm_) return;
    const auto most = static_cast<std::uint64_t>(options_.stall_max);
    if (options_.stall > 0 && schedule_.chance(options_.stall, 1024)) {
        const auto span = static_cast<Nanos>(schedule_.between(1, most));
        slot.busy_until += span;
        slot.stalled += span;
        net_.count_fault();
        note("shard " + std::to_string(&slot - slots_.data()) + " stalls for " +
             std::to_string(span / ms) + " ms");
    }
    if (options_.process_stop > 0 && schedule_.chance(options_.process_stop, 4096)) {
        stop_process(static_cast<Nanos>(schedule_.between(1, most)));
    }
    if (options_.spurious_wake > 0 && schedule_.chance(options_.spurious_wake, 1024)) {
        slots_[schedule_.below(slots_.size())].reactor->wake();
        net_.count_fault();
    }
}

void World::stop_process(Nanos span) {
    net_.count_fault();
    note("the process stops for " + std::to_string(span / ms) + " ms");
    for (Slot& slot : slots_) {
        slot.busy_until = std::max(slot.busy_until, now()) + span;
        slot.stalled += span;
    }
}

// Now and then the process stops before it hears that, and when it wakes up the time for the pong
// is over although the pong is there.
void World::answered_ping() {
    if (calm_ || !company_.chance(options_.stop_at_pong, 1024)) return;
    const auto timeout = static_cast<Nanos>(options_.config.pong_timeout);
    stop_process(timeout + static_cast<Nanos>(company_.below(2'000)) * ms);
}

// Wakes a shard that sleeps, for nothing. If it finds something to do then, somebody forgot to
// wake it. Otherwise nothing has happened, not even a draw: worlds are the same without pokes.
void World::poke() {
    Slot& slot = slots_[idle_ / poke_interval % slots_.size()];
    // While memory is short each turn looks at what others hold, and they wake nobody for that.
    if (down_ || mesh_->budget().pressure() != node::Pressure::none) return;
    if (slot.done || !slot.planned || slot.busy_until > now() || slot.until <= now()) return;
    const std::uint64_t before = net_.hash();
    slot.shard->turn(slot.until);
    const bool slept = net_.hash() == before && !slot.reactor->pending();
    if (!slept || slot.shard->plan() != slot.until) {
        fail("shard " + std::to_string(&slot - slots_.data()) + " slept although it had work");
    }
}

void World::dispatch(const io::SimNet::Event& event) {
    switch (event.kind) {
        case io::SimNet::EventKind::nothing:
            return;
        case io::SimNet::EventKind::alarm: {
            if (event.value == disturb_alarm) {
                disturb();
                return;
            }
            if (event.value == disk_alarm) {
                disk_.on_alarm();
                return;
            }
            if (event.value == start_alarm) {
                if (down_) start();
                return;
            }
            clients_[event.value >> 8].on_alarm(static_cast<Client::Alarm>(event.value & 0xff));
            return;
        }
        case io::SimNet::EventKind::readable:
        case io::SimNet::EventKind::room:
            if (event.kind == io::SimNet::EventKind::room) {
                clients_[owners_[event.value]].on_room();
            } else {
                clients_[owners_[event.value]].on_readable();
            }
            return;
    }
}

// The network's weather, twenty times a second.
void World::disturb() {
    if (calm_) return;
    net_.alarm(now() + disturb_interval, disturb_alarm);
    for (Client& client : clients_) {
        if (!client.dialed() || client.state() == Client::State::over) continue;
        const io::LinkId link = client.link();
        if (options_.clog > 0 && faults_.chance(options_.clog, 1024 * 20)) {
            const bool is_long = faults_.chance(1, 4);
            const auto span = static_cast<Nanos>(faults_.between(1, is_long ? 6000 : 300)) * ms;
            net_.clog(link, now() + span);
            note("clog link " + std::to_string(link) + " for " + std::to_string(span / ms) + " ms");
            client.network_fault(now() + span + (is_long ? 60 * nanos_per_s : 600 * ms));
        }
        if (options_.hole > 0 && faults_.chance(options_.hole, 1024 * 20)) {
            net_.hole(link);
            note("hole link " + std::to_string(link));
            client.network_fault(never);
        }
        if (options_.cut > 0 && faults_.chance(options_.cut, 1024 * 20)) {
            net_.cut(link);
            note("cut link " + std::to_string(link));
            client.network_fault(never);
        }
    }
    if (options_.wall_jump > 0 && faults_.chance(options_.wall_jump, 1024)) {
        net_.wall_skew +=
            static_cast<Nanos>(faults_.below(1'000'000)) * nanos_per_s - 500'000 * nanos_per_s;
        net_.count_fault();
    }
}

// The story.

void World::calm_down() {
    note("calm");
    calm_ = true;
    crash_turn_ = never_;
    if (down_) start();
    // Nobody is to be waited for who has not been here before.
    for (Client& client : clients_) {
        client.calm_down();
    }
    // A shard that stands still wakes up first, to the weather in which it stopped.
    Nanos awake = now();
    for (const Slot& slot : slots_) {
        awake = std::max(awake, slot.busy_until);
    }
    run_until(awake + ms);
    disk_.calm_down();
    net_.chances = {};
    run_until(net_.heal() + ms);  // and the last clog ends
}

// What is missing where nothing has moved since then; empty if nothing.
std::string World::pending(Nanos since) {
    for (Client& client : clients_) {
        std::string missing = client.moved_at() > since ? "" : client.pending();
        if (!missing.empty()) return missing;
    }
    for (std::size_t i = 0; i < clients_.size(); i++) {
        for (std::size_t j = 0; j < i; j++) {
            const bool same =
                clients_[i].plan().who != none && clients_[i].plan().who == clients_[j].plan().who;
            if (!same || !clients_[i].healthy() || !clients_[j].healthy()) continue;
            return "clients " + std::to_string(j) + " and " + std::to_string(i) +
                   " have the same id";
        }
    }
    for (const std::uint32_t final : finals_) {
        for (std::uint32_t i = 0; i < clients_.size(); i++) {
            if (clients_[i].moved_at() > since || !lacks(i, final)) continue;
            return "client " + std::to_string(i) + (clients_[i].plan().raw ? " (raw)" : "") +
                   " lacks record N" + std::to_string(final) + " of topic " +
                   std::to_string(oracle_[final].topic);
        }
    }
    return {};
}

bool World::lacks(std::uint32_t client, std::uint32_t final) {
    const Publication& what = oracle_[final];
    Client& reader = clients_[client];
    if (!clients_[what.client].healthy() || !reader.healthy())
        return false;  // it may have been lost
    for (const Reading& reading : reader.readings()) {
        if (reading.topic != what.topic) continue;
        if (reading.state != Reading::State::on && reader.has_all()) return true;
        if (reading.state != Reading::State::on) continue;
        if (options_.keyed) continue;  // Client::pending() sees to it
        // A raw client is not told when its subscription begins.
        const bool fresh = reader.plan().raw && reader.opened_at() + settled_after > what.sent_at;
        const bool told = reading.clear_since != never && reading.clear_since > what.sent_at;
        const std::uint32_t seen = reading.last_from(what.client);
        if (!fresh && !told && (seen == none || seen < final)) return true;
    }
    return false;
}

// Until nothing is missing. A thin link may carry what was published in the storm for a long time,
// so nobody counts as forgotten whose link has moved anything within `patience`.
void World::settle(Nanos patience, const char* what) {
    const Nanos begin = now();
    std::string missing = pending(now());
    while (!missing.empty() && failure_.empty()) {
        const bool over = now() >= begin + settle_span;
        if (!over) missing = now() < begin + patience ? "" : pending(now() - patience);
        if (!missing.empty()) fail(std::string(what) + ": " + missing);
        run_until(std::min(begin + settle_span, now() + 20 * ms));
        missing = pending(now());
    }
}

// A last record on every topic that has a publisher left.
void World::publish_finals() {
    finals_.clear();
    if (may_refuse_messages()) return;
    for (std::uint32_t i = 0; i < clients_.size(); i++) {
        Client& client = clients_[i];
        if (!client.healthy() || !client.plan().publishes) continue;
        const std::uint32_t before = oracle_.count();
        client.publish();
        if (oracle_.count() > before) finals_.push_back(before);
    }
}

void World::stop() {
    if (options_.stop_under_load) {
        for (Client& client : clients_) {
            if (!client.healthy() || !client.plan().publishes) continue;
            const std::uint64_t burst = client_random_.below(8);
            for (std::uint64_t i = 0; i < burst; i++) {
                client.publish();
            }
        }
        run_until(now() + static_cast<Nanos>(schedule_.below(5'000'000)));
    }
    note("stop");
    stopped_at_ = now();
    for (std::uint32_t i = 0; i < oracle_.count(); i++) {
        Publication& what = oracle_[i];
        const Client& client = clients_[what.client];
        what.required = client.healthy() && what.end_byte > 0 && client.handed() >= what.end_byte;
    }
    for (Slot& slot : slots_) {
        slot.shard->request_stop();
        if (schedule_.chance(1, 2))
            run_until(now() + static_cast<Nanos>(schedule_.below(2'000'000)));
    }
    const auto drain = static_cast<Nanos>(options_.config.drain_timeout);
    const Nanos limit = stopped_at_ + drain + nanos_per_s;
    const auto all_done = [this] {
        return std::all_of(
            slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.done; });
    };
    while (!all_done() && failure_.empty()) {
        if (now() >= limit) {
            fail("the shards are not done after the drain time-out");
            return;
        }
        run_until(std::min(limit, now() + 20 * ms));
    }
    run_until(now() + nanos_per_s);
}

// Everything is given back.
void World::take_stock() {
    look_at_disk();
    for (std::uint32_t i = 0; i < clients_.size(); i++) {
        const Client& client = clients_[i];
        if (client.healthy()) fail("client " + std::to_string(i) + " was never told of the end");
    }
    for (Slot& slot : slots_) {
        const node::Counters& counters = slot.shard->counters();
        if (counters.accepted != counters.closed) fail("accepted and closed differ");
        if (slot.shard->session_count() != 0) fail("sessions are left");
        if (slot.reactor->live_count() != 0) fail("connection indexes are left");
        const node::Holdings holdings = slot.shard->audit();
        const bool history = std::any_of(
            options_.config.topic.begin(), options_.config.topic.end(), [](const TopicRule& rule) {
                return rule.history != 0 || rule.keyed;
            });
        if (holdings.log_bytes != 0 && !history) fail("segments are left");
        if (holdings.rows != 0) fail("cursors are left");
        if (holdings.outbox_bytes + holdings.message_bytes != 0) fail("frames are left");
    }
    for (Client& client : clients_) {
        client.vanish();
    }
    if (net_.pipes() != 0) fail("pages are left in sockets that are gone");
    if (failure_.empty() && !mesh_->admit(1)) fail("the connection count is not back at zero");
    const std::uint64_t counted =
        quotas_->pending.load() + quotas_->pending_addresses.total() + quotas_->addresses.total();
    if (failure_.empty() && counted != 0) fail("counts by address are not back at zero");
}

Outcome World::run() {
    run_until(started_ + options_.storm);
    calm_down();
    settle(settle_span, "never settled after the storm");
    publish_finals();
    settle(settle_span, "never settled after the last records");
    publish_finals();  // again: thin links may still have carried the storm
    settle(prompt + options_.flush_interval, "never settled after more records");
    if (options_.room != 0) welcome_more();
    publish_finals();
    settle(prompt + options_.flush_interval, "too late, as if a wake-up were lost");
    finals_.clear();
    if (failure_.empty() && options_.presence) look_around();
    if (failure_.empty()) stop();
    if (failure_.empty()) take_stock();
    if (!failure_.empty()) {
        for (const Slot& slot : slots_) {
            note(node::describe(slot.shard->counters()));
        }
    }
    Outcome outcome;
    outcome.failure = failure_;
    outcome.hash = net_.hash();
    outcome.events = net_.events() + turns_;
    outcome.faults = net_.faults();
    outcome.deliveries = oracle_.checked;
    outcome.gaps = oracle_.gaps;
    outcome.turns = turns_;
    outcome.connections = clients_.size();
    outcome.by_reference = net_.by_reference();
    for (const auto& [name, topic] : disk_.store().topics()) {
        outcome.committed += topic.next - 1;
    }
    outcome.time = now() - started_;
    return outcome;
}

}  // namespace ringcast::sim
