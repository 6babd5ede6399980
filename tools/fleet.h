#pragma once

// Many WebSocket client connections on one thread: opened in a paced ramp with a bounded number of
// handshakes in flight, then watched by one epoll. What arrives is handed on as views into one
// shared buffer; nothing is copied and no connection owns memory of its own.
//
// Sockets are watched edge-triggered in both directions from the start, so that a connection costs
// one epoll_ctl in its life. One owning thread.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <sys/epoll.h>

#include "base/histogram.h"
#include "checker.h"
#include "options.h"
#include "tls.h"
#include "url.h"
#include "ws_client.h"

namespace ringcast::tools {

enum class Stage : std::uint8_t { unused, connecting, shaking, open, closing, closed };

// How a connection ended.
enum class End : std::uint8_t {
    none,
    ours,     // we closed it
    told,     // the server sent a close frame
    dropped,  // the stream ended or broke without one
    refused,  // it never opened
};

struct Conn {
    Reader reader;
    int fd = -1;
    Stage stage = Stage::unused;
    End end = End::none;
    bool muted = false;   // not read from when bytes arrive (slow readers)
    bool pinged = false;  // and has not answered
    std::uint16_t close_code = 0;
    Nanos started_at = 0;
};
static_assert(sizeof(Conn) <= 64, "19,000 of them should stay in the cache");

class Fleet {
  public:
    struct Options {
        std::uint32_t connections = 0;
        std::uint32_t concurrency = 256;  // handshakes in flight
        double ramp_per_s = 0;            // new connections a second; 0: as fast as they succeed
        std::uint32_t sources = 1;        // 127.0.0.1 to 127.0.0.N, when the server is on loopback
        std::uint32_t slow_receive_buffer = 16 * 1024;  // of muted connections
        std::uint32_t receive_buffer = 0;               // of the others; 0: the system's
        std::string congestion;                         // TCP_CONGESTION; empty: the system's
        TlsOptions tls{};
        std::uint32_t apart = 0;  // the first so many connections go to `apart_url` instead
        Url apart_url{};
        bool compress = false;  // all the others ask for compression, and must get it
    };

    class Owner {
      public:
        // The path that connection `index` asks for.
        virtual const std::string& path_of(std::uint32_t index) noexcept = 0;
        virtual void on_open(Conn& conn) noexcept = 0;
        virtual void on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept = 0;
        virtual void on_writable(Conn& conn) noexcept = 0;
        // Conn::end says how; the descriptor is closed after this returns.
        virtual void on_closed(Conn& conn) noexcept = 0;
        virtual ~Owner() = default;
    };

    Fleet(const Options& options, const Url& url, Owner& owner) noexcept;
    ~Fleet();
    Fleet(const Fleet&) = delete;
    Fleet& operator=(const Fleet&) = delete;

    // Resolves the host and raises the file limit; false with a line in error() if that fails.
    [[nodiscard]] bool prepare() noexcept;

    // One turn: starts connections that are due, waits at most `timeout` for events, handles them.
    // Returns how many there were.
    std::size_t turn(Nanos timeout) noexcept;

    // Lets `index` connect, in the order of the calls. Without any call nothing connects.
    void enqueue(std::uint32_t index) noexcept;

    // Bytes that must not be cut: false if the socket takes less, and the connection is then broken
    // off. For small things; publishers keep what their socket does not take (write).
    bool send_small(Conn& conn, std::string_view bytes) noexcept;
    // As much as the socket takes; -1 if it is broken.
    std::ptrdiff_t write(Conn& conn, std::string_view bytes) noexcept;
    // From now on muted connections are not read from. Before, while they connect and subscribe,
    // they are like the others, but for a small receive buffer.
    void begin_silence() noexcept { silence_ = true; }
    // Reads at most `budget` bytes from a muted connection.
    void read_muted(Conn& conn, std::size_t budget) noexcept;
    // From now on it is read like the others, also what has arrived already.
    void unmute(Conn& conn) noexcept;
    void finish(Conn& conn, End end) noexcept;
    // Resets instead of closing: no TIME_WAIT, no FIN (SO_LINGER 0).
    void abort(Conn& conn) noexcept;
    // Leaves the socket as it is for a second, neither read nor closed, as when a network is gone:
    // the server does not hear of it.
    void abandon(Conn& conn) noexcept;
    // Asks for an answer that comes behind all that is on its way; the owner sees it, and says so.
    void ping(Conn& conn) noexcept;
    void on_pong(Conn& conn) noexcept;
    // Takes turns until all who were pinged have answered or are gone, for at most `patience`: a
    // server need not be one that answers.
    void await_pongs(Nanos patience) noexcept;
    // Says goodbye to everybody and waits at most `patience` for their answers.
    void close_all(Nanos patience) noexcept;

