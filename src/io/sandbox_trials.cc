#include "io/sandbox_trials.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/uring.h"

namespace ringcast::io {

namespace {

constexpr Nanos trial_time = nanos_per_s;
constexpr const char* secret = "/etc/passwd";

[[nodiscard]] sockaddr_in elsewhere() noexcept {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);  // "discard": whoever is let through finds nobody there
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

[[nodiscard]] int error_of(long result) noexcept {
    return result < 0 ? errno : 0;
}

[[nodiscard]] int open_file(const char* path, int flags) noexcept {
    const Fd file(::open(path, flags | O_CLOEXEC, 0600));
    return file.valid() ? 0 : errno;
}

[[nodiscard]] int make_socket() noexcept {
    const Fd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return made.valid() ? 0 : errno;
}

// Of no program: ENOENT says that it was let through.
[[nodiscard]] int run_program() noexcept {
    char name[] = "/nonexistent";
    char* const words[] = {name, nullptr};
    return error_of(::execve(name, words, nullptr));
}

[[nodiscard]] int start_process() noexcept {
    const long child = ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) ::_exit(0);
    const int error = error_of(child);
    if (child > 0) ::waitpid(static_cast<pid_t>(child), nullptr, 0);
    return error;
}

[[nodiscard]] int map_memory(int protection) noexcept {
    void* pages = ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return errno;
    ::munmap(pages, 4096);
    return 0;
}

[[nodiscard]] int make_ring() noexcept {
    io_uring_params params{};
    const Fd made(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params)));
    return made.valid() ? 0 : errno;
}

// Signal 0 goes nowhere, and says whether another one would.
[[nodiscard]] int signal_thread(pid_t process, pid_t thread) noexcept {
    return error_of(::syscall(SYS_tgkill, process, thread, 0));
}

[[nodiscard]] int queue_signal(pid_t process) noexcept {
    siginfo_t info{};
    info.si_code = SI_QUEUE;
    return error_of(::syscall(SYS_rt_tgsigqueueinfo, process, process, 0, &info));
}

// What a descriptor has to tell would be told to that process, by a signal.
[[nodiscard]] int own_in_part(int fd, pid_t process) noexcept {
    const f_owner_ex owner{.type = F_OWNER_PID, .pid = process};
    return error_of(::fcntl(fd, F_SETOWN_EX, &owner));
}

[[nodiscard]] int read_limit(pid_t process) noexcept {
    rlimit limit{};
    return error_of(::syscall(SYS_prlimit64, process, RLIMIT_NOFILE, nullptr, &limit));
}

// To what it is.
[[nodiscard]] int set_limit() noexcept {
    rlimit limit{};
    static_cast<void>(::getrlimit(RLIMIT_CORE, &limit));
    return error_of(::setrlimit(RLIMIT_CORE, &limit));
}

// Our own, which is let through wherever the call is: who may read whose is another matter.
[[nodiscard]] int move_memory(long call) noexcept {
    char from = 0;
    char to = 0;
    const iovec here{.iov_base = &to, .iov_len = 1};
    const iovec there{.iov_base = &from, .iov_len = 1};
    return error_of(::syscall(call, ::getpid(), &here, 1, &there, 1, 0));
}

[[nodiscard]] int open_process() noexcept {
    const Fd made(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    return made.valid() ? 0 : errno;
}

// Of a process that we do not trace: ESRCH says that it was let through.
[[nodiscard]] int trace(pid_t process) noexcept {
    return error_of(::syscall(SYS_ptrace, PTRACE_DETACH, process, 0, 0));
}

[[nodiscard]] int draw_chance() noexcept {
    std::array<char, 8> bytes{};
    return error_of(::getrandom(bytes.data(), bytes.size(), 0));
}

[[nodiscard]] int say_nothing() noexcept {
    return error_of(::write(STDERR_FILENO, "", 0));
}

// What a request on the ring answers.
[[nodiscard]] int finish(Ring& ring) noexcept {
    Completion done;
    ring.submit();
    ring.submit_and_sleep(trial_time);
    if (!ring.next(done)) return ETIME;
    return done.result < 0 ? -done.result : 0;
}

}  // namespace

bool Trial::as_it_should() const noexcept {
    return must_work ? error == 0 : error == EPERM || error == EACCES;
}

Result<Done> SandboxTrials::prepare(bool with_ring) noexcept {
    socket_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket_.valid()) return os_error(errno);
    if (!with_ring) return Done{};
    ring_ = std::make_unique<Ring>();
    static_cast<void>(RC_TRY(ring_->start(4, 16, true)));
    return ring_->restrict(uring_operations());
}

