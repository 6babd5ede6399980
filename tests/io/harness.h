#pragma once

// What the tests of a reactor share: every back end that this kernel has, a handler that writes
// down what it is told, and peers that are plain non-blocking sockets in the same thread.

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/probe.h"
#include "io/reactor.h"
#include "io/socket.h"
#include "tests/io/inject.h"

namespace ringcast::io::test {

struct Variant {
    const char* name;
    Backend backend;
    bool direct;
    bool incremental;
};

// For cases that are of io_uring alone: whether there is none, which is said.
[[nodiscard]] inline bool no_uring() {
    const Probe probe = probe_uring();
    if (!probe.usable) MESSAGE("SKIPPED a case of io_uring: " << probe.why);
    return !probe.usable;
}

inline const std::vector<Variant>& variants() {
    static const std::vector<Variant> all = [] {
        std::vector<Variant> list{{"epoll", Backend::epoll, false, false}};
        const Probe probe = probe_uring();
        if (!probe.usable) {
            MESSAGE("SKIPPED io_uring: " << probe.why);
            return list;
        }
        list.push_back({"uring restricted, whole buffers", Backend::uring, false, false});
        list.push_back({"uring restricted direct, whole buffers", Backend::uring, true, false});
        if (!probe.incremental_buffers) return list;
        list.push_back({"uring", Backend::uring, false, true});
        list.push_back({"uring direct", Backend::uring, true, true});
        return list;
    }();
    return all;
}

inline std::unique_ptr<Reactor> make(const Variant& variant, ReactorOptions options) {
    options.direct_descriptors = variant.direct;
    options.incremental_buffers = variant.incremental;
    options.restricted = !variant.incremental;
    std::string why;
    auto reactor = make_reactor(variant.backend, options, why);
    INFO(variant.name, ": ", why);
    REQUIRE(reactor.ok());
    return std::move(reactor).value();
}

// Bytes that tell from which stream and from where in it they come.
inline char byte_of(std::size_t stream, std::size_t position) {
    std::uint64_t x = (stream + 1) * 0x9e3779b97f4a7c15U + position * 0xbf58476d1ce4e5b9U;
    x ^= x >> 29;
    return static_cast<char>(x * 0x94d049bb133111ebU >> 56);
}
inline std::string stream_bytes(std::size_t stream, std::size_t from, std::size_t size) {
    std::string bytes(size, 0);
    for (std::size_t i = 0; i < size; i++)
        bytes[i] = byte_of(stream, from + i);
    return bytes;
}

// A peer. Everything is non-blocking; errors are returned as -errno.
class Peer {
  public:
    explicit Peer(const Address& server, int receive_buffer = 0) {
        fd_ = Fd(::socket(server.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(fd_.valid());
        if (receive_buffer != 0) {
            ::setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        }
        sockaddr_storage storage{};
        const socklen_t size = to_sockaddr(server, storage);
        const int done = ::connect(fd(), reinterpret_cast<const sockaddr*>(&storage), size);
        error_ = done == 0 ? 0 : errno;
    }

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] int connect_error() const { return error_; }
    [[nodiscard]] Address address() const { return local_address(fd()).value(); }

    long send(std::string_view bytes) const {
        const ssize_t sent = ::send(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return sent < 0 ? -errno : sent;
    }
    // Appends what is there to `received`; 0 at the end of the stream, else -errno.
    long receive(std::size_t size = 65536) {
        std::string bytes(size, 0);
        const ssize_t got = ::recv(fd(), bytes.data(), size, MSG_DONTWAIT);
        if (got > 0) received.append(bytes, 0, static_cast<std::size_t>(got));
        return got < 0 ? -errno : got;
    }
    // Reads until nothing is there; true when the stream has ended, in order or not.
    bool drain() {
        long got = 1;
        while (got > 0)
            got = receive();
        return got != -EAGAIN;
    }
    void finish() const { ::shutdown(fd(), SHUT_WR); }
    void reset() {
        const linger now{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        fd_.reset(-1);
    }
    void close() { fd_.reset(-1); }

    std::string received;

  private:
    Fd fd_;
    int error_ = 0;
};

// What happened to one index since it last became live.
struct Seen {
    std::uint32_t listener = 0;
    std::string received;
    int ended = -1;      // the error, once on_ended() came
    int connected = -1;  // the error, once on_connected() came
    int writable = 0;
    bool live = false;
    bool close_called = false;
};

class Recorder final : public Handler {
  public:
    explicit Recorder(Reactor& reactor) : reactor_(reactor) { reactor.set_handler(*this); }

    void on_accepted(ConnIndex conn, std::uint32_t listener) noexcept override {
        REQUIRE_FALSE(seen[conn].live);
        seen[conn] = Seen{};
        seen[conn].live = true;
        seen[conn].listener = listener;
        accepted.push_back(conn);
        if (accepted_hook) accepted_hook(conn);
    }
    void on_received(ConnIndex conn, MutBytes bytes) noexcept override {
        Seen& now = open(conn);
        CHECK(now.ended == -1);
        REQUIRE(!bytes.empty());
        now.received += as_text(bytes);
        // The view is ours to change, and what lies behind it may be read.
        volatile std::byte beyond = bytes.data()[bytes.size() + receive_padding - 1];
        static_cast<void>(beyond);
        std::memset(bytes.data(), '#', bytes.size());
        received_count++;
        if (received_hook) received_hook(conn);
    }
    void on_ended(ConnIndex conn, int os_error) noexcept override {
        Seen& now = open(conn);
        CHECK(now.ended == -1);
        now.ended = os_error;
        if (ended_hook) ended_hook(conn);
    }
    void on_writable(ConnIndex conn) noexcept override {
        open(conn).writable++;
        if (writable_hook) writable_hook(conn);
    }
    void on_connected(ConnIndex conn, int os_error) noexcept override {
        Seen& now = open(conn);
        CHECK(now.connected == -1);
        now.connected = os_error;
    }
    void on_closed(ConnIndex conn) noexcept override {
        REQUIRE(seen[conn].live);
        REQUIRE(seen[conn].close_called);
        CHECK_FALSE(closing_now);
        seen[conn].live = false;
        closed.push_back(conn);
    }

    ConnIndex connect(const Address& peer) {
        auto conn = reactor_.connect(peer);
        REQUIRE(conn.ok());
        REQUIRE_FALSE(seen[conn.value()].live);
        seen[conn.value()] = Seen{};
        seen[conn.value()].live = true;
        return conn.value();
    }
    void close(ConnIndex conn) {
        open(conn).close_called = true;
        closing_now = true;
        reactor_.close(conn);
        closing_now = false;
    }
    std::int32_t send(ConnIndex conn, std::string_view bytes) {
        Send one{.conn = conn, .bytes = as_bytes(bytes)};
        reactor_.send({&one, 1});
        return one.result;
    }

    // Turns until `done` says so; false after ten seconds.
    template <typename Done>
    bool run_until(const Done& done) {
        const Nanos start = reactor_.now();
        while (!done()) {
            reactor_.wait(reactor_.now() + 2 * nanos_per_ms);
            if (reactor_.now() - start > 10 * nanos_per_s) return false;
        }
        return true;
    }
    // Turns for a while, whatever happens.
    void run_for(Nanos time) {
        reactor_.wait(0);
        const Nanos end = reactor_.now() + time;
        while (reactor_.now() < end)
            reactor_.wait(end);
    }

    std::map<ConnIndex, Seen> seen;
    std::vector<ConnIndex> accepted;
    std::vector<ConnIndex> closed;
    std::size_t received_count = 0;
    std::function<void(ConnIndex)> accepted_hook;
    std::function<void(ConnIndex)> received_hook;
    std::function<void(ConnIndex)> ended_hook;
    std::function<void(ConnIndex)> writable_hook;

  private:
    Seen& open(ConnIndex conn) {
        REQUIRE(seen[conn].live);
        REQUIRE_FALSE(seen[conn].close_called);
        return seen[conn];
    }

    Reactor& reactor_;
    bool closing_now = false;
};

// A reactor that listens on a port of its own.
struct Server {
    explicit Server(const Variant& variant,
                    const ReactorOptions& options = {},
                    const ListenOptions& listening = {})
        : reactor(make(variant, options)), handler(*reactor) {
        const Address any = parse_address("127.0.0.1:0").value();
        auto fd = listen_tcp(any, listening);
        REQUIRE(fd.ok());
        address = local_address(fd.value().get()).value();
        REQUIRE(reactor->listen(std::move(fd).value()).ok());
    }

    std::unique_ptr<Peer> peer(int receive_buffer = 0) const {
        auto made = std::make_unique<Peer>(address, receive_buffer);
        REQUIRE(made->connect_error() == 0);
        return made;
    }
    // A peer, and the index that it got.
    std::unique_ptr<Peer> accept_one(ConnIndex& conn) {
        auto made = peer();
        const std::size_t before = handler.accepted.size();
        REQUIRE(handler.run_until([&] { return handler.accepted.size() > before; }));
        conn = handler.accepted.back();
        return made;
    }
    std::unique_ptr<Peer> accept_one() {
        ConnIndex conn = no_conn;
        return accept_one(conn);
    }

    std::unique_ptr<Reactor> reactor;
    Recorder handler;
    Address address;
};

}  // namespace ringcast::io::test
