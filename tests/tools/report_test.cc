#include "report.h"

#include <string>

#include <doctest/doctest.h>
#include <unistd.h>

#include "machines.h"
#include "process.h"

using namespace ringcast;
using namespace ringcast::tools;

TEST_CASE("report: numbers as people read them") {
    CHECK(grouped(0) == "0");
    CHECK(grouped(999) == "999");
    CHECK(grouped(1'000) == "1,000");
    CHECK(grouped(1'234'567) == "1,234,567");
    CHECK(time_text(850) == "850 ns");
    CHECK(time_text(12'345) == "12.3 us");
    CHECK(time_text(4'560'000) == "4.56 ms");
    CHECK(time_text(7.89e9) == "7.89 s");
    CHECK(bytes_text(437) == "437 B");
    CHECK(bytes_text(141.5e6) == "141.5 MB");
    CHECK(json_text("a\"b\\c\n") == "\"a\\\"b\\\\c\\u000a\"");
}

TEST_CASE("report: the JSON holds what was added, percentiles in microseconds") {
    Histogram histogram;
    for (int i = 1; i <= 10'000; i++) {
        histogram.record(i * 100);  // 0.1 us to 1 ms
    }
    Report report("test");
    report.section("one");
    report.add("count", std::uint64_t{3}, "count");
    report.add_flag("good", true);
    report.section("two");
    report.add("latency_us", histogram, "latency");
    report.warn("careful");
    const std::string json = report.json();
    CHECK(
        json.starts_with("{\n  \"verb\": \"test\",\n  \"one\": {\n    \"count\": 3,\n"
                         "    \"good\": true\n  },\n  \"two\": {\n"));
    CHECK(json.ends_with("},\n  \"warnings\": [\"careful\"]\n}\n"));
    const auto percentile = [&](const std::string& name) {
        const std::string key = "\"" + name + "\": ";
        return std::stod(json.substr(json.find(key) + key.size()));
    };
    CHECK(percentile("count") == 3);
    CHECK(percentile("p50") == doctest::Approx(500).epsilon(0.01));
    CHECK(percentile("p99") == doctest::Approx(990).epsilon(0.01));
    CHECK(percentile("p99.99") == doctest::Approx(999.9).epsilon(0.01));
    CHECK(percentile("max") == 1'000);
    CHECK(percentile("mean") == doctest::Approx(500.05));
}

TEST_CASE("report: what a run cost, and who was its limit") {
    const Load start = {.at = 5 * nanos_per_s, .own_cpu = nanos_per_s, .server_cpu = nanos_per_s};
    const Load end = {
        .at = 7 * nanos_per_s, .own_cpu = 3 * nanos_per_s, .server_cpu = 2 * nanos_per_s};
    const auto json = [&](int server_pid, Nanos busy) {
        Work work = {
            .start = start, .end = end, .units = 1'000, .key = "cpu_us_per_it", .label = "each"};
        work.end.busy = busy;
        Report report("test");
        BenchOptions options;
        options.server_pid = server_pid;
        add_machines(report, options, work);
        return report.json();
    };
    CHECK(json(0, 0).find("\"cpu_share\": 1\n  },\n  \"warnings\": [\"the") != std::string::npos);
    CHECK(json(0, 0).find("busy_share") == std::string::npos);
    // A loop that spins is at its limit only if it always found work.
    CHECK(json(0, nanos_per_s).find("\"busy_share\": 0.5\n") != std::string::npos);
    CHECK(json(0, nanos_per_s).find("\"warnings\": []") != std::string::npos);
    CHECK(json(1, 0).find("\"server\": {\n    \"cpu_s\": 1,\n    \"cpu_us_per_it\": 1000\n") !=
          std::string::npos);
}

TEST_CASE("report: what /proc says of a process") {
    const char* status = "Name:\tx\nRssAnon:\t    1234 kB\nRssFile:\t       8 kB\n";
    CHECK(parse_status(status, "RssAnon") == 1234 * 1024);
    CHECK(parse_status(status, "RssFile") == 8 * 1024);
    CHECK(parse_status(status, "RssShmem") == 0);
    const char* stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 1 0 9";
    CHECK(parse_stat_ticks(stat) == 100);
    CHECK(parse_stat_ticks("nonsense") == 0);
    CHECK(parse_stat_ticks("1 (x) S 1 2") == 0);
    CHECK(process_memory(getpid()).anonymous > 0);
    CHECK(process_exists(getpid()));
    CHECK(process_cpu(0) == 0);
}
