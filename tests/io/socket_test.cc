#include "io/socket.h"

#include <cerrno>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/tcp.h>

#include "tests/io/harness.h"

namespace ringcast::io::test {

namespace {

[[nodiscard]] int option_of(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    REQUIRE(::getsockopt(fd, level, name, &value, &size) == 0);
    return value;
}

[[nodiscard]] bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

}  // namespace

TEST_CASE("socket: addresses are read and written back, anything else is refused") {
    for (const char* text : {"127.0.0.1:8080",
                             "0.0.0.0:0",
                             "255.1.2.3:65535",
                             "[::1]:8080",
                             "[::]:0",
                             "[fe80::1:2]:1"}) {
        CAPTURE(text);
        const auto address = parse_address(text);
        REQUIRE(address.ok());
        auto copy = parse_address(text);
        CHECK(format_address(copy.value()) == text);
        sockaddr_storage storage{};
        CHECK(to_sockaddr(copy.value(), storage) > 0);
        CHECK(from_sockaddr(storage).value() == copy.value());
    }
    for (const char* text : {"",
                             ":",
                             ":80",
                             "127.0.0.1",
                             "127.0.0.1:",
                             "127.0.0.1:65536",
                             "127.0.0.1:-1",
                             "127.0.0.1: 80",
                             "127.0.0.1:80 ",
                             "127.0.0:80",
                             "256.0.0.1:80",
                             "localhost:80",
                             "::1:80",
                             "[::1]",
                             "[::1]80",
                             "[::1:80",
                             "::1]:80",
                             "[127.0.0.1]:80",
                             "[]:80",
                             "[::1]:8o",
                             "[::1%lo]:80",
                             "[1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:0:1:2:3:4:5:6:7:8]:80"}) {
        CAPTURE(text);
        CHECK(parse_address(text).error() == Error{.code = Errc::bad_request});
    }
    CHECK(from_sockaddr(sockaddr_storage{}).error().code == Errc::bad_request);
}

TEST_CASE("socket: a descriptor has one owner, and is closed with it") {
    int number = -1;
    {
        Fd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        number = first.get();
        Fd second(std::move(first));
        CHECK(second.get() == number);
        Fd third;
        CHECK_FALSE(third.valid());
        third = std::move(second);
        CHECK(third.valid());
        CHECK(is_open(number));
    }
    CHECK_FALSE(is_open(number));
    Fd given(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const Fd taken(given.release());
    CHECK_FALSE(given.valid());
    CHECK(is_open(taken.get()));
}

TEST_CASE("socket: accepted sockets inherit the options of their listener") {
    const ListenOptions options{
        .notsent_lowat = 20'000, .send_buffer = 50'000, .congestion = "reno"};
    auto listener = listen_tcp(parse_address("127.0.0.1:0").value(), options);
    REQUIRE(listener.ok());
    const int fd = listener.value().get();
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    const Peer peer(local_address(fd).value());
    REQUIRE(peer.connect_error() == 0);
    const Fd accepted(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(accepted.valid());
    CHECK(option_of(accepted.get(), IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option_of(accepted.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 20'000);
    CHECK(option_of(accepted.get(), SOL_SOCKET, SO_SNDBUF) == 100'000);  // the kernel doubles it
    char congestion[16] = {};
    socklen_t size = sizeof(congestion);
    REQUIRE(::getsockopt(accepted.get(), IPPROTO_TCP, TCP_CONGESTION, congestion, &size) == 0);
    CHECK(std::string_view(congestion) == "reno");
    CHECK(peer_address(accepted.get()).value() == peer.address());
    CHECK(peer_address(fd).error().os == ENOTCONN);
    CHECK(local_address(-1).error().os == EBADF);
}

TEST_CASE("socket: a connection begins without waiting, and says what failed at once") {
    auto listener = listen_tcp(parse_address("127.0.0.1:0").value(), {});
    REQUIRE(listener.ok());
    auto begun = connect_tcp(local_address(listener.value().get()).value());
    REQUIRE(begun.ok());
    CHECK(begun.value().error == 0);
    const int fd = begun.value().fd.get();
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(option_of(fd, IPPROTO_TCP, TCP_NODELAY) == 1);

    auto failed = connect_tcp(parse_address("224.0.0.1:1").value());  // nobody speaks TCP there
    REQUIRE(failed.ok());
    CHECK(failed.value().error == ENETUNREACH);
}

TEST_CASE("socket: listening fails with the kernel's reason") {
    auto first = listen_tcp(parse_address("127.0.0.1:0").value(), {});
    REQUIRE(first.ok());
    const Address taken = local_address(first.value().get()).value();
    CHECK(listen_tcp(taken, {}).ok());  // another shard: SO_REUSEPORT
    CHECK(listen_tcp(taken, {.reuse_port = false}).error() == os_error(EADDRINUSE));
    CHECK(listen_tcp(parse_address("192.0.2.1:0").value(), {}).error() == os_error(EADDRNOTAVAIL));
    const Address any = parse_address("127.0.0.1:0").value();
    CHECK(listen_tcp(any, {.congestion = "no-such"}).error() == os_error(ENOENT));
}

TEST_CASE("socket: only what concerns one newcomer passes") {
    for (const int error : {EINTR, ECONNABORTED, EPROTO})
        CHECK(passes(error));
    for (const int error : {EMFILE, ENFILE, ENOMEM, ENOBUFS, EPERM})
        CHECK_FALSE(passes(error));
}

}  // namespace ringcast::io::test
