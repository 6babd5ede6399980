#include <string>

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "faultproxy/fault.h"
#include "faultproxy/proxy.h"
#include "tests/support/wait.h"

using namespace ringcast;
using namespace ringcast::faultproxy;

namespace {

std::string complaint_of(std::string_view line) {
    Command command;
    std::string complaint;
    const bool understood = parse_command(line, command, complaint);
    CHECK(understood == complaint.empty());
    return complaint;
}

Command parsed(std::string_view line) {
    Command command;
    std::string complaint;
    REQUIRE_MESSAGE(parse_command(line, command, complaint), complaint);
    return command;
}

constexpr std::string_view loopback = "127.0.0.1:0";

io::Address address_of(std::string_view text) {
    Result<io::Address> address = io::parse_address(text);
    REQUIRE(address.ok());
    return address.value();
}

io::Fd dial(std::string_view where) {
    sockaddr_storage target = {};
    const socklen_t size = io::to_sockaddr(address_of(where), target);
    io::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(connect(fd.get(), reinterpret_cast<sockaddr*>(&target), size) == 0);
    return fd;
}

// A listener as the target, the proxy before it, and both ends of one link.
struct World {
    explicit World(const std::string& control = {}, std::uint32_t links_max = 16) {
        Result<io::Fd> made = io::listen_tcp(address_of(loopback), {.reuse_port = false});
        REQUIRE(made.ok());
        listener = std::move(made.value());
        Result<io::Address> target = io::local_address(listener.get());
        REQUIRE(target.ok());
        proxy = std::make_unique<Proxy>(Proxy::Options{.listen = address_of(loopback),
                                                       .target = target.value(),
                                                       .control = control,
                                                       .seed = 5,
                                                       .links_max = links_max});
        REQUIRE(proxy->open().ok());
    }

    void link() {
        client = dial(proxy->address());
        REQUIRE(until([&] { return test::events_within(listener.get(), POLLIN, 0) != 0; }));
        server.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(server.valid());
    }

    template <typename Predicate>
    bool until(const Predicate& happened) {
        return test::wait_until([&] {
            proxy->turn(0);
            return happened();
        });
    }

    // Reads until there are so many bytes.
    std::string read(const io::Fd& fd, std::size_t size) {
        std::string text;
        REQUIRE(until([&] {
            char bytes[4096];
            const ssize_t count = recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
            if (count > 0) text.append(bytes, static_cast<std::size_t>(count));
            return text.size() >= size;
        }));
        return text;
    }
    // 0: the end of the stream; an errno: it broke.
    int end_of(const io::Fd& fd) {
        int end = -1;
        REQUIRE(until([&] {
            char byte = 0;
            const ssize_t count = recv(fd.get(), &byte, 1, MSG_DONTWAIT);
            if (count == 0) end = 0;
            if (count < 0 && errno != EAGAIN) end = errno;
            return end >= 0;
        }));
        return end;
    }
    static void write(const io::Fd& fd, std::string_view text) {
        REQUIRE(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(text.size()));
    }
    bool silent(const io::Fd& fd) {
        for (int i = 0; i < 20; i++) {
            proxy->turn(nanos_per_ms);
        }
        return test::events_within(fd.get(), POLLIN, 0) == 0;
    }

    io::Fd listener;
    std::unique_ptr<Proxy> proxy;
    io::Fd client;
    io::Fd server;
};

}  // namespace

TEST_CASE("faultproxy: commands are what they say") {
    const Command add = parsed("  add down latency 50 20 30% \r");
    CHECK(add.verb == Verb::add);
    CHECK(add.fault.kind == Kind::latency);
    CHECK(add.fault.way == Way::down);
    CHECK(add.fault.a == 50);
    CHECK(add.fault.b == 20);
    CHECK(add.fault.percent == 30);
    CHECK(describe(add.fault) == "down latency 50 20 30%");
    CHECK(parsed("add both blackhole").fault.percent == 100);
    CHECK(parsed("add up reset").fault.a == 0);
    CHECK(parsed("add up half 12 0%").fault.a == 12);
    CHECK(parsed("remove 12").number == 12);
    CHECK(parsed("seed 18446744073709551615").number == UINT64_MAX);
    CHECK(parsed("cut").verb == Verb::cut);
    CHECK(parsed("clear").verb == Verb::clear);
    CHECK(parsed("stats").verb == Verb::stats);
    CHECK(parsed("help").verb == Verb::help);
    for (const KindRow& row : kinds) {
        CAPTURE(row.name);
        CHECK(kinds[static_cast<std::size_t>(row.kind)].kind == row.kind);
        CHECK(command_help().find(row.name) != std::string::npos);
    }
}

