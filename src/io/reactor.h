#pragma once

// The reactor contract: everything a shard can ask of the outside world. Three back ends keep it
// (io_uring, epoll, and a seeded simulation), so the rooms above cannot tell which one they run on.
//
// Shape: completions. The owner calls wait(); the reactor calls the Handler back for all that
// happened; then the owner starts sends. All calls but wake() are for the owning thread only.
//
// Connections are named by a small index that the reactor chooses. An index is live from
// on_accepted() (or connect()) until on_closed(), and is not used again before on_closed()
// returned. Owners keep their own per-connection state in arrays of that index.
//
// Rules every back end keeps (tests/io/contract_test.cc):
// - Bytes are received from the moment a connection is live until on_ended(), close() or
//   pause_recv(). Nobody has to arm anything: a terminated multishot, an empty buffer ring or a
//   full completion queue is the back end's own business (kernel facts K1-K3).
// - A send never parks (MSG_DONTWAIT): when send() returns, every result is there, and the kernel
//   no longer refers to the bytes - except for slices that lie in the log file, whose pages may sit
//   in socket queues for as long as the peer likes (see Send::file_offset).
// - After close() no callback but on_closed() comes for that index.

#include <cstdint>
#include <memory>
#include <span>

#include "ringcast/error.h"

#include "base/bytes.h"
#include "base/time.h"
#include "io/socket.h"

namespace ringcast::io {

using ConnIndex = std::uint32_t;
constexpr ConnIndex no_conn = UINT32_MAX;

// Bytes readable (but meaningless) behind every view that on_received() hands out, so that a SIMD
// parser may read past the end in place. simdjson 3 asks for 64.
constexpr std::size_t receive_padding = 64;

constexpr std::size_t send_batch_max = 64;  // 64 small sends are about 0.25 ms in the kernel

// The ring's own table of descriptors is no larger than RLIMIT_NOFILE, and a newcomer who finds it
// full is hung up on, not left in the backlog. So accepting never runs ahead further than the room
// that a table has beside connections_max, which is so much at least.
constexpr std::uint32_t direct_spare_min = 16;
constexpr std::uint32_t direct_listeners_max = direct_spare_min;

// A wait() calls back for about so long; what has completed beyond that comes with the next one.
constexpr Nanos callback_time = nanos_per_ms;

class Handler {
  public:
    // A client connected through listener number `listener` (order of listen() calls).
    virtual void on_accepted(ConnIndex conn, std::uint32_t listener) noexcept = 0;
    // Bytes from the peer, valid and writable (unmask in place) until this call returns.
    virtual void on_received(ConnIndex conn, MutBytes bytes) noexcept = 0;
    // No more bytes will come: os_error is 0 for an orderly end (FIN), else an errno.
    virtual void on_ended(ConnIndex conn, int os_error) noexcept = 0;
    // Answer to want_writable(), once.
    virtual void on_writable(ConnIndex conn) noexcept = 0;
    // Answer to connect(): 0, or an errno (close() is still the owner's duty).
    virtual void on_connected(ConnIndex conn, int os_error) noexcept = 0;
    // Nothing is in flight any more; the index may be given out again after this returns.
    virtual void on_closed(ConnIndex conn) noexcept = 0;

  protected:
    ~Handler() = default;
};

// One slice for one connection.
struct Send {
    ConnIndex conn = no_conn;
    // Filled in by send(): bytes taken (0 = none: the socket is full), or -errno.
    std::int32_t result = 0;
    Bytes bytes;
    // Where `bytes` lie in ReactorOptions::log_file, or -1. Lets the back end choose sendfile for a
    // large slice: no copy, but the pages must not be written again until they were punched out.
    std::int64_t file_offset = -1;
    // Filled in by send(): the pages of this slice may be in a socket queue now.
    bool by_reference = false;
};

struct ReactorOptions {
    std::uint32_t connections_max = 1024;    // live indexes, refused ones included
    int log_file = -1;                       // the memfd that Send::file_offset counts in, or -1
    std::uint32_t sendfile_min = 16 * 1024;  // slices of at least so many bytes go by reference
    std::uint32_t receive_buffer_size = 64 * 1024;  // one pooled buffer; a view is never larger

