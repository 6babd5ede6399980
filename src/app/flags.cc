#include "app/flags.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <map>
#include <span>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>

namespace ringcast::app {

namespace {

struct Suffix {
    std::string_view text;
    std::uint64_t factor;
};

// Largest first: format_number() takes the first that divides.
constexpr std::array<Suffix, 6> time_suffixes{{{"h", units::hour},
                                               {"min", 60 * units::s},
                                               {"s", units::s},
                                               {"ms", units::ms},
                                               {"us", 1000},
                                               {"ns", 1}}};
constexpr std::array<Suffix, 7> size_suffixes{{{"GiB", units::gib},
                                               {"MiB", units::mib},
                                               {"KiB", units::kib},
                                               {"GB", 1'000'000'000},
                                               {"MB", 1'000'000},
                                               {"KB", 1'000},
                                               {"B", 1}}};

constexpr const char* listen_shape = "ADDR:PORT or [ADDR]:PORT in numbers, port 0 to 65535";

// Whether `text` is such an address, and whether only this machine can reach it.
bool read_address(const std::string& text, bool& loopback) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0) return false;
    unsigned port = 0;
    const char* end = text.data() + text.size();
    const auto digits = std::from_chars(text.data() + colon + 1, end, port);
    if (digits.ec != std::errc() || digits.ptr != end || port > 65535) return false;
    std::string host = text.substr(0, colon);
    if (host.front() == '[' && host.back() == ']') {
        in6_addr address{};
        if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &address) != 1)
            return false;
        loopback = IN6_IS_ADDR_LOOPBACK(&address);
        return true;
    }
    in_addr address{};
    if (inet_pton(AF_INET, host.c_str(), &address) != 1) return false;
    loopback = (ntohl(address.s_addr) >> 24) == 127;
    return true;
}

// What no single flag can know.
void check_together(const Config& config) {
    for (const std::string& text : config.listen) {
        bool loopback = false;
        if (!read_address(text, loopback)) {
            throw CLI::ValidationError("--listen",
                                       "'" + text + "' is not allowed: " + listen_shape);
        }
        if (config.dev && !loopback) {
            throw CLI::ValidationError(
                "--listen",
                "'" + text +
                    "' is not allowed with --dev: a loopback address, since everybody may "
                    "publish");
        }
    }
}

std::span<const Suffix> suffixes_of(Unit unit) noexcept {
    switch (unit) {
        case Unit::nanos:
            return time_suffixes;
        case Unit::bytes:
            return size_suffixes;
        case Unit::count:
            break;
    }
    return {};
}

std::string range_of(const NumberFlag& flag) {
    return format_number(flag.least, flag.unit) + " to " + format_number(flag.most, flag.unit);
}

std::string env_of(std::string_view flag) {
    std::string name = "RINGCAST_";
    for (const char c : flag) {
        name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    return name;
}

void add_number(CLI::App& app, Config& config, const NumberFlag& flag) {
    const std::string shown = flag.unit == Unit::nanos   ? "TIME"
                              : flag.unit == Unit::bytes ? "SIZE"
                                                         : "N";
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
        ->type_name(shown)
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

void add_flags(CLI::App& serve, Config& config) {
    serve
        .add_option("--listen",
                    config.listen,
                    "where to listen; may be repeated; port 0 lets the system choose "
                    "[127.0.0.1:8080]")
        ->type_name("ADDR:PORT")
        ->take_all()
        ->envname("RINGCAST_LISTEN");
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
        .add_option("--pin",
                    config.pin,
                    "CPU of the first shard; -1: shard i on CPU i when there are enough [-1]")
        ->check(CLI::Range(-1, 4095))
        ->type_name("CPU")
        ->envname("RINGCAST_PIN");
    serve
        .add_option("--congestion",
                    config.congestion,
                    "congestion control of clients' connections, e.g. cubic [the system's]")
        ->type_name("NAME")
        ->envname("RINGCAST_CONGESTION");
    for (const SwitchFlag& flag : switch_flags) {
        serve.add_flag(std::string("--") + flag.name, config.*flag.member, flag.help)
            ->envname(env_of(flag.name));
    }
    for (const NumberFlag& flag : number_flags) {
        add_number(serve, config, flag);
    }
}

// The first argument that begins with a dash and that `serve` does not know.
std::string first_unknown(int argc, const char* const* argv, const CLI::App& serve) {
    for (int i = 1; i < argc; i++) {
        const std::string word(argv[i]);
        const std::string name = word.substr(0, word.find('='));
        if (name.starts_with('-') && serve.get_option_no_throw(name) == nullptr) return name;
    }
    return argc > 1 ? argv[argc - 1] : "nothing";
}

}  // namespace

bool parse_number(std::string_view text, Unit unit, std::uint64_t& number) noexcept {
    double fraction = 0;
    std::uint64_t whole = 0;
    const char* begin = text.data();
    const char* end = begin + text.size();
    const auto integer = std::from_chars(begin, end, whole);
    if (integer.ec != std::errc()) return false;
    const bool fractional = integer.ptr != end && *integer.ptr == '.';
    const auto real = fractional ? std::from_chars(begin, end, fraction)
                                 : std::from_chars_result{integer.ptr, integer.ec};
    if (real.ec != std::errc()) return false;
    std::string_view rest(real.ptr, static_cast<std::size_t>(end - real.ptr));
    std::uint64_t factor = 1;
    if (!rest.empty()) {
        const Suffix* found = nullptr;
        for (const Suffix& suffix : suffixes_of(unit)) {
            if (suffix.text == rest) found = &suffix;
        }
        if (found == nullptr) return false;
        factor = found->factor;
    } else if (unit == Unit::nanos && text != "0") {
        return false;  // "25" of what?
    }
    if (fractional) {
        const double product = fraction * static_cast<double>(factor);
        if (product >= 9e18) return false;
        number = static_cast<std::uint64_t>(product + 0.5);
        return true;
    }
    return !__builtin_mul_overflow(whole, factor, &number);
}

std::string format_number(std::uint64_t number, Unit unit) {
    for (const Suffix& suffix : suffixes_of(unit)) {
        const bool decimal = unit == Unit::bytes && suffix.text.size() == 2;
        if (decimal || number == 0 || number % suffix.factor != 0) continue;
        return std::to_string(number / suffix.factor) + std::string(suffix.text);
    }
    return std::to_string(number);
}

Parsed parse_flags(int argc, const char* const* argv) {
    Parsed parsed;
    CLI::App app("ringcastd: a WebSocket fan-out server", "ringcastd");
    app.require_subcommand(1);
    CLI::App* serve = app.add_subcommand("serve", "Serve until SIGTERM or SIGINT.");
    CLI::App* version = app.add_subcommand("version", "Print the version.");
    add_flags(*serve, parsed.config);
    try {
        app.parse(argc, argv);
        check_together(parsed.config);
    } catch (const CLI::CallForHelp& help) {
        app.exit(help);
        return parsed;
    } catch (const CLI::ExtrasError&) {
        // CLI11 lists what was left over in an order of its own; the first one is what was meant.
        std::fprintf(stderr,
                     "ringcastd: %s is no flag of ringcastd: see ringcastd serve --help\n",
                     first_unknown(argc, argv, *serve).c_str());
        parsed.exit_code = 2;
        return parsed;
    } catch (const CLI::ParseError& error) {
        std::fprintf(stderr, "ringcastd: %s\n", error.what());
        parsed.exit_code = 2;
        return parsed;
    }
    parsed.command = version->parsed() ? Command::version : Command::serve;
    return parsed;
}

}  // namespace ringcast::app
