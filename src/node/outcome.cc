#include "node/outcome.h"

#include <array>

#include "base/check.h"
#include "node/replies.h"
#include "wire/frame.h"

namespace ringcast::node {

namespace {

constexpr std::uint16_t unanswered_max = 256;  // of one client, before it is not read from

struct Words {
    Verdict verdict;
    const char* code;
    const char* message;
    std::uint16_t close_code;  // of a raw client
};

constexpr std::array<Words, 10> all_words{{
    {Verdict::too_many_topics,
     "too_many_topics",
     "the server holds as many topics as it may (--topics-max)",
     wire::close_code::try_again_later},
    {Verdict::too_large,
     "too_large",
     "the message does not fit into the log (--log-memory)",
     wire::close_code::too_big},
    {Verdict::missing_key,
     "missing_key",
     "every record of this topic has a key",
     wire::close_code::policy_violation},
    {Verdict::too_many_keys,
     "too_many_keys",
     "the topic has as many keys as it may (keys-max of its rule)",
     wire::close_code::policy_violation},
    {Verdict::keys_full,
     "keys_full",
     "the latest records of all keys are as large as they may be (keys-bytes of the topic's rule)",
     wire::close_code::policy_violation},
    {Verdict::no_memory,
     "no_memory",
     "there is no memory for more keys (--log-memory)",
     wire::close_code::try_again_later},
    {Verdict::busy,
     "busy",
     "more is to be stored than the disk has taken: try again later, with the same id",
     wire::close_code::try_again_later},
    {Verdict::store_full,
     "store_full",
     "the store has no room (its disk, or --store-size-max): try again later, with the same id",
     wire::close_code::try_again_later},
    {Verdict::store_failed,
     "store_failed",
     "the store cannot be written: try again later, with the same id",
     wire::close_code::try_again_later},
    {Verdict::too_many_reports,
     "busy",
     "too many records wait for a report: try again later, with the same id",
     wire::close_code::try_again_later},
}};

[[nodiscard]] const Words& words_of(Verdict verdict) noexcept {
    for (const Words& words : all_words) {
        if (words.verdict == verdict) return words;
    }
    RC_CHECK(false);
    return all_words[0];
}

}  // namespace

void await_outcome(Sessions& sessions, io::ConnIndex conn) noexcept {
    Session& session = sessions[conn];
    session.unanswered++;
    if (session.unanswered >= unanswered_max) sessions.pause(conn, pause::acks);
}

void tell_later(Sessions& sessions,
                const io::Reactor& reactor,
                io::ConnIndex conn,
                std::uint64_t serial,
                const Outcome& outcome) noexcept {
    Session* session = sessions.find(conn, serial);
    if (session == nullptr) return;
    if (outcome.awaited) {
        RC_CHECK(session->unanswered > 0);
        session->unanswered--;
        if (session->unanswered == unanswered_max / 2) sessions.resume(conn, pause::acks);
    }
    tell(sessions, reactor, conn, outcome);
}

void tell(Sessions& sessions,
          const io::Reactor& reactor,
          io::ConnIndex conn,
          const Outcome& outcome) noexcept {
    if (outcome.verdict == Verdict::taken) {
        RC_CHECK(sessions[conn].role == Role::envelope);
        reply(sessions,
              conn,
              wire::Ack{.id = outcome.id,
                        .wall_ns = reactor.wall_now(),
                        .topic = outcome.topic,
                        .offset = outcome.offset,
                        .epoch = outcome.epoch});
        return;
    }
    if (outcome.verdict == Verdict::expired) {
        reply(sessions,
              conn,
              wire::Expired{.id = outcome.id,
                            .wall_ns = reactor.wall_now(),
                            .topic = outcome.topic,
                            .offset = outcome.offset,
                            .epoch = outcome.epoch,
                            .clients = outcome.clients});
        return;
    }
    const Words& words = words_of(outcome.verdict);
    if (sessions[conn].role != Role::envelope) {
        sessions.close(conn, words.close_code, words.message);
        return;
    }
    tell_error(
        sessions,
        reactor,
        conn,
        {.id = outcome.id, .topic = outcome.topic, .code = words.code, .message = words.message});
}

}  // namespace ringcast::node
