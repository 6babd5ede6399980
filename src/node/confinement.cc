#include "node/confinement.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "io/uring.h"

namespace ringcast::node {

namespace {

// What SIGHUP reads again.
[[nodiscard]] std::vector<std::string> files_read_again(const Config& config) {
    std::vector<std::string> files = config.tls_cert;
    files.insert(files.end(), config.tls_key.begin(), config.tls_key.end());
    for (const std::string& file :
         {config.auth_key_file, config.auth_jwks_file, config.seal_keys_file}) {
        if (!file.empty()) files.push_back(file);
    }
    return files;
}

[[nodiscard]] std::string describe(Error error) {
    const char* const known = error.code == Errc::os ? strerrordesc_np(error.os) : nullptr;
    return known != nullptr ? known : "failed";
}

}  // namespace

std::vector<io::SandboxPath> paths_needed(const Config& config) noexcept {
    // Where large slices are thrown away, and why io_uring may not be used, said by each shard as
    // it is made.
    std::vector<io::SandboxPath> paths{{"/dev/null", io::PathUse::write},
                                       {"/proc/sys/kernel/io_uring_disabled", io::PathUse::read}};
    if (!config.store.empty()) {
        // SQLite makes and removes files beside its own, and draws its chance from a device.
        paths.push_back({io::folders_of(config.store).front(), io::PathUse::replace, true});
        paths.push_back({"/dev/urandom", io::PathUse::read, true});
    }
    if (config.dev) paths.push_back({"/proc", io::PathUse::read});  // the host.* topics
    // Folders, since such a file is mostly replaced by another one.
    for (const std::string& file : files_read_again(config)) {
        for (std::string& folder : io::folders_of(file)) {
            paths.push_back({std::move(folder), io::PathUse::read, true});
        }
    }
    return paths;
}

bool Confinement::begin(std::string& error) noexcept {
    if (!drop_rights(error)) return false;
    if (config_.sandbox == Sandbox::off) {
        why_not_ = "--sandbox off";
        return true;
    }
    if (!io::sandbox_supported()) {
        why_not_ = "this build has sanitizers";
        if (config_.sandbox == Sandbox::automatic) return true;
        error = "--sandbox on: " + why_not_;
        return false;
    }
    wanted_ = true;
    // A process that cannot even do that has an odd kernel: then nothing of the rest works either.
    const auto forbidden = io::forbid_new_privileges();
    if (!forbidden.ok()) return lacks("no new privileges", forbidden.error(), error);
    has("no new privileges");
    auto version = io::restrict_files(paths_needed(config_));
    if (!version.ok()) return lacks("Landlock", version.error(), error);
    has("Landlock " + std::to_string(version.value()));
    return true;
}

bool Confinement::drop_rights(std::string& error) noexcept {
    if (config_.user.empty()) return true;
    const auto become = io::become_user(config_.user);
    if (become.ok()) {
        has("user " + config_.user);
        return true;
    }
    const Error why = become.error();
    error = "--user '" + config_.user + "': ";
    if (why.code == Errc::not_found) {
        error += "there is no such user";
    } else if (why.code == Errc::unauthorized) {
        error += "only root can become somebody else";
    } else {
        error += describe(why);
    }
    return false;
}

bool Confinement::finish(bool uring, std::string& error) noexcept {
    if (config_.sandbox_selftest) {
        const auto prepared = trials_.prepare(uring && wanted_);
        if (!prepared.ok()) {
            error = "--sandbox-selftest: " + describe(prepared.error());
            return false;
        }
    }
    if (!wanted_) return true;
    if (uring) has("rings with " + std::to_string(io::uring_operations().size()) + " operations");
    // Which files they are, Landlock says, if it is there.
    const std::vector<io::SandboxPath> paths = paths_needed(config_);
    const bool files = std::any_of(
        paths.begin(), paths.end(), [](const io::SandboxPath& path) { return path.later; });
    auto calls = io::restrict_calls(files);
    if (!calls.ok()) return lacks("seccomp", calls.error(), error);
    has("seccomp with " + std::to_string(calls.value()) + " calls");
    return true;
}

std::string Confinement::line() const noexcept {
    if (parts_.empty()) return "sandbox: off: " + why_not_;
    return "sandbox: " + parts_ + (why_not_.empty() ? "" : "; not: " + why_not_);
}

bool Confinement::selftest(std::string& table) noexcept {
    RC_CHECK(config_.sandbox_selftest);
    const std::vector<io::Trial> trials = trials_.run();
    table = io::describe(trials);
    return io::all_as_they_should(trials);
}

void Confinement::has(const std::string& part) noexcept {
    parts_ += (parts_.empty() ? "" : ", ") + part;
}

bool Confinement::lacks(const char* part, Error why, std::string& error) noexcept {
    const std::string text = std::string(part) + ": " + describe(why);
    why_not_ += (why_not_.empty() ? "" : ", ") + text;
    if (config_.sandbox == Sandbox::automatic) return true;
    error = "--sandbox on: " + text;
    return false;
}

}  // namespace ringcast::node
