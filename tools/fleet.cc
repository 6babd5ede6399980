#include "fleet.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "clock.h"
#include "process.h"

namespace ringcast::tools {

namespace {

constexpr std::size_t buffer_size = std::size_t{256} * 1024;  // stays in the second-level cache
constexpr int reads_max = 16;  // from one connection before others get a turn
constexpr std::size_t events_max = 1'024;
constexpr std::uint64_t files_reserved = 64;
constexpr Nanos abandoned_for = nanos_per_s;

// Closing resets: no TIME_WAIT, no FIN.
void reset_on_close(int fd) noexcept {
    const linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

Fleet::Fleet(const Options& options, const Url& url, Owner& owner) noexcept
    : options_(options),
      target_{.url = url, .host = url.host + ":" + std::to_string(url.port)},
      apart_{.url = options.apart_url,
             .host = options.apart_url.host + ":" + std::to_string(options.apart_url.port)},
      owner_(owner),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      conns_(options.connections),
      streams_(options.connections),
      buffer_(new std::byte[buffer_size]),
      events_(events_max) {
    queue_.reserve(options.connections);
    std::byte nonce[16];
    std::uint64_t bits = static_cast<std::uint64_t>(clock_now()) * 0x9e3779b97f4a7c15;
    for (std::byte& byte : nonce) {
        byte = static_cast<std::byte>(bits & 0xff);
        bits = bits * 6364136223846793005 + 1442695040888963407;
        bits ^= bits >> 32;
    }
    key_ = base64(nonce);
    accept_ = accept_value(key_);
}

Fleet::~Fleet() {
    streams_.clear();
    for (Conn& conn : conns_) {
        if (conn.fd >= 0) ::close(conn.fd);
    }
    drop_abandoned(never);
    if (epoll_ >= 0) ::close(epoll_);
}

bool Fleet::prepare() noexcept {
    const std::uint64_t wanted = options_.connections + files_reserved;
    const std::uint64_t limit = raise_file_limit(wanted);
    if (limit < wanted) {
        error_ = "the file limit is " + std::to_string(limit) + ", too low for " +
                 std::to_string(options_.connections) + " connections (ulimit -n " +
                 std::to_string(wanted) + ")";
        return false;
    }
    if ((target_.url.secure || apart_.url.secure) && !tls_.open(options_.tls)) {
        error_ = tls_.problem();
        return false;
    }
    return epoll_ >= 0 && resolve(target_) && (options_.apart == 0 || resolve(apart_));
}

bool Fleet::resolve(Target& target) noexcept {
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int failed = getaddrinfo(
        target.url.host.c_str(), std::to_string(target.url.port).c_str(), &hints, &found);
    if (failed != 0 || found == nullptr) {
        error_ = "cannot resolve " + target.url.host + ": " + gai_strerror(failed);
        return false;
    }
    std::memcpy(&target.address, found->ai_addr, found->ai_addrlen);
    target.address_size = found->ai_addrlen;
    freeaddrinfo(found);
    if (target.address.ss_family == AF_INET) {
        const auto* in = reinterpret_cast<const sockaddr_in*>(&target.address);
        target.loopback = (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    return true;
}

void Fleet::enqueue(std::uint32_t index) noexcept {
    RC_CHECK(index < conns_.size());
    queue_.push_back(index);
}

void Fleet::start_due(Nanos now) noexcept {
    if (options_.ramp_per_s <= 0 || next_start_ == 0) next_start_ = now;
    while (started_ < queue_.size() && in_flight_ < options_.concurrency && next_start_ <= now) {
        start(queue_[started_++], now);
        if (options_.ramp_per_s > 0) {
            next_start_ += static_cast<Nanos>(1e9 / options_.ramp_per_s);
        }
    }
    if (started_ == queue_.size()) {
        queue_.clear();
        started_ = 0;
    }
}

void Fleet::set_options(int fd, const Conn& conn, std::uint32_t index) noexcept {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!options_.congestion.empty()) {
        setsockopt(fd,
                   IPPROTO_TCP,
                   TCP_CONGESTION,
                   options_.congestion.data(),
                   static_cast<socklen_t>(options_.congestion.size()));
    }
    // Without it the kernel takes megabytes on behalf of somebody who does not read.
    const auto size =
        static_cast<int>(conn.muted ? options_.slow_receive_buffer : options_.receive_buffer);
    if (size != 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    if (!target_of(index).loopback || options_.sources < 2) return;
    sockaddr_in source = {};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index % options_.sources);
    // The port is chosen at connect(), when the peer is known: else 28,000 in all, not per address.
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0 && error_.empty()) {
        error_ = std::string("bind: ") + os_text(errno);
    }
}

void Fleet::start(std::uint32_t index, Nanos now) noexcept {
    Conn& conn = conns_[index];
    RC_CHECK(conn.fd < 0);
    conn.started_at = now;
    conn.end = End::none;
    conn.close_code = 0;
    in_flight_++;
    conn.stage = Stage::connecting;
    const Target& target = target_of(index);
    conn.fd =
        socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (conn.fd < 0) return refuse(conn, std::string("socket: ") + os_text(errno));
    set_options(conn.fd, conn, index);
    const auto* peer = reinterpret_cast<const sockaddr*>(&target.address);
    if (connect(conn.fd, peer, target.address_size) != 0 && errno != EINPROGRESS) {
        return refuse(conn, std::string("connect: ") + os_text(errno));
    }
    epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                         .data = {.u32 = index}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, conn.fd, &event) != 0) {
        refuse(conn, std::string("epoll_ctl: ") + os_text(errno));
    }
}

void Fleet::refuse(Conn& conn, const std::string& why) noexcept {
    if (error_.empty()) error_ = why;
    finish(conn, End::refused);
}

void Fleet::finish(Conn& conn, End end) noexcept {
    if (conn.stage == Stage::closed || conn.stage == Stage::unused) return;
    if (conn.stage == Stage::connecting || conn.stage == Stage::shaking) {
        in_flight_--;
        refused_count_++;
        end = End::refused;
    } else {
        open_count_--;
    }
    if (conn.end == End::none) conn.end = end;
    on_pong(conn);
    conn.stage = Stage::closed;
    owner_.on_closed(conn);
    stream_of(conn).reset();
    if (conn.fd >= 0) ::close(conn.fd);
    conn.fd = -1;
    conn.reader.splitter = {};
}

void Fleet::abort(Conn& conn) noexcept {
    if (stream_of(conn) != nullptr) stream_of(conn)->forget();
    reset_on_close(conn.fd);
    finish(conn, End::ours);
}

void Fleet::abandon(Conn& conn) noexcept {
    if (conn.fd < 0) return;
    if (stream_of(conn) != nullptr) stream_of(conn)->forget();
    epoll_ctl(epoll_, EPOLL_CTL_DEL, conn.fd, nullptr);
    abandoned_.push_back({.until = clock_now() + abandoned_for, .fd = conn.fd});
    conn.fd = -1;
    finish(conn, End::ours);
}

void Fleet::drop_abandoned(Nanos now) noexcept {
    for (; !abandoned_.empty() && abandoned_.front().until <= now; abandoned_.pop_front()) {
        reset_on_close(abandoned_.front().fd);
        ::close(abandoned_.front().fd);
    }
}

bool Fleet::send_small(Conn& conn, std::string_view bytes) noexcept {
    if (conn.fd < 0) return false;
    if (write(conn, bytes) == static_cast<std::ptrdiff_t>(bytes.size())) return true;
    finish(conn, End::dropped);
    return false;
}

std::ptrdiff_t Fleet::write(Conn& conn, std::string_view bytes) noexcept {
    const std::unique_ptr<TlsStream>& stream = stream_of(conn);
    const ssize_t sent =
        stream != nullptr ? stream->write(bytes.data(), bytes.size())
                          : send(conn.fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    return sent;
}

// As recv() into the buffer.
ssize_t Fleet::read_some(const Conn& conn, std::size_t size) noexcept {
    const std::unique_ptr<TlsStream>& stream = stream_of(conn);
    if (stream != nullptr) return stream->read(buffer_.get(), size);
    return recv(conn.fd, buffer_.get(), size, MSG_DONTWAIT);
}

// True once the connection is encrypted. Until then it stays in Stage::connecting.
bool Fleet::shake_tls(Conn& conn) noexcept {
    const auto index = static_cast<std::uint32_t>(&conn - conns_.data());
    std::unique_ptr<TlsStream>& stream = stream_of(conn);
    if (stream == nullptr) {
        stream = std::make_unique<TlsStream>(tls_, conn.fd, target_of(index).url.host);
    }
    const TlsStream::Shaken shaken = stream->shake();
    if (shaken == TlsStream::Shaken::failed) refuse(conn, std::string(stream->problem()));
    return shaken == TlsStream::Shaken::done;
}

// Sends the request once connect() has succeeded.
void Fleet::ask(Conn& conn) noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(conn.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return refuse(conn, std::string("connect: ") + os_text(error));
    const auto index = static_cast<std::uint32_t>(&conn - conns_.data());
    if (target_of(index).url.secure && !shake_tls(conn)) return;
    conn.stage = Stage::shaking;
    send_small(
        conn,
        upgrade_request(target_of(index).host, owner_.path_of(index), key_, compresses(index)));
}

void Fleet::shake_hands(Conn& conn, Bytes bytes, Nanos now) noexcept {
    // Nearly always the whole head arrives at once; if not, the splitter's memory holds the start.
    std::string head(as_text(bytes));
    head.insert(0, as_text(conn.reader.splitter.held()));
    const std::size_t held = head.size() - bytes.size();
    const UpgradeAnswer answer = check_upgrade(head, accept_);
    conn.reader.splitter = {};
    if (answer.result == Upgrade::need_more) return conn.reader.splitter.keep(as_bytes(head));
    if (answer.result != Upgrade::accepted) {
        return refuse(conn,
                      answer.result == Upgrade::refused
                          ? "the server answered " + std::to_string(answer.status)
                          : std::string("the answer to the handshake is malformed"));
    }
    if (answer.compresses != compresses(static_cast<std::uint32_t>(&conn - conns_.data()))) {
        return refuse(conn,
                      answer.compresses ? "the server compresses without being asked"
                                        : "the server does not compress (--compression)");
    }
    conn.stage = Stage::open;
    in_flight_--;
    open_count_++;
    handshakes_.record(now - conn.started_at);
    owner_.on_open(conn);
    const Bytes rest = bytes.subspan(answer.size - held);
    if (!rest.empty() && conn.fd >= 0) owner_.on_bytes(conn, rest, now);
}

void Fleet::on_received(Conn& conn, Bytes bytes, Nanos now) noexcept {
    if (conn.stage == Stage::shaking) {
        shake_hands(conn, bytes, now);
    } else {
        owner_.on_bytes(conn, bytes, now);
    }
}

// A short read means that the socket is empty, unless its end is in there too.
void Fleet::read_from(Conn& conn, bool ended) noexcept {
    for (int i = 0; i < reads_max; i++) {
        const ssize_t count = read_some(conn, buffer_size);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) {
            if (conn.stage == Stage::shaking) {
                return refuse(conn, "the server hung up in the handshake");
            }
            return finish(conn, End::dropped);  // unless its owner has seen the close frame
        }
        const auto size = static_cast<std::size_t>(count);
        on_received(conn, {buffer_.get(), size}, clock_now());
        if (conn.fd < 0 || silent(conn)) return;
        if (size < buffer_size && !ended) return;
    }
    again_.push_back(static_cast<std::uint32_t>(&conn - conns_.data()));
}

void Fleet::read_muted(Conn& conn, std::size_t budget) noexcept {
    if (conn.fd < 0) return;
    const std::size_t room = std::min(budget, buffer_size);
    const ssize_t count = read_some(conn, room);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return finish(conn, End::dropped);
    on_received(conn, {buffer_.get(), static_cast<std::size_t>(count)}, clock_now());
}

void Fleet::unmute(Conn& conn) noexcept {
    conn.muted = false;
    again_.push_back(static_cast<std::uint32_t>(&conn - conns_.data()));
}

void Fleet::on_event(Conn& conn, std::uint32_t events) noexcept {
    if (conn.fd < 0) return;
    if ((events & EPOLLOUT) != 0) {
        if (conn.stage == Stage::connecting) {
            ask(conn);
        } else if (conn.stage == Stage::open) {
            owner_.on_writable(conn);
        }
    } else if (conn.stage == Stage::connecting) {
        ask(conn);  // an error, or a step of TLS
    }
    if (conn.stage == Stage::connecting) return;
    const bool ended = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (conn.fd < 0 || (events & ~static_cast<std::uint32_t>(EPOLLOUT)) == 0) return;
    if (silent(conn)) return;
    read_from(conn, ended);
}

std::size_t Fleet::turn(Nanos timeout) noexcept {
    if (started_ < queue_.size()) {
        start_due(clock_now());
        if (started_ < queue_.size() && in_flight_ < options_.concurrency) {
            timeout = std::min<Nanos>(timeout, nanos_per_ms);  // paced: somebody is due soon
        }
    }
    if (!abandoned_.empty()) drop_abandoned(clock_now());
    if (!again_.empty()) timeout = 0;
    int count = 0;
    if (timeout > 0 && timeout != never) {
        const timespec span = {.tv_sec = timeout / nanos_per_s, .tv_nsec = timeout % nanos_per_s};
        count = epoll_pwait2(epoll_, events_.data(), events_max, &span, nullptr);
    } else {
        count = epoll_wait(epoll_, events_.data(), events_max, timeout <= 0 ? 0 : -1);
    }
    for (int i = 0; i < count; i++) {
        const epoll_event& event = events_[static_cast<std::size_t>(i)];
        on_event(conns_[event.data.u32], event.events);
    }
    std::vector<std::uint32_t> again;
    again.swap(again_);
    for (const std::uint32_t index : again) {
        if (conns_[index].fd >= 0) read_from(conns_[index], false);
    }
    return static_cast<std::size_t>(std::max(count, 0)) + again.size();
}

void Fleet::ping(Conn& conn) noexcept {
    RC_CHECK(!conn.pinged);
    std::string frame;
    append_frame(frame, Opcode::ping, {}, 0x85ebca6b);
    if (!send_small(conn, frame)) return;
    conn.pinged = true;
    pinged_count_++;
}

void Fleet::on_pong(Conn& conn) noexcept {
    if (!conn.pinged) return;
    conn.pinged = false;
    pinged_count_--;
}

void Fleet::await_pongs(Nanos patience) noexcept {
    const Nanos deadline = clock_now() + patience;
    for (Nanos now = clock_now(); now < deadline && pinged_count_ > 0; now = clock_now()) {
        turn(deadline - now);
    }
}

void Fleet::close_all(Nanos patience) noexcept {
    std::string goodbye;
    append_close(goodbye, 1000);
    queue_.clear();
    started_ = 0;
    for (Conn& conn : conns_) {
        if (conn.stage != Stage::open) continue;
        conn.stage = Stage::closing;
        conn.muted = false;
        send_small(conn, goodbye);
    }
    const Nanos deadline = clock_now() + patience;
    while (open_count_ > 0 && clock_now() < deadline) {
        turn(50 * nanos_per_ms);
    }
    for (Conn& conn : conns_) {
        if (conn.fd >= 0) finish(conn, End::ours);
    }
}

}  // namespace ringcast::tools
