#pragma once

// The proxy: takes connections, makes one to the target for each, and moves bytes between the two
// through two Pipes. Faults come by commands (fault.h) over a control socket, a line each; every
// line gets one line back, "ok ..." or "error: ...".
//
// One thread, one epoll, edge-triggered: Side remembers what the kernel said last. Memory is
// bounded by `links_max` links with two Pipes each; more connections wait in the listen queue. What
// a link draws follows from the seed and its number, whatever the other links do.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringcast/error.h"

#include "base/random.h"
#include "fault.h"
#include "io/socket.h"
#include "pipe.h"

namespace ringcast::faultproxy {

constexpr std::size_t faults_max = 32;

class Proxy {
  public:
    struct Options {
        io::Address listen;
        io::Address target;
        std::string control;  // "ADDRESS:PORT", "unix:PATH", or empty: none
        std::uint64_t seed = 1;
        std::uint32_t links_max = 4096;
    };

    explicit Proxy(const Options& options) noexcept;
    ~Proxy();
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    [[nodiscard]] Result<Done> open() noexcept;
    [[nodiscard]] std::string address() const noexcept;
    [[nodiscard]] std::string control_address() const noexcept;

    // Handles what has happened, and waits for it at most so long.
    void turn(Nanos timeout) noexcept;
    // Does what the line says and returns the answer, without a line break.
    std::string obey(std::string_view line) noexcept;

    [[nodiscard]] std::uint32_t link_count() const noexcept { return link_count_; }

  private:
    struct Side {
        io::Fd fd;
        bool readable = false;
        bool writable = false;
    };
    struct Link {
        Link(std::uint64_t seed, std::uint64_t number) noexcept;
        Random random;  // which faults meet this link
        Side client;
        Side server;
        Pipe up;
        Pipe down;
        bool connected = false;
        Nanos wake_at = 0;  // its entry in timers_; 0: none
    };
    struct Control {
        io::Fd fd;
        std::string line;  // the start of one
    };
    static constexpr std::size_t controls_max = 8;

    [[nodiscard]] Result<Done> open_control() noexcept;
    [[nodiscard]] bool watch(int fd, std::uint32_t events, std::uint64_t tag) noexcept;
    void on_event(std::uint64_t tag, std::uint32_t events, Nanos now) noexcept;
    void accept_links(Nanos now) noexcept;
    void accept_controls() noexcept;
    void add_link(io::Fd client, Nanos now) noexcept;
    void pause_accepting(bool pause) noexcept;
    void meet(Link& link, const Fault& fault, Nanos now) noexcept;
    void pump(std::uint32_t slot, Nanos now) noexcept;
    [[nodiscard]] bool read_side(Side& from, Pipe& pipe, Nanos now) noexcept;
    [[nodiscard]] bool write_side(Side& to, Pipe& pipe, Pipe& back, Nanos now) noexcept;
    void schedule(std::uint32_t slot, Nanos now) noexcept;
    void remove(std::uint32_t slot, bool reset) noexcept;
    void pump_all(Nanos now) noexcept;
    void read_control(Control& control) noexcept;
    [[nodiscard]] std::string add_fault(Fault fault) noexcept;
    [[nodiscard]] std::string stats() const noexcept;

    const Options options_;
    std::uint64_t seed_;
    io::Fd epoll_;
    io::Fd listener_;
    io::Fd control_listener_;
    std::string control_path_;  // to be unlinked
    bool paused_ = false;       // not accepting
    std::vector<std::unique_ptr<Link>> links_;
    std::vector<std::uint32_t> free_;   // slots
    std::vector<std::uint32_t> freed_;  // in this turn: events for them may still come
    std::vector<std::uint32_t> again_;  // have more to do than a turn's share
    std::set<std::pair<Nanos, std::uint32_t>> timers_;
    std::array<Control, controls_max> controls_;
    std::vector<Fault> faults_;
    std::uint32_t next_fault_ = 1;
    std::uint32_t link_count_ = 0;
    std::uint64_t accepted_ = 0;
    std::uint64_t reset_ = 0;
    std::uint64_t moved_up_ = 0;  // bytes of links that are gone
    std::uint64_t moved_down_ = 0;
    std::unique_ptr<std::byte[]> buffer_;
};

}  // namespace ringcast::faultproxy
