#pragma once

// A whole server and its clients in one thread, as one seed wants it.
//
// The shards are the production ones, on simulated reactors. A shard runs when its deadline is due,
// when its reactor has something to tell, or when it was woken; nothing else makes it run. So a
// wake-up that is lost shows as a client that waits for its record.
//
// Two phases: a storm with every fault that the seed allows, and then a calm in which all that is
// owed must arrive, within a bounded time, and at last with no pause in it longer than a short one.
// Then the server is stopped: everybody gets a close code, and nothing is left.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "io/sim.h"
#include "io/sim_net.h"
#include "io/sim_random.h"
#include "node/mesh.h"
#include "node/quotas.h"
#include "node/shard.h"
#include "tests/sim/client.h"
#include "tests/sim/disk.h"
#include "tests/sim/options.h"
#include "tests/sim/oracle.h"

namespace ringcast::sim {

// What one world counted, or all of them.
struct Figures {
    std::uint64_t events = 0;
    std::uint64_t faults = 0;
    std::uint64_t deliveries = 0;
    std::uint64_t gaps = 0;
    std::uint64_t turns = 0;
    std::uint64_t connections = 0;
    std::uint64_t by_reference = 0;
    std::uint64_t committed = 0;

    void add(const Figures& other) {
        events += other.events;
        faults += other.faults;
        deliveries += other.deliveries;
        gaps += other.gaps;
        turns += other.turns;
        connections += other.connections;
        by_reference += other.by_reference;
        committed += other.committed;
    }
};

struct Outcome : Figures {
    std::string failure;  // empty: none
    std::uint64_t hash = 0;
    Nanos time = 0;
};

class World {
  public:
    explicit World(const Options& options);
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    ~World();

    [[nodiscard]] Outcome run();

    // For the clients.
    [[nodiscard]] const Options& options() const { return options_; }
    [[nodiscard]] io::SimNet& net() { return net_; }
    [[nodiscard]] Oracle& oracle() { return oracle_; }
    [[nodiscard]] Nanos now() const { return net_.now(); }
    [[nodiscard]] io::SimRandom& client_random() { return client_random_; }
    // When the server was asked to stop; `never` before.
    [[nodiscard]] Nanos stopped_at() const { return stopped_at_; }
    [[nodiscard]] bool calm() const { return calm_; }
    // How long shards stood still, in all so far. One that does holds up the others' clients: who
    // publishes or subscribes is not read from while the mail to it waits.
    [[nodiscard]] Nanos stalled() const;
    // So many newest records of a topic are there for whoever comes back; 0: nobody can tell.
    [[nodiscard]] std::uint64_t keeps(std::uint32_t topic) const;
    [[nodiscard]] std::uint64_t keeps_most(std::uint32_t topic) const;
    // The server hung up on that client for a reason of its own, not because it stops.
    [[nodiscard]] bool hung_up(std::uint32_t client) const;
    [[nodiscard]] bool may_refuse_messages() const;
    // What is published there now may be refused for what the disk does, or because of a stop, or
    // since memory is short.
    [[nodiscard]] bool may_refuse_now(std::uint32_t topic) const;
    // Memory was so short when the link was accepted that nobody was let in.
    [[nodiscard]] bool refused(io::LinkId link) const;
    // Somebody lost its connection without a word: whether the server cut one for what it held,
    // and it may have been this one.
    [[nodiscard]] bool was_cut();
    // Another one of its name was accepted after it.
    [[nodiscard]] bool replaced(std::uint32_t client) const;
    // The server was down at some time since then, or is.
    [[nodiscard]] bool crashed_since(Nanos when) const { return down_ || started_at_ > when; }
    // Which server took the link: they are counted as they are started.
    [[nodiscard]] std::uint32_t life_of(io::LinkId link) const;
    [[nodiscard]] bool full() const;                     // as many clients as may be have been here
    void linked(io::LinkId link, std::uint32_t client);  // it has dialed
    void come_back(const Plan& plan, Nanos after);
    void answered_ping();  // a pong was said just now
    void fail(const std::string& what);
    void note(const std::string& what) const;  // for --trace

  private:
    static constexpr std::uint64_t never_ = UINT64_MAX;
    struct Slot {
        std::unique_ptr<node::Shard> shard;
        io::SimReactor* reactor = nullptr;
        Nanos busy_until = 0;
        Nanos until = 0;  // while planned
        Nanos stalled = 0;
        std::uint32_t sleepless = 0;  // turns in a row that did not want to sleep
        bool planned = false;
        bool done = false;
    };

    void start();  // a server
    void build_shards();
    void feel_pressure(const Slot& slot, std::uint64_t cut_before);
    void welcome_more();
    [[nodiscard]] const TopicRule* rule_of(std::uint32_t topic) const;
    void plan_crash();
    void crash();
    void build_clients();
    [[nodiscard]] Plan draw_plan();
    Client& add_client(const Plan& plan);

    [[nodiscard]] bool step(Nanos limit);
    void run_until(Nanos limit);
    [[nodiscard]] bool runnable(const Slot& slot);
    void act(std::uint32_t shard);
    void rest(Slot& slot);
    void stop_process(Nanos span);
    void poke();
    void dispatch(const io::SimNet::Event& event);
    void disturb();

    void storm();
    void calm_down();
    [[nodiscard]] std::string pending(Nanos since);
    [[nodiscard]] bool lacks(std::uint32_t client, std::uint32_t final);
    void settle(Nanos patience, const char* what);
    void publish_finals();
    void look_around();
    [[nodiscard]] std::string look_at_watchers(std::uint32_t topic, bool asked, Nanos newest);
    void stop();
    void take_stock();
    void look_at_disk();

    Options options_;
    io::SimNet net_;
    io::SimRandom schedule_;
    io::SimRandom faults_;
    io::SimRandom client_random_;
    io::SimRandom company_;
    io::SimRandom wildcards_;
    io::SimRandom doom_;
    io::SimRandom vows_;
    io::SimRandom squeezes_;
    Oracle oracle_;
    std::unique_ptr<node::Mesh> mesh_;
    std::unique_ptr<node::Quotas> quotas_;  // everything is counted and nothing refused
    Disk disk_;
    std::vector<Slot> slots_;
    std::deque<Client> clients_;
    std::vector<std::uint32_t> owners_;  // clients, by link
    std::vector<Nanos> short_at_;        // when turns began in which nobody is let in
    std::uint64_t cut_ = 0;              // clients that the server cut ...
    std::uint64_t mourned_ = 0;          // ... and that found out
    std::vector<Nanos> starts_;          // when servers were started
    std::vector<std::uint32_t> finals_;  // publications that everybody must get
    std::vector<std::uint32_t> runnable_;
    std::string failure_;
    Nanos stopped_at_ = never;
    Nanos started_;
    Nanos started_at_ = 0;               // the present server, unless it is the first
    std::uint64_t crash_turn_ = never_;  // in which the next crash is
    std::uint32_t crashes_left_ = 0;
    bool down_ = false;
    std::uint64_t turns_ = 0;
    std::uint64_t idle_ = 0;  // times that nobody could run
    bool calm_ = false;
};

}  // namespace ringcast::sim
