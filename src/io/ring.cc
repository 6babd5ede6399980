#include "io/ring.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

namespace ringcast::io {

Ring::~Ring() {
    if (started_) io_uring_queue_exit(&ring_);
}

Result<Done> Ring::start(unsigned submissions, unsigned completions, bool disabled) noexcept {
    RC_CHECK(!started_);
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
    if (disabled) params.flags |= IORING_SETUP_R_DISABLED;
    params.cq_entries = completions;
    const int error = io_uring_queue_init_params(submissions, &ring_, &params);
    if (error != 0) return os_error(-error);
    started_ = true;
    // Saves a look-up of the ring's descriptor in every call; without it everything works too.
    static_cast<void>(io_uring_register_ring_fd(&ring_));
    return Done{};
}

// By the system call itself: liburing 2.3 as Debian builds it lacks the two functions.
Result<Done> Ring::restrict(std::span<const std::uint8_t> operations) noexcept {
    RC_CHECK(started_);
    std::vector<io_uring_restriction> rules;
    const auto add = [&](std::uint16_t kind, std::uint8_t value) {
        io_uring_restriction& rule = rules.emplace_back();
        rule = {};
        rule.opcode = kind;
        rule.register_op = value;  // one byte for all kinds
    };
    for (const std::uint8_t operation : operations) {
        add(IORING_RESTRICTION_SQE_OP, operation);
    }
    add(IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
        IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS);
    add(IORING_RESTRICTION_REGISTER_OP, IORING_UNREGISTER_RING_FDS);
    add(IORING_RESTRICTION_REGISTER_OP, IORING_UNREGISTER_PBUF_RING);
    const auto count = static_cast<unsigned>(rules.size());
    const auto ask = [this](unsigned what, const void* how, unsigned size) {
        return ::syscall(SYS_io_uring_register, ring_.ring_fd, what, how, size);
    };
    if (ask(IORING_REGISTER_RESTRICTIONS, rules.data(), count) != 0) return os_error(errno);
    if (ask(IORING_REGISTER_ENABLE_RINGS, nullptr, 0) != 0) return os_error(errno);
    return Done{};
}

io_uring_sqe& Ring::next_sqe() noexcept {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
        submit();
        sqe = io_uring_get_sqe(&ring_);
    }
    RC_CHECK(sqe != nullptr);
    return *sqe;
}

void Ring::cancel(std::uint64_t target, std::uint64_t unasked) noexcept {
    io_uring_sqe& sqe = next_sqe();
    io_uring_prep_cancel64(&sqe, target, IORING_ASYNC_CANCEL_ALL);
    sqe.user_data = unasked;
    sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void Ring::submit() noexcept {
    while (io_uring_sq_ready(&ring_) != 0) {
        const int count = io_uring_submit(&ring_);
        die_if_dropped(count);
        if (count >= 0 || count == -EINTR) continue;
        // EAGAIN: no memory for requests; EBUSY: completions must be reaped first. Anything else
        // means that the ring is not what we made.
        RC_CHECK(count == -EAGAIN || count == -EBUSY);
        keep_all();
        die_if_dropped(io_uring_get_events(&ring_));
    }
}

void Ring::submit_and_sleep(Nanos left) noexcept {
    // Whatever goes wrong here (EINTR, EBUSY, ETIME), what was not submitted goes with the next
    // call, and the owner comes back by itself.
    if (left <= 0 || !idle()) {
        return die_if_dropped(io_uring_submit_and_get_events(&ring_));
    }
    __kernel_timespec timeout{.tv_sec = left / nanos_per_s, .tv_nsec = left % nanos_per_s};
    io_uring_cqe* first = nullptr;
    die_if_dropped(io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr));
}

bool Ring::idle() const noexcept {
    return kept_taken_ == kept_.size() && head() == tail();
}

bool Ring::next(Completion& done) noexcept {
    if (kept_taken_ < kept_.size()) {
        done = kept_[kept_taken_++];
        if (kept_taken_ == kept_.size()) {
            kept_.clear();
            kept_taken_ = 0;
        }
        return true;
    }
    const unsigned place = head();
    if (place == tail()) return false;
    const io_uring_cqe& cqe = at(place);
    done = {.user_data = cqe.user_data, .result = cqe.res, .flags = cqe.flags};
    io_uring_cq_advance(&ring_, 1);
    return true;
}

// A completion that the kernel has no memory to keep is gone, and nobody can tell which: a
// connection would never be received from again, or never closed, in silence. It happens only where
// the kernel cannot have a hundred bytes, so there is nothing to be saved: better that a supervisor
// starts us anew. EBADR is said once; the count stays.
void Ring::die_if_dropped(int result) noexcept {
    const bool dropped = io_uring_smp_load_acquire(ring_.cq.koverflow) != 0;
    if (result != -EBADR && !dropped) return;
    std::fputs(
        "io_uring: the kernel ran out of memory and dropped a completion; "
        "going on would lose connections in silence\n",
        stderr);
    std::abort();
}

bool Ring::overflowed() const noexcept {
    return (io_uring_smp_load_acquire(ring_.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}

void Ring::keep_all() noexcept {
    const unsigned first = head();
    const unsigned last = tail();
    for (unsigned place = first; place != last; place++) {
        const io_uring_cqe& cqe = at(place);
        kept_.push_back({.user_data = cqe.user_data, .result = cqe.res, .flags = cqe.flags});
    }
    io_uring_cq_advance(&ring_, last - first);
}

void Ring::keep_overflow() noexcept {
    while (overflowed()) {
        keep_all();
        die_if_dropped(io_uring_get_events(&ring_));
    }
}

Ring::Mark Ring::mark_with_room(unsigned count) noexcept {
    RC_CHECK(count <= ring_.sq.ring_entries);
    if (io_uring_sq_space_left(&ring_) < count) submit();
    keep_overflow();
    // What is pending brings one completion at once, a cancellation two. Only that of a
    // listener's accepts brings more: it may overflow the queue, which visit() reads as well.
    const unsigned expected = 2 * io_uring_sq_ready(&ring_) + count;
    if (tail() - head() + expected > ring_.cq.ring_entries) keep_all();
    return {.kept = kept_.size(), .tail = tail()};
}

}  // namespace ringcast::io
