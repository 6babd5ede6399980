// ringcastd: flags, signals, one Server. Everything else is the library's (include/ringcast).

#include <csignal>
#include <cstdio>
#include <ctime>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "ringcast/server.h"

#include "app/flags.h"

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

// SIGTERM and SIGINT are taken here by the main thread alone. A client that is gone must not kill
// us with SIGPIPE, nor a store that is as large as the file limit allows with SIGXFSZ.
sigset_t block_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    return set;
}

int serve(const ringcast::Config& config) {
    const sigset_t signals = block_signals();
    auto logger = spdlog::stderr_logger_mt("ringcastd");
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");

    std::string error;
    const auto server =
        ringcast::Server::create(config, {.write = &write_log, .context = logger.get()}, error);
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
    if (config.sandbox_selftest) {
        std::string table;
        const bool good = server->sandbox_selftest(table);
        std::fputs(table.c_str(), stdout);
        return good ? 0 : 1;
    }

    int number = 0;
    sigwait(&signals, &number);
    logger->info("stopping: {}", number == SIGTERM ? "SIGTERM" : "SIGINT");
    server->stop();
    while (!server->finished()) {
        const timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
        if (sigtimedwait(&signals, nullptr, &pause) > 0) server->stop();  // in a hurry
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
