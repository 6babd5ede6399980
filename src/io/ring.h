#pragma once

// An io_uring with the two habits every user of ours needs: what was put in is submitted however
// often the kernel says EINTR, EAGAIN or EBUSY (K11), and completions can be looked at without
// taking them, so that the results of a batch of sends are read at once while all others wait for
// their turn. When the kernel dropped a completion for want of memory (EBADR), the process ends
// with a line that says so. Made and used by one thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <liburing.h>

#include "ringcast/error.h"

#include "base/time.h"

namespace ringcast::io {

// A completion, copied out of its ring.
struct Completion {
    std::uint64_t user_data = 0;
    std::int32_t result = 0;
    std::uint32_t flags = 0;
};

class Ring {
  public:
    Ring() noexcept = default;
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring();

    // SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL: Linux 6.1, else EINVAL.
    // `disabled`: it takes nothing before restrict().
    [[nodiscard]] Result<Done> start(unsigned submissions,
                                     unsigned completions,
                                     bool disabled = false) noexcept;
    // From now on it takes only these operations, with flags that we use, and no registrations but
    // the end of those that are there: all else is answered EACCES, for good (K13). And it is
    // enabled. Precondition: start() was told so, and all that is to be registered is.
    [[nodiscard]] Result<Done> restrict(std::span<const std::uint8_t> operations) noexcept;
    [[nodiscard]] bool started() const noexcept { return started_; }
    [[nodiscard]] io_uring& raw() noexcept { return ring_; }

    // An empty entry; submits what is pending if there is no room.
    [[nodiscard]] io_uring_sqe& next_sqe() noexcept;
    // Asks for the end of all requests whose user_data is `target`: their own last completions
    // tell, whether they were still there or not. `unasked` marks one that nobody waits for.
    void cancel(std::uint64_t target, std::uint64_t unasked) noexcept;
    // Returns when the kernel has everything that is pending.
    void submit() noexcept;
    // One system call: submits and, with nothing left to take, sleeps for at most `left`. May
    // return early. What could not be submitted stays pending.
    void submit_and_sleep(Nanos left) noexcept;

    // Whether a completion is there to be taken.
    [[nodiscard]] bool idle() const noexcept;
    // Takes the oldest completion; false when there is none.
    [[nodiscard]] bool next(Completion& done) noexcept;

    // A place in the stream of completions.
    struct Mark {
        std::size_t kept = 0;
        unsigned tail = 0;
    };
    // Room for `count` more submissions with their completions, and the place where those will be.
    [[nodiscard]] Mark mark_with_room(unsigned count) noexcept;
    // Shows every completion since `mark` to note(Completion) -> bool; those for which it says true
    // are replaced by `seen`, the others stay as they are.
    template <typename Note>
    void visit(Mark mark, std::uint64_t seen, const Note& note) noexcept;

  private:
    void die_if_dropped(int result) noexcept;
    [[nodiscard]] bool overflowed() const noexcept;
    [[nodiscard]] unsigned head() const noexcept { return *ring_.cq.khead; }
    [[nodiscard]] unsigned tail() const noexcept {
        return io_uring_smp_load_acquire(ring_.cq.ktail);
    }
    [[nodiscard]] io_uring_cqe& at(unsigned place) noexcept {
        return ring_.cq.cqes[place & ring_.cq.ring_mask];
    }
    void keep_all() noexcept;
    void keep_overflow() noexcept;

    io_uring ring_{};
    bool started_ = false;
    // Completions moved out of a full queue, oldest first, and how many of them were taken.
    std::vector<Completion> kept_;
    std::size_t kept_taken_ = 0;
};

template <typename Note>
void Ring::visit(Mark mark, std::uint64_t seen, const Note& note) noexcept {
    keep_overflow();
    for (std::size_t i = mark.kept; i < kept_.size(); i++) {
        if (note(kept_[i])) kept_[i].user_data = seen;
    }
    const unsigned first = head();
    const unsigned last = tail();
    // keep_overflow() may have taken the queue's front away; positions wrap around.
    const bool passed = static_cast<int>(first - mark.tail) > 0;
    const unsigned from = passed ? first : mark.tail;
    bool all = from == first;
    for (unsigned place = from; place != last; place++) {
        io_uring_cqe& cqe = at(place);
        const bool taken =
            note(Completion{.user_data = cqe.user_data, .result = cqe.res, .flags = cqe.flags});
        if (taken) cqe.user_data = seen;
        all = all && taken;
    }
    if (all) io_uring_cq_advance(&ring_, last - first);
}

}  // namespace ringcast::io
