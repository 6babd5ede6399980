#pragma once

// Repeatable chance: the same seed gives the same numbers on every machine. For simulation, tests
// and spreading deadlines; never for secrets (xoshiro256** can be predicted from a few outputs).
//
// There is no global generator: whoever needs one is handed it, with a seed from Reactor::random().

#include <array>
#include <bit>
#include <cstdint>

#include "base/check.h"

namespace ringcast {

class Random {  // xoshiro256** 1.0, Blackman and Vigna 2018, prng.di.unimi.it
  public:
    // Any seed is good, 0 too: splitmix64 makes the state from it, which is then never all zeros.
    constexpr explicit Random(std::uint64_t seed) noexcept {
        for (std::uint64_t& word : state_) {
            seed += 0x9e3779b97f4a7c15;
            std::uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            word = z ^ (z >> 31);
        }
    }

    [[nodiscard]] constexpr std::uint64_t next() noexcept {
        const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    // Evenly one of 0 to n - 1. Precondition: n != 0.
    [[nodiscard]] constexpr std::uint64_t below(std::uint64_t n) noexcept {
        RC_CHECK(n != 0);
        // The largest multiple of n in 2^64; what lies past it would favour small results.
        const std::uint64_t excess = (UINT64_MAX % n + 1) % n;
        std::uint64_t value = next();
        while (value > UINT64_MAX - excess) {
            value = next();
        }
        return value % n;
    }

    // Evenly one of `low` to `high`, both included.
    [[nodiscard]] constexpr std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept {
        RC_CHECK(low <= high);
        return high - low == UINT64_MAX ? next() : low + below(high - low + 1);
    }

    // True `part` times out of `whole`.
    [[nodiscard]] constexpr bool chance(std::uint64_t part, std::uint64_t whole) noexcept {
        return below(whole) < part;
    }

  private:
    std::array<std::uint64_t, 4> state_{};
};

}  // namespace ringcast
