#include "node/door.h"

#include <algorithm>
#include <cstdio>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/plant.h"
#include "base/scratch.h"
#include "feed/pattern.h"
#include "node/assets.h"
#include "node/close_codes.h"
#include "node/host_feed.h"
#include "node/origin.h"
#include "node/replies.h"

namespace ringcast::node {

namespace {

constexpr const char* crowded_user =
    "this user has as many connections as he may (--connections-per-user, or his token)";
constexpr std::size_t chance_digits = 16;  // hexadecimal: a session's own 64 bits

// Does If-None-Match list `etag`? W/ makes no difference here (RFC 9110, section 13.1.2).
bool has_tag(std::string_view list, std::string_view etag) noexcept {
    constexpr std::string_view blank = " \t";
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        std::string_view tag = list.substr(0, comma);
        tag.remove_prefix(std::min(tag.find_first_not_of(blank), tag.size()));
        tag = tag.substr(0, tag.find_last_not_of(blank) + 1);
        if (tag.starts_with("W/")) tag.remove_prefix(2);
        if (tag == etag || tag == "*") return true;
        if (comma == std::string_view::npos) return false;
        list.remove_prefix(comma + 1);
    }
    return false;
}

// What the page may do: load its own files and connect back. Not every browser takes 'self' for
// ws:, too, so the host is named where the policy's language can (it knows no IPv6 addresses).
// `host` passed host_allowed(), so it ends nothing here.
std::string content_policy(std::string_view host) noexcept {
    std::string sockets;
    if (!host.starts_with('[')) {
        sockets = " ws://" + std::string(host) + " wss://" + std::string(host);
    }
    return "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
           "img-src 'self'; connect-src 'self'" +
           sockets + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";
}

}  // namespace

Door::Door(const Config& config,
           std::uint64_t id_prefix,
           const wire::TokenKey& token_key,
           io::Reactor& reactor,
           Sessions& sessions,
           Hub& hub,
           Registry& registry,
           Guard& guard,
           Auth& auth,
           Counters& counters) noexcept
    : config_(config),
      limits_{.head_size_max = static_cast<std::uint16_t>(config.header_max),
              .head_lines_max = static_cast<std::uint8_t>(config.header_lines_max),
              .read_extensions = config.compression},
      id_prefix_(id_prefix),
      token_key_(token_key),
      reactor_(reactor),
      sessions_(sessions),
      hub_(hub),
      registry_(registry),
      guard_(guard),
      auth_(auth),
      counters_(counters) {
    RC_CHECK(limits_.head_size_max == config.header_max);  // the flags' ranges see to it
    RC_CHECK(limits_.head_lines_max == config.header_lines_max);
}

void Door::receive(io::ConnIndex conn, MutBytes& input) noexcept {
    Session& session = sessions_[conn];
    if (session.state == State::accepted) {
        session.become(State::handshaking);
        session.request = std::make_unique<wire::RequestParser>(limits_);
    }
    RC_CHECK(session.state == State::handshaking);
    RC_CHECK(session.request != nullptr);
    std::size_t consumed = 0;
    const auto status = session.request->feed(input, consumed);
    input = input.subspan(consumed);
    if (RC_PLANT(15)) {
        session.deadline = sessions_.now() + sessions_.timings().handshake_timeout;
        sessions_.arm(conn);
    }
    if (status == wire::RequestParser::Status::need_more) return;

    const auto request = std::move(session.request);
    if (status == wire::RequestParser::Status::failed) {
        refuse(conn, request->error_status(), request->error_reason());
    } else {
        answer(conn, request->request());
    }
}

