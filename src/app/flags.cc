#include "app/flags.h"

#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "app/config_file.h"
#include "app/settings.h"

namespace ringcast::app {

namespace {

struct WrongFile {
    std::string line;
};

std::string env_of(std::string_view flag) {
    std::string name = "RINGCAST_";
    for (const char c : flag) {
        name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    return name;
}

const char* type_of(Unit unit) {
    return unit == Unit::nanos ? "TIME" : unit == Unit::bytes ? "SIZE" : "N";
}

void allow(const std::string& flag, const std::string& problem) {
    if (!problem.empty()) throw CLI::ValidationError(flag, problem);
}

void add_number(CLI::App& app, Config& config, const NumberFlag& flag) {
    const std::string name = std::string("--") + flag.name;
    app.add_option_function<std::string>(
           name,
           [&config, &flag, name](const std::string& text) {
               allow(name, set_number(config, flag, text));
           },
           std::string(flag.help) + " [" + format_number(flag.fallback, flag.unit) + "; " +
               range_of(flag) + "]")
        ->type_name(type_of(flag.unit))
        ->envname(env_of(flag.name));
}

void add_word(CLI::App& app, Config& config, const WordFlag& flag) {
    const std::string name = std::string("--") + flag.name;
    app.add_option_function<std::string>(
           name,
           [&config, &flag, name](const std::string& text) {
               allow(name, set_word(config, flag, text));
           },
           flag.help)
        ->type_name(flag.shown)
        ->envname(env_of(flag.name));
}

void add_list(CLI::App& app, Config& config, const ListFlag& flag) {
    app.add_option(std::string("--") + flag.name, config.*flag.member, flag.help)
        ->type_name(flag.shown)
        ->take_all()
        ->envname(env_of(flag.name));
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
    for (const RuleRight& right : rule_rights) {
        words += std::string("\n  ") + right.name + "=" + std::string(who_words) + "  " +
                 right.help + " [see docs/OPERATIONS.md]";
    }
    return words + "\n  policy=gap|close  as --slow-policy, which holds where it is not given" +
           "\n  seal=NAME  payloads are encrypted with the key of this name (--seal-keys-file)";
}

// A line is a rule: that is how several of them fit into one variable of the environment. They
// stand before those of the file.
void add_rules(Config& config, const std::vector<std::string>& texts) {
    std::vector<TopicRule> rules;
    for (std::string_view rest : texts) {
        bool last = false;
        while (!last) {
            const std::size_t end = rest.find('\n');
            last = end == std::string_view::npos;
            allow("--topic", parse_topic_rule(rest.substr(0, end), rules.emplace_back()));
            rest.remove_prefix(last ? rest.size() : end + 1);
        }
    }
    config.topic.insert(config.topic.begin(), rules.begin(), rules.end());
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

// CLI11 calls back in the order in which flags were added: the file's values are there before
// those of the command line and the environment replace them.
void add_file(CLI::App& serve, Config& config) {
    serve
        .add_option_function<std::string>(
            "--config",
            [&config](const std::string& file) {
                const std::string problem = read_config_file(file, config);
                if (!problem.empty()) throw WrongFile{problem};
            },
            "a TOML file with these flags by their names and [[topic]] tables; command line and "
            "environment win")
        ->type_name("FILE")
        ->envname("RINGCAST_CONFIG");
}

void add_flags(CLI::App& serve, Config& config) {
    add_file(serve, config);
    for (const ListFlag& flag : list_flags) {
        add_list(serve, config, flag);
    }
    for (const WordFlag& flag : word_flags) {
        add_word(serve, config, flag);
    }
    for (const WordFlag& flag : auth_flags) {
        add_word(serve, config, flag);
    }
    add_topics(serve, config);
    for (const SwitchFlag& flag : switch_flags) {
        serve.add_flag(std::string("--") + flag.name, config.*flag.member, flag.help)
            ->envname(env_of(flag.name));
    }
    for (const NumberFlag& flag : number_flags) {
        add_number(serve, config, flag);
    }
}

// Claims of a token that is made.
void add_order(CLI::App& app, TokenOrder& order) {
    TokenClaims& claims = order.claims;
    app.add_option("--sub", claims.user, "whose token it is")->type_name("USER")->required();
    const auto list = [&app](const char* name, std::vector<std::string>& items, const char* help) {
        app.add_option(name, items, help)
            ->type_name("PATTERN")
            ->allow_extra_args(false)
            ->take_all();
    };
    list("--subscribe", claims.subscribe, "topics to subscribe to; may be repeated");
    list("--publish", claims.publish, "topics to publish to; may be repeated");
    list("--presence", claims.presence, "topics whose clients may be asked for; may be repeated");
    app.add_option("--info", claims.info, "what others see of this client")->type_name("JSON");
    app.add_option("--connections", claims.connections, "connections of this user at a time");
    app.add_option("--messages", claims.messages, "messages a second of a connection");
    app.add_option_function<std::string>(
           "--expires",
           [&order](const std::string& text) {
               const bool good = parse_number(text, Unit::nanos, order.expires) &&
                                 order.expires >= units::s &&
                                 order.expires <= 10 * 366 * 24 * units::hour;
               allow("--expires", good ? "" : "'" + text + "' is not allowed: 1s to 87840h");
           },
           "how long it is good for [1h; 1s to 87840h]")
        ->type_name("TIME");
}

// Both ends of a token have the same words for its keys.
void add_token_commands(CLI::App& app, Parsed& parsed) {
    CLI::App* gen = app.add_subcommand("gen-token", "Make a token (HS256) and print it.");
    add_order(*gen, parsed.order);
    CLI::App* look = app.add_subcommand("check-token", "Check the token on standard input.");
    for (const WordFlag& flag : auth_flags) {
        const bool signs = std::string_view(flag.name) != "auth-alg" &&
                           std::string_view(flag.name) != "auth-jwks-file";
        if (signs) add_word(*gen, parsed.config, flag);
        add_word(*look, parsed.config, flag);
    }
    for (const NumberFlag& flag : number_flags) {
        if (std::string_view(flag.name) == "auth-leeway") add_number(*look, parsed.config, flag);
    }
    gen->callback([&parsed] {
        parsed.config.auth_alg = TokenAlgorithm::hs256;
        parsed.command = Command::gen_token;
    });
    look->callback([&parsed] {
        allow("check-token",
              parsed.config.auth_alg == TokenAlgorithm::none ? "it needs --auth-alg" : "");
        parsed.command = Command::check_token;
    });
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

Parsed refused(const std::string& line) {
    std::fprintf(stderr, "ringcastd: %s\n", as_line(line).c_str());
    Parsed parsed;
    parsed.exit_code = 2;
    return parsed;
}

}  // namespace

Parsed parse_flags(int argc, const char* const* argv) {
    Parsed parsed;
    parsed.config.sandbox = Sandbox::automatic;
    CLI::App app("ringcastd: a WebSocket fan-out server", "ringcastd");
    app.require_subcommand(1);
    CLI::App* serve = app.add_subcommand("serve", "Serve until SIGTERM or SIGINT.");
    CLI::App* version = app.add_subcommand("version", "Print the version.");
    add_flags(*serve, parsed.config);
    add_token_commands(app, parsed);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
        app.exit(help);
        return parsed;
    } catch (const WrongFile& wrong) {
        return refused(wrong.line);
    } catch (const CLI::ExtrasError&) {
        return refused(first_unknown(argc, argv, app) +
                       " is no flag of ringcastd: see ringcastd serve --help");
    } catch (const CLI::ConversionError& error) {  // only switches leave it to CLI11
        return refused(std::string(error.what()) + " is not allowed: true or false");
    } catch (const CLI::ParseError& error) {
        return refused(error.what());
    }
    if (parsed.config.listen == std::vector<std::string>{"none"}) parsed.config.listen.clear();
    if (const std::string problem = check(parsed.config); !problem.empty()) {
        return refused(problem);
    }
    if (serve->parsed()) parsed.command = Command::serve;
    if (version->parsed()) parsed.command = Command::version;
    return parsed;
}

}  // namespace ringcast::app