    [[nodiscard]] std::vector<Conn>& conns() noexcept { return conns_; }
    [[nodiscard]] std::uint32_t in_flight() const noexcept { return in_flight_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return queue_.size() - started_; }
    [[nodiscard]] std::uint32_t open_count() const noexcept { return open_count_; }
    [[nodiscard]] std::uint64_t refused_count() const noexcept { return refused_count_; }
    // From connect() to the whole answer of the handshake.
    [[nodiscard]] const Histogram& handshakes() const noexcept { return handshakes_; }
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

  private:
    [[nodiscard]] bool silent(const Conn& conn) const noexcept {
        return silence_ && conn.muted && conn.stage == Stage::open;
    }
    struct Target {
        Url url;
        std::string host;  // the Host header
        sockaddr_storage address = {};
        socklen_t address_size = 0;
        bool loopback = false;
    };

    [[nodiscard]] bool resolve(Target& target) noexcept;
    [[nodiscard]] const Target& target_of(std::uint32_t index) const noexcept {
        return index < options_.apart ? apart_ : target_;
    }
    [[nodiscard]] bool compresses(std::uint32_t index) const noexcept {
        return options_.compress && index >= options_.apart;
    }
    void start_due(Nanos now) noexcept;
    void start(std::uint32_t index, Nanos now) noexcept;
    void set_options(int fd, const Conn& conn, std::uint32_t index) noexcept;
    void on_event(Conn& conn, std::uint32_t events) noexcept;
    void read_from(Conn& conn, bool ended) noexcept;
    void on_received(Conn& conn, Bytes bytes, Nanos now) noexcept;
    void shake_hands(Conn& conn, Bytes bytes, Nanos now) noexcept;
    void refuse(Conn& conn, const std::string& why) noexcept;
    void ask(Conn& conn) noexcept;
    [[nodiscard]] bool shake_tls(Conn& conn) noexcept;
    // Null: this connection is not encrypted.
    [[nodiscard]] std::unique_ptr<TlsStream>& stream_of(const Conn& conn) noexcept {
        return streams_[static_cast<std::size_t>(&conn - conns_.data())];
    }
    [[nodiscard]] ssize_t read_some(const Conn& conn, std::size_t size) noexcept;
    void drop_abandoned(Nanos now) noexcept;

    const Options options_;
    Target target_;
    Target apart_;
    Owner& owner_;
    std::string key_;
    std::string accept_;
    int epoll_ = -1;
    std::vector<Conn> conns_;
    TlsClient tls_;
    std::vector<std::unique_ptr<TlsStream>> streams_;  // by connection
    std::vector<std::uint32_t> queue_;                 // in the order of enqueue()
    bool silence_ = false;                             // begin_silence() was called
    std::vector<std::uint32_t> again_;  // read a lot without running dry: once more next turn
    struct Abandoned {
        Nanos until = 0;
        int fd = -1;
    };
    std::deque<Abandoned> abandoned_;  // the oldest first
    std::size_t started_ = 0;
    Nanos next_start_ = 0;
    std::uint32_t in_flight_ = 0;
    std::uint32_t open_count_ = 0;
    std::uint32_t pinged_count_ = 0;
    std::uint64_t refused_count_ = 0;
    Histogram handshakes_;
    std::string error_;  // the first refusal, for people
    std::unique_ptr<std::byte[]> buffer_;
    std::vector<epoll_event> events_;
};

}  // namespace ringcast::tools
