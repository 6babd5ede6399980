#pragma once

// Judges clients that lose their connections and come back: every record of a topic once and in
// order, or told to be missing; and every message of its publisher in the topic once, though he may
// have had to send it again. Pure: no socket and no clock, so tests plant every fault.
//
// A topic has one publisher here, whose messages are numbered from 0 (seq). The server gives the
// offsets (docs/PROTOCOL.md, 4), and says which is whose in each ack and each record: all must say
// the same. So who reads is not needed to know what is there, nor the other way round.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringcast::tools {

struct LedgerCounts {
    std::uint64_t delivered = 0;
    std::uint64_t recovered = 0;   // subscriptions that went on where they had stopped ...
    std::uint64_t made_up = 0;     // ... and records that had been missed by then, as far as known
    std::uint64_t gaps = 0;        // told, whenever ...
    std::uint64_t told = 0;        // ... and the records in them
    std::uint64_t lost = 0;        // missed without a word
    std::uint64_t duplicated = 0;  // records that a client had already
    std::uint64_t twice = 0;       // messages that are in their topic twice
    std::uint64_t wrong = 0;       // anything else that a right server does not say
};

class Ledger {
  public:
    // A subscriber's place; its owner keeps it over all its connections.
    struct Place {
        std::uint64_t next = 0;  // the offset that must come; 0: never subscribed
        std::uint32_t topic = 0;
        std::uint32_t id = 0;  // for "first offender"
    };
    struct Told {  // by `subscribed`
        std::uint64_t offset = 0;
        std::uint64_t epoch = 0;
        bool recovered = false;
    };
    struct Gap {
        std::uint64_t from = 0;
        std::uint64_t to = 0;
        std::uint64_t next = 0;
    };

    // Precondition of all that follows: topic < topics.
    explicit Ledger(std::uint32_t topics) noexcept : topics_(topics) {}

    // The publisher's next message is made.
    std::uint64_t make(std::uint32_t topic) noexcept { return topics_[topic].made++; }
    [[nodiscard]] std::uint64_t made(std::uint32_t topic) const noexcept {
        return topics_[topic].made;
    }
    // Of all its places; 0 before the first `subscribed`.
    [[nodiscard]] std::uint64_t epoch(std::uint32_t topic) const noexcept {
        return topics_[topic].epoch;
    }
    // It has this place.
    void acknowledged(std::uint32_t topic, std::uint64_t seq, const Told& place) noexcept;

    // The first of these for a topic must come before its first message: it teaches the numbering.
    void subscribed(Place& place, const Told& told) noexcept;
    void record(Place& place, std::uint64_t offset, std::uint64_t seq) noexcept;
    void gap(Place& place, const Gap& gap) noexcept;
    // What no message should say at all.
    void wrong(std::uint32_t id, std::string_view what) noexcept { note(counts_.wrong, id, what); }

    // What a subscriber has still to get of what is known to be there.
    [[nodiscard]] std::uint64_t owed(const Place& place) const noexcept;
    // At the end of a run: that is lost.
    void give_up(Place& place) noexcept;

    [[nodiscard]] const LedgerCounts& counts() const noexcept { return counts_; }
    [[nodiscard]] bool sound() const noexcept {
        return counts_.lost + counts_.duplicated + counts_.twice + counts_.wrong == 0;
    }
    [[nodiscard]] const std::string& first_offence() const noexcept { return first_offence_; }

  private:
    struct Topic {
        std::uint64_t made = 0;
        std::uint64_t epoch = 0;             // 0: nobody has said it yet
        std::uint64_t base = 0;              // the offset of the first message
        std::uint64_t head = 0;              // the newest that is known
        std::vector<std::uint64_t> seqs;     // by offset - base
        std::vector<std::uint64_t> offsets;  // by seq; 0: not known
    };

    void learn(std::uint32_t topic,
               std::uint64_t offset,
               std::uint64_t seq,
               std::uint32_t id) noexcept;
    void lose(Place& place, std::uint64_t to) noexcept;
    void note(std::uint64_t& counter,
              std::uint32_t id,
              std::string_view what,
              std::uint64_t by = 1) noexcept;

    std::vector<Topic> topics_;
    LedgerCounts counts_;
    std::string first_offence_;
};

}  // namespace ringcast::tools
