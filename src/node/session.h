#pragma once

// One client's connection: everything the server knows of it, small and plain.
//
//   state        enters by                                   leaves by
//   accepted     on_accepted                                 first bytes, or the deadline
//   handshaking  first bytes                                 101 sent, another status, the deadline
//   open         101                                         close frame, FIN, error, silence,
//   closing      our last frame or response is in the outbox  peer's close, or the deadline
//   draining     Reactor::close was called                   on_closed
//   gone         the slot is free
//
// A session's memory lives until on_closed: the kernel may still hold its connection.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/time.h"
#include "base/wheel.h"
#include "feed/outbox.h"
#include "feed/topic.h"
#include "io/reactor.h"
#include "node/bucket.h"
#include "node/identity.h"
#include "node/owed.h"
#include "wire/envelope.h"
#include "wire/framer.h"
#include "wire/http.h"
#include "wire/jwt.h"

namespace ringcast::node {

enum class State : std::uint8_t { accepted, handshaking, open, closing, draining, gone };

// What a connection speaks once it is open.
enum class Role : std::uint8_t { http, envelope, raw, echo };

// The one table of what may follow what.
[[nodiscard]] constexpr bool may_become(State from, State to) noexcept {
    switch (from) {
        case State::accepted:
            return to == State::handshaking || to == State::draining;
        case State::handshaking:
            return to == State::open || to == State::closing || to == State::draining;
        case State::open:
            return to == State::closing || to == State::draining;
        case State::closing:
            return to == State::draining;
        case State::draining:
            return to == State::gone;
        case State::gone:
            return to == State::accepted;
    }
    return false;
}

namespace pause {                     // why a session is not read from; bits
constexpr std::uint8_t credit = 1;    // other shards are behind with its publications
constexpr std::uint8_t outbox = 2;    // what answers it waits to be sent
constexpr std::uint8_t acks = 4;      // many of its publications wait for home's answer
constexpr std::uint8_t answers = 8;   // its questions wait for the answer to an earlier one
constexpr std::uint8_t session = 16;  // what it owes from an earlier connection is under way
constexpr std::uint8_t all = 31;
}  // namespace pause

constexpr std::uint32_t no_row = UINT32_MAX;  // subscribed, but home has not answered yet
constexpr std::uint32_t no_topic = UINT32_MAX;
constexpr std::uint16_t no_link = UINT16_MAX;

struct Subscription {
    std::uint32_t topic = no_topic;  // id in the shard's table
    std::uint32_t row = no_row;      // in the lane
    feed::LaneKind lane = feed::LaneKind::envelope;
    bool brought = false;  // by a pattern of the client, and not asked for by name
};
static_assert(sizeof(Subscription) == 12);

// A client's subscriptions: nearly everybody has one, so one needs no memory of its own.
class SubscriptionList {
  public:
    SubscriptionList() noexcept = default;
    SubscriptionList(const SubscriptionList&) = delete;
    SubscriptionList& operator=(const SubscriptionList&) = delete;

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] Subscription& operator[](std::uint32_t link) noexcept {
        RC_CHECK(link < size_);
        return many_ == nullptr ? one_ : many_[link];
    }
    // The new entry's number, its link.
    std::uint32_t add(const Subscription& subscription) noexcept;
    // The last entry moves to `link`; its owner must be told.
    void remove(std::uint32_t link) noexcept;

  private:
    std::uint16_t size_ = 0;
    std::uint16_t capacity_ = 1;
    Subscription one_;
    std::unique_ptr<Subscription[]> many_;
};

// What was agreed upon of permessage-deflate (wire/extension.h).
struct SharedDeflate {
    bool agreed : 1 = false;
    bool keeps_context : 1 = false;  // the client does
    std::uint8_t server_window_bits : 4 = 0;
    std::uint8_t client_window_bits : 4 = 0;
};
static_assert(sizeof(SharedDeflate) == 2);

struct Session {
    wire::Framer framer;
    feed::Outbox outbox;
    SubscriptionList subscriptions;
    std::unique_ptr<wire::RequestParser> request;  // until the handshake is done
    std::unique_ptr<std::string> client_id;        // only one that the client chose
    std::unique_ptr<std::string> publish_topic;    // raw: where its messages go
    // In the registry, once it acknowledges. While it is unproven: the token of the session with
    // which it wishes to go on.
    std::unique_ptr<std::string> session_name;
    std::unique_ptr<Identity> identity;  // null: it showed no token
    // From earlier connections, of topics that it has not subscribed to again.
    std::unique_ptr<std::vector<Owed>> owed;
    Bytes body;                // the rest of a static asset to send
    std::uint64_t serial = 0;  // of this shard, never reused
    Nanos accepted_at = 0;     // Reactor::now()
    Bucket messages;
    Bucket controls;
    Tick heard = 0;     // the last sign of life
    Tick phase = 0;     // a tick of its own from which its pings are counted
    Tick pinged = 0;    // when, while `awaiting_pong`
    Tick blocked = 0;   // since when the socket takes nothing, while the gate says so
    Tick deadline = 0;  // of the handshake, of closing, after a FIN, or while it is bounded
    Excess excess_messages;
    Excess excess_controls;
    std::uint32_t counted = 0;        // bytes that Sessions::held_bytes() has of it
    std::uint32_t pattern_bytes = 0;  // that its patterns hold, here and at the homes
    std::uint16_t counted_links = 0;  // subscriptions that it has of it
    std::uint16_t torn = no_link;     // the subscription inside one of whose records we stand
    std::uint16_t next_link = 0;      // the subscription that is served first next time
    std::uint16_t unanswered = 0;     // publications that wait for home's answer
    std::uint8_t pauses = 0;
    State state = State::gone;
    Role role = Role::http;
    bool refused : 1 = false;   // over the connection limit
    bool admitted : 1 = false;  // counts against the connection limit
    bool may_publish : 1 = false;
    bool awaiting_pong : 1 = false;
    bool peer_closed : 1 = false;       // its close frame, or its FIN, is here
    bool deaf : 1 = false;              // what it sends is read and thrown away
    bool finished_sending : 1 = false;  // our FIN is behind our last byte
    bool secure : 1 = false;            // over TLS, which holds some memory itself
    SharedDeflate deflate;
    bool unproven : 1 = false;          // nothing is done for it before it shows a token
    bool bounded : 1 = false;           // it is closed at its deadline, unless it shows a token

    void become(State next) noexcept {
        RC_CHECK(may_become(state, next));
        state = next;
    }
};

// The name that stands for a client id where all clients' names are: that of a user's client is the
// user's own. Ids and users have no control characters.
[[nodiscard]] std::string scoped_name(const Session& session, std::string_view client_id) noexcept;
constexpr char name_separator = '\t';
constexpr std::size_t scoped_name_size_max = wire::jwt_user_size_max + 1 + wire::id_size_max;

}  // namespace ringcast::node
