#include "io/uring.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "io/buffer_ring.h"
#include "io/clock.h"
#include "io/page_sender.h"
#include "io/process.h"
#include "io/ring.h"
#include "io/send.h"
#include "io/slots.h"

namespace ringcast::io {

namespace {

constexpr unsigned submissions = 512;
constexpr unsigned completions_a_wait = 1024;  // a wait() handles at most so many
constexpr std::uint16_t receive_group = 0;
constexpr std::uint32_t direct_slack = 4096;  // a multishot accept may run ahead by one backlog
constexpr Nanos accept_retry = 100 * nanos_per_ms;
constexpr Nanos longest_sleep = 60 * nanos_per_s;

static_assert(submissions >= 2 * send_batch_max, "a batch must fit behind what is pending");

// What a completion is about. user_data is {op: 8, generation: 24, index: 32}.
enum class Op : std::uint8_t {
    none,  // nobody waits for it
    accept,
    receive,
    writable,
    connect,
    shutdown,
    close,
    send,  // index: place in the batch
    wake,
};

constexpr std::uint32_t generation_mask = 0xffffff;

enum Flag : std::uint16_t {
    live = 1,             // between on_accepted()/connect() and on_closed()
    direct = 2,           // fd is a number in the ring's own table
    connecting = 4,       // connect() was called, on_connected() not yet
    receiving = 8,        // a multishot receive is armed
    cancelling = 16,      // and its cancellation is on its way
    waits_writable = 32,  // a poll for writability is armed
    paused = 64,          // pause_recv()
    ended = 128,          // on_ended() was called: nothing more to read
    closing = 256,        // close() was called: only on_closed() may come
    close_sent = 512,     // and the descriptor is no longer ours
};

struct Slot {
    std::int32_t fd;
    std::uint32_t link;        // in the free list; while connecting: errno of an instant failure
    std::uint32_t generation;  // how often the index was given back
    std::uint16_t flags;
    std::uint8_t in_flight;  // requests whose last completion is still to come
};
static_assert(sizeof(Slot) == 16);

struct Listener {
    Fd fd;
    bool armed = false;
    bool cancelling = false;
    bool stopped = false;
};

// A connection that was accepted when no index was free.
struct Waiting {
    std::int32_t fd = -1;
    std::uint32_t listener = 0;
};

[[nodiscard]] constexpr std::uint64_t tag(Op op, std::uint32_t generation, std::uint32_t index) {
    return (std::uint64_t{static_cast<std::uint8_t>(op)} << 56) |
           (std::uint64_t{generation & generation_mask} << 32) | index;
}
[[nodiscard]] constexpr Op op_of(std::uint64_t tag) {
    return static_cast<Op>(tag >> 56);
}
[[nodiscard]] constexpr std::uint32_t generation_of(std::uint64_t tag) {
    return static_cast<std::uint32_t>(tag >> 32) & generation_mask;
}
[[nodiscard]] constexpr std::uint32_t index_of(std::uint64_t tag) {
    return static_cast<std::uint32_t>(tag);
}

class Uring final : public Reactor {
  public:
    explicit Uring(const ReactorOptions& options) noexcept;
    ~Uring() override;
    Uring(const Uring&) = delete;
    Uring& operator=(const Uring&) = delete;

    [[nodiscard]] Result<Done> start(const Probe& probe) noexcept;

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
    [[nodiscard]] Nanos now() const noexcept override { return clock_.now(); }
    [[nodiscard]] Nanos wall_now() const noexcept override { return clock_.wall(); }
    [[nodiscard]] Result<Address> peer(ConnIndex conn) noexcept override;
    [[nodiscard]] std::uint64_t random() noexcept override { return chance_.next(); }
    [[nodiscard]] const char* name() const noexcept override { return "uring"; }
    [[nodiscard]] std::uint32_t live_count() const noexcept override { return slots_.taken(); }

  private:
    void start_op(io_uring_sqe& sqe, Op op, ConnIndex conn) noexcept;
    void cancel(std::uint64_t target) noexcept;
    void handle(const Completion& done) noexcept;
    void handle_connection(const Completion& done) noexcept;

    // Accepting.
    void arm_accepts() noexcept;
    void cancel_accepts() noexcept;
    void on_accept(const Completion& done) noexcept;
    void adopt(Waiting accepted) noexcept;
    void discard(std::int32_t fd) noexcept;
    void arm_wake() noexcept;

