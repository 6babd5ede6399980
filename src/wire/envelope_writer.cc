#include "wire/envelope_writer.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/scratch.h"
#include "wire/base64.h"
#include "wire/frame.h"
#include "wire/seal.h"

namespace ringcast::wire {

namespace {

// How many bytes a byte becomes inside a JSON string (RFC 8259, section 7).
constexpr std::array<std::uint8_t, 256> escaped_sizes = [] {
    std::array<std::uint8_t, 256> sizes{};
    sizes.fill(1);
    for (std::size_t i = 0; i < 0x20; i++) {
        sizes[i] = 6;  // \u00XX
    }
    for (const char c : {'"', '\\', '\b', '\f', '\n', '\r', '\t'}) {
        sizes[static_cast<unsigned char>(c)] = 2;
    }
    return sizes;
}();

std::size_t escaped_size(char c) noexcept {
    return escaped_sizes[static_cast<unsigned char>(c)];
}

// The letter behind the backslash, where there is a short form.
char short_escape(char c) noexcept {
    switch (c) {
        case '\b':
            return 'b';
        case '\f':
            return 'f';
        case '\n':
            return 'n';
        case '\r':
            return 'r';
        case '\t':
            return 't';
        default:
            return c;  // the quote and the backslash stand for themselves
    }
}

// Marks the bytes of a word that must be escaped, by their top bits. Borrows may mark too many
// above the lowest mark, but that one is exact, and it is all that anyone looks at.
std::uint64_t escape_marks(std::uint64_t word) noexcept {
    constexpr std::uint64_t ones = 0x0101010101010101;
    constexpr std::uint64_t tops = 0x8080808080808080;
    const std::uint64_t controls = (word - ones * 0x20) & ~word;
    const std::uint64_t quote = word ^ (ones * '"');
    const std::uint64_t backslash = word ^ (ones * '\\');
    const std::uint64_t quotes = (quote - ones) & ~quote;
    const std::uint64_t backslashes = (backslash - ones) & ~backslash;
    return (controls | quotes | backslashes) & tops;
}

constexpr std::size_t word_size = sizeof(std::uint64_t);

// Bytes of the word in front of the first one that must be escaped.
std::size_t plain_bytes(std::uint64_t marks) noexcept {
    return static_cast<std::size_t>(std::countr_zero(marks)) / 8;  // no mark: 64 / 8
}

std::size_t digit_count(std::uint64_t value) noexcept {
    std::size_t count = 1;
    while (value >= 10) {
        value /= 10;
        count++;
    }
    return count;
}

constexpr std::size_t epoch_digits = 16;

// A record, and one whose publisher wants it acknowledged: told apart by the bytes alone.
constexpr std::string_view update_begin = R"({"type":"data_update")";
constexpr std::string_view demand_begin = R"({"type":"data_update","ack_required":true)";
constexpr std::string_view id_begin = R"(,"id":")";

// Counts what Writer would write.
class Counter {
  public:
    void text(std::string_view text) noexcept { size_ += text.size(); }
    void number(std::uint64_t value) noexcept { size_ += digit_count(value); }
    void hex(std::uint64_t /*value*/) noexcept { size_ += epoch_digits; }
    void millis(std::uint64_t /*value*/) noexcept { size_ += 3; }
    void base64(Bytes bytes) noexcept { size_ += base64_size(bytes.size()); }
    void base64url(Bytes bytes) noexcept { size_ += base64url_size(bytes.size()); }
    void escaped(std::string_view text) noexcept {
        while (text.size() >= word_size) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), word_size);
            const std::uint64_t marks = escape_marks(word);
            const std::size_t plain = plain_bytes(marks);
            size_ += plain;
            if (marks != 0) size_ += escaped_size(text[plain]);
            text.remove_prefix(plain + (marks != 0));
        }
        for (const char c : text) {
            size_ += escaped_size(c);
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    std::size_t size_ = 0;
};

class Writer {
  public:
    explicit Writer(MutBytes out) noexcept
        : at_(reinterpret_cast<char*>(out.data())), end_(at_ + out.size()) {}

