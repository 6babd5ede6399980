#pragma once

// What the tools read of processes and set for their own: CPU time, memory, file limit, pinning,
// Ctrl-C. Linux only, by /proc.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"

namespace ringcast::tools {

struct ProcessMemory {
    std::uint64_t anonymous = 0;  // bytes
    std::uint64_t file = 0;
    std::uint64_t shared = 0;  // memfd pages mapped by it

    [[nodiscard]] std::uint64_t total() const noexcept { return anonymous + file + shared; }
    // Without the program's own text, which comes in as it is first run, whoever caused that.
    [[nodiscard]] std::uint64_t data() const noexcept { return anonymous + shared; }
};

// CPU time that all threads of a process have used, user and system; 0 if there is no such process.
[[nodiscard]] Nanos process_cpu(int pid) noexcept;
[[nodiscard]] ProcessMemory process_memory(int pid) noexcept;
[[nodiscard]] bool process_exists(int pid) noexcept;
// Of this process.
[[nodiscard]] Nanos own_cpu() noexcept;

// Raises RLIMIT_NOFILE as far as it goes towards `wanted`; returns what it is now.
std::uint64_t raise_file_limit(std::uint64_t wanted) noexcept;
[[nodiscard]] bool pin_to_cpu(int cpu) noexcept;

// From then on Ctrl-C (SIGINT) and SIGTERM only set a flag, once; the second one ends the program.
void catch_interrupts() noexcept;
[[nodiscard]] bool interrupted() noexcept;

// What an errno means, as a word of the C library's.
[[nodiscard]] std::string os_text(int error) noexcept;

// The number behind "name:" in /proc/PID/status, in bytes; 0 if it is not there.
[[nodiscard]] std::uint64_t parse_status(std::string_view text, std::string_view name) noexcept;
// utime + stime of /proc/PID/stat, in clock ticks. The name of the program may hold anything.
[[nodiscard]] std::uint64_t parse_stat_ticks(std::string_view text) noexcept;

}  // namespace ringcast::tools
