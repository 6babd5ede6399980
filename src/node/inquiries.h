#pragma once

// Questions of clients that other shards must answer, and perhaps at length: history, presence.
//
// An answer may be a thousand times as large as its question, so a client has one under way at a
// time. What it asks meanwhile waits, and so does the rest of what it says, until the earlier
// answer is all but sent: a client that does not read costs the server one answer. Of what came in
// one piece with the question only so many wait; those behind them are refused.
//
// An answer also counts against the client's rate: one message for each begun answer_unit of it
// beyond the first, which is about what handling a message costs.
//
// Home makes the whole frame, and the client's shard puts it into its outbox. How many are on a
// topic without a list is asked of all shards and added up here: it costs nothing until then.
// Credits are those of other requests (node/mesh.h).
//
// One thread owns an Inquiries.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "io/reactor.h"
#include "io/stint.h"
#include "node/bucket.h"
#include "node/hub.h"
#include "node/mesh.h"
#include "node/presence.h"
#include "node/sessions.h"

namespace ringcast::node {

constexpr std::size_t answer_unit = std::size_t{16} * 1024;  // bytes that cost one message

enum class Question : std::uint8_t {
    history,   // what was published
    presence,  // who is there, where a rule says so; elsewhere how many
    count,     // between shards: how many are on this one
};

struct Inquiry {
    Question question = Question::history;
    std::uint32_t limit = 0;  // history: records
    feed::Seq from = 0;       // history: the first of them
    std::string id;           // of the client's message
    std::string topic;
};

class Inquiries {
  public:
    static constexpr std::size_t waiting_max = 16;  // of one client

    Inquiries(const Config& config,
              std::uint32_t shard,
              io::Reactor& reactor,
              Mesh& mesh,
              Sessions& sessions,
              feed::TopicTable& topics,
              Hub& hub,
              Presence& presence) noexcept;
    Inquiries(const Inquiries&) = delete;
    Inquiries& operator=(const Inquiries&) = delete;

    // An open envelope session asks; it gets its answer, or an error in its place. False: too many
    // of its questions wait.
    [[nodiscard]] bool ask(io::ConnIndex conn, Inquiry inquiry) noexcept;
    // The session goes.
    void forget(io::ConnIndex conn) noexcept;

    // Mail of the kinds question and answer.
    void receive(const Mail& mail) noexcept;
    // Behind the pump: asks for those whose earlier answer is gone. True: the time was short, so
    // there may be more to do at once.
    [[nodiscard]] bool run() noexcept;

    // Memory of what waits.
    [[nodiscard]] std::uint64_t held_bytes() const noexcept;

  private:
    // What a client that has asked waits for.
    struct Line {
        std::uint64_t serial = 0;
        bool under_way = false;
        std::uint32_t shards_left = 0;  // that have not said how many they have ...
        std::uint64_t count = 0;        // ... and what the others had, for ...
        Inquiry counting = {};          // ... this question
        std::vector<Inquiry> waiting = {};
    };
    struct Place {
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
    };

    [[nodiscard]] bool may_ask(io::ConnIndex conn, const Line& line) noexcept;
    void post(io::ConnIndex conn,
              const Line& line,
              const Inquiry& inquiry,
              Question question,
              std::uint32_t to) noexcept;
    void count_all(io::ConnIndex conn, Line& line, const Inquiry& inquiry) noexcept;
    void add_count(io::ConnIndex conn, Line& line, std::uint64_t count) noexcept;
    void start(io::ConnIndex conn, Line& line, const Inquiry& inquiry) noexcept;
    [[nodiscard]] bool go_on(const Place& place, io::Stint& stint) noexcept;
    [[nodiscard]] Parcel answer(const Inquiry& inquiry, std::uint64_t hash) noexcept;
    void deliver(io::ConnIndex conn, Bytes frame) noexcept;
    void on_question(const Mail& mail) noexcept;
    void on_answer(const Mail& mail) noexcept;

    const Config& config_;
    std::uint32_t shard_;
    io::Reactor& reactor_;
    Mesh& mesh_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    Hub& hub_;
    Presence& presence_;
    Rate rate_;
    std::unordered_map<io::ConnIndex, Line> lines_;
    std::vector<Place> places_;  // of lines in which somebody waits
    std::size_t waiting_ = 0;    // in all lines
};

}  // namespace ringcast::node
