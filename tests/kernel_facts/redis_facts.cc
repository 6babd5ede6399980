// K14 is not about the kernel, but about the other thing below us: Redis.

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/kernel_facts/facts.h"

namespace ringcast::io::facts {

namespace {

// A Redis of our own on a UNIX socket in a fresh directory.
class Redis {
  public:
    Redis() {
        if (::mkdtemp(folder_) == nullptr) return;
        path_ = std::string(folder_) + "/redis.sock";
        child_ = ::fork();
        if (child_ != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        ::dup2(nothing, STDOUT_FILENO);
        ::dup2(nothing, STDERR_FILENO);
        ::execlp("redis-server",
                 "redis-server",
                 "--port",
                 "0",
                 "--unixsocket",
                 path_.c_str(),
                 "--save",
                 "",
                 "--dir",
                 folder_,
                 "--client-output-buffer-limit",
                 "pubsub 1mb 0 0",
                 nullptr);
        ::_exit(127);
    }
    Redis(const Redis&) = delete;
    Redis& operator=(const Redis&) = delete;
    ~Redis() {
        if (child_ > 0) {
            ::kill(child_, SIGKILL);
            ::waitpid(child_, nullptr, 0);
        }
        ::unlink(path_.c_str());
        ::rmdir(folder_);
    }
    // A connected client; not valid when the server never came up.
    [[nodiscard]] Fd client() const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
        const auto* target = reinterpret_cast<const sockaddr*>(&address);
        Fd fd;
        bool connected = false;
        const bool settled = wait_until([&] {
            fd = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
            connected = ::connect(fd.get(), target, sizeof(address)) == 0;
            siginfo_t gone{};  // not waited for: until the destructor does, the id is the child's
            ::waitid(P_PID, static_cast<id_t>(child_), &gone, WEXITED | WNOHANG | WNOWAIT);
            return connected || gone.si_pid != 0;
        });
        return settled && connected ? std::move(fd) : Fd();
    }

  private:
    char folder_[32] = "/tmp/ringcast-fact-XXXXXX";
    std::string path_;
    pid_t child_ = -1;
};

}  // namespace

TEST_CASE("K14: Redis cuts a slow subscriber off, and its publisher hears no error") {
    if (std::system("command -v redis-server >/dev/null 2>&1") != 0) SKIP_FACT("no redis-server");
    const Redis redis;
    const Fd subscriber = redis.client();
    const Fd publisher = redis.client();
    if (!subscriber.valid() || !publisher.valid()) SKIP_FACT("redis-server does not start");
    const std::string subscribe = "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nt\r\n";
    REQUIRE(::send(subscriber.get(), subscribe.data(), subscribe.size(), MSG_NOSIGNAL) > 0);
    REQUIRE(events_within(subscriber.get(), POLLIN, patience_ms) == POLLIN);
    CHECK(read_all(subscriber.get()).find("subscribe") != std::string::npos);
    constexpr std::size_t size = 64 * 1024;
    const std::string publish =
        "*3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n$65536\r\n" + std::string(size, 'p') + "\r\n";
    std::string last;
    constexpr std::size_t count = 100;
    for (std::size_t i = 0; i < count; i++) {
        REQUIRE(::send(publisher.get(), publish.data(), publish.size(), MSG_NOSIGNAL) > 0);
        char answer[64] = {};
        REQUIRE(::recv(publisher.get(), answer, sizeof(answer) - 1, 0) > 0);
        last = answer;
        REQUIRE(last.front() == ':');  // a number, never an error
    }
    CHECK(last == ":0\r\n");  // nobody is there any more
    CHECK(read_all(subscriber.get()).size() < count * size);
}

}  // namespace ringcast::io::facts
