#include "fanout.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <utility>

#include "clock.h"
#include "machines.h"
#include "verbs.h"

namespace ringcast::tools {

namespace {

constexpr std::size_t reference_bytes_max = 256 << 20;  // over all topics
constexpr std::size_t unsent_max = 16 << 20;            // per publisher, then it waits
constexpr std::uint32_t bursts_per_turn = 256;
constexpr Nanos slow_tick = 50 * nanos_per_ms;
constexpr Nanos listening_max = 500 * nanos_per_ms;  // for what comes behind the last message

std::uint64_t slot_count(const BenchOptions& options) noexcept {
    const std::uint64_t window = std::max<std::uint64_t>(options.window, options.burst);
    if (options.rate <= 0) return std::bit_ceil(window);
    const std::uint64_t stride = options.size + 2048;
    const std::uint64_t fit = reference_bytes_max / options.topics / stride;
    return std::bit_floor(std::clamp<std::uint64_t>(fit, 16, 16'384));
}

Fleet::Options fleet_options(const BenchOptions& options) noexcept {
    return {.connections = options.connections + options.topics,
            .concurrency = options.concurrency,
            .ramp_per_s = options.ramp,
            .sources = options.sources,
            .congestion = options.congestion,
            .tls = options.tls,
            .apart = options.topics,
            .apart_url = options.publish_url,
            .compress = options.compress};
}

}  // namespace

Fanout::Fanout(const BenchOptions& options) noexcept
    : options_(options),
      slow_count_(static_cast<std::uint32_t>(std::uint64_t{options.connections} *
                                             options.slow_percent / 100)),
      subscription_(options),
      checker_({.topics = options.topics,
                .payload_size = options.size,
                .slots = slot_count(options),
                .payload_only = options.publish_message == "{payload}" && !options.envelope,
                .envelope = options.envelope,
                .topic_prefix = options.topic_prefix,
                .opcode = options.binary ? Opcode::binary : Opcode::text,
                .compressed = options.compress,
                .windowed = options.rate <= 0},
               *this),
      fleet_(fleet_options(options), options.url, *this),
      sources_(options.topics),
      payload_(options.size, '\0'),
      fleet_size_(options.connections + options.topics),
      away_(fleet_size_) {
    for (std::uint32_t topic = 0; topic < options.topics; topic++) {
        publish_paths_.push_back(
            topic_path(options.publish_url, options.publish_path, subscription_.topic(topic)));
    }
    // Publishers come first. Slow readers are spread evenly among the others.
    std::uint64_t slow_sum = 0;
    for (std::uint32_t i = 0; i < fleet_.conns().size(); i++) {
        Conn& conn = fleet_.conns()[i];
        conn.reader.id = i;
        conn.reader.topic = is_publisher(conn) ? i : (i - options.topics) % options.topics;
        if (is_publisher(conn)) continue;
        if (options.reconnect) {
            conn.reader.slow = true;  // it never was in
            checker_.take_out(conn.reader);
        }
        slow_sum += slow_count_;
        conn.reader.slow = conn.muted = slow_sum >= options.connections;
        if (conn.muted) slow_sum -= options.connections;
    }
}

bool Fanout::is_publisher(const Conn& conn) const noexcept {
    return conn.reader.id < options_.topics;
}

const std::string& Fanout::path_of(std::uint32_t index) noexcept {
    const Conn& conn = fleet_.conns()[index];
    const std::uint32_t topic = conn.reader.topic;
    return is_publisher(conn) ? publish_paths_[topic] : subscription_.path(topic);
}

void Fanout::on_open(Conn& conn) noexcept {
    if (is_publisher(conn)) {
        ready_count_++;
        return;
    }
    if (!options_.reconnect) checker_.join(conn.reader);
    const std::string request = subscription_.request(conn.reader.id, conn.reader.topic);
    if (!request.empty() && !fleet_.send_small(conn, request)) return;
    if (!subscription_.has_reply()) ready_count_++;
}

void Fanout::on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept {
    bool sound = true;
    if (is_publisher(conn)) {
        while (sound && !bytes.empty()) {
            const Parse result = conn.reader.splitter.take(
                bytes, [&](const Frame& frame) { on_other(conn.reader, frame); });
            sound = result != Parse::bad;
        }
    } else {
        sound = checker_.feed(conn.reader, bytes, now);
    }
    if (!sound) {
        fleet_.finish(conn, End::dropped);
    } else if (conn.end != End::none) {
        fleet_.finish(conn, conn.end);
    }
}

void Fanout::on_other(Reader& reader, const Frame& frame) noexcept {
    Conn& conn = fleet_.conns()[reader.id];
    if (frame.opcode == Opcode::ping) {
        std::string pong;
        append_frame(pong, Opcode::pong, frame.payload, 0x9e3779b9);
        if (is_publisher(conn)) {
            sources_[reader.topic].out += pong;  // behind a frame that may be half sent
            flush(reader.topic);
        } else {
            // Frames may follow in the same read: who is broken ends behind them, in on_bytes().
            const bool whole = fleet_.write(conn, pong) == static_cast<std::ptrdiff_t>(pong.size());
            if (!whole) conn.end = End::dropped;
        }
    } else if (frame.opcode == Opcode::close && conn.stage == Stage::open) {
        conn.end = End::told;  // finished by on_bytes(), when nobody looks at the reader any more
        conn.close_code = close_code(frame.payload);
        std::string answer;
        append_close(answer, 1000);
        fleet_.write(conn, answer);
    } else if (frame.opcode == Opcode::close) {
        conn.end = End::ours;
    } else if (frame.opcode == Opcode::pong) {
        fleet_.on_pong(conn);
    } else {
        on_text(conn, as_text(frame.payload));
    }
}

void Fanout::on_text(Conn& conn, std::string_view text) noexcept {
    if (text.find("\"gap\"") != text.npos) {
        on_gap(conn, text);
    } else if (text.find("\"error\"") != text.npos) {
        server_errors_++;
        if (first_error_.empty()) first_error_ = text.substr(0, 200);
    } else if (!is_publisher(conn) && subscription_.is_reply(text)) {
        std::uint64_t offset = 0;
        const bool told = options_.envelope && json_number(text, "offset", offset);
        if (options_.reconnect) {
            if (!told) return;  // and it will not be ready: from where on is it to be judged?
            checker_.join_behind(conn.reader, offset);
            on_back(conn);
        } else if (told) {
            checker_.tell_start(conn.reader, offset);
        }
        ready_count_++;
    }
}

void Fanout::on_gap(Conn& conn, std::string_view text) noexcept {
    Gap gap;
    const bool whole = json_number(text, "from", gap.from) && json_number(text, "to", gap.to) &&
                       json_number(text, "next", gap.next);
    gaps_++;
    checker_.tell_gap(conn.reader, whole ? gap : Gap{});
}

void Fanout::on_writable(Conn& conn) noexcept {
    if (is_publisher(conn)) flush(conn.reader.topic);
}

void Fanout::on_closed(Conn& conn) noexcept {
    if (is_publisher(conn) && conn.end != End::ours) publishers_gone_++;
    const bool comes_back = options_.reconnect && !is_publisher(conn);
    if (is_publisher(conn) || (conn.end == End::refused && !comes_back)) {
        if (conn.end == End::told) close_codes_[conn.close_code]++;
        return;
    }
    if (comes_back) return on_gone(conn);
    const bool slow = conn.reader.slow;
    checker_.leave(conn.reader);
    if (conn.end == End::ours) return;
    (slow ? ended_slow_ : ended_normal_)++;
    cut_off_ += checker_.next_seq(conn.reader.topic) - conn.reader.next_seq;
    if (conn.end == End::told) close_codes_[conn.close_code]++;
    if (conn.end == End::dropped) dropped_++;
}

// A subscriber that comes back lost its connection, or did not get one.
void Fanout::on_gone(Conn& conn) noexcept {
    if (!Checker::out(conn.reader)) {
        cut_off_ += checker_.next_seq(conn.reader.topic) - conn.reader.next_seq;
        ready_count_--;
    }
    checker_.take_out(conn.reader);
    if (ending_) return;
    if (conn.end == End::told) close_codes_[conn.close_code]++;
    if (conn.end == End::dropped) dropped_++;
    const bool refused = conn.end == End::refused;
    (refused ? refusals_ : reconnects_)++;
    // Who was turned away knocks again, not at once.
    const double spread_s =
        refused ? std::max(options_.back_within_s, 1.0) : options_.back_within_s;
    const auto spread = static_cast<std::uint64_t>(spread_s * 1e9);
    const Nanos due = clock_now() + static_cast<Nanos>(chance_.below(spread + 1));
    returns_.emplace(due, conn.reader.id);
    Away& away = away_[conn.reader.id];
    if (away.due == 0) away.due = due;
    away.turned_away = refused;
}

void Fanout::on_back(const Conn& conn) noexcept {
    const Away away = std::exchange(away_[conn.reader.id], {});
    if (away.due == 0) return;  // it came for the first time
    returned_.record(clock_now() - away.due);
    if (!away.turned_away) knocked_late_.record(conn.started_at - away.due);
}

void Fanout::bring_back(Nanos now) noexcept {
    for (; !returns_.empty() && returns_.top().first <= now; returns_.pop()) {
        fleet_.enqueue(returns_.top().second);
    }
    if (storm_at_ < now && storm_ended_ == 0 && all_back()) storm_ended_ = now;
}

// Everybody but the publishers loses the connection at once, without a goodbye.
void Fanout::start_storm(Nanos now) noexcept {
    storm_at_ = now;
    for (Conn& conn : fleet_.conns()) {
        if (conn.stage == Stage::open && !is_publisher(conn)) fleet_.abort(conn);
    }
}

bool Fanout::ramp() noexcept {
    const auto total = static_cast<std::uint32_t>(fleet_.conns().size());
    for (std::uint32_t i = 0; i < total; i++) {
        fleet_.enqueue(i);
    }
    const Nanos started = clock_now();
    const double paced_s = options_.ramp > 0 ? total / options_.ramp : 0;
    const Nanos deadline = started + static_cast<Nanos>((paced_s + 60) * 1e9);
    Nanos shown = started;
    while (!interrupted()) {
        const bool settled = fleet_.waiting() == 0 && fleet_.in_flight() == 0;
        const std::uint64_t gone =
            options_.reconnect ? 0 : fleet_.refused_count() + ended_normal_ + ended_slow_;
        if (settled && ready_count_ + gone >= total) break;
        fleet_.turn(returns_.empty() ? 100 * nanos_per_ms : nanos_per_ms);
        const Nanos now = clock_now();
        bring_back(now);
        if (now > deadline) {
            std::fprintf(stderr,
                         "ringcast: %u of %u are ready %s\n",
                         ready_count_,
                         total,
                         first_error_.c_str());
            return false;
        }
        if (now - shown < nanos_per_s || options_.quiet) continue;
        shown = now;
        std::fprintf(stderr, "  connecting: %u of %u\n", fleet_.open_count(), total);
    }
    return publishers_gone_ == 0 && fleet_.open_count() > options_.topics;
}

// With a window, somebody has to hold the publisher of each topic back.
bool Fanout::all_waited_for() noexcept {
    std::vector<bool> held(options_.topics);
    for (const Conn& conn : fleet_.conns()) {
        if (!is_publisher(conn) && !conn.reader.slow) held[conn.reader.topic] = true;
    }
    return std::find(held.begin(), held.end(), false) == held.end();
}

int Fanout::run() noexcept {
    if (options_.rate <= 0 && !all_waited_for()) {
        std::fprintf(stderr,
                     "ringcast: --slow-readers: with --rate max every topic needs a reader that "
                     "is not slow\n");
        return exit_usage;
    }
    memory_before_ = process_memory(options_.server_pid);
    if (!fleet_.prepare() || !ramp()) {
        const std::string& why = fleet_.error();
        std::fprintf(stderr,
                     "ringcast: %s: %s\n",
                     options_.url_text.c_str(),
                     why.empty() ? "no connections" : why.c_str());
        return exit_failed;
    }
    const Nanos settled = clock_now() + static_cast<Nanos>(options_.settle_s * 1e9);
    for (Nanos now = clock_now(); now < settled && !interrupted(); now = clock_now()) {
        fleet_.turn(settled - now);
    }
    fleet_.begin_silence();
    memory_open_ = process_memory(options_.server_pid);
    if (options_.warmup > 0) run_phase(options_.warmup, 0);
    checker_.clear_figures();
    start_ = load_now(options_, busy_);
    run_phase(options_.messages, options_.duration_s);
    end_ = load_now(options_, busy_);
    memory_end_ = process_memory(options_.server_pid);
    if (slow_count_ > 0) drain_slow();
    listen_on();
    for (Conn& conn : fleet_.conns()) {
        if (is_publisher(conn) || conn.stage != Stage::open || interrupted()) continue;
        checker_.give_up(conn.reader);
    }
    const int code = conclude();
    ending_ = true;
    fleet_.close_all(2 * nanos_per_s);
    return code;
}

// Publishes and waits until everybody has everything, or nothing has moved for the grace time.
void Fanout::run_phase(std::uint64_t messages, double duration_s) noexcept {
    const Nanos grace = static_cast<Nanos>(options_.grace_s * 1e9);
    Nanos now = clock_now();
    begin_phase(now, messages, duration_s);
    Nanos moved_at = now;
    std::uint64_t owed = checker_.owed();
    std::uint32_t ready = ready_count_;
    while (!interrupted()) {
        publish_due(now);
        if (now >= phase_storm_ && storm_at_ == never) start_storm(now);
        bring_back(now);
        if (phase_complete(now)) break;
        const Nanos wait = wait_time(now);
        const std::size_t events = fleet_.turn(wait);
        const Nanos before = std::exchange(now, clock_now());
        if (options_.spin && events > 0) busy_ += now - before;
        if (checker_.owed() != owed || ready_count_ != ready) {
            owed = checker_.owed();
            ready = ready_count_;
            moved_at = now;
        }
        const bool someone_away = options_.reconnect && !all_back();
        if ((owed > 0 || someone_away) && now - moved_at > grace) break;
        if (hopeless()) break;
        serve_slow(now);
        show_progress(now);
    }
}

void Fanout::begin_phase(Nanos now, std::uint64_t messages, double duration_s) noexcept {
    phase_messages_ = messages;
    phase_published_ = 0;
    phase_end_ = duration_s > 0 ? now + static_cast<Nanos>(duration_s * 1e9) : never;
    const bool storms = options_.storm_after_s > 0 && duration_s > 0;
    phase_storm_ = storms ? now + static_cast<Nanos>(options_.storm_after_s * 1e9) : never;
    next_due_ = static_cast<double>(now);
    progress_at_ = now;
    progress_delivered_ = checker_.counts().delivered;
}

// Everything was published, everybody has it, and is there.
bool Fanout::phase_complete(Nanos now) const noexcept {
    const bool back = !options_.reconnect || all_back();
    return all_published(now) && all_sent() && back && checker_.owed() == 0;
}

// Nobody is left to publish, or nobody to read.
bool Fanout::hopeless() const noexcept {
    return publishers_gone_ > 0 || (fleet_.open_count() <= options_.topics && !options_.reconnect);
}

bool Fanout::all_published(Nanos now) const noexcept {
    if (phase_messages_ > 0 && phase_published_ >= phase_messages_) return true;
    // An open loop publishes whatever was due before the end, however late it is.
    return options_.rate > 0 ? next_due_ >= static_cast<double>(phase_end_) : now >= phase_end_;
}

bool Fanout::all_sent() const noexcept {
    return std::all_of(
        sources_.begin(), sources_.end(), [](const Source& source) { return source.out.empty(); });
}

// How long the loop may sleep: not at all while something is owed and we spin.
Nanos Fanout::wait_time(Nanos now) const noexcept {
    if (options_.spin && checker_.owed() > 0) return 0;
    Nanos wait = slow_count_ > 0 ? slow_tick : 100 * nanos_per_ms;
    if (options_.rate > 0 && !all_published(now)) {
        wait = std::min(wait, static_cast<Nanos>(next_due_) - now);
    }
    if (!returns_.empty()) wait = std::min(wait, returns_.top().first - now);
    return std::max<Nanos>(wait, 0);
}

void Fanout::publish_due(Nanos now) noexcept {
    if (all_published(now)) return;
    if (options_.rate > 0) {
        publish_rate(now);
    } else {
        publish_windows(now);
    }
}

void Fanout::publish_windows(Nanos now) noexcept {
    for (std::uint32_t topic = 0; topic < options_.topics; topic++) {
        const std::uint64_t room = options_.window - checker_.outstanding(topic);
        std::uint64_t count = room - room % options_.burst;
        if (phase_messages_ > 0) count = std::min(count, phase_messages_ - phase_published_);
        if (count == 0) continue;
        for (std::uint64_t i = 0; i < count && unsent(topic) <= unsent_max; i++) {
            publish_one(topic, now);
        }
        flush(topic);
    }
}

void Fanout::publish_rate(Nanos now) noexcept {
    const double interval = options_.burst * 1e9 / options_.rate;
    for (std::uint32_t i = 0; i < bursts_per_turn; i++) {
        if (next_due_ > static_cast<double>(now) || all_published(now)) return;
        const std::uint32_t topic = next_topic_;
        if (unsent(topic) > unsent_max) return;
        for (std::uint32_t k = 0; k < options_.burst && !all_published(now); k++) {
            publish_one(topic, static_cast<Nanos>(next_due_));
        }
        flush(topic);
        next_due_ += interval;
        next_topic_ = (next_topic_ + 1) % options_.topics;
    }
}

void Fanout::publish_one(std::uint32_t topic, Nanos sent_at) noexcept {
    const std::uint64_t seq = checker_.next_seq(topic);
    const Opcode opcode = options_.binary ? Opcode::binary : Opcode::text;
    const auto key = static_cast<std::uint32_t>((seq + 1) * 0x9e3779b97f4a7c15 >> 32);
    write_payload({.topic = topic, .seq = seq, .sent_at = sent_at}, payload_);
    frame_.clear();
    std::string& out = sources_[topic].out;
    if (options_.publish_message == "{payload}") {
        append_frame(out, opcode, as_bytes(payload_), key);
        const bool known = !options_.envelope && !options_.compress;
        if (known) append_server_frame(frame_, opcode, as_bytes(payload_));
    } else {
        std::string text = with_replaced(options_.publish_message, "{seq}", std::to_string(seq));
        text = with_replaced(text, "{topic}", subscription_.topic(topic));
        text = with_replaced(text, "{payload}", payload_);
        append_frame(out, opcode, as_bytes(text), key);
    }
    checker_.publish(topic, sent_at, as_bytes(frame_));
    phase_published_++;
}

std::size_t Fanout::unsent(std::uint32_t topic) const noexcept {
    return sources_[topic].out.size() - sources_[topic].sent;
}

void Fanout::flush(std::uint32_t topic) noexcept {
    Source& source = sources_[topic];
    Conn& conn = fleet_.conns()[topic];
    if (conn.stage != Stage::open) return;
    const std::string_view rest = std::string_view(source.out).substr(source.sent);
    if (rest.empty()) return;
    const std::ptrdiff_t sent = fleet_.write(conn, rest);
    if (sent < 0) return fleet_.finish(conn, End::dropped);
    source.sent += static_cast<std::size_t>(sent);
    if (source.sent < source.out.size()) return;
    source.out.clear();
    source.sent = 0;
}

void Fanout::serve_slow(Nanos now) noexcept {
    if (options_.slow_rate == 0 || slow_count_ == 0 || now - slow_served_ < slow_tick) return;
    const double share = slow_served_ == 0 ? 0.05 : static_cast<double>(now - slow_served_) / 1e9;
    slow_served_ = now;
    const auto budget =
        static_cast<std::size_t>(std::max(1.0, static_cast<double>(options_.slow_rate) * share));
    for (Conn& conn : fleet_.conns()) {
        if (conn.muted && conn.stage == Stage::open) fleet_.read_muted(conn, budget);
    }
}

// Lets the slow readers catch up, so that what they missed can be told from what they were told.
void Fanout::drain_slow() noexcept {
    for (Conn& conn : fleet_.conns()) {
        if (conn.muted) fleet_.unmute(conn);
    }
    const Nanos grace = static_cast<Nanos>(options_.grace_s * 1e9);
    Nanos moved_at = clock_now();
    std::uint64_t seen = 0;
    while (!interrupted() && clock_now() - moved_at < grace) {
        fleet_.turn(10 * nanos_per_ms);
        const Counts& counts = checker_.counts();
        const std::uint64_t sum = counts.delivered + counts.told + counts.lost + ended_slow_;
        if (sum != seen) moved_at = clock_now();
        seen = sum;
        const auto behind = [&](const Conn& conn) {
            return conn.stage == Stage::open && !is_publisher(conn) &&
                   conn.reader.next_seq < checker_.next_seq(conn.reader.topic);
        };
        if (std::none_of(fleet_.conns().begin(), fleet_.conns().end(), behind)) return;
    }
}

// A server that repeats the last message, or says something behind it, has done so when it answers.
void Fanout::listen_on() noexcept {
    if (interrupted()) return;
    for (Conn& conn : fleet_.conns()) {
        if (!is_publisher(conn) && conn.stage == Stage::open) fleet_.ping(conn);
    }
    fleet_.await_pongs(listening_max);
}

void Fanout::show_progress(Nanos now) noexcept {
    if (now - progress_at_ < nanos_per_s) return;
    const double seconds = static_cast<double>(now - progress_at_) / 1e9;
    const std::uint64_t delivered = checker_.counts().delivered;
    const double rate = static_cast<double>(delivered - progress_delivered_) / seconds;
    progress_at_ = now;
    progress_delivered_ = delivered;
    if (options_.quiet) return;
    std::fprintf(stderr,
                 "  published %s  delivered %s/s  owed %s  p99 %s\n",
                 grouped(checker_.counts().published).c_str(),
                 grouped(static_cast<std::uint64_t>(rate)).c_str(),
                 grouped(checker_.owed()).c_str(),
                 time_text(static_cast<double>(checker_.latency().percentile(99))).c_str());
}

int Fanout::conclude() noexcept {
    const double seconds = static_cast<double>(end_.at - start_.at) / 1e9;
    Report report("fanout");
    report.add_inputs(options_);
    report_delivery(report, seconds);
    report_errors(report);
    if (options_.reconnect) report_returns(report);
    add_machines(report,
                 options_,
                 {.start = start_,
                  .end = end_,
                  .units = checker_.counts().delivered,
                  .key = "cpu_us_per_delivery",
                  .label = "per delivery"});
    if (options_.server_pid > 0) report_memory(report);
    const Counts& counts = checker_.counts();
    const std::uint64_t wrong = counts.lost + counts.duplicated + counts.reordered + counts.corrupt;
    const bool complete =
        options_.reconnect ? all_back() : ended_normal_ == 0 && fleet_.refused_count() == 0;
    const bool sound = wrong == 0 && complete && publishers_gone_ == 0;
    report.section("verdict");
    report.add_flag("interrupted", interrupted());
    report.add_flag("sound", sound);
    report.add("first_offence", checker_.first_offence(), wrong == 0 ? "" : "first offender");
    if (!report.publish(options_.json_file)) return exit_failed;
    if (counts.delivered == 0) {
        std::fprintf(stderr, "ringcast: nothing was delivered\n");
        return options_.check ? exit_check_failed : exit_failed;
    }
    if (sound || !options_.check) return exit_ok;
    std::fprintf(stderr, "ringcast: check failed\n");
    return exit_check_failed;
}

void Fanout::report_delivery(Report& report, double seconds) noexcept {
    const Counts& counts = checker_.counts();
    const auto rate = [&](std::uint64_t count) {
        return seconds > 0 ? static_cast<double>(count) / seconds : 0;
    };
    const std::uint32_t publishers = options_.topics - publishers_gone_;
    const std::uint32_t reader_count = fleet_.open_count() - publishers;
    report.section("delivery");
    report.add("seconds", seconds, "time", number_text(seconds, 3) + " s");
    report.add("readers", std::uint64_t{reader_count}, "readers");
    report.add("published", counts.published, "published");
    if (options_.rate > 0) {
        report.add("offered_per_s", options_.rate, "offered", number_text(options_.rate, 0) + "/s");
    }
    report.add("published_per_s",
               rate(counts.published),
               "achieved",
               number_text(rate(counts.published), 0) + "/s");
    report.add("delivered", counts.delivered, "deliveries");
    report.add("delivered_per_s",
               rate(counts.delivered),
               "deliveries/s",
               grouped(static_cast<std::uint64_t>(rate(counts.delivered))));
    report.add("mb_per_s", rate(counts.bytes) / 1e6, "MB/s");
    if (options_.compress) {
        const auto frames = static_cast<double>(counts.frame_bytes);
        const auto plain = static_cast<double>(std::max<std::uint64_t>(counts.plain_bytes, 1));
        report.add("frame_bytes", counts.frame_bytes);
        report.add("plain_bytes", counts.plain_bytes);
        report.add("saved",
                   1 - frames / plain,
                   "bytes saved",
                   number_text(100 * (1 - frames / plain), 1) + " %");
    }
    report.add("latency_us", checker_.latency(), "latency");
    report.add("handshake_us", fleet_.handshakes(), "handshake");
}

void Fanout::report_errors(Report& report) noexcept {
    const Counts& counts = checker_.counts();
    report.section("errors");
    report.add("lost", counts.lost, "lost in silence");
    report.add("told", counts.told, "missed, told");
    report.add("gaps", gaps_);
    report.add("duplicated", counts.duplicated, "duplicated");
    report.add("reordered", counts.reordered, "reordered");
    report.add("corrupt", counts.corrupt, "corrupt");
    const std::string_view refused = options_.reconnect ? "refused" : "never connected";
    report.add("refused", fleet_.refused_count(), refused);
    report.add("refusal", fleet_.error());
    report.add("readers_ended", ended_normal_, "ended by server");
    if (slow_count_ > 0) report.add("slow_ended", ended_slow_, "slow ones ended");
    report.add("publishers_ended",
               std::uint64_t{publishers_gone_},
               publishers_gone_ > 0 ? "publishers ended" : "");
    report.add("ended_without_close", dropped_);
    report.add("owed_to_ended", cut_off_, cut_off_ > 0 ? "and were owed" : "");
    report.add("server_errors", server_errors_, server_errors_ > 0 ? "error messages" : "");
    report.add("first_error", first_error_, first_error_.empty() ? "" : "the first");
    for (const auto& [code, count] : close_codes_) {
        const std::string name = "close " + std::to_string(code);
        report.add("close_" + std::to_string(code), count, name);
    }
}

void Fanout::report_returns(Report& report) noexcept {
    report.section("returns");
    report.add("reconnects", reconnects_, "lost connections");
    report.add("refusals", refusals_);
    report.add("away", std::uint64_t{fleet_size_ - ready_count_}, "not back at the end");
    report.add("returned_us", returned_, "back after");
    report.add("knocked_late_us", knocked_late_, "our share of it");
    if (storm_at_ == never) return;
    const double seconds =
        storm_ended_ > 0 ? static_cast<double>(storm_ended_ - storm_at_) / 1e9 : -1;
    report.add("storm_s",
               seconds,
               "all back after",
               storm_ended_ > 0 ? number_text(seconds, 3) + " s" : "never");
}

void Fanout::report_memory(Report& report) noexcept {
    report.add("rss_before", memory_before_.total());
    report.add("rss_open", memory_open_.total());
    report.add("rss_end",
               memory_end_.total(),
               "server memory",
               bytes_text(static_cast<double>(memory_end_.total())));
    const double grown =
        static_cast<double>(memory_open_.data()) - static_cast<double>(memory_before_.data());
    const double per_connection = grown / static_cast<double>(std::max(fleet_.open_count(), 1U));
    report.add("rss_per_connection", per_connection, "per connection", bytes_text(per_connection));
}

int bench_fanout(const BenchOptions& options) noexcept {
    return Fanout(options).run();
}

}  // namespace ringcast::tools
