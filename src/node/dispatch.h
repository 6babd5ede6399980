#pragma once

// What a client says: frames into messages, messages to the handler of their type. An error of one
// message ends in an answer to that client (or its close), and touches nobody else.
//
// One thread owns a Dispatch.

#include "ringcast/config.h"

#include "io/reactor.h"
#include "node/counters.h"
#include "node/door.h"
#include "node/hub.h"
#include "node/inflation.h"
#include "node/inquiries.h"
#include "node/packer.h"
#include "node/sessions.h"
#include "wire/envelope.h"
#include "wire/framer.h"

namespace ringcast::node {

class Dispatch {
  public:
    Dispatch(const Config& config,
             io::Reactor& reactor,
             Sessions& sessions,
             Hub& hub,
             Inquiries& inquiries,
             Door& door,
             wire::EnvelopeParser& parser,
             Counters& counters) noexcept;
    Dispatch(const Dispatch&) = delete;
    Dispatch& operator=(const Dispatch&) = delete;

    // Bytes of any session, in whatever state.
    void receive(io::ConnIndex conn, MutBytes input) noexcept;
    // The connection is leaving, or gone.
    void forget(io::ConnIndex conn) noexcept { inflation_.forget(conn); }

  private:
    using Handler = void (Dispatch::*)(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;

    void handle(io::ConnIndex conn, MutBytes input) noexcept;
    void on_event(io::ConnIndex conn, const wire::Framer::Event& event) noexcept;
    void on_compressed(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept;
    void weigh(io::ConnIndex conn, std::size_t size, bool refused) noexcept;
    void fail(io::ConnIndex conn, std::uint16_t code, const char* reason) noexcept;
    void on_close(io::ConnIndex conn, const wire::Framer::Event& event) noexcept;
    void on_ping(io::ConnIndex conn, Bytes payload) noexcept;
    void on_message(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept;
    void on_echo(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept;
    void push_echo(io::ConnIndex conn, Bytes bytes) noexcept;
    void on_raw(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept;
    void on_envelope(io::ConnIndex conn, wire::Opcode opcode, Bytes message) noexcept;
    [[nodiscard]] const wire::FramerLimits& limits_of(const Session& session) const noexcept;
    [[nodiscard]] const Rate& rate_of(const Session& session) const noexcept;
    [[nodiscard]] bool floods(const Session& session) const noexcept;
    [[nodiscard]] bool within_rate(io::ConnIndex conn) noexcept;
    [[nodiscard]] bool proven(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void error(io::ConnIndex conn,
               const wire::Inbound& inbound,
               std::string_view code,
               std::string_view message) noexcept;

    void handle_auth(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    [[nodiscard]] bool may_subscribe(io::ConnIndex conn,
                                     const wire::Inbound& inbound,
                                     bool pattern) noexcept;
    void handle_subscribe(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void handle_unsubscribe(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void handle_publish(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void handle_ack(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void handle_ping(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void handle_history(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void handle_presence(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    void ask(io::ConnIndex conn, const wire::Inbound& inbound, Question question) noexcept;
    void handle_unknown(io::ConnIndex conn, const wire::Inbound& inbound) noexcept;
    [[nodiscard]] static Handler handler_of(wire::MessageType type) noexcept;

    const Config& config_;
    io::Reactor& reactor_;
    Sessions& sessions_;
    Hub& hub_;
    Inquiries& inquiries_;
    Door& door_;
    wire::EnvelopeParser& parser_;
    Counters& counters_;
    wire::FramerLimits limits_;
    wire::FramerLimits deflate_limits_;  // where compression was agreed upon
    Inflation inflation_;
    std::size_t inflated_ = 0;  // bytes of what is received now
    Packer echo_packer_;
    wire::FramerLimits unproven_limits_;  // of who may say no more than a token
    wire::FramerLimits unproven_deflate_limits_;
    Rate message_rate_;
    Rate control_rate_;
};

}  // namespace ringcast::node
