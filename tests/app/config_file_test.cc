// The configuration file: what it may say, and that whatever is wrong is one line with its place.

#include "app/config_file.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>

#include "app/flags.h"

using namespace ringcast;
using app::read_config_file;
using app::read_config_text;

namespace {

std::string problem_of(std::string_view text) {
    Config config;
    return read_config_text(text, "f.toml", config);
}

Config parsed(std::string_view text) {
    Config config;
    const std::string problem = read_config_text(text, "f.toml", config);
    REQUIRE_MESSAGE(problem.empty(), problem);
    return config;
}

// A file that is gone when the test is.
class TempFile {
  public:
    explicit TempFile(std::string_view text) {
        const int fd = mkstemp(name_.data());
        REQUIRE(fd >= 0);
        REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        close(fd);
    }
    TempFile(const TempFile&) = delete;
    TempFile& operator=(const TempFile&) = delete;
    ~TempFile() { unlink(name_.c_str()); }
    [[nodiscard]] const std::string& name() const { return name_; }

  private:
    std::string name_ = "/tmp/ringcast-config-XXXXXX";
};

Config served(const std::vector<std::string>& words) {
    std::vector<const char*> argv{"ringcastd", "serve"};
    for (const std::string& word : words) {
        argv.push_back(word.c_str());
    }
    app::Parsed made = app::parse_flags(static_cast<int>(argv.size()), argv.data());
    REQUIRE(made.command == app::Command::serve);
    return std::move(made.config);
}

}  // namespace

TEST_CASE("config file: every setting has its name, and the rest stays as it was") {
    const Config config = parsed(R"(
        listen = ["127.0.0.1:0", "[::1]:80"]
        origin = ["https://a.example"]
        io = "epoll"
        slow-policy = "close"
        pin = 3
        congestion = "cubic"
        dev = true
        ping-interval = "7s"
        connections-max = 5_000
        message-max = "1KiB"
        outbox-max = 4096
        seal-keys-file = "keys"

        [[topic]]
        pattern = "prices.*"
        seal = "p"
        history = 1000
        history-age = "60s"
        history-bytes = "2MiB"
        policy = "close"
        presence = true

        [[topic]]
        pattern = " blanks and :"
        keyed = true
    )");
    CHECK(config.listen == std::vector<std::string>{"127.0.0.1:0", "[::1]:80"});
    CHECK(config.origin == std::vector<std::string>{"https://a.example"});
    CHECK(config.io == Io::epoll);
    CHECK(config.slow_policy == SlowPolicy::close);
    CHECK(config.pin == 3);
    CHECK(config.congestion == "cubic");
    CHECK(config.seal_keys_file == "keys");
    CHECK(config.topic.at(0).seal == "p");
    CHECK(config.dev);
    CHECK_FALSE(config.anonymous_publish);
    CHECK(config.ping_interval == 7 * units::s);
    CHECK(config.connections_max == 5000);
    CHECK(config.message_max == units::kib);
    CHECK(config.outbox_max == 4096);
    CHECK(config.pong_timeout == Config().pong_timeout);
    REQUIRE(config.topic.size() == 2);
    CHECK(format_topic_rule(config.topic[0]) ==
          "prices.*: history=1000, history-bytes=2MiB, history-age=1min, presence, policy=close, "
          "seal=p");
    CHECK(config.topic[1].pattern == " blanks and :");
    CHECK(config.topic[1].keyed);
    CHECK(parsed("").listen == Config().listen);
}

TEST_CASE("config file: numbers take their ranges, and nothing past them") {
    for (const NumberFlag& flag : number_flags) {
        const auto line = [&flag](std::uint64_t number) {
            const std::string text = format_number(number, flag.unit);
            return std::string(flag.name) + " = " +
                   (flag.unit == Unit::count ? text : '"' + text + '"');
        };
        CHECK(parsed(line(flag.least)).*flag.member == flag.least);
        CHECK(parsed(line(flag.most)).*flag.member == flag.most);
        const std::string problem = problem_of(line(flag.most + 1));
        CHECK(problem == std::string("f.toml:1: ") + flag.name + ": '" +
                             format_number(flag.most + 1, flag.unit) +
                             "' is not allowed: " + range_of(flag));
    }
}

