// What a home does for durable topics: taking in, what follows from a commit, and what the store
// has at start. The rest of a Home is in home.cc.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/copy.h"
#include "base/hash.h"
#include "base/plant.h"
#include "node/home.h"

namespace ringcast::node {

using feed::LaneKind;

namespace {

constexpr Nanos trim_interval = 60 * nanos_per_s;  // of history that grows old
constexpr std::uint32_t trim_visits = 16 * 1024;   // topics looked at for that, a second ...
constexpr std::uint32_t trims_per_sweep = 4;       // ... and trimmed

[[nodiscard]] io::StoreForm form_of(const Publication& publication) noexcept {
    if (publication.json) return io::StoreForm::json;
    return publication.text ? io::StoreForm::text : io::StoreForm::binary;
}

[[nodiscard]] Parcel copy_of(Bytes payload) noexcept {
    Parcel parcel = Parcel::make(payload.size() + wire::payload_padding);
    copy_bytes(parcel.bytes().data(), payload.data(), payload.size());
    return parcel;
}

[[nodiscard]] Verdict verdict_of(Durable::Refusal refusal) noexcept {
    switch (refusal) {
        case Durable::Refusal::busy:
            return Verdict::busy;
        case Durable::Refusal::full:
            return Verdict::store_full;
        case Durable::Refusal::broken:
            break;
    }
    return Verdict::store_failed;
}

}  // namespace

feed::DedupWindow::Key Home::key_of(const feed::Topic& topic,
                                    std::string_view client,
                                    std::string_view id) const noexcept {
    return key_of(topic,
                  {.sender_key = {hash_bytes(as_bytes(client), hash_seed_),
                                  hash_bytes(as_bytes(id), hash_seed_)}});
}

// Under whatever number, and whoever reads it by then.
bool Home::fits(const feed::Topic& topic, const Publication& publication) noexcept {
    Record record{.publication = publication,
                  .form = payload_form(publication),
                  .offset = UINT64_MAX,
                  .wall_ns = reactor_.wall_now()};
    if (sealer_.seals(topic.rule)) {
        record.box = sealer_.outline(topic.rule, publication.payload.size());
        record.form = wire::PayloadForm::sealed;
    }
    return std::all_of(all_lanes.begin(), all_lanes.end(), [&](LaneKind kind) {
        return encoded_size(record, kind) <= record_size_max_;
    });
}

// The dedup window does not know it.
feed::Topic* Home::take_in(feed::Topic& topic,
                           const Publication& publication,
                           const Sender& sender,
                           const Parcel& payload) noexcept {
    Outcome outcome{.verdict = Verdict::busy,
                    .awaited = publication.ack,
                    .id = publication.id,
                    .topic = publication.topic};
    if (!fits(topic, publication)) {
        outcome.verdict = Verdict::too_large;
        answer(sender, outcome);
        return nullptr;
    }
    Durable::Pending record{
        .topic = std::string(publication.topic),
        .epoch = topic.epoch,
        .client = std::string(publication.client),
        .id = std::string(publication.id),
        .key = std::string(publication.key),
        .payload = payload.empty() ? copy_of(publication.payload) : payload.share(),
        .size = publication.payload.size(),
        .form = form_of(publication),
        .wall_ns = reactor_.wall_now(),
        .report = publication.report,
        .senders = {{.conn = sender.conn, .serial = sender.serial, .shard = sender.shard}}};
    RC_CHECK(publication.ack || record.client.empty());
    if (sealer_.seals(topic.rule)) {
        record.ticket.emplace(sealer_.ticket(topic.rule));
        record.sealed_form = payload_form(publication);
    }
    const io::Keep keep = keep_of(config_, lanes_.rule_of(topic));
    if (!taking_ || durable_->take(std::move(record), keep) == Durable::Taken::busy) {
        counters_.uncommitted++;
        answer(sender, outcome);
        return nullptr;
    }
    const bool here = sender.shard == shard_ && sender.conn != io::no_conn;
    if (publication.ack && here) await_outcome(sessions_, sender.conn);
    return &topic;
}

void Home::committed(const Durable::Pending& record) noexcept {
    feed::Topic* topic = topics_.find(record.topic, hash_bytes(as_bytes(record.topic), hash_seed_));
    RC_CHECK(topic != nullptr);              // not forgotten while something waits
    RC_CHECK(record.offset == topic->next);  // the store and home count alike
    const bool sequenced = sequence(*topic, record.publication(), record.wall_ns) == Verdict::taken;
    RC_CHECK(sequenced);
    counters_.committed++;
    if (storage_->state.worked(reactor_.now())) {
        storage_->log.say(LogLevel::info, "store: it can be written again");
    }
    if (record.client.empty()) return;  // nobody asked for an ack
    const feed::DedupWindow::Key key = key_of(*topic, record.client, record.id);
    if (!published_.find(key, sessions_.now()).has_value()) {
        published_.add(key, record.offset, sessions_.now());
    }
    counters_.repeats += record.senders.size() - 1;
    if (record.report) {
        const Durable::Sender& first = record.senders.front();
        open_report(*topic,
                    record.publication(),
                    record.offset,
                    {.conn = first.conn, .serial = first.serial, .shard = first.shard});
    }
    answer_all(record, {.verdict = Verdict::taken, .offset = record.offset, .epoch = topic->epoch});
}

void Home::refused(const Durable::Pending& record, Durable::Refusal refusal) noexcept {
    counters_.uncommitted++;
    answer_all(record, {.verdict = verdict_of(refusal)});
}

void Home::store_failed(std::string_view why) noexcept {
    if (!storage_->state.failed(reactor_.now())) return;
    storage_->log.say(LogLevel::error,
                      "store: " + std::string(why) +
                          ": what is published on durable topics is refused until it can be "
                          "written again");
}

// Fills in whose answer it is.
void Home::answer_all(const Durable::Pending& record, const Outcome& outcome) noexcept {
    Outcome told = outcome;
    told.awaited = !record.client.empty();
    told.id = record.id;
    told.topic = record.topic;
    for (const Durable::Sender& sender : record.senders) {
        if (sender.shard == shard_) {
            if (sender.conn == io::no_conn) continue;
            tell_later(sessions_, reactor_, sender.conn, sender.serial, told);
        } else {
            answer({.conn = sender.conn, .serial = sender.serial, .shard = sender.shard}, told);
        }
    }
}

bool Home::flush_due() noexcept {
    return durable_.has_value() && durable_->due() && !mesh_.out_of_credit(shard_);
}

void Home::flush() noexcept {
    if (flush_due()) durable_->flush(reactor_.wall_now());
}

// In memory the lanes see to it; what grows is trimmed by Durable.
void Home::trim_old() noexcept {
    if (!durable_.has_value()) return;
    const std::uint32_t end = topics_.id_end();
    std::uint32_t trims = 0;
    for (std::uint32_t visits = 0; visits < trim_visits && trims < trims_per_sweep; visits++) {
        if (trim_next_ >= end) {
            const Tick passed = sessions_.now() - trim_began_;
            if (passed < ticks_of(static_cast<std::uint64_t>(trim_interval))) return;
            trim_began_ = sessions_.now();
            trim_next_ = 0;
            if (end == 0) return;
        }
        const feed::Topic* topic = topics_.get(trim_next_++);
        if (topic == nullptr || !is_here(topic->hash) || !is_durable(*topic)) continue;
        const TopicRule& rule = lanes_.rule_of(*topic);
        if (rule.history_age == 0 || topic->next == 1) continue;
        durable_->trim(topic->name(), keep_of(config_, rule));
        trims++;
    }
}

bool Home::restore(const io::StoreTopic& stored) noexcept {
    RC_CHECK(durable_.has_value());
    const std::uint64_t hash = hash_bytes(as_bytes(stored.name), hash_seed_);
    RC_CHECK(is_here(hash));
    RC_CHECK(topics_.find(stored.name, hash) == nullptr);
    if (!mesh_.admit_topic(config_.topics_max)) return false;
    feed::Topic& topic = lanes_.create(stored.name, hash);
    topic.epoch = RC_PLANT(32) ? stored.epoch + 1 : stored.epoch;
    topic.next = stored.next;
    topic.used = sessions_.now();
    if (!lanes_.keeps_state(topic, LaneKind::envelope)) return true;
    topic.interest[index_of(LaneKind::envelope)] |= std::uint64_t{1} << shard_;
    lanes_.open(topic, LaneKind::envelope, stored.first);
    return true;
}

void Home::restore(const io::StoreRecord& stored) noexcept {
    feed::Topic* topic = topics_.find(stored.topic, hash_bytes(as_bytes(stored.topic), hash_seed_));
    if (topic == nullptr) return;  // its rule does not say durable any more
    restore_id(*topic, stored);
    const feed::Lane* lane = topic->lane(LaneKind::envelope);
    if (lane == nullptr || stored.hollow || stored.offset < lane->next()) return;
    restore_record(*topic, stored);
}

// The next record of the envelopes' lane. One that was written before its topic was sealed is
// sealed now; one that was sealed goes out as it is, whatever the rule and the keys have become.
void Home::restore_record(feed::Topic& topic, const io::StoreRecord& stored) noexcept {
    const Parcel payload = copy_of(stored.payload);
    const Publication publication{
        .topic = stored.topic,
        .id = stored.id,
        .key = stored.key,
        .payload = Bytes(payload.bytes()).first(stored.payload.size()),
        .json = stored.form == io::StoreForm::json || stored.form == io::StoreForm::deletion,
        .text = stored.form != io::StoreForm::binary,
        .sealed = stored.form == io::StoreForm::sealed,
        .ack = !stored.client.empty()};
    const feed::Lane& lane = *topic.lane(LaneKind::envelope);
    const Record record = record_of(topic, publication, stored.offset, stored.wall_ns);
    wire::SealedBox box;
    const bool whole = !publication.sealed || wire::read_box(publication.payload, box);
    const std::size_t size = whole ? encoded_size(record, LaneKind::envelope) : SIZE_MAX;
    if (size > record_size_max_) {  // by a larger --log-memory of former days: history ends there
        topic.lanes[index_of(LaneKind::envelope)].reset();
        lanes_.open(topic, LaneKind::envelope, stored.offset + 1);
        return;
    }
    lanes_.restore_age(topic, lane, sessions_.now() - age_of(stored));
    encode(record, LaneKind::envelope, topic.lane(LaneKind::envelope)->reserve(size));
    lanes_.append(topic, LaneKind::envelope, {}, stored.offset);
}

// How long ago it was published; a clock that was put back makes it new.
Tick Home::age_of(const io::StoreRecord& stored) const noexcept {
    const Nanos age = std::max<Nanos>(reactor_.wall_now() - stored.wall_ns, 0);
    constexpr auto most = static_cast<std::uint64_t>(units::hour) * 1000;  // of any window
    return ticks_of(std::min(static_cast<std::uint64_t>(age), most));
}

void Home::restore_id(const feed::Topic& topic, const io::StoreRecord& stored) noexcept {
    if (stored.client.empty() || stored.id.empty() || RC_PLANT(31)) return;
    const Tick age = age_of(stored);
    const Tick now = sessions_.now();
    if (age >= std::max<Tick>(ticks_of(config_.dedup_window), 1)) return;
    const feed::DedupWindow::Key key = key_of(topic, stored.client, stored.id);
    if (published_.find(key, now).has_value()) return;
    published_.add(key, stored.offset, now - age);
}

}  // namespace ringcast::node
