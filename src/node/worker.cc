#include "node/worker.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "io/process.h"

namespace ringcast::node {

JobQueue::JobQueue(std::size_t jobs_max) noexcept : jobs_max_(jobs_max) {
    RC_CHECK(jobs_max > 0);
}

bool JobQueue::push(std::unique_ptr<Job>& job) noexcept {
    RC_CHECK(job != nullptr);
    RC_CHECK(job->strand() < strand_end);
    if (size() >= jobs_max_) return false;
    waiting_.push_back(std::move(job));
    return true;
}

JobGroup JobQueue::next() noexcept {
    JobGroup group;
    const auto first = std::find_if(waiting_.begin(), waiting_.end(), [this](const auto& job) {
        return job->strand() == no_strand || !busy_[job->strand()];
    });
    if (first == waiting_.end()) return group;
    const Strand strand = (*first)->strand();
    auto kept = first;
    for (auto at = first; at != waiting_.end(); ++at) {
        const bool goes = at == first || (strand != no_strand && (*at)->strand() == strand);
        if (goes) {
            group.push_back(std::move(*at));
        } else {
            *kept++ = std::move(*at);
        }
    }
    waiting_.erase(kept, waiting_.end());
    busy_[strand] = strand != no_strand;
    running_ += group.size();
    return group;
}

void JobQueue::finish(std::size_t count) noexcept {
    RC_CHECK(running_ >= count);
    running_ -= count;
}

void JobQueue::release(Strand strand) noexcept {
    RC_CHECK(busy_[strand] || strand == no_strand);
    busy_[strand] = false;
}

WorkerPool::WorkerPool(Mesh& mesh, std::uint32_t threads, std::size_t jobs_max) noexcept
    : mesh_(mesh), queue_(jobs_max) {
    RC_CHECK(threads > 0);
    for (std::uint32_t index = 0; index < threads; index++) {
        threads_.emplace_back([this, index] {
            io::name_thread("worker " + std::to_string(index));
            work();
        });
    }
}

bool WorkerPool::submit(std::unique_ptr<Job>& job) noexcept {
    {
        const std::lock_guard held(lock_);
        if (stopping_ || !queue_.push(job)) return false;
    }
    ready_.notify_one();
    return true;
}

// Whoever finishes a group looks for the next one itself, so a strand that becomes free needs no
// notice; and whoever is notified while the strand is busy leaves the job to that thread.
void WorkerPool::work() noexcept {
    std::unique_lock held(lock_);
    for (;;) {
        JobGroup group = queue_.next();
        if (group.empty()) {
            if (stopping_) return;
            ready_.wait(held);
            continue;
        }
        held.unlock();
        const Strand strand = group.front()->strand();
        group.front()->run(group);
        held.lock();
        queue_.finish(group.size());  // first: a shard that has the answer may ask again
        held.unlock();
        post(std::move(group));
        held.lock();
        queue_.release(strand);
    }
}

// From the shard to itself, as far as credits go: the mail is an answer to what it asked.
void WorkerPool::post(JobGroup group) noexcept {
    for (std::unique_ptr<Job>& job : group) {
        const std::uint32_t shard = job->shard();
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::finished;
        mail->from = shard;
        mail->job = std::move(job);
        mesh_.post(shard, std::move(mail));
    }
}

void WorkerPool::stop() noexcept {
    {
        const std::lock_guard held(lock_);
        stopping_ = true;
    }
    ready_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
    threads_.clear();
    RC_CHECK(queue_.size() == 0);
}

}  // namespace ringcast::node
