// What an operator may set: numbers in their units, and what is said of those that are not allowed.

#include "ringcast/config.h"

#include <array>
#include <string>
#include <vector>

#include "tests/node/cluster.h"

using namespace ringcast;
using namespace ringcast::node::test;

TEST_CASE("config: numbers are read in their unit") {
    struct Row {
        const char* text;
        Unit unit;
        std::uint64_t number;
    };
    for (const Row& row :
         std::array<Row, 16>{{{"25s", Unit::nanos, 25 * units::s},
                              {"0.3s", Unit::nanos, 300 * units::ms},
                              {"300ms", Unit::nanos, 300 * units::ms},
                              {"1.5us", Unit::nanos, 1500},
                              {"0.000001h", Unit::nanos, 3'600'000},
                              {"0.1GiB", Unit::bytes, 107'374'182},
                              {"17179869183.999999GiB", Unit::bytes, UINT64_MAX - 1073},
                              {"1h", Unit::nanos, units::hour},
                              {"0", Unit::nanos, 0},
                              {"64KiB", Unit::bytes, 64 * units::kib},
                              {"1.5MiB", Unit::bytes, 3 * units::mib / 2},
                              {"2MB", Unit::bytes, 2'000'000},
                              {"17", Unit::bytes, 17},
                              {"17", Unit::count, 17},
                              {"0", Unit::count, 0},
                              {"18446744073709551615", Unit::count, UINT64_MAX}}}) {
        CAPTURE(row.text);
        std::uint64_t number = 1;
        CHECK(parse_number(row.text, row.unit, number));
        CHECK(number == row.number);
    }
}

TEST_CASE("config: what is no number of the unit is refused") {
    std::uint64_t number = 0;
    for (const char* text : {"",
                             "s",
                             "-1s",
                             "+1s",
                             "25",
                             "0.5",
                             "25x",
                             "25 s",
                             "1e3s",
                             "1.5e3s",
                             "1.s",
                             ".5s",
                             "1.5ns",
                             "1.-5s",
                             "0.0000001h",
                             "0x1s",
                             "99999999999999999999s",
                             "18446744073709551615.9us"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_number(text, Unit::nanos, number));
    }
    for (const char* text :
         {"", "KiB", "-1", "1kib", "1s", "17179869185GiB", "1.5", "1.0", "1.5B", "1e3"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_number(text, Unit::bytes, number));
    }
    for (const char* text : {"", "1KiB", "1.5", "1.0", "1.", "1e3", "0x10", " 1", "1 ", "-0"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_number(text, Unit::count, number));
    }
}

TEST_CASE("config: a number is written so that it is read as the same") {
    for (const NumberFlag& flag : number_flags) {
        for (const std::uint64_t number : {flag.least, flag.fallback, flag.most}) {
            CAPTURE(flag.name);
            std::uint64_t back = 0;
            const std::string text = format_number(number, flag.unit);
            CAPTURE(text);
            CHECK(parse_number(text, flag.unit, back));
            CHECK(back == number);
        }
    }
}

TEST_CASE("config: what nobody has touched is allowed") {
    CHECK(check(Config()).empty());
    Config config;
    for (const NumberFlag& flag : number_flags) {
        for (const std::uint64_t number : {flag.least, flag.most}) {
            config.*flag.member = number;
            CHECK_MESSAGE(check(config).empty(), check(config));
        }
    }
}

TEST_CASE("config: a number out of its range is named, with what was given and what is allowed") {
    for (const NumberFlag& flag : number_flags) {
        std::vector<std::uint64_t> wrong{flag.most + 1, UINT64_MAX};
        if (flag.least > 0) wrong.insert(wrong.end(), {0, flag.least - 1});
        for (const std::uint64_t number : wrong) {
            Config config;
            config.*flag.member = number;
            CHECK(check(config) == std::string("--") + flag.name + ": '" +
                                       format_number(number, flag.unit) +
                                       "' is not allowed: " + range_of(flag));
        }
    }
    Config config;
    for (const std::int64_t pin : {pin_least - 1, pin_most + 1, INT64_MIN, INT64_MAX}) {
        config.pin = pin;
        CHECK(check(config) == "--pin: '" + std::to_string(pin) + "' is not allowed: -1 to 4095");
    }
}

