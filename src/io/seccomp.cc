// The filter of restrict_calls() (io/sandbox.h), written by hand: a comparison a call, in front of
// them the CPU, and the few calls whose arguments matter. Calls that are let through whatever their
// arguments are known to the kernel as such beforehand (a bitmap, since Linux 5.11), so it costs
// nothing where it matters.

#include <array>
#include <cerrno>
#include <cstddef>
#include <ctime>
#include <vector>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "io/sandbox.h"

namespace ringcast::io {

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t this_cpu = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t this_cpu = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t this_cpu = 0;
#endif

constexpr std::uint32_t x32_bit = 0x40000000;  // x86-64 calls by other numbers: never ours
constexpr std::uint32_t denied = SECCOMP_RET_ERRNO | EPERM;

// What reactors, logs, threads, glibc, OpenSSL and liburing need of a server that is up, on either
// back end, until its end, be that abort(); beside these what make_filter() lets through for some
// arguments. Nothing here names another process: no signal, limit, memory or descriptor of one.
constexpr int calls_of_all[] = {
    // Bytes.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_close,
    SYS_fstat,
    SYS_lseek,
    SYS_sendfile,
    SYS_splice,
    SYS_tee,
    SYS_vmsplice,
    SYS_fallocate,
    // Connections that are there, and new ones of clients.
    SYS_accept4,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_shutdown,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_setsockopt,
    // Waiting.
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_ppoll,
    SYS_futex,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_restart_syscall,
    SYS_sched_yield,
    SYS_membarrier,
    SYS_rseq,
    SYS_getcpu,
#if defined(__x86_64__)
    SYS_epoll_wait,
    SYS_poll,
    SYS_time,
#endif
    // Memory.
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    // Time, chance, who we are.
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_getrandom,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrusage,
    SYS_sched_getaffinity,
    // Signals, and the end.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_set_robust_list,
    SYS_exit,
    SYS_exit_group,
};

// Which files, Landlock says.
constexpr int calls_for_files[] = {
    SYS_openat,     SYS_newfstatat, SYS_statx,      SYS_faccessat, SYS_faccessat2,
    SYS_readlinkat, SYS_getcwd,     SYS_getdents64, SYS_fsync,     SYS_fdatasync,
    SYS_ftruncate,  SYS_fchmod,     SYS_fchown,     SYS_unlinkat,  SYS_renameat2,
#if defined(__x86_64__)
    SYS_open,       SYS_stat,       SYS_lstat,      SYS_access,    SYS_readlink,
    SYS_unlink,     SYS_rename,
#endif
};

// mmap, mprotect, tgkill, prlimit64, fcntl: see make_filter().
constexpr int calls_with_checks = 5;

using Filter = std::vector<sock_filter>;

void load(Filter& filter, std::size_t offset) {
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
}

// The lower half of an argument, which is all that the kernel takes of a pid, a command or flags.
// Both CPUs have it in front.
void load_argument(Filter& filter, std::size_t argument) {
    load(filter, offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t));
}

void load_upper_half(Filter& filter, std::size_t argument) {
    load(filter,
         offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t) + sizeof(std::uint32_t));
}

// Leaves out so many statements if what is loaded is that value, and so many if it is not.
void compare(Filter& filter, std::uint32_t value, std::uint8_t if_same, std::uint8_t if_not) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, if_same, if_not));
}

// What stands behind it, of that length, is for this call alone; the others go on behind that.
void begin_call(Filter& filter, int call, std::uint8_t length) {
    compare(filter, static_cast<std::uint32_t>(call), 0, length);
}

void answer(Filter& filter, std::uint32_t action) {
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, action));
}

// A call that may make no memory executable: its third argument.
void check_protection(Filter& filter, int call) {
    begin_call(filter, call, 4);
    load_argument(filter, 2);
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1));
    answer(filter, denied);
    answer(filter, SECCOMP_RET_ALLOW);
}

// Signals, for abort(): to threads of this process. (Landlock knows of signals from Linux 6.12 on;
// and these would reach every process of this user.)
void check_signals(Filter& filter) {
    begin_call(filter, SYS_tgkill, 4);
    load_argument(filter, 0);
    compare(filter, static_cast<std::uint32_t>(::getpid()), 1, 0);
    answer(filter, denied);
    answer(filter, SECCOMP_RET_ALLOW);
}

// Limits: our own, and only to be read. They are raised before.
void check_limits(Filter& filter) {
    begin_call(filter, SYS_prlimit64, 8);
    load_argument(filter, 0);
    compare(filter, 0, 0, 5);
    load_argument(filter, 2);
    compare(filter, 0, 0, 3);
    load_upper_half(filter, 2);
    compare(filter, 0, 0, 1);
    answer(filter, SECCOMP_RET_ALLOW);
    answer(filter, denied);
}

// Descriptors: whatever is done with them, but that they send signals to somebody, or which.
void check_descriptors(Filter& filter) {
    begin_call(filter, SYS_fcntl, 6);
    load_argument(filter, 1);
    compare(filter, F_SETOWN, 3, 0);
    compare(filter, F_SETOWN_EX, 2, 0);
    compare(filter, F_SETSIG, 1, 0);
    answer(filter, SECCOMP_RET_ALLOW);
    answer(filter, denied);
}

[[nodiscard]] Filter make_filter(const std::vector<int>& calls) {
    Filter filter;
    load(filter, offsetof(seccomp_data, arch));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, this_cpu, 1, 0));
    answer(filter, SECCOMP_RET_KILL_PROCESS);
    load(filter, offsetof(seccomp_data, nr));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, x32_bit, 0, 1));
    answer(filter, denied);
    check_protection(filter, SYS_mmap);
    check_protection(filter, SYS_mprotect);
    check_signals(filter);
    check_limits(filter);
    check_descriptors(filter);
    RC_CHECK(calls.size() < UINT8_MAX);  // a jump goes no further
    for (std::size_t i = 0; i < calls.size(); i++) {
        const auto behind_all = static_cast<std::uint8_t>(calls.size() - i);
        filter.push_back(BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(calls[i]), behind_all, 0));
    }
    answer(filter, denied);
    answer(filter, SECCOMP_RET_ALLOW);
    return filter;
}

}  // namespace

Result<int> restrict_calls(bool files) noexcept {
    if (this_cpu == 0) return os_error(ENOSYS);
    ::tzset();  // the log's time zone is a file
    std::vector<int> calls(std::begin(calls_of_all), std::end(calls_of_all));
    if (files) calls.insert(calls.end(), std::begin(calls_for_files), std::end(calls_for_files));
    Filter filter = make_filter(calls);
    const sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                             .filter = filter.data()};
    const long done =
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (done < 0) return os_error(errno);
    if (done > 0) return os_error(EBUSY);  // a thread with a filter of its own
    return static_cast<int>(calls.size()) + calls_with_checks;
}

}  // namespace ringcast::io
