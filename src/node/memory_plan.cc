#include "node/memory_plan.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "feed/ack_window.h"
#include "feed/dedup_window.h"
#include "feed/pattern.h"
#include "feed/pool.h"
#include "feed/topic.h"
#include "io/reactor.h"
#include "node/durable.h"
#include "node/history.h"
#include "node/inflation.h"
#include "node/mesh.h"
#include "node/packer.h"
#include "node/patterns.h"
#include "node/presence.h"
#include "node/quotas.h"
#include "node/reports.h"
#include "node/sessions.h"
#include "node/tls_reactor.h"
#include "wire/framer.h"

namespace ringcast::node {

namespace {

using units::kib;
using units::mib;

// Measured with idle servers, and rounded up: code and libraries, their heap; of a shard the stack,
// its rings with 16,384 completions, batches, and an arena of the allocator.
constexpr std::uint64_t program_bytes = 16 * mib;
constexpr std::uint64_t shard_bytes = 3 * mib;
constexpr std::uint64_t parser_factor = 17;  // wire/envelope.h, and a copy for large numbers
// A mail, its names, and two parcels' heads, beside the bytes that are its cost.
constexpr std::uint64_t mail_overhead = 512;
constexpr std::uint64_t mail_min = 16;
// A key of a keyed topic, beside its record: the name, a place in a table and in a list.
constexpr std::uint64_t key_bytes = 384;
// Of such a topic: records copied together for slow readers (feed/compact.h).
constexpr std::uint64_t gathered_bytes = 256 * kib;
// A record that waits for the disk, beside its payload: names, ids, a place in an index.
constexpr std::uint64_t pending_bytes = 1536;
// The store itself: pages that it keeps, the index of its write-ahead log, threads of workers.
constexpr std::uint64_t store_bytes = 8 * mib;
// A client that does nothing, in the kernel: struct sock, file, inode, dentry, one wait entry.
constexpr std::uint64_t socket_bytes = 4 * kib;
constexpr std::uint64_t room_enough = 16 * mib;
constexpr std::uint64_t logs_floor_min = 1 * mib;

// Sums and products that stay at the largest number instead of beginning anew.
[[nodiscard]] std::uint64_t times(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

[[nodiscard]] std::uint64_t plus(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t sum = 0;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

[[nodiscard]] std::uint64_t sum_of(const std::vector<MemoryRow>& rows) noexcept {
    std::uint64_t sum = 0;
    for (const MemoryRow& row : rows) {
        sum = plus(sum, row.bytes);
    }
    return sum;
}

// "352B", "523MiB", "12GiB": what is left out does not matter here.
[[nodiscard]] std::string about(std::uint64_t bytes) {
    if (bytes == UINT64_MAX) return "endless";
    if (bytes < 10 * kib) return std::to_string(bytes) + "B";
    if (bytes < mib) return std::to_string((bytes + kib - 1) / kib) + "KiB";
    if (bytes < 10 * units::gib) return std::to_string((bytes + mib - 1) / mib) + "MiB";
    const std::uint64_t gib = bytes / units::gib;
    if (gib < 10 * kib) return std::to_string(gib) + "GiB";
    return std::to_string(gib / kib) + "TiB";
}

[[nodiscard]] MemoryRow row_of(const char* name,
                               std::uint64_t count,
                               std::uint64_t each,
                               const char* flag) {
    return {.name = name,
            .bytes = times(count, each),
            .how = std::to_string(count) + " x " + about(each),
            .flag = flag};
}

// Pairs of shards in both channels: what may be under way is counted for each.
[[nodiscard]] std::uint64_t mail_ways(const Config& config) noexcept {
    return std::max<std::uint64_t>(config.shards * (config.shards - 1), 1) * 2;
}

// All that a shard may have read: its clients say no more than that when it is out of credit.
[[nodiscard]] constexpr std::uint64_t receive_bytes() noexcept {
    const io::ReactorOptions options;
    const std::uint64_t buffers =
        std::uint64_t{options.receive_buffer_size} * options.receive_buffer_count;
    return buffers + buffers / 16;
}

// So many units from each to each, and what each goes over by (node/mesh.h).
[[nodiscard]] std::uint64_t mail_bytes(const Config& config, std::uint64_t mail_max) noexcept {
    const std::uint64_t over = receive_bytes() + 2 * config.message_max;
    return mail_ways(config) * mail_max * (mail_unit + mail_overhead) + config.shards * over;
}

// A credit of so many units that mail takes an eighth of the memory at most.
[[nodiscard]] std::uint64_t mail_max_for(const Config& config, std::uint64_t limit) noexcept {
    const std::uint64_t over = mail_bytes(config, 0);
    const std::uint64_t units =
        (limit / 8 - std::min(limit / 8, over)) / mail_ways(config) / (mail_unit + mail_overhead);
    return std::clamp(units, mail_min, std::max(config.mail_max, mail_min));
}

[[nodiscard]] bool any_durable(const Config& config) noexcept {
    return std::any_of(config.topic.begin(), config.topic.end(), [](const TopicRule& rule) {
        return rule.durable;
    });
}

[[nodiscard]] bool any_sealed(const Config& config) noexcept {
    return std::any_of(config.topic.begin(), config.topic.end(), [](const TopicRule& rule) {
        return !rule.seal.empty();
    });
}

// Of a shard: a batch under way and one that is collected, each with a record that is larger than
// all; and once more what a batch becomes when it is committed, for its readers on other shards.
// Where topics are sealed, once more: the batch under way has its boxes beside its payloads.
[[nodiscard]] std::uint64_t waiting_bytes(const Config& config) noexcept {
    const Durable::Limits limits;
    const std::uint64_t copies = any_sealed(config) ? 4 : 3;
    return copies * (limits.bytes + config.message_max + limits.records * pending_bytes);
}

// The longest record as an envelope: text whose every octet has to be escaped in six, and names in
// two.
[[nodiscard]] std::uint64_t frame_max_of(const Config& config) noexcept {
    return 6 * config.message_max + 2 * config.topic_name_max + 2 * kib;
}

[[nodiscard]] std::vector<MemoryRow> fixed_rows(const Config& config,
                                                const MemoryPlan& plan,
                                                std::size_t arena_size) {
    const std::uint64_t shards = config.shards;
    std::vector<MemoryRow> rows{
        {.name = "program", .bytes = program_bytes, .how = about(program_bytes), .flag = nullptr},
        row_of("shards", shards, shard_bytes, "shards"),
        row_of("receive buffers", shards, receive_bytes(), "shards"),
        row_of("parsers", shards, parser_factor * config.message_max, "message-max"),
        row_of("tables of logs", shards, feed::SegmentPool::tables_size(arena_size), "log-memory"),
        row_of("connections", plan.connections_max, connection_bytes, "connections-max"),
        row_of("counts of addresses", 1, Quotas::bytes(plan.connections_max), "connections-max"),
        {.name = "mail",
         .bytes = mail_bytes(config, plan.mail_max),
         .how = std::to_string(mail_ways(config)) + " ways x " + std::to_string(plan.mail_max),
         .flag = "mail-max"},
    };
    if (!config.tls_listen.empty()) {
        rows.push_back(row_of(
            "TLS connections", plan.connections_max, tls_connection_bytes, "connections-max"));
        rows.push_back(row_of("TLS hellos", shards, tls_unread_max, "shards"));
        rows.push_back(row_of("TLS handshakes",
                              std::max(config.tls_handshakes_max, shards),
                              tls_handshake_bytes,
                              "tls-handshakes-max"));
    }
    if (any_sealed(config)) {
        rows.push_back(row_of("sealing", shards, config.message_max + kib, "message-max"));
    }
    if (any_durable(config)) {
        rows.push_back(
            {.name = "store", .bytes = store_bytes, .how = about(store_bytes), .flag = nullptr});
        rows.push_back(row_of("records for the disk", shards, waiting_bytes(config), "shards"));
    }
    if (config.compression) {
        // One packs records, and copies those that it does not; one packs echoes.
        const std::uint64_t packers =
            Packer::memory_of(frame_max_of(config)) + Packer::memory_of(0);
        rows.push_back(row_of("compression",
                              shards,
                              Inflation::memory_of(config.message_max) + packers,
                              "message-max"));
    }
    return rows;
}

// Of the keyed topics that rules allow: one, or as many as there may be topics.
[[nodiscard]] std::uint64_t keys_bytes_of(const Config& config) noexcept {
    std::uint64_t bytes = 0;
    for (const TopicRule& rule : config.topic) {
        if (!rule.keyed) continue;
        const bool one = feed::kind_of(rule.pattern) == feed::NameKind::plain;
        const std::uint64_t state = plus(rule.keys_bytes, times(rule.keys_max, key_bytes));
        const std::uint64_t each = plus(state, std::min(rule.keys_bytes, gathered_bytes));
        bytes = plus(bytes, times(one ? 1 : config.topics_max, each));
    }
    return bytes;
}

[[nodiscard]] std::vector<MemoryRow> growing_rows(const Config& config,
                                                  const MemoryPlan& plan,
                                                  std::size_t arena_size) {
    const std::uint64_t message =
        (config.compression ? compressed_size_max(config.message_max) : config.message_max) +
        wire::control_payload_max + wire::payload_padding;
    // Answers up to the limit, behind the rest of a record: base64 makes a message a third longer,
    // be it binary or sealed; what else is in a sealed one is less than the 2 KiB.
    const std::uint64_t answer =
        std::max<std::uint64_t>(config.message_max * 4 / 3, history_size_max + 2 * kib);
    const std::uint64_t outbox = std::bit_ceil(config.outbox_max + answer + 2 * kib);
    const std::uint64_t topic = sizeof(feed::Topic) + config.topic_name_max + 64 + 2 * lane_bytes +
                                (any_durable(config) ? Durable::topic_bytes : 0);
    const std::uint64_t clients = plan.connections_max;
    std::vector<MemoryRow> rows{
        row_of("logs", config.shards, arena_size, "log-memory"),
        row_of("messages", clients, message, "message-max"),
        row_of("outboxes", clients, outbox, "outbox-max"),
        row_of("subscriptions",
               clients,
               config.topics_per_client_max * subscription_bytes,
               "topics-per-client-max"),
        row_of("patterns",
               clients,
               times(config.topics_per_client_max,
                     Patterns::bytes_max(config.shards, config.topic_name_max)),
               "topics-per-client-max"),
        row_of("repeats",
               times(config.dedup_max, config.shards),
               feed::DedupWindow::entry_bytes,
               "dedup-max"),
        row_of("what subscriptions owe",
               times(clients, config.topics_per_client_max),
               feed::AckWindow::row_bytes,
               "topics-per-client-max"),
        row_of("sessions", 1, config.session_memory, "session-memory"),
        row_of("reports", config.shards, Reports::reports_max * Reports::report_bytes, "shards"),
        row_of("topics", times(config.topics_max, config.shards), topic, "topics-max"),
    };
    if (!config.tls_listen.empty()) {
        rows.push_back(row_of("TLS records", clients, tls_unsent_max, "connections-max"));
    }
    if (config.compression && config.compression_context) {
        rows.push_back(row_of("contexts",
                              clients,
                              wire::InflateStream::memory_of(wire::window_bits_max),
                              "connections-max"));
    }
    const std::uint64_t keys = keys_bytes_of(config);
    if (keys > 0) {
        rows.push_back({.name = "keys", .bytes = keys, .how = "keyed topics", .flag = "topic"});
    }
    const bool tokens = config.auth_alg != TokenAlgorithm::none;
    if (tokens) rows.push_back(row_of("tokens", clients, identity_bytes_max, "connections-max"));
    const bool listed = std::any_of(config.topic.begin(),
                                    config.topic.end(),
                                    [](const TopicRule& rule) { return rule.presence; });
    if (listed) {
        rows.push_back(row_of("presence",
                              clients,
                              config.topics_per_client_max *
                                  (presence_bytes + (tokens ? 3 * scoped_name_size_max : 0)),
                              "topics-per-client-max"));
    }
    return rows;
}

// The limit, and where it is from. Without a flag a quarter is left to the kernel's sockets and to
// other programs.
void settle_limit(MemoryPlan& plan, const Config& config, const MemoryFacts& facts) {
    const std::string machine = (facts.of_cgroup ? "the cgroup's " : "this machine's ");
    const std::string whole = machine + about(facts.machine);
    if (config.memory_max == 0) {
        plan.limit = facts.machine / 4 * 3;
        plan.source = "3/4 of " + whole;
        return;
    }
    plan.limit = config.memory_max;
    plan.source = "--memory-max";
    if (config.memory_max > facts.machine) {
        plan.problem = "--memory-max: '" + format_number(config.memory_max, Unit::bytes) +
                       "' is more than " + whole;
    }
}

// What to do about a plan that does not fit: its largest part is the one to lower.
[[nodiscard]] std::string advice(const MemoryPlan& plan) {
    const MemoryRow* largest = &plan.growing.front();
    for (const MemoryRow& row : plan.fixed) {
        if (row.flag != nullptr && row.bytes > largest->bytes) largest = &row;
    }
    return "memory: the limits need " + about(plus(plan.fixed_size, plan.room_min)) +
           " at least, and there are " + about(plan.limit) + " (" + plan.source + "): lower --" +
           largest->flag + " (" + largest->name + ": " + largest->how + " = " +
           about(largest->bytes) + ") or raise --memory-max";
}

[[nodiscard]] std::string listed(const std::vector<MemoryRow>& rows) {
    std::string text;
    for (const MemoryRow& row : rows) {
        text += (text.empty() ? "" : ", ") + std::string(row.name) + " " + row.how;
        if (row.flag != nullptr) text += " = " + about(row.bytes);
    }
    return text;
}

}  // namespace

MemoryPlan plan_memory(const Config& config, const MemoryFacts& facts) noexcept {
    RC_CHECK(config.shards > 0);
    RC_CHECK(facts.arena_size > 0);
    MemoryPlan plan;
    settle_limit(plan, config, facts);
    plan.mail_max = mail_max_for(config, plan.limit);
    const std::uint64_t each =
        connection_bytes + (config.tls_listen.empty() ? 0 : tls_connection_bytes);
    const std::uint64_t quarter = std::max<std::uint64_t>(plan.limit / 4 / each, 1);
    plan.connections_max = config.connections_max != 0 ? config.connections_max
                                                       : std::min(facts.connections_max, quarter);
    plan.fixed = fixed_rows(config, plan, facts.arena_size);
    plan.growing = growing_rows(config, plan, facts.arena_size);
    plan.fixed_size = sum_of(plan.fixed);
    plan.growing_size = sum_of(plan.growing);
    plan.sockets = times(plan.connections_max, socket_bytes);
    plan.logs_floor = std::min<std::uint64_t>(
        facts.arena_size, std::max<std::uint64_t>(facts.arena_size / 8, logs_floor_min));

    const std::uint64_t logs = plan.growing.front().bytes;
    const std::uint64_t rest = plan.limit - std::min(plan.limit, plan.fixed_size);
    plan.room = rest - rest / 16;
    // 8/7 of it, since the last eighth is where pressure begins.
    const std::uint64_t wanted = plus(logs, std::min(plan.growing_size - logs, room_enough));
    plan.room_min = plus(wanted, wanted / 7 + wanted / 14 + 1);
    if (plan.problem.empty() && rest < plan.room_min) plan.problem = advice(plan);
    return plan;
}

std::vector<std::string> describe(const MemoryPlan& plan) noexcept {
    const bool fits = plan.growing_size <= plan.room - plan.room / 8;
    const std::string most = about(fits ? plus(plan.fixed_size, plan.growing_size) : plan.limit);
    std::string second = "memory: what grows: " + listed(plan.growing);
    second += fits ? ": it all fits"
                   : ": these share " + about(plan.room) +
                         "; when that is short history goes first, then new clients get 503, then "
                         "who holds most is cut";
    return {"memory: at most " + most + " of " + about(plan.limit) + " (" + plan.source +
                "), beside the kernel's sockets (about " + about(plan.sockets) +
                " if all clients are silent); fixed: " + listed(plan.fixed),
            std::move(second)};
}

}  // namespace ringcast::node
