#include "io/clock.h"

#include <ctime>
#include <span>

#include "base/check.h"
#include "io/process.h"

namespace ringcast::io {

namespace {

[[nodiscard]] Nanos read_clock(clockid_t id) noexcept {
    timespec time{};
    ::clock_gettime(id, &time);
    return Nanos{time.tv_sec} * nanos_per_s + time.tv_nsec;
}

}  // namespace

void Clock::read() noexcept {
    now_ = read_clock(CLOCK_MONOTONIC);
    wall_ = read_clock(CLOCK_REALTIME);
}

Nanos Clock::present() noexcept {
    return read_clock(CLOCK_MONOTONIC);
}

Nanos Clock::cpu_time() noexcept {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

Nanos Clock::left_until(Nanos deadline) noexcept {
    if (deadline <= now_) return 0;  // the common case of a busy shard: no look at the clock
    const Nanos now = present();
    return deadline <= now ? 0 : deadline - now;
}

std::uint64_t Chance::next() noexcept {
    if (left_ == 0) {
        // getrandom() cannot fail with a sane address; without chance there is no honest way on.
        RC_CHECK(fill_entropy(std::as_writable_bytes(std::span(numbers_))).ok());
        left_ = numbers_.size();
    }
    left_--;
    const std::uint64_t number = numbers_[left_];
    numbers_[left_] = 0;  // what was given out is not kept
    return number;
}

}  // namespace ringcast::io