TEST_CASE("config: addresses are numbers, and loopback with --dev") {
    struct Row {
        const char* listen;
        bool allowed;
        bool with_dev;
    };
    for (const Row& row : std::array<Row, 15>{{{"127.0.0.1:0", true, true},
                                               {"127.9.9.9:80", true, true},
                                               {"[::1]:65535", true, true},
                                               {"0.0.0.0:80", true, false},
                                               {"[::]:80", true, false},
                                               {"[::101]:80", true, false},
                                               {"[fe80::1]:80", true, false},
                                               {"10.0.0.1:80", true, false},
                                               {"", false, false},
                                               {"nonsense", false, false},
                                               {"localhost:80", false, false},
                                               {"127.0.0.1", false, false},
                                               {"127.0.0.1:", false, false},
                                               {"[::1:80", false, false},
                                               {"127.0.0.1:65536", false, false}}}) {
        CAPTURE(row.listen);
        Config config;
        config.listen = {"127.0.0.1:8080", row.listen};
        CHECK(check(config).empty() == row.allowed);
        config.dev = true;
        const std::string problem = check(config);
        CHECK(problem.empty() == row.with_dev);
        if (row.with_dev) continue;
        CHECK(problem.starts_with("--listen: '" + std::string(row.listen) + "' is not allowed: "));
        CHECK((problem.find("loopback") != std::string::npos) == row.allowed);
    }
    Config config;
    config.listen.clear();
    CHECK(check(config).find("ADDR:PORT") != std::string::npos);
}

TEST_CASE("config: TLS needs a place, and certificates with a key each") {
    const std::string place = "127.0.0.1:443";
    struct Row {
        std::vector<std::string> listen;
        std::vector<std::string> certificates;
        std::vector<std::string> keys;
        const char* problem;
    };
    for (const Row& row : std::array<Row, 8>{{
             {{place}, {"c"}, {"k"}, ""},
             {{place, "0.0.0.0:443"}, {"c", "d"}, {"k", "l"}, ""},
             {{place}, {}, {}, "--tls-listen: '127.0.0.1:443' is not allowed: it needs --tls-cert"},
             {{}, {"c"}, {"k"}, "--tls-cert: 'c' is not allowed: it needs --tls-listen"},
             {{place}, {"c"}, {}, "--tls-key: '0 files' is not allowed: one for each --tls-cert"},
             {{place}, {}, {"k"}, "--tls-key: '1 files'"},
             {{place}, {"c", "d"}, {"k"}, "--tls-key: '1 files'"},
             {{"443"}, {"c"}, {"k"}, "--tls-listen: '443' is not allowed: ADDR:PORT"},
         }}) {
        Config config;
        config.tls_listen = row.listen;
        config.tls_cert = row.certificates;
        config.tls_key = row.keys;
        const std::string problem = check(config);
        CAPTURE(problem);
        CHECK(problem.empty() == (*row.problem == '\0'));
        CHECK(problem.starts_with(row.problem));
    }
    Config config;
    config.tls_listen = {"0.0.0.0:443"};
    config.tls_cert = config.tls_key = {"f"};
    config.listen.clear();  // TLS alone
    CHECK(check(config).empty());
    config.dev = true;
    CHECK(check(config).starts_with("--tls-listen: '0.0.0.0:443' is not allowed: with --dev"));
}

TEST_CASE("config: an origin stands there as browsers write it") {
    Config config;
    config.origin = {"https://a.example", "null"};
    CHECK(check(config).empty());
    config.origin.emplace_back("https://a.example/");
    CHECK(check(config).starts_with("--origin: 'https://a.example/' is not allowed: SCHEME://"));
}

TEST_CASE("config: what only io_uring can do is not asked of epoll") {
    Config config;
    config.direct_descriptors = true;
    CHECK(check(config).empty());
    config.io = Io::uring;
    CHECK(check(config).empty());
    config.io = Io::epoll;
    CHECK(check(config) ==
          "--direct-descriptors: 'true' is not allowed: only io_uring has them, not --io epoll");
}

TEST_CASE("config: context is for those who compress") {
    Config config;
    config.compression_context = true;
    CHECK(check(config) == "--compression-context: 'true' is not allowed: only with --compression");
    config.compression = true;
    CHECK(check(config).empty());
}

