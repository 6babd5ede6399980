#pragma once

// The third back end: a reactor whose kernel is io/sim_net.h. It keeps the contract of io/reactor.h
// and uses all the freedom that the contract leaves: views cut anywhere, events in any order and a
// few at a time, sends short or refused, late on_writable() and on_closed(), bytes that come while
// reading is paused, a backlog that waits. What the contract hides (multishot ends, empty buffer
// rings, descriptors that ran out) shows here as delay.
//
// The owner's half of the contract is checked with RC_CHECK, as in the fake reactor of the tests.
//
// Nobody blocks: the world calls the owner's turn when pending() or a deadline says so, and wait()
// returns at once. One thread owns the network and all reactors on it.

#include <cstdint>
#include <string>
#include <vector>

#include "io/reactor.h"
#include "io/sim_net.h"
#include "io/sim_random.h"
#include "io/slots.h"

namespace ringcast::io {

class SimReactor final : public Reactor {
  public:
    SimReactor(SimNet& net,
               std::uint32_t number,
               std::uint64_t seed,
               const ReactorOptions& options) noexcept;
    SimReactor(const SimReactor&) = delete;
    SimReactor& operator=(const SimReactor&) = delete;
    ~SimReactor() override;

    // A wait() now would not sleep.
    [[nodiscard]] bool pending() noexcept;
    // Bytes of a link that were handed to the owner so far.
    [[nodiscard]] std::uint64_t handed() const noexcept { return handed_; }

    void set_handler(Handler& handler) noexcept override { handler_ = &handler; }
    [[nodiscard]] Result<Done> listen(Fd listener) noexcept override;
    void stop_listening() noexcept override;
    [[nodiscard]] Result<ConnIndex> connect(const Address& peer) noexcept override;
    void send(std::span<Send> batch) noexcept override;
    void want_writable(ConnIndex conn) noexcept override;
    void pause_recv(ConnIndex conn) noexcept override;
    void resume_recv(ConnIndex conn) noexcept override;
    void shutdown_send(ConnIndex conn) noexcept override;
    void close(ConnIndex conn) noexcept override;
    void wait(Nanos deadline) noexcept override;
    void wake() noexcept override;
    [[nodiscard]] Nanos now() const noexcept override { return now_; }
    // Time that the work of a turn takes: seen by its budgets alone, gone at the next wait().
    [[nodiscard]] Nanos present() const noexcept override;
    [[nodiscard]] Nanos wall_now() const noexcept override { return wall_; }
    // One of a few.
    [[nodiscard]] Result<Address> peer(ConnIndex conn) noexcept override;
    [[nodiscard]] std::uint64_t random() noexcept override { return random_.next(); }
    [[nodiscard]] const char* name() const noexcept override { return "sim"; }
    [[nodiscard]] std::uint32_t live_count() const noexcept override { return slots_.taken(); }

  private:
    enum Flag : std::uint16_t {
        live = 1,
        wants_writable = 2,
        paused = 4,
        ended = 8,     // on_ended() was called
        closing = 16,  // close() was called
        shut = 32,     // shutdown_send() was called
    };
    struct Slot {
        LinkId link_id;
        std::uint32_t link;     // in the free list
        std::uint32_t leaking;  // bytes that still come although paused
        std::uint16_t flags;
        Nanos not_before;  // not told closed until then
    };

    [[nodiscard]] Slot& usable(ConnIndex conn) noexcept;
    [[nodiscard]] SimLink& link_of(const Slot& slot) noexcept { return net_.link(slot.link_id); }
    void accept_some() noexcept;
    void tell(ConnIndex conn) noexcept;
    void tell_input(ConnIndex conn) noexcept;
    void tell_end(ConnIndex conn) noexcept;
    void tell_writable(ConnIndex conn) noexcept;
    void tell_closed(ConnIndex conn) noexcept;
    void hand_over(ConnIndex conn, std::size_t size) noexcept;
    void send_one(Send& send) noexcept;
    [[nodiscard]] bool delayed(const Slot& slot, std::uint32_t chance) noexcept;

    SimNet& net_;
    const std::uint32_t number_;
    const ReactorOptions options_;
    Handler* handler_ = nullptr;
    SimRandom random_;    // the owner's
    SimRandom schedule_;  // ours
    Slots<Slot> slots_;
    std::vector<LinkId> visiting_;
    std::string view_;
    Nanos now_;
    Nanos wall_;
    Nanos accept_at_ = 0;
    mutable Nanos worked_ = 0;  // in this turn
    std::uint64_t handed_ = 0;
    std::uint32_t budget_ = 0;  // completions left to this wait()
    std::uint32_t told_ = 0;    // callbacks of this wait()
    bool listening_ = true;
    bool woken_ = false;
    bool calling_back_ = false;
};

}  // namespace ringcast::io
