#pragma once

// Judges the readers of one keyed topic (docs/PROTOCOL.md, 4): offsets strictly increase, numbers
// may be left out where a later record of the same key followed, and whoever has the newest record
// has the latest of every key. Pure: no socket and no clock, so tests plant every fault.
//
// Who keeps up gets the same bytes as everybody else who does. So each record is parsed and checked
// against its pattern once, by whoever gets it first, and its frame kept in the *reference*, the
// stream of all records so far; for the others a read is compared with it by memcmp, across frame
// borders and without copying. Whatever differs takes the slow road through the parser, a frame at
// a time: control frames, and all records of one who skips some. It returns to the reference behind
// the first record that is there.
//
// Which message lies at which offset is learned from the first reader of a record; all others, and
// the order of what each publisher sent, must agree with it.
//
// Not to be told apart by bytes: a record that was left out though nothing had superseded it yet,
// and was superseded later. At the end it does not matter to anybody.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/histogram.h"
#include "base/time.h"
#include "payload.h"
#include "ws_client.h"

namespace ringcast::tools {

struct KeyedCounts {  // of the fast and of the slow, each
    std::uint64_t delivered = 0;
    std::uint64_t bytes = 0;       // of delivered records, their frames
    std::uint64_t conflated = 0;   // offsets that were left out
    std::uint64_t restarts = 0;    // begun anew with the latest of all keys
    std::uint64_t lost = 0;        // the newest of a key that never came
    std::uint64_t duplicated = 0;  // came already
    std::uint64_t reordered = 0;   // came after a later one
    std::uint64_t wrong = 0;       // no record of ours, or what no server should say

    [[nodiscard]] bool sound() const noexcept { return lost + duplicated + reordered + wrong == 0; }
};

class KeyedChecker {
  public:
    struct Options {
        std::string topic;
        std::uint32_t readers = 0;  // their numbers are the ids below ...
        std::uint32_t fast = 0;     // ... and the slow are those from here on
        std::uint32_t keys = 1;     // at most topics_max
        std::uint32_t publishers = 1;
        std::size_t payload_size = payload_size_min;
        // The fast ones are on /raw and get payloads only, so nobody tells them offsets: those are
        // the numbers of the messages, from 1. So there is one publisher, and the topic is new.
        bool raw = false;
        // Bytes of the reference that are kept, a power of two, at least 2 MiB.
        std::size_t reference_size = std::size_t{32} << 20;
        // One record in so many is timed, drawn evenly; at least 1.
        std::uint32_t timed_one_in = 1;
    };

    // Frames that are no records: control frames and whatever else the server says.
    class Listener {
      public:
        virtual void on_other(std::uint32_t id, const Frame& frame) noexcept = 0;
        virtual ~Listener() = default;
    };

    KeyedChecker(Options options, Listener& listener) noexcept;

    // The key of message `seq`, and who publishes it: all of one key come from one publisher.
    [[nodiscard]] std::uint32_t key_of(std::uint64_t seq) const noexcept;
    [[nodiscard]] std::uint32_t publisher_of(std::uint64_t seq) const noexcept {
        return key_of(seq) % options_.publishers;
    }
    // The next message is made; the text that publishes it, valid until the next call.
    [[nodiscard]] std::string_view publish(Nanos sent_at) noexcept;
    [[nodiscard]] std::uint64_t published() const noexcept { return published_; }
    // The offset of the newest record that was published, if the server took all.
    [[nodiscard]] std::uint64_t head() const noexcept { return base_ + published_; }

    // The server said that the subscription begins behind `offset`. The first to join, before
    // anything is published, teaches the numbering.
    void join(std::uint32_t id, std::uint64_t offset) noexcept;
    // In the middle of a subscription: it begins anew with the latest of all keys.
    void restart(std::uint32_t id) noexcept;
    // Something that a right server does not say.
    void wrong(std::uint32_t id, std::string_view what) noexcept {
        note(id, &KeyedCounts::wrong, what);
    }
    [[nodiscard]] bool is_slow(std::uint32_t id) const noexcept { return id >= options_.fast; }
    [[nodiscard]] bool joined(std::uint32_t id) const noexcept { return places_[id].joined; }
    // The newest record that a reader has.
    [[nodiscard]] std::uint64_t offset(std::uint32_t id) const noexcept {
        return places_[id].offset;
    }

    // Bytes that a reader got at `now`; `splitter` is its own. False if they are no WebSocket
    // stream.
    [[nodiscard]] bool feed(std::uint32_t id, Splitter& splitter, Bytes bytes, Nanos now) noexcept;

    // At the end of a run, for each reader that should have everything: the newest of each key that
    // it lacks is lost.
    void give_up(std::uint32_t id) noexcept;
    // Messages that should be in the topic and are not, are there twice, or in another order than
    // they were sent in, as far as anybody has seen them. At the end of a run.
    [[nodiscard]] std::uint64_t misplaced() noexcept;

