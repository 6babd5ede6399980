#include "ringcast/config.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "io/socket.h"
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
    if (config.listen.empty()) return refusal("listen", "", shape);
    for (const std::string& text : config.listen) {
        const auto address = io::parse_address(text);
        if (!address.ok()) return refusal("listen", text, shape);
    }
    return {};
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
    for (const std::string& text : config.listen) {
        if (config.dev && !node::is_loopback_address(text)) {
            return refusal(
                "listen", text, "with --dev a loopback address, since everybody may publish");
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
    if (problem.empty()) problem = check_origins(config);
    if (problem.empty()) problem = check_topics(config);
    if (problem.empty()) problem = check_store(config);
    if (problem.empty()) problem = check_seal(config);
    return problem.empty() ? check_together(config) : problem;
}

}  // namespace ringcast
