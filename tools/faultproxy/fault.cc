#include "fault.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/check.h"

namespace ringcast::faultproxy {

namespace {

constexpr std::size_t words_max = 8;
constexpr std::size_t shown_max = 40;  // of what somebody wrote, in a complaint

constexpr std::array<std::string_view, 7>
    verbs{"add", "remove", "cut", "clear", "seed", "stats", "help"};

using Words = std::vector<std::string_view>;

Words words_of(std::string_view line) noexcept {
    Words words;
    while (words.size() <= words_max) {  // one more than fits shows that there are too many
        const std::size_t start = line.find_first_not_of(" \t\r");
        if (start == line.npos) break;
        line.remove_prefix(start);
        const std::size_t end = std::min(line.find_first_of(" \t\r"), line.size());
        words.push_back(line.substr(0, end));
        line.remove_prefix(end);
    }
    return words;
}

bool parse_number(std::string_view text, std::uint64_t& number) noexcept {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    return error == std::errc{} && stop == end;
}

std::string quoted(std::string_view text) noexcept {
    std::string shown(text.substr(0, shown_max));
    for (char& c : shown) {
        if (c < ' ' || c > '~') c = '?';
    }
    return "'" + shown + "'";
}

bool parse_way(std::string_view word, Way& way) noexcept {
    if (word == "up") return way = Way::up, true;
    if (word == "down") return way = Way::down, true;
    if (word == "both") return way = Way::both, true;
    return false;
}

const KindRow* row_of(std::string_view name) noexcept {
    const auto found = std::find_if(
        kinds.begin(), kinds.end(), [&](const KindRow& row) { return name == row.name; });
    return found == kinds.end() ? nullptr : &*found;
}

// What is wrong with the number of this place, of which `count` came before; empty if nothing is.
std::string complaint_about(std::uint64_t number, std::size_t count, const KindRow& row) noexcept {
    if (count == row.allowed) {
        return std::string(" is one too many: ") + row.name + " " + row.numbers;
    }
    const std::uint64_t least = count == 0 ? row.least : 0;
    if (number >= least && number <= row.most) return {};
    return " given, " + std::to_string(least) + " to " + std::to_string(row.most) + " allowed";
}

// The numbers behind the kind, and the chance, which is known by its sign.
bool parse_numbers(const Words& words,
                   const KindRow& row,
                   Fault& fault,
                   std::string& complaint) noexcept {
    std::size_t count = 0;
    for (std::size_t i = 3; i < words.size(); i++) {
        std::string_view word = words[i];
        const bool last = i + 1 == words.size();
        const bool percent = last && word.ends_with('%');
        if (percent) word.remove_suffix(1);
        std::uint64_t number = 0;
        if (!parse_number(word, number)) {
            complaint = " is not a number";
        } else if (!percent) {
            complaint = complaint_about(number, count, row);
        } else if (number > 100) {
            complaint = " given, 0% to 100% allowed";
        }
        if (!complaint.empty()) {
            complaint.insert(0, quoted(words[i]));
            return false;
        }
        if (percent) {
            fault.percent = static_cast<std::uint8_t>(number);
        } else {
            (count++ == 0 ? fault.a : fault.b) = number;
        }
    }
    if (count < row.needed) {
        complaint = std::string(row.name) + " needs " + row.numbers;
        return false;
    }
    if (row.kind == Kind::latency && fault.b > fault.a) {
        complaint = "a jitter of " + std::to_string(fault.b) + " is more than the latency";
        return false;
    }
    return true;
}

bool parse_add(const Words& words, Fault& fault, std::string& complaint) noexcept {
    if (words.size() < 3) {
        complaint = "add needs WAY KIND";
    } else if (!parse_way(words[1], fault.way)) {
        complaint = quoted(words[1]) + " given, up, down or both allowed";
    } else if (const KindRow* row = row_of(words[2])) {
        fault.kind = row->kind;
        return parse_numbers(words, *row, fault, complaint);
    } else {
        complaint = quoted(words[2]) + " is no kind of fault";
    }
    return false;
}

}  // namespace

bool parse_command(std::string_view line, Command& command, std::string& complaint) noexcept {
    command = {};
    complaint.clear();
    const Words words = words_of(line);
    if (words.empty()) {
        complaint = "an empty line";
        return false;
    }
    const auto verb = std::find(verbs.begin(), verbs.end(), words[0]);
    if (verb == verbs.end()) {
        complaint = quoted(words[0]) + " is no command";
        return false;
    }
    command.verb = static_cast<Verb>(verb - verbs.begin());
    if (words.size() > words_max) {
        complaint = "too many words";
        return false;
    }
    if (command.verb == Verb::add) return parse_add(words, command.fault, complaint);
    const std::size_t wanted = command.verb == Verb::remove || command.verb == Verb::seed ? 2 : 1;
    if (words.size() != wanted) {
        complaint = std::string(words[0]) + (wanted == 2 ? " needs one number" : " stands alone");
    } else if (wanted == 2 && !parse_number(words[1], command.number)) {
        complaint = quoted(words[1]) + " is not a number";
    }
    return complaint.empty();
}

std::string describe(const Fault& fault) noexcept {
    const KindRow& row = kinds[static_cast<std::size_t>(fault.kind)];
    RC_CHECK(row.kind == fault.kind);
    constexpr std::array<const char*, 4> ways{"", "up", "down", "both"};
    std::string text = std::string(ways[static_cast<std::size_t>(fault.way)]) + " " + row.name;
    if (row.allowed > 0) text += " " + std::to_string(fault.a);
    if (row.allowed > 1) text += " " + std::to_string(fault.b);
    return text + " " + std::to_string(fault.percent) + "%";
}

std::string command_help() noexcept {
    std::string text = "remove ID | cut | clear | seed N | stats | add up,down,both KIND [CHANCE%]";
    for (const KindRow& row : kinds) {
        text += " | ";
        text += row.name;
        if (row.numbers[0] == '\0') continue;
        text += ' ';
        text += row.numbers;
    }
    return text;
}

}  // namespace ringcast::faultproxy
