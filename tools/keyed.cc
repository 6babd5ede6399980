// `ringcast bench keyed`: many keys of one topic, updated faster than some of its readers read. The
// fast ones must get every record, or be conflated without losing the newest of a key; each slow
// one must have the latest record of every key once it may read freely.
//
// Open loop: latency counts from the moment an update should have been published, however late the
// generator or the server is. One thread, one loop.

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <unistd.h>

#include "base/histogram.h"
#include "checker.h"
#include "clock.h"
#include "fleet.h"
#include "keyed_checker.h"
#include "machines.h"
#include "process.h"
#include "report.h"
#include "verbs.h"

namespace ringcast::tools {

namespace {

constexpr Nanos publish_interval = 250'000;               // so many updates leave in one write
constexpr std::uint32_t publish_max = 4'096;              // at once, before readers have their turn
constexpr std::size_t unsent_max = std::size_t{4} << 20;  // per publisher, then it waits
constexpr Nanos slow_tick = 50 * nanos_per_ms;
constexpr Nanos memory_tick = 100 * nanos_per_ms;
constexpr double timed_per_s = 1e6;  // deliveries; of more a part is timed
constexpr Nanos listening_max = 500 * nanos_per_ms;
constexpr Nanos settle_time = 200 * nanos_per_ms;
constexpr double machine_limit = 0.95;
// Of each fast reader. Where the system grows them to megabytes, and a thousand readers are late at
// once, the kernel runs short of memory for all, throws away what it had received, and the sender
// waits for its time-outs: seconds that say nothing of the server.
constexpr std::uint32_t receive_buffer = 256 * 1024;

class Keyed final : private Fleet::Owner, private KeyedChecker::Listener {
  public:
    explicit Keyed(const BenchOptions& options) noexcept;
    int run() noexcept;

  private:
    struct Source {
        std::string out;
        std::size_t sent = 0;
    };
    struct Phase {  // what one stretch of publishing gave
        Load start;
        Load end;
        std::uint64_t published = 0;
        KeyedCounts fast;
        KeyedCounts slow;
        Histogram latency;
        Histogram late;        // updates that left the generator behind their time
        Nanos caught_up = -1;  // the fast had everything so long behind the last update's time
    };

    const std::string& path_of(std::uint32_t id) noexcept override {
        const bool fast = id >= keyed_.publishers && id < keyed_.publishers + fast_count();
        return keyed_.raw && fast ? raw_path_ : path_;
    }
    void on_open(Conn& conn) noexcept override;
    void on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept override;
    void on_writable(Conn& conn) noexcept override;
    void on_closed(Conn& conn) noexcept override;
    void on_other(std::uint32_t id, const Frame& frame) noexcept override;
    void on_text(Conn& conn, std::string_view text) noexcept;
    void on_subscribed(Conn& conn, std::string_view text) noexcept;
    void on_ping(Conn& conn, const Frame& frame) noexcept;

    // Publishers come first, then the fast readers, then the slow ones.
    [[nodiscard]] bool is_publisher(const Conn& conn) const noexcept {
        return conn.reader.id < keyed_.publishers;
    }
    [[nodiscard]] std::uint32_t reader_of(const Conn& conn) const noexcept {
        return conn.reader.id - keyed_.publishers;
    }
    [[nodiscard]] Conn& conn_of(std::uint32_t reader) noexcept {
        return fleet_.conns()[reader + keyed_.publishers];
    }
    [[nodiscard]] std::uint32_t fast_count() const noexcept {
        return options_.connections - keyed_.slow;
    }
    [[nodiscard]] bool connect(std::uint32_t first, std::uint32_t end) noexcept;
    void publish_due(Nanos now) noexcept;
    void flush(Source& source, Conn& conn) noexcept;
    [[nodiscard]] bool published_all() const noexcept { return next_due_ >= publish_end_; }
    void turn() noexcept;
    void serve_slow(Nanos now) noexcept;
    void watch_memory(Nanos now) noexcept;
    [[nodiscard]] bool all_have(std::uint32_t first, std::uint32_t end) noexcept;
    void run_phase(Phase& phase) noexcept;
    void wait_for(std::uint32_t first, std::uint32_t end) noexcept;
    void let_slow_catch_up() noexcept;
    void listen_on() noexcept;
    void show_progress(Nanos now) noexcept;
    int conclude() noexcept;
    [[nodiscard]] bool sound(std::uint64_t misplaced) const noexcept;
    void report_phase(Report& report, const Phase& phase) noexcept;
    void report_comparison(Report& report) noexcept;
    void report_slow(Report& report) noexcept;
    void report_errors(Report& report, std::uint64_t misplaced) noexcept;
    void report_memory(Report& report) noexcept;
    void warn_of_limits(Report& report, const Phase& phase) noexcept;

