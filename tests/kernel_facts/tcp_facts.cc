// TCP: who is declared dead, and what becomes of a backlog.

#include <algorithm>
#include <cstring>

#include <linux/filter.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "tests/kernel_facts/facts.h"

namespace ringcast::io::facts {

namespace {

void set_user_timeout(int fd, int ms) {
    REQUIRE(::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) == 0);
}

// From now on every packet to `fd` is lost before TCP sees it: a peer that has vanished.
void black_hole(int fd) {
    sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const sock_fprog program{.len = 1, .filter = drop};
    REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
}

// The error that ends the connection, and after how long; 0 if it lives on.
int error_within(int fd, int ms) {
    pollfd poll{.fd = fd, .events = POLLRDHUP, .revents = 0};
    if (::poll(&poll, 1, ms) <= 0) return 0;
    int error = 0;
    socklen_t size = sizeof(error);
    REQUIRE(::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    return error;
}

// A network of our own with loopback up.
[[nodiscard]] bool own_network() {
    if (::unshare(CLONE_NEWNET) != 0) return false;
    const Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    return ::ioctl(any.get(), SIOCSIFFLAGS, &request) == 0;
}

[[nodiscard]] bool set_sysctl(const char* path, const char* value) {
    const Fd file(::open(path, O_WRONLY | O_CLOEXEC));
    return file.valid() && ::write(file.get(), value, 1) == 1;
}

// How many of `count` queued connections are reset when one of two listeners on a port is closed.
int resets_of(int count) {
    const Fd first = listener(256);
    auto second = listen_tcp(local_address(first.get()).value(), {.backlog = 256});
    REQUIRE(second.ok());
    std::vector<Fd> peers;
    for (int i = 0; i < count; i++)
        peers.push_back(connect_to(first.get()));
    const auto queued = [](const Fd& listening) {
        return static_cast<int>(tcp_info_of(listening.get()).tcpi_unacked);
    };
    REQUIRE(wait_until([&] { return queued(first) + queued(second.value()) == count; }));
    second.value().reset(-1);
    // Whoever was queued there is hung up on, or joins the other queue.
    REQUIRE(wait_until([&] {
        return queued(first) +
                   std::count_if(peers.begin(),
                                 peers.end(),
                                 [](const Fd& peer) {
                                     return (events_within(peer.get(), POLLIN, 0) & POLLHUP) != 0;
                                 }) ==
               count;
    }));
    return static_cast<int>(std::count_if(peers.begin(), peers.end(), [](const Fd& peer) {
        return end_seen(peer.get(), 0) == -ECONNRESET;
    }));
}

}  // namespace

TEST_CASE("K7: TCP_USER_TIMEOUT ends a live peer whose window is closed") {
    const Pair pair;
    set_user_timeout(pair.ours.get(), 300);
    const std::string bytes(1 << 20, 'z');
    while (::send(pair.ours.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
    CHECK(error_within(pair.ours.get(), 2 * patience_ms) == ETIMEDOUT);
}

TEST_CASE("K8: a vanished peer is noticed by sending only, and only with TCP_USER_TIMEOUT soon") {
    const Pair idle;
    const Pair sending;
    set_user_timeout(idle.ours.get(), 300);
    set_user_timeout(sending.ours.get(), 300);
    black_hole(idle.peer.get());
    black_hole(sending.peer.get());
    REQUIRE(::send(sending.ours.get(), "are you there", 13, 0) == 13);
    CHECK(error_within(sending.ours.get(), 2 * patience_ms) == ETIMEDOUT);
    CHECK(error_within(idle.ours.get(), 100) == 0);
}

TEST_CASE("K10: closing one of two listeners resets its queue, unless tcp_migrate_req is set") {
    const bool can = in_child(
        [] { return own_network() && set_sysctl("/proc/sys/net/ipv4/tcp_migrate_req", "0"); });
    if (!can) SKIP_FACT("no network namespace, or no tcp_migrate_req in it (Linux 5.14)");
    CHECK(in_child([] {
        REQUIRE(own_network());
        REQUIRE(set_sysctl("/proc/sys/net/ipv4/tcp_migrate_req", "0"));
        REQUIRE(resets_of(100) > 10);
        REQUIRE(set_sysctl("/proc/sys/net/ipv4/tcp_migrate_req", "1"));
        REQUIRE(resets_of(100) == 0);
        return true;
    }));
}

}  // namespace ringcast::io::facts
