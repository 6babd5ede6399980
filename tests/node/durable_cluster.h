#pragma once

// A Cluster whose durable topics lie in a FakeStore that outlives it. The test says when the
// workers do something.

#include <string>
#include <vector>

#include "node/restore.h"
#include "tests/node/cluster.h"
#include "tests/support/fake_store.h"
#include "tests/support/fake_worker.h"

namespace ringcast::node::test {

using ringcast::test::FakeStore;
using ringcast::test::FakeWorker;

inline Config durable_config(std::uint64_t history = 1'000'000) {
    Config config = open_config();
    config.messages_per_second = 0;
    config.store = "fake.db";
    TopicRule rule;
    rule.pattern = "plain.>";
    config.topic.push_back(rule);
    rule.pattern = ">";
    rule.durable = true;
    rule.history = history;
    config.topic.push_back(rule);
    return config;
}

class DurableCluster {
  public:
    explicit DurableCluster(FakeStore& store,
                            const Config& config = durable_config(),
                            std::uint32_t shard_count = 1,
                            std::uint64_t seed = 1,
                            std::size_t arena_size = 1024 * 1024,
                            const SealKeys* seal_keys = nullptr)
        : storage{.store = store,
                  .worker = worker,
                  .state = state,
                  .log = {.write = &DurableCluster::write, .context = this}},
          cluster(config, shard_count, seed, 200, arena_size, &storage, {}, seal_keys) {
        std::vector<Shard*> shards;
        for (const auto& shard : cluster.shards)
            shards.push_back(shard.get());
        restored = restore(config, store, cluster.clock.wall, shards);
    }

    // Until nothing happens any more, on disk or elsewhere.
    void settle() {
        do {
            cluster.settle();
        } while (worker.run_next() > 0 || worker.post_next(cluster.mesh));
    }

    std::vector<std::string> lines;
    FakeWorker worker;
    StoreState state;
    Storage storage;
    Cluster cluster;
    Restored restored;

  private:
    static void write(void* context, LogLevel /*level*/, std::string_view line) noexcept {
        static_cast<DurableCluster*>(context)->lines.emplace_back(line);
    }
};

inline std::string durable_publish(const std::string& topic,
                                   const std::string& id,
                                   const std::string& payload) {
    return R"({"type":"publish","ack_required":true,"topic":")" + topic + R"(","id":")" + id +
           R"(","payload":)" + payload + '}';
}

inline std::string subscribe_from(const std::string& topic,
                                  std::uint64_t offset,
                                  const std::string& epoch) {
    return R"({"type":"subscribe","id":"s","topic":")" + topic + R"(","payload":{"offset":)" +
           std::to_string(offset) + R"(,"epoch":")" + epoch + R"("}})";
}

}  // namespace ringcast::node::test