    // Forgets figures, not places and faults.
    void clear_figures() noexcept;
    [[nodiscard]] const KeyedCounts& counts(bool slow) const noexcept {
        return counts_[slow ? 1 : 0];
    }
    [[nodiscard]] const Histogram& latency() const noexcept { return latency_; }
    [[nodiscard]] const std::string& first_offence() const noexcept { return first_offence_; }

  private:
    static constexpr std::uint64_t nobody_knows = UINT64_MAX;
    static constexpr std::uint32_t not_there = UINT32_MAX;

    struct Range {
        std::uint64_t first = 0;
        std::uint64_t last = 0;
    };
    struct Place {
        std::uint64_t offset = 0;    // the newest record that it has
        std::uint64_t position = 0;  // in the reference
        std::uint32_t next = 0;      // the reference's record that comes, or is being compared
        std::uint32_t sample = 0;    // the next record that is timed
        std::uint32_t run = 0;       // that it is in
        bool joined = false;
        bool follows = false;        // stands in the reference
        std::string begun;           // of a record, when the reference went on without it
        std::vector<Range> skipped;  // that may still turn out to be lost
    };
    struct Known {  // of an offset
        std::uint64_t seq = nobody_knows;
        std::uint32_t reference = not_there;  // which of its records it is
    };
    struct Reference {
        std::uint64_t end = 0;  // position
        std::uint64_t offset = 0;
    };
    struct Sample {
        std::uint32_t reference = 0;
        Nanos sent_at = 0;
    };

    [[nodiscard]] bool on_raw(std::uint32_t id) const noexcept {
        return options_.raw && !is_slow(id);
    }
    // Whether its frames are those of the reference: there is one for all, and two kinds with
    // `raw`.
    [[nodiscard]] bool follows_others(std::uint32_t id) const noexcept {
        return !options_.raw || !is_slow(id);
    }
    [[nodiscard]] bool timed(std::uint64_t seq) const noexcept;
    [[nodiscard]] std::uint64_t begin_of(std::uint32_t reference) const noexcept {
        return reference == 0 ? 0 : references_[reference - 1].end;
    }
    [[nodiscard]] std::uint32_t run_end(std::uint32_t run) const noexcept;
    [[nodiscard]] bool kept(std::uint64_t position) const noexcept;
    [[nodiscard]] KeyedCounts& counts_of(std::uint32_t id) noexcept {
        return counts_[is_slow(id) ? 1 : 0];
    }
    [[nodiscard]] std::size_t equal_bytes(std::uint64_t position, Bytes bytes) const noexcept;
    [[nodiscard]] std::size_t follow(std::uint32_t id, Bytes bytes, Nanos now) noexcept;
    void move_to(std::uint32_t id, std::uint64_t position, Nanos now) noexcept;
    void leave_reference(Place& place) noexcept;
    void leave_behind() noexcept;
    void find_reference(Place& place) noexcept;
    void judge(std::uint32_t id, const Frame& frame, Nanos now) noexcept;
    void on_record(std::uint32_t id, const Frame& frame, std::string_view text, Nanos now) noexcept;
    void on_payload(std::uint32_t id, const Frame& frame, Nanos now) noexcept;
    void take(std::uint32_t id,
              const Frame& frame,
              std::uint64_t offset,
              const Stamp& stamp,
              Nanos now) noexcept;
    void accept(std::uint32_t id, std::uint64_t offset) noexcept;
    void stale(std::uint32_t id, std::uint64_t offset) noexcept;
    [[nodiscard]] bool learn(std::uint64_t offset, std::uint64_t seq) noexcept;
    void keep(const Frame& frame, std::uint64_t offset, const Stamp& stamp) noexcept;
    void prune(Place& place) noexcept;
    void note(std::uint32_t id,
              std::uint64_t KeyedCounts::*counter,
              std::string_view what,
              std::uint64_t by = 1) noexcept;

    const Options options_;
    Listener& listener_;
    std::vector<Place> places_;
    std::vector<std::string> key_names_;
    std::string payload_;
    std::string text_;
    std::uint64_t published_ = 0;
    std::vector<std::uint64_t> last_made_;  // by key; nobody_knows: none
    bool base_known_ = false;
    std::uint64_t base_ = 0;              // the topic's newest offset before our first message
    std::vector<Known> known_;            // by offset - base - 1
    std::vector<std::uint64_t> latest_;   // by key: the newest known offset; 0: none
    std::vector<Reference> references_;   // in the order of the reference
    std::vector<std::uint32_t> runs_{0};  // the first of each stretch without a hole
    std::vector<Sample> samples_;
    std::vector<std::byte> ring_;
    KeyedCounts counts_[2];  // fast, slow
    Histogram latency_;
    std::string first_offence_;
};

}  // namespace ringcast::tools
