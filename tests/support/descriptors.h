#pragma once

// A process's descriptors by count, never by number: a test may have inherited any of them.

#include <cstddef>
#include <filesystem>
#include <iterator>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>

namespace ringcast::test {

[[nodiscard]] inline bool descriptor_is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

// How many descriptors are open, but for the one that it takes to look.
[[nodiscard]] inline std::ptrdiff_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all)) - 1;
}

// Lowers the limit of this process so that exactly `count` more descriptors can be opened.
inline void leave_descriptors(int count) {
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    int next = 0;
    for (int left = count; left > 0 || descriptor_is_open(next); next++)
        left -= descriptor_is_open(next) ? 0 : 1;
    REQUIRE(static_cast<rlim_t>(next) <= limit.rlim_cur);
    limit.rlim_cur = static_cast<rlim_t>(next);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

}  // namespace ringcast::test
