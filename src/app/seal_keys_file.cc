#include "app/seal_keys_file.h"

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/settings.h"

namespace ringcast::app {

namespace {

class Opened {
  public:
    // Not waiting for whoever holds the other end of a pipe.
    explicit Opened(const std::string& file)
        : fd_(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) {}
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    ~Opened() {
        if (fd_ >= 0) close(fd_);
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }

  private:
    int fd_;
};

// Its size never changes, so nothing of it is left behind in memory that was given back.
class Secrets {
  public:
    Secrets() : bytes_(seal_keys_file_size_max + 1) {}
    Secrets(const Secrets&) = delete;
    Secrets& operator=(const Secrets&) = delete;
    ~Secrets() { explicit_bzero(bytes_.data(), bytes_.size()); }
    // An errno.
    [[nodiscard]] int read_all(int fd) {
        while (size_ < bytes_.size()) {
            const ssize_t count = read(fd, bytes_.data() + size_, bytes_.size() - size_);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return errno;
            if (count == 0) return 0;
            size_ += static_cast<std::size_t>(count);
        }
        return 0;
    }
    [[nodiscard]] std::string_view text() const noexcept { return {bytes_.data(), size_}; }

  private:
    std::vector<char> bytes_;
    std::size_t size_ = 0;
};

// Whether it is `owner` that this process will become.
bool becomes(const std::string& user, uid_t owner) {
    if (user.empty()) return false;
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> text(std::size_t{16} * 1024);
    const int error = getpwnam_r(user.c_str(), &entry, text.data(), text.size(), &found);
    return error == 0 && found != nullptr && entry.pw_uid == owner;
}

// Of the file that is open: its name may be another one's by now.
std::string check_file(int fd, const std::string& user) {
    struct stat status {};
    if (fstat(fd, &status) != 0) return strerrordesc_np(errno);
    if (!S_ISREG(status.st_mode)) return "it is no regular file";
    const uid_t owner = status.st_uid;
    if (owner != geteuid() && owner != 0 && !becomes(user, owner)) {
        return "it belongs to user " + std::to_string(owner) + ", not to this one or root";
    }
    if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        return "others may read or write it: chmod 600, or 640";
    }
    return {};
}

std::string read_file(const std::string& file, const std::string& user, SealKeys& keys) {
    const Opened opened(file);
    if (opened.fd() < 0) return strerrordesc_np(errno);
    std::string problem = check_file(opened.fd(), user);
    if (!problem.empty()) return problem;
    Secrets secrets;
    const int error = secrets.read_all(opened.fd());
    if (error != 0) return strerrordesc_np(error);
    if (secrets.text().size() > seal_keys_file_size_max) return "larger than 256KiB";
    return parse_seal_keys(secrets.text(), keys);
}

}  // namespace

std::string read_seal_keys(const std::string& file, SealKeys& keys, const std::string& user) {
    keys.clear();
    const std::string problem = read_file(file, user, keys);
    return problem.empty() ? problem : as_line("--seal-keys-file " + file + ": " + problem);
}

}  // namespace ringcast::app
