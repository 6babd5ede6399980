#pragma once

// The store of durable topics as shards share it: the file, the workers that write it, and what is
// said of it in the log. Null in their setup where there is no --store.

#include <atomic>

#include "ringcast/config.h"
#include "ringcast/server.h"

#include "base/time.h"
#include "io/store.h"
#include "node/worker.h"

namespace ringcast::node {

// Whether the store fails, so that the log gets a line when that changes and not one a batch. Where
// large batches fail and small ones pass, as on a disk that is nearly full, it fails.
//
// Any thread. Times are those of Reactor::now(), which is one clock for all shards.
class StoreState {
  public:
    static constexpr Nanos quiet = 5 * nanos_per_s;

    // A batch failed. True: none has for a while, so it is news.
    [[nodiscard]] bool failed(Nanos now) noexcept;
    // A batch was written. True: others failed before, and none has for `quiet`.
    [[nodiscard]] bool worked(Nanos now) noexcept;

  private:
    std::atomic<Nanos> failed_at_{0};  // 0: not since it worked
};

struct Storage {
    io::Store& store;  // for workers alone, once shards run
    Worker& worker;
    StoreState& state;
    LogSink log;
};

// What stays in the store of a topic with that rule: its history, or the latest of each key, and
// the ids that the dedup window wants.
[[nodiscard]] io::Keep keep_of(const Config& config, const TopicRule& rule) noexcept;

}  // namespace ringcast::node
