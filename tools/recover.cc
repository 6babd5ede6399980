// `ringcast bench recover`: clients that lose their connections all the time and come back with
// what they have. One publisher a topic, who loses his as well, asks for an ack of everything and
// says it again until he has it. Whatever happens, each client's records must be complete, or it
// must be told what is missing.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <functional>
#include <map>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "base/histogram.h"
#include "base/random.h"
#include "checker.h"
#include "clock.h"
#include "fleet.h"
#include "ledger.h"
#include "machines.h"
#include "payload.h"
#include "process.h"
#include "report.h"
#include "subscription.h"
#include "verbs.h"

namespace ringcast::tools {

namespace {

constexpr Nanos turn_max = 2 * nanos_per_ms;
constexpr Nanos watch_interval = 100 * nanos_per_ms;
constexpr Nanos refused_spread = nanos_per_s;  // who was turned away knocks again within
constexpr std::size_t unsent_max = std::size_t{64} * 1024;  // of a publisher, in one go
constexpr std::uint64_t seed = 1;  // of what is drawn, not of when it happens

class Recover final : private Fleet::Owner {
  public:
    explicit Recover(const BenchOptions& options) noexcept;
    int run() noexcept;

  private:
    struct Source {  // a topic's publisher
        std::string out;
        std::size_t out_sent = 0;
        std::uint64_t acked = 0;  // messages that have their place, from the first on
        std::uint64_t sent = 0;   // that were given to this connection or have their place
        std::uint64_t most = 0;   // that were given to any
        bool doomed = false;      // loses its connection behind the next message
    };
    struct State {
        bool ready = false;  // subscribed; a publisher: connected
        Nanos heard_at = 0;  // or connected, or told to connect
        Nanos lost_at = 0;   // 0: it has a connection, or never had one
    };
    enum class Kill : std::uint8_t { reset, close, silence };
    static constexpr std::size_t kill_count = 3;
    using Due = std::pair<Nanos, std::uint32_t>;
    using Dues = std::priority_queue<Due, std::vector<Due>, std::greater<>>;

    const std::string& path_of(std::uint32_t index) noexcept override { return paths_[index]; }
    void on_open(Conn& conn) noexcept override;
    void on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept override;
    void on_writable(Conn& conn) noexcept override;
    void on_closed(Conn& conn) noexcept override;

    void on_frame(Conn& conn, const Frame& frame, Nanos now) noexcept;
    void on_text(Conn& conn, std::string_view text, Nanos now) noexcept;
    void on_record(Conn& conn, std::string_view text, Nanos now) noexcept;
    void on_gap(Conn& conn, std::string_view text) noexcept;
    void on_subscribed(Conn& conn, std::string_view text) noexcept;
    void on_ack(Conn& conn, std::string_view text) noexcept;
    void on_error(Conn& conn, std::string_view text) noexcept;
    void wrong(const Conn& conn, std::string_view what) noexcept {
        ledger_.wrong(conn.reader.id, what);
    }
    void be_ready(Conn& conn) noexcept;

    [[nodiscard]] bool is_publisher(const Conn& conn) const noexcept {
        return conn.reader.id < options_.topics;
    }
    void subscribe(Conn& conn) noexcept;
    void publish_due(Nanos now) noexcept;
    [[nodiscard]] Nanos due_of(std::uint64_t number) const noexcept;
    void flush(std::uint32_t topic) noexcept;
    void append_message(std::uint32_t topic, std::uint64_t seq) noexcept;

    void step(Nanos now) noexcept;
    [[nodiscard]] bool ramp() noexcept;
    void storm(Nanos end) noexcept;
    void settle() noexcept;
    void kill_due(Nanos now) noexcept;
    void kill(Conn& conn) noexcept;
    void bring_back(Nanos now) noexcept;
    void watch(Nanos now) noexcept;
    [[nodiscard]] bool complete() const noexcept;
    void show_progress(Nanos now) noexcept;
    int conclude(const Load& start, const Load& end) noexcept;
    void report_errors(Report& report) noexcept;

