#include "io/process.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <thread>

#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/io/harness.h"

namespace ringcast::io::test {

TEST_CASE("process: the descriptor limit goes up to what is allowed and never down") {
    const std::uint64_t before = file_limit().value();
    CHECK(raise_file_limit(1).value() == before);
    CHECK(in_child([] {
        const rlimit small{.rlim_cur = 100, .rlim_max = 200};
        if (::setrlimit(RLIMIT_NOFILE, &small) != 0) return false;
        const bool raised = raise_file_limit(150).value() == 150 && file_limit().value() == 150;
        const std::uint64_t most = raise_file_limit(300).value();
        return raised && (most == 200 || most == 300);  // 300 where the process is privileged
    }));
}

TEST_CASE("process: a thread is pinned to a CPU that may be used, and named") {
    const std::vector<std::uint32_t> cpus = usable_cpus();
    REQUIRE(!cpus.empty());
    CHECK(std::is_sorted(cpus.begin(), cpus.end()));
    std::thread([&] {
        CHECK(pin_thread(cpus.back()).ok());
        CHECK(::sched_getcpu() == static_cast<int>(cpus.back()));
        CHECK(usable_cpus() == std::vector{cpus.back()});
        CHECK(pin_thread(4095).error().os == EINVAL);
        CHECK(pin_thread(UINT32_MAX).error().os == EINVAL);
        name_thread("shard-with-a-long-name");
        char name[16] = {};
        ::pthread_getname_np(::pthread_self(), name, sizeof(name));
        CHECK(std::string_view(name) == "shard-with-a-lo");
    }).join();
}

TEST_CASE("process: entropy fills the whole of what is asked for") {
    std::array<std::byte, 1000> bytes{};
    REQUIRE(fill_entropy(bytes).ok());
    CHECK(std::count(bytes.begin(), bytes.end(), std::byte{0}) < 50);
    CHECK(fill_entropy({}).ok());
}

TEST_CASE("process: a broken pipe is an error, not a signal; a handler of the program stays") {
    CHECK(in_child([] {
        ::signal(SIGPIPE, SIG_DFL);
        ignore_broken_pipes();
        int ends[2];
        if (::pipe(ends) != 0) return false;
        ::close(ends[0]);
        return ::write(ends[1], "x", 1) == -1 && errno == EPIPE;
    }));
    CHECK(in_child([] {
        const auto handler = [](int) {};
        ::signal(SIGPIPE, handler);
        ignore_broken_pipes();
        return ::signal(SIGPIPE, SIG_DFL) == static_cast<void (*)(int)>(handler);
    }));
}

TEST_CASE("process: the memory limit is the machine's or the cgroup's") {
    const std::uint64_t limit = memory_limit().value().bytes;
    CHECK(limit > 1 << 20);
    CHECK(limit <= static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                       static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
    CHECK(parse_memory_max("536870912\n") == 536'870'912);
    CHECK(parse_memory_max("max\n") == UINT64_MAX);
    CHECK(parse_memory_max("") == UINT64_MAX);
    CHECK(parse_cgroup_path("0::/system.slice/ringcastd.service\n") ==
          "/system.slice/ringcastd.service");
    CHECK(parse_cgroup_path("12:memory:/docker/1\n0::/\n") == "/");
    CHECK(parse_cgroup_path("12:memory:/docker/1\n").empty());
    CHECK(parse_cgroup_path("").empty());
    CHECK(parse_memory_max("9223372036854771712\n") == 9'223'372'036'854'771'712U);
    CHECK(parse_cgroup_v1_path("5:devices:/\n4:memory:/docker/1\n0::/\n") == "/docker/1");
    CHECK(parse_cgroup_v1_path("3:cpu,memory,pids:/a\n") == "/a");
    CHECK(parse_cgroup_v1_path("0::/\n9:name=memory:/a\n1:memory\n:/\n").empty());
}

}  // namespace ringcast::io::test
