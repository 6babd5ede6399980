#include "ringcast/server.h"

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include "io/probe.h"
#include "io/socket.h"
#include "tests/io/inject.h"
#include "tests/support/blocking_socket.h"
#include "tests/support/peer.h"

using namespace ringcast;
using ringcast::test::Peer;
using ringcast::test::upgrade_request;

namespace {

// Keeps the lines of the start, which all come from the thread that calls create().
struct Log {
    std::vector<std::string> lines;
    std::thread::id starter = std::this_thread::get_id();

    [[nodiscard]] LogSink sink() { return {.write = &Log::write, .context = this}; }
    static void write(void* context, LogLevel /*level*/, std::string_view line) noexcept {
        auto& log = *static_cast<Log*>(context);
        if (std::this_thread::get_id() == log.starter) log.lines.emplace_back(line);
    }
};

Config small_config(Io io, std::uint64_t shards = 1) {
    Config config;
    config.listen = {"127.0.0.1:0"};
    config.io = io;
    config.shards = shards;
    config.connections_max = 50;
    config.log_memory = 4 * units::mib;
    config.drain_timeout = 400 * units::ms;
    return config;
}

// A blocking client of the kernel's own, whose waits are bounded.
class Dialer {
  public:
    explicit Dialer(const std::string& address) : socket_(address) {}
    [[nodiscard]] bool connected() const { return socket_.connected(); }
    void say(std::string_view bytes) { socket_.say(bytes); }
    // False: the end, or nothing for ten seconds.
    bool read() {
        const std::string_view bytes = socket_.read();
        peer.feed(bytes);
        return !bytes.empty();
    }

    Peer peer;

  private:
    test::BlockingSocket socket_;
};

// epoll, and io_uring where this kernel lets us.
std::vector<Io> backends() {
    static const io::Probe probe = [] {
        io::Probe found = io::probe_uring();
        if (!found.usable) MESSAGE("SKIPPED servers on io_uring: " << found.why);
        return found;
    }();
    std::vector<Io> usable{Io::epoll};
    if (probe.usable) usable.push_back(Io::uring);
    return usable;
}

std::unique_ptr<Server> start(const Config& config, LogSink log = {}) {
    std::string error;
    std::unique_ptr<Server> server = Server::create(config, log, error);
    REQUIRE_MESSAGE(server != nullptr, error);
    CHECK(error.empty());
    return server;
}

// Reads until the answer to an upgrade is here.
void upgrade(Dialer& client) {
    client.say(upgrade_request("/ws"));
    while (!client.peer.open() && client.read()) {
    }
    REQUIRE(client.peer.open());
}

}  // namespace

TEST_CASE("server: on port 0 it serves clients at the addresses it tells, until it is stopped") {
    for (const Io io : backends()) {
        for (const std::uint64_t shards : {1u, 2u}) {
            CAPTURE(static_cast<int>(io));
            CAPTURE(shards);
            Log log;
            Config config = small_config(io, shards);
            config.listen = {"127.0.0.1:0", "127.0.0.1:0"};
            const auto server = start(config, log.sink());
            CHECK(server->shard_count() == shards);
            CHECK(server->io_name() == (io == Io::epoll ? "epoll" : "uring"));
            REQUIRE(log.lines.size() == 5);
            CHECK(log.lines[0].starts_with("io: "));
            REQUIRE(server->addresses().size() == 2);
            CHECK(server->addresses()[0] != server->addresses()[1]);
            for (const std::string& address : server->addresses()) {
                CAPTURE(address);
                CHECK(!address.ends_with(":0"));
                Dialer client(address);
                REQUIRE(client.connected());
                upgrade(client);
            }
            CHECK(!server->finished());
            server->stop();
            server->join();
            CHECK(server->finished());
            server->join();  // once more: nothing happens
        }
    }
}

TEST_CASE("server: a stop tells clients 1012 and ends when they have answered") {
    for (const Io io : backends()) {
        CAPTURE(static_cast<int>(io));
        Config config = small_config(io, 2);
        config.drain_timeout = units::hour;
        const auto server = start(config);
        Dialer client(server->addresses().front());
        upgrade(client);
        server->stop();
        while (!client.peer.closed() && client.read()) {
        }
        CHECK(client.peer.close_code() == 1012);
        CHECK(client.peer.fault.empty());
        CHECK(!server->finished());
        client.say(ringcast::test::client_close(1012));
        while (client.read()) {
        }
        server->join();
        CHECK(server->finished());
    }
}