    const BenchOptions options_;
    const KeyedOptions& keyed_;
    const std::string path_;
    const std::string raw_path_;
    KeyedChecker checker_;
    Fleet fleet_;
    std::vector<Source> sources_;
    std::uint32_t ready_count_ = 0;

    double next_due_ = 0;
    double publish_end_ = 0;
    Nanos publish_at_ = 0;  // the next look at what is due
    Histogram late_;
    Nanos slow_served_ = 0;
    bool silent_ = false;  // the slow read slowly
    Nanos shown_at_ = 0;
    std::uint64_t shown_ = 0;

    Phase alone_;  // with --compare
    Phase phase_;
    Nanos slow_caught_up_ = -1;
    Nanos memory_looked_ = 0;
    ProcessMemory memory_start_;
    ProcessMemory memory_end_;
    ProcessMemory memory_max_;
    std::uint64_t errors_ = 0;
    std::string first_error_;
    std::map<std::uint16_t, std::uint64_t> close_codes_;
    std::uint64_t readers_ended_ = 0;
    std::uint64_t publishers_ended_ = 0;
};

std::uint32_t timed_one_in(const BenchOptions& options) noexcept {
    const double fast = options.connections - options.keyed.slow;
    return static_cast<std::uint32_t>(std::max(1.0, options.keyed.rate * fast / timed_per_s));
}

std::string base_of(const Url& url) {
    return url.path.ends_with('/') ? url.path.substr(0, url.path.size() - 1) : url.path;
}

Keyed::Keyed(const BenchOptions& options) noexcept
    : options_(options),
      keyed_(options_.keyed),
      path_(base_of(options.url) + "/ws"),
      raw_path_(base_of(options.url) + "/raw?topic=" + options.keyed.topic),
      checker_({.topic = options.keyed.topic,
                .readers = options.connections,
                .fast = options.connections - options.keyed.slow,
                .keys = options.keyed.keys,
                .publishers = options.keyed.publishers,
                .payload_size = options.keyed.size,
                .raw = options.keyed.raw,
                .timed_one_in = timed_one_in(options)},
               *this),
      fleet_({.connections = options.connections + options.keyed.publishers,
              .concurrency = options.concurrency,
              .sources = options.sources,
              .receive_buffer = receive_buffer,
              .congestion = options.congestion,
              .tls = options.tls},
             options.url,
             *this),
      sources_(options.keyed.publishers) {
    for (std::uint32_t i = 0; i < fleet_.conns().size(); i++) {
        Conn& conn = fleet_.conns()[i];
        conn.reader.id = i;
        conn.muted = !is_publisher(conn) && checker_.is_slow(reader_of(conn));
    }
}

// --- What comes ---

void Keyed::on_open(Conn& conn) noexcept {
    if (is_publisher(conn)) {
        ready_count_++;
        return;
    }
    if (keyed_.raw && !checker_.is_slow(reader_of(conn))) {
        checker_.join(reader_of(conn), 0);
        ready_count_++;
        return;
    }
    std::string frame;
    const std::string text = R"({"type":"subscribe","id":"s","topic":")" + keyed_.topic +
                             R"(","payload":{"snapshot":false}})";
    append_frame(frame, Opcode::text, as_bytes(text), 0x2545f491);
    fleet_.send_small(conn, frame);
}

void Keyed::on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept {
    bool stream = true;
    if (is_publisher(conn)) {
        while (stream && !bytes.empty()) {
            stream = conn.reader.splitter.take(bytes, [&](const Frame& frame) {
                if (frame.opcode == Opcode::text) return on_text(conn, as_text(frame.payload));
                if (frame.opcode == Opcode::ping) return on_ping(conn, frame);
                if (frame.opcode != Opcode::close) return;
                conn.end = End::told;
                conn.close_code = close_code(frame.payload);
            }) != Parse::bad;
        }
    } else {
        stream = checker_.feed(reader_of(conn), conn.reader.splitter, bytes, now);
    }
    if (!stream) return fleet_.finish(conn, End::dropped);
    if (conn.end != End::none) return fleet_.finish(conn, conn.end);
    // A turn with many readers is long: what is due must not wait for its end.
    publish_due(now);
}

