#include "io/process.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/socket.h"

namespace ringcast::io {

namespace {

constexpr std::size_t cpus_max = 4096;

// The text of a small file of /proc or /sys; empty when it cannot be read.
[[nodiscard]] std::string read_small(const char* path) noexcept {
    const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return {};
    char text[4096];
    const ssize_t size = ::read(file.get(), text, sizeof(text));
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

[[nodiscard]] std::string_view take_line(std::string_view& text) noexcept {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
}

// A limit of any ancestor binds as well. In a container the path may be that of the host, and only
// the root, which is the container's own group there, can be read.
void lower_to_groups(const std::string& root,
                     std::string_view path,
                     const char* file,
                     MemoryLimit& limit) noexcept {
    if (path.empty()) return;
    std::string group(path);
    while (true) {
        const std::uint64_t bytes = parse_memory_max(read_small((root + group + file).c_str()));
        if (bytes < limit.bytes) limit = {.bytes = bytes, .of_cgroup = true};
        if (group.empty()) return;
        group.erase(group.rfind('/'));
    }
}

}  // namespace

Result<std::uint64_t> file_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return os_error(errno);
    return std::uint64_t{limit.rlim_cur};
}

Result<std::uint64_t> raise_file_limit(std::uint64_t wanted) noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return os_error(errno);
    if (limit.rlim_cur >= wanted) return std::uint64_t{limit.rlim_cur};
    if (limit.rlim_max < wanted) {
        const rlimit both{.rlim_cur = wanted, .rlim_max = wanted};
        if (::setrlimit(RLIMIT_NOFILE, &both) == 0) return wanted;  // privileged
    }
    limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return os_error(errno);
    return std::uint64_t{limit.rlim_cur};
}

std::vector<std::uint32_t> usable_cpus() noexcept {
    std::vector<std::uint32_t> cpus;
    alignas(cpu_set_t) unsigned char bits[CPU_ALLOC_SIZE(cpus_max)] = {};
    auto* set = reinterpret_cast<cpu_set_t*>(bits);
    if (::sched_getaffinity(0, sizeof(bits), set) == 0) {
        for (std::uint32_t cpu = 0; cpu < cpus_max; cpu++) {
            if (CPU_ISSET_S(cpu, sizeof(bits), set)) cpus.push_back(cpu);
        }
    }
    if (cpus.empty()) cpus.push_back(0);
    return cpus;
}

Result<Done> pin_thread(std::uint32_t cpu) noexcept {
    if (cpu >= cpus_max) return os_error(EINVAL);
    alignas(cpu_set_t) unsigned char bits[CPU_ALLOC_SIZE(cpus_max)] = {};
    auto* set = reinterpret_cast<cpu_set_t*>(bits);
    CPU_SET_S(cpu, sizeof(bits), set);
    if (::sched_setaffinity(0, sizeof(bits), set) != 0) return os_error(errno);
    return Done{};
}

void name_thread(std::string_view name) noexcept {
    char cut[16] = {};
    name.copy(cut, sizeof(cut) - 1);
    ::pthread_setname_np(::pthread_self(), cut);
}

void ignore_broken_pipes() noexcept {
    struct sigaction now {};
    if (::sigaction(SIGPIPE, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) return;
    now.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &now, nullptr);
}

Result<Done> fill_entropy(MutBytes target) noexcept {
    while (!target.empty()) {
        const ssize_t got = ::getrandom(target.data(), target.size(), 0);
        if (got < 0 && errno != EINTR) return os_error(errno);
        if (got > 0) target = target.subspan(static_cast<std::size_t>(got));
    }
    return Done{};
}

Result<MemoryLimit> memory_limit() noexcept {
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0) return os_error(ENOSYS);
    MemoryLimit limit{.bytes =
                          static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page)};
    const std::string cgroups = read_small("/proc/self/cgroup");
    lower_to_groups("/sys/fs/cgroup", parse_cgroup_path(cgroups), "/memory.max", limit);
    lower_to_groups(
        "/sys/fs/cgroup/memory", parse_cgroup_v1_path(cgroups), "/memory.limit_in_bytes", limit);
    return limit;
}

std::uint64_t parse_memory_max(std::string_view text) noexcept {
    std::uint64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    return parsed.ec == std::errc() ? value : UINT64_MAX;
}

std::string_view parse_cgroup_path(std::string_view text) noexcept {
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (line.starts_with("0::/")) return line.substr(3);
    }
    return {};
}

// "4:memory:/a/b", or several controllers in one line: "4:cpu,memory:/a/b".
std::string_view parse_cgroup_v1_path(std::string_view text) noexcept {
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        const std::size_t begin = line.find(':');
        const std::size_t end = line.find(":/");
        if (begin == std::string_view::npos || end == std::string_view::npos) continue;
        if (end <= begin) continue;
        const std::string names = "," + std::string(line.substr(begin + 1, end - begin - 1)) + ",";
        if (names.find(",memory,") != std::string::npos) return line.substr(end + 1);
    }
    return {};
}

}  // namespace ringcast::io
