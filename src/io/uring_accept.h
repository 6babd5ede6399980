#pragma once

// How the io_uring back end accepts: its listeners, what is armed on them, and the connections that
// came before there was an index for them. For the thread that owns the ring.
//
// Each accept is for one connection, and so many are armed as may come in one turn. A multishot one
// would take whatever the backlog holds, thousands, in one go of 7 us each, before we see the first
// of them. They run ahead of us by what is armed: who finds no index waits here, in order, and
// nothing more is armed until all of them are taken.
//
// With direct descriptors the kernel hangs up on a newcomer for whom the table has no room. There
// no more are armed than the table has room beside connections_max, and they stay armed while all
// indexes are taken.

#include <cstdint>
#include <deque>
#include <vector>

#include "ringcast/error.h"

#include "base/time.h"
#include "io/ring.h"
#include "io/socket.h"

namespace ringcast::io {

class UringAcceptor {
  public:
    static constexpr std::uint8_t accepts_max = 32;  // on each listener

    struct Accepted {
        std::int32_t fd = -1;  // with direct descriptors: a number in the ring's own table
        std::uint32_t listener = 0;
    };

    UringAcceptor(Ring& ring, bool direct) noexcept : ring_(ring), direct_(direct) {}
    UringAcceptor(const UringAcceptor&) = delete;
    UringAcceptor& operator=(const UringAcceptor&) = delete;
    ~UringAcceptor();  // closes those who wait

    // Makes the table that direct descriptors lie in. Before the first listen().
    [[nodiscard]] Result<Done> make_table(std::uint32_t connections_max) noexcept;

    // Takes the listener over; it accepts from the next arm() on. Fails (EMFILE) when the table has
    // no room for its accepts.
    [[nodiscard]] Result<Done> listen(Fd listener) noexcept;
    // For good: closes the listeners as soon as nothing is armed on them, and those who wait.
    void stop() noexcept;

    // Accepts on every listener, and forgets retry_at(). Precondition: nobody waits.
    void arm() noexcept;
    // There is no index left: the backlog holds the rest. Forgets retry_at() too: whoever gives an
    // index back arms again.
    void disarm() noexcept;
    // When to arm() again after the descriptors ran out; `never` if they did not.
    [[nodiscard]] Nanos retry_at() const noexcept { return retry_at_; }

    // The answer to an accept. Whether there is less armed now: then arm() or disarm().
    [[nodiscard]] bool on_completion(const Completion& done, Nanos now) noexcept;
    // The connection that has waited longest; false when there is none.
    [[nodiscard]] bool take(Accepted& accepted) noexcept;

  private:
    struct Listener {
        Fd fd;
        std::uint8_t armed = 0;  // accepts under way
        bool cancelling = false;
        bool stopped = false;
    };
    void arm_one(std::uint32_t index) noexcept;
    void cancel_all() noexcept;
    void discard(std::int32_t fd) noexcept;

    Ring& ring_;
    const bool direct_;
    std::vector<Listener> listeners_;
    std::deque<Accepted> waiting_;
    Nanos retry_at_ = never;
    std::uint8_t armed_max_ = accepts_max;
};

}  // namespace ringcast::io
