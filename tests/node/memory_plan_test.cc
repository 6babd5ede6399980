// What the limits come to, and that a server that cannot keep to them does not start.

#include "node/memory_plan.h"

#include <algorithm>
#include <array>
#include <string>

#include <doctest/doctest.h>

#include "base/random.h"
#include "node/durable.h"
#include "node/inflation.h"
#include "node/packer.h"
#include "node/patterns.h"
#include "node/tls_reactor.h"
#include "wire/deflate.h"

using namespace ringcast;
using namespace ringcast::node;

namespace {

MemoryFacts facts_of(const Config& config, std::uint64_t machine) {
    return {.machine = machine,
            .connections_max = 1'048'512,
            .arena_size = std::bit_floor(config.log_memory / config.shards)};
}

MemoryPlan plan_of(const Config& config, std::uint64_t machine) {
    return plan_memory(config, facts_of(config, machine));
}

Config with_shards(std::uint64_t shards) {
    Config config;
    config.shards = shards;
    return config;
}

}  // namespace

TEST_CASE("memory plan: defaults start on a small machine, whatever its CPUs") {
    for (const std::uint64_t shards : {1U, 2U, 4U, 8U, 16U}) {
        const MemoryPlan plan = plan_of(with_shards(shards), 2 * units::gib);
        CAPTURE(shards);
        CHECK_MESSAGE(plan.problem.empty(), plan.problem);
        CHECK(plan.limit == 3 * units::gib / 2);
        CHECK(plan.connections_max >= 100'000);
        CHECK(plan.fixed_size + plan.room < plan.limit);
    }
}

TEST_CASE("memory plan: sums are of their rows, and never begin anew") {
    Random random(3);
    for (int i = 0; i < 2000; i++) {
        Config config = with_shards(random.between(1, 64));
        for (const NumberFlag& flag : number_flags) {
            if (flag.member == &Config::shards || random.chance(1, 2)) continue;
            config.*flag.member = random.chance(1, 2)   ? random.between(flag.least, flag.most)
                                  : random.chance(1, 2) ? flag.least
                                                        : flag.most;
        }
        REQUIRE(check(config).empty());
        const MemoryPlan plan = plan_of(config, random.between(1, 1024) * 64 * units::mib);
        std::uint64_t left = plan.fixed_size;
        for (const MemoryRow& row : plan.fixed) {
            CHECK(row.bytes <= left);
            left -= row.bytes;
        }
        CHECK(left == 0);
        CHECK(plan.growing_size >= plan.growing.front().bytes);
        CHECK(plan.connections_max > 0);
        CHECK(plan.mail_max <= config.mail_max);
        CHECK(plan.mail_max >= 16);
        if (!plan.problem.empty()) continue;
        CHECK(plan.limit >= plan.fixed_size);
        CHECK(plan.room > 0);
        CHECK(plan.room <= plan.limit - plan.fixed_size);
        // With the logs full, memory is not short yet.
        CHECK(plan.growing.front().bytes <= plan.room - plan.room / 8);
        CHECK(plan.logs_floor * config.shards < plan.room - plan.room / 8);
    }
}

TEST_CASE("memory plan: what does not fit is refused with what to lower") {
    struct Row {
        void (*change)(Config& config);
        std::uint64_t machine;
        const char* lower;
    };
    const auto nothing = [](Config& config) { config.topics_max = 1000; };
    for (const Row& row : std::array<Row, 6>{{
             {nothing, 256 * units::mib, "lower --log-memory (logs: 2 x 128MiB = 256MiB)"},
             {[](Config& config) { config.connections_max = 16'000'000; },
              2 * units::gib,
              "lower --connections-max (connections: 16000000 x "},
             {[](Config& config) { config.message_max = 64 * units::mib; },
              units::gib,
              "lower --message-max (parsers: "},
             {[](Config& config) { config.memory_max = 100 * units::mib; },
              2 * units::gib,
              "there are 100MiB (--memory-max): lower --log-memory"},
             {[](Config& config) { config.memory_max = 3 * units::gib; },
              2 * units::gib,
              "--memory-max: '3GiB' is more than this machine's 2048MiB"},
             {[](Config& config) { config.log_memory = 1024 * units::gib; },
              4 * units::gib,
              "raise --memory-max"},
         }}) {
        Config config = with_shards(2);
        row.change(config);
        const MemoryPlan plan = plan_of(config, row.machine);
        CAPTURE(plan.problem);
        CHECK(plan.problem.find(row.lower) != std::string::npos);
        CHECK(plan.problem.find('\n') == std::string::npos);
    }
}

TEST_CASE("memory plan: the limit is a part of the machine, or what was said") {
    Config config = with_shards(1);
    MemoryFacts facts = facts_of(config, 8 * units::gib);
    facts.of_cgroup = true;
    CHECK(plan_memory(config, facts).limit == 6 * units::gib);
    CHECK(plan_memory(config, facts).source == "3/4 of the cgroup's 8192MiB");
    config.memory_max = 8 * units::gib;
    CHECK(plan_memory(config, facts).limit == 8 * units::gib);
    CHECK(plan_memory(config, facts).problem.empty());
}

TEST_CASE("memory plan: a small server's worst case is all there is to it") {
    Config config = with_shards(1);
    config.connections_max = 100;
    config.topics_max = 1000;
    TopicRule rule;
    CHECK(parse_topic_rule("prices.now: keyed, keys-bytes=8MiB", rule).empty());
    config.topic = {rule};
    const MemoryPlan plan = plan_of(config, 2 * units::gib);
    CHECK(plan.problem.empty());
    CHECK(plan.growing_size < plan.room);
    CHECK(plan.growing.back().bytes > 8 * units::mib);
    CHECK(plan.growing.back().bytes < 16 * units::mib);
    CHECK(describe(plan).size() == 2);
    CHECK(describe(plan)[1].find("it all fits") != std::string::npos);
    CHECK(describe(plan_of(with_shards(1), 2 * units::gib))[1].find("503") != std::string::npos);
    // Any topic may be keyed: as many as there may be.
    config.topic.front().pattern = ">";
    CHECK(plan_of(config, 2 * units::gib).growing.back().bytes > 8000 * units::mib);
}

TEST_CASE("memory plan: what waits for the disk is set aside where a rule says durable") {
    Config config = with_shards(2);
    const MemoryPlan before = plan_of(config, 2 * units::gib);
    config.store = "file";
    config.topic.emplace_back().pattern = "a";
    CHECK(plan_of(config, 2 * units::gib).fixed_size == before.fixed_size);
    config.topic.back().durable = true;
    const MemoryPlan plan = plan_of(config, 2 * units::gib);
    CHECK(plan.problem.empty());
    CHECK(plan.fixed.size() == before.fixed.size() + 2);
    CHECK(std::string(plan.fixed.back().name) == "records for the disk");
    CHECK(plan.fixed.back().bytes > 2 * 2 * (Durable::Limits().bytes + config.message_max));
    CHECK(plan.growing.back().bytes > before.growing.back().bytes);
}

TEST_CASE("memory plan: with TLS a client is what OpenSSL holds of it") {
    Config config = with_shards(2);
    const MemoryPlan before = plan_of(config, 2 * units::gib);
    config.tls_listen = {"127.0.0.1:443"};
    config.tls_handshakes_max = 100;
    MemoryPlan plan = plan_of(config, 2 * units::gib);
    CHECK(plan.problem.empty());
    CHECK(plan.connections_max < before.connections_max / 10);
    CHECK(plan.fixed.size() == before.fixed.size() + 3);
    CHECK(std::string(plan.fixed.back().name) == "TLS handshakes");
    CHECK(plan.fixed.back().bytes == 100 * tls_handshake_bytes);
    CHECK(std::string(plan.growing.back().name) == "TLS records");
    CHECK(plan.growing.back().bytes == plan.connections_max * tls_unsent_max);
    config.connections_max = 1'000'000;
    plan = plan_of(config, 2 * units::gib);
    CHECK(plan.problem.find("lower --connections-max (TLS connections: ") != std::string::npos);
}

TEST_CASE("memory plan: compression is set aside for each shard, and contexts for each client") {
    Config config = with_shards(2);
    const MemoryPlan before = plan_of(config, 2 * units::gib);
    config.compression = true;
    const MemoryPlan plan = plan_of(config, 2 * units::gib);
    CHECK(plan.problem.empty());
    CHECK(std::string(plan.fixed.back().name) == "compression");
    // Of each shard: what inflates, what packs records, and what packs echoes.
    const std::uint64_t record = 6 * config.message_max;
    CHECK(plan.fixed.back().bytes >= 2 * (Inflation::memory_of(config.message_max) +
                                          Packer::memory_of(record) + Packer::memory_of(0)));
    CHECK(plan.fixed.back().bytes < 2 * (record + config.message_max + 2 * units::mib));
    CHECK(plan.growing.size() == before.growing.size());
    CHECK(plan.growing_size > before.growing_size);  // a compressed message may be a little larger
    config.compression_context = true;
    config.connections_max = 10;
    const MemoryPlan contexts = plan_of(config, 2 * units::gib);
    CHECK(contexts.growing.size() == before.growing.size() + 1);
    CHECK(std::string(contexts.growing.back().name) == "contexts");
    CHECK(contexts.growing.back().bytes == 10 * wire::InflateStream::memory_of(15));
}

TEST_CASE("memory plan: every place of a client may be a pattern, which every home knows too") {
    for (const std::uint64_t shards : {1U, 4U}) {
        Config config = with_shards(shards);
        config.connections_max = 10;
        config.topics_per_client_max = 7;
        const MemoryPlan plan = plan_of(config, 2 * units::gib);
        const auto row =
            std::find_if(plan.growing.begin(), plan.growing.end(), [](const MemoryRow& each) {
                return std::string(each.name) == "patterns";
            });
        REQUIRE(row != plan.growing.end());
        CHECK(row->bytes == 10 * 7 * Patterns::bytes_max(shards, config.topic_name_max));
        CHECK(row->bytes > 10 * 7 * (shards + 1) * config.topic_name_max);
    }
}

TEST_CASE("memory plan: room for sealing is set aside where a rule says seal") {
    Config config = with_shards(2);
    TopicRule rule;
    rule.pattern = "a";
    rule.durable = true;
    config.topic = {rule};
    const MemoryPlan plain = plan_of(config, 8 * units::gib);
    config.topic.front().seal = "k";
    const MemoryPlan sealed = plan_of(config, 8 * units::gib);
    const std::uint64_t boxes = Durable::Limits().bytes + config.message_max;
    CHECK(sealed.fixed_size >= plain.fixed_size + 2 * (boxes + config.message_max));
}
