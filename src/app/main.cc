// ringcastd: flags, signals, one Server. Everything else is the library's (include/ringcast).

#include <csignal>
#include <cstdio>
#include <ctime>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "ringcast/server.h"

#include "app/flags.h"
#include "app/seal_keys_file.h"

namespace {

void write_log(void* context, ringcast::LogLevel level, std::string_view line) noexcept {
    auto& logger = *static_cast<spdlog::logger*>(context);
    switch (level) {
        case ringcast::LogLevel::info:
            logger.info("{}", line);
            return;
        case ringcast::LogLevel::warning:
            logger.warn("{}", line);
            return;
        case ringcast::LogLevel::error:
            logger.error("{}", line);
            return;
    }
}

// SIGTERM and SIGINT, and SIGHUP where there is something to read again, are taken here by the main
// thread alone; elsewhere a terminal that is closed ends us, as any program. A client that is gone
// must not kill us with SIGPIPE, nor a store that is as large as the file limit allows with
// SIGXFSZ.
sigset_t block_signals(const ringcast::Config& config) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (!config.seal_keys_file.empty()) sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    return set;
}

// The keys of sealed topics, again.
void reload_seal_keys(const ringcast::Config& config,
                      ringcast::Server& server,
                      spdlog::logger& logger) {
    ringcast::SealKeys keys;
    std::string problem = ringcast::app::read_seal_keys(config.seal_keys_file, keys);
    if (problem.empty() && !server.set_seal_keys(keys, problem).ok()) {
        problem = "--seal-keys-file " + config.seal_keys_file + ": " + problem;
    }
    if (problem.empty()) {
        logger.info("seal keys: {} keys are in use", keys.size());
    } else {
        logger.error("{}: the keys of before stay in use", problem);
    }
}

// Until the server is to stop: the signal that says so.
int wait_for_end(const sigset_t& signals,
                 const ringcast::Config& config,
                 ringcast::Server& server,
                 spdlog::logger& logger) {
    for (;;) {  // ends with a signal other than SIGHUP
        int number = 0;
        sigwait(&signals, &number);
        if (number != SIGHUP) return number;
        reload_seal_keys(config, server, logger);
    }
}

int serve(const ringcast::Config& config) {
    const sigset_t signals = block_signals(config);
    auto logger = spdlog::stderr_logger_mt("ringcastd");
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");

    std::string error;
    ringcast::SealKeys keys;
    if (!config.seal_keys_file.empty()) {
        error = ringcast::app::read_seal_keys(config.seal_keys_file, keys);
    }
    std::unique_ptr<ringcast::Server> server;
    if (error.empty()) {
        server = ringcast::Server::create(
            config, {.write = &write_log, .context = logger.get()}, error, keys);
    }
    keys.clear();
    if (server == nullptr) {
        std::fprintf(stderr, "ringcastd: %s\n", error.c_str());
        return 1;
    }
    for (const std::string& address : server->addresses()) {
        std::printf("ringcastd: listening on http://%s (%.*s, %u shard%s)\n",
                    address.c_str(),
                    static_cast<int>(server->io_name().size()),
                    server->io_name().data(),
                    server->shard_count(),
                    server->shard_count() == 1 ? "" : "s");
    }
    std::fflush(stdout);

    const int number = wait_for_end(signals, config, *server, *logger);
    logger->info("stopping: {}", number == SIGTERM ? "SIGTERM" : "SIGINT");
    server->stop();
    while (!server->finished()) {
        const timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
        const int again = sigtimedwait(&signals, nullptr, &pause);
        if (again > 0 && again != SIGHUP) server->stop();  // in a hurry
    }
    server->join();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const ringcast::app::Parsed parsed = ringcast::app::parse_flags(argc, argv);
    switch (parsed.command) {
        case ringcast::app::Command::stop:
            return parsed.exit_code;
        case ringcast::app::Command::version:
            std::puts("ringcastd " RINGCAST_VERSION);
            return 0;
        case ringcast::app::Command::serve:
            return serve(parsed.config);
    }
    return 0;
}
