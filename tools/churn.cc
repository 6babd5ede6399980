// `ringcast bench connect`: `--connections` lives in all, `--concurrency` at a time.

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

constexpr Nanos patience = 10 * nanos_per_s;  // without a single life ending

class Churn final : private Fleet::Owner {
  public:
    explicit Churn(const BenchOptions& options) noexcept;
    int run() noexcept;

  private:
    const std::string& path_of(std::uint32_t index) noexcept override;
    void on_open(Conn& conn) noexcept override;
    void on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept override;
    void on_writable(Conn&) noexcept override {}
    void on_closed(Conn& conn) noexcept override;
    void say_goodbye(Conn& conn) noexcept;
    void begin_life(std::uint32_t index) noexcept;
    void loop() noexcept;
    int conclude(const Load& start, const Load& end) noexcept;

    const BenchOptions options_;
    Subscription subscription_;
    Fleet fleet_;
    std::string goodbye_;
    std::uint32_t begun_ = 0;
    std::uint32_t ended_ = 0;
    std::uint32_t clean_ = 0;  // the server answered the close frame in kind, or we reset it
    Histogram lives_;          // from connect() to the end of the closing handshake
};

Churn::Churn(const BenchOptions& options) noexcept
    : options_(options),
      subscription_(options),
      fleet_({.connections = std::min(options.concurrency, options.connections),
              .concurrency = options.concurrency,
              .sources = options.sources,
              .congestion = options.congestion,
              .tls = options.tls},
             options.url,
             *this) {
    append_close(goodbye_, 1000);
    for (std::uint32_t i = 0; i < fleet_.conns().size(); i++) {
        fleet_.conns()[i].reader.id = i;
        fleet_.conns()[i].reader.topic = i % options.topics;
    }
}

const std::string& Churn::path_of(std::uint32_t index) noexcept {
    return subscription_.path(fleet_.conns()[index].reader.topic);
}

void Churn::begin_life(std::uint32_t index) noexcept {
    if (begun_ == options_.connections) return;
    begun_++;
    fleet_.enqueue(index);
}

void Churn::on_open(Conn& conn) noexcept {
    const std::string request = subscription_.request(conn.reader.id, conn.reader.topic);
    if (!request.empty() && !fleet_.send_small(conn, request)) return;
    if (!subscription_.has_reply()) say_goodbye(conn);
}

void Churn::say_goodbye(Conn& conn) noexcept {
    if (options_.abort) {
        clean_++;
        return fleet_.abort(conn);
    }
    conn.stage = Stage::closing;
    fleet_.send_small(conn, goodbye_);
}

void Churn::on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept {
    static_cast<void>(now);
    std::uint16_t code = 0;
    bool subscribed = false;
    while (!bytes.empty()) {
        const Parse result = conn.reader.splitter.take(bytes, [&](const Frame& frame) {
            if (frame.opcode == Opcode::close && code == 0) code = close_code(frame.payload);
            subscribed = subscribed || subscription_.is_reply(as_text(frame.payload));
        });
        if (result == Parse::bad) return fleet_.finish(conn, End::dropped);
    }
    const bool ours = conn.stage == Stage::closing && code == 1000;  // as we said: RFC 6455, 5.5.1
    if (code != 0 && conn.end == End::none) conn.end = ours ? End::ours : End::told;
    if (subscribed && conn.stage == Stage::open) say_goodbye(conn);
}

// After its close frame the server hangs up first (RFC 6455, 7.1.1), which ends the life here.
void Churn::on_closed(Conn& conn) noexcept {
    ended_++;
    if (conn.end == End::ours) {
        lives_.record(clock_now() - conn.started_at);
        if (!options_.abort) clean_++;
    }
    begin_life(conn.reader.id);
}

void Churn::loop() noexcept {
    Nanos moved_at = clock_now();
    Nanos shown = moved_at;
    std::uint32_t seen = 0;
    while (ended_ < options_.connections && !interrupted()) {
        fleet_.turn(100 * nanos_per_ms);
        const Nanos now = clock_now();
        if (ended_ != seen) moved_at = now;
        seen = ended_;
        if (now - moved_at > patience) break;
        if (now - shown < nanos_per_s || options_.quiet) continue;
        shown = now;
        std::fprintf(stderr, "  %u of %u connections\n", ended_, options_.connections);
    }
}

int Churn::run() noexcept {
    if (!fleet_.prepare()) {
        std::fprintf(stderr, "ringcast: %s\n", fleet_.error().c_str());
        return exit_failed;
    }
    const Load start = load_now(options_);
    for (std::uint32_t i = 0; i < fleet_.conns().size(); i++) {
        begin_life(i);
    }
    loop();
    return conclude(start, load_now(options_));
}

int Churn::conclude(const Load& start, const Load& end) noexcept {
    const double seconds = seconds_between(start, end);
    Report report("connect");
    report.add_inputs(options_);
    report.section("connections");
    report.add("seconds", seconds, "time", number_text(seconds, 3) + " s");
    report.add("ended", std::uint64_t{ended_}, "connections");
    report.add("clean", std::uint64_t{clean_}, "ended cleanly");
    report.add("refused", fleet_.refused_count(), "never connected");
    report.add("refusal", fleet_.error(), fleet_.error().empty() ? "" : "the first");
    report.add("per_s", ended_ / seconds, "rate", number_text(ended_ / seconds, 0) + "/s");
    report.add("handshake_us", fleet_.handshakes(), "handshake");
    report.add("life_us", lives_, "whole life");
    add_machines(report,
                 options_,
                 {.start = start,
                  .end = end,
                  .units = ended_,
                  .key = "cpu_us_per_connection",
                  .label = "per connection"});
    if (!report.publish(options_.json_file)) return exit_failed;
    return clean_ == options_.connections || interrupted() ? exit_ok : exit_failed;
}

}  // namespace

int bench_connect(const BenchOptions& options) noexcept {
    return Churn(options).run();
}

}  // namespace ringcast::tools