TEST_CASE("server: a second stop cuts those who do not answer") {
    for (const Io io : backends()) {
        CAPTURE(static_cast<int>(io));
        Config config = small_config(io, 2);
        config.drain_timeout = units::hour;
        config.close_timeout = units::hour;
        const auto server = start(config);
        Dialer client(server->addresses().front());
        upgrade(client);
        server->stop();
        server->stop();
        server->stop();
        server->join();
        CHECK(server->finished());
        while (client.read()) {
        }
    }
}

TEST_CASE("server: who does not answer is cut at the drain time-out") {
    for (const Io io : backends()) {
        CAPTURE(static_cast<int>(io));
        const auto server = start(small_config(io));
        Dialer client(server->addresses().front());
        upgrade(client);
        server->stop();
        server->join();
        CHECK(server->finished());
    }
}

TEST_CASE("server: its destructor stops it, with clients and without") {
    for (const Io io : backends()) {
        CAPTURE(static_cast<int>(io));
        Config config = small_config(io, 2);
        config.drain_timeout = units::hour;
        { const auto idle = start(config); }
        auto server = start(config);
        Dialer client(server->addresses().front());
        upgrade(client);
        server.reset();
        while (client.read()) {
        }
        const auto stopped = start(config);
        stopped->stop();
    }
}

TEST_CASE("server: what it cannot listen on it names") {
    const auto first = start(small_config(Io::epoll));
    struct Row {
        std::string listen;
        const char* says;
    };
    // The last one without SO_REUSEPORT on the holder's side: nobody may join it.
    auto holder = io::listen_tcp(io::parse_address("127.0.0.1:0").value(), {.reuse_port = false});
    REQUIRE(holder.ok());
    const std::string taken = io::format_address(io::local_address(holder.value().get()).value());
    for (const Row& row : {Row{"nonsense", "ADDR:PORT"},
                           Row{"127.0.0.1:65536", "ADDR:PORT"},
                           Row{"192.0.2.1:0", "Cannot assign"},
                           Row{taken, "in use"}}) {
        CAPTURE(row.listen);
        Config config = small_config(Io::epoll, 2);
        config.listen = {"127.0.0.1:0", row.listen};
        std::string error;
        CHECK(Server::create(config, {}, error) == nullptr);
        CHECK(error.find(row.listen) != std::string::npos);
        CHECK_MESSAGE(error.find(row.says) != std::string::npos, error);
    }
}

TEST_CASE("server: a congestion control that the kernel does not have is named") {
    Config config = small_config(Io::epoll);
    config.congestion = "nonesuch";
    std::string error;
    CHECK(Server::create(config, {}, error) == nullptr);
    CHECK_MESSAGE(error.find("--congestion 'nonesuch'") != std::string::npos, error);
}

TEST_CASE("server: the log says what of the log memory each shard can use") {
    struct Row {
        std::uint64_t shards;
        std::uint64_t log_memory;
        const char* line;
    };
    for (const Row& row :
         std::array<Row, 4>{{{1, 4 * units::mib, "log memory: 1 x 4MiB"},
                             {2, 4 * units::mib, "log memory: 2 x 2MiB"},
                             {3, 6 * units::mib, "log memory: 3 x 2MiB"},
                             {3,
                              8 * units::mib,
                              "log memory: 3 x 2MiB of --log-memory 8MiB, since a shard's share is "
                              "rounded down to a power of two"}}}) {
        Log log;
        Config config = small_config(Io::epoll, row.shards);
        config.log_memory = row.log_memory;
        const auto server = start(config, log.sink());
        REQUIRE(log.lines.size() == 5);
        CHECK(log.lines[1] == row.line);
    }
}