    const BenchOptions options_;
    const Subscription names_;
    Ledger ledger_;
    Fleet fleet_;
    std::vector<std::string> paths_;
    std::vector<Source> sources_;
    std::vector<State> states_;          // by connection
    std::vector<Ledger::Place> places_;  // by connection; those of publishers are not used
    std::string payload_;
    Random chance_{seed};
    Dues kills_;
    Dues returns_;
    std::uint32_t ready_count_ = 0;
    bool ending_ = false;   // nobody comes back any more
    bool killing_ = false;  // it is us who end it
    Nanos started_at_ = 0;  // when the first message was due
    Nanos publish_end_ = 0;
    std::uint64_t produced_ = 0;
    Nanos watched_at_ = 0;
    Nanos shown_at_ = 0;
    std::uint64_t shown_delivered_ = 0;

    std::array<std::uint64_t, kill_count> killed_{};
    std::uint64_t losses_ = 0;   // connections, for whatever reason
    std::uint64_t silent_ = 0;   // of these, given up since nothing came
    std::uint64_t refused_ = 0;  // attempts
    std::uint64_t resent_ = 0;
    std::uint64_t errors_ = 0;
    std::string first_error_;
    std::map<std::uint16_t, std::uint64_t> close_codes_;
    Histogram away_;     // from the loss to `subscribed`
    Histogram latency_;  // from when a message was due until it came, however often it had to
};

// An epoch as the server writes it; 0 is none.
std::uint64_t epoch_of(std::string_view text) noexcept {
    std::string_view word;
    std::uint64_t epoch = 0;
    if (!json_word(text, "epoch", word)) return 0;
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, epoch, 16);
    return error == std::errc{} && stop == end ? epoch : 0;
}

// The id of a message of ours: its number.
bool read_seq(std::string_view text, std::uint64_t& seq) noexcept {
    std::string_view id;
    if (!json_word(text, "id", id)) return false;
    const char* end = id.data() + id.size();
    const auto [stop, error] = std::from_chars(id.data(), end, seq);
    return error == std::errc{} && stop == end;
}

Recover::Recover(const BenchOptions& options) noexcept
    : options_(options),
      names_(options),
      ledger_(options.topics),
      fleet_({.connections = options.connections + options.topics,
              .concurrency = options.concurrency,
              .sources = options.sources,
              .congestion = options.congestion,
              .tls = options.tls},
             options.url,
             *this),
      sources_(options.topics),
      states_(fleet_.conns().size()),
      places_(fleet_.conns().size()),
      payload_(options.size, '\0') {
    // Names that no earlier run had: the server would know their ids.
    const std::string run = std::to_string(static_cast<std::uint64_t>(clock_now()));
    for (std::uint32_t i = 0; i < fleet_.conns().size(); i++) {
        Conn& conn = fleet_.conns()[i];
        conn.reader.id = i;
        conn.reader.topic = is_publisher(conn) ? i : (i - options.topics) % options.topics;
        places_[i] = {.topic = conn.reader.topic, .id = i};
        const std::string path = "/ws?client_id=" + run + "-" + std::to_string(i);
        paths_.push_back(topic_path(options.url, path, ""));
    }
}

// --- What comes ---

void Recover::on_open(Conn& conn) noexcept {
    states_[conn.reader.id].heard_at = clock_now();
    if (!is_publisher(conn)) return subscribe(conn);
    Source& source = sources_[conn.reader.topic];
    source.out.clear();
    source.out_sent = 0;
    source.sent = source.acked;  // what has no answer is said again
    be_ready(conn);
    flush(conn.reader.topic);
}

void Recover::subscribe(Conn& conn) noexcept {
    const Ledger::Place& place = places_[conn.reader.id];
    std::string text =
        R"({"type":"subscribe","id":"s","topic":")" + names_.topic(conn.reader.topic) + "\"";
    if (place.next != 0) {
        char position[80];
        std::snprintf(position,
                      sizeof position,
                      R"(,"payload":{"offset":%llu,"epoch":"%016llx"})",
                      static_cast<unsigned long long>(place.next - 1),
                      static_cast<unsigned long long>(ledger_.epoch(conn.reader.topic)));
        text += position;
    }
    std::string frame;
    append_frame(frame, Opcode::text, as_bytes(text + "}"), 0x2545f491);
    fleet_.send_small(conn, frame);
}

void Recover::on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept {
    states_[conn.reader.id].heard_at = now;
    while (!bytes.empty()) {
        const Parse result = conn.reader.splitter.take(
            bytes, [&](const Frame& frame) { on_frame(conn, frame, now); });
        if (result != Parse::bad) continue;
        wrong(conn, "no frame");
        return fleet_.finish(conn, End::dropped);
    }
    if (conn.end != End::none) fleet_.finish(conn, conn.end);
}

