#include "wire/envelope.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <utility>

#include <simdjson.h>

#include "base/check.h"
#include "wire/utf8.h"

namespace ringcast::wire {

namespace dom = simdjson::dom;

struct EnvelopeParser::State {
    dom::parser parser;
    dom::document document;
    std::size_t message_size_max = 0;

    // One whole JSON document. Precondition: at most message_size_max, and the padding.
    [[nodiscard]] bool read(Bytes bytes, dom::element& root) noexcept {
        const simdjson::error_code error = parse(as_text(bytes), root);
        if (error == simdjson::NUMBER_ERROR) return read_without_large_numbers(bytes, root);
        return error == simdjson::SUCCESS;
    }

  private:
    [[nodiscard]] simdjson::error_code parse(std::string_view text, dom::element& root) noexcept {
        return parser.parse_into_document(document, text.data(), text.size(), false).get(root);
    }
    [[nodiscard]] bool read_without_large_numbers(Bytes bytes, dom::element& root) noexcept;
};

namespace {

// The characters of the number that `text` begins with, in the grammar of RFC 8259; 0 if there is
// none.
std::size_t number_size(std::string_view text) noexcept {
    std::size_t at = 0;
    const auto is = [&](std::string_view any) noexcept {
        return at < text.size() && any.find(text[at]) != std::string_view::npos;
    };
    const auto digits = [&]() noexcept {
        const std::size_t begin = at;
        while (is("0123456789")) {
            at++;
        }
        return at - begin;
    };
    if (is("-")) at++;
    const bool leading_zero = is("0");
    const std::size_t whole = digits();
    if (whole == 0 || (leading_zero && whole > 1)) return 0;
    if (is(".")) {
        at++;
        if (digits() == 0) return 0;
    }
    if (is("eE")) {
        at++;
        if (is("+-")) at++;
        if (digits() == 0) return 0;
    }
    return at;
}

// Whether simdjson can hold it: 64 bits, or a finite double.
bool number_fits(std::string_view number) noexcept {
    const char* const end = number.data() + number.size();
    std::errc error{};
    if (number.find_first_of(".eE") != std::string_view::npos) {
        double value = 0;
        error = std::from_chars(number.data(), end, value).ec;
    } else if (number.front() == '-') {
        std::int64_t value = 0;
        error = std::from_chars(number.data(), end, value).ec;
    } else {
        std::uint64_t value = 0;
        error = std::from_chars(number.data(), end, value).ec;
    }
    return error == std::errc();
}

}  // namespace

// JSON sets no limit to numbers, and a payload is handed on as it was written: money and hashes of
// 128 bits are common. simdjson stops at 64 bits and at the range of a double, so it is shown a
// copy with -0.0 in their places. That is a number, but neither an offset nor a rate, as those
// would be. Only messages that would be refused otherwise pay for it, with one more reading.
bool EnvelopeParser::State::read_without_large_numbers(Bytes bytes, dom::element& root) noexcept {
    constexpr std::string_view stand_in = "-0.0";
    const std::string_view text = as_text(bytes);
    const std::unique_ptr<char[]> copy(
        new (std::nothrow) char[text.size() + simdjson::SIMDJSON_PADDING]);
    if (copy == nullptr) return false;
    std::memcpy(copy.get(), text.data(), text.size());
    std::memset(copy.get() + text.size(), 0, simdjson::SIMDJSON_PADDING);
    // The first stage was done with the whole text before the second stopped at a number.
    const auto& marks = *parser.implementation;
    for (std::uint32_t i = 0; i < marks.n_structural_indexes; i++) {
        const std::uint32_t at = marks.structural_indexes[i];
        RC_CHECK(at < text.size());
        const std::size_t size = number_size(text.substr(at));
        if (size < stand_in.size() || number_fits(text.substr(at, size))) continue;
        std::memset(copy.get() + at, ' ', size);
        std::memcpy(copy.get() + at, stand_in.data(), stand_in.size());
    }
    return parse({copy.get(), text.size()}, root) == simdjson::SUCCESS;
}

namespace {

constexpr std::size_t policy_size_max = 32;
constexpr std::size_t epoch_digits_max = 16;
constexpr std::int64_t history_limit_max = 1000;

enum class Member : std::uint8_t {
    type,
    id,
    timestamp,
    topic,
    key,
    ack_required,
    report_expired,
    payload,
    unknown,
};

struct MemberRow {
    const char* name;
    Member member;
    EnvelopeError error;  // when its value is not what it must be
};

constexpr MemberRow members[] = {
    {"type", Member::type, EnvelopeError::bad_type},
    {"id", Member::id, EnvelopeError::bad_id},
    {"timestamp", Member::timestamp, EnvelopeError::bad_timestamp},
    {"topic", Member::topic, EnvelopeError::bad_topic},
    {"key", Member::key, EnvelopeError::bad_key},
    {"ack_required", Member::ack_required, EnvelopeError::bad_ack_required},
    {"report_expired", Member::report_expired, EnvelopeError::bad_report_expired},
    {"payload", Member::payload, EnvelopeError::none},  // any value is a payload
    {"", Member::unknown, EnvelopeError::none},
};

const MemberRow& find_member(std::string_view name) noexcept {
    for (const MemberRow& row : members) {
        if (row.member == Member::unknown || name == row.name) return row;
    }
    return members[std::size(members) - 1];
}

struct TypeRow {
    std::string_view name;
    MessageType type;
    bool needs_topic;
    bool needs_payload;
};

constexpr TypeRow types[] = {
    {"publish", MessageType::publish, true, true},
    {"ack", MessageType::ack, false, false},
    {"subscribe", MessageType::subscribe, true, false},
    {"unsubscribe", MessageType::unsubscribe, true, false},
    {"ping", MessageType::ping, false, false},
    {"auth", MessageType::auth, false, true},
    {"history", MessageType::history, true, false},
    {"presence", MessageType::presence, true, false},
    {"", MessageType::unknown, false, false},
};

const TypeRow& find_type(std::string_view name) noexcept {
    for (const TypeRow& row : types) {
        if (row.type == MessageType::unknown || name == row.name) return row;
    }
    return types[std::size(types) - 1];
}

// C0 controls and DEL have no place in a name: they break logs, terminals and C strings.
bool is_name(std::string_view text, std::size_t size_max) noexcept {
    if (text.empty() || text.size() > size_max) return false;
    return std::none_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    });
}

