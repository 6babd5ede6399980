#pragma once

// A reactor that speaks TLS: it stands between a shard and one of the real ones (io/reactor.h), and
// keeps the same contract, so that nothing above it knows. Connections of listeners before
// `first_listener` go through untouched.
//
// Sending. A slice is encrypted into one buffer that all connections share, a part of it at a time,
// and sent from there. Ciphertext that the socket does not take cannot be made again, so it is kept
// with the connection; it is of one part at most, and nothing more is encrypted before it is gone.
// The owner must see that: a slice that was encrypted in part is short of the rest, which has not
// begun; of one that was encrypted whole the last byte counts as not taken, which is within a
// frame, so the owner offers it again first, and it is not encrypted again.
//
// Receiving. Plaintext goes to the owner out of one buffer, as much as a received view holds.
//
// Handshakes cost more than all else (a signature and a key exchange, 0.2 to 2 ms). Their bytes are
// put aside when they come, and a wait() takes so many steps as fit into a share of a turn, in the
// order in which they came; the rest waits for the next one, so records go out in between. Each
// that is under way holds tens of KiB, so only so many may be; who comes later is not read from
// until it is his turn. What they all have put aside is bounded, too, and where there is no room
// whoever holds most of it goes: an honest hello is small. Time is the owner's: its deadline for
// the request counts from the accept.
//
// Nothing is sent from within a callback of the reactor below: what connections have to say by
// themselves (handshakes, alerts, close_notify) goes out at the end of wait(), in batches.
//
// One thread owns it, but for offer().

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/slab.h"
#include "io/reactor.h"
#include "wire/tls.h"

namespace ringcast::node {

// What OpenSSL 3.0 holds for a connection that is open and does nothing, 16 KB of it by measure
// (docs/BENCHMARKS.md), and while it shakes hands.
constexpr std::size_t tls_connection_bytes = std::size_t{20} * 1024;
constexpr std::size_t tls_handshake_bytes = wire::tls_handshake_held_max;
// Of a slice, what is encrypted at a time: two records.
constexpr std::size_t tls_part_max = 2 * wire::tls_record_max;
// Of a slice, at once: less than what the pump cuts slices to (1088 KiB), so that one that is
// encrypted to its end ends with a frame.
constexpr std::size_t tls_slice_max = 32 * tls_part_max;
// Before its handshake begins a client can say nothing but a ClientHello (RFC 8446, 4.1.2; early
// data is not offered). It is 500 to 2,000 bytes, and within a record (5.1) whoever sends it.
constexpr std::size_t tls_hello_max = wire::tls_record_max;
// What all who wait for their turn may have said, in bytes of a shard; more ends who holds most.
constexpr std::size_t tls_unread_max = std::size_t{4} * 1024 * 1024;
// While somebody waits, a handshake that is not done after so long is ended for his sake.
constexpr Nanos tls_patience = 2 * nanos_per_s;
// Ciphertext that may wait for a socket: a part, or what a handshake has to say.
constexpr std::size_t tls_unsent_max = tls_part_max + 16 * 1024;

struct TlsCounters {
    std::uint64_t handshakes = 0;  // that were completed
    std::uint64_t resumed = 0;     // ... by a ticket
    std::uint64_t failed = 0;      // connections ended by what the peer sent, in either stage
    std::uint64_t waited = 0;      // connections that waited for others' handshakes
    std::uint64_t put_off = 0;     // turns that left some of the work for the next one
    std::uint64_t cut = 0;         // handshakes ended because others waited, or had no room
};

// "handshakes 3, resumed 1, ...": for the log.
[[nodiscard]] std::string describe(const TlsCounters& counters);

// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): it is final
class TlsReactor final : public io::Reactor, private io::Handler {
  public:
    struct Options {
        std::uint32_t first_listener = 0;     // this one and those behind it speak TLS
        std::uint32_t handshakes_max = 256;   // at a time
        std::uint32_t capacity = 0;           // connection indexes that `below` may give out
        wire::TlsTickets* tickets = nullptr;  // to tend, by the time of `below`, also with others
    };

    TlsReactor(std::unique_ptr<io::Reactor> below,
               wire::TlsContext context,
               const Options& options) noexcept;
    TlsReactor(const TlsReactor&) = delete;
    TlsReactor& operator=(const TlsReactor&) = delete;
    ~TlsReactor() override;

    // Any thread, as long as this exists: connections that begin from now on use that one.
    void offer(wire::TlsContext context) noexcept;
    [[nodiscard]] const TlsCounters& counters() const noexcept { return counters_; }

    void set_handler(io::Handler& handler) noexcept override { handler_ = &handler; }
    [[nodiscard]] Result<Done> listen(io::Fd listener) noexcept override {
        return below_->listen(std::move(listener));
    }
    void stop_listening() noexcept override { below_->stop_listening(); }
    [[nodiscard]] Result<io::ConnIndex> connect(const io::Address& peer) noexcept override {
        return below_->connect(peer);
    }
    void send(std::span<io::Send> batch) noexcept override;
    void want_writable(io::ConnIndex conn) noexcept override;
    void pause_recv(io::ConnIndex conn) noexcept override { below_->pause_recv(conn); }
    void resume_recv(io::ConnIndex conn) noexcept override { below_->resume_recv(conn); }
    void shutdown_send(io::ConnIndex conn) noexcept override;
    void close(io::ConnIndex conn) noexcept override;
    void wait(Nanos deadline) noexcept override;
    void wake() noexcept override { below_->wake(); }
    [[nodiscard]] Nanos now() const noexcept override { return below_->now(); }
    [[nodiscard]] Nanos present() const noexcept override { return below_->present(); }
    [[nodiscard]] Nanos cpu_time() const noexcept override { return below_->cpu_time(); }
    [[nodiscard]] Nanos wall_now() const noexcept override { return below_->wall_now(); }
    [[nodiscard]] Result<io::Address> peer(io::ConnIndex conn) noexcept override {
        return below_->peer(conn);
    }
    [[nodiscard]] bool secure(io::ConnIndex conn) noexcept override {
        return links_.find(conn) != nullptr;
    }
    [[nodiscard]] std::size_t held_bytes(io::ConnIndex conn) noexcept override;
    [[nodiscard]] std::uint64_t random() noexcept override { return below_->random(); }
    [[nodiscard]] const char* name() const noexcept override { return below_->name(); }
    [[nodiscard]] std::uint32_t live_count() const noexcept override {
        return below_->live_count();
    }

