#pragma once

// One core's share of the server: its reactor, its clients, its topics. Shards share nothing and
// send mail.
//
// A turn: plan how long to sleep, wait (which reads the clock and hands over what completed), drain
// mail, advance the timers, take leavers out of their topics, before a long walk wait for the rest
// of a burst, pump. Events only change state and mark; sends start in the pump alone. Events bear
// the time at which the sleep ended, never that of its beginning. After a late wake-up all waiting
// input is handled before any timer, and the time in which the shard was not there is left out of
// its ticks, so that a process that was stopped for a while does not take its silence for that of
// its peers.
//
// A stop comes in stages. First all shards agree, by two rounds of mail, that whatever was
// published before is in the logs of its readers (what is durable, once it is committed). Then each
// client is closed with 1012 as soon as it has read what its topics owe it. Shortly before the
// drain time-out the rest is closed as it is, and what is still there at the time-out is cut.
//
// A turn ends with the memory: what the shard holds goes into the books of all (node/budget.h), and
// when there is too much of it, logs are made shorter, and then the largest clients are cut.
//
// A Shard is built, run and asked by its own thread; only request_stop() may come from others.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ringcast/config.h"
#include "ringcast/error.h"
#include "ringcast/server.h"

#include "base/wheel.h"
#include "feed/pool.h"
#include "feed/topic.h"
#include "io/memfile.h"
#include "io/reactor.h"
#include "node/access.h"
#include "node/audit.h"
#include "node/auth.h"
#include "node/counters.h"
#include "node/demo_feed.h"
#include "node/dispatch.h"
#include "node/door.h"
#include "node/guard.h"
#include "node/host_feed.h"
#include "node/hub.h"
#include "node/inquiries.h"
#include "node/mesh.h"
#include "node/presence.h"
#include "node/pump.h"
#include "node/quotas.h"
#include "node/registry.h"
#include "node/sessions.h"

namespace ringcast::node {

struct ShardSetup {
    std::uint32_t index = 0;
    std::uint32_t connections_max = 0;    // of all shards together
    std::uint32_t table_size = 0;         // of this shard alone, at most
    std::uint64_t hash_seed = 0;          // the same for all shards
    std::size_t arena_size = 0;           // of this shard's log memory
    wire::TokenKey token_key{};           // of sessions, the same for all shards
    const Storage* storage = nullptr;     // of durable topics; lives longer than the shards
    wire::SealSalt seal_salt{};           // nobody else has it: another shard or life has another
    const SealKeys* seal_keys = nullptr;  // for rules that say `seal`; read when it is built
    Quotas* quotas = nullptr;             // by address; lives longer than the shards. Null: none
    LogSink log = {};
};

// Final, so nobody deletes it as anything else.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor)
class Shard final : private io::Handler {
  public:
    Shard(const Config& config,
          const ShardSetup& setup,
          Mesh& mesh,
          io::MemFile memory,
          std::unique_ptr<io::Reactor> reactor,
          wire::EnvelopeParser parser) noexcept;
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;
    ~Shard();

    [[nodiscard]] Result<Done> listen(io::Fd listener) noexcept {
        return reactor_->listen(std::move(listener));
    }
    // Connections that clients over the limit may use to be told so.
    static constexpr std::uint32_t refusal_slots = 32;
    // Connection indexes that a shard needs for so many clients.
    [[nodiscard]] static std::uint32_t capacity_for(std::uint32_t table_size) noexcept {
        return table_size + refusal_slots;
    }

    // Turns until it was asked to stop and everybody is gone.
    void run() noexcept;
    // A turn in two halves, for whoever runs several shards in one thread: plan() says how long the
    // shard may sleep (0: not at all), and from then on mail wakes its reactor; turn() waits until
    // that moment and does the rest. Always in pairs.
    [[nodiscard]] Nanos plan() noexcept;
    void turn(Nanos until) noexcept;
    void turn() noexcept { turn(plan()); }
    [[nodiscard]] bool done() const noexcept;

    // Any thread. The first call: no new clients, 1012 to all, cut after the drain time-out; all
    // shards of a mesh must be asked. The second: cut now.
    void request_stop() noexcept;

    // Before the first turn: for node/restore.h.
    [[nodiscard]] Hub& hub() noexcept { return hub_; }
    [[nodiscard]] Nanos wall_now() const noexcept { return reactor_->wall_now(); }

