#include "feed/pattern.h"

namespace ringcast::feed {

namespace {

// Takes the first token and the dot behind it off `rest`; `last`: there is none behind it.
std::string_view take_token(std::string_view& rest, bool& last) noexcept {
    const std::size_t dot = rest.find('.');
    last = dot == std::string_view::npos;
    const std::string_view token = rest.substr(0, dot);
    rest.remove_prefix(last ? rest.size() : dot + 1);
    return token;
}

}  // namespace

NameKind kind_of(std::string_view name) noexcept {
    auto kind = NameKind::plain;
    bool last = false;
    while (!last) {
        const std::string_view token = take_token(name, last);
        if (token == ">" && !last) return NameKind::broken;
        if (token == "*" || token == ">") kind = NameKind::pattern;
    }
    return kind;
}

bool matches(std::string_view pattern, std::string_view name) noexcept {
    bool pattern_ends = false;
    bool name_ends = false;
    while (!pattern_ends && !name_ends) {
        const std::string_view want = take_token(pattern, pattern_ends);
        const std::string_view have = take_token(name, name_ends);
        if (want == ">" && pattern_ends) return true;
        if (want != "*" && want != have) return false;
    }
    return pattern_ends && name_ends;
}

bool overlap(std::string_view a, std::string_view b) noexcept {
    bool a_ends = false;
    bool b_ends = false;
    while (!a_ends && !b_ends) {
        const std::string_view mine = take_token(a, a_ends);
        const std::string_view yours = take_token(b, b_ends);
        if ((mine == ">" && a_ends) || (yours == ">" && b_ends)) return true;
        if (mine != "*" && yours != "*" && mine != yours) return false;
    }
    return a_ends && b_ends;
}

bool covers(std::string_view general, std::string_view special) noexcept {
    bool general_ends = false;
    bool special_ends = false;
    while (!general_ends && !special_ends) {
        const std::string_view want = take_token(general, general_ends);
        const std::string_view have = take_token(special, special_ends);
        if (want == ">" && general_ends) return true;
        if (have == ">" && special_ends) return false;  // it stands for more tokens than we do
        if (want != "*" && want != have) return false;
    }
    return general_ends && special_ends;
}

}  // namespace ringcast::feed
