#pragma once

// Reading the JSON envelope of sub-protocol ringcast.v1 (docs/PROTOCOL.md):
//   {"type":T,"id":I,"timestamp":S,"topic":N,"key":K,"ack_required":B,"report_expired":B,
//    "payload":P}
//
// The whole message must be one valid JSON object (simdjson validates every byte: UTF-8, numbers,
// escapes), at most envelope_depth_max deep. Members we do not know are ignored; a member we know
// must have its type and occur once. The payload is never rebuilt: its exact text is handed on.
//
// Strict on purpose: `id` is a string (a number would not survive a client that keeps doubles), and
// null is not a way to leave a member out.
//
// Memory is fixed at construction, about 15 times message_size_max; one parser per shard serves all
// its sessions. One thread owns it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "ringcast/error.h"

#include "base/bytes.h"

namespace ringcast::wire {

constexpr std::size_t envelope_depth_max = 32;  // nested objects and arrays, the envelope included
constexpr std::size_t id_size_max = 64;
constexpr std::size_t topic_size_max = 255;
constexpr std::size_t key_size_max = 255;
constexpr std::size_t type_size_max = 64;
constexpr std::size_t info_size_max = 256;

// What a client may send. `unknown` is any other well-formed type: a registered handler may know
// it.
enum class MessageType : std::uint8_t {
    unknown,
    auth,
    subscribe,
    unsubscribe,
    publish,
    ack,
    ping,
    history,
    presence,
};

// What is wrong with an envelope. The names (envelope_error_name) are the codes on the wire.
enum class EnvelopeError : std::uint8_t {
    none,
    bad_json,            // not one valid JSON document, too deep, or a byte order mark
    too_large,           // longer than the parser was made for
    not_an_object,       // valid JSON, but not an object
    missing_member,      // this type needs a member that is not there
    duplicate_member,    // a known member occurs twice
    bad_type,            // type: not a string of 1..64 bytes without control characters
    bad_id,              // id: not a string of 1..64 bytes without control characters
    bad_timestamp,       // timestamp: not a number
    bad_topic,           // topic: not a string of 1..255 bytes without control characters
    bad_key,             // key: not a string of 1..255 bytes without control characters
    bad_ack_required,    // ack_required: not a boolean
    bad_report_expired,  // report_expired: not a boolean
    bad_payload,         // payload: a member of it that this type uses has the wrong type or range
};

[[nodiscard]] std::string_view envelope_error_name(EnvelopeError error) noexcept;

// What `subscribe` may say in its payload.
struct SubscribeOptions {
    bool has_offset = false;  // recover: everything after this offset ...
    bool has_epoch = false;   // ... if the topic still has this epoch
    bool has_snapshot = false;
    bool snapshot = false;
    bool has_max_rate = false;
    double max_rate = 0;        // updates a second, > 0
    std::uint64_t offset = 0;   // at most 2^63 - 1
    std::uint64_t epoch = 0;    // 0 (never a real one) if the text is none of our epochs
    std::string_view policy{};  // empty: the topic's own; at most 32 bytes
    bool presence = false;      // wants to be told who comes and goes
    std::string_view info{};    // what others may know of this client: JSON text as it was written,
                                // at most info_size_max; empty if there is none
    bool acks = false;          // acknowledges records whose publishers want that
};

// What `ack` may say in its payload.
struct AckOptions {
    bool has_offset = false;
    std::uint64_t offset = 0;  // of the record; without it the id says which
    bool all_before = false;   // and all records before it
};

// What `history` may say in its payload.
struct HistoryOptions {
    std::uint64_t from = 0;     // the first wanted offset, from 1; 0: the oldest that is kept
    std::uint32_t limit = 100;  // records, 1 to 1000
};

struct Inbound {
    MessageType type = MessageType::unknown;
    bool ack_required = false;
    bool report_expired = false;
    bool has_payload = false;
    std::string_view type_text{};
    std::string_view id{};     // empty: none was given
    std::string_view topic{};  // empty: none was given
    std::string_view key{};    // empty: none was given
    std::string_view token{};  // auth only: payload.token, not empty
    Bytes payload{};           // the JSON text of the payload, without blanks around it
    SubscribeOptions subscribe{};
    HistoryOptions history{};
    AckOptions ack{};
    const char* member = "";  // after an error: the member it is about, if there is one
};

// How a payload that was published without an envelope appears inside one. The first three numbers
// are part of what is sealed (wire/seal.h): they do not change.
enum class PayloadForm : std::uint8_t {
    json = 0,    // text that is one JSON value: as it is
    text = 1,    // any other text: as a JSON string
    base64 = 2,  // binary: as a base64 string, and "encoding":"base64" stands next to it
    sealed = 3,  // a box (wire/seal.h): {"sealed":{...}}
};

class EnvelopeParser {
  public:
    // Errc::os when there is no memory. message_size_max: at most 1 GiB.
    [[nodiscard]] static Result<EnvelopeParser> make(std::size_t message_size_max) noexcept;
    EnvelopeParser(EnvelopeParser&&) noexcept;
    ~EnvelopeParser();

    // Fills in `inbound`; its views live until the next call and as long as `message`. After an
    // error the type, id and topic that could be read are there all the same, so that the answer
    // can carry the id. Precondition: 64 bytes behind `message` are readable.
    [[nodiscard]] EnvelopeError parse(Bytes message, Inbound& inbound) noexcept;

    // Precondition: 64 bytes behind `raw` are readable; a text is valid UTF-8 (the framer saw to
    // it).
    [[nodiscard]] PayloadForm payload_form(Bytes raw, bool is_text) noexcept;

  private:
    struct State;
    explicit EnvelopeParser(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

// 1..255 bytes of UTF-8 without control characters (C0, DEL). The one rule for topic names, from
// whichever door they come.
[[nodiscard]] bool topic_valid(std::string_view topic) noexcept;

}  // namespace ringcast::wire
