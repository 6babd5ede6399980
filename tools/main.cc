// ringcast: the tool. Publishes, subscribes, and measures servers. Data goes to stdout, talk to
// stderr. Exit codes: 0 done, 1 the run failed, 2 the command line is wrong, 3 a check failed.

#include <cstdio>

#include "flags.h"
#include "process.h"
#include "verbs.h"

namespace ringcast::tools {

namespace {

int run(const Options& options) noexcept {
    const BenchOptions& bench = options.bench;
    if (bench.cpu >= 0 && !pin_to_cpu(bench.cpu)) {
        std::fprintf(stderr, "ringcast: --cpu: this process may not run on CPU %d\n", bench.cpu);
        return exit_usage;
    }
    if (bench.server_pid > 0 && !process_exists(bench.server_pid)) {
        std::fprintf(stderr, "ringcast: --server-pid: there is no process %d\n", bench.server_pid);
        return exit_usage;
    }
    catch_interrupts();
    switch (options.verb) {
        case Verb::bench_fanout:
            return bench_fanout(bench);
        case Verb::bench_connect:
            return bench_connect(bench);
        case Verb::bench_idle:
            return bench_idle(bench);
        case Verb::bench_echo:
            return bench_echo(bench);
        case Verb::bench_recover:
            return bench_recover(bench);
        case Verb::bench_keyed:
            return bench_keyed(bench);
        case Verb::pub:
            return publish(options.talk);
        case Verb::sub:
            return subscribe(options.talk);
        case Verb::none:
            break;
    }
    return exit_usage;
}

}  // namespace

}  // namespace ringcast::tools

int main(int argc, char** argv) {
    const ringcast::tools::Flags flags = ringcast::tools::parse_flags(argc, argv);
    if (flags.leave) {
        std::fputs(flags.message.c_str(), flags.exit_code == 0 ? stdout : stderr);
        return flags.exit_code;
    }
    return ringcast::tools::run(flags.options);
}
