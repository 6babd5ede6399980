#pragma once

// What a process can give up for good, so that whoever takes it over has next to nothing: the
// rights of root, files and new connections (Landlock), system calls (seccomp). What goes through
// an io_uring is not seen by a seccomp filter (K13); rings are restricted as they are made
// (ReactorOptions::restricted).
//
// Landlock holds for the calling thread and those it starts from then on, so it comes before
// threads; the filter for all threads at once, so it comes last. Nothing of it can be taken back.
//
// Called by whoever builds the server, in its one thread.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ringcast/error.h"

namespace ringcast::io {

// Builds with sanitizers need calls that no server needs (ptrace, /proc of their own).
[[nodiscard]] bool sandbox_supported() noexcept;

enum class PathUse : std::uint8_t {
    read,     // a file, or a folder with all below it
    write,    // ... and written
    replace,  // a folder: files in it are also made, renamed and removed
};

struct SandboxPath {
    std::string path;
    PathUse use = PathUse::read;
    bool later = false;  // opened when the server is up, too: restrict_calls() must be told
};

// The folder of a file; where the file is a link, that of what it leads to, too (certificates that
// are renewed are mostly links).
[[nodiscard]] std::vector<std::string> folders_of(const std::string& file) noexcept;

// Becomes this user, with his group and no other, for good. not_found: there is no such user;
// unauthorized: we are somebody else and not root. If we are he already, nothing happens.
[[nodiscard]] Result<Done> become_user(const std::string& name) noexcept;
[[nodiscard]] bool is_root() noexcept;

// From now on nothing that is executed brings rights (PR_SET_NO_NEW_PRIVS).
[[nodiscard]] Result<Done> forbid_new_privileges() noexcept;

// Landlock: of all files only these, and no TCP port to bind or to connect to (Linux 6.7), no
// abstract UNIX socket and no signal outside (6.12), as far as this kernel has it. What is not
// there is left out. Returns the version of the interface; os: there is none (ENOSYS, EOPNOTSUPP).
// Precondition: forbid_new_privileges(), or CAP_SYS_ADMIN.
[[nodiscard]] Result<int> restrict_files(std::span<const SandboxPath> allowed) noexcept;

// seccomp: all threads may make the calls of a server that is up, and others fail with EPERM: no
// new sockets or connections, no programs, no processes or threads, no rings, no code that was
// data, nothing that reaches another process (signals, limits, memory). With `files` also those by
// which files are opened and kept (a store, certificates that are read again): which ones, Landlock
// says. Returns how many calls there are. os: ENOSYS where we have no list for this CPU, or what
// the kernel says.
// Precondition: this process stays: a child would not be let send signals to itself.
[[nodiscard]] Result<int> restrict_calls(bool files) noexcept;

}  // namespace ringcast::io