void Recover::on_frame(Conn& conn, const Frame& frame, Nanos now) noexcept {
    if (frame.opcode == Opcode::text && frame.fin) {
        on_text(conn, as_text(frame.payload), now);
    } else if (frame.opcode == Opcode::ping) {
        std::string pong;
        append_frame(pong, Opcode::pong, frame.payload, 0x9e3779b9);
        // Not behind a frame that is half sent: then there is life enough.
        const bool between = !is_publisher(conn) || sources_[conn.reader.topic].out.empty();
        if (between && fleet_.write(conn, pong) != static_cast<std::ptrdiff_t>(pong.size())) {
            conn.end = End::dropped;  // finished by on_bytes()
        }
    } else if (frame.opcode == Opcode::close) {
        conn.end = End::told;
        close_codes_[close_code(frame.payload)]++;
    } else if (frame.opcode != Opcode::pong) {
        wrong(conn, "no text");
    }
}

void Recover::on_text(Conn& conn, std::string_view text, Nanos now) noexcept {
    std::string_view type;
    if (!json_word(text, "type", type)) return wrong(conn, "no envelope");
    if (type == "data_update") return on_record(conn, text, now);
    if (type == "subscribed") return on_subscribed(conn, text);
    if (type == "gap") return on_gap(conn, text);
    if (type == "ack") return on_ack(conn, text);
    if (type == "error") return on_error(conn, text);
    if (type != "welcome") wrong(conn, "no such type");
}

void Recover::on_record(Conn& conn, std::string_view text, Nanos now) noexcept {
    std::string_view topic;
    std::uint64_t offset = 0;
    std::uint64_t seq = 0;
    Stamp stamp;
    const bool sound = !is_publisher(conn) && json_word(text, "topic", topic) &&
                       topic == names_.topic(conn.reader.topic) &&
                       json_number(text, "offset", offset) && read_seq(text, seq) &&
                       find_payload(text, options_.size, stamp) == Finding::sound &&
                       stamp.topic == conn.reader.topic && stamp.seq == seq;
    if (!sound) return wrong(conn, "a corrupt record");
    ledger_.record(places_[conn.reader.id], offset, seq);
    latency_.record(now - stamp.sent_at);
}

void Recover::on_gap(Conn& conn, std::string_view text) noexcept {
    Ledger::Gap gap;
    const bool whole = !is_publisher(conn) && json_number(text, "from", gap.from) &&
                       json_number(text, "to", gap.to) && json_number(text, "next", gap.next);
    if (!whole) return wrong(conn, "a wrong gap");
    ledger_.gap(places_[conn.reader.id], gap);
}

void Recover::on_subscribed(Conn& conn, std::string_view text) noexcept {
    Ledger::Told told{.epoch = epoch_of(text), .recovered = json_true(text, "recovered")};
    if (is_publisher(conn) || !json_number(text, "offset", told.offset)) {
        return wrong(conn, "a wrong `subscribed`");
    }
    ledger_.subscribed(places_[conn.reader.id], told);
    be_ready(conn);
}

void Recover::be_ready(Conn& conn) noexcept {
    State& state = states_[conn.reader.id];
    if (state.ready) return wrong(conn, "subscribed twice");
    state.ready = true;
    ready_count_++;
    if (state.lost_at == 0) return;
    if (!is_publisher(conn)) away_.record(clock_now() - state.lost_at);
    state.lost_at = 0;
}

void Recover::on_ack(Conn& conn, std::string_view text) noexcept {
    Ledger::Told place{.epoch = epoch_of(text)};
    std::uint64_t seq = 0;
    if (!is_publisher(conn) || !read_seq(text, seq) || !json_number(text, "offset", place.offset)) {
        return wrong(conn, "a wrong ack");
    }
    Source& source = sources_[conn.reader.topic];
    ledger_.acknowledged(conn.reader.topic, seq, place);
    // Behind one that was refused nothing counts: it is all said again.
    if (seq == source.acked && seq < source.sent) source.acked++;
}

// Too many, too fast, no room: whatever it is, it may be otherwise on the next connection.
void Recover::on_error(Conn& conn, std::string_view text) noexcept {
    errors_++;
    if (first_error_.empty()) first_error_ = text.substr(0, 200);
    conn.end = End::dropped;  // finished by on_bytes()
}