std::vector<Trial> SandboxTrials::run() noexcept {
    const sockaddr_in address = elsewhere();
    const auto* target = reinterpret_cast<const sockaddr*>(&address);
    std::vector<Trial> trials{
        {"read /etc/passwd", false, open_file(secret, O_RDONLY)},
        {"write a file in /tmp", false, open_file("/tmp/ringcast-selftest", O_CREAT | O_WRONLY)},
        {"run a program", false, run_program()},
        {"start a process", false, start_process()},
        {"make a socket", false, make_socket()},
        {"connect elsewhere", false, error_of(::connect(socket_.get(), target, sizeof(address)))},
        {"open another port", false, error_of(::bind(socket_.get(), target, sizeof(address)))},
        {"send a signal", false, error_of(::kill(::getppid(), 0))},
        {"become root", false, error_of(::syscall(SYS_setresuid, 0, 0, 0))},
        {"make memory executable", false, map_memory(PROT_READ | PROT_EXEC)},
        {"make another ring", false, make_ring()},
    };
    try_processes(trials);
    if (ring_ != nullptr) try_ring(trials);
    trials.push_back({"have memory", true, map_memory(PROT_READ | PROT_WRITE)});
    trials.push_back({"draw random numbers", true, draw_chance()});
    trials.push_back({"write to the log", true, say_nothing()});
    trials.push_back({"signal itself", true, signal_thread(::getpid(), ::gettid())});
    trials.push_back({"read its limits", true, read_limit(0)});
    trials.push_back({"ask about a socket", true, error_of(::fcntl(socket_.get(), F_GETFL))});
    return trials;
}

// The one that started this one, mostly of the same user. Where that is in another namespace of
// pids (its number is 0, which would be ourselves) any other does: the filter answers before the
// kernel looks for it.
void SandboxTrials::try_processes(std::vector<Trial>& trials) noexcept {
    const pid_t parent = ::getppid();
    const pid_t other = parent != 0 ? parent : ::getpid() + 1;
    const int fd = socket_.get();
    trials.push_back({"signal another's thread", false, signal_thread(other, other)});
    trials.push_back({"queue a signal", false, queue_signal(other)});
    trials.push_back({"signals of a socket", false, error_of(::fcntl(fd, F_SETOWN, other))});
    trials.push_back({"... to be more exact", false, own_in_part(fd, other)});
    trials.push_back({"... another signal", false, error_of(::fcntl(fd, F_SETSIG, SIGURG))});
    trials.push_back({"read another's limits", false, read_limit(other)});
    trials.push_back({"set a limit", false, set_limit()});
    trials.push_back({"read a process's memory", false, move_memory(SYS_process_vm_readv)});
    trials.push_back({"write a process's memory", false, move_memory(SYS_process_vm_writev)});
    trials.push_back({"open a process", false, open_process()});
    trials.push_back({"trace a process", false, trace(other)});
}

void SandboxTrials::try_ring(std::vector<Trial>& trials) noexcept {
    io_uring_prep_openat(&ring_->next_sqe(), AT_FDCWD, secret, O_RDONLY | O_CLOEXEC, 0);
    trials.push_back({"ring: read /etc/passwd", false, finish(*ring_)});
    sockaddr_in address = elsewhere();
    io_uring_prep_connect(&ring_->next_sqe(),
                          socket_.get(),
                          reinterpret_cast<const sockaddr*>(&address),
                          sizeof(address));
    trials.push_back({"ring: connect elsewhere", false, finish(*ring_)});
    io_uring_prep_socket(&ring_->next_sqe(), AF_INET, SOCK_STREAM, 0, 0);
    trials.push_back({"ring: make a socket", false, finish(*ring_)});
    io_uring_prep_nop(&ring_->next_sqe());
    trials.push_back({"ring: what the server does", true, finish(*ring_)});
}

std::string describe(const std::vector<Trial>& trials) noexcept {
    std::string text;
    for (const Trial& trial : trials) {
        const char* const name = trial.error == 0 ? nullptr : strerrorname_np(trial.error);
        std::array<char, 96> line{};
        std::snprintf(line.data(),
                      line.size(),
                      "%-28s %-14s %s\n",
                      trial.what,
                      trial.error == 0  ? "works"
                      : name != nullptr ? name
                                        : "?",
                      trial.as_it_should() ? "ok" : "WRONG");
        text += line.data();
    }
    const auto good = std::count_if(
        trials.begin(), trials.end(), [](const Trial& trial) { return trial.as_it_should(); });
    return text + "sandbox: " + std::to_string(good) + " of " + std::to_string(trials.size()) +
           " as it should be\n";
}

bool all_as_they_should(const std::vector<Trial>& trials) noexcept {
    return std::all_of(
        trials.begin(), trials.end(), [](const Trial& trial) { return trial.as_it_should(); });
}

}  // namespace ringcast::io
