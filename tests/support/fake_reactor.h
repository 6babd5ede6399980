#pragma once

// A Reactor without a kernel: the test plays the network and the clock.
//
// Both ends are here. A FakeSocket is one connection as its peer sees it: what was sent to it, how
// much more its socket takes, what it says. Sockets are never used again (connection indexes are),
// so a test may look at one for as long as the reactor lives.
//
// Nothing happens by itself: the test scripts accepts, bytes, ends and room; wait() tells the
// handler all of it, socket by socket, in an order drawn from the seed. The clock moves when the
// test says so, and the reactor sees it at its next wait(), as a real one does.
//
// The owner's half of the contract is checked with RC_CHECK: at most one slice a connection and
// send_batch_max in a batch, nothing empty, nothing to an index that is closed, shut or full, no
// second close, pause and resume in turns, at most one want_writable at a time.
//
// One thread owns it; wake() may come from any.

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "io/reactor.h"

namespace ringcast::test {

// Shared by all reactors of a test.
struct VirtualClock {
    Nanos now = 1000 * nanos_per_s;
    Nanos wall = 1'700'000'000 * nanos_per_s;

    void advance(Nanos span) noexcept {
        now += span;
        wall += span;
    }
};

// One connection from the peer's side. Members may be read and written by the test at any time,
// but those under "what the owner did".
struct FakeSocket {
    static constexpr std::size_t endless = SIZE_MAX;

    void say(std::string_view bytes) { inbox.emplace_back(bytes); }  // one on_received each
    void say_split(std::string_view bytes, Random& random);          // in pieces of any size
    void fin() noexcept { end = 0; }
    void reset(int os_error = 104) noexcept;  // ECONNRESET
    // Everything sent since the last call.
    [[nodiscard]] std::string take() noexcept;

    std::size_t room = endless;  // bytes that the socket takes before it is full
    bool stingy = false;         // takes any part of what it could, as the seed says
    int broken = 0;              // errno of every further send
    std::deque<std::string> inbox;
    int end = -1;                     // 0: FIN, else errno, once the inbox is empty; -1: goes on
    std::optional<io::Address> from;  // its address; none: nobody can tell
    std::uint32_t listener = 0;       // that it came through

    // What the owner did.
    io::ConnIndex conn = io::no_conn;
    std::string sent;
    bool live = false;     // accepted, and on_closed() has not been called
    bool paused = false;   // not read from
    bool shut = false;     // FIN behind `sent`
    bool closed = false;   // close() was called: FIN, or RST if something was unread
    bool unread = false;   // ... and something was
    bool wanting = false;  // want_writable() has no answer yet
    bool full = false;     // the last send was not taken whole, and no on_writable() came
    bool told_end = false;
    std::uint32_t sends = 0;
};

class FakeReactor final : public io::Reactor {
  public:
    FakeReactor(VirtualClock& clock, std::uint64_t seed, std::uint32_t connections_max = 1024);
    ~FakeReactor() override = default;

    // A client connects; the owner hears of it in the next wait() that has an index to give.
    FakeSocket& accept();

    // The deadline of the last wait(), and whether that wait() found anything to tell.
    [[nodiscard]] Nanos deadline() const noexcept { return deadline_; }
    [[nodiscard]] bool was_idle() const noexcept { return was_idle_; }
    [[nodiscard]] std::uint32_t wakes() const noexcept { return wakes_.load(); }
    [[nodiscard]] bool listening() const noexcept { return listening_; }
    // From now on so much time passes, of the CPU as well, whenever the owner looks how late it is.
    void set_work_time(Nanos span) noexcept { work_time_ = span; }
    // Slices that lie in the log at least so long go by reference.
    void set_sendfile_min(std::size_t size) noexcept { sendfile_min_ = size; }
    [[nodiscard]] std::uint64_t batches() const noexcept { return batches_; }
    [[nodiscard]] std::uint64_t slices() const noexcept { return slices_; }

    void set_handler(io::Handler& handler) noexcept override { handler_ = &handler; }
    [[nodiscard]] Result<Done> listen(io::Fd listener) noexcept override;
    void stop_listening() noexcept override { listening_ = false; }
    [[nodiscard]] Result<io::ConnIndex> connect(const io::Address& peer) noexcept override;
    [[nodiscard]] Result<io::Address> peer(io::ConnIndex conn) noexcept override;
    void send(std::span<io::Send> batch) noexcept override;
    void want_writable(io::ConnIndex conn) noexcept override;
    void pause_recv(io::ConnIndex conn) noexcept override;
    void resume_recv(io::ConnIndex conn) noexcept override;
    void shutdown_send(io::ConnIndex conn) noexcept override;
    void close(io::ConnIndex conn) noexcept override;
    void wait(Nanos deadline) noexcept override;
    void wake() noexcept override { wakes_.fetch_add(1); }
    [[nodiscard]] Nanos now() const noexcept override { return now_; }
    [[nodiscard]] Nanos wall_now() const noexcept override { return wall_; }
    [[nodiscard]] Nanos present() const noexcept override;
    [[nodiscard]] Nanos cpu_time() const noexcept override { return cpu_time_; }
    [[nodiscard]] std::uint64_t random() noexcept override { return random_.next(); }
    [[nodiscard]] const char* name() const noexcept override { return "fake"; }
    [[nodiscard]] std::uint32_t live_count() const noexcept override { return live_count_; }

  private:
    // The open socket of an index that the owner may use.
    [[nodiscard]] FakeSocket& open(io::ConnIndex conn) noexcept;
    void tell(FakeSocket& socket) noexcept;
    void tell_accept(FakeSocket& socket) noexcept;
    void tell_input(FakeSocket& socket) noexcept;
    void tell_closed(FakeSocket& socket) noexcept;
    void send_one(io::Send& send) noexcept;

    VirtualClock& clock_;
    Random random_;
    io::Handler* handler_ = nullptr;
    std::vector<FakeSocket*> indexes_;  // null: free
    std::vector<std::unique_ptr<FakeSocket>> sockets_;
    std::vector<FakeSocket*> current_;  // those that may have something to tell
    std::size_t sendfile_min_ = SIZE_MAX;
    Nanos now_;
    Nanos wall_;
    Nanos deadline_ = 0;
    Nanos work_time_ = 0;
    mutable Nanos cpu_time_ = 0;
    std::uint64_t batches_ = 0;
    std::uint64_t slices_ = 0;
    std::uint64_t told_ = 0;
    std::uint32_t live_count_ = 0;
    bool listening_ = true;
    bool was_idle_ = true;
    bool calling_back_ = false;
    std::atomic<std::uint32_t> wakes_{0};
};

}  // namespace ringcast::test
