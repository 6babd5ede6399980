#include "io/epoll.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "io/clock.h"
#include "io/page_sender.h"
#include "io/send.h"
#include "io/slots.h"
#include "io/stint.h"
#include "io/waker.h"

namespace ringcast::io {

namespace {

constexpr int events_max = 512;  // a wait() reports at most so many
constexpr int accepts_max = 64;  // connections taken from one listener in one wait()
constexpr int reads_max = 4;     // full buffers read from one connection in one wait()
constexpr std::uint32_t bytes_per_unit = 256;  // of what is read, as work of a Stint
constexpr std::uint32_t units_per_accept = 8;

// What an event is about: the kind in the upper half of epoll_data, an index in the lower.
enum class Source : std::uint32_t { connection, listener, wake };

enum Flag : std::uint16_t {
    live = 1,            // between on_accepted()/connect() and on_closed()
    connecting = 2,      // connect() was called, on_connected() not yet
    wants_writable = 4,  // on_writable() is owed
    paused = 8,          // pause_recv()
    ended = 16,          // on_ended() was called: nothing more to read
    closing = 32,        // close() was called: only on_closed() may come
    due = 64,            // on the list of what the next wait() does first
};

struct Slot {
    std::int32_t fd;
    std::uint32_t link;  // in the free list or the due list
    std::int32_t error;  // of a connect() that failed at once
    std::uint16_t flags;
};

struct Listener {
    Fd fd;
    bool armed = false;
};

class Epoll final : public Reactor {
  public:
    explicit Epoll(const ReactorOptions& options) noexcept;
    ~Epoll() override;
    Epoll(const Epoll&) = delete;
    Epoll& operator=(const Epoll&) = delete;

    [[nodiscard]] Result<Done> start() noexcept;

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
    void wake() noexcept override { waker_.wake(); }
    [[nodiscard]] Nanos now() const noexcept override { return clock_.now(); }
    [[nodiscard]] Nanos wall_now() const noexcept override { return clock_.wall(); }
    [[nodiscard]] Nanos present() const noexcept override { return Clock::present(); }
    [[nodiscard]] Nanos cpu_time() const noexcept override { return Clock::cpu_time(); }
    [[nodiscard]] Result<Address> peer(ConnIndex conn) noexcept override;
    [[nodiscard]] std::uint64_t random() noexcept override { return chance_.next(); }
    [[nodiscard]] const char* name() const noexcept override { return "epoll"; }
    [[nodiscard]] std::uint32_t live_count() const noexcept override { return slots_.taken(); }

  private:
    [[nodiscard]] Slot& usable(ConnIndex conn) noexcept;
    // epoll_ctl(). Adding may fail (ENOMEM, ENOSPC); changing an entry that is there allocates
    // nothing and cannot, unless we mistook the descriptor (ENOENT, EBADF).
    [[nodiscard]] bool control(int op,
                               int fd,
                               Source source,
                               std::uint32_t index,
                               std::uint32_t events) noexcept;
    void set_interest(ConnIndex conn) noexcept;
    void make_due(ConnIndex conn) noexcept;
    void run_due(Stint& stint) noexcept;
    void run_events(Stint& stint) noexcept;
    void arm_listeners() noexcept;
    void disarm_listeners() noexcept;
    void accept_from(std::uint32_t listener, Stint& stint) noexcept;
    [[nodiscard]] bool adopt(int fd, std::uint32_t listener) noexcept;
    void on_event(ConnIndex conn, std::uint32_t events, Stint& stint) noexcept;
    void finish_connect(ConnIndex conn, int error) noexcept;
    void receive(ConnIndex conn, bool until_end, Stint& stint) noexcept;
    void fetch(Nanos deadline) noexcept;
    [[nodiscard]] int sleep_until(Nanos deadline) noexcept;