    void text(std::string_view text) noexcept {
        RC_DCHECK(text.size() <= room());
        if (text.empty()) return;
        std::memcpy(at_, text.data(), text.size());
        at_ += text.size();
    }
    void number(std::uint64_t value) noexcept { at_ = std::to_chars(at_, end_, value).ptr; }
    void hex(std::uint64_t value) noexcept {
        RC_DCHECK(epoch_digits <= room());
        for (int shift = 60; shift >= 0; shift -= 4) {
            *at_++ = "0123456789abcdef"[value >> shift & 15];
        }
    }
    void millis(std::uint64_t value) noexcept {
        RC_DCHECK(3 <= room());
        *at_++ = static_cast<char>('0' + value / 100);
        *at_++ = static_cast<char>('0' + value / 10 % 10);
        *at_++ = static_cast<char>('0' + value % 10);
    }
    void base64(Bytes bytes) noexcept {
        RC_DCHECK(base64_size(bytes.size()) <= room());
        base64_encode(at_, bytes);
        at_ += base64_size(bytes.size());
    }
    void base64url(Bytes bytes) noexcept {
        RC_DCHECK(base64url_size(bytes.size()) <= room());
        base64url_encode(at_, bytes);
        at_ += base64url_size(bytes.size());
    }
    void escaped(std::string_view text) noexcept {
        while (text.size() >= word_size) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), word_size);
            const std::uint64_t marks = escape_marks(word);
            const std::size_t plain = plain_bytes(marks);
            // The whole word: what is written for `text` is at least as long as `text`.
            RC_DCHECK(word_size <= room());
            std::memcpy(at_, &word, word_size);
            at_ += plain;
            if (marks != 0) escaped_char(text[plain]);
            text.remove_prefix(plain + (marks != 0));
        }
        for (const char c : text) {
            escaped_char(c);
        }
    }
    [[nodiscard]] std::size_t room() const noexcept { return static_cast<std::size_t>(end_ - at_); }

  private:
    void escaped_char(char c) noexcept {
        const std::size_t size = escaped_size(c);
        RC_DCHECK(size <= room());
        if (size == 1) {
            *at_++ = c;
            return;
        }
        *at_++ = '\\';
        if (size == 2) {
            *at_++ = short_escape(c);
            return;
        }
        text("u00");
        *at_++ = static_cast<char>('0' + c / 16);
        *at_++ = "0123456789abcdef"[c % 16];
    }

    char* at_;
    char* end_;
};

template <typename Sink>
void quoted(Sink& sink, std::string_view text) noexcept {
    sink.text("\"");
    sink.escaped(text);
    sink.text("\"");
}

// `name` comes with its comma, quotes and colon.
template <typename Sink>
void optional_text(Sink& sink, std::string_view name, std::string_view value) noexcept {
    if (value.empty()) return;
    sink.text(name);
    quoted(sink, value);
}

template <typename Sink>
void number(Sink& sink, std::string_view name, std::uint64_t value) noexcept {
    sink.text(name);
    sink.number(value);
}

// The members that all envelopes have behind their id.
template <typename Sink>
void begin_behind_id(Sink& sink, std::int64_t wall_ns, std::string_view topic) noexcept {
    const std::uint64_t ms = wall_ns < 0 ? 0 : static_cast<std::uint64_t>(wall_ns) / 1'000'000;
    number(sink, R"(,"timestamp":)", ms / 1000);
    sink.text(".");
    sink.millis(ms % 1000);
    optional_text(sink, R"(,"topic":)", topic);
}

// Everything up to the members that differ. `type` comes with the text in front of it.
template <typename Sink>
void begin(Sink& sink,
           std::string_view type,
           std::string_view id,
           std::int64_t wall_ns,
           std::string_view topic) noexcept {
    sink.text(type);
    sink.text(R"(,"id":)");
    quoted(sink, id);
    begin_behind_id(sink, wall_ns, topic);
}

// The id of a key needs no escapes.
template <typename Sink>
void begin_sealed(Sink& sink, const SealedBox& box) noexcept {
    sink.text(R"({"sealed":{"v":1,"alg":"A256GCM","kid":")");
    sink.text(box.id);
    sink.text("\"");
}

template <typename Sink>
void end_sealed(Sink& sink, const SealedBox& box) noexcept {
    sink.text(R"(,"data":")");
    sink.base64url(box.data);
    sink.text(R"("}})");
}