bool read_name(const dom::element& value, std::size_t size_max, std::string_view& name) noexcept {
    std::string_view text;
    if (value.get_string().get(text) != simdjson::SUCCESS) return false;
    if (!is_name(text, size_max)) return false;
    name = text;
    return true;
}

bool read_bool(const dom::element& value, bool& target) noexcept {
    return value.get_bool().get(target) == simdjson::SUCCESS;
}

bool is_number(const dom::element& value) noexcept {
    const dom::element_type type = value.type();
    return type == dom::element_type::INT64 || type == dom::element_type::UINT64 ||
           type == dom::element_type::DOUBLE;
}

// Finds the text of values of the outermost object, and of objects in it. simdjson's first stage
// left the place of every bracket, colon, comma, and first character of a string or number; the
// second stage has checked the grammar, so this walk needs neither checks nor a second look at the
// bytes in between.
class Walker {
  public:
    Walker(const simdjson::internal::dom_parser_implementation& marks, Bytes message) noexcept
        : marks_(marks.structural_indexes.get()), message_(as_text(message)) {}

    // Moves to the next member; its value without the blanks around it.
    std::string_view next_value() noexcept {
        const std::size_t value = at_ + 3;  // behind the bracket or comma: key, colon, value
        const std::size_t begin = marks_[value];
        value_ = value;
        std::size_t after = value + 1;
        std::size_t depth = opens(value) ? 1 : 0;
        const bool nested = depth != 0;
        while (depth != 0) {
            if (opens(after)) depth++;
            if (closes(after)) depth--;
            after++;
        }
        at_ = after;
        if (nested) return message_.substr(begin, marks_[after - 1] + 1 - begin);
        const std::string_view text = message_.substr(begin, marks_[after] - begin);
        return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
    }