void Keyed::on_other(std::uint32_t id, const Frame& frame) noexcept {
    Conn& conn = conn_of(id);
    if (frame.opcode == Opcode::ping) {
        on_ping(conn, frame);
    } else if (frame.opcode == Opcode::pong) {
        fleet_.on_pong(conn);
    } else if (frame.opcode == Opcode::close) {
        // Finished by on_bytes(), when nobody looks at the reader any more.
        conn.end = conn.stage == Stage::closing ? End::ours : End::told;
        conn.close_code = close_code(frame.payload);
    } else if (frame.opcode == Opcode::text && frame.fin) {
        on_text(conn, as_text(frame.payload));
    } else {
        checker_.wrong(id, "no text");
    }
}

void Keyed::on_ping(Conn& conn, const Frame& frame) noexcept {
    std::string pong;
    append_frame(pong, Opcode::pong, frame.payload, 0x9e3779b9);
    if (is_publisher(conn)) {
        Source& source = sources_[conn.reader.id];
        source.out += pong;  // behind a frame that may be half sent
    } else if (fleet_.write(conn, pong) != static_cast<std::ptrdiff_t>(pong.size())) {
        conn.end = End::dropped;  // finished by on_bytes()
    }
}

void Keyed::on_text(Conn& conn, std::string_view text) noexcept {
    std::string_view type;
    if (!json_word(text, "type", type)) type = {};
    if (type == "welcome") return;
    if (type == "error") {
        errors_++;
        if (first_error_.empty()) first_error_ = text.substr(0, 200);
        return;
    }
    if (is_publisher(conn)) return;
    if (type == "subscribed") return on_subscribed(conn, text);
    checker_.wrong(reader_of(conn), type == "gap" ? "a gap" : "no such type");
}

void Keyed::on_subscribed(Conn& conn, std::string_view text) noexcept {
    const std::uint32_t reader = reader_of(conn);
    std::uint64_t head = 0;
    if (!json_true(text, "keyed") || !json_number(text, "head", head)) {
        errors_++;
        if (first_error_.empty()) first_error_ = "the topic is not keyed: a rule of the server's";
        return;
    }
    if (checker_.joined(reader)) return checker_.restart(reader);
    checker_.join(reader, head);
    ready_count_++;
}

void Keyed::on_writable(Conn& conn) noexcept {
    if (is_publisher(conn)) flush(sources_[conn.reader.id], conn);
}

void Keyed::on_closed(Conn& conn) noexcept {
    if (conn.end == End::ours || conn.end == End::refused) return;
    (is_publisher(conn) ? publishers_ended_ : readers_ended_)++;
    if (conn.end == End::told) close_codes_[conn.close_code]++;
}

// --- What is done ---

bool Keyed::connect(std::uint32_t first, std::uint32_t end) noexcept {
    for (std::uint32_t i = first; i < end; i++) {
        fleet_.enqueue(i);
    }
    const Nanos deadline = clock_now() + 60 * nanos_per_s;
    while (ready_count_ < end && !interrupted()) {
        fleet_.turn(10 * nanos_per_ms);
        const bool hopeless = errors_ > 0 || fleet_.refused_count() > 0 || readers_ended_ > 0;
        if (!hopeless && clock_now() < deadline) continue;
        const std::string& why = first_error_.empty() ? fleet_.error() : first_error_;
        std::fprintf(stderr, "ringcast: %u of %u are ready %s\n", ready_count_, end, why.c_str());
        return false;
    }
    return !interrupted();
}

void Keyed::publish_due(Nanos now) noexcept {
    if (now < publish_at_ || published_all()) return;
    publish_at_ = now + publish_interval;
    const double interval = 1e9 / keyed_.rate;
    for (std::uint32_t i = 0; i < publish_max && !published_all(); i++) {
        if (next_due_ > static_cast<double>(now)) break;
        const std::uint32_t source = checker_.publisher_of(checker_.published());
        std::string& out = sources_[source].out;
        if (out.size() > unsent_max) break;
        const auto due = static_cast<Nanos>(next_due_);
        late_.record(now - due);
        const auto mask = static_cast<std::uint32_t>((checker_.published() + 1) * 0x9e3779b9);
        append_frame(out, Opcode::text, as_bytes(checker_.publish(due)), mask);
        next_due_ += interval;
    }
    for (std::uint32_t i = 0; i < keyed_.publishers; i++) {
        flush(sources_[i], fleet_.conns()[i]);
    }
}