void Recover::on_writable(Conn& conn) noexcept {
    if (is_publisher(conn)) flush(conn.reader.topic);
}

void Recover::on_closed(Conn& conn) noexcept {
    State& state = states_[conn.reader.id];
    if (state.ready) ready_count_--;
    state.ready = false;
    if (ending_) return;
    const Nanos now = clock_now();
    const bool refused = conn.end == End::refused && !killing_;
    (refused ? refused_ : losses_)++;
    if (state.lost_at == 0) state.lost_at = now;
    const auto spread = refused ? refused_spread : static_cast<Nanos>(options_.back_within_s * 1e9);
    const std::uint64_t wait = chance_.below(static_cast<std::uint64_t>(spread) + 1);
    returns_.emplace(now + static_cast<Nanos>(wait), conn.reader.id);
}

// --- What is done ---

void Recover::publish_due(Nanos now) noexcept {
    for (Nanos due = due_of(produced_); due <= now && due < publish_end_; due = due_of(produced_)) {
        const auto topic = static_cast<std::uint32_t>(produced_++ % options_.topics);
        ledger_.make(topic);
        flush(topic);
        // Now, when most likely the message has arrived and its ack has not.
        if (std::exchange(sources_[topic].doomed, false)) kill(fleet_.conns()[topic]);
    }
}

Nanos Recover::due_of(std::uint64_t number) const noexcept {
    return started_at_ + static_cast<Nanos>(static_cast<double>(number) * 1e9 / options_.rate);
}

void Recover::append_message(std::uint32_t topic, std::uint64_t seq) noexcept {
    write_payload({.topic = topic, .seq = seq, .sent_at = due_of(seq * options_.topics + topic)},
                  payload_);
    const std::string text = R"({"type":"publish","id":")" + std::to_string(seq) +
                             R"(","topic":")" + names_.topic(topic) +
                             R"(","ack_required":true,"payload":")" + payload_ + R"("})";
    append_frame(sources_[topic].out,
                 Opcode::text,
                 as_bytes(text),
                 static_cast<std::uint32_t>((seq + 1) * 0x9e3779b97f4a7c15 >> 32));
}

void Recover::flush(std::uint32_t topic) noexcept {
    Source& source = sources_[topic];
    Conn& conn = fleet_.conns()[topic];
    while (conn.stage == Stage::open) {
        for (; source.sent < ledger_.made(topic) && source.out.size() < unsent_max; source.sent++) {
            append_message(topic, source.sent);
            if (source.sent < source.most) resent_++;
        }
        source.most = std::max(source.most, source.sent);
        if (source.out.empty()) return;
        const std::string_view rest = std::string_view(source.out).substr(source.out_sent);
        const std::ptrdiff_t sent = fleet_.write(conn, rest);
        if (sent < 0) return fleet_.finish(conn, End::dropped);
        source.out_sent += static_cast<std::size_t>(sent);
        if (source.out_sent < source.out.size()) return;
        source.out.clear();
        source.out_sent = 0;
    }
}

void Recover::kill_due(Nanos now) noexcept {
    // Evenly from none to twice the mean, so that nobody's kills fall into step.
    const auto span = static_cast<std::uint64_t>(2e9 / options_.kills);
    while (!kills_.empty() && kills_.top().first <= now) {
        const auto [due, id] = kills_.top();
        kills_.pop();
        kills_.emplace(due + static_cast<Nanos>(chance_.below(span) + 1), id);
        if (id < options_.topics) {
            sources_[id].doomed = true;
        } else {
            kill(fleet_.conns()[id]);
        }
    }
}

// Wherever it is: connecting, in the handshake, about to subscribe, catching up.
void Recover::kill(Conn& conn) noexcept {
    if (conn.fd < 0) return;  // it is away already
    const std::uint64_t drawn = chance_.below(10);
    const Kill how = drawn < 5 ? Kill::reset : drawn < 8 ? Kill::close : Kill::silence;
    killed_[static_cast<std::size_t>(how)]++;
    killing_ = true;
    switch (how) {
        case Kill::reset:
            fleet_.abort(conn);
            break;
        case Kill::close:
            fleet_.finish(conn, End::ours);
            break;
        case Kill::silence:
            fleet_.abandon(conn);
            break;
    }
    killing_ = false;
}

