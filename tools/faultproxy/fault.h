#pragma once

// What the proxy can do to a stream, and the one-line commands that ask for it. Pure: text in,
// plain values out.
//
//   add WAY KIND [NUMBER...] [CHANCE%]   WAY: up (client to server), down, both
//   remove ID       cut       clear       seed NUMBER       stats       help
//
// A fault belongs to a link with its chance, drawn once when the two meet. Kinds and their numbers
// stand in one table, `kinds`, which the parser and the help both read.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"

namespace ringcast::faultproxy {

enum class Kind : std::uint8_t {
    latency,    // a: milliseconds, b: jitter, evenly more or less
    bandwidth,  // a: bytes a second
    slice,      // a: bytes a write at most, each size evenly drawn; b: microseconds between them
    flip,       // a: of a million bytes so many get one bit turned over
    blackhole,  // nothing passes, and nobody is told, until the fault is removed
    half,       // after a: bytes the receiver sees the end of the stream; the rest is swallowed
    reset,      // after a: bytes both sides are reset
    swizzle,    // within a: milliseconds each link stops at one moment and goes on at a later one
};

struct KindRow {
    const char* name;
    Kind kind;
    std::uint8_t needed;   // numbers that must be given
    std::uint8_t allowed;  // and that may be
    std::uint64_t least;   // of the first number
    std::uint64_t most;    // of each
    const char* numbers;
};

constexpr std::uint64_t ms_max = 600'000;
constexpr std::uint64_t bytes_max = 1'000'000'000'000;

inline constexpr std::array<KindRow, 8> kinds{{
    {"latency", Kind::latency, 1, 2, 0, ms_max, "MS [JITTER]"},
    {"bandwidth", Kind::bandwidth, 1, 1, 1, bytes_max, "BYTES/S"},
    {"slice", Kind::slice, 1, 2, 1, 1'000'000, "BYTES [MICROSECONDS]"},
    {"flip", Kind::flip, 1, 1, 1, 1'000'000, "PER-MILLION"},
    {"blackhole", Kind::blackhole, 0, 0, 0, 0, ""},
    {"half", Kind::half, 0, 1, 0, bytes_max, "[AFTER-BYTES]"},
    {"reset", Kind::reset, 0, 1, 0, bytes_max, "[AFTER-BYTES]"},
    {"swizzle", Kind::swizzle, 1, 1, 1, ms_max, "MS"},
}};

enum class Way : std::uint8_t { up = 1, down = 2, both = 3 };

struct Fault {
    Kind kind = Kind::latency;
    Way way = Way::both;
    std::uint8_t percent = 100;  // of the links
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::uint32_t id = 0;  // given by the proxy
};

enum class Verb : std::uint8_t { add, remove, cut, clear, seed, stats, help };

struct Command {
    Verb verb = Verb::help;
    Fault fault;               // add
    std::uint64_t number = 0;  // remove: the id; seed
};

// True and `command`, or false and a line that names what is wrong.
[[nodiscard]] bool parse_command(std::string_view line,
                                 Command& command,
                                 std::string& complaint) noexcept;

// "up latency 50 20 30%": a fault as one would ask for it.
[[nodiscard]] std::string describe(const Fault& fault) noexcept;
// All commands and kinds in one line.
[[nodiscard]] std::string command_help() noexcept;

}  // namespace ringcast::faultproxy