    // io_uring only.
    std::uint32_t receive_buffer_count = 32;  // pooled buffers
    bool incremental_buffers = true;          // share a buffer among receives where the kernel can
    // Connections take no place in the process's table: up to RLIMIT_NOFILE - direct_spare_min of
    // them in each reactor. But no sendfile, no peer(), and direct_listeners_max listeners.
    bool direct_descriptors = false;
    std::uint32_t completions_max = 16 * 1024;  // may be pending; more costs re-arming, no loss
    bool restricted = false;  // the ring takes no operation that this reactor does not use (K13)
};

class Reactor {
  public:
    virtual ~Reactor() = default;

    // Who is called back. Must be set before the first wait().
    virtual void set_handler(Handler& handler) noexcept = 0;

    // Accepts from `listener` (taken over) until stop_listening(), which closes it: connections
    // that are still in its backlog are reset then. When connections_max indexes are live the back
    // end stops accepting, leaves the rest in the backlog, and goes on by itself.
    [[nodiscard]] virtual Result<Done> listen(Fd listener) noexcept = 0;
    virtual void stop_listening() noexcept = 0;

    // Starts a connection; on_connected() tells how it went. Fails at once only when no index or no
    // descriptor is left (busy, os).
    [[nodiscard]] virtual Result<ConnIndex> connect(const Address& peer) noexcept = 0;

    // Sends every slice as far as its socket takes it now and fills in the results. At most
    // send_batch_max slices, at most one per connection.
    virtual void send(std::span<Send> batch) noexcept = 0;

    // One on_writable() when the socket takes bytes again (or is broken). At most one at a time.
    virtual void want_writable(ConnIndex conn) noexcept = 0;

    // Stops reading, so that TCP slows the peer down. Bytes already received may still be
    // delivered. resume_recv() takes it back.
    virtual void pause_recv(ConnIndex conn) noexcept = 0;
    virtual void resume_recv(ConnIndex conn) noexcept = 0;

    // Sends FIN behind everything sent so far. Receiving goes on.
    virtual void shutdown_send(ConnIndex conn) noexcept = 0;

    // Ends the connection: FIN behind everything sent so far, or RST where received bytes were
    // never read. on_closed() follows from a wait(), never from inside close().
    virtual void close(ConnIndex conn) noexcept = 0;

    // Submits what is pending and calls the Handler back for what completed, for no longer than
    // callback_time and the callback in which that ends. Sleeps until `deadline` at the latest; not
    // at all if it has passed, or if the last wait() left something over.
    virtual void wait(Nanos deadline) noexcept = 0;

    // Ends a wait(), the present or the next one. From any thread; costs a system call, so callers
    // first look whether the owner sleeps at all (node/mesh.h).
    virtual void wake() noexcept = 0;

    // The monotonic clock, read once a wait(); the same value until the next one.
    [[nodiscard]] virtual Nanos now() const noexcept = 0;
    // The monotonic clock at this moment, to bound what is done in a turn, never for deadlines.
    // Where time is simulated it stands still between two wait()s.
    [[nodiscard]] virtual Nanos present() const noexcept { return now(); }
    // What the owning thread has had of the CPUs so far, for counters alone; costs a system call. 0
    // where nobody can tell.
    [[nodiscard]] virtual Nanos cpu_time() const noexcept { return 0; }
    // Unix time in nanoseconds, read at the same moment. Only ever for what users see.
    [[nodiscard]] virtual Nanos wall_now() const noexcept = 0;
    // Who is at the other end; for limits by address and for the log. Not found when the back end
    // cannot tell (direct descriptors).
    [[nodiscard]] virtual Result<Address> peer(ConnIndex conn) noexcept {
        static_cast<void>(conn);
        return Error{.code = Errc::not_found};
    }

    // Whether what goes over it is encrypted here, and what memory that takes beyond what each such
    // connection has.
    [[nodiscard]] virtual bool secure(ConnIndex conn) noexcept {
        static_cast<void>(conn);
        return false;
    }
    [[nodiscard]] virtual std::size_t held_bytes(ConnIndex conn) noexcept {
        static_cast<void>(conn);
        return 0;
    }

    // A fresh random number: the only source of chance.
    [[nodiscard]] virtual std::uint64_t random() noexcept = 0;

    [[nodiscard]] virtual const char* name() const noexcept = 0;  // "uring", "epoll" or "sim"
    [[nodiscard]] virtual std::uint32_t live_count() const noexcept = 0;  // live indexes
};

}  // namespace ringcast::io
