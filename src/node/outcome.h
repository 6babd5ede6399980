#pragma once

// What home says to whoever published or subscribed, in the same words wherever home is.

#include <cstdint>
#include <string_view>

#include "feed/topic.h"
#include "io/reactor.h"
#include "node/sessions.h"

namespace ringcast::node {

enum class Verdict : std::uint8_t {
    taken,             // published; only told to those who asked for an ack
    too_many_topics,   // --topics-max
    too_large,         // for the log: --log-memory
    missing_key,       // the topic keeps the latest record of each key
    too_many_keys,     // keys-max of its rule
    keys_full,         // keys-bytes of its rule
    no_memory,         // --log-memory, of which half is for keys at most
    busy,              // durable: too much waits for the disk
    store_full,        // durable: the disk is, or --store-size-max is reached
    store_failed,      // durable: the disk does not do
    too_many_reports,  // records whose publishers want to know who does not acknowledge them
    expired,           // published, but so many subscribers did not acknowledge it
};

struct Outcome {
    Verdict verdict = Verdict::taken;
    bool awaited = false;   // the publisher asked for it; otherwise only bad news are told
    std::string_view id{};  // of the client's message
    std::string_view topic{};
    feed::Seq offset = 0;  // taken: under which number, in which epoch
    std::uint64_t epoch = 0;
    std::uint64_t clients = 0;  // expired: how many
};

// A publisher whose answer comes later, since home is elsewhere or the disk comes first. One that
// waits for many of them is not read from, since they may come all at once.
void await_outcome(Sessions& sessions, io::ConnIndex conn) noexcept;
// That answer; `outcome.awaited` if await_outcome() was called for it. Whoever left needs none.
void tell_later(Sessions& sessions,
                const io::Reactor& reactor,
                io::ConnIndex conn,
                std::uint64_t serial,
                const Outcome& outcome) noexcept;

// A raw client cannot be told which of its messages it was, so what went wrong closes it.
void tell(Sessions& sessions,
          const io::Reactor& reactor,
          io::ConnIndex conn,
          const Outcome& outcome) noexcept;

}  // namespace ringcast::node
