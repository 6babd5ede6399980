#pragma once

// The topics whose home is this shard: where records get their numbers.
//
// Home hands each record, encoded once per lane, to every shard that reads that lane, itself
// included; mail keeps it in order. A shard asks for a lane with its first reader and gives it up
// with its last, so a record travels only where somebody reads it. Where a rule keeps history, home
// has the envelope lane whether or not anybody reads it, and who asks for it gets what there is
// first, a chunk at a time, so that mail stays bounded; what is published meanwhile is in the last
// chunk.
//
// A publisher that asked for an ack is told the offset once the record is in the log. When it says
// the same again (client and id) within the dedup window it is told the same, and nothing is
// published.
//
// A shard with readers of a pattern watches it at every home. Home then tells it of each topic that
// it makes and that matches, in front of its first record, and from then on the shard counts as a
// reader. What was there before is listed on demand, a few names at a time.
//
// Where a rule says `seal`, the payload is encrypted here, once, when the record has its number
// (node/sealer.h); what a lane, another shard, history or the disk gets of it is that.
//
// A topic whose rule says `durable` has its number and epoch in the store (node/storage.h), and as
// many records as its rule keeps. A publication is taken in, committed by a worker, and only then
// numbered, seen and acknowledged (durable_home.cc). Such a topic is never forgotten once it has a
// record.
//
// Home alone knows any other topic's offset, so it keeps a topic that nobody needs for a minute and
// forgets it then. When the name comes back it is a new topic: another epoch, offsets from 1.
// --topics-max counts topics at their homes, so each once for the whole server.
//
// One thread owns a Home.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ringcast/config.h"

#include "feed/dedup_window.h"
#include "feed/pattern_index.h"
#include "feed/topic.h"
#include "io/reactor.h"
#include "node/counters.h"
#include "node/durable.h"
#include "node/lanes.h"
#include "node/mesh.h"
#include "node/outcome.h"
#include "node/record.h"
#include "node/reports.h"
#include "node/sealer.h"
#include "node/sessions.h"
#include "node/storage.h"
#include "wire/envelope.h"

namespace ringcast::node {

// Who published something, on which shard. No connection: the server itself.
struct Sender {
    io::ConnIndex conn = io::no_conn;
    std::uint64_t serial = 0;
    std::uint32_t shard = 0;
};

// Behind each name of a list: names have no control characters (wire::topic_valid).
constexpr char name_end = '\n';

// Final, so nobody deletes it as anything else.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor)
class Home final : private Durable::Owner {
  public:
    // `storage`: null without a store.
    Home(const Config& config,
         std::uint32_t shard,
         std::uint64_t hash_seed,
         io::Reactor& reactor,
         Mesh& mesh,
         Sessions& sessions,
         feed::TopicTable& topics,
         Lanes& lanes,
         std::size_t record_size_max,
         wire::EnvelopeParser& parser,
         Counters& counters,
         const Storage* storage) noexcept;
    Home(const Home&) = delete;
    Home& operator=(const Home&) = delete;

    [[nodiscard]] std::uint32_t of(std::uint64_t hash) const noexcept {
        // The high half: the low bits choose the slot in the home's own table.
        return static_cast<std::uint32_t>((hash >> 32) % mesh_.shard_count());
    }
    [[nodiscard]] std::uint64_t hash_of(std::string_view name) const noexcept;
    [[nodiscard]] bool is_here(std::uint64_t hash) const noexcept { return of(hash) == shard_; }

    // The topic; null when the server holds as many as it may. Precondition: is_here(hash).
    [[nodiscard]] feed::Topic* find_or_create(std::string_view name, std::uint64_t hash) noexcept;
    // Numbers a record and sends it wherever it is read, a durable one later; the sender is told
    // what it has to know. `payload`: the parcel in which it lies, if it is in one, with
    // wire::payload_padding behind it. The topic, or null if none took it.
    feed::Topic* publish(const Publication& publication,
                         std::uint64_t hash,
                         const Sender& sender,
                         const Parcel& payload = {}) noexcept;
    // This shard's own first reader of a lane came, and its last one left.
    void open_lane(feed::Topic& topic, feed::LaneKind kind) noexcept;
    void close_lane(feed::Topic& topic, feed::LaneKind kind) noexcept;
    // The other shards with readers, a bit each.
    [[nodiscard]] std::uint64_t readers_abroad(const feed::Topic& topic) const noexcept;

    // Shard `shard` has its first reader of a pattern, or has lost its last.
    void watch(std::string_view pattern, std::uint32_t shard, bool wanted) noexcept;

    // Mail of the kinds publish, interest, missed, watch and list.
    void on_publish(const Mail& mail) noexcept;
    void on_missed(const Mail& mail) noexcept;
    void on_interest(const Mail& mail) noexcept;
    void on_watch(const Mail& mail) noexcept;
    // How many topics were looked at.
    std::uint32_t on_list(const Mail& mail) noexcept;

