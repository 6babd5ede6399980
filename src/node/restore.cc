#include "node/restore.h"

#include <vector>

#include "base/check.h"
#include "node/storage.h"
#include "node/topic_rules.h"

namespace ringcast::node {

namespace {

[[nodiscard]] const TopicRule& rule_for(const Config& config, std::string_view name) noexcept {
    return numbered_rule(config, rule_number(config, name));
}

// The visitor must not call the store, so names come first.
class Names final : public io::StoreVisitor {
  public:
    explicit Names(const Config& config) noexcept : config_(config) {}
    void topic(const io::StoreTopic& topic) noexcept override {
        if (rule_for(config_, topic.name).durable) {
            durable.emplace_back(topic.name);
        } else {
            strangers++;
        }
    }
    void record(const io::StoreRecord& /*record*/) noexcept override { RC_CHECK(false); }

    std::vector<std::string> durable;
    std::uint64_t strangers = 0;

  private:
    const Config& config_;
};

class Bringer final : public io::StoreVisitor {
  public:
    Bringer(const Config& config, std::span<Shard* const> shards, Restored& restored) noexcept
        : config_(config), shards_(shards), restored_(restored) {}

    void topic(const io::StoreTopic& topic) noexcept override {
        if (!rule_for(config_, topic.name).durable || !restored_.problem.empty()) return;
        if (!home_of(topic.name).restore(topic)) {
            restored_.problem = "--topics-max: '" + std::to_string(config_.topics_max) +
                                "' is less than --store has durable topics";
            return;
        }
        restored_.topics++;
    }
    void record(const io::StoreRecord& record) noexcept override {
        home_of(record.topic).restore(record);
        if (!record.hollow) restored_.records++;
    }

  private:
    [[nodiscard]] Home& home_of(std::string_view name) noexcept {
        return shards_[shards_.front()->hub().home_of(name)]->hub().home();
    }

    const Config& config_;
    std::span<Shard* const> shards_;
    Restored& restored_;
};

[[nodiscard]] Result<Done> bring(const Config& config,
                                 io::Store& store,
                                 Nanos wall_now,
                                 std::span<Shard* const> shards,
                                 Restored& restored) noexcept {
    Names names(config);
    static_cast<void>(RC_TRY(store.load_topics(names)));
    restored.strangers = names.strangers;
    for (const std::string& name : names.durable) {
        const io::Keep keep = keep_of(config, rule_for(config, name));
        for (bool more = true; more;) {
            auto trimmed = store.trim(name, keep, wall_now);
            // What cannot be trimmed now goes later: a full disk is no reason not to start.
            more = trimmed.ok() && trimmed.value();
        }
    }
    Bringer bringer(config, shards, restored);
    static_cast<void>(RC_TRY(store.load_topics(bringer)));
    if (!restored.problem.empty()) return Done{};
    return store.load_records(bringer);
}

}  // namespace

Restored restore(const Config& config,
                 io::Store& store,
                 Nanos wall_now,
                 std::span<Shard* const> shards) noexcept {
    RC_CHECK(!shards.empty());
    Restored restored;
    auto done = bring(config, store, wall_now, shards, restored);
    if (!done.ok()) restored.problem = "--store: " + store.why();
    return restored;
}

}  // namespace ringcast::node
