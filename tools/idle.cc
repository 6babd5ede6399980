// `ringcast bench idle`: what a subscriber costs the server while nothing is published: memory over
// the empty server, and CPU while they are held. Pings are answered.

#include <algorithm>
#include <cstdio>

#include "clock.h"
#include "fleet.h"
#include "process.h"
#include "report.h"
#include "subscription.h"
#include "verbs.h"

namespace ringcast::tools {

namespace {

class Idle final : private Fleet::Owner {
  public:
    explicit Idle(const BenchOptions& options) noexcept;
    int run() noexcept;

  private:
    const std::string& path_of(std::uint32_t index) noexcept override;
    void on_open(Conn& conn) noexcept override;
    void on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept override;
    void on_writable(Conn&) noexcept override {}
    void on_closed(Conn& conn) noexcept override;
    bool ramp() noexcept;
    int conclude(const ProcessMemory& before, const ProcessMemory& after, double cpu_s) noexcept;

    const BenchOptions options_;
    Subscription subscription_;
    Fleet fleet_;
    std::uint32_t ready_ = 0;
    std::uint32_t gone_ = 0;
    std::uint64_t pings_ = 0;
};

Idle::Idle(const BenchOptions& options) noexcept
    : options_(options),
      subscription_(options),
      fleet_({.connections = options.connections,
              .concurrency = options.concurrency,
              .ramp_per_s = options.ramp,
              .sources = options.sources,
              .congestion = options.congestion,
              .tls = options.tls},
             options.url,
             *this) {
    for (std::uint32_t i = 0; i < options.connections; i++) {
        fleet_.conns()[i].reader.id = i;
        fleet_.conns()[i].reader.topic = i % options.topics;
    }
}

const std::string& Idle::path_of(std::uint32_t index) noexcept {
    return subscription_.path(fleet_.conns()[index].reader.topic);
}

void Idle::on_open(Conn& conn) noexcept {
    const std::string request = subscription_.request(conn.reader.id, conn.reader.topic);
    if (!request.empty() && !fleet_.send_small(conn, request)) return;
    if (!subscription_.has_reply()) ready_++;
}

void Idle::on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept {
    static_cast<void>(now);
    std::string pong;
    bool told = false;
    while (!bytes.empty()) {
        const Parse result = conn.reader.splitter.take(bytes, [&](const Frame& frame) {
            if (frame.opcode == Opcode::ping) {
                pings_++;
                append_frame(pong, Opcode::pong, frame.payload, 0x9e3779b9);
            }
            told = told || frame.opcode == Opcode::close;
            if (subscription_.is_reply(as_text(frame.payload))) ready_++;
        });
        if (result == Parse::bad) return fleet_.finish(conn, End::dropped);
    }
    if (!pong.empty() && !fleet_.send_small(conn, pong)) return;
    if (told) fleet_.finish(conn, conn.stage == Stage::closing ? End::ours : End::told);
}

void Idle::on_closed(Conn& conn) noexcept {
    if (conn.end != End::ours) gone_++;
}

bool Idle::ramp() noexcept {
    for (std::uint32_t i = 0; i < options_.connections; i++) {
        fleet_.enqueue(i);
    }
    const double paced_s = options_.ramp > 0 ? options_.connections / options_.ramp : 0;
    const Nanos deadline = clock_now() + static_cast<Nanos>((paced_s + 60) * 1e9);
    while (ready_ + gone_ < options_.connections && !interrupted()) {
        fleet_.turn(100 * nanos_per_ms);
        if (clock_now() > deadline) return false;
    }
    return fleet_.open_count() > 0;
}

int Idle::run() noexcept {
    const ProcessMemory before = process_memory(options_.server_pid);
    if (!fleet_.prepare() || !ramp()) {
        std::fprintf(stderr,
                     "ringcast: %s: %s\n",
                     options_.url_text.c_str(),
                     fleet_.error().empty() ? "not all got ready" : fleet_.error().c_str());
        return exit_failed;
    }
    const Nanos cpu_before = process_cpu(options_.server_pid);
    const Nanos deadline = clock_now() + static_cast<Nanos>(options_.hold_s * 1e9);
    Nanos shown = clock_now();
    for (Nanos now = shown; now < deadline && !interrupted(); now = clock_now()) {
        fleet_.turn(std::min(deadline - now, 100 * nanos_per_ms));
        if (now - shown < nanos_per_s || options_.quiet) continue;
        shown = now;
        std::fprintf(stderr, "  holding %u connections\n", fleet_.open_count());
    }
    const ProcessMemory after = process_memory(options_.server_pid);
    const Nanos cpu = process_cpu(options_.server_pid) - cpu_before;
    const int code = conclude(before, after, static_cast<double>(cpu) / 1e9);
    fleet_.close_all(5 * nanos_per_s);
    return code;
}

int Idle::conclude(const ProcessMemory& before, const ProcessMemory& after, double cpu_s) noexcept {
    Report report("idle");
    report.add_inputs(options_);
    report.section("connections");
    report.add("open", std::uint64_t{fleet_.open_count()}, "connections");
    report.add("gone", std::uint64_t{gone_}, "lost");
    report.add("refused", fleet_.refused_count(), "never connected");
    report.add("pings", pings_, "pings answered");
    report.add("handshake_us", fleet_.handshakes(), "handshake");
    if (options_.server_pid > 0) {
        const double grown = static_cast<double>(after.data()) - static_cast<double>(before.data());
        const double each = grown / std::max(fleet_.open_count(), 1U);
        const double hold = std::max(options_.hold_s, 1e-3);
        report.section("server");
        report.add("rss_before",
                   before.total(),
                   "memory before",
                   bytes_text(static_cast<double>(before.total())));
        report.add("rss_after",
                   after.total(),
                   "memory after",
                   bytes_text(static_cast<double>(after.total())));
        report.add("rss_per_connection", each, "per connection", number_text(each, 0) + " B");
        report.add(
            "cpu_s",
            cpu_s,
            "CPU while held",
            number_text(cpu_s, 3) + " s, " + number_text(100 * cpu_s / hold, 2) + " % of one");
    }
    if (!report.publish(options_.json_file)) return exit_failed;
    return gone_ == 0 ? exit_ok : exit_failed;
}

}  // namespace

int bench_idle(const BenchOptions& options) noexcept {
    return Idle(options).run();
}

}  // namespace ringcast::tools