    // Connections.
    [[nodiscard]] Slot& usable(ConnIndex conn) noexcept;
    [[nodiscard]] std::uint64_t tag_of(Op op, ConnIndex conn) noexcept;
    void settle(ConnIndex conn) noexcept;
    void cancel_receive(ConnIndex conn) noexcept;
    void on_receive(ConnIndex conn, const Completion& done) noexcept;
    void on_connect(ConnIndex conn, const Completion& done) noexcept;
    void on_close(ConnIndex conn) noexcept;

    const ReactorOptions options_;
    Handler* handler_ = nullptr;
    Clock clock_;
    Chance chance_;
    PageSender pages_;
    std::unique_ptr<BufferRing> buffers_;  // outlives the ring
    Ring ring_;
    std::uint8_t send_flags_ = 0;  // IOSQE_CQE_SKIP_SUCCESS where it is safe
    Fd wake_;
    Slots<Slot> slots_;
    std::vector<Listener> listeners_;
    std::vector<Waiting> waiting_;
    Nanos accept_at_ = never;  // when to try again after the descriptors ran out
};

Uring::Uring(const ReactorOptions& options) noexcept
    : options_(options), pages_(options.log_file), slots_(options.connections_max) {}

Uring::~Uring() {
    if (!ring_.started()) return;
    ring_.submit();  // the closes that are pending
    for (std::uint32_t conn = 0; conn < slots_.touched(); conn++) {
        const Slot& slot = slots_[conn];
        if ((slot.flags & (live | direct | close_sent)) == live) ::close(slot.fd);
    }
    for (const Waiting& waiting : waiting_) {
        if (!options_.direct_descriptors) ::close(waiting.fd);
    }
}

Result<Done> Uring::start(const Probe& probe) noexcept {
    static_cast<void>(
        RC_TRY(ring_.start(submissions, std::max(options_.completions_max, submissions))));
    if (probe.quiet_sends) send_flags_ = IOSQE_CQE_SKIP_SUCCESS;

    if (options_.direct_descriptors) {
        // The table may be as large as the soft limit. (Beyond it liburing 2.3 would raise the
        // limit of the whole process without asking.)
        const std::uint64_t limit = RC_TRY(file_limit());
        const std::uint64_t wanted = std::uint64_t{options_.connections_max} + direct_slack;
        const std::uint64_t size = std::min(wanted, limit);
        if (size <= options_.connections_max) return os_error(EMFILE);
        const int error = io_uring_register_files_sparse(&ring_.raw(), static_cast<unsigned>(size));
        if (error != 0) return os_error(-error);
    }
    const bool incremental = probe.incremental_buffers && options_.incremental_buffers;
    buffers_ = RC_TRY(BufferRing::create(ring_.raw(),
                                         receive_group,
                                         options_.receive_buffer_size,
                                         options_.receive_buffer_count,
                                         incremental));
    wake_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!wake_.valid()) return os_error(errno);
    arm_wake();
    return Done{};
}

std::uint64_t Uring::tag_of(Op op, ConnIndex conn) noexcept {
    return tag(op, slots_[conn].generation, conn);
}

// Finishes an entry on the connection's descriptor, which is then in flight.
void Uring::start_op(io_uring_sqe& sqe, Op op, ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    RC_CHECK(slot.in_flight < UINT8_MAX);
    slot.in_flight++;
    sqe.user_data = tag_of(op, conn);
    if ((slot.flags & direct) != 0 && op != Op::close) sqe.flags |= IOSQE_FIXED_FILE;
}

void Uring::cancel(std::uint64_t target) noexcept {
    io_uring_sqe& sqe = ring_.next_sqe();
    io_uring_prep_cancel64(&sqe, target, 0);
    // That the target was gone already is no news: its own last completion tells, always.
    sqe.user_data = tag(Op::none, 0, 0);
    sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void Uring::send(std::span<Send> batch) noexcept {
    RC_CHECK(batch.size() <= send_batch_max);
    const auto size = static_cast<unsigned>(batch.size());
    const Ring::Mark mark = ring_.mark_with_room(size);
    bool queued = false;
    for (unsigned i = 0; i < size; i++) {
        Send& send = batch[i];
        const Slot& slot = usable(send.conn);
        send.by_reference = false;
        if ((slot.flags & direct) == 0 && goes_by_pages(send, options_)) {
            pages_.send(slot.fd, send);
            continue;
        }
        // All of it, unless a completion says otherwise.
        send.result = static_cast<std::int32_t>(send.bytes.size());
        io_uring_sqe& sqe = ring_.next_sqe();
        constexpr int flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
        io_uring_prep_send(&sqe, slot.fd, send.bytes.data(), send.bytes.size(), flags);
        sqe.user_data = tag(Op::send, 0, i);
        sqe.flags |= send_flags_;
        if ((slot.flags & direct) != 0) sqe.flags |= IOSQE_FIXED_FILE;
        queued = true;
    }
    pages_.end_batch();
    if (!queued) return;
    ring_.submit();
    ring_.visit(mark, tag(Op::none, 0, 0), [batch](const Completion& done) noexcept {
        if (op_of(done.user_data) != Op::send) return false;
        const bool full = done.result == -EAGAIN || done.result == -EINTR;
        batch[index_of(done.user_data)].result = full ? 0 : done.result;
        return true;
    });
}

void Uring::handle(const Completion& done) noexcept {
    switch (op_of(done.user_data)) {
        case Op::none:
        case Op::send:
            return;  // read by send() already
        case Op::wake:
            if ((done.flags & IORING_CQE_F_MORE) == 0) arm_wake();
            return;
        case Op::accept:
            return on_accept(done);
        case Op::receive:
        case Op::writable:
        case Op::connect:
        case Op::shutdown:
        case Op::close:
            return handle_connection(done);
    }
}

void Uring::handle_connection(const Completion& done) noexcept {
    const ConnIndex conn = index_of(done.user_data);
    Slot& slot = slots_[conn];
    const bool stale = (slot.generation & generation_mask) != generation_of(done.user_data);
    RC_CHECK(!stale);  // an index is given back only when nothing is in flight
    if ((done.flags & IORING_CQE_F_MORE) == 0) {
        RC_CHECK(slot.in_flight > 0);
        slot.in_flight--;
    }
    switch (op_of(done.user_data)) {
        case Op::receive:
            on_receive(conn, done);
            break;
        case Op::connect:
            on_connect(conn, done);
            break;
        case Op::close:
            return on_close(conn);
        case Op::writable:
            slot.flags = static_cast<std::uint16_t>(slot.flags & ~waits_writable);
            if ((slot.flags & closing) == 0) handler_->on_writable(conn);
            break;
        case Op::shutdown:
        case Op::none:
        case Op::accept:
        case Op::send:
        case Op::wake:
            break;
    }
    settle(conn);
}

void Uring::wait(Nanos deadline) noexcept {
    RC_CHECK(handler_ != nullptr);
    const Nanos until = std::min(deadline, accept_at_);
    ring_.submit_and_sleep(std::min(clock_.left_until(until), longest_sleep));
    clock_.read();
    Completion done;
    for (unsigned i = 0; i < completions_a_wait && ring_.next(done); i++) {
        handle(done);
    }
    if (accept_at_ <= clock_.now()) arm_accepts();
}

void Uring::arm_wake() noexcept {
    // Multishot polls are edges: every write wakes us, and nobody has to read the counter.
    io_uring_sqe& sqe = ring_.next_sqe();
    io_uring_prep_poll_multishot(&sqe, wake_.get(), POLLIN);
    sqe.user_data = tag(Op::wake, 0, 0);
}

void Uring::wake() noexcept {
    const std::uint64_t one = 1;
    // Fails only when 2^64 wake-ups were never read; then the counter is as readable as can be.
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
}

// Accepting.

Result<Done> Uring::listen(Fd listener) noexcept {
    RC_CHECK(listener.valid());
    listeners_.push_back({.fd = std::move(listener)});
    arm_accepts();
    return Done{};
}

void Uring::stop_listening() noexcept {
    cancel_accepts();
    for (Listener& listener : listeners_) {
        listener.stopped = true;
        if (!listener.armed) listener.fd.reset(-1);
    }
    for (const Waiting& waiting : waiting_) {
        discard(waiting.fd);
    }
    waiting_.clear();
    accept_at_ = never;
}

void Uring::arm_accepts() noexcept {
    accept_at_ = never;  // in any case: whoever has no index to give is armed by on_close()
    if (slots_.full() || !waiting_.empty()) return;
    for (std::uint32_t i = 0; i < listeners_.size(); i++) {
        Listener& listener = listeners_[i];
        if (listener.armed || listener.stopped) continue;
        listener.armed = true;
        io_uring_sqe& sqe = ring_.next_sqe();
        const int fd = listener.fd.get();
        constexpr int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;  // sendfile needs non-blocking
        if (options_.direct_descriptors) {
            io_uring_prep_multishot_accept_direct(&sqe, fd, nullptr, nullptr, 0);
        } else {
            io_uring_prep_multishot_accept(&sqe, fd, nullptr, nullptr, flags);
        }
        sqe.user_data = tag(Op::accept, 0, i);
    }
}

void Uring::cancel_accepts() noexcept {
    for (std::uint32_t i = 0; i < listeners_.size(); i++) {
        Listener& listener = listeners_[i];
        if (!listener.armed || listener.cancelling) continue;
        listener.cancelling = true;
        cancel(tag(Op::accept, 0, i));
    }
}

void Uring::on_accept(const Completion& done) noexcept {
    const std::uint32_t index = index_of(done.user_data);
    RC_CHECK(index < listeners_.size());
    const bool last = (done.flags & IORING_CQE_F_MORE) == 0;
    if (last) {
        listeners_[index].armed = false;
        listeners_[index].cancelling = false;
    }
    if (listeners_[index].stopped) {
        if (done.result >= 0) discard(done.result);
        if (last) listeners_[index].fd.reset(-1);
        return;
    }
    if (done.result >= 0) {
        const Waiting accepted{.fd = done.result, .listener = index};
        // A multishot accept runs ahead of us by up to a backlog; who finds no index waits.
        if (slots_.full() || !waiting_.empty()) {
            waiting_.push_back(accepted);
        } else {
            adopt(accepted);
        }
    } else if (done.result != -ECANCELED && done.result != -ECONNABORTED && done.result != -EINTR &&
               done.result != -EAGAIN && done.result != -EPROTO) {
        // No descriptors or no memory: try again when one is freed, or after a while (K1).
        accept_at_ = clock_.now() + accept_retry;
    }
    if (slots_.full()) return cancel_accepts();  // the backlog holds the rest
    if (last && accept_at_ == never) arm_accepts();
}

void Uring::adopt(Waiting accepted) noexcept {
    const ConnIndex conn = slots_.take();
    RC_CHECK(conn != no_conn);
    Slot& slot = slots_[conn];
    slot.fd = accepted.fd;
    slot.flags = options_.direct_descriptors ? live | direct : live;
    RC_CHECK(slot.in_flight == 0);
    handler_->on_accepted(conn, accepted.listener);
    settle(conn);
}

void Uring::discard(std::int32_t fd) noexcept {
    if (!options_.direct_descriptors) {
        ::close(fd);
        return;
    }
    io_uring_sqe& sqe = ring_.next_sqe();
    io_uring_prep_close_direct(&sqe, static_cast<unsigned>(fd));
    sqe.user_data = tag(Op::none, 0, 0);
}

// Connections.

Slot& Uring::usable(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    RC_CHECK((slot.flags & live) != 0);
    RC_CHECK((slot.flags & closing) == 0);
    return slot;
}

// Brings what is armed in line with the flags; called after everything that changes them. A
// connection that wants to receive is armed when this returns, so nobody is ever forgotten.
void Uring::settle(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & close_sent) != 0) return;
    if ((slot.flags & closing) != 0) {
        if (slot.in_flight != 0) return;
        io_uring_sqe& sqe = ring_.next_sqe();
        if ((slot.flags & direct) != 0) {
            io_uring_prep_close_direct(&sqe, static_cast<unsigned>(slot.fd));
        } else {
            io_uring_prep_close(&sqe, slot.fd);
        }
        slot.flags |= close_sent;
        return start_op(sqe, Op::close, conn);
    }
    if ((slot.flags & (connecting | receiving | paused | ended)) != 0) return;
    slot.flags |= receiving;
    io_uring_sqe& sqe = ring_.next_sqe();
    io_uring_prep_recv_multishot(&sqe, slot.fd, nullptr, 0, 0);
    // Poll first: without it an empty buffer ring answers ENOBUFS at once, again and again, even
    // for an idle socket.
    sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;
    sqe.flags |= IOSQE_BUFFER_SELECT;
    sqe.buf_group = buffers_->group();
    start_op(sqe, Op::receive, conn);
}

