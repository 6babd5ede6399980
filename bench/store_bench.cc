// What a batch of durable records costs, commit included: the disk of TMPDIR decides.

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "io/store.h"

namespace {

using namespace ringcast;
using io::StoreRecord;

struct Folder {
    Folder() : path((std::filesystem::temp_directory_path() / "ringcast-XXXXXX").string()) {
        if (::mkdtemp(path.data()) == nullptr) path.clear();
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string path;
};

// range(0): records in a batch. range(1): topics they belong to, in turns. 200 bytes each; a topic
// keeps its last 10,000 records, and is trimmed every 1024.
void bm_append(benchmark::State& state) {
    const auto count = static_cast<std::size_t>(state.range(0));
    const auto topics = static_cast<std::size_t>(state.range(1));
    const Folder folder;
    std::string why;
    auto opened = io::open_store({.path = folder.path + "/bench.db"}, why);
    if (!opened.ok()) {
        state.SkipWithError(why.c_str());
        return;
    }
    const std::unique_ptr<io::Store> store = std::move(opened).value();
    std::vector<std::string> names;
    for (std::size_t topic = 0; topic < topics; topic++) {
        names.push_back("prices.instrument." + std::to_string(topic));
    }
    const std::string payload(200, 'x');
    std::vector<StoreRecord> records(count);
    std::vector<StoreRecord*> batch;
    for (StoreRecord& record : records) {
        batch.push_back(&record);
    }
    std::uint64_t id = 0;
    std::vector<std::string> ids(count);
    for (auto _ : state) {
        for (std::size_t i = 0; i < count; i++) {
            ids[i] = std::to_string(id++);
            records[i] = {.topic = names[id % topics],
                          .epoch = 1,
                          .wall_ns = static_cast<Nanos>(id),
                          .client = "0123456789abcdef0123456789abcdef",
                          .id = ids[i],
                          .payload = as_bytes(payload)};
        }
        if (!store->append(batch).ok()) state.SkipWithError(store->why().c_str());
        if (records[0].offset % 1024 < (count + topics - 1) / topics) {
            static_cast<void>(store->trim(records[0].topic, {.records = 10'000, .ids = 10'000}, 0));
        }
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(bm_append)
    ->ArgsProduct({{1, 64, 1024}, {1, 100}})
    ->ArgNames({"batch", "topics"})
    ->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
