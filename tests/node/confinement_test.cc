// What a server gives up, from its configuration. In child processes: it cannot be had back.

#include "node/confinement.h"

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "tests/io/inject.h"

using namespace ringcast;
using namespace ringcast::node;
using ringcast::io::test::in_child;

namespace {

bool has(const std::vector<io::SandboxPath>& paths, std::string_view path, io::PathUse use) {
    return std::any_of(paths.begin(), paths.end(), [&](const io::SandboxPath& at) {
        return at.path == path && at.use == use;
    });
}

}  // namespace

TEST_CASE("confinement: of the file system only what is configured is left") {
    Config config;
    CHECK_FALSE(has(paths_needed(config), "/proc", io::PathUse::read));
    CHECK(has(paths_needed(config), "/dev/null", io::PathUse::write));
    config.dev = true;
    CHECK(has(paths_needed(config), "/proc", io::PathUse::read));
    for (const auto& [store, folder] : {std::pair("/var/lib/ringcast/s.db", "/var/lib/ringcast"),
                                        std::pair("s.db", "."),
                                        std::pair("data/s.db", "data"),
                                        std::pair("/s.db", "/")}) {
        config.store = store;
        CHECK(has(paths_needed(config), folder, io::PathUse::replace));
    }
}

TEST_CASE("confinement: what SIGHUP reads again stays to be read") {
    Config config;
    config.tls_cert = {"/certs/a.pem", "/certs/b.pem"};
    config.tls_key = {"/keys/a.pem", "/keys/b.pem"};
    config.auth_key_file = "/secrets/hmac";
    config.auth_jwks_file = "jwks.json";
    config.seal_keys_file = "/seals/keys";
    for (const char* folder : {"/certs", "/keys", "/secrets", "/seals", "."}) {
        CHECK(has(paths_needed(config), folder, io::PathUse::read));
    }
}

TEST_CASE("confinement: off is off, and says so") {
    const Config config;
    Confinement confinement(config);
    std::string error;
    CHECK(confinement.begin(error));
    CHECK_FALSE(confinement.restricts_rings());
    CHECK(confinement.finish(true, error));
    CHECK(confinement.line() == "sandbox: off: --sandbox off");
}

TEST_CASE("confinement: a user that is not there ends it") {
    Config config;
    config.user = "no-such-user";
    Confinement confinement(config);
    std::string error;
    CHECK_FALSE(confinement.begin(error));
    CHECK(error == "--user 'no-such-user': there is no such user");
}

TEST_CASE("confinement: a build with sanitizers has none, and cannot be told to") {
    if (io::sandbox_supported()) return;
    Config config;
    config.sandbox = Sandbox::on;
    Confinement strict(config);
    std::string error;
    CHECK_FALSE(strict.begin(error));
    CHECK(error.find("sanitizers") != std::string::npos);
    config.sandbox = Sandbox::automatic;
    Confinement lax(config);
    CHECK(lax.begin(error));
    CHECK(lax.finish(false, error));
    CHECK(lax.line().starts_with("sandbox: off: "));
}

TEST_CASE("confinement: inside, the self-test is content") {
    if (!io::sandbox_supported()) return;
    CHECK(in_child([] {
        Config config;
        config.sandbox = Sandbox::automatic;
        config.sandbox_selftest = true;
        Confinement confinement(config);
        std::string error;
        std::string table;
        REQUIRE(confinement.begin(error));
        REQUIRE(confinement.restricts_rings());
        REQUIRE(confinement.finish(false, error));
        const bool all = confinement.selftest(table);
        const std::string line = confinement.line();
        const bool whole = line.find("; not: ") == std::string::npos;
        REQUIRE_MESSAGE((all || !whole), table);
        REQUIRE(line.find("no new privileges") != std::string::npos);
        return true;
    }));
}

TEST_CASE("confinement: what the kernel refuses is said, and is an error where all is wanted") {
    if (!io::sandbox_supported()) return;
    for (const Sandbox sandbox : {Sandbox::automatic, Sandbox::on}) {
        CHECK(in_child([sandbox] {
            if (!io::test::forbid_call(SYS_landlock_create_ruleset, ENOSYS))
                return io::test::skip("a kernel without Landlock: no seccomp");
            Config config;
            config.sandbox = sandbox;
            Confinement confinement(config);
            std::string error;
            REQUIRE(confinement.begin(error) == (sandbox == Sandbox::automatic));
            if (sandbox == Sandbox::on) {
                REQUIRE(error.starts_with("--sandbox on: Landlock: "));
                return true;
            }
            REQUIRE(confinement.finish(false, error));
            REQUIRE(confinement.line().find("; not: Landlock: ") != std::string::npos);
            return true;
        }));
    }
}
