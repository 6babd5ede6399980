#include "flags.h"

#include <initializer_list>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace ringcast::tools;

namespace {

Flags parsed(std::initializer_list<const char*> words) {
    std::vector<const char*> argv = {"ringcast"};
    argv.insert(argv.end(), words);
    return parse_flags(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST_CASE("flags: defaults follow from what is given") {
    const Flags flags = parsed({"bench", "fanout", "-c", "45000"});
    REQUIRE_FALSE(flags.leave);
    const BenchOptions& bench = flags.options.bench;
    CHECK(flags.options.verb == Verb::bench_fanout);
    CHECK(bench.connections == 45'000);
    CHECK(bench.sources == 3);
    CHECK(bench.duration_s == 10);
    CHECK(bench.rate == 0);
    CHECK(bench.spin);
    CHECK(bench.url.port == 8080);
    const Flags paced = parsed({"bench", "fanout", "--rate", "2.5", "-m", "7", "--sources", "9"});
    CHECK(paced.options.bench.rate == 2.5);
    CHECK_FALSE(paced.options.bench.spin);
    CHECK(paced.options.bench.duration_s == 0);
    CHECK(paced.options.bench.sources == 9);
}

TEST_CASE("flags: --envelope fills in paths and messages that were not given") {
    const Flags flags =
        parsed({"bench", "fanout", "--envelope", "--publish-path", "/p", "--burst", "4"});
    REQUIRE_FALSE(flags.leave);
    CHECK(flags.options.bench.subscribe_path == "/ws");
    CHECK(flags.options.bench.publish_path == "/p");
    CHECK(flags.options.bench.subscribe_reply == "\"subscribed\"");
    CHECK(flags.options.bench.publish_message.find("{payload}") != std::string::npos);
}

TEST_CASE("flags: every verb is reached") {
    CHECK(parsed({"bench", "connect", "--abort"}).options.verb == Verb::bench_connect);
    CHECK(parsed({"bench", "idle", "--hold", "1.5"}).options.verb == Verb::bench_idle);
    CHECK(parsed({"bench", "echo", "--inflight", "3"}).options.verb == Verb::bench_echo);
    CHECK(parsed({"bench", "recover", "-r", "9"}).options.verb == Verb::bench_recover);
    CHECK(parsed({"bench", "keyed"}).options.verb == Verb::bench_keyed);
    const Flags pub = parsed({"pub", "news", "", "--url", "ws://h:1/x"});
    CHECK(pub.options.verb == Verb::pub);
    CHECK(pub.options.talk.topics == std::vector<std::string>{"news"});
    CHECK(pub.options.talk.has_message);
    CHECK(pub.options.talk.url.host == "h");
    CHECK_FALSE(parsed({"pub", "news"}).options.talk.has_message);
    CHECK(parsed({"pub", "news"}).options.talk.rate < 0);
    CHECK(parsed({"pub", "news", "--rate", "max"}).options.talk.rate == 0);
    CHECK(parsed({"pub", "news", "-r", "2.5"}).options.talk.rate == 2.5);
    const Flags sub = parsed({"sub", "a", "b", "-n", "3", "--json"});
    CHECK(sub.options.verb == Verb::sub);
    CHECK(sub.options.talk.topics == std::vector<std::string>{"a", "b"});
    CHECK(sub.options.talk.count == 3);
    CHECK(sub.options.talk.json);
}

TEST_CASE(
    "flags: a wrong command line is one line with the flag, what was given, what is allowed") {
    const struct {
        std::initializer_list<const char*> words;
        std::string message;
    } rows[] = {
        {{"bench", "fanout", "--size", "31"},
         "ringcast: --size: '31' given, a whole number from 32 to 16777216 allowed\n"},
        {{"bench", "fanout", "-c", "2.5"},
         "ringcast: --connections: '2.5' given, a whole number from 1 to 1000000 allowed\n"},
        {{"bench", "fanout", "-d", "x"},
         "ringcast: --duration: 'x' given, a number from 0.01 to 86400 allowed\n"},
        {{"bench", "fanout", "--rate", "fast"},
         "ringcast: --rate: 'fast' given, a number from 0.001 to 1000000000 allowed, or max\n"},
        {{"bench", "fanout", "--burst", "65"},
         "ringcast: --burst: '65' given, at most --window (64) allowed\n"},
        {{"bench", "fanout", "-c", "2", "-t", "3"},
         "ringcast: --topics: '3' given, at most --connections (2) allowed: each needs a reader\n"},
        {{"bench", "fanout", "--binary", "--envelope"},
         "ringcast: --binary: not with --envelope, which is text\n"},
        {{"bench", "echo", "--url", "http://x"},
         "ringcast: --url: 'http://x' given, ws[s]://HOST[:PORT][/PATH] allowed\n"},
        {{"pub", "t", "--rate", "0"},
         "ringcast: --rate: '0' given, a number from 0.001 to 1000000000 allowed, or max\n"},
        {{"sub"}, "ringcast: TOPIC is required\n"},
        {{"pub", "t", "m", "--file", "f"}, "ringcast: MESSAGE excludes --file\n"},
    };
    for (const auto& row : rows) {
        const Flags flags = parsed(row.words);
        CAPTURE(row.message);
        CHECK(flags.leave);
        CHECK(flags.exit_code == exit_usage);
        CHECK(flags.message == row.message);
    }
    CHECK(parsed({}).exit_code == exit_usage);
    CHECK(parsed({"bench", "fanout", "--nonsense"}).exit_code == exit_usage);
    CHECK(parsed({"bench", "fanout", "--nonsense"}).message.find("--nonsense") !=
          std::string::npos);
}

TEST_CASE("flags: help and version go to stdout and are no failure") {
    CHECK(parsed({"--help"}).exit_code == exit_ok);
    CHECK(parsed({"--help"}).leave);
    CHECK(parsed({"bench", "fanout", "--help"}).message.find("--window") != std::string::npos);
    CHECK(parsed({"--version"}).message == "ringcast " RINGCAST_VERSION "\n");
}

TEST_CASE("flags: who comes back needs an offset to be judged from, and a storm an end") {
    const Flags flags =
        parsed({"bench", "fanout", "--envelope", "--storm-after", "1.5", "-d", "4", "-r", "9"});
    REQUIRE_FALSE(flags.leave);
    CHECK(flags.options.bench.reconnect);
    CHECK(flags.options.bench.storm_after_s == 1.5);
    CHECK(flags.options.bench.publish_url.port == flags.options.bench.url.port);
    const Flags apart = parsed({"bench", "fanout", "--publish-url", "ws://127.0.0.1:9"});
    CHECK(apart.options.bench.publish_url.port == 9);
    CHECK(apart.options.bench.url.port == 8080);
    const auto complaint = [](std::initializer_list<const char*> words) {
        const Flags wrong = parsed(words);
        CHECK(wrong.exit_code == exit_usage);
        return wrong.message;
    };
    CHECK(complaint({"bench", "fanout", "--reconnect", "-r", "9"}) ==
          "ringcast: --reconnect needs --envelope\n");
    CHECK(complaint(
              {"bench", "fanout", "--envelope", "-r", "9", "--reconnect", "--slow-readers", "5"}) ==
          "ringcast: --reconnect excludes --slow-readers\n");
    CHECK(complaint({"bench", "fanout", "--envelope", "--storm-after", "1", "-m", "9"}) ==
          "ringcast: --storm-after needs --duration\n");
    CHECK(complaint({"bench", "fanout", "--envelope", "--reconnect"}) ==
          "ringcast: --reconnect needs a --rate\n");
    CHECK(complaint({"bench", "fanout", "--publish-url", "nowhere"}).find("nowhere") !=
          std::string::npos);
}

TEST_CASE("flags: who is killed all the time needs many ports, and messages to notice silence by") {
    const Flags flags = parsed({"bench", "recover", "-c", "5000", "-r", "1000", "-t", "50"});
    REQUIRE_FALSE(flags.leave);
    const BenchOptions& bench = flags.options.bench;
    CHECK(bench.kills == 1);
    CHECK(bench.duration_s == 10);
    CHECK(bench.sources == 21);
    CHECK(parsed({"bench", "recover", "-r", "9", "--sources", "50"}).options.bench.sources == 50);
    CHECK(parsed({"bench", "recover"}).message == "ringcast: --rate is required\n");
    CHECK(parsed({"bench", "recover", "-r", "max"}).message ==
          "ringcast: --rate: 'max' given, a number allowed\n");
    CHECK(parsed({"bench", "recover", "-r", "2", "-t", "4"}).message ==
          "ringcast: --silence: '3' given, but a topic has a message every 2 seconds: at least "
          "twice that\n");
}

TEST_CASE("flags: of the readers of a keyed topic some are fast, and what is kept has a bound") {
    const Flags flags = parsed({"bench", "keyed", "-r", "2.5", "--slow", "30", "--compare"});
    REQUIRE_FALSE(flags.leave);
    const KeyedOptions& keyed = flags.options.bench.keyed;
    CHECK(flags.options.bench.connections == 1'000);
    CHECK(keyed.rate == 2.5);
    CHECK(keyed.slow == 30);
    CHECK(keyed.slow_rate == 1'000);
    CHECK(keyed.keys == 1'000);
    CHECK(keyed.compare);
    CHECK(parsed({"bench", "keyed", "-c", "5", "--slow", "5"}).message ==
          "ringcast: --slow: '5' given, less than --connections (5) allowed\n");
    CHECK(parsed({"bench", "keyed", "-r", "1e6", "-d", "101"}).message ==
          "ringcast: --duration: these are 101000000 updates, at most 100000000 allowed\n");
    CHECK(parsed({"bench", "keyed", "--raw"}).message.find("--publishers") != std::string::npos);
    CHECK(parsed({"bench", "keyed", "--raw", "--publishers", "1"}).options.bench.keyed.raw);
    CHECK(parsed({"bench", "keyed", "-r", "max"}).exit_code == exit_usage);
    CHECK(parsed({"bench", "keyed", "--keys", "0"}).exit_code == exit_usage);
}

TEST_CASE("flags: a key file is for payloads, not for whole envelopes") {
    CHECK(parsed({"sub", "t", "--key-file", "k"}).options.talk.key_file == "k");
    const Flags both = parsed({"sub", "t", "--key-file", "k", "--json"});
    CHECK(both.exit_code == exit_usage);
    CHECK(both.message.find("--json") != std::string::npos);
}