[[nodiscard]] SealedBox box_of(Bytes bytes) noexcept {
    SealedBox box;
    RC_CHECK(read_box(bytes, box));
    return box;
}

template <typename Sink>
void write_box(Sink& sink, Bytes bytes) noexcept {
    const SealedBox box = box_of(bytes);
    begin_sealed(sink, box);
    end_sealed(sink, box);
}

template <typename Sink>
void write(Sink& sink, const SealedMessage& message) noexcept {
    const SealedBox box = box_of(message.box);
    begin_sealed(sink, box);
    optional_text(sink, R"(,"topic":)", message.topic);
    sink.text(R"(,"epoch":")");
    sink.hex(message.epoch);
    number(sink, R"(","offset":)", message.offset);
    optional_text(sink, R"(,"key":)", message.key);
    end_sealed(sink, box);
}

template <typename Sink>
void write(Sink& sink, const JsonPayload& payload) noexcept {
    switch (payload.form) {
        case PayloadForm::json:
            sink.text(as_text(payload.bytes));
            return;
        case PayloadForm::text:
            quoted(sink, as_text(payload.bytes));
            return;
        case PayloadForm::base64:
            sink.text("\"");
            sink.base64(payload.bytes);
            sink.text("\"");
            return;
        case PayloadForm::sealed:
            write_box(sink, payload.bytes);
            return;
    }
}

template <typename Sink>
void write(Sink& sink, const DataUpdate& message) noexcept {
    const std::string_view type = message.ack_required ? demand_begin : update_begin;
    begin(sink, type, message.id, message.wall_ns, message.topic);
    number(sink, R"(,"offset":)", message.offset);
    optional_text(sink, R"(,"key":)", message.key);
    if (message.payload.form == PayloadForm::base64) sink.text(R"(,"encoding":"base64")");
    sink.text(R"(,"payload":)");
    write(sink, message.payload);
    sink.text("}");
}

template <typename Sink>
void write(Sink& sink, const Welcome& message) noexcept {
    const std::string_view id = message.id.empty() ? "welcome" : message.id;
    begin(sink, R"({"type":"welcome")", id, message.wall_ns, {});
    sink.text(R"(,"payload":{"client_id":)");
    quoted(sink, message.client_id);
    number(sink, R"(,"ping_interval_s":)", message.ping_interval_s);
    number(sink, R"(,"limits":{"message_size":)", message.limits.message_size);
    number(sink, R"(,"topics":)", message.limits.topics);
    number(sink, R"(,"messages_per_second":)", message.limits.messages_per_second);
    sink.text("}");
    if (!message.user.empty()) {
        optional_text(sink, R"(,"user":)", message.user);
        number(sink, R"(,"expires":)", message.expires_s);
    }
    sink.text("}}");
}

template <typename Sink>
void write(Sink& sink, const Subscribed& message) noexcept {
    begin(sink, R"({"type":"subscribed")", message.id, message.wall_ns, message.topic);
    number(sink, R"(,"payload":{"offset":)", message.offset);
    sink.text(R"(,"epoch":")");
    sink.hex(message.epoch);
    sink.text(message.recovered ? R"(","recovered":true)" : R"(","recovered":false)");
    if (message.keyed) {
        sink.text(message.snapshot ? R"(,"keyed":true,"snapshot":true)"
                                   : R"(,"keyed":true,"snapshot":false)");
        number(sink, R"(,"head":)", message.head);
    }
    if (message.acks) {
        sink.text(R"(,"acks":true)");
        optional_text(sink, R"(,"session":)", message.session);
        number(sink, R"(,"open":)", message.open);
    }
    optional_text(sink, R"(,"pattern":)", message.pattern);
    sink.text("}}");
}

template <typename Sink>
void write(Sink& sink, const PatternSubscribed& message) noexcept {
    begin(sink, R"({"type":"subscribed")", message.id, message.wall_ns, message.topic);
    sink.text(R"(,"payload":{"pattern":true}})");
}

template <typename Sink>
void write(Sink& sink, const Unsubscribed& message) noexcept {
    begin(sink, R"({"type":"unsubscribed")", message.id, message.wall_ns, message.topic);
    sink.text("}");
}