    // Forgets what nobody needs. Once a second.
    void sweep() noexcept;

    // What the store has of topics that are at home here, before the first turn: all topics, then
    // all records in the order of load_records(). False: --topics-max.
    [[nodiscard]] bool restore(const io::StoreTopic& stored) noexcept;
    void restore(const io::StoreRecord& stored) noexcept;
    // Sends off what was taken in, at the end of each turn; not while committed records would
    // outrun slow shards. flush_due(): it would, now; if it is credit that lacks, its return wakes
    // the shard.
    void flush() noexcept;
    [[nodiscard]] bool flush_due() noexcept;
    [[nodiscard]] Sealer& sealer() noexcept { return sealer_; }

    // From now on durable publications are refused (busy), and once stored() none is left.
    void stop_taking() noexcept { taking_ = false; }
    [[nodiscard]] bool stored() const noexcept { return !durable_.has_value() || durable_->idle(); }
    [[nodiscard]] std::uint64_t held_bytes() const noexcept {
        return published_.heap_bytes() + (durable_.has_value() ? durable_->held_bytes() : 0);
    }

  private:
    [[nodiscard]] static feed::DedupWindow::Key key_of(const feed::Topic& topic,
                                                       const Publication& publication) noexcept;
    // A record before it is taken: how large it is in each lane, and with keys the room for it.
    struct Draft {
        std::array<std::size_t, feed::lane_kind_count> sizes{};
        MutBytes room;
    };

    [[nodiscard]] Verdict sequence(feed::Topic& topic,
                                   const Publication& publication,
                                   Nanos wall_ns) noexcept;
    [[nodiscard]] Record record_of(const feed::Topic& topic,
                                   const Publication& publication,
                                   feed::Seq offset,
                                   Nanos wall_ns) noexcept;
    [[nodiscard]] wire::PayloadForm payload_form(const Publication& publication) noexcept;
    [[nodiscard]] static Verdict find_room(feed::Topic& topic,
                                           const Publication& publication,
                                           Draft& draft) noexcept;
    void spread(feed::Topic& topic, const Record& record, const Draft& draft) noexcept;
    void post_records(const feed::Topic& topic,
                      const Record& record,
                      const std::array<Parcel, 2>& parcels) noexcept;
    void announce(feed::Topic& topic) noexcept;
    void grant(feed::Topic& topic, const Mail& wish, Mail& answer) noexcept;
    void answer(const Sender& sender, const Outcome& outcome) noexcept;
    void open_report(const feed::Topic& topic,
                     const Publication& publication,
                     feed::Seq offset,
                     const Sender& sender) noexcept;
    void tell_reports() noexcept;
    [[nodiscard]] bool needed(const feed::Topic& topic) const noexcept;
    void forget(feed::Topic& topic) noexcept;

    // Durable topics.
    [[nodiscard]] bool is_durable(const feed::Topic& topic) const noexcept {
        return durable_.has_value() && lanes_.rule_of(topic).durable;
    }
    [[nodiscard]] feed::DedupWindow::Key key_of(const feed::Topic& topic,
                                                std::string_view client,
                                                std::string_view id) const noexcept;
    [[nodiscard]] bool fits(const feed::Topic& topic, const Publication& publication) noexcept;
    feed::Topic* take_in(feed::Topic& topic,
                         const Publication& publication,
                         const Sender& sender,
                         const Parcel& payload) noexcept;
    void committed(const Durable::Pending& record) noexcept override;
    void refused(const Durable::Pending& record, Durable::Refusal refusal) noexcept override;
    void store_failed(std::string_view why) noexcept override;
    void answer_all(const Durable::Pending& record, const Outcome& outcome) noexcept;
    [[nodiscard]] Tick age_of(const io::StoreRecord& stored) const noexcept;
    void restore_record(feed::Topic& topic, const io::StoreRecord& stored) noexcept;
    void restore_id(const feed::Topic& topic, const io::StoreRecord& stored) noexcept;
    void trim_old() noexcept;

    const Config& config_;
    std::uint32_t shard_;
    std::uint64_t hash_seed_;
    std::size_t record_size_max_;
    io::Reactor& reactor_;
    Mesh& mesh_;
    Sessions& sessions_;
    feed::TopicTable& topics_;
    Lanes& lanes_;
    wire::EnvelopeParser& parser_;
    Counters& counters_;
    feed::DedupWindow published_;
    Reports reports_;
    Sealer sealer_;
    std::uint32_t forget_next_ = 0;  // the topic that sweep() looks at next
    const Storage* storage_;
    std::optional<Durable> durable_;
    std::uint32_t trim_next_ = 0;  // the topic that trim_old() looks at next
    Tick trim_began_ = 0;          // when it looked at the first
    bool taking_ = true;
    feed::PatternIndex watched_;
    std::vector<std::uint64_t> watchers_;  // shards of each watched pattern, a bit each
    std::vector<std::uint32_t> matching_;  // scratch
};

}  // namespace ringcast::node
