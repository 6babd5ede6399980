#include "app/settings.h"

#include <algorithm>
#include <charconv>

namespace ringcast::app {

namespace {

std::string not_allowed(std::string_view text, std::string_view allowed) {
    return "'" + std::string(text) + "' is not allowed: " + std::string(allowed);
}

}  // namespace

bool set_io(Config& config, std::string_view text) {
    if (text != "auto" && text != "epoll" && text != "uring") return false;
    config.io = text == "auto" ? Io::automatic : text == "epoll" ? Io::epoll : Io::uring;
    return true;
}

bool set_slow_policy(Config& config, std::string_view text) {
    if (text != "gap" && text != "close") return false;
    config.slow_policy = text == "gap" ? SlowPolicy::gap : SlowPolicy::close;
    return true;
}

bool set_pin(Config& config, std::string_view text) {
    static_assert(pin_least == -1 && pin_most == 4095, "what is shown is what is allowed");
    std::int64_t pin = 0;
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, pin);
    if (read.ec != std::errc() || read.ptr != end) return false;
    if (pin < pin_least || pin > pin_most) return false;
    config.pin = pin;
    return true;
}

bool set_congestion(Config& config, std::string_view text) {
    config.congestion = text;
    return true;
}

bool set_store(Config& config, std::string_view text) {
    config.store = text;
    return !text.empty() && text.find('\0') == std::string_view::npos;
}

bool set_user(Config& config, std::string_view text) {
    config.user = text;
    return !text.empty() && text.find('\0') == std::string_view::npos;
}

bool set_sandbox(Config& config, std::string_view text) {
    if (text != "auto" && text != "off" && text != "on") return false;
    config.sandbox = text == "auto"  ? Sandbox::automatic
                     : text == "off" ? Sandbox::off
                                     : Sandbox::on;
    return true;
}

namespace {

bool set_file(std::string& file, std::string_view text) {
    file = text;
    return !text.empty() && text.find('\0') == std::string_view::npos;
}

}  // namespace

bool set_auth_alg(Config& config, std::string_view text) {
    for (const TokenAlgorithm each : {TokenAlgorithm::hs256,
                                      TokenAlgorithm::rs256,
                                      TokenAlgorithm::es256,
                                      TokenAlgorithm::eddsa}) {
        if (name_of(each) != text) continue;
        config.auth_alg = each;
        return true;
    }
    return false;
}

bool set_auth_key_file(Config& config, std::string_view text) {
    return set_file(config.auth_key_file, text);
}

bool set_auth_jwks_file(Config& config, std::string_view text) {
    return set_file(config.auth_jwks_file, text);
}

bool set_auth_issuer(Config& config, std::string_view text) {
    config.auth_issuer = text;
    return !text.empty();
}

bool set_auth_audience(Config& config, std::string_view text) {
    config.auth_audience = text;
    return !text.empty();
}

bool set_seal_keys_file(Config& config, std::string_view text) {
    return set_file(config.seal_keys_file, text);
}

std::string set_number(Config& config, const NumberFlag& flag, std::string_view text) {
    std::uint64_t number = 0;
    const bool good =
        parse_number(text, flag.unit, number) && number >= flag.least && number <= flag.most;
    if (!good) return not_allowed(text, range_of(flag));
    config.*flag.member = number;
    return {};
}

std::string set_word(Config& config, const WordFlag& flag, std::string_view text) {
    return flag.set(config, text) ? std::string() : not_allowed(text, flag.shown);
}

std::string as_line(std::string text) {
    std::replace_if(
        text.begin(),
        text.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
        '?');
    return text;
}

}  // namespace ringcast::app
