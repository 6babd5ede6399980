#include "io/uring_accept.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "io/process.h"
#include "io/reactor.h"
#include "io/uring_tag.h"

namespace ringcast::io {

namespace {

// Accepts on one listener with direct descriptors, where the table has the room: so many newcomers
// come in one turn.
constexpr std::uint32_t direct_accepts_max = 8;
// liburing 2.3 adds one to a place in the table; "any place" must come out of that unchanged.
constexpr unsigned table_chooses = IORING_FILE_INDEX_ALLOC - 1;
static_assert(direct_spare_min >= direct_listeners_max, "one accept each at least");

}  // namespace

UringAcceptor::~UringAcceptor() {
    for (const Accepted& waiting : waiting_) {
        if (!direct_) ::close(waiting.fd);
    }
}

Result<Done> UringAcceptor::make_table(std::uint32_t connections_max) noexcept {
    RC_CHECK(direct_);
    RC_CHECK(listeners_.empty());
    // The table may be as large as the soft limit. (Beyond it liburing 2.3 would raise the limit
    // of the whole process without asking.)
    const std::uint64_t limit = RC_TRY(file_limit());
    const std::uint64_t wanted =
        connections_max + std::uint64_t{direct_listeners_max} * direct_accepts_max;
    const std::uint64_t size = std::min(wanted, limit);
    if (size < std::uint64_t{connections_max} + direct_spare_min) return os_error(EMFILE);
    armed_max_ = static_cast<std::uint8_t>((size - connections_max) / direct_listeners_max);
    const int error = io_uring_register_files_sparse(&ring_.raw(), static_cast<unsigned>(size));
    if (error != 0) return os_error(-error);
    return Done{};
}

Result<Done> UringAcceptor::listen(Fd listener) noexcept {
    RC_CHECK(listener.valid());
    if (direct_ && listeners_.size() == direct_listeners_max) return os_error(EMFILE);
    listeners_.push_back({.fd = std::move(listener)});
    return Done{};
}

void UringAcceptor::stop() noexcept {
    cancel_all();
    for (Listener& listener : listeners_) {
        listener.stopped = true;
        if (listener.armed == 0) listener.fd.reset(-1);
    }
    for (const Accepted& waiting : waiting_) {
        discard(waiting.fd);
    }
    waiting_.clear();
    retry_at_ = never;
}

void UringAcceptor::arm() noexcept {
    RC_CHECK(waiting_.empty());
    retry_at_ = never;
    for (std::uint32_t i = 0; i < listeners_.size(); i++) {
        const Listener& listener = listeners_[i];
        if (listener.cancelling) continue;  // the last answer arms it, or disarm() would miss some
        while (listener.armed < armed_max_ && !listener.stopped) {
            arm_one(i);
        }
    }
}

void UringAcceptor::arm_one(std::uint32_t index) noexcept {
    Listener& listener = listeners_[index];
    listener.armed++;
    io_uring_sqe& sqe = ring_.next_sqe();
    const int fd = listener.fd.get();
    constexpr int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;  // sendfile needs non-blocking
    if (direct_) {
        io_uring_prep_accept_direct(&sqe, fd, nullptr, nullptr, 0, table_chooses);
    } else {
        io_uring_prep_accept(&sqe, fd, nullptr, nullptr, flags);
    }
    sqe.user_data = tag(Op::accept, 0, index);
}

void UringAcceptor::disarm() noexcept {
    retry_at_ = never;
    if (!direct_) cancel_all();  // else the few that are armed find room
}

void UringAcceptor::cancel_all() noexcept {
    for (std::uint32_t i = 0; i < listeners_.size(); i++) {
        Listener& listener = listeners_[i];
        if (listener.armed == 0 || listener.cancelling) continue;
        listener.cancelling = true;
        ring_.cancel(tag(Op::accept, 0, i), no_tag);
    }
}

bool UringAcceptor::on_completion(const Completion& done, Nanos now) noexcept {
    const std::uint32_t index = index_of(done.user_data);
    RC_CHECK(index < listeners_.size());
    Listener& listener = listeners_[index];
    const bool last = (done.flags & IORING_CQE_F_MORE) == 0;
    if (last) {
        RC_CHECK(listener.armed > 0);
        listener.armed--;
        if (listener.armed == 0) listener.cancelling = false;
    }
    if (listener.stopped) {
        if (done.result >= 0) discard(done.result);
        if (listener.armed == 0) listener.fd.reset(-1);
        return false;
    }
    if (done.result >= 0) {
        waiting_.push_back({.fd = done.result, .listener = index});
    } else if (done.result != -ECANCELED && done.result != -EAGAIN && !passes(-done.result)) {
        // No descriptors or no memory: try again when one is freed, or after a while (K1).
        retry_at_ = now + accept_pause;
    }
    return last;
}

bool UringAcceptor::take(Accepted& accepted) noexcept {
    if (waiting_.empty()) return false;
    accepted = waiting_.front();
    waiting_.pop_front();
    return true;
}

void UringAcceptor::discard(std::int32_t fd) noexcept {
    if (!direct_) {
        ::close(fd);
        return;
    }
    io_uring_sqe& sqe = ring_.next_sqe();
    io_uring_prep_close_direct(&sqe, static_cast<unsigned>(fd));
    sqe.user_data = no_tag;
}

}  // namespace ringcast::io
