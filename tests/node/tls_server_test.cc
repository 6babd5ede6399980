// The library's TLS: listeners of both kinds, on both back ends, and certificates that change.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "ringcast/server.h"

#include "io/probe.h"
#include "tests/support/blocking_socket.h"
#include "tests/support/peer.h"
#include "tests/support/tls.h"

using namespace ringcast;
using ringcast::test::make_certificate;
using ringcast::test::Peer;
using ringcast::test::TempFolder;
using ringcast::test::TlsClient;
using ringcast::test::upgrade_request;
using ringcast::test::write_file;
using ringcast::test::write_pair;

namespace {

// A client of the kernel's own over TLS, whose waits are bounded.
class Dialer {
  public:
    explicit Dialer(const std::string& address, SSL_SESSION* ticket = nullptr)
        : client(TlsClient::Options{}, ticket), socket_(address) {
        REQUIRE(socket_.connected());
        client.feed("");
        while (!client.open() && step()) {
        }
    }
    // Says what there is to say and reads once. False: the end, or nothing for ten seconds.
    bool step() {
        const std::string said = client.take();
        if (!said.empty()) socket_.say(said);
        const std::string_view bytes = socket_.read();
        if (bytes.empty()) return false;
        client.feed(bytes);
        peer.feed(std::exchange(client.heard, {}));
        return true;
    }
    void upgrade() {
        client.say(upgrade_request("/ws"));
        while (!peer.open() && step()) {
        }
        REQUIRE(peer.open());
    }

    TlsClient client;
    Peer peer;

  private:
    test::BlockingSocket socket_;
};

Config config_with(const wire::TlsPair& pair, Io io) {
    Config config;
    config.listen = {"127.0.0.1:0"};
    config.tls_listen = {"127.0.0.1:0"};
    config.tls_cert = {pair.certificate};
    config.tls_key = {pair.key};
    config.io = io;
    config.shards = 2;
    config.connections_max = 50;
    config.log_memory = 4 * units::mib;
    config.drain_timeout = units::hour;
    return config;
}

std::vector<Io> backends() {
    std::vector<Io> usable{Io::epoll};
    if (io::probe_uring().usable) usable.push_back(Io::uring);
    return usable;
}

}  // namespace

TEST_CASE("tls server: clients are served over TLS, and told when it stops") {
    for (const Io io : backends()) {
        CAPTURE(static_cast<int>(io));
        const TempFolder folder(TempFolder::On::memory);
        std::string error;
        const auto server = Server::create(
            config_with(write_pair(folder, "a", make_certificate("DNS:a.test")), io), {}, error);
        REQUIRE_MESSAGE(server != nullptr, error);
        CHECK(server->addresses().size() == 1);
        REQUIRE(server->tls_addresses().size() == 1);
        std::vector<std::unique_ptr<Dialer>> clients;
        for (int i = 0; i < 6; i++) {
            clients.push_back(std::make_unique<Dialer>(server->tls_addresses().front()));
            clients.back()->upgrade();
        }
        server->stop();
        for (const std::unique_ptr<Dialer>& each : clients) {
            while (!each->peer.closed() && each->step()) {
            }
            CHECK(each->peer.close_code() == 1012);
            each->client.say(ringcast::test::client_close(1012));
            while (each->step()) {
            }
            CHECK(each->client.ended);
        }
        server->join();
        CHECK(server->reload_tls(error));
    }
}

TEST_CASE("tls server: a reload is for those who come, and one that fails changes nothing") {
    const TempFolder folder(TempFolder::On::memory);
    const wire::TlsPair files = write_pair(folder, "a", make_certificate("DNS:old.test"));
    std::string error;
    const auto server = Server::create(config_with(files, Io::epoll), {}, error);
    REQUIRE_MESSAGE(server != nullptr, error);
    Dialer old(server->tls_addresses().front());
    CHECK(old.client.shown("old.test"));

    const test::PemPair other = make_certificate("DNS:new.test");
    write_file(files.certificate, other.certificate);
    CHECK(!server->reload_tls(error));
    CHECK(error.find(files.key) != std::string::npos);
    CHECK(Dialer(server->tls_addresses().front()).client.shown("old.test"));

    write_file(files.key, other.key);
    CHECK(server->reload_tls(error));
    CHECK(Dialer(server->tls_addresses().front()).client.shown("new.test"));
    old.upgrade();
    server->stop();
    server->stop();
    server->join();
}

TEST_CASE("tls server: a reload leaves tickets good, whether it works or not") {
    const TempFolder folder(TempFolder::On::memory);
    const wire::TlsPair files = write_pair(folder, "a", make_certificate("DNS:a.test"));
    std::string error;
    const auto server = Server::create(config_with(files, Io::epoll), {}, error);
    REQUIRE_MESSAGE(server != nullptr, error);
    const std::string address = server->tls_addresses().front();
    Dialer first(address);
    first.upgrade();  // the ticket is in front of the answer
    REQUIRE(first.client.session != nullptr);
    for (int i = 0; i < 4; i++) {  // on either shard
        CHECK(Dialer(address, first.client.session).client.resumed());
    }
    CHECK(server->reload_tls(error));
    for (int i = 0; i < 4; i++) {
        CHECK(Dialer(address, first.client.session).client.resumed());
    }
    write_file(files.key, "no key");
    CHECK(!server->reload_tls(error));
    CHECK(Dialer(address, first.client.session).client.resumed());
    server->stop();
    server->stop();
    server->join();
}

TEST_CASE("tls server: it does not start without a certificate") {
    std::string error;
    const Config config =
        config_with({.certificate = "/nowhere/a", .key = "/nowhere/b"}, Io::epoll);
    CHECK(Server::create(config, {}, error) == nullptr);
    CHECK(error == "TLS: '/nowhere/a' cannot be read");
}