template <typename Sink>
void write(Sink& sink, const Expired& message) noexcept {
    begin(sink, R"({"type":"expired")", message.id, message.wall_ns, message.topic);
    number(sink, R"(,"payload":{"offset":)", message.offset);
    sink.text(R"(,"epoch":")");
    sink.hex(message.epoch);
    number(sink, R"(","clients":)", message.clients);
    sink.text("}}");
}

template <typename Sink>
void write(Sink& sink, const Ack& message) noexcept {
    begin(sink, R"({"type":"ack")", message.id, message.wall_ns, message.topic);
    number(sink, R"(,"payload":{"offset":)", message.offset);
    sink.text(R"(,"epoch":")");
    sink.hex(message.epoch);
    sink.text("\"}}");
}

// What is JSON already, with commas between.
template <typename Sink>
void write_list(Sink& sink, std::span<const Bytes> items) noexcept {
    std::string_view comma;
    for (const Bytes item : items) {
        sink.text(comma);
        sink.text(as_text(item));
        comma = ",";
    }
}

template <typename Sink>
void write(Sink& sink, const History& message) noexcept {
    begin(sink, R"({"type":"history")", message.id, message.wall_ns, message.topic);
    sink.text(R"(,"payload":{"epoch":")");
    sink.hex(message.epoch);
    number(sink, R"(","first":)", message.first);
    number(sink, R"(,"next":)", message.next);
    sink.text(R"(,"records":[)");
    write_list(sink, message.records);
    sink.text(message.more ? R"(],"more":true}})" : R"(],"more":false}})");
}

template <typename Sink>
void write_clients(Sink& sink, std::span<const Present> clients) noexcept {
    std::string_view begin = R"({"client_id":)";
    for (const Present& client : clients) {
        sink.text(begin);
        quoted(sink, client.client_id);
        optional_text(sink, R"(,"user":)", client.user);
        number(sink, R"(,"since":)", client.since_s);
        sink.text(R"(,"info":)");
        sink.text(client.info.empty() ? "null" : client.info);
        sink.text("}");
        begin = R"(,{"client_id":)";
    }
}

template <typename Sink>
void write(Sink& sink, const Presence& message) noexcept {
    begin(sink, R"({"type":"presence")", message.id, message.wall_ns, message.topic);
    number(sink, R"(,"payload":{"count":)", message.count);
    if (message.listed) {
        sink.text(R"(,"clients":[)");
        write_clients(sink, message.clients);
        sink.text(message.more ? R"(],"more":true)" : R"(],"more":false)");
    }
    sink.text("}}");
}

template <typename Sink>
void write(Sink& sink, const PresenceUpdate& message) noexcept {
    begin(sink, R"({"type":"presence_update")", "presence", message.wall_ns, message.topic);
    sink.text(R"(,"payload":{)");
    if (!message.truncated) {
        sink.text(R"("joined":[)");
        write_clients(sink, message.joined);
        sink.text(R"(],"left":[)");
        std::string_view comma;
        for (const std::string_view client : message.left) {
            sink.text(comma);
            quoted(sink, client);
            comma = ",";
        }
        sink.text("],");
    }
    number(sink, R"("count":)", message.count);
    sink.text(message.truncated ? R"(,"truncated":true}})" : "}}");
}

template <typename Sink>
void write(Sink& sink, const Pong& message) noexcept {
    begin(sink, R"({"type":"pong")", message.id, message.wall_ns, {});
    sink.text("}");
}

template <typename Sink>
void write(Sink& sink, const ErrorReply& message) noexcept {
    begin(sink, R"({"type":"error")", message.id, message.wall_ns, message.topic);
    sink.text(R"(,"payload":{"code":)");
    quoted(sink, message.code);
    sink.text(R"(,"message":)");
    quoted(sink, message.message);
    sink.text("}}");
}

template <typename Sink>
void write(Sink& sink, const Gap& message) noexcept {
    number(sink, R"({"type":"gap","id":"gap-)", message.next);
    sink.text("\"");
    begin_behind_id(sink, message.wall_ns, message.topic);
    number(sink, R"(,"payload":{"from":)", message.from);
    number(sink, R"(,"to":)", message.to);
    sink.text(R"(,"reason":)");
    quoted(sink, message.reason);
    number(sink, R"(,"next":)", message.next);
    sink.text("}}");
}

