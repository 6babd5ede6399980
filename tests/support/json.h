#pragma once

// The least JSON reader that is strict (RFC 8259): it tells whether a text is one valid value and
// finds members by a path. Slow and small on purpose; for tests only.

#include <cctype>
#include <map>
#include <string>
#include <string_view>

namespace ringcast::test {

class Json {
  public:
    explicit Json(std::string_view text) : text_(text) {
        valid_ = value("") && (blanks(), at_ == text_.size());
    }

    [[nodiscard]] bool valid() const { return valid_; }
    [[nodiscard]] bool has(const std::string& path) const { return members_.contains(path); }
    // The text of "payload.limits.topics" or "cores[0]" (a string without its quotes and with its
    // escapes as they are); empty if it is not there.
    [[nodiscard]] std::string text(const std::string& path) const {
        const auto found = members_.find(path);
        if (found == members_.end()) return {};
        const std::string& raw = found->second;
        return raw.size() >= 2 && raw.front() == '"' ? raw.substr(1, raw.size() - 2) : raw;
    }
    [[nodiscard]] std::uint64_t number(const std::string& path) const {
        const std::string raw = text(path);
        return raw.empty() ? 0 : std::stoull(raw);
    }

  private:
    void blanks() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) < 4)
            at_++;
    }
    bool eat(char c) {
        blanks();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        at_++;
        return true;
    }
    bool value(const std::string& path) {
        blanks();
        const std::size_t begin = at_;
        if (at_ >= text_.size()) return false;
        bool good = false;
        switch (text_[at_]) {
            case '{':
                good = object(path);
                break;
            case '[':
                good = array(path);
                break;
            case '"':
                good = string();
                break;
            default:
                good = word("true") || word("false") || word("null") || number_text();
        }
        if (good) members_[path] = std::string(text_.substr(begin, at_ - begin));
        return good;
    }
    bool object(const std::string& path) {
        at_++;
        if (eat('}')) return true;
        do {
            blanks();
            const std::size_t begin = at_;
            if (!string()) return false;
            const std::string name(text_.substr(begin + 1, at_ - begin - 2));
            const std::string inner = path.empty() ? name : path + "." + name;
            if (members_.contains(inner)) return false;  // twice
            if (!eat(':') || !value(inner)) return false;
        } while (eat(','));
        return eat('}');
    }
    bool array(const std::string& path) {
        at_++;
        if (eat(']')) return true;
        std::size_t count = 0;
        do {
            if (!value(path + "[" + std::to_string(count++) + "]")) return false;
        } while (eat(','));
        return eat(']');
    }
    bool string() {
        if (at_ >= text_.size() || text_[at_] != '"') return false;
        for (at_++; at_ < text_.size(); at_++) {
            const auto c = static_cast<unsigned char>(text_[at_]);
            if (c < 0x20) return false;
            if (c == '\\') at_++;
            if (c == '"') {
                at_++;
                return true;
            }
        }
        return false;
    }
    bool word(std::string_view expected) {
        if (text_.substr(at_, expected.size()) != expected) return false;
        at_ += expected.size();
        return true;
    }
    std::size_t digits() {
        const std::size_t begin = at_;
        while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0)
            at_++;
        return at_ - begin;
    }
    bool number_text() {
        word("-");
        const bool zero = at_ < text_.size() && text_[at_] == '0';
        const std::size_t whole = digits();
        if (whole == 0 || (zero && whole > 1)) return false;
        if (word(".") && digits() == 0) return false;
        if (word("e") || word("E")) {
            if (!word("+")) word("-");
            return digits() > 0;
        }
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    bool valid_ = false;
    std::map<std::string, std::string> members_;
};

}  // namespace ringcast::test
