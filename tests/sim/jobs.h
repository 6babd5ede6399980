#pragma once

// The same work in several processes, so that each world keeps its one thread and dies alone.

#include <cstddef>
#include <cstdint>

namespace ringcast::sim {

constexpr std::uint32_t jobs_max = 64;

// Calls work(job, context) with jobs 0 to `count` - 1, each in a process of its own (one alone: in
// this one), until all have returned. The first that returns false, or dies, ends the others, and
// what it had written to standard error is written there; of the others nothing is told. Memory
// that is to be seen here must be shared(). True: all returned true.
[[nodiscard]] bool run_jobs(std::uint32_t count,
                            bool (*work)(std::uint32_t job, void* context),
                            void* context);

// Zeroed memory that all jobs have in common, for the life of the process.
[[nodiscard]] void* shared(std::size_t size);

}  // namespace ringcast::sim