    // Of the members of that value, an object.
    [[nodiscard]] Walker within() const noexcept {
        Walker walker = *this;
        walker.at_ = value_;
        return walker;
    }

  private:
    [[nodiscard]] bool opens(std::size_t mark) const noexcept {
        const char c = message_[marks_[mark]];
        return c == '{' || c == '[';
    }
    [[nodiscard]] bool closes(std::size_t mark) const noexcept {
        const char c = message_[marks_[mark]];
        return c == '}' || c == ']';
    }

    const std::uint32_t* marks_;
    std::string_view message_;
    std::size_t at_ = 0;     // the mark of the bracket or comma in front of the next member
    std::size_t value_ = 0;  // the mark with which the value begins that was found last
};

// The first thing that was wrong; what follows is read all the same, for the sake of the id.
struct Verdict {
    EnvelopeError error = EnvelopeError::none;
    const char* member = "";

    void note(EnvelopeError what, const char* which) noexcept {
        if (error != EnvelopeError::none) return;
        error = what;
        member = which;
    }
};

bool read_member(Member member, const dom::element& value, Inbound& inbound) noexcept {
    switch (member) {
        case Member::type:
            return read_name(value, type_size_max, inbound.type_text);
        case Member::id:
            return read_name(value, id_size_max, inbound.id);
        case Member::timestamp:
            return is_number(value);
        case Member::topic:
            return read_name(value, topic_size_max, inbound.topic);
        case Member::key:
            return read_name(value, key_size_max, inbound.key);
        case Member::ack_required:
            return read_bool(value, inbound.ack_required);
        case Member::report_expired:
            return read_bool(value, inbound.report_expired);
        case Member::payload:
        case Member::unknown:
            return true;
    }
    return true;
}

// An epoch as we write it; anything else is a stranger's and equals none of ours.
std::uint64_t epoch_of(std::string_view text) noexcept {
    std::uint64_t epoch = 0;
    if (text.size() > epoch_digits_max) return 0;
    for (const char c : text) {
        const bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'f')) return 0;
        epoch = epoch << 4 | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
    }
    return epoch;
}

// Of `subscribe` and `ack`.
template <typename Options>
bool read_offset(const dom::element& value, Options& options) noexcept {
    std::int64_t offset = 0;
    if (value.get_int64().get(offset) != simdjson::SUCCESS || offset < 0) return false;
    options.offset = static_cast<std::uint64_t>(offset);
    options.has_offset = true;
    return true;
}

bool read_epoch(const dom::element& value, SubscribeOptions& options) noexcept {
    std::string_view text;
    if (!read_name(value, id_size_max, text)) return false;
    options.epoch = epoch_of(text);
    options.has_epoch = true;
    return true;
}

bool read_snapshot(const dom::element& value, SubscribeOptions& options) noexcept {
    options.has_snapshot = true;
    return read_bool(value, options.snapshot);
}

bool read_max_rate(const dom::element& value, SubscribeOptions& options) noexcept {
    options.has_max_rate = true;
    if (value.get_double().get(options.max_rate) != simdjson::SUCCESS) return false;
    return options.max_rate > 0;
}

bool read_policy(const dom::element& value, SubscribeOptions& options) noexcept {
    return read_name(value, policy_size_max, options.policy);
}

bool read_presence(const dom::element& value, SubscribeOptions& options) noexcept {
    return read_bool(value, options.presence);
}

bool read_acks(const dom::element& value, SubscribeOptions& options) noexcept {
    return read_bool(value, options.acks);
}

bool read_all_before(const dom::element& value, AckOptions& options) noexcept {
    return read_bool(value, options.all_before);
}

bool read_info(std::string_view text, SubscribeOptions& options) noexcept {
    if (text.size() > info_size_max) return false;
    options.info = text;
    return true;
}

bool read_from(const dom::element& value, HistoryOptions& options) noexcept {
    std::int64_t from = 0;
    if (value.get_int64().get(from) != simdjson::SUCCESS || from < 1) return false;
    options.from = static_cast<std::uint64_t>(from);
    return true;
}