void Recover::bring_back(Nanos now) noexcept {
    for (; !returns_.empty() && returns_.top().first <= now; returns_.pop()) {
        const std::uint32_t id = returns_.top().second;
        states_[id].heard_at = now;
        fleet_.enqueue(id);
    }
}

// A network that swallows everything is noticed by that nothing comes, where something must.
void Recover::watch(Nanos now) noexcept {
    if (now - watched_at_ < watch_interval) return;
    watched_at_ = now;
    const auto patience = static_cast<Nanos>(options_.silence_s * 1e9);
    const bool publishing = started_at_ != 0 && now < publish_end_;
    for (Conn& conn : fleet_.conns()) {
        const State& state = states_[conn.reader.id];
        if (conn.fd < 0 || now - state.heard_at < patience) continue;
        const Source& source = sources_[conn.reader.topic];
        const bool waits = is_publisher(conn)
                               ? source.acked < source.sent
                               : publishing || ledger_.owed(places_[conn.reader.id]) > 0;
        if (state.ready && !waits) continue;
        silent_++;
        killing_ = true;
        fleet_.abandon(conn);
        killing_ = false;
    }
}

void Recover::step(Nanos now) noexcept {
    if (started_at_ != 0) publish_due(now);
    bring_back(now);
    watch(now);
    fleet_.turn(turn_max);
}

bool Recover::ramp() noexcept {
    const auto total = static_cast<std::uint32_t>(fleet_.conns().size());
    const Nanos began = clock_now();
    for (std::uint32_t i = 0; i < total; i++) {
        states_[i].heard_at = began;
        fleet_.enqueue(i);
    }
    const Nanos deadline = began + 60 * nanos_per_s;
    while (ready_count_ < total && !interrupted()) {
        const Nanos now = clock_now();
        // Who waits for his turn is not silent.
        for (State& state : states_) {
            if (!state.ready && fleet_.waiting() > 0) state.heard_at = now;
        }
        step(now);
        if (now < deadline) continue;
        std::fprintf(
            stderr, "ringcast: %u of %u are ready %s\n", ready_count_, total, first_error_.c_str());
        return false;
    }
    return !interrupted();
}

// Everybody is there: from now on they are published to, and killed.
void Recover::storm(Nanos end) noexcept {
    started_at_ = clock_now();
    publish_end_ = end;
    shown_at_ = started_at_;
    if (options_.kills > 0) {
        const auto span = static_cast<std::uint64_t>(2e9 / options_.kills);
        for (const Conn& conn : fleet_.conns()) {
            kills_.emplace(started_at_ + static_cast<Nanos>(chance_.below(span)), conn.reader.id);
        }
    }
    for (Nanos now = started_at_; now < end && !interrupted(); now = clock_now()) {
        kill_due(now);
        step(now);
        show_progress(now);
    }
}

// No more losses but those that are not ours: until all is complete, or nothing moves any more.
void Recover::settle() noexcept {
    const auto grace = static_cast<Nanos>(options_.grace_s * 1e9);
    Nanos moved_at = clock_now();
    std::uint64_t seen = 0;
    for (Nanos now = moved_at; now - moved_at < grace && !interrupted(); now = clock_now()) {
        step(now);
        if (complete()) return;
        const LedgerCounts& counts = ledger_.counts();
        std::uint64_t sum = counts.delivered + counts.told + ready_count_;
        for (const Source& source : sources_) {
            sum += source.acked;
        }
        if (sum != seen) moved_at = now;
        seen = sum;
    }
}

bool Recover::complete() const noexcept {
    if (ready_count_ < states_.size()) return false;
    for (std::uint32_t topic = 0; topic < options_.topics; topic++) {
        if (sources_[topic].acked < ledger_.made(topic)) return false;
    }
    return std::all_of(places_.begin() + options_.topics, places_.end(), [&](const auto& place) {
        return ledger_.owed(place) == 0;
    });
}

int Recover::run() noexcept {
    if (!fleet_.prepare() || !ramp()) {
        const std::string& why = fleet_.error();
        std::fprintf(stderr,
                     "ringcast: %s: %s\n",
                     options_.url_text.c_str(),
                     why.empty() ? "no connections" : why.c_str());
        return exit_failed;
    }
    const Load start = load_now(options_);
    storm(start.at + static_cast<Nanos>(options_.duration_s * 1e9));
    const Load end = load_now(options_);
    settle();
    const int code = conclude(start, end);
    ending_ = true;
    fleet_.close_all(2 * nanos_per_s);
    return code;
}

