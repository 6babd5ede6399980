#include "wire/extension.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace ringcast::wire {

namespace {

// tchar of RFC 9110, section 5.6.2.
constexpr bool is_token(char c) noexcept {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (c >= '0' && c <= '9')) return true;
    return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// A parameter's value: its first characters without quotes, which is all that we compare.
struct Value {
    std::array<char, 3> text{};
    std::size_t size = 0;

    void add(char c) noexcept {
        if (size < text.size()) text[size] = c;
        size++;
    }
    // A number from 8 to 15 without leading zeros (7.1.2.1), or 0.
    [[nodiscard]] std::uint8_t window_bits() const noexcept {
        if (size == 1 && (text[0] == '8' || text[0] == '9')) {
            return static_cast<std::uint8_t>(text[0] - '0');
        }
        if (size != 2 || text[0] != '1' || text[1] < '0' || text[1] > '5') return 0;
        return static_cast<std::uint8_t>(10 + (text[1] - '0'));
    }
};

class Reader {
  public:
    explicit Reader(std::string_view text) noexcept : rest_(text) {}

    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }

    // A separator with whatever blanks stand around it.
    [[nodiscard]] bool take(char c) noexcept {
        if (rest_.empty() || rest_.front() != c) return false;
        rest_.remove_prefix(1);
        skip_blanks();
        return true;
    }

    void skip_blanks() noexcept {
        while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) {
            rest_.remove_prefix(1);
        }
    }

    // Empty: there is none. Blanks behind it go too.
    [[nodiscard]] std::string_view token() noexcept {
        std::size_t size = 0;
        while (size < rest_.size() && is_token(rest_[size])) {
            size++;
        }
        const std::string_view token = rest_.substr(0, size);
        rest_.remove_prefix(size);
        skip_blanks();
        return token;
    }

    // A token, bare or in quotes. False: malformed.
    [[nodiscard]] bool value(Value& value) noexcept {
        if (rest_.empty() || rest_.front() != '"') {
            for (const char c : token()) {
                value.add(c);
            }
            return value.size != 0;
        }
        rest_.remove_prefix(1);
        while (!rest_.empty() && rest_.front() != '"') {
            if (rest_.front() == '\\') rest_.remove_prefix(1);
            // Without its quotes it must still be a token: RFC 6455, section 9.1.
            if (rest_.empty() || !is_token(rest_.front())) return false;
            value.add(rest_.front());
            rest_.remove_prefix(1);
        }
        if (rest_.empty()) return false;  // nothing closes the quotes
        rest_.remove_prefix(1);
        skip_blanks();
        return value.size != 0;
    }

  private:
    std::string_view rest_;
};

// One parameter of an offer of permessage-deflate. False: the offer is declined.
[[nodiscard]] bool apply(DeflateOffer& offer,
                         std::string_view name,
                         const Value& value,
                         bool has_value) noexcept {
    if (name == "server_no_context_takeover") {
        if (has_value || offer.server_no_context_takeover) return false;
        offer.server_no_context_takeover = true;
        return true;
    }
    if (name == "client_no_context_takeover") {
        if (has_value || offer.client_no_context_takeover) return false;
        offer.client_no_context_takeover = true;
        return true;
    }
    const std::uint8_t bits = value.window_bits();
    if (name == "server_max_window_bits") {
        if (bits == 0 || offer.limits_server_window) return false;
        offer.limits_server_window = true;
        offer.server_window_bits = bits;
        return true;
    }
    if (name != "client_max_window_bits" || offer.client_takes_limit) return false;
    if (has_value && bits == 0) return false;
    offer.client_takes_limit = true;
    if (has_value) offer.client_window_bits = bits;
    return true;
}

// From behind an extension's name to its end. False: malformed.
[[nodiscard]] bool read_parameters(Reader& reader, bool known, DeflateOffer& offer) noexcept {
    DeflateOffer read;
    while (reader.take(';')) {
        const std::string_view name = reader.token();
        Value value;
        if (name.empty()) return false;
        const bool has_value = reader.take('=');
        if (has_value && !reader.value(value)) return false;
        known = known && apply(read, name, value, has_value);
    }
    read.found = true;
    if (known && !offer.found) offer = read;
    return true;
}

class Writer {
  public:
    explicit Writer(MutBytes out) noexcept : out_(out) {}
    Writer& text(std::string_view text) noexcept {
        RC_CHECK(text.size() <= out_.size() - size_);
        std::memcpy(out_.data() + size_, text.data(), text.size());
        size_ += text.size();
        return *this;
    }
    Writer& bits(std::uint8_t bits) noexcept {
        RC_CHECK(bits >= window_bits_min);
        RC_CHECK(bits <= window_bits_max);
        const std::array<char, 2> digits{'1', static_cast<char>('0' + bits % 10)};
        return text(std::string_view(digits.data(), 2).substr(bits < 10 ? 1 : 0));
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    MutBytes out_;
    std::size_t size_ = 0;
};

}  // namespace

bool read_extensions(std::string_view line, DeflateOffer& offer) noexcept {
    Reader reader(line);
    reader.skip_blanks();
    while (!reader.at_end()) {
        if (reader.take(',')) continue;  // empty elements of a list are left out (RFC 9110, 5.6.1)
        const std::string_view name = reader.token();
        if (name.empty()) return false;
        if (!read_parameters(reader, name == "permessage-deflate", offer)) return false;
        if (!reader.at_end() && !reader.take(',')) return false;
    }
    return true;
}

DeflateTerms settle(const DeflateOffer& offer, bool allow_context) noexcept {
    DeflateTerms terms;
    if (!offer.found) return terms;
    terms.agreed = true;
    terms.client_keeps_context = allow_context && !offer.client_no_context_takeover;
    terms.limits_server_window = offer.limits_server_window;
    terms.server_window_bits = offer.server_window_bits;
    terms.client_window_bits = offer.client_window_bits;
    if (terms.client_keeps_context && offer.client_takes_limit) {
        terms.limits_client_window = true;
        terms.client_window_bits = std::min(offer.client_window_bits, context_window_bits);
    }
    return terms;
}

std::size_t write_terms(MutBytes out, const DeflateTerms& terms) noexcept {
    RC_CHECK(terms.agreed);
    RC_CHECK(out.size() >= terms_size_max);
    Writer writer(out);
    writer.text("permessage-deflate; server_no_context_takeover");
    if (!terms.client_keeps_context) writer.text("; client_no_context_takeover");
    if (terms.limits_server_window) {
        writer.text("; server_max_window_bits=").bits(terms.server_window_bits);
    }
    if (terms.limits_client_window) {
        writer.text("; client_max_window_bits=").bits(terms.client_window_bits);
    }
    return writer.size();
}

}  // namespace ringcast::wire
