#include "io/host_stats.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace ringcast::io {

namespace {

// /proc/stat of a machine with 512 CPUs is about 40 KB, and its interrupt line comes after them.
constexpr std::size_t text_size = std::size_t{128} * 1024;

[[nodiscard]] Fd open_file(const char* path) noexcept {
    return Fd(::open(path, O_RDONLY | O_CLOEXEC));
}

// Cuts the first line off `text`.
[[nodiscard]] std::string_view next_line(std::string_view& text) noexcept {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
}

// Cuts the first number off `text`, with the blanks before it. False: there is none.
[[nodiscard]] bool next_number(std::string_view& text, std::uint64_t& value) noexcept {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
    return true;
}

[[nodiscard]] double rate(std::uint64_t now, std::uint64_t before, double seconds) noexcept {
    if (seconds <= 0 || now < before) return 0;  // a counter starts again when its device goes
    return static_cast<double>(now - before) / seconds;
}

}  // namespace

HostStats::HostStats() noexcept
    : cpu_file_(open_file("/proc/stat")),
      memory_file_(open_file("/proc/meminfo")),
      network_file_(open_file("/proc/net/dev")),
      process_cpu_file_(open_file("/proc/self/stat")),
      process_memory_file_(open_file("/proc/self/statm")),
      text_(text_size) {}

std::string_view HostStats::read(const Fd& file) noexcept {
    if (!file.valid()) return {};
    const ssize_t size = ::pread(file.get(), text_.data(), text_.size(), 0);
    return {text_.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

const HostFigures& HostStats::sample(Nanos now) noexcept {
    const double seconds =
        sampled_at_ < 0 ? 0 : static_cast<double>(now - sampled_at_) / double{nanos_per_s};
    sample_cpu();
    const std::string_view memory = read(memory_file_);
    figures_.memory_total = parse_meminfo(memory, "MemTotal");
    figures_.memory_available = parse_meminfo(memory, "MemAvailable");
    sample_network(seconds);
    sample_process(seconds);
    sampled_at_ = now;
    return figures_;
}

void HostStats::sample_cpu() noexcept {
    const std::string_view text = read(cpu_file_);
    const std::size_t count = parse_cpu_ticks(text, {});
    ticks_.assign(count, {});
    parse_cpu_ticks(text, ticks_);
    figures_.cpu_busy.assign(count, 0);
    for (std::size_t i = 0; i < count && i < ticks_before_.size(); i++) {
        const CpuTicks before = ticks_before_[i];
        if (ticks_[i].total <= before.total || ticks_[i].busy < before.busy) continue;
        figures_.cpu_busy[i] = static_cast<float>(ticks_[i].busy - before.busy) /
                               static_cast<float>(ticks_[i].total - before.total);
    }
    std::swap(ticks_, ticks_before_);
}

void HostStats::sample_network(double seconds) noexcept {
    const std::string_view text = read(network_file_);
    const NetworkBytes network = parse_network(text, false);
    const NetworkBytes loopback = parse_network(text, true);
    figures_.network_rx_per_s = rate(network.rx, network_.rx, seconds);
    figures_.network_tx_per_s = rate(network.tx, network_.tx, seconds);
    figures_.loopback_per_s = rate(loopback.rx, loopback_.rx, seconds);
    network_ = network;
    loopback_ = loopback;
}

void HostStats::sample_process(double seconds) noexcept {
    const auto ticks_per_s = static_cast<double>(::sysconf(_SC_CLK_TCK));
    const auto ticks = static_cast<double>(parse_process_ticks(read(process_cpu_file_)));
    const double cpu_s = ticks / ticks_per_s;
    figures_.process_cpu = 0;
    if (seconds > 0 && cpu_s > figures_.process_cpu_s) {
        figures_.process_cpu = static_cast<float>((cpu_s - figures_.process_cpu_s) / seconds);
    }
    figures_.process_cpu_s = cpu_s;
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    figures_.process_rss = parse_resident_pages(read(process_memory_file_)) * page;
}

std::size_t parse_cpu_ticks(std::string_view text, std::span<CpuTicks> target) noexcept {
    std::size_t count = 0;
    while (!text.empty()) {
        std::string_view line = next_line(text);
        if (!line.starts_with("cpu")) break;  // they come first
        line.remove_prefix(3);
        std::uint64_t cpu = 0;
        if (line.starts_with(' ') || !next_number(line, cpu)) continue;  // the sum of all
        if (cpu > 65535) continue;
        count = std::max(count, static_cast<std::size_t>(cpu) + 1);
        if (cpu >= target.size()) continue;
        // user nice system idle iowait irq softirq steal; guest time is counted in user already.
        CpuTicks ticks;
        std::uint64_t value = 0;
        for (int column = 0; column < 8 && next_number(line, value); column++) {
            ticks.total += value;
            if (column != 3 && column != 4) ticks.busy += value;
        }
        target[cpu] = ticks;
    }
    return count;
}

std::uint64_t parse_meminfo(std::string_view text, std::string_view name) noexcept {
    while (!text.empty()) {
        std::string_view line = next_line(text);
        if (!line.starts_with(name)) continue;
        line.remove_prefix(name.size());
        if (!line.starts_with(':')) continue;
        line.remove_prefix(1);
        std::uint64_t kilobytes = 0;
        return next_number(line, kilobytes) ? kilobytes * 1024 : 0;
    }
    return 0;
}

NetworkBytes parse_network(std::string_view text, bool loopback) noexcept {
    NetworkBytes sum;
    while (!text.empty()) {
        std::string_view line = next_line(text);
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) continue;  // the two lines of headings
        std::string_view name = line.substr(0, colon);
        name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
        if ((name == "lo") != loopback) continue;
        line.remove_prefix(colon + 1);
        // Eight columns of received, then eight of sent; bytes are the first of each.
        std::uint64_t value = 0;
        for (int column = 0; column < 9 && next_number(line, value); column++) {
            if (column == 0) sum.rx += value;
            if (column == 8) sum.tx += value;
        }
    }
    return sum;
}

std::uint64_t parse_process_ticks(std::string_view text) noexcept {
    const std::size_t bracket = text.rfind(')');  // the command name may hold anything but its end
    if (bracket == std::string_view::npos || bracket + 3 > text.size()) return 0;
    text.remove_prefix(bracket + 3);  // ") S": what follows are numbers
    std::uint64_t user = 0;
    std::uint64_t system = 0;
    for (int column = 4; column <= 15 && !text.empty(); column++) {
        // Some columns may be negative; they are skipped as words.
        text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
        std::string_view word = text.substr(0, std::min(text.find(' '), text.size()));
        text.remove_prefix(word.size());
        if (column == 14 && !next_number(word, user)) return 0;
        if (column == 15 && !next_number(word, system)) return 0;
    }
    return user + system;
}

std::uint64_t parse_resident_pages(std::string_view text) noexcept {
    std::uint64_t pages = 0;
    if (!next_number(text, pages) || !next_number(text, pages)) return 0;
    return pages;
}

}  // namespace ringcast::io
