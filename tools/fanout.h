#pragma once

// `ringcast bench fanout`: one publisher a topic, many subscribers, every delivery checked.
//
// Open loop at a rate, where latency counts from the moment a message should have been sent,
// however late the generator or the server is; or as fast as a window of messages allows that were
// published and not yet delivered to everybody. One thread, one loop.

#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "base/histogram.h"
#include "base/random.h"
#include "checker.h"
#include "fleet.h"
#include "machines.h"
#include "options.h"
#include "process.h"
#include "report.h"
#include "subscription.h"

namespace ringcast::tools {

class Fanout final : private Fleet::Owner, private Checker::Listener {
  public:
    explicit Fanout(const BenchOptions& options) noexcept;

    // Runs to the end and prints; returns the exit code.
    int run() noexcept;

  private:
    struct Source {  // what one topic's publisher still has to hand to its socket
        std::string out;
        std::size_t sent = 0;
    };

    const std::string& path_of(std::uint32_t index) noexcept override;
    void on_open(Conn& conn) noexcept override;
    void on_bytes(Conn& conn, Bytes bytes, Nanos now) noexcept override;
    void on_writable(Conn& conn) noexcept override;
    void on_closed(Conn& conn) noexcept override;
    void on_other(Reader& reader, const Frame& frame) noexcept override;
    void on_text(Conn& conn, std::string_view text) noexcept;
    void on_gap(Conn& conn, std::string_view text) noexcept;

    [[nodiscard]] bool is_publisher(const Conn& conn) const noexcept;
    [[nodiscard]] bool all_waited_for() noexcept;
    [[nodiscard]] std::size_t unsent(std::uint32_t topic) const noexcept;
    bool ramp() noexcept;
    void run_phase(std::uint64_t messages, double duration_s) noexcept;
    void begin_phase(Nanos now, std::uint64_t messages, double duration_s) noexcept;
    [[nodiscard]] bool phase_complete(Nanos now) const noexcept;
    [[nodiscard]] bool hopeless() const noexcept;
    void drain_slow() noexcept;
    void listen_on() noexcept;
    void publish_due(Nanos now) noexcept;
    void publish_windows(Nanos now) noexcept;
    void publish_rate(Nanos now) noexcept;
    void publish_one(std::uint32_t topic, Nanos sent_at) noexcept;
    void flush(std::uint32_t topic) noexcept;
    [[nodiscard]] bool all_published(Nanos now) const noexcept;
    [[nodiscard]] bool all_sent() const noexcept;
    [[nodiscard]] Nanos wait_time(Nanos now) const noexcept;
    void serve_slow(Nanos now) noexcept;
    void on_gone(Conn& conn) noexcept;
    void on_back(const Conn& conn) noexcept;
    void bring_back(Nanos now) noexcept;
    void start_storm(Nanos now) noexcept;
    [[nodiscard]] bool all_back() const noexcept { return ready_count_ == fleet_size_; }
    void report_returns(Report& report) noexcept;
    void show_progress(Nanos now) noexcept;
    int conclude() noexcept;
    void report_delivery(Report& report, double seconds) noexcept;
    void report_errors(Report& report) noexcept;
    void report_memory(Report& report) noexcept;

    const BenchOptions options_;
    const std::uint32_t slow_count_;
    const Subscription subscription_;
    std::vector<std::string> publish_paths_;
    Checker checker_;
    Fleet fleet_;
    std::vector<Source> sources_;
    std::string payload_;
    std::string frame_;
    const std::uint32_t fleet_size_;
    std::uint32_t ready_count_ = 0;
    std::uint32_t publishers_gone_ = 0;

    // The phase that is running.
    std::uint64_t phase_messages_ = 0;  // to publish, 0: until phase_end_
    std::uint64_t phase_published_ = 0;
    Nanos phase_end_ = never;
    Nanos phase_storm_ = never;  // when it is due
    double next_due_ = 0;        // of an open loop
    std::uint32_t next_topic_ = 0;
    Nanos slow_served_ = 0;
    Nanos progress_at_ = 0;
    std::uint64_t progress_delivered_ = 0;
    Nanos busy_ = 0;  // spent in turns of the loop that found work

    // Those who come back, each with its time, the next on top.
    using Return = std::pair<Nanos, std::uint32_t>;
    std::priority_queue<Return, std::vector<Return>, std::greater<>> returns_;
    struct Away {
        Nanos due = 0;  // of the first attempt to come back; 0: it is in, or never was
        bool turned_away = false;
    };
    std::vector<Away> away_;  // by id
    Histogram returned_;      // from the first attempt's time until it was subscribed
    Histogram knocked_late_;  // from then until we connected: our own share of it
    Random chance_{1};
    bool ending_ = false;  // nobody comes back any more
    Nanos storm_at_ = never;
    Nanos storm_ended_ = 0;  // when all were back
    std::uint64_t reconnects_ = 0;
    std::uint64_t refusals_ = 0;  // of those who wanted to come back

    Load start_;
    Load end_;
    ProcessMemory memory_before_;
    ProcessMemory memory_open_;
    ProcessMemory memory_end_;
    std::uint64_t gaps_ = 0;
    std::uint64_t server_errors_ = 0;
    std::string first_error_;
    std::map<std::uint16_t, std::uint64_t> close_codes_;
    std::uint64_t ended_normal_ = 0;  // readers that are waited for, ended by the server
    std::uint64_t ended_slow_ = 0;
    std::uint64_t dropped_ = 0;  // of both, without a close frame
    std::uint64_t cut_off_ = 0;  // deliveries that those were owed when they ended
};

}  // namespace ringcast::tools