void Keyed::flush(Source& source, Conn& conn) noexcept {
    if (conn.stage != Stage::open || source.out.empty()) return;
    const std::string_view rest = std::string_view(source.out).substr(source.sent);
    const std::ptrdiff_t sent = fleet_.write(conn, rest);
    if (sent < 0) {
        conn.end = End::dropped;  // its own event finishes it
        return;
    }
    source.sent += static_cast<std::size_t>(sent);
    if (source.sent < source.out.size()) return;
    source.out.clear();
    source.sent = 0;
}

void Keyed::turn() noexcept {
    Nanos now = clock_now();
    publish_due(now);
    Nanos wait = silent_ ? slow_tick : 100 * nanos_per_ms;
    if (!published_all()) {
        wait = std::min(wait, std::max(publish_at_, static_cast<Nanos>(next_due_)) - now);
    }
    fleet_.turn(std::max<Nanos>(wait, 0));
    now = clock_now();
    if (silent_) serve_slow(now);
    watch_memory(now);
    show_progress(now);
}

void Keyed::serve_slow(Nanos now) noexcept {
    if (keyed_.slow_rate == 0 || now - slow_served_ < slow_tick) return;
    const double share = slow_served_ == 0 ? 0.05 : static_cast<double>(now - slow_served_) / 1e9;
    slow_served_ = now;
    const double budget = std::max(1.0, static_cast<double>(keyed_.slow_rate) * share);
    for (std::uint32_t reader = fast_count(); reader < options_.connections; reader++) {
        Conn& conn = conn_of(reader);
        if (conn.stage == Stage::open) {
            fleet_.read_muted(conn, static_cast<std::size_t>(budget));
        }
    }
}

void Keyed::watch_memory(Nanos now) noexcept {
    if (options_.server_pid <= 0 || now - memory_looked_ < memory_tick) return;
    memory_looked_ = now;
    const ProcessMemory memory = process_memory(options_.server_pid);
    memory_max_.anonymous = std::max(memory_max_.anonymous, memory.anonymous);
    memory_max_.shared = std::max(memory_max_.shared, memory.shared);
}

bool Keyed::all_have(std::uint32_t first, std::uint32_t end) noexcept {
    for (std::uint32_t reader = first; reader < end; reader++) {
        const bool there = conn_of(reader).stage == Stage::open;
        if (there && checker_.offset(reader) < checker_.head()) return false;
    }
    return true;
}

// Until these have everything, or nothing has moved for the grace time.
void Keyed::wait_for(std::uint32_t first, std::uint32_t end) noexcept {
    const auto grace = static_cast<Nanos>(options_.grace_s * 1e9);
    Nanos moved_at = clock_now();
    std::uint64_t seen = 0;
    while (!all_have(first, end) && clock_now() - moved_at < grace && !interrupted()) {
        turn();
        const std::uint64_t sum = checker_.counts(false).delivered + checker_.counts(true).bytes;
        if (sum != seen) moved_at = clock_now();
        seen = sum;
    }
}

void Keyed::run_phase(Phase& phase) noexcept {
    checker_.clear_figures();
    late_.clear();
    const std::uint64_t before = checker_.published();
    phase.start = load_now(options_);
    next_due_ = static_cast<double>(phase.start.at);
    publish_end_ = next_due_ + keyed_.duration_s * 1e9;
    shown_at_ = phase.start.at;
    shown_ = 0;
    while (!published_all() && !interrupted() && publishers_ended_ == 0) {
        turn();
    }
    wait_for(0, fast_count());
    phase.end = load_now(options_);
    if (all_have(0, fast_count())) {
        phase.caught_up = std::max<Nanos>(phase.end.at - static_cast<Nanos>(publish_end_), 0);
    }
    phase.published = checker_.published() - before;
    phase.fast = checker_.counts(false);
    phase.slow = checker_.counts(true);
    phase.latency = checker_.latency();
    phase.late = late_;
}

void Keyed::let_slow_catch_up() noexcept {
    const Nanos began = clock_now();
    silent_ = false;
    for (std::uint32_t reader = fast_count(); reader < options_.connections; reader++) {
        fleet_.unmute(conn_of(reader));
    }
    wait_for(fast_count(), options_.connections);
    if (all_have(fast_count(), options_.connections)) slow_caught_up_ = clock_now() - began;
}

// A server that repeats the last record, or says something behind it, has done so when it answers.
void Keyed::listen_on() noexcept {
    for (std::uint32_t reader = 0; reader < options_.connections; reader++) {
        if (conn_of(reader).stage == Stage::open) fleet_.ping(conn_of(reader));
    }
    fleet_.await_pongs(listening_max);
}

