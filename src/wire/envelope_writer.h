#pragma once

// Writing what the server says in sub-protocol ringcast.v1: one WebSocket text frame each, header
// included, ready for the log or an outbox.
//
// Each message is a struct of views. encoded_size() tells the exact size of its frame, encode()
// fills exactly that many bytes. Both run the same code over two kinds of sink, so they cannot
// disagree. Nothing is allocated and nothing fails: views may hold any bytes that are valid UTF-8,
// escaping is done here.
//
// `wall_ns` is Unix time in nanoseconds; on the wire it is seconds with three decimals, cut.
// Every envelope has an `id`, if need be an empty one; a welcome and a gap that answer nothing get
// one made here. An empty `topic` or `key` leaves the member out.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "wire/envelope.h"

namespace ringcast::wire {

// A payload in the form that PayloadForm says.
struct JsonPayload {
    Bytes bytes{};  // json: the JSON text; text: UTF-8; base64: anything; sealed: a box
    PayloadForm form = PayloadForm::json;
};

// {"type":"data_update","ack_required":true,"id":I,"timestamp":S,"topic":T,"offset":N,"key":K,
//  "encoding":"base64","payload":P}
struct DataUpdate {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t offset = 0;
    std::string_view key{};
    bool ack_required = false;
    JsonPayload payload{};
};

// What a reader without envelopes gets of a sealed record, so all that it needs to open it:
// {"sealed":{"v":1,"alg":"A256GCM","kid":I,"topic":T,"epoch":"0123456789abcdef","offset":N,"key":K,
//  "data":D}}, and "key" only where there is one.
struct SealedMessage {
    Bytes box{};
    std::string_view topic{};
    std::uint64_t epoch = 0;
    std::uint64_t offset = 0;
    std::string_view key{};
};

struct Limits {
    std::uint64_t message_size = 0;
    std::uint32_t topics = 0;
    std::uint32_t messages_per_second = 0;
};

// payload {"client_id":C,"ping_interval_s":N,
//          "limits":{"message_size":N,"topics":N,"messages_per_second":N},
//          with a token: "user":U,"expires":N}
struct Welcome {
    std::string_view id{};  // of the auth message it answers; empty: "welcome"
    std::int64_t wall_ns = 0;
    std::string_view client_id{};
    std::uint32_t ping_interval_s = 0;
    Limits limits{};
    std::string_view user{};      // empty: there was no token
    std::uint64_t expires_s = 0;  // Unix time
};

// payload {"offset":N,"epoch":"0123456789abcdef","recovered":B,
//          with keys: "keyed":true,"snapshot":B,"head":N;
//          with acks: "acks":true,"session":S,"open":N; brought by a pattern: "pattern":P}
struct Subscribed {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t offset = 0;
    std::uint64_t epoch = 0;  // 16 hexadecimal digits in a string: safe in JavaScript
    bool recovered = false;
    bool keyed = false;
    bool snapshot = false;   // the latest of each key comes first ...
    std::uint64_t head = 0;  // ... and is whole with the first record from this offset on; 0: empty
    bool acks = false;       // it acknowledges what publishers want acknowledged:
    std::string_view session{};  // with which it comes back, and ...
    std::uint64_t open = 0;      // ... how many records it owes from before
    std::string_view pattern{};  // that brought the topic; empty: it was asked for by name
};

// payload {"pattern":true}
struct PatternSubscribed {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};  // the pattern
};

struct Unsubscribed {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
};

// payload {"offset":N,"epoch":"0123456789abcdef"}
struct Ack {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t offset = 0;
    std::uint64_t epoch = 0;
};

// So many subscribers did not acknowledge this record of the client's in time.
// payload {"offset":N,"epoch":"0123456789abcdef","clients":N}
struct Expired {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t offset = 0;
    std::uint64_t epoch = 0;
    std::uint64_t clients = 0;
};

// payload {"epoch":"0123456789abcdef","first":N,"next":N,"records":[R,R],"more":B}
struct History {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t epoch = 0;
    std::uint64_t first = 0;           // the oldest record that is kept
    std::uint64_t next = 0;            // the number that the next one will get
    std::span<const Bytes> records{};  // each the JSON text of a data_update
    bool more = false;                 // there is more behind the last of them
};

struct Present {
    std::string_view client_id{};
    std::string_view user{};    // empty: nobody knows
    std::uint64_t since_s = 0;  // Unix time
    std::string_view info{};    // JSON text; empty: null
};

// payload {"count":N,"clients":[{"client_id":C,"user":U,"since":N,"info":I}],"more":B}, or
// {"count":N} where nobody is listed.
struct Presence {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t count = 0;
    bool listed = false;
    std::span<const Present> clients{};
    bool more = false;  // than these
};

// id "presence"; payload {"joined":[as above],"left":[C,C],"count":N}, or
// {"count":N,"truncated":true}
struct PresenceUpdate {
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t count = 0;
    bool truncated = false;
    std::span<const Present> joined{};
    std::span<const std::string_view> left{};
};

struct Pong {
    std::string_view id{};
    std::int64_t wall_ns = 0;
};

// payload {"code":C,"message":M}
struct ErrorReply {
    std::string_view id{};
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::string_view code{};
    std::string_view message{};
};

// Offsets from..to (both included) were missed; the next record is number `next`.
// id "gap-N", N = next; payload {"from":N,"to":N,"reason":R,"next":N}
struct Gap {
    std::int64_t wall_ns = 0;
    std::string_view topic{};
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::string_view reason{};
    std::uint64_t next = 0;
};

// What the server says: the structs above that are a whole message.
template <typename T>
concept Outbound = std::same_as<T, DataUpdate> || std::same_as<T, SealedMessage> ||
    std::same_as<T, Welcome> || std::same_as<T, Subscribed> || std::same_as<T, PatternSubscribed> ||
    std::same_as<T, Unsubscribed> || std::same_as<T, Ack> || std::same_as<T, Pong> ||
    std::same_as<T, ErrorReply> || std::same_as<T, Gap> || std::same_as<T, Expired> ||
    std::same_as<T, History> || std::same_as<T, Presence> || std::same_as<T, PresenceUpdate>;

template <Outbound Message>
[[nodiscard]] std::size_t encoded_size(const Message& message) noexcept;
// Precondition: out.size() == encoded_size(message).
template <Outbound Message>
void encode(const Message& message, MutBytes out) noexcept;

// Of a frame that encode() made of a DataUpdate: its ack_required, and whether it has this id.
[[nodiscard]] bool wants_ack(Bytes frame) noexcept;
[[nodiscard]] bool has_id(Bytes frame, std::string_view id) noexcept;

// The payload alone, as it stands in an envelope.
[[nodiscard]] std::size_t encoded_size(const JsonPayload& payload) noexcept;
void encode(const JsonPayload& payload, MutBytes out) noexcept;

}  // namespace ringcast::wire