    const ReactorOptions options_;
    Handler* handler_ = nullptr;
    Clock clock_;
    Chance chance_;
    PageSender pages_;
    Fd epoll_;
    Waker waker_;
    Slots<Slot> slots_;
    std::vector<Listener> listeners_;
    std::array<epoll_event, events_max> events_{};
    int event_count_ = 0;            // that were fetched
    int event_next_ = 0;             // those below have been handled
    std::vector<std::byte> buffer_;  // shared by all connections: bytes leave before the next read
    std::uint32_t due_first_ = no_conn;
    std::uint32_t due_last_ = no_conn;
    Nanos accept_at_ = never;   // when to try again after the descriptors ran out
    bool precise_wait_ = true;  // the kernel has epoll_pwait2
};

Epoll::Epoll(const ReactorOptions& options) noexcept
    : options_(options),
      pages_(options.log_file),
      slots_(options.connections_max),
      buffer_(options.receive_buffer_size + receive_padding) {
    RC_CHECK(options.receive_buffer_size > 0);
}

Epoll::~Epoll() {
    for (std::uint32_t conn = 0; conn < slots_.touched(); conn++) {
        const Slot& slot = slots_[conn];
        if ((slot.flags & (live | closing)) == live) ::close(slot.fd);
    }
}

Result<Done> Epoll::start() noexcept {
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) return os_error(errno);
    static_cast<void>(RC_TRY(waker_.start()));
    if (!control(EPOLL_CTL_ADD, waker_.fd(), Source::wake, 0, EPOLLIN | EPOLLET)) {
        return os_error(errno);
    }
    return Done{};
}

bool Epoll::control(int op,
                    int fd,
                    Source source,
                    std::uint32_t index,
                    std::uint32_t events) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u64 = (std::uint64_t{static_cast<std::uint32_t>(source)} << 32) | index;
    return ::epoll_ctl(epoll_.get(), op, fd, &event) == 0;
}

Slot& Epoll::usable(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    RC_CHECK((slot.flags & live) != 0);
    RC_CHECK((slot.flags & closing) == 0);
    return slot;
}

// Tells the kernel what we wait for now. Modifying looks at the socket again, so whatever is
// already there is reported although its edge has passed.
void Epoll::set_interest(ConnIndex conn) noexcept {
    const Slot& slot = slots_[conn];
    std::uint32_t events = EPOLLET;
    if ((slot.flags & (paused | ended | connecting)) == 0) events |= EPOLLIN | EPOLLRDHUP;
    if ((slot.flags & (connecting | wants_writable)) != 0) events |= EPOLLOUT;
    RC_CHECK(control(EPOLL_CTL_MOD, slot.fd, Source::connection, conn, events));
}

void Epoll::make_due(ConnIndex conn) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & due) != 0) return;
    slot.flags |= due;
    slot.link = no_conn;
    if (due_first_ == no_conn) {
        due_first_ = conn;
    } else {
        slots_[due_last_].link = conn;
    }
    due_last_ = conn;
}

// Listeners.

Result<Done> Epoll::listen(Fd listener) noexcept {
    RC_CHECK(listener.valid());
    const auto index = static_cast<std::uint32_t>(listeners_.size());
    if (!control(EPOLL_CTL_ADD, listener.get(), Source::listener, index, 0)) {
        return os_error(errno);
    }
    listeners_.push_back({.fd = std::move(listener)});
    arm_listeners();
    return Done{};
}

void Epoll::stop_listening() noexcept {
    disarm_listeners();
    for (Listener& listener : listeners_) {
        listener.fd.reset(-1);
    }
    accept_at_ = never;
}

void Epoll::arm_listeners() noexcept {
    accept_at_ = never;  // in any case: a full table is armed by the next close()
    if (slots_.full()) return;
    for (std::uint32_t i = 0; i < listeners_.size(); i++) {
        Listener& listener = listeners_[i];
        if (listener.armed || !listener.fd.valid()) continue;
        listener.armed = true;
        RC_CHECK(control(EPOLL_CTL_MOD, listener.fd.get(), Source::listener, i, EPOLLIN));
    }
}

void Epoll::disarm_listeners() noexcept {
    for (std::uint32_t i = 0; i < listeners_.size(); i++) {
        Listener& listener = listeners_[i];
        if (!listener.armed) continue;
        listener.armed = false;
        RC_CHECK(control(EPOLL_CTL_MOD, listener.fd.get(), Source::listener, i, 0));
    }
}

