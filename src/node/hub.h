#pragma once

// Topics as a shard sees them: who reads what, where records get their numbers, and what other
// shards must be told.
//
// Every topic has one home shard, chosen by the hash of its name. Home numbers each record and
// hands it, encoded once per lane, to every shard that has readers of that lane, itself included;
// mail keeps it in order. A shard asks home for a lane with its first reader and gives it up with
// its last, so a record travels only where somebody reads it.
//
// A reader that comes while home has not answered yet waits (row == no_row) and begins with the
// first record after the answer. A request stands until it is answered, even when all who waited
// have left, so there is never more than one and no answer is mistaken for another.
//
// Who makes mail without credit for it (node/mesh.h) is not read from any more: publishers and
// subscribers, whether home is here or elsewhere. The server's own feed leaves a sample out.
//
// Home alone knows a topic's offset, so it keeps a topic that nobody reads for a while (a minute
// since its last message or reader, then until the sweep comes by) and forgets it then. When the
// name comes back it is a new topic: another epoch, offsets from 1. --topics-max counts topics at
// their homes, so each once for the whole server; any other shard has only those with readers.
//
// One thread owns a Hub.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "io/reactor.h"
#include "node/counters.h"
#include "node/id_list.h"
#include "node/mesh.h"
#include "node/pump.h"
#include "node/record.h"
#include "node/sessions.h"
#include "wire/envelope.h"

namespace ringcast::node {

class Hub {
  public:
    Hub(const Config& config,
        std::uint32_t shard,
        std::uint64_t hash_seed,
        io::Reactor& reactor,
        Mesh& mesh,
        Sessions& sessions,
        feed::TopicTable& topics,
        feed::SegmentPool& pool,
        Pump& pump,
        wire::EnvelopeParser& parser,
        Counters& counters) noexcept;
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;

    enum class Subscribing : std::uint8_t { asked, duplicate, too_many_of_client };

    // Subscribes an open session. `asked`: home answers, now or by mail, and the hub tells the
    // client: `subscribed` with this id, or that the server has no room for the topic.
    [[nodiscard]] Subscribing subscribe(io::ConnIndex conn,
                                        std::string_view topic,
                                        feed::LaneKind lane,
                                        std::string_view id) noexcept;
    // False: it was not subscribed.
    [[nodiscard]] bool unsubscribe(io::ConnIndex conn,
                                   std::string_view topic,
                                   feed::LaneKind lane) noexcept;
    // Takes a session out of all its topics.
    void forget(io::ConnIndex conn) noexcept;

    // Numbers and spreads a record, or has its home do so. `from`: told when home refuses it.
    void publish(io::ConnIndex from, const Publication& publication) noexcept;

    // Mail of the kinds publish, record, interest, started, refused.
    void receive(const Mail& mail) noexcept;

    // Drained logs give their memory back, and home forgets what nobody needs. Once a second.
    void sweep() noexcept;
    [[nodiscard]] std::size_t to_sweep() const noexcept { return holding_.size(); }
    [[nodiscard]] std::uint64_t hash_of(std::string_view name) const noexcept;

  private:
    struct Waiter {
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
        std::string id;
    };
    // Who published it, on which shard.
    struct Sender {
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
        std::uint32_t shard = 0;
    };
    // Why home takes no record, or no reader.
    enum class Refusal : std::uint8_t { too_many_topics, too_large };

    [[nodiscard]] feed::Topic& topic_of(const Subscription& subscription) noexcept;
    [[nodiscard]] std::uint32_t home_of(std::uint64_t hash) const noexcept;
    [[nodiscard]] feed::Topic* find_or_create(std::string_view name, std::uint64_t hash) noexcept;
    void sweep_logs() noexcept;
    void forget_some() noexcept;
    void open_lane(feed::Topic& topic, feed::LaneKind kind, feed::Seq next) noexcept;
    void join(io::ConnIndex conn,
              std::uint32_t link,
              feed::Topic& topic,
              feed::LaneKind kind,
              std::string_view id) noexcept;
    void pause_without_credit(io::ConnIndex conn) noexcept;
    void tell_home(const feed::Topic& topic, feed::LaneKind kind, bool wanted) noexcept;
    void relink(Session& session, std::uint32_t link) noexcept;
    void ask_home(feed::Topic& topic, feed::LaneKind kind, Waiter waiter) noexcept;
    void stop_waiting(const feed::Topic& topic, feed::LaneKind kind, std::uint64_t serial) noexcept;
    void leave(io::ConnIndex conn, std::uint32_t link) noexcept;
    void give_up(feed::Topic& topic, feed::LaneKind kind) noexcept;
    [[nodiscard]] feed::Topic* take_in(const Publication& publication,
                                       std::uint64_t hash,
                                       const Sender& sender) noexcept;
    [[nodiscard]] bool sequence(feed::Topic& topic, const Publication& publication) noexcept;
    // The other shards with readers, a bit each.
    [[nodiscard]] std::uint64_t readers_abroad(const feed::Topic& topic) const noexcept;
    void post_records(const feed::Topic& topic,
                      feed::Seq offset,
                      const std::array<Parcel, 2>& parcels) noexcept;
    void append(feed::Topic& topic, feed::LaneKind kind, Bytes record, feed::Seq offset) noexcept;

    void on_publish(const Mail& mail) noexcept;
    void on_record(const Mail& mail) noexcept;
    void on_interest(const Mail& mail) noexcept;
    void on_started(const Mail& mail) noexcept;
    void on_refused(const Mail& mail) noexcept;
    void refuse(const Sender& sender, const Publication& publication, Refusal refusal) noexcept;
    void tell_refusal(io::ConnIndex conn,
                      std::string_view id,
                      std::string_view topic,
                      Refusal refusal) noexcept;
    void drop_if_unused(feed::Topic& topic) noexcept;
    static void save_tail(void* context, feed::Reader reader, Bytes rest) noexcept;

    const Config& config_;
    std::uint32_t shard_;
    std::uint64_t hash_seed_;
    std::size_t record_size_max_;
    io::Reactor& reactor_;
    Mesh& mesh_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    feed::SegmentPool& pool_;
    Pump& pump_;
    wire::EnvelopeParser& parser_;
    Counters& counters_;
    std::unordered_map<std::uint64_t, std::vector<Waiter>> requests_;  // to home, by request_key()
    IdList holding_;                 // topics that may hold segments, for sweep()
    std::uint32_t forget_next_ = 0;  // the topic that forget_some() looks at next
};

}  // namespace ringcast::node
