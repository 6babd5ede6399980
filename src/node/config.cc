#include "ringcast/config.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>

#include "base/ip.h"
#include "io/socket.h"
#include "node/access.h"
#include "node/origin.h"

namespace ringcast {

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

// More digits of a fraction, times the largest factor, would not fit 64 bits.
constexpr std::size_t fraction_digits_max = 6;

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

// Takes the digits off the front of `text`. False if there are none, or too many.
bool take_digits(std::string_view& text, std::uint64_t& number) noexcept {
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, number);
    if (read.ec != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    return true;
}

std::string refusal(std::string_view flag, std::string_view given, std::string_view allowed) {
    return "--" + std::string(flag) + ": '" + std::string(given) +
           "' is not allowed: " + std::string(allowed);
}

std::string check_listen(const Config& config) {
    constexpr std::string_view shape = "ADDR:PORT or [ADDR]:PORT in numbers, port 0 to 65535";
    if (config.listen.empty() && config.tls_listen.empty()) return refusal("listen", "", shape);
    for (const std::string& text : config.listen) {
        if (!io::parse_address(text).ok()) return refusal("listen", text, shape);
    }
    for (const std::string& text : config.tls_listen) {
        if (!io::parse_address(text).ok()) return refusal("tls-listen", text, shape);
    }
    return {};
}

std::string check_tls(const Config& config) {
    if (config.tls_cert.size() != config.tls_key.size()) {
        return refusal(
            "tls-key",
            std::to_string(config.tls_key.size()) + " files",
            "one for each --tls-cert, which are " + std::to_string(config.tls_cert.size()));
    }
    if (config.tls_listen.empty() == config.tls_cert.empty()) return {};
    return config.tls_cert.empty()
               ? refusal("tls-listen", config.tls_listen.front(), "it needs --tls-cert, --tls-key")
               : refusal("tls-cert", config.tls_cert.front(), "it needs --tls-listen");
}

std::string check_origins(const Config& config) {
    for (const std::string& text : config.origin) {
        if (node::origin_well_formed(text)) continue;
        return refusal("origin",
                       text,
                       "SCHEME://HOST[:PORT] as browsers write it (small letters, no path, no "
                       "default port), or null");
    }
    return {};
}

std::string check_proxies(const Config& config) {
    for (const std::string& text : config.trusted_proxies) {
        IpNetwork network;
        if (parse_network(text, network)) continue;
        return refusal("trusted-proxies", text, "ADDRESS or ADDRESS/BITS, no bits behind these");
    }
    for (const std::string& text : config.proxy_protocol) {
        const auto& listen = config.listen;
        if (std::find(listen.begin(), listen.end(), text) == listen.end()) {
            return refusal("proxy-protocol", text, "one of the --listen addresses, as it is there");
        }
        if (config.trusted_proxies.empty()) {
            return refusal("proxy-protocol", text, "only with --trusted-proxies");
        }
    }
    if (config.direct_descriptors && !config.trusted_proxies.empty()) {
        return refusal("direct-descriptors",
                       "true",
                       "not with --trusted-proxies: nobody has an "
                       "address there");
    }
    return {};
}

std::string check_topics(const Config& config) {
    if (config.topic.size() > topic_rules_max) {
        return refusal("topic",
                       std::to_string(config.topic.size()) + " rules",
                       "at most " + std::to_string(topic_rules_max));
    }
    for (const TopicRule& rule : config.topic) {
        const std::string problem = check_topic_rule(rule);
        if (!problem.empty()) return "--topic: " + problem;
    }
    return {};
}

std::string check_store(const Config& config) {
    for (const TopicRule& rule : config.topic) {
        if (!rule.durable) continue;
        if (rule.keyed) {
            return "--topic: '" + rule.pattern + "': durable is not for keyed topics";
        }
        if (config.store.empty())
            return "--topic: '" + rule.pattern + "': durable needs --store FILE";
    }
    return {};
}

bool one_line(std::string_view text) noexcept {
    return std::none_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
}

// With --auth-alg: its keys, and that nobody is anonymous by oversight.
std::string check_tokens(const Config& config) {
    const std::string alg = " --auth-alg " + std::string(name_of(config.auth_alg));
    std::pair<std::string, const std::string&> wanted{"--auth-key-file", config.auth_key_file};
    std::pair<std::string, const std::string&> other{"--auth-jwks-file", config.auth_jwks_file};
    const bool secret = config.auth_alg == TokenAlgorithm::hs256;
    const auto& [name, file] = secret ? wanted : other;
    const auto& [strange, none] = secret ? other : wanted;
    if (config.auth_keys.empty() && file.empty()) return name + ": needed with" + alg;
    if (!none.empty()) return strange + ": not with" + alg;
    if (config.anonymous_publish) {
        return "--anonymous-publish: not with" + alg + ": say publish-by=anyone of those topics";
    }
    const TopicRule* open = node::first_anonymous_rule(config);
    if (open == nullptr || config.dev || !config.origin.empty()) return {};
    return "--origin: needed, since rule '" + open->pattern +
           "' lets web pages in without a token: name those that may";
}

std::string check_auth(const Config& config) {
    struct Row {
        const char* name;
        const std::string& text;
    };
    const bool off = config.auth_alg == TokenAlgorithm::none;
    for (const Row& row : {Row{"auth-key-file", config.auth_key_file},
                           Row{"auth-jwks-file", config.auth_jwks_file},
                           Row{"auth-issuer", config.auth_issuer},
                           Row{"auth-audience", config.auth_audience}}) {
        if (off && !row.text.empty()) return "--" + std::string(row.name) + ": needs --auth-alg";
        if (!one_line(row.text)) return "--" + std::string(row.name) + ": it must be one line";
    }
    if (!off) return check_tokens(config);
    for (const TopicRule& rule : config.topic) {
        for (const RuleRight& right : rule_rights) {
            const std::optional<Who> who = rule.*right.member;
            if (!who || (*who != Who::user && *who != Who::token)) continue;
            return "--topic: '" + rule.pattern + "': " + right.name + "=" +
                   std::string(name_of(*who)) + " needs --auth-alg";
        }
    }
    return {};
}

std::string check_seal(const Config& config) {
    for (const TopicRule& rule : config.topic) {
        if (rule.seal.empty() || !config.seal_keys_file.empty()) continue;
        return "--topic: '" + rule.pattern + "': seal needs --seal-keys-file FILE";
    }
    return {};
}

// What no single field can know.
std::string check_together(const Config& config) {
    if (config.direct_descriptors && config.io == Io::epoll) {
        return refusal("direct-descriptors", "true", "only io_uring has them, not --io epoll");
    }
    if (config.compression_context && !config.compression) {
        return refusal("compression-context", "true", "only with --compression");
    }
    for (const auto* flag : {&config.listen, &config.tls_listen}) {
        for (const std::string& text : *flag) {
            if (!config.dev || node::is_loopback_address(text)) continue;
            return refusal(flag == &config.listen ? "listen" : "tls-listen",
                           text,
                           "with --dev a loopback address, since everybody may publish");
        }
    }
    return {};
}

}  // namespace

