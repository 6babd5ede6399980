// `ringcast bench echo`: every connection keeps `--inflight` messages on the way, and sends the
// next when one came back. Each echo is checked byte for byte and in order.

#include <algorithm>
#include <cstdio>

#include "clock.h"
#include "fleet.h"
#include "machines.h"
#include "process.h"
#include "report.h"
#include "subscription.h"
#include "verbs.h"

namespace ringcast::tools {

namespace {

constexpr Nanos patience = 5 * nanos_per_s;          // without a single echo
constexpr Nanos listening_max = 500 * nanos_per_ms;  // for what comes behind the last one

class Echo final : private Fleet::Owner {
  public:
    explicit Echo(const BenchOptions& options) noexcept;
    int run() noexcept;

  private:
    const std::string& path_of(std::uint32_t index) noexcept override;
    void on_open(Conn& conn) noexcept override;
    void on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept override;
    void on_writable(Conn& conn) noexcept override { flush(conn); }
    void on_closed(Conn& conn) noexcept override;
    void on_message(Conn& conn, const Frame& frame, Nanos now) noexcept;
    void on_echo(Conn& conn, const Frame& frame, Nanos now) noexcept;
    void send_next(Conn& conn, Nanos now) noexcept;
    void flush(Conn& conn) noexcept;
    bool ramp() noexcept;
    void loop() noexcept;
    void listen_on() noexcept;
    int conclude(const Load& start, const Load& end) noexcept;

