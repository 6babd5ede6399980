#pragma once

// The workers and the disk of a simulated server: jobs take virtual time, and now and then the disk
// is full, broken or slow.
//
// One thread owns it.

#include <memory>
#include <utility>

#include "io/sim_net.h"
#include "io/sim_random.h"
#include "node/mesh.h"
#include "node/storage.h"
#include "tests/sim/options.h"
#include "tests/support/fake_store.h"

namespace ringcast::sim {

class Disk final : public node::Worker {
  public:
    // `alarm`: the value of the net's alarms on which on_alarm() is to be called.
    Disk(const Options& options, io::SimNet& net, std::uint64_t alarm)
        : options_(options),
          net_(net),
          random_(options.seed ^ 0xd15c, options.tape),
          alarm_(alarm),
          queue_(options.shards + 16),
          storage_{.store = store_, .worker = *this, .state = state_, .log = {}} {}

    [[nodiscard]] bool submit(std::unique_ptr<node::Job>& job) noexcept override {
        if (!queue_.push(job)) return false;
        arm();
        return true;
    }
    // What was asked for by now is done together.
    void on_alarm() {
        armed_ = false;
        if (!calm_ && random_.chance(options_.disk_fault, 1024)) {
            net_.count_fault();
            // One draw a statement: which argument is worked out first is the compiler's choice.
            const bool full = random_.chance(1, 2);
            const auto times = static_cast<int>(random_.between(1, 3));
            store_.fail(full ? io::StoreFault::full : io::StoreFault::io, times);
        }
        node::JobGroup group = queue_.next();
        if (group.empty()) return;
        const node::Strand strand = group.front()->strand();
        group.front()->run(group);
        queue_.finish(group.size());
        for (std::unique_ptr<node::Job>& job : group) {
            const std::uint32_t shard = job->shard();
            auto mail = std::make_unique<node::Mail>();
            mail->kind = node::MailKind::finished;
            mail->from = shard;
            mail->job = std::move(job);
            mesh_->post(shard, std::move(mail));
        }
        queue_.release(strand);
        arm();
    }
    // Whose shards ask from now on.
    void attach(node::Mesh& mesh) { mesh_ = &mesh; }
    // They are gone. What was on its way to the disk is there or not, all of it; nobody is told.
    void crash() {
        node::JobGroup group = queue_.next();
        if (!group.empty() && random_.chance(1, 2)) group.front()->run(group);
        queue_ = node::JobQueue(options_.shards + 16);
        mesh_ = nullptr;
    }
    // It is as quick and as good as a disk can be: a stall that has begun ends, too.
    void calm_down() {
        calm_ = true;
        store_.fail(io::StoreFault::none, 0);
        if (armed_) net_.alarm(net_.now() + nanos_per_ms, alarm_);  // whatever it is stuck in ends
    }
    [[nodiscard]] const node::Storage& storage() const { return storage_; }
    [[nodiscard]] test::FakeStore& store() { return store_; }

  private:
    void arm() {
        if (armed_ || queue_.size() == 0) return;
        armed_ = true;
        auto delay = static_cast<Nanos>(random_.between(20, 2'000)) * 1000;
        if (!calm_ && random_.chance(options_.disk_stall, 1024)) {
            net_.count_fault();
            delay += static_cast<Nanos>(random_.between(1, 3'000)) * nanos_per_ms;
        }
        net_.alarm(net_.now() + delay, alarm_);
    }

    const Options& options_;
    io::SimNet& net_;
    node::Mesh* mesh_ = nullptr;
    io::SimRandom random_;
    std::uint64_t alarm_;
    test::FakeStore store_;
    node::StoreState state_;
    node::JobQueue queue_;
    node::Storage storage_;
    bool armed_ = false;
    bool calm_ = false;
};

}  // namespace ringcast::sim
