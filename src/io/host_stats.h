#pragma once

// How the machine and this process do: CPU, memory, network, read from /proc about once a second
// for the dashboard. The files are opened once and read with pread. One owning thread.
//
// The parsers take text and are pure, so tests feed them files of machines we do not have.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ringcast/error.h"

#include "base/time.h"
#include "io/socket.h"

namespace ringcast::io {

struct CpuTicks {
    std::uint64_t busy = 0;
    std::uint64_t total = 0;
};

struct NetworkBytes {
    std::uint64_t rx = 0;
    std::uint64_t tx = 0;
};

struct HostFigures {
    std::vector<float> cpu_busy;  // of each CPU, 0..1, since the last sample
    std::uint64_t memory_total = 0;
    std::uint64_t memory_available = 0;
    double network_rx_per_s = 0;  // bytes, all interfaces but loopback
    double network_tx_per_s = 0;
    double loopback_per_s = 0;      // bytes; what demos and benches use
    double process_cpu_s = 0;       // CPU seconds of this process since it began, user and system
    float process_cpu = 0;          // CPUs in use by it, 0..cpu count, since the last sample
    std::uint64_t process_rss = 0;  // bytes resident
};

class HostStats {
  public:
    // Files that cannot be opened leave their figures at zero.
    HostStats() noexcept;

    // The figures now; fractions and rates are since the last call (zero in the first).
    const HostFigures& sample(Nanos now) noexcept;

  private:
    [[nodiscard]] std::string_view read(const Fd& file) noexcept;
    void sample_cpu() noexcept;
    void sample_network(double seconds) noexcept;
    void sample_process(double seconds) noexcept;

    Fd cpu_file_;
    Fd memory_file_;
    Fd network_file_;
    Fd process_cpu_file_;
    Fd process_memory_file_;
    std::vector<char> text_;
    std::vector<CpuTicks> ticks_;
    std::vector<CpuTicks> ticks_before_;
    NetworkBytes network_;
    NetworkBytes loopback_;
    Nanos sampled_at_ = -1;
    HostFigures figures_;
};

// /proc/stat: fills `target` with the lines cpu0, cpu1 ... (by number); returns how many there are.
std::size_t parse_cpu_ticks(std::string_view text, std::span<CpuTicks> target) noexcept;
// /proc/meminfo: the bytes of one line, e.g. "MemAvailable"; 0 when there is none.
[[nodiscard]] std::uint64_t parse_meminfo(std::string_view text, std::string_view name) noexcept;
// /proc/net/dev: the sum over all interfaces but lo, or lo alone.
[[nodiscard]] NetworkBytes parse_network(std::string_view text, bool loopback) noexcept;
// /proc/self/stat: utime + stime in clock ticks. The command name may hold blanks and brackets.
[[nodiscard]] std::uint64_t parse_process_ticks(std::string_view text) noexcept;
// /proc/self/statm: resident pages.
[[nodiscard]] std::uint64_t parse_resident_pages(std::string_view text) noexcept;

}  // namespace ringcast::io
