// The filter of restrict_calls() (io/sandbox.h), written by hand: a comparison a call, in front of
// them the CPU, and the two calls whose arguments matter. Calls that are let through whatever their
// arguments are known to the kernel as such beforehand (a bitmap, since Linux 5.11), so it costs
// nothing where it matters.

#include <array>
#include <cerrno>
#include <cstddef>
#include <ctime>
#include <vector>

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
// back end, until its end, be that abort().
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
    SYS_fcntl,
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
    // Memory; mmap and mprotect are below.
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
    SYS_prlimit64,
    SYS_sched_getaffinity,
    // Signals, and the end.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_tgkill,
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

using Filter = std::vector<sock_filter>;

void load(Filter& filter, std::size_t offset) {
    filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
}

void answer(Filter& filter, std::uint32_t action) {
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, action));
}

// A call that may make no memory executable: its third argument.
void check_protection(Filter& filter, int call) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 4));
    load(filter, offsetof(seccomp_data, args) + 2 * sizeof(std::uint64_t));
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1));
    answer(filter, denied);
    answer(filter, SECCOMP_RET_ALLOW);
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
    return static_cast<int>(calls.size()) + 2;
}

}  // namespace ringcast::io