void Door::answer(io::ConnIndex conn, const wire::Request& request) noexcept {
    if (sessions_[conn].refused) {
        counters_.refused++;
        refuse(conn, 503, "no room for another client now");
        return;
    }
    const Guard::Verdict verdict =
        guard_.judge(conn, request.forwarded_for, request.forwarded_for_count);
    if (verdict.status != 0) {
        refuse(conn, verdict.status, verdict.reason);
        return;
    }
    const wire::Decision decision = wire::decide(request);
    switch (decision.kind) {
        case wire::Decision::Kind::refuse:
            refuse(conn, decision.status, decision.reason);
            return;
        case wire::Decision::Kind::websocket:
        case wire::Decision::Kind::http:
            break;
    }
    if (!host_allowed(config_, request)) {
        refuse(conn, 403, "with --dev Host must be localhost or a loopback address (or --origin)");
        return;
    }
    if (decision.kind == wire::Decision::Kind::websocket) {
        upgrade(conn, request, decision);
        return;
    }
    if (request.path == "/ws" || request.path == "/raw" || request.path == "/echo") {
        refuse(conn, 426, "this is a WebSocket endpoint");
        return;
    }
    serve_page(conn, request);
}

void Door::upgrade(io::ConnIndex conn,
                   const wire::Request& request,
                   const wire::Decision& decision) noexcept {
    if (!origin_allowed(config_, request)) {
        refuse(conn, 403, "pages of this Origin may not connect here (--origin)");
        return;
    }
    const bool echo = request.path == "/echo" && config_.dev;
    if (request.path != "/ws" && request.path != "/raw" && !echo) {
        refuse(conn, 404, "no such endpoint: use /ws or /raw");
        return;
    }
    if (echo) {
        open(conn, Role::echo, decision);
        guard_.let_in(conn);
        return;
    }
    Wishes wishes = read_query(request.query);
    if (wishes.problem != nullptr) {
        refuse(conn, 400, wishes.problem);
        return;
    }
    if (auth_.on() && !identify(conn, request, wishes)) return;
    if (request.path == "/ws") {
        open_envelope(conn, wishes, decision);
    } else {
        open_raw(conn, wishes, decision);
    }
}

// Who shows no token may be anonymous, where a rule lets anybody in, if a browser says that its
// page is one of --origin. Anybody else on /ws has to show one in a message.
bool Door::identify(io::ConnIndex conn, const wire::Request& request, Wishes& wishes) noexcept {
    Auth::Shown shown = auth_.read(request, wishes.token, wishes.tokens);
    if (shown.status != 0) {
        refuse(conn, shown.status, shown.reason);
        return false;
    }
    wishes.identity = std::move(shown.identity);
    const bool anonymous = hub_.access().anonymous() && request.origin_count != 0;
    wishes.must_prove = wishes.identity == nullptr && !anonymous;
    if (wishes.identity != nullptr && !set_user(conn, *wishes.identity)) {
        refuse(conn, 429, crowded_user);
        return false;
    }
    if (!wishes.must_prove || request.path == "/ws") return true;
    refuse(conn, 401, "a token is needed: Authorization: Bearer, or ?token=");
    return false;
}

bool Door::set_user(io::ConnIndex conn, const Identity& identity) noexcept {
    return guard_.set_user(conn, identity.claims.user, identity.claims.connections);
}

void Door::open(io::ConnIndex conn, Role role, const wire::Decision& decision) noexcept {
    Scratch<std::byte, wire::switching_protocols_size_max> head;
    const std::string_view protocol =
        role == Role::envelope ? decision.protocol : std::string_view();
    Session& session = sessions_[conn];
    Scratch<std::byte, wire::terms_size_max> extensions;
    const std::size_t extensions_size = agree(session, decision.deflate, extensions);
    const std::size_t size = wire::write_switching_protocols(
        head, decision.accept, protocol, as_text(Bytes(extensions.data(), extensions_size)));
    session.become(State::open);
    session.role = role;
    sessions_.gate_of(conn) &= static_cast<std::uint8_t>(~gate::not_open);
    sessions_.push_unlimited(conn, Bytes(head.data(), size));
    sessions_.arm(conn);
}

