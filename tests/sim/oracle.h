#pragma once

// What was published, and what that allows every reader to receive.
//
// Each payload begins with the number of its publication, so whoever receives one knows everything
// about it. From what readers see the oracle learns the order of each topic, and from then on
// nobody may see another one: one offset a record, one successor a record, each publisher's records
// in the order in which it sent them.
//
// A `Reading` is one subscription of one connection. Its rules:
// - records only while subscribed, offsets without a hole, unless a gap said exactly which one;
// - payloads byte by byte as published, in the form that the lane promises;
// - who comes back with an offset gets every record behind it, as if it had never been away, or is
//   told by a gap what it missed;
// - of one publisher: everything that was sent after the subscription was confirmed (or after the
//   last gap), in order, nothing twice.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "tests/sim/words.h"

namespace ringcast::sim {

enum class Form : std::uint8_t { json, text, binary };

constexpr std::uint32_t none = UINT32_MAX;

struct Publication {
    std::uint32_t topic = 0;
    std::uint32_t client = 0;
    std::uint32_t before = none;  // the same client's last one on this topic
    std::uint32_t after = none;   // what came behind it in the topic, once somebody saw that
    std::uint64_t offset = 0;     // 0: nobody saw it
    std::uint32_t epoch = 0;      // of `offset`, by the topic's own count
    std::uint32_t life = 0;       // of `after`: which server it was seen of
    std::uint64_t end_byte = 0;   // of the client's stream
    Nanos sent_at = 0;
    std::uint32_t size = 0;
    std::string body;  // made by add()
    Form form = Form::json;
    bool with_id = false;   // published in an envelope that had an id
    bool refused = false;   // the server said so, or the connection went too early to tell
    bool required = false;  // the server had it before it was asked to stop
    bool repeated = false;  // said again on another connection
    std::uint8_t key = 0;   // with keys
    bool gone = false;      // ... it deletes its key
};

struct Reading {
    enum class State : std::uint8_t { off, asked, on };
    struct Expected {
        std::uint64_t id = 0;
        bool subscribe = false;
        bool optional = false;  // an unsubscribe was sent behind it
        bool resumes = false;   // asked to go on where the reading stopped
        bool watches = false;   // ... and wants to be told who comes and goes
        Nanos said_at = 0;
    };
    struct Owed {
        std::uint64_t from = 0;  // 0: none
        std::uint64_t to = 0;
    };

    std::uint32_t topic = 0;
    State state = State::off;
    std::uint64_t next = 0;   // offset of the next record
    std::uint32_t epoch = 0;  // by the topic's own count
    std::uint32_t life = 0;   // which server it is of
    std::uint32_t last = none;
    Nanos clear_since = never;  // all that was sent later must come
    std::vector<std::pair<std::uint32_t, std::uint32_t>> last_of;  // client, its publication
    std::deque<Expected> expected;
    Owed owed;             // the gap that must come next
    bool by_name = false;  // and not only brought by a pattern
    std::vector<std::uint64_t>
        latest;  // with keys: by key, the offset of the last record that came
    std::uint64_t received = 0;

    void begin(std::uint64_t next_offset, Nanos now);
    void end();
    [[nodiscard]] std::uint32_t last_from(std::uint32_t client) const;
    void remember(std::uint32_t client, std::uint32_t publication);
};

// What a client wants to know of the past.
struct HistoryWish {
    std::uint32_t topic = none;  // none: one of which nobody ever heard
    std::uint64_t from = 0;      // 0: not said
    std::uint64_t limit = 0;     // 0: not said
    // When it was asked: the topic's epoch, and which offset in it nobody had seen yet.
    std::uint32_t epoch = 0;
    std::uint64_t unseen = 0;
    std::uint32_t life = 0;  // the server that answers
};

class Oracle {
  public:
    static constexpr std::uint32_t key_count = 10;

    // `keyed`: topics keep the latest record of each key. Then offsets may be left out, and whoever
    // has the head must have had the latest of every key.
    // The first `durable` topics keep their epoch for good, once they have a record.
    Oracle(std::uint32_t topic_count, bool keyed, std::uint32_t durable = 0);
    [[nodiscard]] bool keyed() const { return keyed_; }
    // With keys: whether something newer is known of one than this reading has.
    [[nodiscard]] bool behind(const Reading& reading) const;

    [[nodiscard]] const std::string& topic_name(std::uint32_t topic) const {
        return topics_[topic].name;
    }
    [[nodiscard]] std::uint32_t topic_count() const {
        return static_cast<std::uint32_t>(topics_.size());
    }
    // none: there is no such topic.
    [[nodiscard]] std::uint32_t topic_of(std::string_view name) const;