TEST_CASE("config: a topic's log may grow to its limit on each shard, however many there are") {
    for (const std::uint32_t shards : {1u, 4u}) {
        CAPTURE(shards);
        Config config = open_config();
        config.messages_per_second = 0;
        config.topic_log_max = 256 * units::kib;
        Cluster cluster(config, shards);
        Client& reader = cluster.greet();
        reader.say(R"({"type":"subscribe","id":"1","topic":"t"})");
        cluster.settle();
        CHECK(Json(reader.take_one()).text("type") == "subscribed");
        reader.socket->room = 0;
        Client& writer = cluster.greet();
        const std::string payload(1000, 'x');
        for (int i = 0; i < 150; i++) {
            writer.say(R"({"type":"publish","id":"1","topic":"t","payload":")" + payload + "\"}");
            cluster.settle();
        }
        reader.socket->room = FakeSocket::endless;
        cluster.settle();
        CHECK(reader.take().size() == 150);
    }
}

TEST_CASE("config: a durable rule needs a store, and is not for keyed topics") {
    Config config;
    TopicRule& rule = config.topic.emplace_back();
    rule.pattern = "a.>";
    rule.durable = true;
    CHECK(check(config) == "--topic: 'a.>': durable needs --store FILE");
    config.store = "file";
    CHECK(check(config).empty());
    rule.keyed = true;
    CHECK(check(config) == "--topic: 'a.>': durable is not for keyed topics");
    rule.durable = false;
    CHECK(check(config).empty());
}

TEST_CASE("config: tokens have their keys, and nobody is anonymous by oversight") {
    struct Row {
        std::string problem;  // what it begins with
        void (*set)(Config& config);
    };
    const auto with = [](Config& config, const char* rule) {
        REQUIRE(parse_topic_rule(rule, config.topic.emplace_back()).empty());
    };
    for (const Row& row :
         std::vector<Row>{{"", [](Config& config) { config.auth_key_file = "f"; }},
                          {"", [](Config& config) { config.auth_keys = "k"; }},
                          {"--auth-key-file: needed with --auth-alg HS256", [](Config&) {}},
                          {"--auth-jwks-file: needed with --auth-alg ES256",
                           [](Config& config) { config.auth_alg = TokenAlgorithm::es256; }},
                          {"--auth-key-file: not with --auth-alg EdDSA",
                           [](Config& config) {
                               config.auth_alg = TokenAlgorithm::eddsa;
                               config.auth_key_file = config.auth_jwks_file = "f";
                           }},
                          {"--auth-key-file: needs --auth-alg",
                           [](Config& config) {
                               config.auth_alg = TokenAlgorithm::none;
                               config.auth_key_file = "f";
                           }},
                          {"--auth-issuer: it must be one line",
                           [](Config& config) {
                               config.auth_keys = "k";
                               config.auth_issuer = "a\nb";
                           }},
                          {"--anonymous-publish: not with --auth-alg HS256", [](Config& config) {
                               config.auth_keys = "k";
                               config.anonymous_publish = true;
                           }}}) {
        Config config;
        config.auth_alg = TokenAlgorithm::hs256;
        row.set(config);
        const std::string problem = check(config);
        CAPTURE(problem);
        CHECK(problem.starts_with(row.problem));
        CHECK(problem.empty() == row.problem.empty());
    }
    Config config;
    config.auth_alg = TokenAlgorithm::hs256;
    config.auth_keys = "k";
    with(config, "a: subscribe-by=user, publish-by=token, history-by=nobody");
    CHECK(check(config).empty());
    with(config, "b: presence-by=anyone");
    CHECK(check(config).starts_with("--origin: needed, since rule 'b'"));
    config.origin = {"null"};
    CHECK(check(config).empty());
    config.auth_alg = TokenAlgorithm::none;
    CHECK(check(config) == "--topic: 'a': subscribe-by=user needs --auth-alg");
}

TEST_CASE("config: a sealed rule needs a file of keys, and a name that may be in it") {
    Config config;
    TopicRule rule;
    rule.pattern = "a.>";
    rule.seal = "k";
    config.topic = {rule};
    CHECK(check(config) == "--topic: 'a.>': seal needs --seal-keys-file FILE");
    config.seal_keys_file = "keys";
    CHECK(check(config).empty());
    config.topic.front().seal = "k k";
    CHECK(check(config) ==
          "--topic: 'a.>': 'seal=k k' is not allowed: seal=the name of a key in --seal-keys-file");
}
