#include "process.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string>

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/time.h"

namespace ringcast::tools {

namespace {

volatile std::sig_atomic_t interrupts = 0;

void on_interrupt(int number) {
    if (interrupts != 0) _exit(128 + number);
    interrupts = 1;
}

std::string read_file(const std::string& path) noexcept {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    std::string text(8192, '\0');
    const ssize_t size = read(fd, text.data(), text.size());
    close(fd);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return text;
}

std::uint64_t number_at(std::string_view text) noexcept {
    std::uint64_t value = 0;
    const std::size_t start = std::min(text.find_first_not_of(" \t"), text.size());
    std::from_chars(text.data() + start, text.data() + text.size(), value);
    return value;
}

}  // namespace

std::uint64_t parse_status(std::string_view text, std::string_view name) noexcept {
    const std::string key = "\n" + std::string(name) + ":";
    const std::size_t at = text.find(key);
    return at == text.npos ? 0 : number_at(text.substr(at + key.size())) * 1024;
}

std::uint64_t parse_stat_ticks(std::string_view text) noexcept {
    std::size_t at = text.rfind(')');
    if (at == text.npos) return 0;
    at++;
    for (int field = 3; field < 14 && at != text.npos; field++) {  // proc(5): utime is field 14
        at = text.find(' ', at + 1);
    }
    if (at == text.npos) return 0;
    const std::size_t next = text.find(' ', at + 1);
    if (next == text.npos) return 0;
    return number_at(text.substr(at)) + number_at(text.substr(next));
}

// The scheduler's own account has nanoseconds, but per thread; /proc/PID/stat has ticks of 10 ms.
Nanos process_cpu(int pid) noexcept {
    const std::string root = "/proc/" + std::to_string(pid);
    DIR* threads = opendir((root + "/task").c_str());
    if (threads == nullptr) return 0;
    std::uint64_t sum = 0;
    for (const dirent* entry = readdir(threads); entry != nullptr;  // NOLINT: own DIR, one thread
         entry = readdir(threads)) {                                // NOLINT
        if (entry->d_name[0] == '.') continue;
        sum += number_at(read_file(root + "/task/" + entry->d_name + "/schedstat"));
    }
    closedir(threads);
    if (sum != 0) return static_cast<Nanos>(sum);
    const auto ticks = static_cast<Nanos>(parse_stat_ticks(read_file(root + "/stat")));
    return ticks * (nanos_per_s / sysconf(_SC_CLK_TCK));
}

ProcessMemory process_memory(int pid) noexcept {
    const std::string text = read_file("/proc/" + std::to_string(pid) + "/status");
    return {.anonymous = parse_status(text, "RssAnon"),
            .file = parse_status(text, "RssFile"),
            .shared = parse_status(text, "RssShmem")};
}

bool process_exists(int pid) noexcept {
    return access(("/proc/" + std::to_string(pid)).c_str(), F_OK) == 0;
}

Nanos own_cpu() noexcept {
    timespec time = {};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * nanos_per_s + time.tv_nsec;
}

std::uint64_t raise_file_limit(std::uint64_t wanted) noexcept {
    rlimit limit = {};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}

bool pin_to_cpu(int cpu) noexcept {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<std::size_t>(cpu), &cpus);
    return sched_setaffinity(0, sizeof cpus, &cpus) == 0;
}

std::string os_text(int error) noexcept {
    const char* text = strerrordesc_np(error);  // unlike strerror(), for any thread
    return text != nullptr ? text : "error " + std::to_string(error);
}

void catch_interrupts() noexcept {
    struct sigaction action = {};
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
}

bool interrupted() noexcept {
    return interrupts != 0;
}

}  // namespace ringcast::tools
