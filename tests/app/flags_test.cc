#include "app/flags.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>

using namespace ringcast;
using app::Command;
using app::Parsed;

namespace {

Parsed parse(const std::vector<std::string>& words) {
    std::vector<const char*> argv{"ringcastd"};
    for (const std::string& word : words) {
        argv.push_back(word.c_str());
    }
    return app::parse_flags(static_cast<int>(argv.size()), argv.data());
}

// What parse() writes to one of the standard streams.
std::string written(int stream, const std::vector<std::string>& words, int& exit_code) {
    std::fflush(nullptr);
    std::FILE* file = std::tmpfile();
    REQUIRE(file != nullptr);
    const int kept = dup(stream);
    dup2(fileno(file), stream);
    exit_code = parse(words).exit_code;
    std::fflush(nullptr);
    dup2(kept, stream);
    close(kept);
    std::rewind(file);
    std::string text(1 << 16, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file));
    std::fclose(file);
    return text;
}

}  // namespace

TEST_CASE("flags: every number has its default, takes its range, and nothing past it") {
    const Config fallback = parse({"serve"}).config;
    for (const NumberFlag& flag : number_flags) {
        CAPTURE(flag.name);
        const std::string name = std::string("--") + flag.name;
        CHECK(fallback.*flag.member == flag.fallback);
        for (const std::uint64_t number : {flag.least, flag.most}) {
            const Parsed parsed = parse({"serve", name, format_number(number, flag.unit)});
            CHECK(parsed.command == Command::serve);
            CHECK(parsed.config.*flag.member == number);
        }
        std::vector<std::uint64_t> wrong{flag.most + 1};
        if (flag.least > 0) wrong.push_back(flag.least - 1);
        for (const std::uint64_t number : wrong) {
            const std::string given = format_number(number, flag.unit);
            int exit_code = 0;
            const std::string line = written(STDERR_FILENO, {"serve", name, given}, exit_code);
            CHECK(exit_code == 2);
            CHECK(line.find(name) != std::string::npos);
            CHECK(line.find("'" + given + "'") != std::string::npos);
            CHECK(line.find(format_number(flag.most, flag.unit)) != std::string::npos);
            CHECK(line.find('\n') == line.size() - 1);
        }
    }
}

TEST_CASE("flags: a wrong one is named in one line, with what is allowed") {
    struct Row {
        std::vector<std::string> words;
        std::vector<std::string> parts;
    };
    const std::array<Row, 41> rows{{
        {{"serve", "--pingx", "3"}, {"--pingx"}},
        {{"serve", "--shards", "2", "--pingx=3", "--io", "epoll"}, {" --pingx is"}},
        {{"serve", "stray", "--shards", "2"}, {" stray is"}},
        {{"serve", "--shards", "1.5"}, {"--shards", "'1.5'", "0 to 64"}},
        {{"serve", "--shards", "1 "}, {"--shards", "'1 '", "0 to 64"}},
        {{"serve", "--message-max", "1.5"}, {"--message-max", "'1.5'", "125B to 64MiB"}},
        {{"serve", "--ping-interval", "25"}, {"--ping-interval", "'25'", "50ms to 1h"}},
        {{"serve", "--origin", "a.example"}, {"--origin", "'a.example'", "SCHEME://HOST"}},
        {{"serve", "--direct-descriptors", "--io", "epoll"},
         {"--direct-descriptors", "--io epoll"}},
        {{"serve", "--compression-context"}, {"--compression-context", "only with --compression"}},
        {{"serve", "--compression-level", "0"}, {"--compression-level", "'0'", "1 to 9"}},
        {{"serve", "--pin", "0x1"}, {"--pin", "'0x1'", "-1 to 4095"}},
        {{"serve", "--pin", "1.5"}, {"--pin", "'1.5'", "-1 to 4095"}},
        {{"serve", "--pin", "4096"}, {"--pin", "'4096'", "-1 to 4095"}},
        {{"serve", "--pin", ""}, {"--pin", "''", "-1 to 4095"}},
        {{"serve", "--dev=maybe"}, {"--dev", "maybe", "true or false"}},
        {{"serve", "--io", "kqueue"}, {"--io", "kqueue", "uring"}},
        {{"serve", "--slow-policy", "drop"}, {"--slow-policy", "drop", "gap"}},
        {{"serve", "--listen", "nonsense"}, {"--listen", "nonsense", "ADDR:PORT"}},
        {{"serve", "--trusted-proxies", "10.0.0.1/8"}, {"--trusted-proxies", "'10.0.0.1/8'"}},
        {{"serve", "--trusted-proxies", "proxy"}, {"--trusted-proxies", "'proxy'", "ADDRESS"}},
        {{"serve", "--trusted-proxies", ""}, {"--trusted-proxies", "''", "ADDRESS"}},
        {{"serve", "--proxy-protocol", "127.0.0.1:8080"},
         {"--proxy-protocol", "--trusted-proxies"}},
        {{"serve", "--trusted-proxies", "::1", "--proxy-protocol", "127.0.0.1:81"},
         {"--proxy-protocol", "'127.0.0.1:81'", "--listen"}},
        {{"serve", "--trusted-proxies", "::1", "--direct-descriptors"},
         {"--direct-descriptors", "--trusted-proxies"}},
        {{"serve", "--sandbox", "yes"}, {"--sandbox", "'yes'", "auto|off|on"}},
        {{"serve", "--user", ""}, {"--user", "''", "NAME"}},
        {{"serve", "--listen", "127.0.0.1:99999"}, {"--listen", "99999"}},
        {{"serve", "--listen", "127.0.0.1:"}, {"--listen", "ADDR:PORT"}},
        {{"serve", "--listen", "[::1:80"}, {"--listen", "ADDR:PORT"}},
        {{"serve", "--dev", "--listen", "0.0.0.0:80"}, {"--listen", "0.0.0.0:80", "loopback"}},
        {{"serve", "--topic", "a: histry=1"}, {"--topic", "'a'", "'histry'", "history="}},
        {{"serve", "--topic", "a: keyed", "--topic", "b"}, {"--topic", "'b'", "PATTERN: WORD"}},
        {{"serve", "--topic", "a: keyed", "b: keyed"}, {" b: keyed is no flag"}},
        {{"serve", "--auth-alg", "none"}, {"--auth-alg", "'none'", "HS256|RS256|ES256|EdDSA"}},
        {{"serve", "--auth-alg", "HS256"}, {"--auth-key-file", "HS256"}},
        {{"serve", "--auth-issuer", "x"}, {"--auth-issuer", "--auth-alg"}},
        {{"serve", "--topic", "a: publish-by=user"}, {"--topic", "'a'", "--auth-alg"}},
        {{"gen-token", "--sub", "a", "--auth-key-file", "f", "--expires", "9"},
         {"--expires", "'9'", "1s to 87840h"}},
        {{"check-token"}, {"check-token", "--auth-alg"}},
        {{}, {"subcommand"}},
    }};
    for (const Row& row : rows) {
        int exit_code = 0;
        const std::string line = written(STDERR_FILENO, row.words, exit_code);
        CAPTURE(line);
        CHECK(exit_code == 2);
        CHECK(line.find('\n') == line.size() - 1);
        for (const std::string& part : row.parts) {
            CHECK(line.find(part) != std::string::npos);
        }
    }
}