void Epoll::accept_from(std::uint32_t index, Stint& stint) noexcept {
    for (int i = 0; i < accepts_max; i++) {
        if (slots_.full()) return disarm_listeners();  // close() arms them again
        const Listener& listener = listeners_[index];
        if (!listener.armed) return;  // a callback stopped listening
        const int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
        const int fd = ::accept4(listener.fd.get(), nullptr, nullptr, flags);
        if (fd >= 0) {
            if (adopt(fd, index)) {
                if (stint.over(units_per_accept)) return;  // the rest is reported again
                continue;
            }
            ::close(fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (passes(errno)) {
            continue;  // this one is gone, the next may be well
        }
        // No descriptors or no memory: try again when one is freed, or after a while.
        disarm_listeners();
        accept_at_ = clock_.now() + accept_pause;
        return;
    }
}

bool Epoll::adopt(int fd, std::uint32_t listener) noexcept {
    const ConnIndex conn = slots_.take();
    RC_CHECK(conn != no_conn);
    slots_[conn] = {.fd = fd, .link = no_conn, .error = 0, .flags = live};
    const std::uint32_t events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    if (!control(EPOLL_CTL_ADD, fd, Source::connection, conn, events)) {
        slots_[conn].flags = 0;
        slots_.give_back(conn);
        return false;
    }
    handler_->on_accepted(conn, listener);
    return true;
}

// Connections.

Result<ConnIndex> Epoll::connect(const Address& peer) noexcept {
    if (slots_.full()) return Error{.code = Errc::busy};
    auto [fd, error] = RC_TRY(connect_tcp(peer));

    const ConnIndex conn = slots_.take();
    if (!control(EPOLL_CTL_ADD, fd.get(), Source::connection, conn, EPOLLOUT | EPOLLET)) {
        const int add_error = errno;
        slots_.give_back(conn);
        return os_error(add_error);
    }
    const std::uint16_t flags = live | connecting;
    slots_[conn] = {.fd = fd.release(), .link = no_conn, .error = error, .flags = flags};
    if (error != 0) make_due(conn);
    return conn;
}

void Epoll::finish_connect(ConnIndex conn, int error) noexcept {
    Slot& slot = slots_[conn];
    slot.flags = static_cast<std::uint16_t>(slot.flags & ~connecting);
    if (error != 0) slot.flags |= ended;
    set_interest(conn);
    handler_->on_connected(conn, error);
}

void Epoll::send(std::span<Send> batch) noexcept {
    RC_CHECK(batch.size() <= send_batch_max);
    for (std::size_t i = 0; i < batch.size(); i++) {
        Send& send = batch[i];
        const Slot& slot = usable(send.conn);
        send.by_reference = false;
        if (goes_by_pages(send, options_)) {
            pages_.send(slot.fd, send, next_is_same(batch, i));
        } else {
            send_copy(slot.fd, send);
        }
    }
}

void Epoll::want_writable(ConnIndex conn) noexcept {
    usable(conn).flags |= wants_writable;
    set_interest(conn);
}

void Epoll::pause_recv(ConnIndex conn) noexcept {
    usable(conn).flags |= paused;
    set_interest(conn);
}

void Epoll::resume_recv(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    slot.flags = static_cast<std::uint16_t>(slot.flags & ~paused);
    set_interest(conn);
}

void Epoll::shutdown_send(ConnIndex conn) noexcept {
    ::shutdown(usable(conn).fd, SHUT_WR);  // fails only when the peer is gone: on_ended() tells
}

void Epoll::close(ConnIndex conn) noexcept {
    Slot& slot = usable(conn);
    slot.flags |= closing;
    // Leaves the set as well: nobody else holds this description.
    ::close(slot.fd);
    slot.fd = -1;
    make_due(conn);
}

Result<Address> Epoll::peer(ConnIndex conn) noexcept {
    return peer_address(usable(conn).fd);
}

// Events.

void Epoll::receive(ConnIndex conn, bool until_end, Stint& stint) noexcept {
    const std::size_t room = buffer_.size() - receive_padding;
    for (int i = 0; i < reads_max; i++) {
        Slot& slot = slots_[conn];
        if ((slot.flags & (paused | ended | closing)) != 0) return;
        const ssize_t size = ::recv(slot.fd, buffer_.data(), room, MSG_DONTWAIT);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) return;
        if (size <= 0) {
            slot.flags |= ended;
            return handler_->on_ended(conn, size < 0 ? errno : 0);
        }
        handler_->on_received(conn, MutBytes(buffer_.data(), static_cast<std::size_t>(size)));
        // A short read emptied the socket: what comes later is a new edge.
        const bool over = stint.over(1 + static_cast<std::uint32_t>(size) / bytes_per_unit);
        if (static_cast<std::size_t>(size) < room && !until_end) return;
        if (over) break;
    }
    make_due(conn);  // others want a turn too, and this edge will not come again
}

void Epoll::on_event(ConnIndex conn, std::uint32_t events, Stint& stint) noexcept {
    Slot& slot = slots_[conn];
    if ((slot.flags & (live | closing)) != live) return;  // closed by a callback of this wait()
    const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    if ((slot.flags & connecting) != 0) {
        if (slot.error != 0) return;  // the due list tells
        int error = 0;
        socklen_t size = sizeof(error);
        if (::getsockopt(slot.fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
        return finish_connect(conn, error);
    }
    if ((events & EPOLLIN) != 0 || (events & EPOLLRDHUP) != 0 || broken) {
        receive(conn, (events & EPOLLRDHUP) != 0 || broken, stint);
    }
    if ((slot.flags & closing) != 0) return;
    if ((slot.flags & wants_writable) != 0 && ((events & EPOLLOUT) != 0 || broken)) {
        // Stays in the interest set: want_writable() looks again anyway, and edges are few.
        slot.flags = static_cast<std::uint16_t>(slot.flags & ~wants_writable);
        handler_->on_writable(conn);
    }
}

// What was put off: on_closed(), a connect() that failed at once, and unfinished reading. Runs what
// was on the list at the start, so that a callback that adds to it cannot keep us here.
void Epoll::run_due(Stint& stint) noexcept {
    const std::uint32_t last = due_last_;
    for (std::uint32_t conn = no_conn; conn != last && !stint.over();) {
        conn = due_first_;
        Slot& slot = slots_[conn];
        due_first_ = slot.link;
        if (due_first_ == no_conn) due_last_ = no_conn;
        slot.flags = static_cast<std::uint16_t>(slot.flags & ~due);
        if ((slot.flags & closing) != 0) {
            handler_->on_closed(conn);
            slot.flags = 0;
            slots_.give_back(conn);
            arm_listeners();
        } else if ((slot.flags & connecting) != 0) {
            finish_connect(conn, std::exchange(slot.error, 0));
        } else {
            receive(conn, true, stint);
        }
    }
}

// Sleeps until the deadline and fetches events; none when a signal came first.
void Epoll::fetch(Nanos deadline) noexcept {
    RC_CHECK(event_next_ == event_count_);
    event_next_ = 0;
    event_count_ = std::max(0, sleep_until(std::min(deadline, accept_at_)));
}

int Epoll::sleep_until(Nanos deadline) noexcept {
    const Nanos left = clock_.left_until(deadline);
    if (precise_wait_ && left > 0 && deadline != never) {
        const timespec timeout{.tv_sec = left / nanos_per_s, .tv_nsec = left % nanos_per_s};
        const int count =
            ::epoll_pwait2(epoll_.get(), events_.data(), events_max, &timeout, nullptr);
        if (count >= 0 || errno != ENOSYS) return count;
        precise_wait_ = false;
    }
    // Rounded up: waking a moment late is right, waking early would be a turn for nothing.
    const Nanos ms = std::min<Nanos>((left + nanos_per_ms - 1) / nanos_per_ms, 60'000);
    return ::epoll_wait(epoll_.get(), events_.data(), events_max, static_cast<int>(ms));
}

void Epoll::wait(Nanos deadline) noexcept {
    RC_CHECK(handler_ != nullptr);
    const bool some_left = event_next_ < event_count_;
    const bool sleeps = !some_left && due_first_ == no_conn;
    if (sleeps) fetch(deadline);
    clock_.read();
    Stint stint(*this, callback_time);
    if (!some_left && !sleeps) {
        // Only when all events are handled and before new ones are fetched: what is closed here can
        // no longer be among them, so an index that is given out again never meets an event of its
        // former owner.
        run_due(stint);
        fetch(0);
    }
    run_events(stint);
    if (accept_at_ <= clock_.now()) arm_listeners();
}

void Epoll::run_events(Stint& stint) noexcept {
    for (bool over = false; event_next_ < event_count_ && !over;) {
        const epoll_event event = events_[static_cast<std::size_t>(event_next_)];
        event_next_++;
        const auto index = static_cast<std::uint32_t>(event.data.u64);
        switch (static_cast<Source>(event.data.u64 >> 32)) {
            case Source::connection:
                on_event(index, event.events, stint);
                break;
            case Source::listener:
                accept_from(index, stint);
                break;
            case Source::wake:
                break;
        }
        over = stint.over();
    }
}

}  // namespace

Result<std::unique_ptr<Reactor>> make_epoll(const ReactorOptions& options) noexcept {
    auto epoll = std::make_unique<Epoll>(options);
    static_cast<void>(RC_TRY(epoll->start()));
    return std::unique_ptr<Reactor>(std::move(epoll));
}

}  // namespace ringcast::io