    const BenchOptions options_;
    const std::string path_;
    Fleet fleet_;
    std::vector<std::string> unsent_;  // per connection; nearly always empty
    std::vector<std::uint64_t> sent_;  // per connection: messages so far
    std::string payload_;
    std::uint64_t total_sent_ = 0;
    std::uint64_t echoed_ = 0;
    std::uint64_t wrong_ = 0;
    std::uint32_t gone_ = 0;
    bool stopping_ = false;
    Histogram round_trips_;
};

Echo::Echo(const BenchOptions& options) noexcept
    : options_(options),
      path_(topic_path(options.url, options.echo_path, "")),
      fleet_({.connections = options.connections,
              .concurrency = options.concurrency,
              .sources = options.sources,
              .congestion = options.congestion,
              .tls = options.tls},
             options.url,
             *this),
      unsent_(options.connections),
      sent_(options.connections),
      payload_(options.size, '\0') {
    for (std::uint32_t i = 0; i < options.connections; i++) {
        fleet_.conns()[i].reader.id = i;
    }
}

const std::string& Echo::path_of(std::uint32_t index) noexcept {
    static_cast<void>(index);
    return path_;
}

void Echo::on_open(Conn& conn) noexcept {
    static_cast<void>(conn);  // the first messages go out when everybody is there
}

void Echo::send_next(Conn& conn, Nanos now) noexcept {
    if (stopping_ || (options_.messages > 0 && total_sent_ >= options_.messages)) return;
    const std::uint64_t seq = sent_[conn.reader.id]++;
    total_sent_++;
    write_payload({.topic = conn.reader.id % topics_max, .seq = seq, .sent_at = now}, payload_);
    append_frame(unsent_[conn.reader.id],
                 options_.binary ? Opcode::binary : Opcode::text,
                 as_bytes(payload_),
                 static_cast<std::uint32_t>((seq + 1) * 0x9e3779b97f4a7c15 >> 32));
}

void Echo::flush(Conn& conn) noexcept {
    std::string& unsent = unsent_[conn.reader.id];
    if (unsent.empty() || conn.stage != Stage::open) return;
    const std::ptrdiff_t sent = fleet_.write(conn, unsent);
    if (sent < 0) return fleet_.finish(conn, End::dropped);
    unsent.erase(0, static_cast<std::size_t>(sent));
}

void Echo::on_message(Conn& conn, const Frame& frame, Nanos now) noexcept {
    if (frame.opcode == Opcode::ping) {
        return append_frame(unsent_[conn.reader.id], Opcode::pong, frame.payload, 0x9e3779b9);
    }
    if (frame.opcode == Opcode::close) {
        if (conn.end == End::none) {
            conn.end = conn.stage == Stage::closing ? End::ours : End::told;
        }
        return;
    }
    if (frame.opcode == Opcode::pong) return fleet_.on_pong(conn);
    on_echo(conn, frame, now);
}

// What is no echo of the next message is wrong; but only what stands for one counts as come back,
// so that one fault is counted once.
void Echo::on_echo(Conn& conn, const Frame& frame, Nanos now) noexcept {
    Stamp stamp;
    const std::string_view text = as_text(frame.payload);
    const Finding finding = find_payload(text, options_.size, stamp);
    const std::uint64_t next = conn.reader.next_seq;
    const bool ours = finding == Finding::sound && stamp.topic == conn.reader.id % topics_max &&
                      stamp.seq < sent_[conn.reader.id];
    const bool right = ours && stamp.seq == next && text.size() == options_.size && frame.fin &&
                       frame.opcode == (options_.binary ? Opcode::binary : Opcode::text);
    if (!right) wrong_++;
    if (finding == Finding::none || next == sent_[conn.reader.id] || (ours && stamp.seq < next)) {
        return;
    }
    conn.reader.next_seq = ours ? stamp.seq + 1 : next + 1;
    echoed_++;
    if (right) round_trips_.record(now - stamp.sent_at);
    send_next(conn, now);
}

void Echo::on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept {
    while (!bytes.empty()) {
        const Parse result = conn.reader.splitter.take(
            bytes, [&](const Frame& frame) { on_message(conn, frame, now); });
        if (result == Parse::bad) return fleet_.finish(conn, End::dropped);
    }
    if (conn.end != End::none) return fleet_.finish(conn, conn.end);
    flush(conn);
}

void Echo::on_closed(Conn& conn) noexcept {
    if (conn.end != End::ours) gone_++;
}

bool Echo::ramp() noexcept {
    for (std::uint32_t i = 0; i < options_.connections; i++) {
        fleet_.enqueue(i);
    }
    const Nanos deadline = clock_now() + 60 * nanos_per_s;
    while (fleet_.open_count() + gone_ < options_.connections && !interrupted()) {
        fleet_.turn(100 * nanos_per_ms);
        if (clock_now() > deadline) return false;
    }
    return fleet_.open_count() > 0;
}

void Echo::loop() noexcept {
    Nanos now = clock_now();
    for (Conn& conn : fleet_.conns()) {
        for (std::uint32_t i = 0; i < options_.inflight; i++) {
            send_next(conn, now);
        }
        flush(conn);
    }
    const Nanos end =
        options_.messages > 0 ? never : now + static_cast<Nanos>(options_.duration_s * 1e9);
    Nanos moved_at = now;
    Nanos shown = now;
    std::uint64_t seen = 0;
    while (!interrupted() && fleet_.open_count() > 0) {
        stopping_ = now >= end;
        if (echoed_ >= total_sent_) break;
        fleet_.turn(20 * nanos_per_ms);
        now = clock_now();
        if (echoed_ != seen) moved_at = now;
        seen = echoed_;
        if (now - moved_at > patience) break;
        if (now - shown < nanos_per_s || options_.quiet) continue;
        shown = now;
        std::fprintf(stderr, "  %s round trips\n", grouped(echoed_).c_str());
    }
}

// A server that repeats the last echo, or says something behind it, has done so when it answers.
void Echo::listen_on() noexcept {
    if (interrupted()) return;
    for (Conn& conn : fleet_.conns()) {
        if (conn.stage == Stage::open && unsent_[conn.reader.id].empty()) fleet_.ping(conn);
    }
    fleet_.await_pongs(listening_max);
}

int Echo::run() noexcept {
    if (!fleet_.prepare() || !ramp()) {
        std::fprintf(stderr,
                     "ringcast: %s: %s\n",
                     options_.url_text.c_str(),
                     fleet_.error().empty() ? "not all connected" : fleet_.error().c_str());
        return exit_failed;
    }
    const Load start = load_now(options_);
    loop();
    const Load end = load_now(options_);
    listen_on();
    const int code = conclude(start, end);
    fleet_.close_all(2 * nanos_per_s);
    return code;
}

int Echo::conclude(const Load& start, const Load& end) noexcept {
    const double seconds = seconds_between(start, end);
    const auto echoed = static_cast<double>(echoed_);
    Report report("echo");
    report.add_inputs(options_);
    report.section("echo");
    report.add("seconds", seconds, "time", number_text(seconds, 3) + " s");
    report.add("round_trips", echoed_, "round trips");
    report.add("per_s", echoed / seconds, "rate", number_text(echoed / seconds, 0) + "/s");
    report.add("latency_us", round_trips_, "latency");
    report.add("missing", total_sent_ - echoed_, "missing");
    report.add("wrong", wrong_, "wrong");
    report.add("gone", std::uint64_t{gone_}, "connections lost");
    add_machines(report,
                 options_,
                 {.start = start,
                  .end = end,
                  .units = echoed_,
                  .key = "cpu_us_per_echo",
                  .label = "per round trip"});
    if (!report.publish(options_.json_file)) return exit_failed;
    const bool sound = wrong_ == 0 && gone_ == 0 && (interrupted() || echoed_ == total_sent_);
    if (sound && echoed_ > 0) return exit_ok;
    return options_.check && echoed_ > 0 ? exit_check_failed : exit_failed;
}

}  // namespace

int bench_echo(const BenchOptions& options) noexcept {
    return Echo(options).run();
}

}  // namespace ringcast::tools