  private:
    // A connection that speaks TLS.
    struct Link {
        std::unique_ptr<wire::TlsFilter> filter;  // from its first bytes on
        std::vector<std::byte> unsent;            // ciphertext; nothing more before it is gone
        std::vector<std::byte> unread;            // of a handshake that waits for its turn
        int end = -1;                             // behind `unread`: as on_ended() says it
        Nanos began = 0;                          // to shake hands
        bool open = false;                        // the handshake is done
        bool counted = false;                     // ... or under way
        bool in_turns = false;
        bool in_waiting = false;
        bool in_outputs = false;
        bool held = false;       // not read from until its turn comes
        bool full = false;       // the socket took less than it was offered
        bool awaited = false;    // on_writable() will come from below
        bool wanted = false;     // ... and the owner wants to know
        bool owed = false;       // one byte of plaintext is encrypted, but counts as not taken
        bool finishing = false;  // FIN goes behind `unsent`
        bool told_end = false;
        bool closed = false;  // by the owner
    };
    // A slice on its way through a send().
    struct Passage {
        io::Send* slice = nullptr;
        Link* link = nullptr;   // null: no TLS
        std::size_t done = 0;   // of its plaintext
        std::size_t part = 0;   // of its plaintext, in this round
        std::size_t begin = 0;  // of its ciphertext in the buffer
        std::size_t size = 0;
        bool over = false;
    };

    void on_accepted(io::ConnIndex conn, std::uint32_t listener) noexcept override;
    void on_received(io::ConnIndex conn, MutBytes bytes) noexcept override;
    void on_ended(io::ConnIndex conn, int os_error) noexcept override;
    void on_writable(io::ConnIndex conn) noexcept override;
    void on_connected(io::ConnIndex conn, int os_error) noexcept override;
    void on_closed(io::ConnIndex conn) noexcept override;

    void take_offer() noexcept;
    void put_aside(io::ConnIndex conn, Link& link, Bytes bytes) noexcept;
    void keep_unread(io::ConnIndex conn, Link& link, Bytes bytes) noexcept;
    void end_largest() noexcept;
    void hold(io::ConnIndex conn, Link& link) noexcept;
    [[nodiscard]] std::vector<std::byte> take_unread(io::ConnIndex conn, Link& link) noexcept;
    void cut_slow() noexcept;
    void admit_waiting() noexcept;
    void run_handshakes() noexcept;
    [[nodiscard]] bool begin(io::ConnIndex conn, Link& link) noexcept;
    void step(io::ConnIndex conn, Link& link) noexcept;
    void leave_handshake(Link& link) noexcept;
    bool leave_waiting(Link& link) noexcept;
    void decrypt(io::ConnIndex conn, Link& link, Bytes ciphertext) noexcept;
    [[nodiscard]] bool note_stage(io::ConnIndex conn, Link& link) noexcept;
    void tell_end(io::ConnIndex conn, Link& link, int os_error) noexcept;
    void add_output(io::ConnIndex conn, Link& link) noexcept;
    void flush_outputs() noexcept;
    void flush_batch(std::span<const io::ConnIndex> conns) noexcept;
    void sent_output(io::ConnIndex conn, Link& link, std::int32_t result) noexcept;
    void settle_output(io::ConnIndex conn, Link& link) noexcept;
    void await(io::ConnIndex conn, Link& link) noexcept;
    static void prepare(Passage& passage) noexcept;
    [[nodiscard]] bool encrypt(Passage& passage) noexcept;
    void send_round(std::span<Passage> passages) noexcept;
    static void settle(Passage& passage, const io::Send& sent) noexcept;

    std::unique_ptr<io::Reactor> below_;
    wire::TlsContext context_;
    const Options options_;
    io::Handler* handler_ = nullptr;
    std::atomic<wire::TlsContext*> offered_{nullptr};
    Slab<Link> links_;
    std::deque<io::ConnIndex> turns_;    // handshakes with bytes to look at
    std::deque<io::ConnIndex> waiting_;  // for one that is under way to end; some of them are gone
    struct Begun {
        io::ConnIndex conn = io::no_conn;
        Nanos at = 0;
    };
    std::deque<Begun> begun_;             // the oldest first; some of them are done
    std::vector<io::ConnIndex> outputs_;  // with something to send, finish or close
    std::vector<std::byte> plaintext_;
    std::vector<std::byte> made_;     // by a filter, for its peer
    std::vector<std::byte> records_;  // ciphertext of a round
    std::array<Passage, io::send_batch_max> passages_;
    std::array<io::Send, io::send_batch_max> sends_;
    TlsCounters counters_;
    std::set<std::pair<std::size_t, io::ConnIndex>> unread_;  // who put aside how much
    std::size_t unread_size_ = 0;                             // of all links
    std::uint32_t shaking_ = 0;                               // handshakes under way
    std::uint32_t waiters_ = 0;  // of `waiting_`, those who are still there
};

}  // namespace ringcast::node
