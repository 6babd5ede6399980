#include "io/uring.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "io/buffer_ring.h"
#include "io/clock.h"
#include "io/page_sender.h"
#include "io/process.h"
#include "io/ring.h"
#include "io/send.h"
#include "io/slots.h"
#include "io/stint.h"
#include "io/uring_accept.h"
#include "io/uring_tag.h"
#include "io/waker.h"

namespace ringcast::io {

namespace {

constexpr unsigned submissions = 512;
constexpr std::uint32_t receive_bytes_per_unit = 256;
constexpr std::uint16_t receive_group = 0;
constexpr Nanos longest_sleep = 60 * nanos_per_s;

static_assert(submissions >= 2 * send_batch_max, "a batch must fit behind what is pending");

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
    std::uint32_t link;        // in the free list
    std::uint32_t generation;  // how often the index was given back
    std::uint16_t flags;
    std::uint8_t in_flight;      // requests whose last completion is still to come
    std::uint8_t connect_error;  // errno of a connect() that failed at once
};
static_assert(sizeof(Slot) == 16);
static_assert(EHWPOISON <= UINT8_MAX, "the last errno there is");

// What calling back for it may take, in units of a Stint: received bytes may be small messages.
[[nodiscard]] std::uint32_t units_of(const Completion& done) noexcept {
    if (op_of(done.user_data) != Op::receive || done.result <= 0) return 1;
    return 1 + static_cast<std::uint32_t>(done.result) / receive_bytes_per_unit;
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
    void stop_listening() noexcept override { acceptor_.stop(); }
    [[nodiscard]] Result<ConnIndex> connect(const Address& peer) noexcept override;
    void send(std::span<Send> batch) noexcept override;
    void want_writable(ConnIndex conn) noexcept override;
    void pause_recv(ConnIndex conn) noexcept override;
    void resume_recv(ConnIndex conn) noexcept override;
    void shutdown_send(ConnIndex conn) noexcept override;
    void close(ConnIndex conn) noexcept override;
    void wait(Nanos deadline) noexcept override;
    void wake() noexcept override { waker_.wake(); }
    [[nodiscard]] Nanos now() const noexcept override { return clock_.now(); }
    [[nodiscard]] Nanos wall_now() const noexcept override { return clock_.wall(); }
    [[nodiscard]] Nanos present() const noexcept override { return Clock::present(); }
    [[nodiscard]] Nanos cpu_time() const noexcept override { return Clock::cpu_time(); }
    [[nodiscard]] Result<Address> peer(ConnIndex conn) noexcept override;
    [[nodiscard]] std::uint64_t random() noexcept override { return chance_.next(); }
    [[nodiscard]] const char* name() const noexcept override { return "uring"; }
    [[nodiscard]] std::uint32_t live_count() const noexcept override { return slots_.taken(); }

  private:
    void start_op(io_uring_sqe& sqe, Op op, ConnIndex conn) noexcept;
    void handle(const Completion& done) noexcept;
    void handle_connection(const Completion& done) noexcept;

    void on_accept(const Completion& done) noexcept;
    void seat() noexcept;
    void welcome() noexcept;
    void adopt(UringAcceptor::Accepted accepted) noexcept;
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
    Waker waker_;
    Slots<Slot> slots_;
    UringAcceptor acceptor_;
};

Uring::Uring(const ReactorOptions& options) noexcept
    : options_(options),
      pages_(options.log_file),
      slots_(options.connections_max),
      acceptor_(ring_, options.direct_descriptors) {}

Uring::~Uring() {
    if (!ring_.started()) return;
    ring_.submit();  // the closes that are pending
    for (std::uint32_t conn = 0; conn < slots_.touched(); conn++) {
        const Slot& slot = slots_[conn];
        if ((slot.flags & (live | direct | close_sent)) == live) ::close(slot.fd);
    }
}

Result<Done> Uring::start(const Probe& probe) noexcept {
    static_cast<void>(RC_TRY(ring_.start(
        submissions, std::max(options_.completions_max, submissions), options_.restricted)));
    if (probe.quiet_sends) send_flags_ = IOSQE_CQE_SKIP_SUCCESS;

    if (options_.direct_descriptors) {
        static_cast<void>(RC_TRY(acceptor_.make_table(options_.connections_max)));
    }
    const bool incremental = probe.incremental_buffers && options_.incremental_buffers;
    buffers_ = RC_TRY(BufferRing::create(ring_.raw(),
                                         receive_group,
                                         options_.receive_buffer_size,
                                         options_.receive_buffer_count,
                                         incremental));
    static_cast<void>(RC_TRY(waker_.start()));
    if (options_.restricted) static_cast<void>(RC_TRY(ring_.restrict(uring_operations())));
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
            const bool again =
                next_is_same(batch, i) && (slots_[batch[i + 1].conn].flags & direct) == 0;
            pages_.send(slot.fd, send, again);
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
    if (!queued) return;
    ring_.submit();
    ring_.visit(mark, no_tag, [batch](const Completion& done) noexcept {
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
    const Nanos until = std::min(deadline, acceptor_.retry_at());
    ring_.submit_and_sleep(std::min(clock_.left_until(until), longest_sleep));
    clock_.read();
    Completion done;
    Stint stint(*this, callback_time);
    while (ring_.next(done)) {
        handle(done);
        if (stint.over(units_of(done))) break;
    }
    if (acceptor_.retry_at() <= clock_.now()) welcome();
}

void Uring::arm_wake() noexcept {
    // Multishot polls are edges: every write wakes us, and nobody has to read the counter.
    io_uring_sqe& sqe = ring_.next_sqe();
    io_uring_prep_poll_multishot(&sqe, waker_.fd(), POLLIN);
    sqe.user_data = tag(Op::wake, 0, 0);
}

// Accepting.

Result<Done> Uring::listen(Fd listener) noexcept {
    static_cast<void>(RC_TRY(acceptor_.listen(std::move(listener))));
    welcome();
    return Done{};
}

void Uring::on_accept(const Completion& done) noexcept {
    const bool last = acceptor_.on_completion(done, clock_.now());
    seat();
    if (slots_.full()) return acceptor_.disarm();
    if (last && acceptor_.retry_at() == never) acceptor_.arm();
}

// Gives indexes to those who wait, as far as there are any.
void Uring::seat() noexcept {
    UringAcceptor::Accepted next;
    while (!slots_.full() && acceptor_.take(next)) {
        adopt(next);
    }
}

// There may be room, or descriptors: serves those who wait, and accepts if that leaves an index.
void Uring::welcome() noexcept {
    seat();
    if (slots_.full()) return acceptor_.disarm();
    acceptor_.arm();
}

void Uring::adopt(UringAcceptor::Accepted accepted) noexcept {
    const ConnIndex conn = slots_.take();
    RC_CHECK(conn != no_conn);
    Slot& slot = slots_[conn];
    slot.fd = accepted.fd;
    slot.flags = options_.direct_descriptors ? live | direct : live;
    RC_CHECK(slot.in_flight == 0);
    handler_->on_accepted(conn, accepted.listener);
    settle(conn);
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
    ring_.cancel(tag_of(Op::receive, conn), no_tag);
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
    slot.connect_error = static_cast<std::uint8_t>(error);
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
    int error = slot.connect_error;
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
    if ((slot.flags & waits_writable) != 0) ring_.cancel(tag_of(Op::writable, conn), no_tag);
    if ((slot.flags & connecting) != 0) ring_.cancel(tag_of(Op::connect, conn), no_tag);
    settle(conn);
}

void Uring::on_close(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    RC_CHECK(slot.in_flight == 0);
    handler_->on_closed(conn);
    slot.flags = 0;
    slot.generation++;
    slots_.give_back(conn);
    welcome();
}

Result<Address> Uring::peer(ConnIndex conn) noexcept {
    const Slot& slot = usable(conn);
    // A direct descriptor has no number to ask by.
    if ((slot.flags & direct) != 0) return Error{.code = Errc::not_found};
    return peer_address(slot.fd);
}

constexpr std::uint8_t operations[] = {IORING_OP_NOP,
                                       IORING_OP_POLL_ADD,
                                       IORING_OP_ASYNC_CANCEL,
                                       IORING_OP_ACCEPT,
                                       IORING_OP_RECV,
                                       IORING_OP_SEND,
                                       IORING_OP_SHUTDOWN,
                                       IORING_OP_CLOSE};

}  // namespace

std::span<const std::uint8_t> uring_operations() noexcept {
    return operations;
}

Result<std::unique_ptr<Reactor>> make_uring(const ReactorOptions& options,
                                            const Probe& probe) noexcept {
    RC_CHECK(probe.usable);
    auto uring = std::make_unique<Uring>(options);
    static_cast<void>(RC_TRY(uring->start(probe)));
    return std::unique_ptr<Reactor>(std::move(uring));
}

}  // namespace ringcast::io
