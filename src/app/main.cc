// ringcastd: flags, signals, one Server. Everything else is the library's (include/ringcast).

#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "ringcast/server.h"

#include "app/flags.h"
#include "app/key_file.h"
#include "app/key_warnings.h"
#include "app/seal_keys_file.h"
#include "app/token_commands.h"

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

// There is something to read again.
bool has_files(const ringcast::Config& config) {
    return config.auth_alg != ringcast::TokenAlgorithm::none || !config.tls_listen.empty() ||
           !config.seal_keys_file.empty();
}

// On SIGHUP. What is not good changes nothing.
void read_keys_again(const ringcast::Config& config,
                     ringcast::Server& server,
                     spdlog::logger& logger) {
    if (config.auth_alg == ringcast::TokenAlgorithm::none) return;
    std::string keys;
    std::string problem = ringcast::app::read_keys(config, keys);
    if (problem.empty() && server.reload_keys(keys, problem).ok()) {
        logger.info("SIGHUP: the keys of tokens were read again");
    } else {
        logger.error("SIGHUP: the keys of tokens are still the old ones: {}", problem);
    }
    ringcast::wipe(keys);
}

// SIGTERM, SIGINT and, where there is something to read again, SIGHUP are taken here by the main
// thread alone. A client that is gone must not kill us with SIGPIPE, nor a store that is as large
// as the file limit allows with SIGXFSZ.
sigset_t block_signals(const ringcast::Config& config) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (has_files(config)) sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    return set;
}

void warn(const std::vector<std::string>& lines, spdlog::logger& logger) {
    for (const std::string& line : lines) {
        logger.warn("{}", line);
    }
}

void read_certificates_again(const ringcast::Config& config,
                             ringcast::Server& server,
                             spdlog::logger& logger) {
    if (config.tls_listen.empty()) return;
    std::string error;
    if (server.reload_tls(error)) {
        logger.info("SIGHUP: the certificates are read again");
    } else {
        logger.error("SIGHUP: {}: what was read before stays in use", error);
    }
    warn(ringcast::app::loose_keys(config), logger);
}

// The keys of sealed topics, again.
void read_seal_keys_again(const ringcast::Config& config,
                          ringcast::Server& server,
                          spdlog::logger& logger) {
    if (config.seal_keys_file.empty()) return;
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

// Until a signal asks for the end: which one.
int wait_for_end(const ringcast::Config& config,
                 const sigset_t& signals,
                 ringcast::Server& server,
                 spdlog::logger& logger) {
    while (true) {
        const int number = sigwaitinfo(&signals, nullptr);
        if (number == SIGHUP) {
            read_certificates_again(config, server, logger);
            read_keys_again(config, server, logger);
            read_seal_keys_again(config, server, logger);
        } else if (number > 0) {
            return number;
        }
    }
}

void say_where(const ringcast::Server& server,
               const char* scheme,
               const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) {
        std::printf("ringcastd: listening on %s://%s (%.*s, %u shard%s)\n",
                    scheme,
                    address.c_str(),
                    static_cast<int>(server.io_name().size()),
                    server.io_name().data(),
                    server.shard_count(),
                    server.shard_count() == 1 ? "" : "s");
    }
}

int serve(ringcast::Config config) {
    const sigset_t signals = block_signals(config);
    auto logger = spdlog::stderr_logger_mt("ringcastd");
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");

    std::string error;
    if (config.auth_alg != ringcast::TokenAlgorithm::none) {
        error = ringcast::app::read_keys(config, config.auth_keys);
    }
    ringcast::SealKeys seal_keys;
    if (error.empty() && !config.seal_keys_file.empty()) {
        error = ringcast::app::read_seal_keys(config.seal_keys_file, seal_keys, config.user);
    }
    // While it may still look into every folder.
    const std::vector<std::string> loose = ringcast::app::loose_keys(config);
    std::unique_ptr<ringcast::Server> server;
    if (error.empty()) {
        server = ringcast::Server::create(
            config, {.write = &write_log, .context = logger.get()}, error, seal_keys);
    }
    ringcast::wipe(config.auth_keys);
    seal_keys.clear();
    if (server == nullptr) {
        std::fprintf(stderr, "ringcastd: %s\n", error.c_str());
        return 1;
    }
    warn(loose, *logger);
    if (!config.user.empty()) warn(ringcast::app::lost_files(config), *logger);
    say_where(*server, "http", server->addresses());
    say_where(*server, "https", server->tls_addresses());
    std::fflush(stdout);
    if (config.sandbox_selftest) {
        std::string table;
        const bool good = server->sandbox_selftest(table);
        std::fputs(table.c_str(), stdout);
        return good ? 0 : 1;
    }

    const int number = wait_for_end(config, signals, *server, *logger);
    logger->info("stopping: {}", number == SIGTERM ? "SIGTERM" : "SIGINT");
    server->stop();
    while (!server->finished()) {
        const timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
        const int more = sigtimedwait(&signals, nullptr, &pause);
        if (more > 0 && more != SIGHUP) server->stop();  // in a hurry
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
        case ringcast::app::Command::gen_token:
            return ringcast::app::gen_token(parsed.config, parsed.order);
        case ringcast::app::Command::check_token:
            return ringcast::app::check_token(parsed.config);
        case ringcast::app::Command::serve:
            return serve(parsed.config);
    }
    return 0;
}