void Uring::cancel_receive(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & (receiving | cancelling)) != receiving) return;
    slot.flags |= cancelling;
    cancel(tag_of(Op::receive, conn));
}

void Uring::on_receive(ConnIndex conn, const Completion& done) noexcept {
    Slot& slot = slots_[conn];
    if ((done.flags & IORING_CQE_F_MORE) == 0) {
        slot.flags = static_cast<std::uint16_t>(slot.flags & ~(receiving | cancelling));
    }
    RC_DCHECK(done.result != -EFAULT);  // a buffer of ours that is not there (K12)
    if ((done.flags & IORING_CQE_F_BUFFER) != 0) {
        const MutBytes bytes = buffers_->take(done);
        const bool wanted = (slot.flags & (closing | ended)) == 0;
        if (wanted && !bytes.empty()) handler_->on_received(conn, bytes);
        buffers_->give_back(done);
    }
    if (done.result > 0 || (slot.flags & (closing | ended)) != 0) return;
    switch (-done.result) {
        case ECANCELED:  // paused
        case ENOBUFS:    // all buffers were in use; they are back by the time it is armed again
        case EINTR:
        case EAGAIN:
            return;
        default:
            break;
    }
    slot.flags |= ended;
    handler_->on_ended(conn, -done.result);
}

