#pragma once

// Judges what subscribers receive: every message once, in order, byte for byte. Pure: no socket and
// no clock, so tests plant every fault.
//
// All subscribers of a topic get the same bytes, so each frame is parsed and checked against its
// pattern at most once, and then kept as the reference by its sequence; for everybody else a read
// is compared with memcmp, across frame borders and without copying. Whatever differs from the
// reference takes the slow road through the parser, one frame at a time, and is judged there.
//
// A message is settled for a reader when it was delivered, missed, or the reader is gone. Slow
// readers are judged like the others, but nobody waits for them.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/histogram.h"
#include "base/time.h"
#include "inflate.h"
#include "payload.h"
#include "ws_client.h"

namespace ringcast::tools {

// What the server says a reader misses, in its own numbering: docs/PROTOCOL.md, 4.
struct Gap {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    std::uint64_t next = 0;
};

struct Counts {
    std::uint64_t published = 0;
    std::uint64_t delivered = 0;
    std::uint64_t bytes = 0;  // of delivered payloads
    std::uint64_t lost = 0;   // missed without a word
    std::uint64_t told = 0;   // missed, and the server said so
    std::uint64_t duplicated = 0;
    std::uint64_t reordered = 0;  // came after a later one
    std::uint64_t corrupt = 0;    // no message we ever sent, or not the frame of one
    // If messages may be compressed: bytes of delivered frames, and what they inflate to.
    std::uint64_t frame_bytes = 0;
    std::uint64_t plain_bytes = 0;
};

// One subscriber's place; the owner keeps it in its connection.
struct Reader {
    std::uint64_t next_seq = 0;
    std::uint32_t offset = 0;  // bytes of that message's frame already compared
    std::uint32_t topic = 0;
    Splitter splitter;
    std::uint32_t id = 0;  // for "first offender"
    bool slow = false;
};

class Checker {
  public:
    struct Options {
        std::uint32_t topics = 1;
        std::size_t payload_size = payload_size_min;
        std::uint64_t slots = 64;  // references kept per topic, a power of two
        bool payload_only = true;  // messages are nothing but the payload
        bool envelope = false;     // they are ours: topic and offset are judged too
        std::string topic_prefix;  // of an envelope's topic; its number follows
        Opcode opcode = Opcode::text;
        bool compressed = false;  // messages may be, each by itself
        // Nobody who is waited for ever falls behind further than the references reach back.
        bool windowed = false;
    };

    // Frames that are no data: control frames and whatever else the server says.
    class Listener {
      public:
        virtual void on_other(Reader& reader, const Frame& frame) noexcept = 0;
        virtual ~Listener() = default;
    };

    Checker(const Options& options, Listener& listener) noexcept;

    // A subscriber joins, at what will be published next.
    void join(Reader& reader) noexcept;
    // One joins under traffic, not slow, not `windowed`: the server said that the subscription
    // begins behind `offset`. The first to join, before anything is published, teaches the
    // numbering.
    void join_behind(Reader& reader, std::uint64_t offset) noexcept;
    // It is gone; what it did not get is settled.
    void leave(Reader& reader) noexcept;
    // It is gone or not there yet, and owed nothing until it joins.
    void take_out(Reader& reader) noexcept;
    [[nodiscard]] static bool out(const Reader& reader) noexcept {
        return reader.next_seq == nowhere;
    }

    // The next message of `topic` is on its way. `frame` is what a subscriber will see, if that is
    // known (servers that pass payloads on), else empty: then the first to get it teaches it.
    void publish(std::uint32_t topic, Nanos sent_at, Bytes frame) noexcept;
    [[nodiscard]] std::uint64_t next_seq(std::uint32_t topic) const noexcept;

    // Bytes that `reader` got at `now`. False if they are no WebSocket stream.
    [[nodiscard]] bool feed(Reader& reader, Bytes bytes, Nanos now) noexcept;

    // The server said after which of its offsets the reader begins. Precondition: joined, and
    // nothing fed.
    void tell_start(Reader& reader, std::uint64_t offset) noexcept;
    // The server said what the reader misses. It is believed only what fits with what came: a gap
    // begins where the last message ended, and ends before the next one.
    void tell_gap(Reader& reader, const Gap& gap) noexcept;

    // Published, and not yet settled for everybody who is waited for.
    [[nodiscard]] std::uint64_t outstanding(std::uint32_t topic) noexcept;
    // Deliveries that are still owed to those readers, over all topics.
    [[nodiscard]] std::uint64_t owed() const noexcept { return owed_; }

