#pragma once

// A process's descriptors by count, never by number: a test may have inherited any of them.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>

namespace ringcast::test {

[[nodiscard]] inline bool descriptor_is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

// How many descriptors below the limit are open.
[[nodiscard]] inline int open_descriptors() {
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    int count = 0;
    for (int fd = 0; fd < static_cast<int>(limit.rlim_cur); fd++)
        count += descriptor_is_open(fd) ? 1 : 0;
    return count;
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