// --- What is told ---

void Recover::show_progress(Nanos now) noexcept {
    if (now - shown_at_ < nanos_per_s || options_.quiet) return;
    const LedgerCounts& counts = ledger_.counts();
    const double seconds = static_cast<double>(now - shown_at_) / 1e9;
    const double rate = static_cast<double>(counts.delivered - shown_delivered_) / seconds;
    shown_at_ = now;
    shown_delivered_ = counts.delivered;
    std::fprintf(stderr,
                 "  published %s  delivered %s/s  there %u of %zu  lost connections %s  "
                 "recovered %s  gaps %s  lost %s\n",
                 grouped(produced_).c_str(),
                 grouped(static_cast<std::uint64_t>(rate)).c_str(),
                 ready_count_,
                 states_.size(),
                 grouped(losses_).c_str(),
                 grouped(counts.recovered).c_str(),
                 grouped(counts.gaps).c_str(),
                 grouped(counts.lost).c_str());
}

int Recover::conclude(const Load& start, const Load& end) noexcept {
    const double seconds = seconds_between(start, end);
    for (std::uint32_t id = options_.topics; id < places_.size(); id++) {
        ledger_.give_up(places_[id]);
    }
    std::uint64_t acked = 0;
    for (const Source& source : sources_) {
        acked += source.acked;
    }
    const LedgerCounts& counts = ledger_.counts();
    Report report("recover");
    report.add_inputs(options_);
    report.section("connections");
    report.add("seconds", seconds, "time", number_text(seconds, 3) + " s");
    report.add("lost_connections", losses_, "lost connections");
    report.add("per_s", static_cast<double>(losses_) / seconds, "a second");
    report.add("resets", killed_[0], "by a reset");
    report.add("closes", killed_[1], "by a close");
    report.add("silences", killed_[2], "by silence");
    report.add("given_up", silent_, "since nothing came");
    report.add("refused", refused_, "attempts refused");
    report.add("away", std::uint64_t{states_.size() - ready_count_}, "not back at the end");
    report.add("away_us", away_, "time without");
    report.section("publishing");
    report.add("published", produced_, "published");
    report.add("acked", acked, "acknowledged");
    report.add("resent", resent_, "said again");
    report.section("delivery");
    report.add("delivered", counts.delivered, "deliveries");
    report.add("recovered", counts.recovered, "recoveries");
    report.add("made_up", counts.made_up, "records made up for");
    report.add("gaps", counts.gaps, "gaps");
    report.add("told", counts.told, "missed, told");
    report.add("latency_us", latency_, "latency");
    report_errors(report);
    add_machines(report,
                 options_,
                 {.start = start,
                  .end = end,
                  .units = losses_,
                  .key = "cpu_us_per_loss",
                  .label = "per lost connection"});
    const bool sound = ledger_.sound() && acked == produced_ && ready_count_ == states_.size();
    report.section("verdict");
    report.add_flag("interrupted", interrupted());
    report.add_flag("sound", sound);
    report.add("first_offence",
               ledger_.first_offence(),
               ledger_.first_offence().empty() ? "" : "first offender");
    if (!report.publish(options_.json_file)) return exit_failed;
    if (!sound) std::fprintf(stderr, "ringcast: check failed\n");
    return sound ? exit_ok : exit_failed;
}

void Recover::report_errors(Report& report) noexcept {
    const LedgerCounts& counts = ledger_.counts();
    report.section("errors");
    report.add("lost", counts.lost, "lost in silence");
    report.add("duplicated", counts.duplicated, "duplicated");
    report.add("published_twice", counts.twice, "published twice");
    report.add("wrong", counts.wrong, "wrong");
    report.add("server_errors", errors_, errors_ > 0 ? "error messages" : "");
    report.add("first_error", first_error_, first_error_.empty() ? "" : "the first");
    report.add("refusal", fleet_.error(), fleet_.error().empty() ? "" : "first refusal");
    for (const auto& [code, count] : close_codes_) {
        const std::string name = "close " + std::to_string(code);
        report.add("close_" + std::to_string(code), count, name);
    }
}

}  // namespace

int bench_recover(const BenchOptions& options) noexcept {
    return Recover(options).run();
}

}  // namespace ringcast::tools
