#include "node/home.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/copy.h"
#include "base/hash.h"
#include "base/plant.h"
#include "feed/pattern.h"
#include "node/backlog.h"

namespace ringcast::node {

using feed::LaneKind;

namespace {

// A topic that nobody needs is kept so long, for those who come back soon.
constexpr std::uint64_t forget_after = 60 * units::s;
// Topics that a sweep looks at for that: well under a millisecond.
constexpr std::uint32_t forget_visits = 16 * 1024;
// History goes to another shard in pieces of at most this size, a tenth of a millisecond, and of a
// quarter of what mail may be under way.
constexpr std::size_t chunk_size_max = std::size_t{256} * 1024;
// Shards look for what is missed that often, and home once a second.
constexpr std::uint64_t report_slack = 5 * units::s;
// Of each of the two batches that wait for the disk; node/memory_plan.cc has it too.
constexpr Durable::Limits durable_limits{};
// Whoever is asked for history by a shard that never catches up lets it begin with the next record.
constexpr std::uint64_t chunks_max = 4096;
// An answer to `list`: names, and topics looked at, a tenth of a millisecond. The asking shard
// makes a request for each name, so these are as many as may be under way beyond its credit.
constexpr std::uint32_t list_names = 32;
constexpr std::uint32_t list_visits = 1024;

// What deletes its key: a payload that is nothing but null.
[[nodiscard]] bool is_tombstone(const Publication& publication) noexcept {
    return publication.json && as_text(publication.payload) == "null";
}

[[nodiscard]] std::uint64_t bit_of(std::uint32_t shard) noexcept {
    return std::uint64_t{1} << shard;
}

}  // namespace

Home::Home(const Config& config,
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
           const Storage* storage) noexcept
    : config_(config),
      shard_(shard),
      hash_seed_(hash_seed),
      record_size_max_(record_size_max),
      reactor_(reactor),
      mesh_(mesh),
      sessions_(sessions),
      topics_(topics),
      lanes_(lanes),
      parser_(parser),
      counters_(counters),
      published_(static_cast<std::uint32_t>(config.dedup_max),
                 std::max<Tick>(ticks_of(config.dedup_window), 1)),
      sealer_(config),
      storage_(storage),
      watched_(hash_seed) {
    RC_CHECK(shard < mesh.shard_count());
    RC_CHECK(mesh.shard_count() <= feed::shard_count_max);  // Topic::interest is a bit per shard
    if (storage == nullptr) return;
    Durable::Owner& owner = *this;
    durable_.emplace(shard, durable_limits, storage->worker, storage->store, owner);
}

std::uint64_t Home::hash_of(std::string_view name) const noexcept {
    return hash_bytes(as_bytes(name), hash_seed_);
}

feed::Topic* Home::find_or_create(std::string_view name, std::uint64_t hash) noexcept {
    RC_CHECK(is_here(hash));
    feed::Topic* topic = topics_.find(name, hash);
    if (topic == nullptr) {
        if (!mesh_.admit_topic(config_.topics_max)) return nullptr;
        topic = &lanes_.create(name, hash);
        topic->epoch = reactor_.random() | 1;  // 0 is never an epoch
        if (lanes_.keeps_state(*topic, LaneKind::envelope)) {
            open_lane(*topic, LaneKind::envelope);
        }
        announce(*topic);
    }
    topic->used = sessions_.now();
    return topic;
}

// A new topic counts as read by whoever may have readers for it, and they are told before anything
// of it comes: so these miss nothing. For this shard itself, where no mail keeps what is published
// until they are here, the lane does.
void Home::announce(feed::Topic& topic) noexcept {
    watched_.match(topic.name(), matching_);
    std::uint64_t shards = 0;
    for (const std::uint32_t pattern : matching_) {
        shards |= watchers_[pattern];
    }
    if (shards == 0 || RC_PLANT(29)) return;
    if ((shards & bit_of(shard_)) != 0) {
        if (topic.lane(LaneKind::envelope) == nullptr) open_lane(topic, LaneKind::envelope);
        lanes_.hold(topic);
        topic.appearing = true;
    }
    topic.interest[index_of(LaneKind::envelope)] |= shards;
    for (std::uint32_t shard = 0; shards != 0; shard++, shards >>= 1) {
        if ((shards & 1) == 0) continue;
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::appeared;
        mail->from = shard_;
        mail->hash = topic.hash;
        mail->offset = topic.next;
        mail->epoch = topic.epoch;
        mail->name = topic.name();
        mesh_.post(shard, std::move(mail));
    }
}

void Home::watch(std::string_view pattern, std::uint32_t shard, bool wanted) noexcept {
    std::uint32_t number = watched_.find(pattern);
    if (number == feed::PatternIndex::none) {
        RC_CHECK(wanted);
        number = watched_.add(pattern);
        if (number >= watchers_.size()) watchers_.resize(number + 1);
    }
    std::uint64_t& shards = watchers_[number];
    RC_CHECK(((shards & bit_of(shard)) != 0) != wanted);
    shards ^= bit_of(shard);
    if (shards == 0) watched_.remove(number);
}

void Home::on_watch(const Mail& mail) noexcept {
    watch(mail.name, mail.from, mail.flag);
    if (!mail.flag) return;
    auto answer = std::make_unique<Mail>();
    answer->kind = MailKind::watched;
    answer->from = shard_;
    answer->name = mail.name;
    mesh_.post(mail.from, std::move(answer));
}

// Whoever asks watches the pattern already, so a topic that is made while the table is walked is
// told of anyhow, wherever it gets its place.
std::uint32_t Home::on_list(const Mail& mail) noexcept {
    std::string names;
    std::uint32_t found = 0;
    std::uint32_t visits = 0;
    auto at = static_cast<std::uint32_t>(mail.offset);
    for (; at < topics_.id_end() && visits < list_visits && found < list_names; at++, visits++) {
        const feed::Topic* topic = topics_.get(at);
        if (topic == nullptr || !is_here(topic->hash)) continue;
        if (!feed::matches(mail.name, topic->name())) continue;
        names += topic->name();
        names += name_end;
        found++;
    }
    auto answer = std::make_unique<Mail>();
    answer->kind = MailKind::listed;
    answer->from = shard_;
    answer->conn = mail.conn;
    answer->serial = mail.serial;
    answer->epoch = mail.epoch;
    answer->name = mail.name;
    answer->offset = at;
    answer->more = at < topics_.id_end();
    if (!names.empty()) {
        answer->bytes[0] = Parcel::make(names.size());
        copy_bytes(answer->bytes[0].bytes().data(), as_bytes(names).data(), names.size());
    }
    mesh_.post(mail.from, std::move(answer));
    return visits;
}

void Home::open_lane(feed::Topic& topic, LaneKind kind) noexcept {
    topic.interest[index_of(kind)] |= bit_of(shard_);
    lanes_.open(topic, kind, topic.next);
}

void Home::close_lane(feed::Topic& topic, LaneKind kind) noexcept {
    RC_CHECK(topic.lane(kind)->size() == 0);
    topic.used = sessions_.now();
    if (lanes_.keeps_state(topic, kind) || topic.appearing) return;
    topic.lanes[index_of(kind)].reset();
    topic.interest[index_of(kind)] &= ~bit_of(shard_);
}

std::uint64_t Home::readers_abroad(const feed::Topic& topic) const noexcept {
    return (topic.interest[0] | topic.interest[1]) & ~bit_of(shard_);
}

feed::DedupWindow::Key Home::key_of(const feed::Topic& topic,
                                    const Publication& publication) noexcept {
    // The epoch is random, and so is what it makes of a hash.
    return {.high = publication.sender_key[0] ^ topic.epoch,
            .low = publication.sender_key[1] ^ topic.hash};
}

feed::Topic* Home::publish(const Publication& publication,
                           std::uint64_t hash,
                           const Sender& sender,
                           const Parcel& payload) noexcept {
    Outcome outcome{.verdict = Verdict::too_many_topics,
                    .awaited = publication.ack,
                    .id = publication.id,
                    .topic = publication.topic};
    feed::Topic* topic = find_or_create(publication.topic, hash);
    if (topic == nullptr) {
        answer(sender, outcome);
        return nullptr;
    }
    outcome.verdict = Verdict::taken;
    outcome.epoch = topic->epoch;
    outcome.offset = topic->next;
    if (publication.ack) {
        const auto known = published_.find(key_of(*topic, publication), sessions_.now());
        if (known.has_value() && !RC_PLANT(25)) {
            outcome.offset = *known;
            counters_.repeats++;
            answer(sender, outcome);
            return topic;
        }
    }
    if (publication.report && reports_.full(sender.shard, sender.serial)) {
        outcome.verdict = Verdict::too_many_reports;
        answer(sender, outcome);
        return nullptr;
    }
    if (is_durable(*topic)) return take_in(*topic, publication, sender, payload);
    outcome.verdict = sequence(*topic, publication, reactor_.wall_now());
    if (outcome.verdict != Verdict::taken) {
        answer(sender, outcome);
        return nullptr;
    }
    if (publication.ack) {
        published_.add(key_of(*topic, publication), outcome.offset, sessions_.now());
        if (publication.report) open_report(*topic, publication, outcome.offset, sender);
        answer(sender, outcome);
    }
    return topic;
}

// Gives the record its number and sends it wherever it is read, or says why not.
Verdict Home::sequence(feed::Topic& topic, const Publication& publication, Nanos wall_ns) noexcept {
    RC_CHECK(is_here(topic.hash));
    const Record record = record_of(topic, publication, topic.next, wall_ns);
    Draft draft;
    for (const LaneKind kind : all_lanes) {
        if (topic.interest[index_of(kind)] == 0) continue;
        draft.sizes[index_of(kind)] = encoded_size(record, kind);
        if (draft.sizes[index_of(kind)] > record_size_max_) return Verdict::too_large;
    }
    if (lanes_.rule_of(topic).keyed) {
        const Verdict verdict = find_room(topic, publication, draft);
        if (verdict != Verdict::taken) return verdict;
    }
    topic.next++;
    counters_.published++;
    spread(topic, record, draft);
    return Verdict::taken;
}

wire::PayloadForm Home::payload_form(const Publication& publication) noexcept {
    if (publication.sealed) return wire::PayloadForm::sealed;
    if (publication.json) return wire::PayloadForm::json;
    return parser_.payload_form(publication.payload, publication.text);
}

// As its lanes get it, as far as there are any. A box is a view of the sealer's room.
Record Home::record_of(const feed::Topic& topic,
                       const Publication& publication,
                       feed::Seq offset,
                       Nanos wall_ns) noexcept {
    Record record{.publication = publication,
                  .form = wire::PayloadForm::json,
                  .offset = offset,
                  .wall_ns = wall_ns,
                  .epoch = topic.epoch};
    const bool enveloped = topic.interest[index_of(LaneKind::envelope)] != 0;
    const bool seals = sealer_.seals(topic.rule) && !publication.sealed;
    if (enveloped || seals || publication.sealed) record.form = payload_form(publication);
    if (publication.sealed) record.box = publication.payload;
    if (!seals || (!enveloped && topic.interest[index_of(LaneKind::raw)] == 0)) return record;
    const wire::SealPlace place{
        .topic = topic.name(), .epoch = topic.epoch, .offset = offset, .key = publication.key};
    record.box = sealer_.seal(topic.rule, place, record.form, publication.payload);
    record.form = wire::PayloadForm::sealed;
    return record;
}

// With keys: before anything happens, since what there may be of them is limited.
Verdict Home::find_room(feed::Topic& topic, const Publication& publication, Draft& draft) noexcept {
    feed::Lane& lane = *topic.lane(LaneKind::envelope);
    const std::size_t size = draft.sizes[index_of(LaneKind::envelope)];
    if (publication.key.empty()) return Verdict::missing_key;
    if (size > lane.compact().record_size_max()) return Verdict::too_large;
    const feed::CompactLog::Room room = lane.reserve(
        {.key = as_bytes(publication.key), .size = size, .tombstone = is_tombstone(publication)});
    draft.room = room.bytes;
    switch (room.refusal) {
        case feed::CompactLog::Refusal::none:
            return Verdict::taken;
        case feed::CompactLog::Refusal::too_many_keys:
            return Verdict::too_many_keys;
        case feed::CompactLog::Refusal::bytes_full:
            return Verdict::keys_full;
        case feed::CompactLog::Refusal::no_memory:
            break;
    }
    return Verdict::no_memory;
}

void Home::spread(feed::Topic& topic, const Record& record, const Draft& draft) noexcept {
    std::array<Parcel, 2> parcels;
    for (const LaneKind kind : all_lanes) {
        const std::uint64_t interest = topic.interest[index_of(kind)];
        const std::size_t size = draft.sizes[index_of(kind)];
        const bool has_room = kind == LaneKind::envelope && !draft.room.empty();
        if (interest == 0) continue;
        if (interest == bit_of(shard_)) {
            // Nobody else reads it: encoded straight into the log.
            encode(record, kind, has_room ? draft.room : topic.lane(kind)->reserve(size));
            lanes_.append(topic, kind, {}, record.offset);
            continue;
        }
        Parcel& parcel = parcels[index_of(kind)];
        parcel = Parcel::make(size);
        encode(record, kind, parcel.bytes());
        if (has_room) copy_bytes(draft.room.data(), parcel.bytes().data(), size);
        if ((interest & bit_of(shard_)) != 0) {
            lanes_.append(topic, kind, has_room ? Bytes() : parcel.bytes(), record.offset);
        }
    }
    post_records(topic, record, parcels);
}

void Home::post_records(const feed::Topic& topic,
                        const Record& record,
                        const std::array<Parcel, 2>& parcels) noexcept {
    std::uint64_t abroad = readers_abroad(topic);
    for (std::uint32_t shard = 0; abroad != 0; shard++, abroad >>= 1) {
        if ((abroad & 1) == 0) continue;
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::record;
        mail->from = shard_;
        mail->hash = topic.hash;
        mail->offset = record.offset;
        mail->name = topic.name();
        if (lanes_.rule_of(topic).keyed) {
            mail->key = record.publication.key;
            mail->tombstone = is_tombstone(record.publication);
        }
        for (const LaneKind kind : all_lanes) {
            const std::size_t lane = index_of(kind);
            if ((topic.interest[lane] & bit_of(shard)) == 0) continue;
            if (RC_PLANT(17) && kind == LaneKind::raw) continue;
            mail->bytes[lane] = parcels[lane].share();
        }
        mesh_.post(shard, std::move(mail));
    }
}

void Home::on_publish(const Mail& mail) noexcept {
    const Publication publication{.topic = mail.name,
                                  .id = mail.id,
                                  .key = mail.key,
                                  .payload = Bytes(mail.bytes[0].bytes()).first(mail.offset),
                                  .json = mail.json,
                                  .text = mail.flag,
                                  .ack = mail.ack,
                                  .report = mail.report,
                                  .client = mail.client,
                                  .sender_key = mail.sender_key};
    publish(publication,
            mail.hash,
            {.conn = mail.conn, .serial = mail.serial, .shard = mail.from},
            mail.bytes[0]);
}

void Home::open_report(const feed::Topic& topic,
                       const Publication& publication,
                       feed::Seq offset,
                       const Sender& sender) noexcept {
    // Nobody can miss what nobody reads, or what has keys.
    if (topic.interest[index_of(LaneKind::envelope)] == 0 || lanes_.rule_of(topic).keyed) return;
    // A client may be gone just before the record expires, and not come back.
    const Tick open = ticks_of(config_.ack_expiry) + ticks_of(config_.session_time);
    reports_.open({.hash = topic.hash,
                   .epoch = topic.epoch,
                   .offset = offset,
                   .topic = std::string(topic.name()),
                   .id = std::string(publication.id),
                   .conn = sender.conn,
                   .serial = sender.serial,
                   .shard = sender.shard,
                   .ends = sessions_.now() + open + ticks_of(report_slack)});
}

void Home::on_missed(const Mail& mail) noexcept {
    for (const Missed& each : mail.missed) {
        reports_.missed(mail.hash, mail.epoch, each.offset, each.clients);
    }
}

void Home::tell_reports() noexcept {
    reports_.sweep(sessions_.now(), [this](const Report& report) noexcept {
        const Outcome outcome{.verdict = Verdict::expired,
                              .id = report.id,
                              .topic = report.topic,
                              .offset = report.offset,
                              .epoch = report.epoch,
                              .clients = report.clients};
        const Sender sender{.conn = report.conn, .serial = report.serial, .shard = report.shard};
        if (report.shard == shard_) {
            tell_later(sessions_, reactor_, sender.conn, sender.serial, outcome);
        } else {
            answer(sender, outcome);
        }
    });
}

void Home::on_interest(const Mail& mail) noexcept {
    const auto kind = static_cast<LaneKind>(mail.lane);
    if (!mail.flag) {
        feed::Topic* topic = topics_.find(mail.name, mail.hash);
        RC_CHECK(topic != nullptr);  // home never forgets a topic that somebody reads
        topic->interest[index_of(kind)] &= ~bit_of(mail.from);
        topic->used = sessions_.now();
        return;
    }
    feed::Topic* topic = find_or_create(mail.name, mail.hash);
    auto answer = std::make_unique<Mail>();
    answer->kind = MailKind::started;
    answer->lane = mail.lane;
    answer->from = shard_;
    answer->hash = mail.hash;
    answer->name = mail.name;
    if (topic != nullptr) grant(*topic, mail, *answer);
    mesh_.post(mail.from, std::move(answer));
}

// Every later record follows the answer, unless there is more history than fits into it.
void Home::grant(feed::Topic& topic, const Mail& wish, Mail& answer) noexcept {
    const auto kind = static_cast<LaneKind>(wish.lane);
    answer.flag = true;
    answer.epoch = topic.epoch;
    answer.offset = RC_PLANT(16) ? topic.next + 1 : topic.next;
    answer.serial = wish.serial + 1;
    if (lanes_.keeps_state(topic, kind) && wish.serial < chunks_max) {
        const feed::Lane& lane = *topic.lane(kind);
        const bool goes_on = wish.epoch == topic.epoch && wish.offset <= topic.next;
        const std::size_t chunk_size =
            std::min<std::size_t>(chunk_size_max, config_.mail_max * mail_unit / 4);
        feed::Seq end = 0;
        if (lane.keyed()) {
            // From the begin, too, when the end of a key that is there already was forgotten.
            const bool knows = goes_on && wish.offset > lane.compact().forgotten();
            const feed::Seq begin = lane.compact().empty() ? topic.next : 1;
            answer.offset = knows ? std::max(wish.offset, begin) : begin;
            answer.forgotten = lane.compact().forgotten();
            answer.bytes[0] = pack(lane.compact(), answer.offset, chunk_size, end);
        } else {
            answer.offset = std::max(lane.recoverable_from(), goes_on ? wish.offset : 0);
            answer.bytes[0] = pack(lane.log(), answer.offset, chunk_size, end);
        }
        answer.more = end != topic.next;
    }
    if (!answer.more || RC_PLANT(26)) topic.interest[index_of(kind)] |= bit_of(wish.from);
}

void Home::answer(const Sender& sender, const Outcome& outcome) noexcept {
    if (sender.conn == io::no_conn) return;  // the server's own feed goes on with the next sample
    if (sender.shard == shard_) {
        tell(sessions_, reactor_, sender.conn, outcome);
        return;
    }
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::outcome;
    mail->from = shard_;
    mail->conn = sender.conn;
    mail->serial = sender.serial;
    mail->lane = static_cast<std::uint8_t>(outcome.verdict);
    mail->ack = outcome.awaited;
    mail->id = outcome.id;
    mail->name = outcome.topic;
    mail->offset = outcome.offset;
    mail->epoch = outcome.epoch;
    mail->hash = outcome.clients;
    mesh_.post(sender.shard, std::move(mail));
}

// A part of the table each time, in turns.
void Home::sweep() noexcept {
    const std::uint32_t end = topics_.id_end();
    const Tick now = sessions_.now();
    for (std::uint32_t visits = std::min(forget_visits, end); visits > 0; visits--) {
        if (forget_next_ >= end) forget_next_ = 0;
        feed::Topic* topic = topics_.get(forget_next_++);
        if (topic == nullptr || !is_here(topic->hash) || needed(*topic)) continue;
        if (now - topic->used >= ticks_of(forget_after)) forget(*topic);
    }
    trim_old();
    tell_reports();
}

bool Home::needed(const feed::Topic& topic) const noexcept {
    if (readers_abroad(topic) != 0 || topic.appearing) return true;
    // What waits for the disk has the topic's epoch.
    if (is_durable(topic) && (topic.next != 1 || !stored())) return true;
    for (const LaneKind kind : all_lanes) {
        const feed::Lane* lane = topic.lane(kind);
        if (lane == nullptr) continue;
        const bool holds =
            lane->keyed() ? !lane->compact().empty() : lane->recoverable_from() != lane->next();
        if (lane->size() != 0 || holds) return true;
    }
    return false;
}

void Home::forget(feed::Topic& topic) noexcept {
    topics_.erase(topic);
    mesh_.leave_topic();
}

}  // namespace ringcast::node
