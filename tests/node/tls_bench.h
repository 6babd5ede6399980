#pragma once

// A TlsReactor over a fake one, the owner above it, and peers that are OpenSSL's own client.

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "node/tls_reactor.h"
#include "tests/support/fake_reactor.h"
#include "tests/support/tls.h"

namespace ringcast::node::test {

using ringcast::test::FakeReactor;
using ringcast::test::FakeSocket;
using ringcast::test::TlsClient;
using ringcast::test::VirtualClock;

inline const wire::TlsContext& shared_context() {
    static const wire::TlsContext context = ringcast::test::one_context();
    return context;
}

// What a shard is to its reactor.
struct Owner final : io::Handler {
    struct Conn {
        std::string heard;
        std::string owed;  // to send
        int end = -1;
        bool blocked = false;
        bool failed = false;  // to send
        bool live = false;
        bool secure = false;
    };

    void on_accepted(io::ConnIndex conn, std::uint32_t /*listener*/) noexcept override {
        Conn fresh;
        fresh.live = true;
        fresh.secure = reactor->secure(conn);
        conns[conn] = fresh;
    }
    void on_received(io::ConnIndex conn, MutBytes bytes) noexcept override {
        conns[conn].heard += as_text(bytes);
        std::fill(bytes.begin(), bytes.end(), std::byte{0});  // a framer unmasks in place
        if (closes_on_bytes) reactor->close(conn);
    }
    void on_ended(io::ConnIndex conn, int os_error) noexcept override {
        CHECK(conns[conn].end == -1);
        conns[conn].end = os_error;
        if (closes_on_end) reactor->close(conn);
    }
    void on_writable(io::ConnIndex conn) noexcept override {
        CHECK(conns[conn].blocked);
        conns[conn].blocked = false;
    }
    void on_connected(io::ConnIndex /*conn*/, int /*os_error*/) noexcept override {}
    void on_closed(io::ConnIndex conn) noexcept override { conns[conn].live = false; }

    // One batch: everybody who is owed something and whose socket takes it.
    void send_all() {
        std::vector<io::Send> batch;
        for (auto& [conn, state] : conns) {
            if (state.owed.empty() || state.blocked || !state.live) continue;
            batch.push_back({.conn = conn, .bytes = as_bytes(state.owed)});
            if (batch.size() == io::send_batch_max) break;
        }
        if (batch.empty()) return;
        reactor->send(batch);
        for (const io::Send& send : batch) {
            Conn& state = conns[send.conn];
            if (send.result < 0) {
                state.owed.clear();
                state.failed = true;
                continue;
            }
            state.blocked = static_cast<std::size_t>(send.result) < state.owed.size();
            state.owed.erase(0, static_cast<std::size_t>(send.result));
            if (state.blocked) reactor->want_writable(send.conn);
        }
    }

    TlsReactor* reactor = nullptr;
    std::map<io::ConnIndex, Conn> conns;
    bool closes_on_bytes = false;
    bool closes_on_end = true;
};

// One reactor and its peers.
struct Bench {
    explicit Bench(std::uint32_t handshakes_max = 256, std::uint32_t first_listener = 0) {
        auto made = std::make_unique<FakeReactor>(clock, 5, 512);
        below = made.get();
        reactor = std::make_unique<TlsReactor>(std::move(made),
                                               shared_context().share(),
                                               TlsReactor::Options{.first_listener = first_listener,
                                                                   .handshakes_max = handshakes_max,
                                                                   .capacity = 512});
        owner.reactor = reactor.get();
        reactor->set_handler(owner);
    }
    struct Peer {
        FakeSocket* socket = nullptr;
        std::unique_ptr<TlsClient> client;
    };
    Peer accept(const TlsClient::Options& options = {}) {
        Peer peer{.socket = &below->accept(), .client = std::make_unique<TlsClient>(options)};
        reactor->wait(0);
        return peer;
    }
    // One that has said its hello.
    Peer start() {
        Peer peer = accept();
        peer.client->feed("");
        peer.socket->say(peer.client->take());
        reactor->wait(0);
        return peer;
    }
    // Until neither has anything to say.
    void talk(Peer& peer) {
        for (int quiet = 0; quiet < 3; quiet++) {
            peer.client->feed(peer.socket->take());
            const std::string said = peer.client->take();
            if (!said.empty() && !peer.socket->closed) {
                peer.socket->say(said);
                quiet = 0;
            }
            reactor->wait(0);
        }
    }
    Peer meet(const TlsClient::Options& options = {}) {
        Peer peer = accept(options);
        talk(peer);
        REQUIRE(peer.client->open());
        return peer;
    }
    Owner::Conn& state(const Peer& peer) { return owner.conns[peer.socket->conn]; }

    VirtualClock clock;
    FakeReactor* below = nullptr;
    Owner owner;
    std::unique_ptr<TlsReactor> reactor;
};

}  // namespace ringcast::node::test
