#pragma once

// What a program asks of its own process and machine at start: descriptor limit, memory limit,
// CPUs, entropy. Called once each, by whoever builds the server. Any thread.

#include <cstdint>
#include <string_view>
#include <vector>

#include "ringcast/error.h"

#include "base/bytes.h"

namespace ringcast::io {

// RLIMIT_NOFILE, soft.
[[nodiscard]] Result<std::uint64_t> file_limit() noexcept;
// Raises the soft limit towards `wanted` as far as the hard limit lets it (and the hard limit too,
// where the process may). Returns what the soft limit is now; never lowers it.
[[nodiscard]] Result<std::uint64_t> raise_file_limit(std::uint64_t wanted) noexcept;

// The CPUs this process may run on, ascending; at least one.
[[nodiscard]] std::vector<std::uint32_t> usable_cpus() noexcept;
// Binds the calling thread to `cpu`.
[[nodiscard]] Result<Done> pin_thread(std::uint32_t cpu) noexcept;
// Names the calling thread for ps and perf; cut at 15 characters.
void name_thread(std::string_view name) noexcept;

// Lets a write to a connection that its peer has closed fail with EPIPE. send() can be asked for
// that, sendfile() cannot: it would kill the process. A handler that was installed stays.
void ignore_broken_pipes() noexcept;

// Fills `target` from the kernel's generator (getrandom), waiting for it to be seeded.
[[nodiscard]] Result<Done> fill_entropy(MutBytes target) noexcept;

// Bytes of memory this process may use: the machine's, or the limit of a cgroup that it is in (v1
// or v2, any ancestor) if that is less.
struct MemoryLimit {
    std::uint64_t bytes = 0;
    bool of_cgroup = false;
};
[[nodiscard]] Result<MemoryLimit> memory_limit() noexcept;

// The pieces of memory_limit(), for tests. "memory.max" of a v2 cgroup: a number or "max"
// (UINT64_MAX); v1's "memory.limit_in_bytes" is a number, too large for any machine where there is
// no limit. "/proc/self/cgroup": the path behind "0::", or that of v1's controller "memory", or
// nothing.
[[nodiscard]] std::uint64_t parse_memory_max(std::string_view text) noexcept;
[[nodiscard]] std::string_view parse_cgroup_path(std::string_view text) noexcept;
[[nodiscard]] std::string_view parse_cgroup_v1_path(std::string_view text) noexcept;

}  // namespace ringcast::io
