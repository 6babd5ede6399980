#pragma once

// One direction of a link: bytes go in as they are read, and come out when the faults let them.
// Pure: no socket and no clock, so a test can walk through any fault in its own time.
//
// Invariants:
// - Bytes keep their order, and none is lost or made up, but for what `flip` turns over and what
//   comes after `half`. What ends the stream (its end, or a reset) keeps its place behind the
//   bytes; a reset overtakes those that the receiver's socket does not take.
// - At most `capacity` bytes in at most `chunks_max` pieces are held: room() says how many more
// fit,
//   and whoever reads asks it first. A stopped pipe so stops its sender, as a real one does.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/time.h"
#include "fault.h"

namespace ringcast::faultproxy {

enum class End : std::uint8_t { open, finished, reset };

class Pipe {
  public:
    static constexpr std::size_t capacity = std::size_t{64} * 1024;
    static constexpr std::size_t chunks_max = 1024;

    // What to do now, and if that is nothing, when to ask again.
    struct Next {
        Bytes bytes{};        // to be written, valid until the next call
        End end = End::open;  // finished: tell the receiver; reset: break the link
        Nanos at = never;     // with neither; never: not before something else happens
    };

    explicit Pipe(std::uint64_t seed) noexcept : random_(seed) {}

    void apply(const Fault& fault, Nanos now) noexcept;
    void lift(std::uint32_t id) noexcept;
    void lift_all() noexcept { active_.clear(); }

    [[nodiscard]] std::size_t room() const noexcept;
    // Precondition: bytes.size() <= room().
    void push(Bytes bytes, Nanos now) noexcept;
    // The sender has nothing more to say, or is gone.
    void end(End end, Nanos now) noexcept;
    // The receiver takes nothing any more: what is here and what comes is dropped.
    void sink() noexcept;

    [[nodiscard]] Next next(Nanos now) noexcept;
    // `count` of the bytes that next() gave were written.
    void took(std::size_t count, Nanos now) noexcept;
    // The receiver was told of the end.
    void told() noexcept { told_ = true; }

    // Nothing will ever come in or go out again.
    [[nodiscard]] bool over() const noexcept { return told_ && end_ != End::open; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t passed() const noexcept { return passed_; }

  private:
    struct Chunk {
        Nanos at = 0;  // not before
        std::string bytes{};
        std::size_t taken = 0;
    };
    struct Active {
        Fault fault;
        std::uint64_t left = 0;  // half, reset: bytes that still pass
        Nanos stops_at = 0;      // swizzle
        Nanos goes_on_at = 0;
    };

    [[nodiscard]] Nanos delay() noexcept;
    // When held bytes may move: `now` if nothing holds them, never if only a command can tell.
    [[nodiscard]] Nanos held_until(Nanos now) const noexcept;
    [[nodiscard]] std::size_t limit(std::size_t size) noexcept;
    void flip(std::string& bytes) noexcept;

    Random random_;
    std::vector<Active> active_;
    std::deque<Chunk> chunks_;
    std::size_t size_ = 0;
    Nanos last_at_ = 0;        // of the youngest chunk: nothing overtakes it
    Nanos next_write_at_ = 0;  // bandwidth and pauses
    End end_ = End::open;      // of the sender
    Nanos end_at_ = 0;
    bool told_ = false;
    std::uint64_t passed_ = 0;
};

}  // namespace ringcast::faultproxy