TEST_CASE("flags: proxies, the user and the sandbox arrive") {
    const Config fallback = parse({"serve"}).config;
    CHECK(fallback.sandbox == Sandbox::automatic);
    CHECK(fallback.user.empty());
    CHECK_FALSE(fallback.limit_loopback);
    const Config config = parse({"serve",
                                 "--trusted-proxies",
                                 "10.0.0.0/8",
                                 "2001:db8::/32",
                                 "--proxy-protocol",
                                 "127.0.0.1:8080",
                                 "--user",
                                 "nobody",
                                 "--sandbox=on",
                                 "--limit-loopback",
                                 "--sandbox-selftest"})
                              .config;
    CHECK(config.trusted_proxies == std::vector<std::string>{"10.0.0.0/8", "2001:db8::/32"});
    CHECK(config.proxy_protocol == std::vector<std::string>{"127.0.0.1:8080"});
    CHECK(config.user == "nobody");
    CHECK(config.sandbox == Sandbox::on);
    CHECK(config.limit_loopback);
    CHECK(config.sandbox_selftest);
    CHECK(parse({"serve", "--sandbox=off"}).config.sandbox == Sandbox::off);
}

TEST_CASE("flags: addresses, choices and switches arrive") {
    const Parsed parsed = parse({"serve",
                                 "--listen",
                                 "127.0.0.1:0",
                                 "--listen",
                                 "[::1]:8080",
                                 "--origin",
                                 "https://a.example",
                                 "--origin",
                                 "null",
                                 "--io",
                                 "epoll",
                                 "--slow-policy",
                                 "close",
                                 "--dev",
                                 "--pin",
                                 "3"});
    REQUIRE(parsed.command == Command::serve);
    CHECK(parsed.config.listen == std::vector<std::string>{"127.0.0.1:0", "[::1]:8080"});
    CHECK(parsed.config.origin == std::vector<std::string>{"https://a.example", "null"});
    CHECK(parsed.config.io == Io::epoll);
    CHECK(parsed.config.slow_policy == SlowPolicy::close);
    CHECK(parsed.config.dev);
    CHECK_FALSE(parsed.config.direct_descriptors);
    CHECK(parsed.config.pin == 3);
    CHECK(parse({"version"}).command == Command::version);
}

