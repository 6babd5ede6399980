#pragma once

// Who reads what on this shard.
//
// A shard asks a topic's home (node/home.h) for a lane with its first reader and gives it up with
// its last. A reader that comes while home has not answered yet waits (row == no_row) and begins
// with the first record after the answer, or where it left off. A request stands until it is
// answered, even when all who waited have left, so there is never more than one and no answer is
// mistaken for another.
//
// Patterns (node/patterns.h) bring topics: a subscription like any other, but that it is marked,
// for it ends with the last pattern of its client that covers it. A topic that is made while a
// pattern is there is announced by its home in front of its first record; one that was there before
// is listed, and then asked for like one that a client names.
//
// Who makes mail without credit for it (node/mesh.h) is not read from any more: publishers and
// subscribers, whether home is here or elsewhere. The server's own feed leaves a sample out.
//
// One thread owns a Hub.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ringcast/config.h"

#include "feed/topic.h"
#include "io/reactor.h"
#include "node/access.h"
#include "node/acks.h"
#include "node/counters.h"
#include "node/home.h"
#include "node/lanes.h"
#include "node/mesh.h"
#include "node/pacer.h"
#include "node/patterns.h"
#include "node/pump.h"
#include "node/record.h"
#include "node/resume.h"
#include "node/sessions.h"
#include "wire/envelope.h"

