#include "app/flags.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>

namespace ringcast::app {

namespace {

std::string env_of(std::string_view flag) {
    std::string name = "RINGCAST_";
    for (const char c : flag) {
        name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    return name;
}

// CLI11's own reading of integers takes 0x10 and 010 for numbers, too.
std::int64_t read_pin(const std::string& text) {
    std::int64_t pin = 0;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, pin);
    if (read.ec != std::errc() || read.ptr != end || pin < pin_least || pin > pin_most) {
        throw CLI::ValidationError("--pin",
                                   "'" + text + "' is not allowed: " + std::to_string(pin_least) +
                                       " to " + std::to_string(pin_most));
    }
    return pin;
}

const char* type_of(Unit unit) {
    return unit == Unit::nanos ? "TIME" : unit == Unit::bytes ? "SIZE" : "N";
}

void add_number(CLI::App& app, Config& config, const NumberFlag& flag) {
    app.add_option_function<std::string>(
           std::string("--") + flag.name,
           [&config, &flag](const std::string& text) {
               std::uint64_t number = 0;
               const bool good = parse_number(text, flag.unit, number) && number >= flag.least &&
                                 number <= flag.most;
               if (!good) {
                   throw CLI::ValidationError(std::string("--") + flag.name,
                                              "'" + text + "' is not allowed: " + range_of(flag));
               }
               config.*flag.member = number;
           },
           std::string(flag.help) + " [" + format_number(flag.fallback, flag.unit) + "; " +
               range_of(flag) + "]")
        ->type_name(type_of(flag.unit))
        ->envname(env_of(flag.name));
}

template <typename Enum>
void add_choice(CLI::App& app,
                const std::string& flag,
                Enum& target,
                const std::map<std::string, Enum>& choices,
                const std::string& help) {
    std::string names;
    for (const auto& [name, value] : choices) {
        names += (names.empty() ? "" : "|") + name;
    }
    app.add_option_function<std::string>(
           flag,
           [&target, choices, flag, names](const std::string& text) {
               const auto found = choices.find(text);
               if (found == choices.end()) {
                   throw CLI::ValidationError(flag, "'" + text + "' is not allowed: " + names);
               }
               target = found->second;
           },
           help)
        ->type_name(names)
        ->envname(env_of(flag.substr(2)));
}

// Of a rule; the flags' own ranges stand beside each.
std::string words_of_rules() {
    std::string words;
    for (const RuleNumber& number : rule_numbers) {
        words += std::string("\n  ") + number.name + "=" + type_of(number.unit) + "  " +
                 number.help + " [" + format_number(number.fallback, number.unit) + "; " +
                 range_of(number) + "]";
    }
    for (const RuleSwitch& at : rule_switches) {
        words += std::string("\n  ") + at.name + "  " + at.help;
    }
    return words + "\n  policy=gap|close  as --slow-policy, which holds where it is not given";
}

// A line is a rule: that is how several of them fit into one variable of the environment.
void add_rules(Config& config, const std::vector<std::string>& texts) {
    for (std::string_view rest : texts) {
        bool last = false;
        while (!last) {
            const std::size_t end = rest.find('\n');
            last = end == std::string_view::npos;
            const std::string problem =
                parse_topic_rule(rest.substr(0, end), config.topic.emplace_back());
            if (!problem.empty()) throw CLI::ValidationError("--topic", problem);
            rest.remove_prefix(last ? rest.size() : end + 1);
        }
    }
}

void add_topics(CLI::App& serve, Config& config) {
    serve
        .add_option_function<std::vector<std::string>>(
            "--topic",
            [&config](const std::vector<std::string>& texts) { add_rules(config, texts); },
            "how topics are kept whose names match a pattern (prices.*, chat.>): 'PATTERN: WORD, "
            "WORD=VALUE, ...'; may be repeated, the first that matches holds. Words:" +
                words_of_rules())
        ->type_name("RULE")
        ->allow_extra_args(false)
        ->take_all()
        ->envname("RINGCAST_TOPIC");
}

void add_flags(CLI::App& serve, Config& config) {
    serve
        .add_option("--listen",
                    config.listen,
                    "where to listen; may be repeated; port 0 lets the system choose "
                    "[127.0.0.1:8080]")
        ->type_name("ADDR:PORT")
        ->take_all()
        ->envname("RINGCAST_LISTEN");
    serve
        .add_option("--origin",
                    config.origin,
                    "web pages that may connect, e.g. https://example.com; may be repeated [all; "
                    "with --dev the server's own]")
        ->type_name("ORIGIN")
        ->take_all()
        ->envname("RINGCAST_ORIGIN");
    add_choice<Io>(serve,
                   "--io",
                   config.io,
                   {{"auto", Io::automatic}, {"uring", Io::uring}, {"epoll", Io::epoll}},
                   "how to talk to the kernel; auto: io_uring where it may be used [auto]");
    add_choice<SlowPolicy>(serve,
                           "--slow-policy",
                           config.slow_policy,
                           {{"gap", SlowPolicy::gap}, {"close", SlowPolicy::close}},
                           "a client that fell off the log skips and is told, or is closed [gap]");
    serve
        .add_option_function<std::string>(
            "--pin",
            [&config](const std::string& text) { config.pin = read_pin(text); },
            "CPU of the first shard; -1: shard i on CPU i when there are enough [-1]")
        ->type_name("CPU")
        ->envname("RINGCAST_PIN");
    serve
        .add_option("--congestion",
                    config.congestion,
                    "congestion control of clients' connections, e.g. cubic [the system's]")
        ->type_name("NAME")
        ->envname("RINGCAST_CONGESTION");
    add_topics(serve, config);
    for (const SwitchFlag& flag : switch_flags) {
        serve.add_flag(std::string("--") + flag.name, config.*flag.member, flag.help)
            ->envname(env_of(flag.name));
    }
    for (const NumberFlag& flag : number_flags) {
        add_number(serve, config, flag);
    }
}

// CLI11 lists what was left over in an order of its own; the first one is what was meant.
std::string first_unknown(int argc, const char* const* argv, const CLI::App& app) {
    const std::vector<std::string> unknown = app.remaining(true);
    for (int i = 1; i < argc; i++) {
        const std::string word(argv[i]);
        if (std::find(unknown.begin(), unknown.end(), word) == unknown.end()) continue;
        return word.starts_with('-') ? word.substr(0, word.find('=')) : word;
    }
    return "nothing";
}

// One line, whatever the words were: a line break in one of them must not begin another.
Parsed refused(std::string line) {
    std::replace_if(
        line.begin(),
        line.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
        '?');
    std::fprintf(stderr, "ringcastd: %s\n", line.c_str());
    Parsed parsed;
    parsed.exit_code = 2;
    return parsed;
}

}  // namespace

Parsed parse_flags(int argc, const char* const* argv) {
    Parsed parsed;
    CLI::App app("ringcastd: a WebSocket fan-out server", "ringcastd");
    app.require_subcommand(1);
    CLI::App* serve = app.add_subcommand("serve", "Serve until SIGTERM or SIGINT.");
    CLI::App* version = app.add_subcommand("version", "Print the version.");
    add_flags(*serve, parsed.config);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
        app.exit(help);
        return parsed;
    } catch (const CLI::ExtrasError&) {
        return refused(first_unknown(argc, argv, app) +
                       " is no flag of ringcastd: see ringcastd serve --help");
    } catch (const CLI::ConversionError& error) {  // only switches leave it to CLI11
        return refused(std::string(error.what()) + " is not allowed: true or false");
    } catch (const CLI::ParseError& error) {
        return refused(error.what());
    }
    if (const std::string problem = check(parsed.config); !problem.empty()) {
        return refused(problem);
    }
    parsed.command = version->parsed() ? Command::version : Command::serve;
    return parsed;
}

}  // namespace ringcast::app