    [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
    // Checks what it holds (node/audit.h).
    [[nodiscard]] Holdings audit() noexcept {
        return node::audit(config_, sessions_, topics_, pool_, capacity_);
    }
    // Segments that logs had to give up, so far.
    [[nodiscard]] std::uint64_t evictions() const noexcept { return pool_.evictions(); }
    [[nodiscard]] std::uint32_t session_count() const noexcept { return sessions_.count(); }

  private:
    // Timers of the shard itself, behind those of the connections.
    enum Timer : std::uint32_t {
        sweep_timer,
        pace_timer,
        acks_timer,
        feed_timer,
        demo_timer,
        drain_timer,
        timer_count
    };

    enum class Stage : std::uint8_t { serving, settling, closing, late, cutting };

    void begin_feeds() noexcept;
    void on_accepted(io::ConnIndex conn, std::uint32_t listener) noexcept override;
    void on_received(io::ConnIndex conn, MutBytes bytes) noexcept override;
    void on_ended(io::ConnIndex conn, int os_error) noexcept override;
    void on_writable(io::ConnIndex conn) noexcept override;
    void on_connected(io::ConnIndex conn, int os_error) noexcept override;
    void on_closed(io::ConnIndex conn) noexcept override;

    void note_event() noexcept;
    void skip_absence() noexcept;
    void wait(Nanos until) noexcept;
    void count_turn(bool slept) noexcept;
    void gather() noexcept;
    void drain_mail() noexcept;
    void fire_timers() noexcept;
    // How much work it was, in microseconds or so.
    std::uint32_t on_mail(Mail& mail) noexcept;
    void take_out_leavers() noexcept;
    void take_out(io::ConnIndex conn) noexcept;
    void check_stop() noexcept;
    void fire(std::uint32_t timer) noexcept;
    void arm(Timer timer, Nanos after) noexcept;
    [[nodiscard]] std::uint64_t drain_reserve() const noexcept;
    void post_settled(std::uint32_t round) noexcept;
    void on_settled(std::uint64_t round) noexcept;
    void settle_home() noexcept;
    void close_some() noexcept;
    void drain_time_is_up() noexcept;
    void cut_everybody() noexcept;
    void report() noexcept;
    [[nodiscard]] std::uint64_t clients_bytes() const noexcept;
    void keep_budget() noexcept;
    void tell_pressure(Pressure pressure) noexcept;
    [[nodiscard]] Tick tick_now() const noexcept;

    Config config_;
    ShardSetup setup_;
    Mesh& mesh_;
    io::MemFile memory_;
    std::unique_ptr<io::Reactor> reactor_;
    wire::EnvelopeParser parser_;
    Counters counters_;
    std::uint32_t capacity_;  // connection indexes
    Nanos tick_zero_;         // moves by every absence
    Nanos awaited_;           // when the sleep should have ended at the latest
    const Nanos late_;        // how much later than that is an absence: timers have to wait
    Wheel wheel_;
    Sessions sessions_;
    feed::SegmentPool pool_;
    feed::TopicTable topics_;
    Access access_;
    Auth auth_;
    Pump pump_;
    Hub hub_;
    Registry registry_;
    Guard guard_;
    Door door_;
    Presence presence_;
    Inquiries inquiries_;
    Dispatch dispatch_;
    std::unique_ptr<HostFeed> host_feed_;  // both with --dev, on shard 0
    std::unique_ptr<DemoFeed> demo_feed_;
    std::uint64_t events_ = 0;      // callbacks of the reactor so far
    bool ending_sessions_ = false;  // those that nobody came back to
    bool sleepless_ = false;        // mail or timers were left over by the last turn
    Nanos catching_up_until_ = 0;   // after a late turn no timer fires until then; 0: not now
    Nanos turn_began_;
    Nanos cpu_looked_;  // when `cpu_` was read
    Nanos cpu_;
    // 0: go on, 1: drain, 2: cut. The only word that other threads write; relaxed, since the
    // wake-up behind it orders it.
    std::atomic<std::uint32_t> stop_{0};
    Stage stage_ = Stage::serving;
    std::array<std::uint32_t, 2> settled_{};  // shards heard of, by round
    bool storing_ = false;                    // round 0 is over, but the disk has not all yet
    io::ConnIndex close_next_ = 0;            // everybody below is closing, or about to
    std::uint64_t reported_ = 0;              // bytes, to the budget
    Tick last_cut_ = 0;
};

}  // namespace ringcast::node