// On compression, if it is offered; the size of what is answered.
std::size_t Door::agree(Session& session,
                        const wire::DeflateOffer& offer,
                        MutBytes out) const noexcept {
    if (!config_.compression || !offer.found) return 0;
    const wire::DeflateTerms terms = wire::settle(offer, config_.compression_context);
    session.deflate.agreed = true;
    session.deflate.keeps_context = terms.client_keeps_context;
    session.deflate.server_window_bits = terms.server_window_bits & 15;
    session.deflate.client_window_bits = terms.client_window_bits & 15;
    return wire::write_terms(out, terms);
}

void Door::open_envelope(io::ConnIndex conn,
                         Wishes& wishes,
                         const wire::Decision& decision) noexcept {
    open(conn, Role::envelope, decision);
    Session& session = sessions_[conn];
    session.may_publish = config_.dev || config_.anonymous_publish;
    if (wishes.must_prove) {
        if (!wishes.client_id.empty()) {
            session.client_id = std::make_unique<std::string>(std::move(wishes.client_id));
            session.session_name = std::make_unique<std::string>(std::move(wishes.session));
        }
        auth_.demand(conn);
        return;
    }
    guard_.let_in(conn);
    if (wishes.identity != nullptr) auth_.adopt(conn, std::move(wishes.identity));
    claim(conn, wishes);
    welcome(conn, {});
}

std::string_view Door::authenticate(io::ConnIndex conn,
                                    std::string_view id,
                                    std::string_view token) noexcept {
    Session& session = sessions_[conn];
    const char* problem = "";
    std::unique_ptr<Identity> identity = auth_.verify(token, problem);
    if (identity == nullptr) return problem;
    const Identity* before = session.identity.get();
    if (before != nullptr && before->claims.user != identity->claims.user) {
        return "this connection is another user's: open a new one";
    }
    if (!set_user(conn, *identity)) {
        sessions_.close(conn, close_codes::too_many, crowded_user);
        return {};
    }
    if (!session.unproven) {
        const bool anonymous = before == nullptr;
        const std::string former = name_of(conn);
        auth_.adopt(conn, std::move(identity));
        if (anonymous) rename(conn, former);
        hub_.look_again(conn);
        welcome(conn, id);
        return {};
    }
    guard_.let_in(conn);
    auth_.adopt(conn, std::move(identity));
    Wishes wishes;
    if (session.client_id != nullptr) {
        wishes.client_id = std::move(*session.client_id);
        wishes.session = std::move(*session.session_name);
        session.client_id.reset();
        session.session_name.reset();
    }
    claim(conn, wishes);
    welcome(conn, id);
    return {};
}

void Door::claim(io::ConnIndex conn, Wishes& wishes) noexcept {
    if (wishes.client_id.empty()) return;
    const bool back = resume(conn, wishes);
    sessions_[conn].client_id = std::make_unique<std::string>(std::move(wishes.client_id));
    registry_.claim(conn);
    if (back) registry_.enter(conn, true);
}

// It was anonymous and is its user's now, and so is its client id: nobody else can take that, or
// repeat what it publishes under it.
void Door::rename(io::ConnIndex conn, std::string_view former) noexcept {
    RC_CHECK(sessions_[conn].identity != nullptr);
    if (sessions_[conn].client_id != nullptr) registry_.rename(conn, former);
    hub_.renamed(conn, former);
}

// A session's name is that of its client, and chance; its token is the chance, and a keyed hash of
// the name: the one that it had when it was asked for, so a user's client may go on with what it
// began before it was one. False: the token is another client's, or of a server that is gone, with
// all sessions.
bool Door::resume(io::ConnIndex conn, const Wishes& wishes) noexcept {
    if (wishes.session.size() <= chance_digits) return false;
    const std::string chance = '\n' + wishes.session.substr(0, chance_digits);
    const std::string_view proof = std::string_view(wishes.session).substr(chance_digits);
    for (std::string name :
         {scoped_name(sessions_[conn], wishes.client_id) + chance, wishes.client_id + chance}) {
        if (!wire::session_token_valid(token_key_, name, proof)) continue;
        sessions_[conn].session_name = std::make_unique<std::string>(std::move(name));
        return true;
    }
    return false;
}

