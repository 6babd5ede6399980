#include "io/sandbox.h"

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "io/socket.h"

namespace ringcast::io {

namespace {

// Rights that this system's header may be too old for.
constexpr std::uint64_t fs_truncate = 1U << 14;   // version 3
constexpr std::uint64_t fs_ioctl_dev = 1U << 15;  // 5
constexpr std::uint64_t net_bind_tcp = 1U << 0;   // 4
constexpr std::uint64_t net_connect_tcp = 1U << 1;
constexpr std::uint64_t scope_abstract_unix = 1U << 0;  // 6
constexpr std::uint64_t scope_signal = 1U << 1;

// landlock_ruleset_attr as of version 6. The kernel takes a shorter one, too.
struct RulesetAttr {
    std::uint64_t handled_access_fs;
    std::uint64_t handled_access_net;
    std::uint64_t scoped;
};

constexpr std::uint64_t read_file = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t read_rights = read_file | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t write_file = LANDLOCK_ACCESS_FS_WRITE_FILE | fs_truncate;
constexpr std::uint64_t replace_rights =
    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;

[[nodiscard]] std::uint64_t file_rights(int version) noexcept {
    std::uint64_t rights = (1U << 13) - 1;  // version 1: execute to make_sym
    if (version >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) rights |= fs_truncate;
    if (version >= 5) rights |= fs_ioctl_dev;
    return rights;
}

[[nodiscard]] std::uint64_t rights_of(PathUse use, bool folder) noexcept {
    std::uint64_t rights = folder ? read_rights : read_file;
    if (use != PathUse::read) rights |= write_file;
    if (use == PathUse::replace && folder) rights |= replace_rights;
    return rights;
}

[[nodiscard]] Result<Done> allow_path(int ruleset,
                                      const SandboxPath& allowed,
                                      std::uint64_t known) noexcept {
    const Fd path(::open(allowed.path.c_str(), O_PATH | O_CLOEXEC));
    if (!path.valid()) return Done{};  // nothing to allow
    struct stat about {};
    if (::fstat(path.get(), &about) != 0) return os_error(errno);
    const landlock_path_beneath_attr rule{
        .allowed_access = rights_of(allowed.use, S_ISDIR(about.st_mode)) & known,
        .parent_fd = path.get()};
    const long done =
        ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    if (done != 0) return os_error(errno);
    return Done{};
}

}  // namespace

std::vector<std::string> folders_of(const std::string& file) noexcept {
    const auto folder = [](const std::string& path) -> std::string {
        const std::size_t slash = path.rfind('/');
        if (slash == std::string::npos) return ".";
        return slash == 0 ? "/" : path.substr(0, slash);
    };
    std::vector<std::string> folders{folder(file)};
    struct stat status {};
    const bool link = ::lstat(file.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
    char* const target = link ? ::realpath(file.c_str(), nullptr) : nullptr;
    if (target != nullptr) folders.push_back(folder(target));
    std::free(target);
    return folders;
}

bool sandbox_supported() noexcept {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
        __has_feature(memory_sanitizer)
    return false;
    #else
    return true;
    #endif
#else
    return true;
#endif
}

bool is_root() noexcept {
    return ::geteuid() == 0;
}

Result<Done> become_user(const std::string& name) noexcept {
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> text(std::size_t{16} * 1024);
    const int error = ::getpwnam_r(name.c_str(), &entry, text.data(), text.size(), &found);
    if (error != 0) return os_error(error);
    if (found == nullptr) return Error{.code = Errc::not_found};
    const uid_t uid = entry.pw_uid;
    const gid_t gid = entry.pw_gid;
    if (::geteuid() == uid && ::getuid() == uid) return Done{};
    if (!is_root()) return Error{.code = Errc::unauthorized};
    // Rings and what is registered with them are locked memory, which root has without limit.
    const rlimit endless{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    static_cast<void>(::setrlimit(RLIMIT_MEMLOCK, &endless));
    if (::setgroups(0, nullptr) != 0) return os_error(errno);
    if (::setresgid(gid, gid, gid) != 0) return os_error(errno);
    if (::setresuid(uid, uid, uid) != 0) return os_error(errno);
    RC_CHECK(uid == 0 || ::setresuid(0, 0, 0) != 0);  // there is no way back
    return Done{};
}

Result<Done> forbid_new_privileges() noexcept {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return os_error(errno);
    return Done{};
}

Result<int> restrict_files(std::span<const SandboxPath> allowed) noexcept {
    const long asked =
        ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (asked < 0) return os_error(errno);
    const int version = static_cast<int>(asked);
    const RulesetAttr attr{.handled_access_fs = file_rights(version),
                           .handled_access_net = version >= 4 ? net_bind_tcp | net_connect_tcp : 0,
                           .scoped = version >= 6 ? scope_abstract_unix | scope_signal : 0};
    const std::size_t size = version >= 6   ? sizeof(RulesetAttr)
                             : version >= 4 ? 2 * sizeof(std::uint64_t)
                                            : sizeof(std::uint64_t);
    const Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attr, size, 0)));
    if (!ruleset.valid()) return os_error(errno);
    for (const SandboxPath& each : allowed) {
        static_cast<void>(RC_TRY(allow_path(ruleset.get(), each, attr.handled_access_fs)));
    }
    if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) return os_error(errno);
    return version;
}

}  // namespace ringcast::io
