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
    // The server hung up on that client for a reason of its own, not because it stops.
    [[nodiscard]] bool hung_up(std::uint32_t client) const;
    [[nodiscard]] bool may_refuse_messages() const;
    // What is published there now may be refused for what the disk does, or because of a stop.
    [[nodiscard]] bool disk_may_refuse(std::uint32_t topic) const;
    [[nodiscard]] bool replaced(std::uint32_t client) const;
    [[nodiscard]] bool full() const;                     // as many clients as may be have been here
    void linked(io::LinkId link, std::uint32_t client);  // it has dialed
    void come_back(const Plan& plan, Nanos after);
    void answered_ping();  // a pong was said just now
    void fail(const std::string& what);
    void note(const std::string& what) const;  // for --trace

  private:
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

    void build_shards();
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
    Oracle oracle_;
    std::unique_ptr<node::Mesh> mesh_;
    Disk disk_;
    std::vector<Slot> slots_;
    std::deque<Client> clients_;
    std::vector<std::uint32_t> owners_;  // clients, by link
    std::vector<std::uint32_t> finals_;  // publications that everybody must get
    std::vector<std::uint32_t> runnable_;
    std::string failure_;
    Nanos stopped_at_ = never;
    Nanos started_;
    std::uint64_t turns_ = 0;
    std::uint64_t idle_ = 0;  // times that nobody could run
    bool calm_ = false;
};

}  // namespace ringcast::sim
