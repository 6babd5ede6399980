#pragma once

// System calls that fail on demand, by seccomp: forever (a container that forbids them) or the next
// few times (K11); and descriptors that run out. A filter cannot be taken off again, so use all of
// it in a child process only.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <thread>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ringcast::io::test {

// Installs a filter that answers system call `number` with `action`. Returns what the kernel does:
// with SECCOMP_FILTER_FLAG_NEW_LISTENER a descriptor; negative when it cannot be.
inline int filter_call(std::uint32_t number, std::uint32_t action, unsigned flags = 0) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = 4, .filter = code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

inline bool forbid_call(std::uint32_t number, int error) {
    return filter_call(number, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)) == 0;
}

// Lets the calling thread's calls of `number` fail as often as fail() said, then pass again. A
// thread of its own answers the kernel's question what to do. Lives until the process ends.
class Injector {
  public:
    explicit Injector(std::uint32_t number) {
        thread_ = std::thread([this] {
            while (listener_ == -1)
                std::this_thread::yield();
            if (listener_ >= 0) answer();
        });
        thread_.detach();
        const int listener =
            filter_call(number, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
        usable_ = listener >= 0;
        listener_ = listener >= 0 ? listener : -2;
    }
    [[nodiscard]] bool usable() const { return usable_; }
    void fail(int times, int error) {
        error_ = error;
        left_ = times;
    }
    [[nodiscard]] int left() const { return left_; }

  private:
    void answer() {
        for (;;) {
            seccomp_notif question{};
            if (::ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &question) != 0) {
                if (errno == EINTR || errno == ENOENT) continue;
                return;
            }
            seccomp_notif_resp answer{};
            answer.id = question.id;
            if (left_ > 0) {
                left_--;
                answer.error = -error_;
            } else {
                answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
            }
            ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
        }
    }

    std::atomic<int> listener_{-1};
    std::atomic<int> left_{0};
    std::atomic<int> error_{0};
    bool usable_ = false;
    std::thread thread_;
};

// For a child in which a case cannot show its fact: says so. True, as nothing has failed.
inline bool skip(const char* what_and_why) {
    MESSAGE("SKIPPED " << what_and_why);
    return true;
}

// Of a build that counts lines (scripts/coverage); nothing in any other.
extern "C" int __llvm_profile_write_file() __attribute__((weak));

// Runs `body` in a child process, which may change its limits; true when it returned true. Use
// REQUIRE inside, not CHECK: only that makes the child fail.
template <typename Body>
bool in_child(const Body& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        bool fine = false;
        try {
            fine = body();
        } catch (...) {  // a REQUIRE that failed has said so
        }
        if (__llvm_profile_write_file != nullptr) __llvm_profile_write_file();
        ::_exit(fine ? 0 : 1);
    }
    int status = -1;
    if (child < 0 || ::waitpid(child, &status, 0) != child) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace ringcast::io::test
