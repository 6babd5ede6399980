#pragma once

// What a shard has done elsewhere: work that may block, for a Worker (node/worker.h).
//
// A job belongs to whoever has it: the shard that makes it, the worker that took it, and, as mail
// of the kind `finished`, that shard again. So nothing in it is ever touched by two threads.

#include <cstdint>
#include <memory>
#include <span>

namespace ringcast::node {

// Jobs of one strand run one at a time, in the order in which they were taken; those that wait when
// its turn comes run together.
using Strand = std::uint8_t;
constexpr Strand no_strand = 0;  // beside whatever else runs, and alone
constexpr Strand strand_end = 64;

class Job {
  public:
    explicit Job(std::uint32_t shard, Strand strand = no_strand) noexcept
        : shard_(shard), strand_(strand) {}
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    virtual ~Job() = default;

    // The work, on any thread: it may block. Called for the first of those that run together, with
    // all of them, itself included; all jobs of a strand must be of one class.
    virtual void run(std::span<const std::unique_ptr<Job>> group) noexcept = 0;
    // What follows from it, on the thread of the shard. Called for each job, in the order of its
    // strand.
    virtual void done() noexcept = 0;

    [[nodiscard]] std::uint32_t shard() const noexcept { return shard_; }
    [[nodiscard]] Strand strand() const noexcept { return strand_; }

  private:
    std::uint32_t shard_;
    Strand strand_;
};

}  // namespace ringcast::node
