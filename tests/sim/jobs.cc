#include "tests/sim/jobs.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

namespace ringcast::sim {

namespace {

struct Job {
    pid_t process = -1;
    int words = -1;  // its standard error, in memory
};

[[nodiscard]] Job begin(std::uint32_t number, bool (*work)(std::uint32_t, void*), void* context) {
    Job job;
    job.words = ::memfd_create("words", MFD_CLOEXEC);
    RC_CHECK(job.words >= 0);
    std::fflush(nullptr);
    const pid_t parent = ::getpid();
    job.process = ::fork();
    RC_CHECK(job.process >= 0);
    if (job.process > 0) return job;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) std::_Exit(1);
    ::dup2(job.words, STDERR_FILENO);
    std::exit(work(number, context) ? 0 : 1);  // with what a sanitizer looks at last
}

void tell(int words) {
    std::array<char, 4096> part{};
    ::lseek(words, 0, SEEK_SET);
    for (ssize_t got = 1; got > 0;) {
        got = ::read(words, part.data(), part.size());
        if (got > 0) std::fwrite(part.data(), 1, static_cast<std::size_t>(got), stderr);
    }
}

}  // namespace

bool run_jobs(std::uint32_t count, bool (*work)(std::uint32_t, void*), void* context) {
    RC_CHECK(count >= 1);
    RC_CHECK(count <= jobs_max);
    if (count == 1) return work(0, context);
    std::vector<Job> jobs;
    for (std::uint32_t number = 0; number < count; number++) {
        jobs.push_back(begin(number, work, context));
    }
    bool good = true;
    for (std::uint32_t left = count; left > 0; left--) {
        int status = 0;
        const pid_t process = ::wait(&status);
        RC_CHECK(process > 0);
        for (Job& job : jobs) {
            if (job.process != process) continue;
            job.process = -1;
            if (!good || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) continue;
            good = false;
            tell(job.words);
            for (const Job& other : jobs) {
                if (other.process > 0) ::kill(other.process, SIGTERM);
            }
        }
    }
    for (const Job& job : jobs) {
        ::close(job.words);
    }
    return good;
}

void* shared(std::size_t size) {
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    RC_CHECK(memory != MAP_FAILED);
    return memory;
}

}  // namespace ringcast::sim
