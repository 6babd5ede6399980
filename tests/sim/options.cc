#include "tests/sim/options.h"

#include <algorithm>

#include "tests/sim/oracle.h"

namespace ringcast::sim {

namespace {

// Off in `off` worlds out of eight, else up to `most`.
[[nodiscard]] std::uint32_t often(io::SimRandom& random,
                                  std::uint32_t most,
                                  std::uint32_t off = 4) {
    if (random.chance(off, 8)) return 0;
    return static_cast<std::uint32_t>(random.between(1, most));
}

[[nodiscard]] std::uint64_t power(io::SimRandom& random, std::uint32_t least, std::uint32_t most) {
    return std::uint64_t{1} << random.between(least, most);
}

void draw_config(io::SimRandom& random, Options& options) {
    Config& config = options.config;
    config.anonymous_publish = true;
    config.slow_policy = random.chance(1, 4) ? SlowPolicy::close : SlowPolicy::gap;
    config.ping_interval = random.between(500, 4000) * units::ms;
    // A turn is late (node/shard.cc) a quarter of the shortest of these after its deadline. A pause
    // that is shorter counts against clients, so there is much more time than that.
    config.pong_timeout = random.between(2500, 5000) * units::ms;
    config.handshake_timeout = random.between(2500, 5000) * units::ms;
    config.close_timeout = random.between(2500, 5000) * units::ms;
    config.stall_timeout = random.between(2500, 7000) * units::ms;
    config.drain_timeout = random.between(8000, 16000) * units::ms;
    config.message_max = power(random, 12, 16);
    config.topics_per_client_max = random.chance(1, 8) ? 2 : 128;
    config.topics_max = random.chance(1, 8) ? random.between(1, options.topics) : 1000;
    config.topic_log_max = power(random, 16, 20);
    config.outbox_max = power(random, 12, 14);
    config.mail_max = random.chance(1, 2) ? random.between(16, 64) : 8192;
    config.sendfile_min = random.chance(1, 2) ? random.between(1, 512) : power(random, 10, 14);
    config.messages_per_second = random.chance(1, 4) ? random.between(5, 50) : 0;
    config.messages_burst = random.between(1, 20);
}

void draw_chances(io::SimRandom& random, io::SimChances& chances) {
    chances.slow = often(random, 100);
    chances.split = often(random, 512);
    chances.lossy_reset = often(random, 1024);
    chances.short_send = often(random, 512);
    chances.refused_send = often(random, 200);
    chances.broken_send = often(random, 100, 6);
    chances.single_bytes = often(random, 200, 6);
    chances.cut_view = often(random, 512);
    chances.starved = often(random, 200);
    chances.late_close = often(random, 512);
    chances.accept_pause = often(random, 200, 6);
    chances.leak_pause = often(random, 1024);
    chances.late_writable = often(random, 300);
    if (random.chance(1, 4))
        chances.completions_max = static_cast<std::uint32_t>(random.between(1, 8));
}

// Faults that must meet to do harm: here they do, in one world out of four each.
void draw_company(Options& options) {
    io::SimRandom random(options.seed ^ 0xc0117a7, options.tape);
    if (random.chance(1, 4)) {
        options.stop_at_pong = static_cast<std::uint32_t>(random.between(128, 1024));
        options.chances.completions_max = static_cast<std::uint32_t>(random.between(1, 4));
    }
    if (random.chance(1, 4)) {
        options.named = 900;
        options.renamed = 512;
        options.leaver = static_cast<std::uint32_t>(random.between(300, 800));
        options.stall = static_cast<std::uint32_t>(random.between(1, 8));
    }
    if (random.chance(1, 4)) {
        options.chances.slow_work = static_cast<std::uint32_t>(random.between(1, 512));
    }
}

// History for those who come back, and a memory for publishers who repeat themselves. On a stream
// of its own: what the others draw stays the same.
void draw_recovery(Options& options) {
    io::SimRandom random(options.seed ^ 0x4ec04e4, options.tape);
    Config& config = options.config;
    if (random.chance(1, 2)) {
        TopicRule rule;
        rule.pattern = ">";
        rule.history = random.between(1, 300);
        rule.history_bytes = power(random, 16, 20);
        if (random.chance(1, 4)) rule.history_age = random.between(1, 20) * units::s;
        config.topic.push_back(rule);
    }
    if (config.topic.empty() && random.chance(1, 3)) {
        options.keyed = true;
        TopicRule rule;
        rule.pattern = ">";
        rule.keyed = true;
        if (random.chance(1, 4)) rule.keys_max = random.between(1, 8);
        config.topic.push_back(rule);
    }
    options.repeats = random.chance(1, 2);
    config.dedup_window = units::hour;
    if (!options.repeats) config.dedup_max = random.between(0, 8);
}

// Topics whose records are on disk before anybody sees them.
void draw_disk(Options& options) {
    io::SimRandom random(options.seed ^ 0xd15c0, options.tape);
    if (options.keyed || !random.chance(1, 4)) return;
    options.durable = static_cast<std::uint32_t>(random.between(1, options.topics));
    options.disk_fault = often(random, 200);
    options.disk_stall = often(random, 100);
    options.config.store = "simulated";
    const bool history = random.chance(3, 4);
    for (std::uint32_t topic = 0; topic < options.durable; topic++) {
        TopicRule rule;
        rule.pattern = Oracle(options.topics, false).topic_name(topic);
        rule.durable = true;
        rule.history = history ? random.between(1, 300) : 0;
        options.config.topic.insert(options.config.topic.begin(), rule);
    }
}

// Clients that subscribe to all topics by a pattern, in one world out of four. On a stream of its
// own, too.
void draw_wildcards(Options& options) {
    io::SimRandom random(options.seed ^ 0x9a77e4, options.tape);
    if (random.chance(1, 4)) {
        options.wildcards = static_cast<std::uint32_t>(random.between(200, 1024));
    }
}

// All topics have what `set` says, beside what rules say of them already.
template <typename Set>
void set_everywhere(Config& config, const Set& set) {
    const bool any = std::any_of(config.topic.begin(),
                                 config.topic.end(),
                                 [](const TopicRule& rule) { return rule.pattern == ">"; });
    if (!any) config.topic.emplace_back().pattern = ">";
    for (TopicRule& rule : config.topic) {
        set(rule);
    }
}

// Clients that ask, topics that know who is there.
void draw_questions(Options& options) {
    io::SimRandom random(options.seed ^ 0x90e5710, options.tape);
    options.questions = often(random, 300, 5);
    options.presence = random.chance(1, 4);
    if (!options.presence) return;
    const std::uint64_t most = random.chance(1, 4) ? random.between(1, 8) : 10'000;
    set_everywhere(options.config, [most](TopicRule& rule) {
        rule.presence = true;
        rule.presence_max = most;
    });
}

// Clients that acknowledge, in worlds where nobody keeps them from saying so.
void draw_acks(Options& options) {
    io::SimRandom random(options.seed ^ 0xac4ed, options.tape);
    Config& config = options.config;
    if (options.keyed || config.messages_per_second != 0 || !random.chance(1, 2)) return;
    options.acks = static_cast<std::uint32_t>(random.between(300, 1024));
    config.ack_timeout = random.between(50, 3000) * units::ms;
    config.ack_timeout_max = random.between(50, 10'000) * units::ms;
    config.ack_attempts = random.between(0, 8);
    config.ack_expiry = random.between(1, 60) * units::s;
    config.session_time = random.between(0, 20) * units::s;
}

void draw_flush(Options& options) {
    io::SimRandom random(options.seed ^ 0xf1054, options.tape);
    if (!random.chance(1, 5)) return;
    const std::uint64_t interval = random.between(5, 300) * units::ms;
    options.flush_interval = static_cast<Nanos>(interval);
    set_everywhere(options.config, [=](TopicRule& rule) { rule.flush_interval = interval; });
}

// Clients that offer compression, in worlds where it is taken.
void draw_compression(Options& options) {
    io::SimRandom random(options.seed ^ 0xdef1a7e, options.tape);
    if (!random.chance(1, 3)) return;
    options.compress = static_cast<std::uint32_t>(random.between(300, 1024));
    options.config.compression = true;
    options.config.compression_min_size = random.below(300);
    options.config.compression_level = random.between(1, 9);
    if (random.chance(1, 8)) {
        set_everywhere(options.config, [](TopicRule& rule) { rule.uncompressed = true; });
    }
}

// So little memory that it is short when a few clients hold much of it, and enough for all of them
// when they do not.
void draw_memory(Options& options) {
    io::SimRandom random(options.seed ^ 0x3e3047, options.tape);
    // Where publishers repeat themselves what homes know of their messages would be most of it.
    if (options.repeats || !random.chance(1, 3)) return;
    options.logs_floor = power(random, 13, 15);
    const std::uint64_t ids = 16 * units::kib;  // that homes know
    const std::uint64_t reader = 4 * units::kib + (options.wildcards != 0 ? 4 * units::kib : 0);
    const std::uint64_t idle = options.connections * reader + options.shards * ids;
    options.room = (idle + options.shards * options.logs_floor) * 8 / 7 + power(random, 13, 17);
    // As a real plan has it: the floors are within the last eighth, where pressure is.
    options.logs_floor = std::min(options.logs_floor, options.room / 8 / options.shards);
    options.config.message_max = power(random, 15, 16);
}

// The process dies, or the machine does. Most such worlds have durable topics.
void draw_crashes(Options& options) {
    io::SimRandom random(options.seed ^ 0xc4a54, options.tape);
    if (!random.chance(options.durable != 0 ? 6 : 1, 10)) return;
    options.crashes = static_cast<std::uint32_t>(random.between(1, 3));
    options.crash_turns = static_cast<std::uint32_t>(random.between(20, 400));
    options.wall_jump = 0;  // a clock that is wrong makes an id too old to be known
    if (options.durable == 0 || !random.chance(3, 4)) return;
    options.named = 700;
    options.repeats = true;
    options.config.dedup_max = 1 << 16;
}

}  // namespace

Options Options::draw(std::uint64_t seed, const Wishes& wishes) {
    Options options;
    options.tape = wishes.tape;
    options.trace = wishes.trace;
    options.seed = seed;
    if (wishes.tape != nullptr) options.seed = wishes.tape->pass(seed, UINT64_MAX);
    io::SimRandom random(seed ^ 0x0b71045, wishes.tape);
    options.shards = static_cast<std::uint32_t>(random.between(1, 4));
    options.topics = static_cast<std::uint32_t>(random.between(1, 6));
    options.connections = static_cast<std::uint32_t>(random.between(4, 24));
    if (wishes.shards != 0) options.shards = wishes.shards;
    if (wishes.topics != 0) options.topics = wishes.topics;
    if (wishes.connections != 0) options.connections = wishes.connections;
    draw_config(random, options);
    draw_chances(random, options.chances);
    options.connections_max = options.connections * 4 + 64;
    if (random.chance(1, 8)) options.connections_max = options.connections / 2 + 1;
    options.arena_size = power(random, 16, 20);
    options.storm = static_cast<Nanos>(random.between(500, 6000)) * nanos_per_ms;
    options.delay_max = static_cast<Nanos>(random.between(10, 2000)) * 1000;
    options.window_max = power(random, 9, 17);
    options.body_max = std::min<std::size_t>(power(random, 5, 12), options.config.message_max / 2);
    options.spurious_wake = often(random, 100);
    options.stall = often(random, 4);
    options.process_stop = often(random, 2, 6);
    options.stall_max = static_cast<Nanos>(random.between(10, 20'000)) * nanos_per_ms;
    options.clog = often(random, 200);
    options.hole = often(random, 60, 6);
    options.cut = often(random, 100);
    options.wall_jump = often(random, 100);
    options.slow = often(random, 300);
    options.silent = often(random, 200);
    options.slow_handshake = often(random, 200);
    options.flooder = often(random, 200);
    options.liar = often(random, 200);
    options.half_closer = often(random, 200);
    options.leaver = often(random, 400);
    options.stop_under_load = random.chance(1, 2);
    draw_company(options);
    draw_recovery(options);
    draw_disk(options);
    draw_wildcards(options);
    draw_crashes(options);
    draw_questions(options);
    draw_acks(options);
    draw_flush(options);
    draw_compression(options);
    draw_memory(options);
    return options;
}

}  // namespace ringcast::sim