bool read_limit(const dom::element& value, HistoryOptions& options) noexcept {
    std::int64_t limit = 0;
    if (value.get_int64().get(limit) != simdjson::SUCCESS) return false;
    if (limit < 1 || limit > history_limit_max) return false;
    options.limit = static_cast<std::uint32_t>(limit);
    return true;
}

template <typename Options>
struct OptionRow {
    const char* name;
    bool (*read)(const dom::element& value, Options& options) noexcept;
    // Instead, for what is handed on as it was written.
    bool (*read_text)(std::string_view text, Options& options) noexcept = nullptr;
};

constexpr OptionRow<SubscribeOptions> subscribe_rows[] = {
    {"offset", read_offset<SubscribeOptions>},
    {"epoch", read_epoch},
    {"snapshot", read_snapshot},
    {"max_rate", read_max_rate},
    {"policy", read_policy},
    {"presence", read_presence},
    {"info", nullptr, read_info},
    {"acks", read_acks},
};

constexpr OptionRow<AckOptions> ack_rows[] = {
    {"offset", read_offset<AckOptions>},
    {"all_before", read_all_before},
};

constexpr OptionRow<HistoryOptions> history_rows[] = {
    {"from", read_from},
    {"limit", read_limit},
};

template <typename Options, std::size_t row_count>
void read_options(const dom::element& payload,
                  Walker walker,
                  const OptionRow<Options> (&rows)[row_count],
                  Options& options,
                  Verdict& verdict) noexcept {
    dom::object object;
    if (payload.get_object().get(object) != simdjson::SUCCESS) {
        return verdict.note(EnvelopeError::bad_payload, "payload");
    }
    unsigned seen = 0;
    for (const dom::key_value_pair field : object) {
        const std::string_view text = walker.next_value();
        unsigned bit = 1;
        for (const OptionRow<Options>& row : rows) {
            if (field.key == row.name) {
                if ((seen & bit) != 0) verdict.note(EnvelopeError::duplicate_member, row.name);
                const bool good = row.read_text != nullptr ? row.read_text(text, options)
                                                           : row.read(field.value, options);
                if (!good) {
                    verdict.note(EnvelopeError::bad_payload, row.name);
                }
                seen |= bit;
            }
            bit <<= 1;
        }
    }
}

void read_token(const dom::element& payload, Inbound& inbound, Verdict& verdict) noexcept {
    const bool found = payload["token"].get_string().get(inbound.token) == simdjson::SUCCESS;
    if (!found || inbound.token.empty()) {
        inbound.token = {};
        verdict.note(EnvelopeError::bad_payload, "token");
    }
}

// It names its record by id, or by topic and offset.
void judge_ack(const Inbound& inbound, Verdict& verdict) noexcept {
    if (inbound.ack.has_offset) {
        if (inbound.topic.empty()) verdict.note(EnvelopeError::missing_member, "topic");
        return;
    }
    if (inbound.id.empty()) verdict.note(EnvelopeError::missing_member, "id");
    if (inbound.ack.all_before) verdict.note(EnvelopeError::bad_payload, "all_before");
}

// What each type asks for beyond the members themselves.
void judge_type(const dom::element& payload,
                const Walker& walker,
                Inbound& inbound,
                Verdict& verdict) noexcept {
    const TypeRow& type = find_type(inbound.type_text);
    inbound.type = type.type;
    if (inbound.type_text.empty()) verdict.note(EnvelopeError::missing_member, "type");
    if (type.needs_topic && inbound.topic.empty()) {
        verdict.note(EnvelopeError::missing_member, "topic");
    }
    if (type.needs_payload && !inbound.has_payload) {
        verdict.note(EnvelopeError::missing_member, "payload");
    }
    if (type.type == MessageType::subscribe && inbound.has_payload) {
        read_options(payload, walker, subscribe_rows, inbound.subscribe, verdict);
    }
    if (type.type == MessageType::history && inbound.has_payload) {
        read_options(payload, walker, history_rows, inbound.history, verdict);
    }
    if (type.type == MessageType::ack && inbound.has_payload) {
        read_options(payload, walker, ack_rows, inbound.ack, verdict);
    }
    if (type.type == MessageType::ack) judge_ack(inbound, verdict);
    if (type.type == MessageType::auth && inbound.has_payload) {
        read_token(payload, inbound, verdict);
    }
}

}  // namespace

