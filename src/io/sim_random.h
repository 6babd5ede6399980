#pragma once

// All chance of a simulated world: drawn from a seed, as base/random.h does, or played from a tape.
//
// A tape is the decisions of one world in the order in which they fell, each in as many bytes as
// its range needs. A world that runs from a seed can record it; whoever plays it, whole or changed
// by a fuzzer, gets a legal world: a number that is too large for its range wraps around, and when
// the tape is over every answer is the least one, and that no fault happens. So a world is as long
// as its troubles, and a shorter tape is a simpler world.
//
// One thread owns a tape and everything that draws through it.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"

namespace ringcast::io {

class SimTape {
  public:
    SimTape() noexcept = default;  // records
    // Plays `bytes`, which must outlive it.
    explicit SimTape(Bytes bytes) noexcept : rest_(bytes), plays_(true) {}

    [[nodiscard]] bool plays() const noexcept { return plays_; }
    [[nodiscard]] Bytes recorded() const noexcept { return recorded_; }

    // One decision of 0 to `most`: `value` where this records, else what the tape says.
    [[nodiscard]] std::uint64_t pass(std::uint64_t value, std::uint64_t most) noexcept {
        return plays_ ? play(most) : record(value, most);
    }

  private:
    [[nodiscard]] std::uint64_t record(std::uint64_t value, std::uint64_t most) noexcept {
        RC_CHECK(value <= most);
        std::uint64_t left = value;
        for (std::uint64_t range = most; range != 0; range >>= 8) {
            recorded_.push_back(static_cast<std::byte>(left & 0xff));
            left >>= 8;
        }
        return value;
    }

    [[nodiscard]] std::uint64_t play(std::uint64_t most) noexcept {
        std::uint64_t value = 0;
        std::uint32_t shift = 0;
        for (std::uint64_t range = most; range != 0 && !rest_.empty(); range >>= 8) {
            value |= std::to_integer<std::uint64_t>(rest_.front()) << shift;
            shift += 8;
            rest_ = rest_.subspan(1);
        }
        return most == UINT64_MAX ? value : value % (most + 1);
    }

    Bytes rest_;
    std::vector<std::byte> recorded_;
    bool plays_ = false;
};

// The questions of Random, and the same answers where there is no tape or one that records.
class SimRandom {
  public:
    explicit SimRandom(std::uint64_t seed, SimTape* tape = nullptr) noexcept
        : random_(seed), tape_(tape) {}

    [[nodiscard]] std::uint64_t next() noexcept { return pass(random_.next(), UINT64_MAX); }

    [[nodiscard]] std::uint64_t below(std::uint64_t n) noexcept {
        return pass(random_.below(n), n - 1);
    }

    [[nodiscard]] std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept {
        return low + pass(random_.between(low, high) - low, high - low);
    }

    // Backwards on the tape, so that a zero is no.
    [[nodiscard]] bool chance(std::uint64_t part, std::uint64_t whole) noexcept {
        return whole - 1 - pass(whole - 1 - random_.below(whole), whole - 1) < part;
    }

    // Another one, of the same tape. Its seed is no decision.
    [[nodiscard]] SimRandom fork() noexcept { return SimRandom(random_.next(), tape_); }

  private:
    [[nodiscard]] std::uint64_t pass(std::uint64_t value, std::uint64_t most) noexcept {
        return tape_ == nullptr ? value : tape_->pass(value, most);
    }

    Random random_;
    SimTape* tape_;
};

}  // namespace ringcast::io