template <typename Message>
std::size_t body_size(const Message& message) noexcept {
    Counter counter;
    write(counter, message);
    return counter.size();
}

// The size of the body follows from the size of the frame, so nothing is counted twice. Which of
// the three header sizes it was is not ambiguous: the ranges of frame sizes do not meet.
std::size_t body_size_of_frame(std::size_t frame_size) noexcept {
    if (frame_size < 2 + 126) return frame_size - 2;
    return frame_size <= 4 + 0xffff ? frame_size - 4 : frame_size - 10;
}

}  // namespace

template <Outbound Message>
std::size_t encoded_size(const Message& message) noexcept {
    const std::size_t size = body_size(message);
    return header_size(size) + size;
}

template <Outbound Message>
void encode(const Message& message, MutBytes out) noexcept {
    RC_CHECK(out.size() > 2);
    const std::size_t size = body_size_of_frame(out.size());
    const std::size_t header = encode_header(out.data(), Opcode::text, size);
    RC_CHECK(header + size == out.size());
    Writer writer(out.subspan(header));
    write(writer, message);
    RC_CHECK(writer.room() == 0);
}

template std::size_t encoded_size(const DataUpdate&) noexcept;
template void encode(const DataUpdate&, MutBytes) noexcept;
template std::size_t encoded_size(const SealedMessage&) noexcept;
template void encode(const SealedMessage&, MutBytes) noexcept;
template std::size_t encoded_size(const Welcome&) noexcept;
template void encode(const Welcome&, MutBytes) noexcept;
template std::size_t encoded_size(const Subscribed&) noexcept;
template void encode(const Subscribed&, MutBytes) noexcept;
template std::size_t encoded_size(const PatternSubscribed&) noexcept;
template void encode(const PatternSubscribed&, MutBytes) noexcept;
template std::size_t encoded_size(const Unsubscribed&) noexcept;
template void encode(const Unsubscribed&, MutBytes) noexcept;
template std::size_t encoded_size(const Ack&) noexcept;
template void encode(const Ack&, MutBytes) noexcept;
template std::size_t encoded_size(const Expired&) noexcept;
template void encode(const Expired&, MutBytes) noexcept;
template std::size_t encoded_size(const Pong&) noexcept;
template void encode(const Pong&, MutBytes) noexcept;
template std::size_t encoded_size(const ErrorReply&) noexcept;
template void encode(const ErrorReply&, MutBytes) noexcept;
template std::size_t encoded_size(const Gap&) noexcept;
template void encode(const Gap&, MutBytes) noexcept;
template std::size_t encoded_size(const History&) noexcept;
template void encode(const History&, MutBytes) noexcept;
template std::size_t encoded_size(const Presence&) noexcept;
template void encode(const Presence&, MutBytes) noexcept;
template std::size_t encoded_size(const PresenceUpdate&) noexcept;
template void encode(const PresenceUpdate&, MutBytes) noexcept;

bool wants_ack(Bytes frame) noexcept {
    const std::string_view text = as_text(frame.last(body_size_of_frame(frame.size())));
    return text.starts_with(demand_begin);
}

bool has_id(Bytes frame, std::string_view id) noexcept {
    std::string_view text = as_text(frame.last(body_size_of_frame(frame.size())));
    text.remove_prefix(text.starts_with(demand_begin) ? demand_begin.size() : update_begin.size());
    RC_CHECK(text.starts_with(id_begin));
    text.remove_prefix(id_begin.size());
    Scratch<char, 6 * id_size_max> escaped;
    Counter counter;
    counter.escaped(id);
    if (counter.size() > escaped.size()) return false;
    Writer writer({reinterpret_cast<std::byte*>(escaped.data()), counter.size()});
    writer.escaped(id);
    return text.starts_with(std::string_view(escaped.data(), counter.size())) &&
           text.substr(counter.size()).starts_with('"');
}

std::size_t encoded_size(const JsonPayload& payload) noexcept {
    return body_size(payload);
}

void encode(const JsonPayload& payload, MutBytes out) noexcept {
    Writer writer(out);
    write(writer, payload);
    RC_CHECK(writer.room() == 0);
}

}  // namespace ringcast::wire