int Keyed::run() noexcept {
    const std::uint32_t all = keyed_.publishers + options_.connections;
    const std::uint32_t first_slow = all - keyed_.slow;
    if (!fleet_.prepare() || !connect(0, first_slow)) {
        const std::string& why = fleet_.error();
        std::fprintf(stderr,
                     "ringcast: %s: %s\n",
                     options_.url_text.c_str(),
                     why.empty() ? "no connections" : why.c_str());
        return exit_failed;
    }
    const Nanos settled = clock_now() + settle_time;
    for (Nanos now = clock_now(); now < settled; now = clock_now()) {
        fleet_.turn(settled - now);
    }
    if (keyed_.compare) run_phase(alone_);
    if (!connect(first_slow, all)) return exit_failed;
    fleet_.begin_silence();
    silent_ = keyed_.slow > 0;
    memory_start_ = process_memory(options_.server_pid);
    run_phase(phase_);
    memory_end_ = process_memory(options_.server_pid);
    let_slow_catch_up();
    if (!interrupted()) listen_on();
    for (std::uint32_t reader = 0; reader < options_.connections && !interrupted(); reader++) {
        checker_.give_up(reader);
    }
    const int code = conclude();
    fleet_.close_all(2 * nanos_per_s);
    return code;
}

// --- What is told ---

void Keyed::show_progress(Nanos now) noexcept {
    if (now - shown_at_ < nanos_per_s) return;
    const double seconds = static_cast<double>(now - shown_at_) / 1e9;
    const std::uint64_t delivered = checker_.counts(false).delivered;
    const double rate = static_cast<double>(delivered - shown_) / seconds;
    shown_at_ = now;
    shown_ = delivered;
    if (options_.quiet) return;
    std::fprintf(stderr,
                 "  published %s  delivered to fast %s/s  conflated %s  p99 %s\n",
                 grouped(checker_.published()).c_str(),
                 grouped(static_cast<std::uint64_t>(rate)).c_str(),
                 grouped(checker_.counts(false).conflated).c_str(),
                 time_text(static_cast<double>(checker_.latency().percentile(99))).c_str());
}

bool Keyed::sound(std::uint64_t misplaced) const noexcept {
    return checker_.counts(false).sound() && checker_.counts(true).sound() && misplaced == 0 &&
           errors_ == 0 && readers_ended_ == 0 && publishers_ended_ == 0;
}

int Keyed::conclude() noexcept {
    const std::uint64_t misplaced = checker_.misplaced();
    Report report("keyed");
    report.add_inputs(options_);
    report.section("delivery");
    report_phase(report, phase_);
    if (keyed_.compare) report_comparison(report);
    if (keyed_.slow > 0) report_slow(report);
    report_errors(report, misplaced);
    add_machines(report,
                 options_,
                 {.start = phase_.start,
                  .end = phase_.end,
                  .units = phase_.fast.delivered + phase_.slow.delivered,
                  .key = "cpu_us_per_delivery",
                  .label = "per delivery"});
    if (options_.server_pid > 0) report_memory(report);
    warn_of_limits(report, phase_);
    const bool good = sound(misplaced);
    report.section("verdict");
    report.add_flag("interrupted", interrupted());
    report.add_flag("sound", good);
    const std::string& offence = checker_.first_offence();
    report.add("first_offence", offence, offence.empty() ? "" : "first offender");
    if (!report.publish(options_.json_file)) return exit_failed;
    if (good) return exit_ok;
    std::fprintf(stderr, "ringcast: check failed\n");
    return exit_check_failed;
}

void Keyed::report_phase(Report& report, const Phase& phase) noexcept {
    const double seconds = std::max(seconds_between(phase.start, phase.end), 1e-9);
    const double rate = static_cast<double>(phase.fast.delivered) / seconds;
    const double caught_up = static_cast<double>(phase.caught_up);
    report.add("seconds", seconds, "time", number_text(seconds, 3) + " s");
    report.add("published", phase.published, "published");
    report.add("published_per_s", static_cast<double>(phase.published) / seconds);
    report.add("delivered", phase.fast.delivered, "deliveries to fast ones");
    report.add("delivered_per_s", rate, "deliveries/s", grouped(static_cast<std::uint64_t>(rate)));
    report.add("mb_per_s", static_cast<double>(phase.fast.bytes) / seconds / 1e6, "MB/s");
    report.add("conflated", phase.fast.conflated, "conflated for fast ones");
    report.add("caught_up_us",
               phase.caught_up < 0 ? -1 : caught_up / 1e3,
               "all had it after",
               phase.caught_up < 0 ? "never" : time_text(caught_up));
    report.add("latency_us", phase.latency, "latency of fast ones");
    report.add("late_us", phase.late, "published late by");
}