    std::uint32_t add(const Publication& publication);
    [[nodiscard]] Publication& operator[](std::uint32_t publication) {
        return publications_[publication];
    }
    [[nodiscard]] std::uint32_t count() const {
        return static_cast<std::uint32_t>(publications_.size());
    }
    [[nodiscard]] const std::string& body(std::uint32_t publication) const {
        return publications_[publication].body;
    }
    // The latest of a client on a topic.
    [[nodiscard]] std::uint32_t latest(std::uint32_t client, std::uint32_t topic) const;

    // What a reader saw; `kept`: so many newest records are there for who comes back. Each answer
    // is what was wrong with it, empty if nothing.
    [[nodiscard]] std::string subscribed(Reading& reading,
                                         std::string_view payload,
                                         bool resumes,
                                         std::uint64_t kept,
                                         Nanos now);
    // By a pattern that was confirmed at `since`: a topic that nobody had named by then was made
    // behind that, so it comes from its first record on.
    [[nodiscard]] std::string brought(Reading& reading,
                                      std::string_view payload,
                                      Nanos since,
                                      Nanos now);
    // Asked for by name while a pattern brings it: the same subscription goes on, or begins with
    // the latest of all keys anew.
    [[nodiscard]] std::string named(Reading& reading, std::string_view payload, Nanos now);
    // Somebody says something from which the server may make a topic.
    void touch(std::uint32_t topic, Nanos now);
    // Fills in what is known of the topic now.
    void note_head(HistoryWish& wish) const;
    // `kept`: so many newest records must be there, `kept_most`: and no more than that; 0: nobody
    // can tell.
    [[nodiscard]] std::string history(const HistoryWish& wish,
                                      std::string_view payload,
                                      std::uint64_t kept,
                                      std::uint64_t kept_most);
    [[nodiscard]] std::string acknowledged(std::uint32_t publication,
                                           const Envelope& ack,
                                           std::uint32_t life);
    // Of the epoch that the reading stands in.
    [[nodiscard]] const std::string& epoch_name(const Reading& reading) const {
        return topics_[reading.topic].epochs[reading.epoch].name;
    }
    [[nodiscard]] const std::string& epoch_name(const Publication& what) const {
        return topics_[what.topic].epochs[what.epoch].name;
    }
    // What this client said and nobody saw yet may never have arrived.
    void forgive(std::uint32_t client);
    // ... and what anybody said.
    void forgive_all();
    [[nodiscard]] std::string record(Reading& reading, const Envelope& update);
    // Of a record alone, wherever it comes.
    [[nodiscard]] std::string as_published(std::uint32_t topic, const Envelope& update);
    [[nodiscard]] std::string raw_record(Reading& reading, Op op, std::string_view payload);
    [[nodiscard]] std::string gap(Reading& reading, std::string_view payload, Nanos now);
    // The publication that a raw payload is; none if it is nobody's.
    [[nodiscard]] std::uint32_t identify(std::string_view payload) const;

    std::uint64_t checked = 0;  // deliveries
    std::uint64_t gaps = 0;
    std::uint64_t recovered = 0;
    std::uint64_t brought_anew = 0;  // from the first record on

  private:
    struct Epoch {
        std::string name;
        std::uint32_t life;                // of the server that told of it
        std::vector<std::uint32_t> order;  // by offset; empty: none was seen
    };
    struct Topic {
        std::string name;
        Nanos touched = never;      // when it was first named
        std::vector<Epoch> epochs;  // more than one: nobody needed it for a minute
    };

    [[nodiscard]] std::uint32_t epoch_number(std::uint32_t topic,
                                             std::string_view name,
                                             std::uint32_t life);
    [[nodiscard]] std::string follow(Reading& reading, std::uint32_t publication);
    [[nodiscard]] std::string keyed_record(Reading& reading, const Envelope& update);
    // That it is what somebody published there, and which one.
    [[nodiscard]] std::string look_at(std::uint32_t topic,
                                      const Envelope& update,
                                      std::uint32_t& publication) const;
    [[nodiscard]] bool superseded(const Epoch& epoch,
                                  std::uint64_t offset,
                                  std::uint64_t end) const;
    [[nodiscard]] std::string place(std::uint32_t publication,
                                    std::uint32_t epoch,
                                    std::uint64_t offset);

    bool keyed_;
    std::uint32_t durable_;
    std::vector<Topic> topics_;
    std::vector<Publication> publications_;
    std::vector<std::uint32_t> latest_;  // by client and topic
};

}  // namespace ringcast::sim
