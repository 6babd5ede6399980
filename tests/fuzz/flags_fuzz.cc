// Property: whatever the words and the environment, ringcastd either gets a Config whose every
// value is allowed, and which written out as flags is read as the same again; or it shows help; or
// it says one line and exits with 2. A number that a word is can be written so that it is read as
// the same, and a Config with it is refused exactly where it is outside of its range. The input is
// the words, with a zero between two of them; one that begins with RINGCAST_ and has a '=' goes to
// the environment.

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "app/flags.h"
#include "base/bytes.h"
#include "tests/fuzz/split.h"

using namespace ringcast;
using app::Command;
using app::Parsed;

namespace {

struct Words {
    std::vector<std::string> flags;
    std::vector<std::string> variables;  // names of what was put into the environment
};

Words read_words(std::string_view text) {
    Words words;
    while (!text.empty() && words.flags.size() < 64) {
        const std::string word(text.substr(0, text.find('\0')));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        const std::size_t equals = word.find('=');
        if (word.starts_with("RINGCAST_") && equals != std::string::npos) {
            words.variables.push_back(word.substr(0, equals));
            setenv(words.variables.back().c_str(), word.c_str() + equals + 1, 1);
        } else {
            words.flags.push_back(word);
        }
    }
    return words;
}

Parsed parse(const std::vector<std::string>& words) {
    std::vector<const char*> argv{"ringcastd"};
    for (const std::string& word : words) {
        argv.push_back(word.c_str());
    }
    return app::parse_flags(static_cast<int>(argv.size()), argv.data());
}

// What is said while this lives: stderr, and std::cout for help.
class Listener {
  public:
    Listener() : stream_(open_memstream(&text_, &size_)), kept_(stderr) {
        test::demand(stream_ != nullptr, "there is memory");
        cout_ = std::cout.rdbuf(help_.rdbuf());
        stderr = stream_;
    }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() {
        stop();
        std::free(text_);
    }

    void stop() {
        if (stream_ == nullptr) return;
        stderr = kept_;
        std::cout.rdbuf(cout_);
        std::fclose(stream_);
        stream_ = nullptr;
    }
    [[nodiscard]] std::string_view said() const { return {text_, size_}; }
    [[nodiscard]] std::string help() const { return help_.str(); }

  private:
    char* text_ = nullptr;
    std::size_t size_ = 0;
    std::FILE* stream_;
    std::FILE* kept_;
    std::streambuf* cout_ = nullptr;
    std::ostringstream help_;
};

std::vector<std::string> written(const Config& config) {
    std::vector<std::string> words{"serve", "--pin=" + std::to_string(config.pin)};
    for (const std::string& address : config.listen) {
        words.push_back("--listen=" + address);
    }
    for (const std::string& origin : config.origin) {
        words.push_back("--origin=" + origin);
    }
    if (!config.congestion.empty()) words.push_back("--congestion=" + config.congestion);
    if (config.auth_alg != TokenAlgorithm::none) {
        words.push_back("--auth-alg=" + std::string(name_of(config.auth_alg)));
    }
    for (const auto& [name, text] : {std::pair{"--auth-key-file=", &config.auth_key_file},
                                     std::pair{"--auth-jwks-file=", &config.auth_jwks_file},
                                     std::pair{"--auth-issuer=", &config.auth_issuer},
                                     std::pair{"--auth-audience=", &config.auth_audience}}) {
        if (!text->empty()) words.push_back(name + *text);
    }
    if (!config.store.empty()) words.push_back("--store=" + config.store);
    if (!config.seal_keys_file.empty()) {
        words.push_back("--seal-keys-file=" + config.seal_keys_file);
    }
    words.push_back(std::string("--io=") + (config.io == Io::uring   ? "uring"
                                            : config.io == Io::epoll ? "epoll"
                                                                     : "auto"));
    words.push_back(std::string("--slow-policy=") +
                    (config.slow_policy == SlowPolicy::gap ? "gap" : "close"));
    for (const TopicRule& rule : config.topic) {
        words.push_back("--topic=" + format_topic_rule(rule));
    }
    for (const SwitchFlag& flag : switch_flags) {
        if (config.*flag.member) words.push_back(std::string("--") + flag.name);
    }
    for (const NumberFlag& flag : number_flags) {
        words.push_back(std::string("--") + flag.name + "=" +
                        format_number(config.*flag.member, flag.unit));
    }
    return words;
}

void check_served(const Config& config) {
    for (const NumberFlag& flag : number_flags) {
        test::demand(config.*flag.member >= flag.least, "a number is not below its range");
        test::demand(config.*flag.member <= flag.most, "a number is not above its range");
    }
    test::demand(config.pin >= pin_least && config.pin <= pin_most, "a CPU is in its range");
    test::demand(!config.listen.empty(), "there is somewhere to listen");
    test::demand(check(config).empty(), "what was read is allowed");
    const Parsed again = parse(written(config));
    test::demand(again.command == Command::serve, "what was read can be written");
    test::demand(written(again.config) == written(config), "and is read as the same");
}

// As a program does that uses the library, and puts numbers into the Config itself.
void check_number(std::string_view word) {
    for (const Unit unit : {Unit::count, Unit::nanos, Unit::bytes}) {
        std::uint64_t number = 0;
        if (!parse_number(word, unit, number)) continue;
        std::uint64_t again = 0;
        test::demand(parse_number(format_number(number, unit), unit, again), "it can be written");
        test::demand(again == number, "and is read as the same number");
        Config config;
        config.pin = static_cast<std::int64_t>(number % 8192) - 2;
        const bool pinned = config.pin >= pin_least && config.pin <= pin_most;
        test::demand(check(config).empty() == pinned, "a CPU outside of its range is refused");
        const NumberFlag& flag = number_flags[number % number_flags.size()];
        config.pin = pin_least;
        config.*flag.member = number;
        const bool allowed = number >= flag.least && number <= flag.most;
        test::demand(check(config).empty() == allowed, "so is a number");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Words words = read_words(as_text(std::as_bytes(std::span(data, size))));
    Listener listener;
    const Parsed parsed = parse(words.flags);
    listener.stop();
    for (const std::string& word : words.flags) {
        check_number(word);
    }
    for (const std::string& name : words.variables) {
        unsetenv(name.c_str());
    }
    const std::string_view said = listener.said();
    if (parsed.command != Command::stop) {
        test::demand(said.empty(), "nothing is said of right flags");
        if (parsed.command == Command::serve) check_served(parsed.config);
    } else if (parsed.exit_code == 0) {
        test::demand(!listener.help().empty(), "help was asked for and came");
    } else {
        test::demand(parsed.exit_code == 2, "a wrong flag exits with 2");
        test::demand(said.starts_with("ringcastd: "), "a line begins with who says it");
        test::demand(said.find('\n') == said.size() - 1, "a wrong flag is one line");
    }
    return 0;
}