std::string Door::session_of(io::ConnIndex conn) noexcept {
    Session& session = sessions_[conn];
    if (session.session_name == nullptr) {
        Scratch<char, chance_digits + 1> chance;
        const int size = std::snprintf(chance.data(),
                                       chance.size(),
                                       "%016llx",
                                       static_cast<unsigned long long>(reactor_.random()));
        RC_CHECK(size == static_cast<int>(chance_digits));
        session.session_name = std::make_unique<std::string>(
            name_of(conn) + '\n' + std::string(chance.data(), chance_digits));
        registry_.enter(conn, false);
    }
    const std::string& name = *session.session_name;
    return name.substr(name.size() - chance_digits) + wire::session_token(token_key_, name);
}

void Door::open_raw(io::ConnIndex conn, Wishes& wishes, const wire::Decision& decision) noexcept {
    if (wishes.topics.empty() && !wishes.publishes) {
        refuse(conn, 400, "/raw wants ?topic=NAME or ?publish=NAME");
        return;
    }
    if (const char* why = forbidden_on_raw(wishes); why != nullptr) {
        refuse(conn, 403, why);
        return;
    }
    if (wishes.topics.size() > config_.topics_per_client_max) {
        refuse(conn, 400, "more topics than a client may have (--topics-per-client-max)");
        return;
    }
    open(conn, Role::raw, decision);
    guard_.let_in(conn);
    Session& session = sessions_[conn];
    if (wishes.identity != nullptr) auth_.adopt(conn, std::move(wishes.identity));
    session.may_publish = wishes.publishes;
    claim(conn, wishes);
    if (wishes.publishes) {
        session.publish_topic = std::make_unique<std::string>(std::move(wishes.publish));
    }
    for (const std::string& topic : wishes.topics) {
        if (session.state != State::open) return;
        // A name that stands there twice is one subscription.
        static_cast<void>(hub_.subscribe(conn, topic, feed::LaneKind::raw, {}));
    }
}

const char* Door::forbidden_on_raw(const Wishes& wishes) const noexcept {
    const Access& access = hub_.access();
    const Identity* identity = wishes.identity.get();
    if (wishes.publishes && !access.may(identity, Deed::publish, wishes.publish)) {
        return auth_.on() ? "the token does not allow to publish this"
                          : "publishing is not allowed here (--anonymous-publish)";
    }
    if (wishes.publishes && is_reserved(config_, wishes.publish)) {
        return "host.* and demo.* are the server's own";
    }
    const bool all =
        std::all_of(wishes.topics.begin(), wishes.topics.end(), [&](const std::string& topic) {
            return access.may(identity, Deed::subscribe, topic);
        });
    return all ? nullptr : "not all of these topics may be read";
}

Door::Wishes Door::read_query(std::string_view query) const noexcept {
    Wishes wishes;
    wire::QueryReader reader(query);
    Scratch<char, wire::target_size_max> scratch;
    wire::QueryReader::Item item;
    while (true) {
        const auto status = reader.next(scratch, item);
        if (status == wire::QueryReader::Status::end) return wishes;
        if (status == wire::QueryReader::Status::bad) {
            wishes.problem = "malformed query";
            return wishes;
        }
        note_wish(item, wishes);
        if (wishes.problem != nullptr) return wishes;
    }
}

