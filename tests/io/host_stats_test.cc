#include "io/host_stats.h"

#include <array>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

namespace ringcast::io::test {

TEST_CASE("host stats: /proc/stat gives busy and total of each CPU") {
    constexpr std::string_view text =
        "cpu  300 0 30 3000 30 3 3 6 100 0\n"
        "cpu0 100 1 10 1000 10 1 1 2 50 0\n"
        "cpu2 200 0 20 2000 20 2 2 4\n"  // CPU 1 is offline
        "intr 12345 0 0\nctxt 5\n";
    CHECK(parse_cpu_ticks(text, {}) == 3);
    std::array<CpuTicks, 3> ticks{};
    CHECK(parse_cpu_ticks(text, ticks) == 3);
    CHECK(ticks[0].total == 1125);
    CHECK(ticks[0].busy == 115);
    CHECK(ticks[1].total == 0);
    CHECK(ticks[2].total == 2248);
    CHECK(ticks[2].busy == 228);
    for (const char* broken :
         {"", "cpu", "cpu0", "cpux 1 2", "cpu99999999999 1", "intr 5\ncpu0 1\n"}) {
        CAPTURE(broken);
        CHECK(parse_cpu_ticks(broken, ticks) <= 3);
    }
}

TEST_CASE("host stats: /proc/meminfo is found by its whole name") {
    constexpr std::string_view text =
        "MemTotal:       16384 kB\nMemTotalX:  1 kB\nMemFree: 5 kB\nMemAvailable:\t 77 kB\nHuge: "
        "x\n";
    CHECK(parse_meminfo(text, "MemTotal") == 16'384 * 1024);
    CHECK(parse_meminfo(text, "MemFree") == 5 * 1024);
    CHECK(parse_meminfo(text, "Mem") == 0);
    CHECK(parse_meminfo(text, "Huge") == 0);
    CHECK(parse_meminfo("", "MemTotal") == 0);
}

TEST_CASE("host stats: /proc/net/dev sums all interfaces, loopback apart") {
    constexpr std::string_view text =
        "Inter-|   Receive                        |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n"
        "    lo:     700       1    0    0    0     0          0         0      700       1 0 0 0\n"
        "  eth0:    1000       1    0    0    0     0          0         0     2000       1 0 0 0\n"
        "enp5s0:10 1 0 0 0 0 0 0 20 1 0 0 0\n"
        "broken: 5\n";
    CHECK(parse_network(text, false).rx == 1015);
    CHECK(parse_network(text, false).tx == 2020);
    CHECK(parse_network(text, true).rx == 700);
    CHECK(parse_network(text, true).tx == 700);
    CHECK(parse_network("", true).rx == 0);
}

TEST_CASE("host stats: /proc/self/stat is read behind a command name that lies") {
    CHECK(parse_process_ticks("7 (ring cast) S) S 1 7 7 0 -1 64 1 2 3 4 30 12 5 6 20 0\n") == 42);
    CHECK(parse_process_ticks("7 (x) R 1 7 7 0 -1 64 1 2 3 4 30 12") == 42);
    for (const char* broken :
         {"", "7 (x", "7 (x)", "7 (x) S", "7 (x) S 1 2", "7 (x) S 1 7 7 0 -1 64 1 2 3 4 a b"}) {
        CAPTURE(broken);
        CHECK(parse_process_ticks(broken) == 0);
    }
    CHECK(parse_resident_pages("5000 123 60 1 0 90 0\n") == 123);
    CHECK(parse_resident_pages("5000") == 0);
    CHECK(parse_resident_pages("") == 0);
}

TEST_CASE("host stats: this machine and this process are plausible") {
    HostStats stats;
    const HostFigures first = stats.sample(0);
    CHECK(first.memory_total > first.memory_available);
    CHECK(first.memory_available > 0);
    CHECK(first.process_rss > 100'000);
    CHECK(!first.cpu_busy.empty());
    CHECK(first.process_cpu == 0);
    // Something to see: memory touched, and CPU time used.
    std::vector<char> memory(32 << 20);
    volatile unsigned work = 0;
    for (int round = 0; round < 20; round++) {
        std::memset(memory.data(), round, memory.size());
        for (unsigned i = 0; i < 2'000'000; i++)
            work = work + i;
    }
    const HostFigures second = stats.sample(nanos_per_s);
    CHECK(second.process_cpu_s > first.process_cpu_s);
    CHECK(second.process_cpu > 0);
    CHECK(second.process_rss > first.process_rss + (16 << 20));
    for (const float busy : second.cpu_busy) {
        CHECK(busy >= 0);
        CHECK(busy <= 1);
    }
}

}  // namespace ringcast::io::test