    // What a reader did not get of all that was published, as lost. For the end of a run.
    void give_up(Reader& reader) noexcept;

    // Forgets the figures, not the places and not the faults: the end of a warm-up.
    void clear_figures() noexcept;
    [[nodiscard]] const Counts& counts() const noexcept { return counts_; }
    [[nodiscard]] const Histogram& latency() const noexcept { return latency_; }
    [[nodiscard]] const std::string& first_offence() const noexcept { return first_offence_; }

  private:
    static constexpr std::uint64_t nowhere = UINT64_MAX;

    struct Slot {
        std::uint64_t seq = UINT64_MAX;
        Nanos sent_at = 0;
        std::uint32_t waiting = 0;     // readers that are waited for and have not settled it
        std::uint32_t size = 0;        // of the reference frame; 0 while nobody has taught it
        std::uint32_t plain_size = 0;  // of that, not compressed
    };
    struct Topic {
        std::uint64_t next_seq = 0;
        std::uint64_t settled = 0;  // every message below is settled
        std::uint32_t waited_for = 0;
        bool offset_known = false;
        std::uint64_t offset_base = 0;  // the server's offset of our message 0
        std::vector<Slot> slots;
        std::vector<std::byte> frames;  // one stride per slot
    };
    struct Missing {
        std::vector<std::uint64_t> seqs;  // not delivered so far, at most missing_max
        std::vector<Gap> gaps;            // told before any offset was known
    };
    struct Batch {  // deliveries with the same sending time, recorded at once
        Nanos sent_at = 0;
        std::uint64_t count = 0;
        bool timed = true;  // how late a slow reader is says nothing about the server
    };

    [[nodiscard]] Slot& slot_of(Topic& topic, std::uint64_t seq) noexcept;
    [[nodiscard]] std::byte* frame_of(Topic& topic, std::uint64_t seq) noexcept;
    void keep_start(Reader& reader, Topic& topic) noexcept;
    [[nodiscard]] bool is_reference(const Reader& reader,
                                    Topic& topic,
                                    const Frame& frame) noexcept;
    Parse slow_road(Reader& reader, Topic& topic, Bytes& bytes, Nanos now) noexcept;
    void judge(Reader& reader, const Frame& frame, Nanos now) noexcept;
    void accept(Reader& reader, const Stamp& stamp, Nanos now) noexcept;
    [[nodiscard]] bool envelope_fits(Topic& topic,
                                     const Stamp& stamp,
                                     std::string_view text) const noexcept;
    [[nodiscard]] static bool offset_fits(Topic& topic,
                                          std::uint64_t seq,
                                          std::uint64_t offset) noexcept;
    void judge_plain(Reader& reader, const Frame& frame, Bytes plain, Nanos now) noexcept;
    void teach(Topic& topic, std::uint64_t seq, const Frame& frame, std::size_t plain) noexcept;
    void weigh(std::size_t frame_size, std::size_t plain_size) noexcept {
        if (!options_.compressed) return;
        counts_.frame_bytes += frame_size;
        counts_.plain_bytes += plain_size;
    }
    void skip(Reader& reader, std::uint64_t to) noexcept;
    void apply_gaps(Reader& reader) noexcept;
    void apply_gap(Reader& reader, const Gap& gap) noexcept;
    void late(Reader& reader, std::uint64_t seq) noexcept;
    void settle(const Reader& reader, Topic& topic, std::uint64_t seq) noexcept;
    void note(std::uint64_t& counter,
              std::uint64_t by,
              const Reader& reader,
              const char* what,
              std::uint64_t seq) noexcept;
    void record(Nanos now) noexcept;

    const Options options_;
    const std::size_t stride_;
    Listener& listener_;
    std::vector<Topic> topics_;
    std::unordered_map<std::uint32_t, Missing> missing_;  // by reader id; only the unlucky
    std::uint64_t owed_ = 0;
    Batch batch_;
    Counts counts_;
    Histogram latency_;
    std::string first_offence_;
    Inflate inflate_;
    std::string plain_;  // scratch
};

// The number behind `"name":` in JSON text, without parsing the rest. False if there is none.
[[nodiscard]] bool json_number(std::string_view text,
                               std::string_view name,
                               std::uint64_t& value) noexcept;
// Whether `true` is behind it.
[[nodiscard]] bool json_true(std::string_view text, std::string_view name) noexcept;
// The string behind it, if it has no escapes in it.
[[nodiscard]] bool json_word(std::string_view text,
                             std::string_view name,
                             std::string_view& value) noexcept;

}  // namespace ringcast::tools
