#pragma once

// The sandbox of a server, from its configuration, in the order in which it must be: ports are
// open, then root's rights go (--user), new privileges and files (Landlock, for the threads that
// are started from then on), then each shard makes its ring, restricted, and at last, when all
// threads are there and before anybody is accepted, system calls (seccomp).
//
// What the server still needs of the file system from then on is listed in paths_needed(): whoever
// adds something that is read again, or written, adds it there, `later` if that is when it is up.
//
// The thread that makes the server owns it.

#include <string>
#include <vector>

#include "ringcast/config.h"

#include "io/sandbox.h"
#include "io/sandbox_trials.h"

namespace ringcast::node {

[[nodiscard]] std::vector<io::SandboxPath> paths_needed(const Config& config) noexcept;

class Confinement {
  public:
    explicit Confinement(const Config& config) noexcept : config_(config) {}
    Confinement(const Confinement&) = delete;
    Confinement& operator=(const Confinement&) = delete;

    // Before the first thread, with all ports open. False: `error` says why it must not go on.
    [[nodiscard]] bool begin(std::string& error) noexcept;
    // ReactorOptions::restricted.
    [[nodiscard]] bool restricts_rings() const noexcept { return wanted_; }
    // With all threads started. `uring`: that is what they use.
    [[nodiscard]] bool finish(bool uring, std::string& error) noexcept;

    // For the log: what is on, or why it is not.
    [[nodiscard]] std::string line() const noexcept;
    // It runs as root, though it has a sandbox, and nobody said whom to become.
    [[nodiscard]] bool stays_root() const noexcept { return wanted_ && io::is_root(); }
    // After finish(), with --sandbox-selftest: a table; true if all is as it should be.
    [[nodiscard]] bool selftest(std::string& table) noexcept;

  private:
    [[nodiscard]] bool drop_rights(std::string& error) noexcept;
    // Notes a part that is there, or not: then it is an error with --sandbox=on.
    void has(const std::string& part) noexcept;
    [[nodiscard]] bool lacks(const char* part, Error why, std::string& error) noexcept;

    const Config& config_;
    bool wanted_ = false;
    std::string why_not_;
    std::string parts_;
    io::SandboxTrials trials_;
};

}  // namespace ringcast::node
