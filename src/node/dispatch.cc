#include "node/dispatch.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/plant.h"
#include "base/scratch.h"
#include "feed/pattern.h"
#include "feed/pattern_index.h"
#include "node/close_codes.h"
#include "node/host_feed.h"
#include "node/replies.h"
#include "node/topic_rules.h"
#include "wire/frame.h"
#include "wire/utf8.h"

namespace ringcast::node {

namespace {

// So much of what a compressed message becomes counts as one message more, as of what is asked for
// (node/inquiries.h): a hundred octets may be 64 KiB to look at.
constexpr std::size_t bytes_per_message = std::size_t{16} * 1024;

// A subscription that is gone is remembered for its interval (node/pacer.h): not for long.
constexpr double max_rate_least = 0.1;
// The largest token, and an envelope around it.
constexpr std::uint64_t auth_message_max = wire::jwt_size_max + 1024;

// So much may be inflated of one receive before its client, who is paused, is told `busy`: a few
// times what a receive may bring of plain messages.
constexpr std::size_t inflated_paused_max = std::size_t{256} * 1024;

// Between two batches. Ticks are 10 ms, so nothing comes more often than 100 times a second.
[[nodiscard]] Tick interval_of(double max_rate) noexcept {
    const auto tick_rate = static_cast<double>(nanos_per_s / tick_length);
    return static_cast<Tick>(std::max(1.0, tick_rate / max_rate + 0.5));
}

}  // namespace

Dispatch::Dispatch(const Config& config,
                   io::Reactor& reactor,
                   Sessions& sessions,
                   Hub& hub,
                   Inquiries& inquiries,
                   Door& door,
                   wire::EnvelopeParser& parser,
                   Counters& counters) noexcept
    : config_(config),
      reactor_(reactor),
      sessions_(sessions),
      hub_(hub),
      inquiries_(inquiries),
      door_(door),
      parser_(parser),
      counters_(counters),
      limits_{.message_size_max = config.message_max,
              .fragments_max = static_cast<std::uint32_t>(config.fragments_max)},
      deflate_limits_{.message_size_max = config.message_max,
                      .fragments_max = static_cast<std::uint32_t>(config.fragments_max),
                      .compressed_size_max = compressed_size_max(config.message_max)},
      inflation_(config),
      echo_packer_(config),
      unproven_limits_{
          .message_size_max = std::min<std::uint64_t>(config.message_max, auth_message_max),
          .fragments_max = std::min<std::uint32_t>(limits_.fragments_max, 16)},
      unproven_deflate_limits_{.message_size_max = unproven_limits_.message_size_max,
                               .fragments_max = unproven_limits_.fragments_max,
                               .compressed_size_max = unproven_limits_.message_size_max},
      message_rate_(Rate::of(config.messages_per_second, config.messages_burst)),
      control_rate_(Rate::of(config.control_per_second, config.control_per_second)) {}

void Dispatch::receive(io::ConnIndex conn, MutBytes input) noexcept {
    inflated_ = 0;
    handle(conn, input);
    sessions_.recount(conn);
}

const wire::FramerLimits& Dispatch::limits_of(const Session& session) const noexcept {
    if (session.unproven) {
        return session.deflate.agreed ? unproven_deflate_limits_ : unproven_limits_;
    }
    return session.deflate.agreed ? deflate_limits_ : limits_;
}

void Dispatch::handle(io::ConnIndex conn, MutBytes input) noexcept {
    Session& session = sessions_[conn];
    if (session.state == State::draining || session.deaf) return;
    if (!RC_PLANT(14)) session.heard = sessions_.now();
    if (session.state == State::accepted || session.state == State::handshaking) {
        door_.receive(conn, input);
    }
    // A closing client is heard until its close frame; a closing HTTP client has nothing to say.
    const bool listening = session.state == State::open || session.state == State::closing;
    if (!listening || session.role == Role::http) return;
    while (session.state != State::draining && !session.deaf) {
        const wire::FramerLimits& limits = limits_of(session);
        const wire::Framer::Event event = session.framer.next(input, limits);
        if (event.kind == wire::FramerEvent::need_more) return;
        on_event(conn, event);
    }
}

void Dispatch::on_event(io::ConnIndex conn, const wire::Framer::Event& event) noexcept {
    Session& session = sessions_[conn];
    switch (event.kind) {
        case wire::FramerEvent::need_more:
        case wire::FramerEvent::pong:  // a byte is a byte: `heard` says it all
            return;
        case wire::FramerEvent::close:
            on_close(conn, event);
            return;
        case wire::FramerEvent::error:
            fail(conn, event.close_code, event.reason);  // its frames cannot be told apart any more
            return;
        case wire::FramerEvent::ping:
            if (session.state == State::open) on_ping(conn, event.payload);
            return;
        case wire::FramerEvent::message:
            if (session.state != State::open) return;
            if (event.compressed) {
                on_compressed(conn, event.opcode, event.payload);
            } else {
                on_message(conn, event.opcode, event.payload);
            }
            return;
    }
}

// What cannot be inflated is text that is not text, rather than a broken frame: the next one could
// still be told apart. So it is 1007, as RFC 6455, 7.4.1, has it of data that are not what the
// message says they are.
void Dispatch::on_compressed(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept {
    Session& session = sessions_[conn];
    if (session.role == Role::echo && session.outbox.pending().size() > config_.outbox_max) {
        fail(conn, wire::close_code::try_again_later, "read the echoes first");
        return;
    }
    Bucket bucket = session.messages;
    const bool refused = !bucket.take(rate_of(session), reactor_.now());
    const std::size_t size_max = limits_of(session).message_size_max;
    Bytes plain;
    switch (inflation_.inflate(conn, session.deflate, message, size_max, plain)) {
        case wire::Inflated::whole:
            if (opcode == wire::Opcode::text && !wire::utf8_valid(plain)) {
                fail(conn, wire::close_code::invalid_payload, "text is not UTF-8");
            } else {
                inflated_ += plain.size();
                on_message(conn, opcode, plain);
                if (session.role != Role::echo) weigh(conn, inflation_.weight(), refused);
            }
            break;
        case wire::Inflated::too_large:
            fail(conn, wire::close_code::too_big, "message over the size limit");
            break;
        case wire::Inflated::corrupt:
            fail(conn, wire::close_code::invalid_payload, "what is compressed cannot be inflated");
            break;
        case wire::Inflated::wasteful:
            fail(conn, wire::close_code::policy_violation, "compressed in far too many blocks");
            break;
        case wire::Inflated::no_memory:
            fail(conn, wire::close_code::internal_error, "no memory for the message");
            break;
    }
    inflation_.done();
}

// What was refused costs as much to look at as what was allowed: the id of its answer is in it.
void Dispatch::weigh(io::ConnIndex conn, std::size_t size, bool refused) noexcept {
    Session& session = sessions_[conn];
    const auto more = static_cast<std::uint32_t>(size / bytes_per_message);
    if (!refused) {
        session.messages.charge(rate_of(session), reactor_.now(), more);
        return;
    }
    bool enough = false;
    for (std::uint32_t i = 0; i < more; i++) {
        enough = session.excess_messages.refused();
    }
    if (enough) sessions_.close(conn, close_codes::rate_limited, "too many messages");
}

// Nothing that this client says is heard any more.
void Dispatch::fail(io::ConnIndex conn, std::uint16_t code, const char* reason) noexcept {
    sessions_.close(conn, code, reason);
    sessions_[conn].deaf = true;
}

// RFC 6455, 5.5.1 and 7.1.1: answer with the same code, then the server closes the connection.
void Dispatch::on_close(io::ConnIndex conn, const wire::Framer::Event& event) noexcept {
    Session& session = sessions_[conn];
    session.peer_closed = true;
    session.deaf = true;
    if (session.state == State::open) {
        const bool echoed = wire::close_code_sendable(event.close_code);
        sessions_.close(conn, echoed ? event.close_code : wire::close_code::no_status, {});
    } else {
        sessions_.mark_ready(conn);  // ours is sent or waits: nothing else is missing
    }
}

void Dispatch::on_ping(io::ConnIndex conn, Bytes payload) noexcept {
    Session& session = sessions_[conn];
    // RFC 6455, 5.5.3: of several pings only the latest must be answered. /echo is for suites that
    // count each of them.
    if (session.role != Role::echo && !session.controls.take(control_rate_, reactor_.now())) {
        counters_.rate_limited++;
        if (session.excess_controls.refused()) {
            sessions_.close(conn, close_codes::rate_limited, "too many pings");
        }
        return;
    }
    session.excess_controls.allowed();
    Scratch<std::byte, wire::control_frame_size_max> frame;
    const std::size_t size = wire::encode_control(frame.data(), wire::Opcode::pong, payload);
    if (session.role == Role::echo) {
        push_echo(conn, Bytes(frame.data(), size));
    } else {
        sessions_.push(conn, Bytes(frame.data(), size));
    }
}

void Dispatch::on_message(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept {
    counters_.messages_in++;
    switch (sessions_[conn].role) {
        case Role::echo:
            on_echo(conn, opcode, message);
            return;
        case Role::raw:
            on_raw(conn, opcode, message);
            return;
        case Role::envelope:
            on_envelope(conn, opcode, message);
            return;
        case Role::http:
            break;
    }
    RC_CHECK(false);
}

void Dispatch::on_echo(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept {
    // Compressed for those who agreed to it, if zlib has their window (it has none of 8 bits).
    const SharedDeflate& deflate = sessions_[conn].deflate;
    Bytes packed;
    if (deflate.agreed && deflate.server_window_bits > wire::window_bits_min) {
        packed = echo_packer_.compress(message, deflate.server_window_bits);
    }
    const Bytes payload = packed.empty() ? message : packed;
    Scratch<std::byte, wire::header_size_max> header;
    const std::size_t size = wire::encode_header(header.data(), opcode, payload.size());
    if (!packed.empty()) wire::mark_compressed(header.data());
    sessions_.push_unlimited(conn, Bytes(header.data(), size));
    push_echo(conn, payload);
}

// Whatever its size: a client that does not read its echoes is not read from until it does.
void Dispatch::push_echo(io::ConnIndex conn, Bytes bytes) noexcept {
    if (!bytes.empty()) sessions_.push_unlimited(conn, bytes);
    if (sessions_[conn].outbox.pending().size() > config_.outbox_max) {
        sessions_.pause(conn, pause::outbox);
    }
}

const Rate& Dispatch::rate_of(const Session& session) const noexcept {
    return session.identity == nullptr ? message_rate_ : session.identity->messages;
}

// A client that is paused is still heard to the end of what was received. Of plain messages that is
// a buffer; compressed ones may be a thousand times as much, and each would wait in the mail.
bool Dispatch::floods(const Session& session) const noexcept {
    return (session.pauses & pause::credit) != 0 && inflated_ > inflated_paused_max;
}

bool Dispatch::within_rate(io::ConnIndex conn) noexcept {
    Session& session = sessions_[conn];
    if (session.messages.take(rate_of(session), reactor_.now())) {
        session.excess_messages.allowed();
        return true;
    }
    counters_.rate_limited++;
    // A raw client cannot be told which message was refused, so the first one ends it.
    if (session.excess_messages.refused() || session.role == Role::raw) {
        sessions_.close(conn, close_codes::rate_limited, "too many messages");
    }
    return false;
}

void Dispatch::on_raw(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept {
    const Session& session = sessions_[conn];
    if (!session.may_publish) {
        sessions_.close(conn,
                        wire::close_code::policy_violation,
                        "this connection does not publish (/raw?publish=NAME)");
        return;
    }
    if (!within_rate(conn)) return;
    if (floods(session)) {
        fail(conn, wire::close_code::try_again_later, "the server is behind");
        return;
    }
    hub_.publish(conn,
                 {.topic = *session.publish_topic,
                  .payload = message,
                  .text = opcode == wire::Opcode::text});
}

void Dispatch::on_envelope(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept {
    if (opcode == wire::Opcode::binary) {
        sessions_.close(conn, wire::close_code::unsupported_data, "envelopes are text");
        return;
    }
    wire::Inbound inbound;
    const wire::EnvelopeError problem = parser_.parse(message, inbound);
    if (!within_rate(conn)) {
        error(conn, inbound, "rate_limited", "slow down: this message was not handled");
        return;
    }
    if (sessions_[conn].unproven && !proven(conn, inbound)) return;
    if (problem != wire::EnvelopeError::none) {
        std::string text = "the message is not a valid envelope";
        if (inbound.member[0] != '\0') text = std::string("member: ") + inbound.member;
        error(conn, inbound, wire::envelope_error_name(problem), text);
        return;
    }
    if (inbound.topic.size() > config_.topic_name_max) {
        error(conn, inbound, "bad_topic", "the name is too long (--topic-name-max)");
        return;
    }
    (this->*handler_of(inbound.type))(conn, inbound);
}

Dispatch::Handler Dispatch::handler_of(wire::MessageType type) noexcept {
    switch (type) {
        case wire::MessageType::unknown:
            return &Dispatch::handle_unknown;
        case wire::MessageType::auth:
            return &Dispatch::handle_auth;
        case wire::MessageType::subscribe:
            return &Dispatch::handle_subscribe;
        case wire::MessageType::unsubscribe:
            return &Dispatch::handle_unsubscribe;
        case wire::MessageType::publish:
            return &Dispatch::handle_publish;
        case wire::MessageType::ack:
            return &Dispatch::handle_ack;
        case wire::MessageType::ping:
            return &Dispatch::handle_ping;
        case wire::MessageType::history:
            return &Dispatch::handle_history;
        case wire::MessageType::presence:
            return &Dispatch::handle_presence;
    }
    return &Dispatch::handle_unknown;
}

void Dispatch::error(io::ConnIndex conn,
                     const wire::Inbound& inbound,
                     std::string_view code,
                     std::string_view message) noexcept {
    tell_error(sessions_,
               reactor_,
               conn,
               {.id = inbound.id, .topic = inbound.topic, .code = code, .message = message});
}

// Who has shown no token may do nothing but that.
bool Dispatch::proven(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    if (inbound.type == wire::MessageType::auth) return true;
    error(conn, inbound, "unauthorized", "first comes an auth message with a token");
    sessions_.close(conn, close_codes::unauthorized, "a token is needed");
    return false;
}

void Dispatch::handle_auth(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    if (!door_.knows_tokens()) {
        error(
            conn, inbound, "not_supported", "this server knows no tokens: everybody is anonymous");
        return;
    }
    const std::string_view problem = door_.authenticate(conn, inbound.id, inbound.token);
    if (problem.empty()) return;
    error(conn, inbound, "unauthorized", problem);
    if (sessions_[conn].unproven) sessions_.close(conn, close_codes::unauthorized, problem);
}

bool Dispatch::may_subscribe(io::ConnIndex conn,
                             const wire::Inbound& inbound,
                             bool pattern) noexcept {
    const Access& access = hub_.access();
    if (!access.restricts()) return true;
    const Identity* identity = sessions_[conn].identity.get();
    const bool may = pattern ? access.may_subscribe_to_all(identity, inbound.topic)
                             : access.may(identity, Deed::subscribe, inbound.topic);
    const bool watches = inbound.subscribe.presence && !pattern;
    if (may && (!watches || access.may(identity, Deed::presence, inbound.topic))) return true;
    error(conn,
          inbound,
          "forbidden",
          may ? "to be told who is there is not allowed" : "subscribing to this is not allowed");
    return false;
}

void Dispatch::handle_subscribe(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    const wire::SubscribeOptions& options = inbound.subscribe;
    if (options.has_offset != options.has_epoch) {
        error(conn, inbound, "bad_payload", "offset and epoch go together");
        return;
    }
    const feed::NameKind kind = feed::kind_of(inbound.topic);
    const bool pattern = kind == feed::NameKind::pattern;
    if (kind == feed::NameKind::broken || (pattern && !feed::PatternIndex::fits(inbound.topic))) {
        error(conn, inbound, "bad_topic", "> comes last; at most 16 levels, four of them *");
        return;
    }
    if (pattern && options.has_offset) {
        error(conn, inbound, "bad_payload", "a pattern has no offset: first its topics, by name");
        return;
    }
    if (!may_subscribe(conn, inbound, pattern)) return;
    if (options.has_max_rate && !pattern &&
        !numbered_rule(config_, rule_number(config_, inbound.topic)).keyed) {
        error(
            conn, inbound, "not_keyed", "max_rate is for topics that keep the latest of each key");
        return;
    }
    if (options.has_max_rate && options.max_rate < max_rate_least) {
        error(conn, inbound, "bad_payload", "max_rate: at least 0.1, batches a second");
        return;
    }
    if (options.acks && !pattern &&
        numbered_rule(config_, rule_number(config_, inbound.topic)).keyed) {
        error(conn, inbound, "keyed", "acks are for topics that keep every record");
        return;
    }
    const Resume resume{.wanted = options.has_offset,
                        .presence = options.presence,
                        .offset = options.offset,
                        .epoch = options.epoch,
                        .snapshot = !options.has_snapshot || options.snapshot,
                        .interval = options.has_max_rate ? interval_of(options.max_rate) : 0,
                        .info = std::string(options.info),
                        .acks = options.acks,
                        .session = options.acks ? door_.session_of(conn) : std::string()};
    const auto result =
        pattern ? hub_.subscribe_pattern(conn, inbound.topic, inbound.id, resume)
                : hub_.subscribe(conn, inbound.topic, feed::LaneKind::envelope, inbound.id, resume);
    switch (result) {
        case Hub::Subscribing::asked:
            return;  // the hub answers
        case Hub::Subscribing::duplicate:
            error(conn, inbound, "already_subscribed", "one subscription a topic");
            return;
        case Hub::Subscribing::too_many_of_client:
            error(conn,
                  inbound,
                  "too_many_subscriptions",
                  "no more for one client (--topics-per-client-max)");
            return;
    }
}

void Dispatch::handle_unsubscribe(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    auto result = Hub::Unsubscribing::done;
    if (feed::kind_of(inbound.topic) == feed::NameKind::pattern) {
        const bool there = hub_.unsubscribe_pattern(conn, inbound.topic);
        if (!there) result = Hub::Unsubscribing::not_subscribed;
    } else {
        result = hub_.unsubscribe(conn, inbound.topic, feed::LaneKind::envelope);
    }
    if (result == Hub::Unsubscribing::not_subscribed) {
        error(conn, inbound, "not_subscribed", "there is no such subscription");
        return;
    }
    if (result == Hub::Unsubscribing::covered) {
        error(conn, inbound, "covered", "a pattern brings this topic: unsubscribe that");
        return;
    }
    reply(sessions_,
          conn,
          wire::Unsubscribed{
              .id = inbound.id, .wall_ns = reactor_.wall_now(), .topic = inbound.topic});
}

void Dispatch::handle_publish(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    const bool may = hub_.access().restricts() ? hub_.may(conn, Deed::publish, inbound.topic)
                                               : sessions_[conn].may_publish;
    if (!may) {
        error(conn,
              inbound,
              "forbidden",
              door_.knows_tokens() ? "publishing to this is not allowed"
                                   : "publishing is not allowed here (--anonymous-publish)");
        return;
    }
    if (floods(sessions_[conn])) {
        error(conn, inbound, "busy", "the server is behind: say it again later");
        return;
    }
    if (is_reserved(config_, inbound.topic)) {
        error(conn, inbound, "forbidden", "host.* and demo.* are the server's own");
        return;
    }
    if (feed::kind_of(inbound.topic) != feed::NameKind::plain) {
        error(conn, inbound, "bad_topic", "wildcards are for those who subscribe");
        return;
    }
    if (inbound.ack_required && inbound.id.empty()) {
        error(conn, inbound, "missing_member", "an ack needs an id that it can name");
        return;
    }
    if (inbound.report_expired && !inbound.ack_required) {
        error(conn, inbound, "missing_member", "report_expired needs ack_required");
        return;
    }
    const std::string client = inbound.ack_required ? door_.name_of(conn) : std::string();
    hub_.publish(conn,
                 {.topic = inbound.topic,
                  .id = inbound.id,
                  .key = inbound.key,
                  .payload = inbound.payload,
                  .json = true,
                  .ack = inbound.ack_required,
                  .report = inbound.report_expired,
                  .client = client});
}

// One that comes twice, since the record did, is told so and does no harm.
void Dispatch::handle_ack(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    if (hub_.acks().acknowledge(conn, inbound)) return;
    error(conn, inbound, "not_awaited", "no such record waits for an ack of this client");
}

void Dispatch::handle_ping(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    reply(sessions_, conn, wire::Pong{.id = inbound.id, .wall_ns = reactor_.wall_now()});
}

void Dispatch::handle_history(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    ask(conn, inbound, Question::history);
}

void Dispatch::handle_presence(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    ask(conn, inbound, Question::presence);
}

void Dispatch::ask(io::ConnIndex conn, const wire::Inbound& inbound, Question question) noexcept {
    if (feed::kind_of(inbound.topic) != feed::NameKind::plain) {
        error(conn, inbound, "bad_topic", "wildcards are for those who subscribe");
        return;
    }
    const Deed deed = question == Question::history ? Deed::history : Deed::presence;
    if (!hub_.may(conn, deed, inbound.topic)) {
        error(conn, inbound, "forbidden", "to ask this is not allowed");
        return;
    }
    const bool taken = inquiries_.ask(conn,
                                      {.question = question,
                                       .limit = inbound.history.limit,
                                       .from = inbound.history.from,
                                       .id = std::string(inbound.id),
                                       .topic = std::string(inbound.topic)});
    if (!taken) error(conn, inbound, "busy", "too many questions at once: wait for the answers");
}

void Dispatch::handle_unknown(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    error(conn, inbound, "unknown_type", "no handler is registered for this type");
}

}  // namespace ringcast::node