void Keyed::report_comparison(Report& report) noexcept {
    const auto p99 = static_cast<double>(phase_.latency.percentile(99));
    const auto alone = static_cast<double>(alone_.latency.percentile(99));
    const double ratio = alone > 0 ? p99 / alone : 0;
    report.section("without_slow");
    report_phase(report, alone_);
    report.add("p99_ratio", ratio, "p99 with / without slow", number_text(ratio, 2));
}

void Keyed::report_slow(Report& report) noexcept {
    const KeyedCounts& counts = checker_.counts(true);
    report.section("slow");
    report.add("delivered_meanwhile", phase_.slow.delivered, "deliveries to slow ones");
    report.add("delivered", counts.delivered, "with those at the end");
    report.add("conflated", counts.conflated, "conflated for slow ones");
    report.add("restarts", counts.restarts, "begun anew");
    const bool all = slow_caught_up_ >= 0;
    report.add("caught_up_us",
               all ? static_cast<double>(slow_caught_up_) / 1e3 : -1,
               "had the latest after",
               all ? time_text(static_cast<double>(slow_caught_up_)) : "never");
}

void Keyed::report_errors(Report& report, std::uint64_t misplaced) noexcept {
    report.section("errors");
    for (const bool slow : {false, true}) {
        if (slow && keyed_.slow == 0) break;
        const KeyedCounts& counts = checker_.counts(slow);
        const std::string prefix = slow ? "slow_" : "";
        const std::string whose = slow ? ", slow" : "";
        report.add(prefix + "lost", counts.lost, "newest of a key lost" + whose);
        report.add(prefix + "duplicated", counts.duplicated, "duplicated" + whose);
        report.add(prefix + "reordered", counts.reordered, "reordered" + whose);
        report.add(prefix + "wrong", counts.wrong, "wrong" + whose);
    }
    report.add("misplaced", misplaced, "misplaced in the topic");
    report.add("readers_ended", readers_ended_, "ended by server");
    report.add("publishers_ended", publishers_ended_, publishers_ended_ > 0 ? "publishers" : "");
    report.add("server_errors", errors_, errors_ > 0 ? "error messages" : "");
    report.add("first_error", first_error_, first_error_.empty() ? "" : "the first");
    for (const auto& [code, count] : close_codes_) {
        report.add("close_" + std::to_string(code), count, "close " + std::to_string(code));
    }
}

void Keyed::report_memory(Report& report) noexcept {
    const auto row = [&](std::string_view key, std::string_view label, const ProcessMemory& at) {
        const std::string name(key);
        report.add("rss_anon_" + name, at.anonymous);
        report.add("rss_shmem_" + name, at.shared);
        report.add("rss_data_" + name,
                   at.data(),
                   label,
                   bytes_text(static_cast<double>(at.anonymous)) + " anonymous, " +
                       bytes_text(static_cast<double>(at.shared)) + " log");
    };
    row("start", "memory at the start", memory_start_);
    row("max", "at most", memory_max_);
    row("end", "at the end", memory_end_);
}

// What was the limit, if it was not the server.
void Keyed::warn_of_limits(Report& report, const Phase& phase) noexcept {
    const auto late = static_cast<double>(phase.late.percentile(99));
    const auto latency = static_cast<double>(phase.latency.percentile(99));
    if (late > latency / 2) {
        report.warn("updates left the generator late, by " + time_text(late) +
                    " (p99): it has its share in the latency");
    }
    if (options_.server_pid <= 0) return;
    const double seconds = std::max(seconds_between(phase.start, phase.end), 1e-9);
    const auto used = static_cast<double>(phase.end.own_cpu - phase.start.own_cpu +
                                          phase.end.server_cpu - phase.start.server_cpu);
    const auto cpus = static_cast<double>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
    if (used / 1e9 / seconds < machine_limit * cpus) return;
    report.warn("server and generator together used all CPUs: the machine was the limit");
}

}  // namespace

int bench_keyed(const BenchOptions& options) noexcept {
    return Keyed(options).run();
}

}  // namespace ringcast::tools