namespace ringcast::node {

// Who is to know of subscriptions that began, and of those that are about to end. Must not
// subscribe or unsubscribe anybody.
struct ReaderHook {
    void (*joined)(void* context,
                   io::ConnIndex conn,
                   const feed::Topic& topic,
                   const Resume& resume) noexcept = nullptr;
    void (*left)(void* context, io::ConnIndex conn, const feed::Topic& topic) noexcept = nullptr;
    // `former`: what it was known by (node/session.h, scoped_name) when it joined.
    void (*renamed)(void* context,
                    io::ConnIndex conn,
                    const feed::Topic& topic,
                    std::string_view former) noexcept = nullptr;
    void* context = nullptr;
};

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
        Counters& counters,
        const Access& access,
        const Storage* storage = nullptr) noexcept;
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;

    void set_reader_hook(const ReaderHook& hook) noexcept { reader_hook_ = hook; }

    enum class Subscribing : std::uint8_t { asked, duplicate, too_many_of_client };

    // Subscribes an open session. `asked`: home answers, now or by mail, and the hub tells the
    // client: `subscribed` with this id, or that the server has no room for the topic.
    [[nodiscard]] Subscribing subscribe(io::ConnIndex conn,
                                        std::string_view topic,
                                        feed::LaneKind lane,
                                        std::string_view id,
                                        const Resume& resume = {}) noexcept;
    enum class Unsubscribing : std::uint8_t { done, not_subscribed, covered };

    // `covered`: nothing has changed, since a pattern of the client brings this topic.
    [[nodiscard]] Unsubscribing unsubscribe(io::ConnIndex conn,
                                            std::string_view topic,
                                            feed::LaneKind lane) noexcept;
    // The same for all topics that match, now and later, on lane envelope. `asked`: `subscribed`
    // comes, and then the topics, each as `resume` says. Preconditions: it does not say from where
    // on (resume.wanted); feed::PatternIndex::fits(pattern).
    [[nodiscard]] Subscribing subscribe_pattern(io::ConnIndex conn,
                                                std::string_view pattern,
                                                std::string_view id,
                                                const Resume& resume = {}) noexcept;
    // Ends what no other pattern of the client brings. False: it was not subscribed.
    [[nodiscard]] bool unsubscribe_pattern(io::ConnIndex conn, std::string_view pattern) noexcept;
    // Takes a session out of all its topics and patterns.
    void forget(io::ConnIndex conn) noexcept;
    // It has another name from now on: tells whoever is to know of its subscriptions.
    void renamed(io::ConnIndex conn, std::string_view former) noexcept;
    // It is somebody else's now, or may do other things: ends the subscriptions that it may not
    // have any more, each with an error `forbidden`.
    void look_again(io::ConnIndex conn) noexcept;
    [[nodiscard]] bool may(io::ConnIndex conn, Deed deed, std::string_view topic) noexcept {
        return access_.may(sessions_[conn].identity.get(), deed, topic);
    }
    [[nodiscard]] const Access& access() const noexcept { return access_; }

    // Numbers and spreads a record, or has its home do so. `from`: told what came of it when it
    // asked for an ack, or when home refuses it.
    void publish(io::ConnIndex from, const Publication& publication) noexcept;

    // Mail of all kinds about topics. How much work it was, in microseconds or so.
    std::uint32_t receive(const Mail& mail) noexcept;

    // Lets those have their next batch whose time has come; when that is next, if ever.
    void pace() noexcept;
    [[nodiscard]] const Pacer& pacer() const noexcept { return pacer_; }

    [[nodiscard]] Home& home() noexcept { return home_; }
    [[nodiscard]] Acks& acks() noexcept { return acks_; }
    // The shard of a topic's home.
    [[nodiscard]] std::uint32_t home_of(std::string_view name) const noexcept {
        return home_.of(hash_of(name));
    }

    // Drained logs give their memory back, and home forgets what nobody needs. Once a second.
    void sweep() noexcept;
    [[nodiscard]] std::uint64_t held_bytes() const noexcept {
        return home_.held_bytes() + acks_.held_bytes();
    }
    [[nodiscard]] std::size_t to_sweep() const noexcept { return lanes_.to_sweep(); }
    [[nodiscard]] std::uint64_t hash_of(std::string_view name) const noexcept;
    [[nodiscard]] std::uint32_t home_of(std::uint64_t hash) const noexcept {
        return home_.of(hash);
    }
    // For whoever makes mail because of what this client said.
    void pause_without_credit(io::ConnIndex conn) noexcept;

  private:
    struct Waiter {
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
        std::string id;
        Resume resume;
    };
    struct Request {
        std::vector<Waiter> waiters;
        bool live = false;  // the lane is here before the answer: the topic was made meanwhile
        bool lost = false;  // ... and is not any more: there was no memory for its keys
    };

    [[nodiscard]] static std::uint64_t request_key(std::uint32_t topic,
                                                   feed::LaneKind kind) noexcept;
    [[nodiscard]] static std::uint32_t link_of(Session& session,
                                               std::uint32_t topic,
                                               feed::LaneKind kind) noexcept;
    [[nodiscard]] feed::Topic& topic_of(const Subscription& subscription) noexcept;
    [[nodiscard]] feed::Topic* find_or_create(std::string_view name, std::uint64_t hash) noexcept;
    // Its lane, once home has answered.
    [[nodiscard]] feed::Lane* started(const feed::Topic& topic, feed::LaneKind kind) noexcept;
    void join(io::ConnIndex conn,
              std::uint32_t link,
              feed::Topic& topic,
              feed::LaneKind kind,
              std::string_view id,
              const Resume& resume) noexcept;
    [[nodiscard]] bool is_full(io::ConnIndex conn) noexcept;
    void set_pace(io::ConnIndex conn,
                  const feed::Topic& topic,
                  feed::Lane& lane,
                  std::uint32_t row,
                  Tick interval) noexcept;
    void tell_gap(io::ConnIndex conn,
                  std::string_view topic,
                  const Begin& begin,
                  feed::Seq next) noexcept;
    void tell_home(const feed::Topic& topic,
                   feed::LaneKind kind,
                   bool wanted,
                   feed::Seq from = 0,
                   std::uint64_t chunk = 0) noexcept;
    void relink(Session& session, std::uint32_t link) noexcept;
    void ask_home(feed::Topic& topic, feed::LaneKind kind, Waiter waiter) noexcept;
    void stop_waiting(const feed::Topic& topic, feed::LaneKind kind, std::uint64_t serial) noexcept;
    void leave(io::ConnIndex conn, std::uint32_t link) noexcept;
    void take_row(io::ConnIndex conn, std::uint32_t link) noexcept;
    void give_up(feed::Topic& topic, feed::LaneKind kind) noexcept;
    void post_publication(io::ConnIndex from,
                          const Publication& publication,
                          std::uint64_t hash,
                          std::uint64_t serial) noexcept;

    void on_record(const Mail& mail) noexcept;
    void on_started(const Mail& mail) noexcept;
    void lose_lane(feed::Topic& topic, feed::LaneKind kind) noexcept;
    [[nodiscard]] bool take_history(feed::Topic& topic,
                                    feed::LaneKind kind,
                                    const Mail& mail) noexcept;
    void end_waiting(feed::Topic& topic,
                     feed::LaneKind kind,
                     const std::vector<Waiter>& waiters,
                     Verdict verdict) noexcept;
    void settle(feed::Topic& topic, feed::LaneKind kind) noexcept;
    void on_outcome(const Mail& mail) noexcept;
    void drop_if_unused(feed::Topic& topic) noexcept;

    // node/hub_patterns.cc
    [[nodiscard]] Subscribing ask_again(io::ConnIndex conn,
                                        std::uint32_t link,
                                        std::string_view id,
                                        const Resume& resume) noexcept;
    void go_on(io::ConnIndex conn,
               std::uint32_t link,
               std::string_view id,
               const Resume& resume,
               const Begin& begin) noexcept;
    void too_many(io::ConnIndex conn, std::string_view topic) noexcept;
    std::uint32_t appear(feed::Topic& topic) noexcept;
    std::uint32_t on_appeared(const Mail& mail) noexcept;
    std::uint32_t on_listed(const Mail& mail) noexcept;
    [[nodiscard]] bool bring(io::ConnIndex conn, std::string_view name) noexcept;

    const Config& config_;
    std::uint32_t shard_;
    std::uint64_t hash_seed_;
    io::Reactor& reactor_;
    Mesh& mesh_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    Counters& counters_;
    const Access& access_;
    ReaderHook reader_hook_;
    Lanes lanes_;
    Pacer pacer_;
    Home home_;
    Acks acks_;
    Patterns patterns_;
    std::unordered_map<std::uint64_t, Request> requests_;  // to home, by request_key()
};

}  // namespace ringcast::node
