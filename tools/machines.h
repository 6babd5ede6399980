#pragma once

// What a run cost: the generator's own CPU time, to tell whether it was itself the limit, and the
// server's, per unit of work. The same rows for every verb that loads a server.

#include <cstdint>
#include <string_view>

#include "base/time.h"
#include "options.h"
#include "report.h"

namespace ringcast::tools {

struct Load {  // up to a moment
    Nanos at = 0;
    Nanos own_cpu = 0;
    Nanos server_cpu = 0;
    Nanos busy = 0;  // of a loop that spins: in turns that found work
};

[[nodiscard]] Load load_now(const BenchOptions& options, Nanos busy = 0) noexcept;
[[nodiscard]] double seconds_between(const Load& start, const Load& end) noexcept;

struct Work {
    Load start;
    Load end;
    std::uint64_t units = 0;  // done in between
    std::string_view key;     // of the server's CPU time for one
    std::string_view label;
};

// Adds the sections "generator" and, with --server-pid, "server".
void add_machines(Report& report, const BenchOptions& options, const Work& work) noexcept;

}  // namespace ringcast::tools
