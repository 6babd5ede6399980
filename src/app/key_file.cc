#include "app/key_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <sys/stat.h>

#include "app/settings.h"

namespace ringcast::app {

namespace {

constexpr std::size_t size_max = 64 * 1024 + 1;

struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
};

std::string read_file(const std::string& file, bool secret, std::string& keys) {
    const std::unique_ptr<std::FILE, Close> opened(std::fopen(file.c_str(), "re"));
    if (opened == nullptr) return strerrordesc_np(errno);
    std::setvbuf(opened.get(), nullptr, _IONBF, 0);  // no other copy of secrets
    struct stat facts {};
    if (fstat(fileno(opened.get()), &facts) != 0) return strerrordesc_np(errno);
    if (secret && S_ISREG(facts.st_mode) && (facts.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        return "everybody may read it, or write to it: chmod o-rw";
    }
    keys.assign(size_max, '\0');
    keys.resize(std::fread(keys.data(), 1, keys.size(), opened.get()));
    if (std::ferror(opened.get()) != 0) return strerrordesc_np(errno);
    return {};
}

}  // namespace

std::string read_keys(const Config& config, std::string& keys) {
    const bool secret = config.auth_alg == TokenAlgorithm::hs256;
    const std::string& file = secret ? config.auth_key_file : config.auth_jwks_file;
    std::string problem = read_file(file, secret, keys);
    if (problem.empty()) problem = check_keys(config.auth_alg, keys);
    if (problem.empty()) return {};
    wipe(keys);
    return as_line((secret ? "--auth-key-file " : "--auth-jwks-file ") + file + ": " + problem);
}

}  // namespace ringcast::app
