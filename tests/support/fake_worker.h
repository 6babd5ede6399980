#pragma once

// A Worker without threads: the test says when a group runs, and when its shards hear of it. The
// queue and its rules are those of the real pool.
//
// One thread owns it.

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "node/worker.h"

namespace ringcast::test {

class FakeWorker final : public node::Worker {
  public:
    explicit FakeWorker(std::size_t jobs_max = 64) : queue_(jobs_max) {}

    [[nodiscard]] bool submit(std::unique_ptr<node::Job>& job) noexcept override {
        return queue_.push(job);
    }
    // Runs what may run next; how many jobs that were.
    std::size_t run_next() {
        node::JobGroup group = queue_.next();
        if (group.empty()) return 0;
        const node::Strand strand = group.front()->strand();
        group.front()->run(group);
        queue_.finish(group.size());
        queue_.release(strand);
        const std::size_t count = group.size();
        for (std::unique_ptr<node::Job>& job : group) {
            run_.push_back(std::move(job));
        }
        return count;
    }
    // Tells a shard of the oldest job that has run; false when there is none.
    bool tell_next() {
        if (run_.empty()) return false;
        const std::unique_ptr<node::Job> job = std::move(run_.front());
        run_.pop_front();
        job->done();
        return true;
    }
    // The same by mail, as the real pool does it.
    bool post_next(node::Mesh& mesh) {
        if (run_.empty()) return false;
        auto mail = std::make_unique<node::Mail>();
        mail->kind = node::MailKind::finished;
        mail->from = run_.front()->shard();
        mail->job = std::move(run_.front());
        run_.pop_front();
        const std::uint32_t shard = mail->from;
        mesh.post(shard, std::move(mail));
        return true;
    }
    // All of it, until nothing is left; done() may submit more.
    void settle() {
        while (run_next() > 0 || tell_next()) {
        }
    }
    [[nodiscard]] std::size_t taken() const noexcept { return queue_.size(); }
    [[nodiscard]] std::size_t untold() const noexcept { return run_.size(); }

  private:
    node::JobQueue queue_;
    std::deque<std::unique_ptr<node::Job>> run_;
};

}  // namespace ringcast::test