TEST_CASE("config file: what is wrong is named with its line and key") {
    struct Row {
        const char* text;
        const char* problem;
    };
    for (const Row& row : std::array<Row, 36>{{
             {"\npingx = 3", "f.toml:2: pingx: is no setting"},
             {"zz = 1\naa = 1", "f.toml:1: zz: is no setting"},
             {"ping-interval = 25", "f.toml:1: ping-interval: a string is needed, as \"25s\""},
             {"ping-interval = \"25\"", "f.toml:1: ping-interval: '25' is not allowed: 50ms to 1h"},
             {"ping-interval = true", "f.toml:1: ping-interval: a string is needed"},
             {"[ping-interval]", "f.toml:1: ping-interval: a string is needed"},
             {"shards = \"2\"", "f.toml:1: shards: an integer is needed"},
             {"shards = 2.0", "f.toml:1: shards: an integer is needed"},
             {"shards = -1", "f.toml:1: shards: '-1' is not allowed: 0 to 64"},
             {"message-max = 1.5", "f.toml:1: message-max: a string as \"64KiB\""},
             {"dev = 1", "f.toml:1: dev: true or false is needed"},
             {"dev = \"true\"", "f.toml:1: dev: true or false is needed"},
             {"listen = \"a\"", "f.toml:1: listen: an array of strings is needed"},
             {"listen = [1]", "f.toml:1: listen: an array of strings is needed"},
             {"dev = false\nlisten = []", "f.toml:2: listen: '' is not allowed: ADDR:PORT"},
             {"\nlisten = [\n\"x\"]", "f.toml:2: listen: 'x' is not allowed: ADDR:PORT"},
             {"origin = [\"a.example\"]", "f.toml:1: origin: 'a.example' is not allowed"},
             {"io = \"kqueue\"", "f.toml:1: io: 'kqueue' is not allowed: auto|epoll|uring"},
             {"io = 1", "f.toml:1: io: a string is needed"},
             {"pin = \"1\"", "f.toml:1: pin: an integer is needed"},
             {"pin = 4096", "f.toml:1: pin: '4096' is not allowed: -1 to 4095"},
             {"dev = true\nlisten = [\"0.0.0.0:80\"]", "f.toml:2: listen: '0.0.0.0:80'"},
             {"shards = 1\nshards = 2", "f.toml:2: "},
             {"shards = ", "f.toml:1: "},
             {"a = \"\xff\"", "f.toml:1: "},
             {"topic = 1", "f.toml:1: topic: rules are [[topic]] tables"},
             {"topic = [1]", "f.toml:1: topic: rules are [[topic]] tables"},
             {"[topic]", "f.toml:1: topic: rules are [[topic]] tables"},
             {"\n[[topic]]\nkeyed = true", "f.toml:2: topic: it has no pattern"},
             {"[[topic]]\npattern = 1", "f.toml:2: topic.pattern: a string is needed"},
             {"[[topic]]\npattern = \"a\"\nhistry = 1", "f.toml:3: topic.histry: 'a': 'histry'"},
             {"[[topic]]\npattern = \"a\"\nhistory = -1", "history=0 to 1000000000"},
             {"[[topic]]\npattern = \"a\"\npolicy = 1", "topic.policy: a string is needed"},
             {"[[topic]]\npattern = \"a\"\nseal = true", "topic.seal: a string is needed"},
             {"[[topic]]\npattern = \"a\"\nseal = \"k\"", "seal needs --seal-keys-file"},
             {"[[topic]]\npattern = \"a\"\nkeys-max = 1", "f.toml:1: topic: 'a': keys-max needs"},
         }}) {
        CAPTURE(row.text);
        const std::string problem = problem_of(row.text);
        CAPTURE(problem);
        CHECK(problem.find(row.problem) != std::string::npos);
        CHECK(problem.find('\n') == std::string::npos);
        CHECK(problem.starts_with("f.toml:"));
    }
}

TEST_CASE("config file: too many rules are refused where they begin") {
    std::string text = "\n";
    for (std::size_t i = 0; i <= topic_rules_max; i++) {
        text += "[[topic]]\npattern = \"a\"\n";
    }
    CHECK(problem_of(text).starts_with("f.toml:2: topic: '1025 rules' is not allowed"));
}

TEST_CASE("config file: command line before environment before file before default") {
    const TempFile file(
        "ping-interval = \"3s\"\npong-timeout = \"3s\"\nstall-timeout = \"3s\"\n"
        "dev = true\nlisten = [\"127.0.0.1:1\"]\n"
        "[[topic]]\npattern = \"a\"\nkeyed = true\n");
    setenv("RINGCAST_PING_INTERVAL", "2s", 1);
    setenv("RINGCAST_PONG_TIMEOUT", "2s", 1);
    const Config config = served({"--ping-interval", "1s", "--config", file.name()});
    CHECK(config.ping_interval == 1 * units::s);
    CHECK(config.pong_timeout == 2 * units::s);
    CHECK(config.stall_timeout == 3 * units::s);
    CHECK(config.close_timeout == Config().close_timeout);
    CHECK(config.dev);
    CHECK(config.listen == std::vector<std::string>{"127.0.0.1:1"});
    unsetenv("RINGCAST_PING_INTERVAL");
    unsetenv("RINGCAST_PONG_TIMEOUT");

    setenv("RINGCAST_CONFIG", file.name().c_str(), 1);
    const Config other = served({"--dev=false", "--listen", "0.0.0.0:2", "--topic", "b: presence"});
    CHECK_FALSE(other.dev);
    CHECK(other.listen == std::vector<std::string>{"0.0.0.0:2"});
    REQUIRE(other.topic.size() == 2);
    CHECK(other.topic[0].pattern == "b");
    CHECK(other.topic[1].pattern == "a");
    unsetenv("RINGCAST_CONFIG");
}

TEST_CASE("config file: one that cannot be read is named") {
    Config config;
    CHECK(read_config_file("/nowhere/at/all", config) ==
          "--config /nowhere/at/all: No such file or directory");
    CHECK(read_config_file("/tmp", config) == "--config /tmp: Is a directory");
    CHECK(read_config_file("/dev/zero", config) == "--config /dev/zero: larger than 1MiB");
    const TempFile file("shards = 3");
    CHECK(read_config_file(file.name(), config).empty());
    CHECK(config.shards == 3);
}