TEST_CASE("flags: TLS has its own addresses, and a plain one only where it is wanted") {
    Config config = parse({"serve",
                           "--tls-listen",
                           "127.0.0.1:443",
                           "--tls-cert",
                           "a",
                           "--tls-key",
                           "b",
                           "--tls-cert",
                           "c",
                           "--tls-key",
                           "d",
                           "--listen",
                           "none"})
                        .config;
    CHECK(config.listen.empty());
    CHECK(config.tls_listen == std::vector<std::string>{"127.0.0.1:443"});
    CHECK(config.tls_cert == std::vector<std::string>{"a", "c"});
    CHECK(config.tls_key == std::vector<std::string>{"b", "d"});
    int exit_code = 0;
    const std::string line = written(STDERR_FILENO, {"serve", "--listen", "none"}, exit_code);
    CHECK(exit_code == 2);
    CHECK(line.find("--listen") != std::string::npos);
}

TEST_CASE("flags: tokens, and who makes and checks them") {
    const Parsed serve = parse({"serve",
                                "--auth-alg",
                                "EdDSA",
                                "--auth-jwks-file",
                                "f",
                                "--auth-issuer",
                                "i",
                                "--auth-audience",
                                "a"});
    REQUIRE(serve.command == Command::serve);
    CHECK(serve.config.auth_alg == TokenAlgorithm::eddsa);
    CHECK(serve.config.auth_jwks_file == "f");
    CHECK(serve.config.auth_issuer == "i");
    CHECK(serve.config.auth_audience == "a");
    const Parsed made = parse({"gen-token",
                               "--auth-key-file",
                               "f",
                               "--sub",
                               "ann",
                               "--subscribe",
                               "a",
                               "--subscribe",
                               "b",
                               "--info",
                               "7",
                               "--messages",
                               "3"});
    REQUIRE(made.command == Command::gen_token);
    CHECK(made.order.claims.user == "ann");
    CHECK(made.order.claims.subscribe == std::vector<std::string>{"a", "b"});
    CHECK(made.order.claims.info == "7");
    CHECK(made.order.claims.messages == 3);
    CHECK(made.order.expires == units::hour);
    CHECK(made.config.auth_alg == TokenAlgorithm::hs256);
    const Parsed checked = parse(
        {"check-token", "--auth-alg", "HS256", "--auth-key-file", "f", "--auth-leeway", "1s"});
    REQUIRE(checked.command == Command::check_token);
    CHECK(checked.config.auth_leeway == units::s);
}

TEST_CASE("flags: the environment sets what the command line does not") {
    setenv("RINGCAST_PING_INTERVAL", "7s", 1);
    CHECK(parse({"serve"}).config.ping_interval == 7 * units::s);
    CHECK(parse({"serve", "--ping-interval", "8s"}).config.ping_interval == 8 * units::s);
    unsetenv("RINGCAST_PING_INTERVAL");
}

TEST_CASE("flags: rules for topics come in their order, a line each") {
    const auto rules = [](const std::vector<std::string>& words) {
        std::string lines;
        for (const TopicRule& rule : parse(words).config.topic) {
            lines += format_topic_rule(rule) + "\n";
        }
        return lines;
    };
    CHECK(rules({"serve", "--topic", "b: keyed", "--topic=a.>:history=3"}) ==
          "b: keyed\na.>: history=3\n");
    CHECK(rules({"serve", "--topic", "b: keyed\na:"}) == "b: keyed\na:\n");
    setenv("RINGCAST_TOPIC", "c: keyed\nd: presence", 1);
    CHECK(rules({"serve"}) == "c: keyed\nd: presence\n");
    CHECK(rules({"serve", "--topic", "a: keyed"}) == "a: keyed\n");
    unsetenv("RINGCAST_TOPIC");

    std::vector<std::string> many{"serve"};
    for (std::size_t i = 0; i < topic_rules_max; i++) {
        many.insert(many.end(), {"--topic", "a: keyed"});
    }
    CHECK(parse(many).config.topic.size() == topic_rules_max);
    many.insert(many.end(), {"--topic", "a: keyed"});
    int exit_code = 0;
    const std::string line = written(STDERR_FILENO, many, exit_code);
    CHECK(exit_code == 2);
    CHECK(line == "ringcastd: --topic: '1025 rules' is not allowed: at most 1024\n");
}

TEST_CASE("flags: help lists every flag") {
    int exit_code = 1;
    const std::string help = written(STDOUT_FILENO, {"serve", "--help"}, exit_code);
    CHECK(exit_code == 0);
    for (const NumberFlag& flag : number_flags) {
        CHECK_MESSAGE(help.find(std::string("--") + flag.name) != std::string::npos, flag.name);
    }
    for (const SwitchFlag& flag : switch_flags) {
        CHECK_MESSAGE(help.find(std::string("--") + flag.name) != std::string::npos, flag.name);
    }
    for (const RuleNumber& number : rule_numbers) {
        CHECK_MESSAGE(help.find(std::string(number.name) + "=") != std::string::npos, number.name);
        CHECK_MESSAGE(help.find(range_of(number)) != std::string::npos, number.name);
    }
    for (const RuleSwitch& at : rule_switches) {
        CHECK_MESSAGE(help.find(at.help) != std::string::npos, at.name);
    }
}