TEST_CASE("server: a number out of its range is an error that names it, not a crash") {
    for (const NumberFlag& flag : number_flags) {
        std::vector<std::uint64_t> wrong{flag.most + 1, UINT64_MAX};
        if (flag.least > 0) wrong.push_back(flag.least - 1);
        for (const std::uint64_t number : wrong) {
            CAPTURE(flag.name);
            CAPTURE(number);
            Config config = small_config(Io::epoll);
            config.*flag.member = number;
            std::string error;
            CHECK(Server::create(config, {}, error) == nullptr);
            CHECK(error == check(config));
            CHECK_MESSAGE(error.starts_with(std::string("--") + flag.name), error);
        }
    }
}

TEST_CASE("server: connections beyond the file limit are refused, with how many there may be") {
    CHECK(io::test::in_child([] {
        const rlimit files{.rlim_cur = 1000, .rlim_max = 1000};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
        Config config = small_config(Io::epoll);
        config.connections_max = 5000;
        std::string error;
        REQUIRE(Server::create(config, {}, error) == nullptr);
        REQUIRE(error.starts_with("--connections-max 5000 does not fit the file limit of 1000: "));
        const std::size_t at = error.find("at most ");
        REQUIRE(at != std::string::npos);
        config.connections_max = std::stoull(error.substr(at + 8));
        REQUIRE(Server::create(config, {}, error) != nullptr);
        config.connections_max++;
        REQUIRE(Server::create(config, {}, error) == nullptr);
        return true;
    }));
}

TEST_CASE("server: a configuration that no shard can be built from is an error, not a crash") {
    Config config = small_config(Io::epoll, 2);
    config.pin = pin_most - 1;
    std::string error;
    CHECK(Server::create(config, {}, error) == nullptr);
    CHECK_MESSAGE(error.find("--pin") != std::string::npos, error);
}

TEST_CASE("server: a policy is set while it runs, refused where it cannot be, and at the end") {
    Config config = small_config(Io::epoll, 2);
    TopicRule keyed;
    keyed.pattern = "prices.*";
    keyed.keyed = true;
    config.topic = {keyed};
    const auto server = start(config);
    std::string error;
    CHECK(server->set_policy("chat.>", "close", error).ok());
    CHECK(server->set_policy("prices.*", "conflate", error).ok());
    CHECK(error.empty());
    const auto refused = server->set_policy("prices.eur", "gap", error);
    CHECK(refused.error().code == Errc::bad_request);
    CHECK(error.find("is not for keyed ('prices.*')") != std::string::npos);
    CHECK(server->set_policy("chat", "conflate", error).error().code == Errc::bad_request);
    bool full = false;
    for (int i = 0; i < 300 && !full; i++) {
        const auto set = server->set_policy("t." + std::to_string(i), "close", error);
        full = !set.ok() && set.error().code == Errc::busy;
    }
    CHECK(full);
    CHECK(error == "there are policies for 256 patterns already");
    server->stop();
    server->join();
    CHECK(server->set_policy("chat.>", "gap", error).error().code == Errc::closed);
    CHECK(error == "the server has ended");
}

TEST_CASE("server: keys of sealed topics are there at start, and change if the new ones will do") {
    Config config = small_config(Io::epoll, 2);
    TopicRule rule;
    rule.pattern = "s";
    rule.seal = "k";
    config.topic = {rule};
    config.seal_keys_file = "given here";
    std::string error;
    CHECK(Server::create(config, {}, error) == nullptr);
    CHECK(error == "--topic: 's': seal=k: there is no key of this name in --seal-keys-file");
    SealKeys keys{{.name = "k", .id = "1", .secret = {}}};
    const auto server = Server::create(config, {}, error, keys);
    REQUIRE_MESSAGE(server != nullptr, error);
    CHECK(server->set_seal_keys(keys, error).ok());
    keys.front().secret.bytes[3] = std::byte{1};
    CHECK(server->set_seal_keys(keys, error).error().code == Errc::bad_request);
    CHECK(error == "id 1 is another key than before: give it another id");
    keys.front().id = "2";
    CHECK(server->set_seal_keys(keys, error).ok());
    CHECK(error.empty());
    CHECK(server->set_seal_keys({}, error).error().code == Errc::bad_request);
    server->stop();
    server->join();
    CHECK(server->set_seal_keys(keys, error).error().code == Errc::closed);
}
