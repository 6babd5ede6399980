#pragma once

// Who is on a topic whose rule says `presence`, and who came and went.
//
// Home keeps the list (node/attendance.h). The other shards tell it of subscriptions that begin and
// end, once a turn and topic, in requests, so a question that is posted behind them is answered
// with them. Who wants updates is known to its own shard; home knows which shards have anybody, and
// tells them at most once a second and topic. A shard hands an update out in parts, turn by turn.
// Who has not read what it was told before, and who is reached only when the next update is there,
// gets the count alone.
//
// An answer to a question goes behind the updates that were made before it (hurry()).
//
// One thread owns a Presence.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "io/reactor.h"
#include "node/attendance.h"
#include "node/door.h"
#include "node/hub.h"
#include "node/mesh.h"
#include "node/sessions.h"

namespace ringcast::node {

// Bytes that one subscription may take here: its entry, its change, and that it watches.
constexpr std::size_t presence_bytes = 160 + 96 + 3 * wire::id_size_max + wire::info_size_max + 64;

class Presence {
  public:
    Presence(const Config& config,
             std::uint32_t shard,
             io::Reactor& reactor,
             Mesh& mesh,
             Sessions& sessions,
             feed::TopicTable& topics,
             Hub& hub,
             Door& door) noexcept;
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;

    // Whether the topic's rule has it.
    [[nodiscard]] bool listed(std::string_view topic, std::uint64_t hash) noexcept;
    // Subscriptions of this shard's own clients.
    [[nodiscard]] std::uint64_t subscriptions_here(std::string_view topic,
                                                   std::uint64_t hash) noexcept;
    // At home: the answer, a whole frame. Precondition: listed().
    [[nodiscard]] Parcel answer(std::string_view topic, std::string_view id) noexcept;
    // Before a question about the topic is posted: what happened here is on its way.
    void flush(std::string_view topic) noexcept;
    // Before an answer: what this client was to be told before that.
    void hurry(io::ConnIndex conn) noexcept;

    // Mail of the kinds presence and presence_update.
    void receive(const Mail& mail) noexcept;
    // Once a second: topics in which something changed have it told.
    void tick() noexcept;
    // At the end of a turn. True: the time was short, there is more to do at once.
    [[nodiscard]] bool run() noexcept;

    [[nodiscard]] std::uint64_t held_bytes() const noexcept;

  private:
    enum class Event : std::uint8_t { join, leave, watch, unwatch, rename };

    struct Room {
        explicit Room(std::size_t listed_max) noexcept : list(listed_max) {}
        Attendance list;
        std::uint64_t watching = 0;  // shards, a bit each
        Tick told = 0;
        bool waits = false;  // in changed_ or in telling_
        std::string_view name{};
    };
    // What happened here in this turn, for a home elsewhere.
    struct Batch {
        std::uint64_t hash = 0;
        std::string events{};
    };
    // An update on its way to this shard's clients.
    struct Delivery {
        std::string topic{};
        Parcel frame{};
        Parcel brief{};
        std::vector<io::ConnIndex> conns{};
        std::size_t next = 0;
    };
    using Watchers = std::unordered_set<io::ConnIndex>;

    static void on_joined(void* context,
                          io::ConnIndex conn,
                          const feed::Topic& topic,
                          const Resume& resume) noexcept;
    static void on_left(void* context, io::ConnIndex conn, const feed::Topic& topic) noexcept;
    static void on_renamed(void* context,
                           io::ConnIndex conn,
                           const feed::Topic& topic,
                           std::string_view former) noexcept;
    void tell_home(const feed::Topic& topic,
                   Event event,
                   std::string_view client = {},
                   std::string_view info = {}) noexcept;
    void post(const std::string& topic, Batch& batch) noexcept;
    void on_events(const Mail& mail) noexcept;
    [[nodiscard]] Room& room_of(std::string_view topic) noexcept;
    void happen(Room& room,
                std::uint32_t shard,
                Event event,
                std::string_view client,
                std::string_view info) noexcept;
    void settle(Room& room) noexcept;
    void tell(Room& room) noexcept;
    void take_update(const std::string& topic, Parcel frame, Parcel brief) noexcept;
    [[nodiscard]] std::size_t hand_over(const Delivery& delivery, io::ConnIndex conn) noexcept;

    const Config& config_;
    std::uint32_t shard_;
    io::Reactor& reactor_;
    Mesh& mesh_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    Hub& hub_;
    Door& door_;
    std::unordered_map<std::string, Room> rooms_;         // of topics whose home is here
    std::vector<Room*> changed_;                          // since they were told
    std::deque<Room*> telling_;                           // now
    std::unordered_map<std::string, Batch> batches_;      // by topic
    std::unordered_map<std::string, Watchers> watchers_;  // of this shard, by topic
    std::deque<Delivery> deliveries_;
    std::uint64_t held_ = 0;  // by rooms
    std::uint64_t watchers_count_ = 0;
};

}  // namespace ringcast::node
