// What is given up is gone, from inside; each in a child process, since it cannot be had back.

#include "io/sandbox.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/probe.h"
#include "io/sandbox_trials.h"
#include "tests/io/harness.h"

namespace ringcast::io::test {

namespace {

// A folder that goes with its files.
struct Folder {
    Folder() {
        char pattern[] = "/tmp/ringcast-sandbox-XXXXXX";
        REQUIRE(::mkdtemp(pattern) != nullptr);
        path = pattern;
    }
    ~Folder() {
        for (const char* name : {"/old", "/new", "/other"}) {
            ::unlink((path + name).c_str());
        }
        ::rmdir(path.c_str());
    }
    std::string path;
};

bool opens(const std::string& path, int flags) {
    const Fd file(::open(path.c_str(), flags | O_CLOEXEC, 0600));
    return file.valid();
}

bool landlock_usable() {
    return in_child([] { return forbid_new_privileges().ok() && restrict_files({}).ok(); });
}

bool seccomp_usable() {
    return sandbox_supported() &&
           in_child([] { return forbid_new_privileges().ok() && restrict_calls(true).ok(); });
}

}  // namespace

TEST_CASE("sandbox: the folders of a file are its own and that of what it is a link to") {
    CHECK(folders_of("a.pem") == std::vector<std::string>{"."});
    CHECK(folders_of("certs/a.pem") == std::vector<std::string>{"certs"});
    CHECK(folders_of("/a.pem") == std::vector<std::string>{"/"});
    const Folder links;
    const Folder real;
    const std::string link = links.path + "/old";
    REQUIRE(::symlink((real.path + "/new").c_str(), link.c_str()) == 0);
    CHECK(folders_of(link) == std::vector<std::string>{links.path});  // leads nowhere
    const int fd = ::open((real.path + "/new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    ::close(fd);
    CHECK(folders_of(link) == std::vector<std::string>{links.path, real.path});
}

TEST_CASE("sandbox: of all files only the allowed ones are left, each for its use") {
    if (!landlock_usable()) {
        MESSAGE("SKIPPED no Landlock here");
        return;
    }
    const Folder kept;
    const Folder read_only;
    const Folder gone;
    for (const Folder* folder : {&kept, &read_only, &gone}) {
        REQUIRE(opens(folder->path + "/old", O_CREAT | O_WRONLY));
    }
    CHECK(in_child([&] {
        const SandboxPath allowed[] = {{kept.path, PathUse::replace},
                                       {read_only.path, PathUse::read},
                                       {"/dev/null", PathUse::write},
                                       {"/nowhere/at/all", PathUse::read}};
        REQUIRE(forbid_new_privileges().ok());
        REQUIRE(restrict_files(allowed).ok());
        REQUIRE(opens(kept.path + "/old", O_RDWR | O_TRUNC));
        REQUIRE(opens(kept.path + "/new", O_CREAT | O_RDWR));
        REQUIRE(::rename((kept.path + "/new").c_str(), (kept.path + "/other").c_str()) == 0);
        REQUIRE(::unlink((kept.path + "/other").c_str()) == 0);
        REQUIRE(opens(kept.path, O_RDONLY | O_DIRECTORY));
        REQUIRE(::mkdir((kept.path + "/new").c_str(), 0700) != 0);
        REQUIRE(opens(read_only.path + "/old", O_RDONLY));
        REQUIRE_FALSE(opens(read_only.path + "/old", O_WRONLY));
        REQUIRE_FALSE(opens(read_only.path + "/new", O_CREAT | O_WRONLY));
        REQUIRE(::unlink((read_only.path + "/old").c_str()) != 0);
        REQUIRE(opens("/dev/null", O_WRONLY));
        REQUIRE_FALSE(opens(gone.path + "/old", O_RDONLY));
        REQUIRE_FALSE(opens("/etc/passwd", O_RDONLY));
        REQUIRE_FALSE(opens("/proc/self/status", O_RDONLY));
        bool inherited = false;
        std::thread([&] { inherited = !opens("/etc/passwd", O_RDONLY); }).join();
        REQUIRE(inherited);
        return true;
    }));
}

TEST_CASE(
    "sandbox: the filter holds for threads that were there before, and forbids what it must") {
    if (!seccomp_usable()) {
        MESSAGE("SKIPPED no seccomp here, or a build with sanitizers");
        return;
    }
    for (const bool files : {false, true}) {
        CHECK(in_child([files] {
            std::atomic<int> stage{0};
            std::atomic<int> error{0};
            std::thread thread([&] {
                while (stage.load() == 0) {
                    std::this_thread::yield();
                }
                error = ::socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
            });
            const Fd mine(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            REQUIRE(forbid_new_privileges().ok());
            REQUIRE(restrict_calls(files).ok());
            stage = 1;
            thread.join();
            REQUIRE(error.load() == EPERM);
            REQUIRE(::socket(AF_INET, SOCK_STREAM, 0) == -1);
            REQUIRE(::execl("/nonexistent", "x", nullptr) == -1);
            REQUIRE(errno == EPERM);
            REQUIRE(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == -1);
            REQUIRE(::ioctl(mine.get(), 0x5401) == -1);
            REQUIRE(errno == EPERM);
            REQUIRE(::mmap(nullptr, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                    MAP_FAILED);
            void* page =
                ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            REQUIRE(page != MAP_FAILED);
            REQUIRE(::mprotect(page, 4096, PROT_READ | PROT_EXEC) == -1);
            REQUIRE(::mprotect(page, 4096, PROT_READ) == 0);
            REQUIRE(opens("/dev/null", O_WRONLY) == files);
            REQUIRE(::write(STDERR_FILENO, "", 0) == 0);
            return true;
        }));
    }
}

TEST_CASE("sandbox: the filter alone keeps other processes out of reach") {
    // Landlock knows of signals from Linux 6.12 on, and of the rest never.
    if (!seccomp_usable()) {
        MESSAGE("SKIPPED no seccomp here, or a build with sanitizers");
        return;
    }
    const bool with_ring = probe_uring().usable;
    CHECK(in_child([with_ring] {
        SandboxTrials trials;
        REQUIRE(trials.prepare(with_ring).ok());
        REQUIRE(forbid_new_privileges().ok());
        const std::vector<Trial> before = trials.run();
        REQUIRE(restrict_calls(false).ok());
        const std::vector<Trial> after = trials.run();
        REQUIRE(before.size() == after.size());
        const std::string table = describe(after);
        REQUIRE_MESSAGE(all_as_they_should(after), table);
        // That they fail says something only if they would not without the filter.
        for (const char* what : {"signal another's thread",
                                 "queue a signal",
                                 "signals of a socket",
                                 "... to be more exact",
                                 "... another signal",
                                 "read another's limits",
                                 "set a limit",
                                 "read a process's memory",
                                 "write a process's memory",
                                 "open a process",
                                 "trace a process"}) {
            const auto trial = std::find_if(before.begin(), before.end(), [&](const Trial& each) {
                return std::string(each.what) == what;
            });
            REQUIRE(trial != before.end());
            REQUIRE_MESSAGE(!trial->as_it_should(), what);
        }
        // The kernel does not look at the upper half of a command, but at that of a pointer.
        constexpr long beyond = 1L << 32;
        REQUIRE(::syscall(SYS_fcntl, STDERR_FILENO, beyond | F_SETOWN, ::getppid()) == -1);
        REQUIRE(::syscall(SYS_tgkill, ::getpid(), ::gettid(), 0) == 0);
        rlimit limit{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
        REQUIRE(::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, beyond, nullptr) == -1);
        REQUIRE(errno == EPERM);
        return true;
    }));
}

TEST_CASE("sandbox: whoever must abort still can") {
    if (!seccomp_usable()) return;
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);
        const bool inside =
            forbid_new_privileges().ok() && restrict_files({}).ok() && restrict_calls(false).ok();
        if (inside) std::abort();
        ::_exit(1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
}

TEST_CASE("sandbox: root becomes somebody else for good; nobody else can") {
    if (!is_root()) {
        CHECK_FALSE(become_user("root").ok());
        return;
    }
    CHECK(become_user("no-such-user-anywhere").error().code == Errc::not_found);
    CHECK(become_user("root").ok());
    CHECK(in_child([] {
        REQUIRE(become_user("nobody").ok());
        REQUIRE_FALSE(is_root());
        REQUIRE(::getegid() != 0);
        REQUIRE(::getgroups(0, nullptr) == 0);
        REQUIRE(::setresuid(0, 0, 0) != 0);
        REQUIRE(::setresgid(0, 0, 0) != 0);
        REQUIRE(become_user("nobody").ok());
        REQUIRE(become_user("root").error().code == Errc::unauthorized);
        return true;
    }));
}

TEST_CASE("sandbox: trials fail where there is no sandbox, and all hold inside") {
    CHECK(in_child([] {
        SandboxTrials trials;
        REQUIRE(trials.prepare(false).ok());
        const std::vector<Trial> results = trials.run();
        REQUIRE_FALSE(all_as_they_should(results));
        REQUIRE(describe(results).find("WRONG") != std::string::npos);
        return true;
    }));
    if (!seccomp_usable() || !landlock_usable()) return;
    const bool with_ring = probe_uring().usable;
    CHECK(in_child([with_ring] {
        SandboxTrials trials;
        REQUIRE(trials.prepare(with_ring).ok());
        REQUIRE(forbid_new_privileges().ok());
        REQUIRE(restrict_files({}).ok());
        REQUIRE(restrict_calls(false).ok());
        const std::vector<Trial> results = trials.run();
        const std::string table = describe(results);
        REQUIRE_MESSAGE(all_as_they_should(results), table);
        REQUIRE(table.find("WRONG") == std::string::npos);
        const std::string all = std::to_string(results.size());
        REQUIRE(table.ends_with("sandbox: " + all + " of " + all + " as it should be\n"));
        return true;
    }));
}

}  // namespace ringcast::io::test