void Door::note_wish(const wire::QueryReader::Item& item, Wishes& wishes) const noexcept {
    const bool valid = wire::topic_valid(item.value);
    if (item.name == "client_id") {
        wishes.client_id = item.value;
        if (!valid || item.value.size() > wire::id_size_max) {
            wishes.problem = "client_id has 1 to 64 bytes and no control characters";
        }
        return;
    }
    if (item.name == "session") {
        wishes.session = item.value;
        return;
    }
    if (item.name == "token") {
        wishes.token = item.value;
        wishes.tokens++;
        return;
    }
    const bool publish = item.name == "publish";
    if (!publish && item.name != "topic") return;
    if (!valid || item.value.size() > config_.topic_name_max) {
        wishes.problem = "topic names have 1 to 255 bytes and no control characters";
    } else if (feed::kind_of(item.value) != feed::NameKind::plain) {
        wishes.problem = "wildcards are for those who subscribe on /ws";
    } else if (!publish) {
        wishes.topics.emplace_back(item.value);
    } else if (std::exchange(wishes.publishes, true)) {
        wishes.problem = "publish= may stand there once";
    } else {
        wishes.publish = item.value;
    }
}

void Door::serve_page(io::ConnIndex conn, const wire::Request& request) noexcept {
    const auto files = config_.dev ? assets() : std::span<const Asset>();
    const auto asset = std::find_if(
        files.begin(), files.end(), [&](const Asset& at) { return at.path == request.path; });
    if (asset == files.end()) {
        refuse(conn, 404, "nothing is here");
        return;
    }
    const bool known = has_tag(request.if_none_match, asset->etag);
    std::string head =
        known ? "HTTP/1.1 304 Not Modified\r\n"
              : "HTTP/1.1 200 OK\r\nContent-Type: " + std::string(asset->content_type) +
                    "\r\nContent-Length: " + std::to_string(asset->body.size()) + "\r\n";
    head += "ETag: " + std::string(asset->etag) + "\r\nCache-Control: no-cache\r\n";
    head += "X-Content-Type-Options: nosniff\r\n" + content_policy(request.host);
    head += "Connection: close\r\n\r\n";
    sessions_.push_unlimited(conn, as_bytes(head));
    if (!known) sessions_[conn].body = as_bytes(asset->body);
    sessions_.finish(conn);
}

void Door::refuse(io::ConnIndex conn, int status, std::string_view reason) noexcept {
    Scratch<std::byte, wire::refusal_size_max> text;
    const bool later = status == 429 || status == 503;
    const std::uint32_t retry_after_s = later ? guard_.retry_after() : 0;
    const std::size_t size = wire::write_refusal(text, status, reason, retry_after_s);
    counters_.handshake_failures++;
    sessions_.push_unlimited(conn, Bytes(text.data(), size));
    sessions_.finish(conn);
}

std::string Door::client_id(io::ConnIndex conn) noexcept {
    const Session& session = sessions_[conn];
    if (session.client_id != nullptr) return *session.client_id;
    Scratch<char, 48> text;
    const int size = std::snprintf(text.data(),
                                   text.size(),
                                   "%016llx-%llx",
                                   static_cast<unsigned long long>(id_prefix_),
                                   static_cast<unsigned long long>(session.serial));
    RC_CHECK(size > 0);
    return {text.data(), static_cast<std::size_t>(size)};
}

void Door::welcome(io::ConnIndex conn, std::string_view id) noexcept {
    const std::string name = client_id(conn);
    const TokenClaims none;
    const Identity* identity = sessions_[conn].identity.get();
    const TokenClaims& claims = identity != nullptr ? identity->claims : none;
    std::uint64_t messages = config_.messages_per_second;
    if (claims.messages != 0 && (messages == 0 || claims.messages < messages)) {
        messages = claims.messages;
    }
    reply(sessions_,
          conn,
          wire::Welcome{
              .id = id,
              .wall_ns = reactor_.wall_now(),
              .client_id = name,
              .ping_interval_s =
                  static_cast<std::uint32_t>((config_.ping_interval + units::s - 1) / units::s),
              .limits = {.message_size = config_.message_max,
                         .topics = static_cast<std::uint32_t>(config_.topics_per_client_max),
                         .messages_per_second = static_cast<std::uint32_t>(messages)},
              .user = claims.user,
              .expires_s = static_cast<std::uint64_t>(claims.expires_s)});
}

}  // namespace ringcast::node