TEST_CASE("faultproxy: a bad command is named in one line") {
    const struct {
        const char* line;
        const char* complaint;
    } rows[] = {
        {"", "an empty line"},
        {"   ", "an empty line"},
        {"destroy all", "'destroy' is no command"},
        {"a\x01\xff", "'a?\?' is no command"},
        {"cut now", "cut stands alone"},
        {"remove", "remove needs one number"},
        {"remove x", "'x' is not a number"},
        {"remove -1", "'-1' is not a number"},
        {"add", "add needs WAY KIND"},
        {"add up", "add needs WAY KIND"},
        {"add left latency 1", "'left' given, up, down or both allowed"},
        {"add up lag 1", "'lag' is no kind of fault"},
        {"add up latency", "latency needs MS [JITTER]"},
        {"add up latency 50%", "latency needs MS [JITTER]"},
        {"add up latency 1 2 3", "'3' is one too many: latency MS [JITTER]"},
        {"add up latency ten", "'ten' is not a number"},
        {"add up latency 5 6", "a jitter of 6 is more than the latency"},
        {"add up latency 600001", "'600001' given, 0 to 600000 allowed"},
        {"add up latency 5 101%", "'101%' given, 0% to 100% allowed"},
        {"add up latency 50% 5", "'50%' is not a number"},
        {"add up slice 0", "'0' given, 1 to 1000000 allowed"},
        {"add up blackhole 1", "'1' is one too many: blackhole "},
        {"add up bandwidth 99999999999999999999", "'99999999999999999999' is not a number"},
        {"add up flip 1 1 1 1 1 1", "too many words"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.line);
        CHECK(complaint_of(row.line) == row.complaint);
    }
    CHECK(complaint_of(std::string(5'000, 'x')).size() < 100);
}

TEST_CASE("faultproxy: bytes pass both ways, and the end of each, and then the link is gone") {
    World world;
    world.link();
    World::write(world.client, "question");
    CHECK(world.read(world.server, 8) == "question");
    World::write(world.server, std::string(100'000, 'a'));
    CHECK(world.read(world.client, 100'000) == std::string(100'000, 'a'));
    shutdown(world.client.get(), SHUT_WR);
    CHECK(world.end_of(world.server) == 0);
    World::write(world.server, "still");
    CHECK(world.read(world.client, 5) == "still");
    CHECK(world.proxy->link_count() == 1);
    world.server.reset(-1);
    CHECK(world.end_of(world.client) == 0);
    CHECK(world.until([&] { return world.proxy->link_count() == 0; }));
    CHECK(world.proxy->obey("stats") ==
          "ok links=0 accepted=1 reset=0 up=8 down=100005 held=0 seed=5 faults=0");
}

TEST_CASE("faultproxy: a reset of one side is one of the other") {
    World world;
    world.link();
    const linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(world.client.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    world.client.reset(-1);
    CHECK(world.end_of(world.server) == ECONNRESET);
    CHECK(world.proxy->link_count() == 0);
}

TEST_CASE("faultproxy: cut resets both sides of all links") {
    World world;
    world.link();
    CHECK(world.proxy->obey("cut") == "ok 1");
    CHECK(world.end_of(world.client) == ECONNRESET);
    CHECK(world.end_of(world.server) == ECONNRESET);
}

TEST_CASE("faultproxy: a target that is not there resets the client") {
    World world;
    world.listener.reset(-1);
    world.client = dial(world.proxy->address());
    CHECK(world.end_of(world.client) == ECONNRESET);
    CHECK(world.proxy->link_count() == 0);
}

TEST_CASE("faultproxy: a fault meets links that are there and those that come, until removed") {
    World world;
    world.link();
    CHECK(world.proxy->obey("add up blackhole") == "ok 1");
    World::write(world.client, "held");
    CHECK(world.silent(world.server));
    World::write(world.server, "the other way");
    CHECK(world.read(world.client, 13) == "the other way");
    io::Fd client = std::move(world.client);
    io::Fd server = std::move(world.server);
    world.link();
    World::write(world.client, "too");
    CHECK(world.silent(world.server));
    CHECK(world.proxy->obey("remove 2") == "error: there is no fault 2");
    CHECK(world.proxy->obey("remove 1") == "ok");
    CHECK(world.read(server, 4) == "held");
    CHECK(world.read(world.server, 3) == "too");
}

TEST_CASE("faultproxy: a stopped link stops its sender, and holds no more than its capacity") {
    World world;
    world.link();
    world.proxy->obey("add up blackhole");
    const std::string block(64 * 1024, 'b');
    std::size_t sent = 0;
    for (int quiet = 0; quiet < 20;) {
        const ssize_t count = send(world.client.get(), block.data(), block.size(), MSG_DONTWAIT);
        if (count > 0) sent += static_cast<std::size_t>(count);
        quiet = count > 0 ? 0 : quiet + 1;
        world.proxy->turn(nanos_per_ms);
    }
    CHECK(world.proxy->obey("stats").find(" held=65536 ") != std::string::npos);
    world.proxy->obey("clear");
    CHECK(world.read(world.server, sent).size() == sent);
}

TEST_CASE("faultproxy: half closes one direction for the receiver alone") {
    World world;
    world.link();
    world.proxy->obey("add down half 4");
    World::write(world.server, "12345678");
    CHECK(world.read(world.client, 4) == "1234");
    CHECK(world.end_of(world.client) == 0);
    World::write(world.client, "up goes on");
    CHECK(world.read(world.server, 10) == "up goes on");
    CHECK(world.proxy->link_count() == 1);
}

TEST_CASE("faultproxy: with no chance no link is met, and with half about half of them") {
    World world({}, 200);
    CHECK(world.proxy->obey("add up reset 0%") == "ok 1");
    CHECK(world.proxy->obey("add up reset 50%") == "ok 2");
    int resets = 0;
    for (int i = 0; i < 100; i++) {
        world.client = dial(world.proxy->address());
        const auto of = [&] { return world.proxy->obey("stats"); };
        const std::string accepted = " accepted=" + std::to_string(i + 1) + " ";
        CHECK(world.until([&] { return of().find(accepted) != std::string::npos; }));
        resets += test::events_within(world.client.get(), POLLIN, 0) & POLLERR ? 1 : 0;
    }
    CHECK(resets > 25);
    CHECK(resets < 75);
}

TEST_CASE("faultproxy: past --links-max connections wait for their turn") {
    World world({}, 1);
    world.link();
    const io::Fd second = dial(world.proxy->address());
    World::write(second, "me too");
    CHECK(world.silent(world.listener));
    world.client.reset(-1);
    world.server.reset(-1);
    REQUIRE(world.until([&] { return test::events_within(world.listener.get(), POLLIN, 0) != 0; }));
    world.server.reset(accept4(world.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    CHECK(world.read(world.server, 6) == "me too");
}

TEST_CASE("faultproxy: there is a most of faults") {
    World world;
    for (std::size_t i = 0; i < faults_max; i++) {
        CHECK(world.proxy->obey("add up latency 0").starts_with("ok"));
    }
    CHECK(world.proxy->obey("add up latency 0") ==
          "error: there are 32 faults, the most there may be");
    CHECK(world.proxy->obey("clear") == "ok");
    CHECK(world.proxy->obey("add up latency 0") == "ok 33");
}

TEST_CASE("faultproxy: over the control socket, a line gets a line") {
    World world(std::string{loopback});
    const io::Fd control = dial(world.proxy->control_address());
    World::write(control, "add up la");
    CHECK(world.silent(control));
    World::write(control, "tency 5\nnonsense\nclear\n");
    const std::string wanted = "ok 1\nerror: 'nonsense' is no command\nok\n";
    CHECK(world.read(control, wanted.size()) == wanted);
    World::write(control, std::string(600, 'x'));
    const std::string long_line = "error: a line of over 511 bytes\n";
    CHECK(world.read(control, long_line.size()) == long_line);
}

TEST_CASE("faultproxy: the control socket may be a path, which goes with the proxy") {
    const std::string path = "faultproxy-test-" + std::to_string(getpid());
    {
        World world("unix:" + path);
        sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
        path.copy(name.sun_path, sizeof name.sun_path - 1);
        const io::Fd control(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(connect(control.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
        World::write(control, "cut\n");
        CHECK(world.read(control, 5) == "ok 0\n");
        CHECK(access(path.c_str(), F_OK) == 0);
    }
    CHECK(access(path.c_str(), F_OK) != 0);
}