bool parse_number(std::string_view text, Unit unit, std::uint64_t& number) noexcept {
    std::uint64_t whole = 0;
    std::uint64_t fraction = 0;
    std::uint64_t scale = 1;  // of `fraction`
    if (!take_digits(text, whole)) return false;
    if (text.starts_with('.')) {
        text.remove_prefix(1);
        const std::size_t before = text.size();
        if (!take_digits(text, fraction)) return false;
        const std::size_t digits = before - text.size();
        if (digits > fraction_digits_max) return false;
        for (std::size_t i = 0; i < digits; i++) {
            scale *= 10;
        }
    }
    std::uint64_t factor = 1;
    if (!text.empty()) {
        const auto suffixes = suffixes_of(unit);
        const auto found = std::find_if(
            suffixes.begin(), suffixes.end(), [=](const Suffix& at) { return at.text == text; });
        if (found == suffixes.end()) return false;
        factor = found->factor;
    } else if (unit == Unit::nanos && whole + fraction != 0) {
        return false;  // "25" of what?
    }
    if (scale > 1 && factor == 1) return false;  // half a byte
    const std::uint64_t part = (fraction * factor + scale / 2) / scale;
    return !__builtin_mul_overflow(whole, factor, &whole) &&
           !__builtin_add_overflow(whole, part, &number);
}

std::string format_number(std::uint64_t number, Unit unit) noexcept {
    for (const Suffix& suffix : suffixes_of(unit)) {
        const bool decimal = unit == Unit::bytes && suffix.text.size() == 2;
        if (decimal || number == 0 || number % suffix.factor != 0) continue;
        return std::to_string(number / suffix.factor) + std::string(suffix.text);
    }
    return std::to_string(number);
}

std::string range_of(const NumberFlag& flag) noexcept {
    return format_number(flag.least, flag.unit) + " to " + format_number(flag.most, flag.unit);
}

std::string check(const Config& config) noexcept {
    for (const NumberFlag& flag : number_flags) {
        const std::uint64_t number = config.*flag.member;
        if (number >= flag.least && number <= flag.most) continue;
        return refusal(flag.name, format_number(number, flag.unit), range_of(flag));
    }
    if (config.pin < pin_least || config.pin > pin_most) {
        return refusal("pin",
                       std::to_string(config.pin),
                       std::to_string(pin_least) + " to " + std::to_string(pin_most));
    }
    std::string problem = check_listen(config);
    if (problem.empty()) problem = check_tls(config);
    if (problem.empty()) problem = check_origins(config);
    if (problem.empty()) problem = check_proxies(config);
    if (problem.empty()) problem = check_topics(config);
    if (problem.empty()) problem = check_store(config);
    if (problem.empty()) problem = check_auth(config);
    if (problem.empty()) problem = check_seal(config);
    return problem.empty() ? check_together(config) : problem;
}

}  // namespace ringcast