Result<ConnIndex> Uring::connect(const Address& peer) noexcept {
    if (slots_.full()) return Error{.code = Errc::busy};
    auto [fd, error] = RC_TRY(connect_tcp(peer));

    const ConnIndex conn = slots_.take();
    Slot& slot = slots_[conn];
    slot.fd = fd.release();
    slot.flags = live | connecting;
    slot.link = static_cast<std::uint32_t>(error);
    io_uring_sqe& sqe = ring_.next_sqe();
    if (error == 0) {
        io_uring_prep_poll_add(&sqe, slot.fd, POLLOUT);
    } else {
        io_uring_prep_nop(&sqe);  // the answer comes from wait(), like any other
    }
    start_op(sqe, Op::connect, conn);
    return conn;
}

void Uring::on_connect(ConnIndex conn, const Completion& done) noexcept {
    Slot& slot = slots_[conn];
    slot.flags = static_cast<std::uint16_t>(slot.flags & ~connecting);
    if ((slot.flags & closing) != 0) return;
    int error = static_cast<int>(slot.link);
    socklen_t size = sizeof(error);
    if (error == 0 && ::getsockopt(slot.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error == 0 && done.result < 0) error = -done.result;
    if (error != 0) slot.flags |= ended;
    handler_->on_connected(conn, error);
}

void Uring::want_writable(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    if ((slot.flags & waits_writable) != 0) return;
    slot.flags |= waits_writable;
    io_uring_sqe& sqe = ring_.next_sqe();
    io_uring_prep_poll_add(&sqe, slot.fd, POLLOUT);
    start_op(sqe, Op::writable, conn);
}

void Uring::pause_recv(ConnIndex conn) noexcept {
    usable(conn).flags |= paused;
    cancel_receive(conn);
}

void Uring::resume_recv(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    slot.flags = static_cast<std::uint16_t>(slot.flags & ~paused);
    settle(conn);
}

void Uring::shutdown_send(ConnIndex conn) noexcept {
    const Slot& slot = usable(conn);
    if ((slot.flags & direct) == 0) {
        ::shutdown(slot.fd, SHUT_WR);  // fails only when the peer is gone: on_ended() tells
        return;
    }
    io_uring_sqe& sqe = ring_.next_sqe();  // goes by a kernel thread, 5-10 us: only where it must
    io_uring_prep_shutdown(&sqe, slot.fd, SHUT_WR);
    start_op(sqe, Op::shutdown, conn);
}

void Uring::close(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    slot.flags |= closing;
    cancel_receive(conn);
    if ((slot.flags & waits_writable) != 0) cancel(tag_of(Op::writable, conn));
    if ((slot.flags & connecting) != 0) cancel(tag_of(Op::connect, conn));
    settle(conn);
}

void Uring::on_close(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    RC_CHECK(slot.in_flight == 0);
    handler_->on_closed(conn);
    slot.flags = 0;
    slot.generation++;
    slots_.give_back(conn);
    if (!waiting_.empty() && !slots_.full()) {
        const Waiting next = waiting_.front();
        waiting_.erase(waiting_.begin());
        adopt(next);
    }
    arm_accepts();
}

Result<Address> Uring::peer(ConnIndex conn) noexcept {
    const Slot& slot = usable(conn);
    // A direct descriptor has no number to ask by.
    if ((slot.flags & direct) != 0) return Error{.code = Errc::not_found};
    return peer_address(slot.fd);
}

}  // namespace

Result<std::unique_ptr<Reactor>> make_uring(const ReactorOptions& options,
                                            const Probe& probe) noexcept {
    RC_CHECK(probe.usable);
    auto uring = std::make_unique<Uring>(options);
    static_cast<void>(RC_TRY(uring->start(probe)));
    return std::unique_ptr<Reactor>(std::move(uring));
}

}  // namespace ringcast::io