std::string_view envelope_error_name(EnvelopeError error) noexcept {
    switch (error) {
        case EnvelopeError::none:
            return "none";
        case EnvelopeError::bad_json:
            return "bad_json";
        case EnvelopeError::too_large:
            return "too_large";
        case EnvelopeError::not_an_object:
            return "not_an_object";
        case EnvelopeError::missing_member:
            return "missing_member";
        case EnvelopeError::duplicate_member:
            return "duplicate_member";
        case EnvelopeError::bad_type:
            return "bad_type";
        case EnvelopeError::bad_id:
            return "bad_id";
        case EnvelopeError::bad_timestamp:
            return "bad_timestamp";
        case EnvelopeError::bad_topic:
            return "bad_topic";
        case EnvelopeError::bad_key:
            return "bad_key";
        case EnvelopeError::bad_ack_required:
            return "bad_ack_required";
        case EnvelopeError::bad_report_expired:
            return "bad_report_expired";
        case EnvelopeError::bad_payload:
            return "bad_payload";
    }
    return "none";
}

EnvelopeParser::EnvelopeParser(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
EnvelopeParser::EnvelopeParser(EnvelopeParser&&) noexcept = default;
EnvelopeParser::~EnvelopeParser() = default;

Result<EnvelopeParser> EnvelopeParser::make(std::size_t message_size_max) noexcept {
    RC_CHECK(message_size_max > 0);
    RC_CHECK(message_size_max <= std::size_t{1} << 30);
    std::unique_ptr<State> state(new (std::nothrow) State);
    if (state == nullptr) return os_error(ENOMEM);
    // simdjson grows a parser silently when a document is larger, so everything has its size now
    // and parse() refuses what is larger. It never makes less than 32 bytes.
    const std::size_t capacity = std::max<std::size_t>(message_size_max, 64);
    if (state->parser.allocate(capacity, envelope_depth_max) != simdjson::SUCCESS ||
        state->document.allocate(capacity) != simdjson::SUCCESS) {
        return os_error(ENOMEM);
    }
    state->message_size_max = message_size_max;
    return EnvelopeParser(std::move(state));
}

EnvelopeError EnvelopeParser::parse(Bytes message, Inbound& inbound) noexcept {
    RC_CHECK(state_ != nullptr);
    inbound = Inbound{};
    if (message.size() > state_->message_size_max) return EnvelopeError::too_large;
    dom::element root;
    if (!state_->read(message, root)) return EnvelopeError::bad_json;
    dom::object object;
    if (root.get_object().get(object) != simdjson::SUCCESS) return EnvelopeError::not_an_object;

    Walker walker(*state_->parser.implementation, message);
    Verdict verdict;
    dom::element payload;
    Walker within = walker;  // the payload
    unsigned seen = 0;
    for (const dom::key_value_pair field : object) {
        const std::string_view value_text = walker.next_value();
        const MemberRow& row = find_member(field.key);
        if (row.member == Member::unknown) continue;
        const unsigned bit = 1U << static_cast<unsigned>(row.member);
        if ((seen & bit) != 0) verdict.note(EnvelopeError::duplicate_member, row.name);
        seen |= bit;
        if (!read_member(row.member, field.value, inbound)) verdict.note(row.error, row.name);
        if (row.member != Member::payload) continue;
        payload = field.value;
        within = walker.within();
        inbound.payload = as_bytes(value_text);
        inbound.has_payload = true;
    }

    judge_type(payload, within, inbound, verdict);
    inbound.member = verdict.member;
    return verdict.error;
}

PayloadForm EnvelopeParser::payload_form(Bytes raw, bool is_text) noexcept {
    RC_CHECK(state_ != nullptr);
    if (!is_text) return PayloadForm::base64;
    if (raw.size() > state_->message_size_max) return PayloadForm::text;
    dom::element root;
    return state_->read(raw, root) ? PayloadForm::json : PayloadForm::text;
}

bool topic_valid(std::string_view topic) noexcept {
    return is_name(topic, topic_size_max) && utf8_valid(as_bytes(topic));
}

}  // namespace ringcast::wire
