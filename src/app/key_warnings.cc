#include "app/key_warnings.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringcast/seal_keys.h"
#include "ringcast/token.h"

#include "app/key_file.h"
#include "app/seal_keys_file.h"
#include "app/settings.h"

namespace ringcast::app {

namespace {

// Empty: it can be read.
std::string try_to_read(const std::string& flag, const std::string& file) {
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return as_line(flag + " " + file + ": " + strerrordesc_np(errno));
    close(fd);
    return {};
}

// Reading a pipe a second time would wait for whoever writes into it.
bool can_be_read_again(const std::string& file) {
    struct stat status {};
    return stat(file.c_str(), &status) != 0 || S_ISREG(status.st_mode);
}

}  // namespace

std::vector<std::string> loose_keys(const Config& config) {
    std::vector<std::string> lines;
    for (const std::string& file : config.tls_key) {
        struct stat status {};
        if (stat(file.c_str(), &status) != 0) continue;
        if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0) continue;
        std::array<char, 8> mode{};
        std::snprintf(mode.data(), mode.size(), "%03o", status.st_mode & 0777u);
        lines.push_back(as_line("--tls-key " + file + ": others may read or write it (mode " +
                                mode.data() + "): chmod 600"));
    }
    return lines;
}

std::vector<std::string> lost_files(const Config& config) {
    std::vector<std::string> problems;
    const bool secret = config.auth_alg == TokenAlgorithm::hs256;
    const std::string& keys_file = secret ? config.auth_key_file : config.auth_jwks_file;
    if (config.auth_alg != TokenAlgorithm::none && can_be_read_again(keys_file)) {
        std::string keys;
        problems.push_back(read_keys(config, keys));
        wipe(keys);
    }
    if (!config.seal_keys_file.empty()) {
        SealKeys keys;
        problems.push_back(read_seal_keys(config.seal_keys_file, keys));
    }
    for (const std::string& file : config.tls_cert) {
        problems.push_back(try_to_read("--tls-cert", file));
    }
    for (const std::string& file : config.tls_key) {
        problems.push_back(try_to_read("--tls-key", file));
    }
    std::vector<std::string> lines;
    for (const std::string& problem : problems) {
        if (problem.empty()) continue;
        lines.push_back(as_line("a SIGHUP will fail, as user " + config.user + ": " + problem));
    }
    return lines;
}

}  // namespace ringcast::app
