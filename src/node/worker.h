#pragma once

// Whatever blocks is done here: a few threads beside those of the shards, and a bounded queue in
// front of them. Results come back to the shard that asked as mail, so it has nothing to lock and
// nothing to look at until then.
//
// A full queue is an answer, never a wait: submit() says no, and the shard tells whoever asked to
// try again. What was taken is run, also when the pool is told to stop.
//
// Jobs of one strand (node/job.h) run one at a time and in order, so that a file has one writer and
// what was asked first is written first. Those that wait while one of them runs are handed over
// together: what costs the same for one and for many, like an fsync, is then paid once (group
// commit: D. DeWitt et al., "Implementation techniques for main memory database systems", 1984).
//
// This is the one file with a lock: blocked threads must sleep somewhere. A shard holds it for the
// time of a push.

#include <bitset>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "node/job.h"
#include "node/mesh.h"

namespace ringcast::node {

// Jobs that run together; one, or several of a strand.
using JobGroup = std::vector<std::unique_ptr<Job>>;

class Worker {
  public:
    virtual ~Worker() = default;

    // Takes the job, or leaves it where it is and says no: too many are waiting, or it is stopping.
    // Called by the job's shard; done() is called by its mail, never from inside.
    [[nodiscard]] virtual bool submit(std::unique_ptr<Job>& job) noexcept = 0;
};

// Which jobs run next: no threads, no lock, so that a simulation can use the same rule. One owner
// at a time.
class JobQueue {
  public:
    // `jobs_max`: that may be taken and not finished.
    explicit JobQueue(std::size_t jobs_max) noexcept;

    // As Worker::submit().
    [[nodiscard]] bool push(std::unique_ptr<Job>& job) noexcept;
    // The oldest job that may run, with those that wait in its strand; empty if there is none. The
    // strand is taken until release().
    [[nodiscard]] JobGroup next() noexcept;
    // So many jobs that next() gave have run: others may be taken for them.
    void finish(std::size_t count) noexcept;
    // ... and their mail is posted, so that of the next ones of the strand comes behind it.
    void release(Strand strand) noexcept;

    // Taken and not finished.
    [[nodiscard]] std::size_t size() const noexcept { return waiting_.size() + running_; }
    [[nodiscard]] std::size_t running() const noexcept { return running_; }

  private:
    std::deque<std::unique_ptr<Job>> waiting_;
    std::bitset<strand_end> busy_;  // strands of which a group runs
    std::size_t running_ = 0;
    std::size_t jobs_max_;
};

class WorkerPool final : public Worker {
  public:
    // `threads` >= 1. The mesh must live longer, and the reactors of its shards until stop().
    WorkerPool(Mesh& mesh, std::uint32_t threads, std::size_t jobs_max) noexcept;
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;
    ~WorkerPool() override { stop(); }

    // Any shard's thread.
    [[nodiscard]] bool submit(std::unique_ptr<Job>& job) noexcept override;
    // Runs what was taken, posts it, and ends the threads; takes nothing from now on. Called by the
    // owner; waits for as long as the jobs do.
    void stop() noexcept;

  private:
    void work() noexcept;
    void post(JobGroup group) noexcept;

    Mesh& mesh_;
    std::mutex lock_;  // of the two below
    JobQueue queue_;
    bool stopping_ = false;
    std::condition_variable ready_;  // there may be something to run, or it is time to go
    std::vector<std::thread> threads_;
};

}  // namespace ringcast::node
