// What is said of files of keys: who else may read them, and whether they could be read again.

#include "app/key_warnings.h"

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_folder.h"

using namespace ringcast;
using app::loose_keys;
using app::lost_files;

namespace {

constexpr const char* seal_line =
    "prices p1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

std::string made(const test::TempFolder& folder,
                 const std::string& name,
                 const std::string& text = "x",
                 mode_t mode = 0600) {
    const std::string file = folder.file(name);
    std::ofstream(file) << text;
    REQUIRE(chmod(file.c_str(), mode) == 0);
    return file;
}

// How many there are for somebody else than root; -1: that cannot be tried.
int lost_to_nobody(const Config& config) {
    constexpr uid_t nobody = 65534;
    const pid_t child = fork();
    if (child == 0) {
        if (setresgid(nobody, nobody, nobody) != 0 || setresuid(nobody, nobody, nobody) != 0) {
            _exit(100);
        }
        _exit(static_cast<int>(lost_files(config).size()));
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status) == 100 ? -1 : WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("key warnings: a key of TLS that others may read or write is named") {
    const test::TempFolder folder;
    Config config;
    CHECK(loose_keys(config).empty());
    config.tls_cert = {made(folder, "cert", "x", 0644)};  // that is no secret
    for (const mode_t mode : {0600u, 0400u, 0700u}) {
        config.tls_key = {made(folder, "good", "x", mode)};
        CHECK(loose_keys(config).empty());
    }
    for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0610u}) {
        const std::string loose = made(folder, "loose", "x", mode);
        config.tls_key = {made(folder, "good"), loose, folder.file("none")};
        const std::vector<std::string> lines = loose_keys(config);
        REQUIRE(lines.size() == 1);
        CHECK(lines.front().starts_with("--tls-key " + loose + ": others may read or write it"));
    }
    config.tls_key = {made(folder, "a\nb", "x", 0644)};
    CHECK(
        loose_keys(config).front().ends_with("a?b: others may read or write it (mode 644): "
                                             "chmod 600"));
}

TEST_CASE("key warnings: files that a SIGHUP could not read are named, each with the reason") {
    const test::TempFolder folder;
    Config config;
    config.user = "nobody";
    CHECK(lost_files(config).empty());
    config.auth_alg = TokenAlgorithm::hs256;
    config.auth_key_file = made(folder, "secret", std::string(40, 's'));
    config.seal_keys_file = made(folder, "seal", seal_line);
    config.tls_cert = {made(folder, "cert")};
    config.tls_key = {made(folder, "key")};
    CHECK(lost_files(config).empty());
    const std::string file = std::exchange(config.auth_key_file, folder.file("pipe"));
    REQUIRE(mkfifo(config.auth_key_file.c_str(), 0600) == 0);
    CHECK(lost_files(config).empty());  // and nobody waits for a writer
    config.auth_key_file = file;
    const int lost = lost_to_nobody(config);
    CHECK((lost == -1 || lost == 4));
    REQUIRE(chmod(folder.path().c_str(), 0755) == 0);
    REQUIRE(chmod(config.tls_cert.front().c_str(), 0644) == 0);
    const int fewer = lost_to_nobody(config);
    CHECK((fewer == -1 || fewer == 3));

    config.tls_key.push_back(folder.file("none"));
    REQUIRE(chmod(config.seal_keys_file.c_str(), 0644) == 0);
    const std::vector<std::string> lines = lost_files(config);
    REQUIRE(lines.size() == 2);
    const std::string head = "a SIGHUP will fail, as user nobody: ";
    CHECK(lines[0].starts_with(head + "--seal-keys-file " + config.seal_keys_file + ": others"));
    CHECK(lines[1] == head + "--tls-key " + folder.file("none") + ": No such file or directory");
}
