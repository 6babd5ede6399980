#include "machines.h"

#include <algorithm>

#include "clock.h"
#include "process.h"

namespace ringcast::tools {

namespace {

constexpr double busy_limit = 0.9;

std::string percent_text(double share) noexcept {
    return number_text(100 * share, 0) + " %";
}

}  // namespace

Load load_now(const BenchOptions& options, Nanos busy) noexcept {
    return {.at = clock_now(),
            .own_cpu = own_cpu(),
            .server_cpu = options.server_pid > 0 ? process_cpu(options.server_pid) : 0,
            .busy = busy};
}

double seconds_between(const Load& start, const Load& end) noexcept {
    return static_cast<double>(end.at - start.at) / 1e9;
}

void add_machines(Report& report, const BenchOptions& options, const Work& work) noexcept {
    const double seconds = std::max(seconds_between(work.start, work.end), 1e-9);
    const double own = static_cast<double>(work.end.own_cpu - work.start.own_cpu) / 1e9;
    const double busy = static_cast<double>(work.end.busy - work.start.busy) / 1e9 / seconds;
    const bool spins = work.end.busy > 0;
    report.section("generator");
    report.add("cpu_s", own);
    report.add("cpu_share", own / seconds, "generator CPU", percent_text(own / seconds));
    if (spins) report.add("busy_share", busy, "not just polling", percent_text(busy));
    if ((spins ? busy : own / seconds) > busy_limit) {
        report.warn(
            "the generator was itself the limit; these figures describe it, not the server");
    }
    if (options.server_pid <= 0) return;
    const double cpu = static_cast<double>(work.end.server_cpu - work.start.server_cpu) / 1e9;
    const double each = work.units > 0 ? cpu / static_cast<double>(work.units) * 1e6 : 0;
    report.section("server");
    report.add("cpu_s",
               cpu,
               "server CPU",
               number_text(cpu, 3) + " s, " + percent_text(cpu / seconds) + " of one");
    report.add(work.key, each, work.label, number_text(each, 3) + " us");
}

}  // namespace ringcast::tools
