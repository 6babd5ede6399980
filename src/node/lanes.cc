#include "node/lanes.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/copy.h"
#include "base/plant.h"
#include "node/topic_rules.h"
#include "wire/envelope_writer.h"

namespace ringcast::node {

using feed::LaneKind;

Lanes::Lanes(const Config& config,
             std::uint64_t hash_seed,
             Sessions& sessions,
             feed::TopicTable& topics,
             feed::SegmentPool& pool,
             Pump& pump) noexcept
    : config_(config),
      hash_seed_(hash_seed),
      sessions_(sessions),
      topics_(topics),
      pool_(pool),
      pump_(pump),
      packer_(config) {}

feed::Topic& Lanes::create(std::string_view name, std::uint64_t hash) noexcept {
    feed::Topic& topic = topics_.create(name, hash);
    topic.rule = rule_number(config_, name);
    return topic;
}

const TopicRule& Lanes::rule_of(const feed::Topic& topic) const noexcept {
    return numbered_rule(config_, topic.rule);
}

feed::Lane& Lanes::open(feed::Topic& topic, LaneKind kind, feed::Seq next) noexcept {
    RC_CHECK(topic.lane(kind) == nullptr);
    std::unique_ptr<feed::Lane>& lane = topic.lanes[index_of(kind)];
    const feed::LaneSink sink{.save_tail = &Lanes::save_tail, .context = this};
    const TopicRule& rule = rule_of(topic);
    if (rule.keyed && kind == LaneKind::envelope) {
        const feed::CompactLog::Limits limits{.keys_max = rule.keys_max,
                                              .bytes_max = rule.keys_bytes};
        lane = std::make_unique<feed::Lane>(pool_, next, limits, hash_seed_, sink);
        lane->walk.interval = static_cast<Nanos>(rule.flush_interval);
        return *lane;
    }
    lane = std::make_unique<feed::Lane>(pool_, next, config_.topic_log_max, sink);
    lane->walk.interval = static_cast<Nanos>(rule.flush_interval);
    if (keeps_state(topic, kind)) {
        lane->keep_history({.records = rule.history, .bytes = rule.history_bytes});
    }
    return *lane;
}

void Lanes::save_tail(void* context, feed::Reader reader, Bytes rest) noexcept {
    if (RC_PLANT(8)) rest = rest.first(1);
    static_cast<Lanes*>(context)->sessions_.push_tail(reader, rest);
}

void Lanes::append(feed::Topic& topic, LaneKind kind, Bytes record, feed::Seq offset) noexcept {
    feed::Lane& lane = *topic.lane(kind);
    if (!record.empty()) {
        const MutBytes room = lane.reserve(record.size());
        copy_bytes(room.data(), record.data(), record.size());
    }
    const feed::Seq seq = lane.commit();
    RC_CHECK(seq == offset);  // one order everywhere, and no hole in it
    feed::AckWindow* acks = lane.acks();
    if (acks != nullptr && wire::wants_ack(lane.log().rest_of(seq, 0))) {
        acks->demand(seq, sessions_.now() + ticks_of(config_.ack_expiry));
    }
    if (lane.packs()) [[unlikely]]
        lane.append_packed(packer_.pack(lane.newest()));
    pump_.mark(topic, kind);
    holding_.add(topic.id());
}

bool Lanes::append_keyed(feed::Topic& topic, const feed::CompactLog::Record& record) noexcept {
    feed::Lane& lane = *topic.lane(LaneKind::envelope);
    const feed::CompactLog::Room room = lane.reserve({.key = record.key,
                                                      .size = record.bytes.size(),
                                                      .tombstone = record.tombstone,
                                                      .seq = record.seq});
    if (room.refusal != feed::CompactLog::Refusal::none) return false;
    copy_bytes(room.bytes.data(), record.bytes.data(), record.bytes.size());
    append(topic, LaneKind::envelope, {}, record.seq);
    return true;
}

// Whatever must not be compressed is kept from it here: what is compressed shows by its size what
// is in it, also to who cannot read it.
bool Lanes::may_compress(const feed::Topic& topic) const noexcept {
    return config_.compression && !rule_of(topic).uncompressed && rule_of(topic).seal.empty();
}

void Lanes::read_packed(const feed::Topic& topic, LaneKind kind, std::uint32_t row) noexcept {
    if (may_compress(topic)) topic.lane(kind)->read_packed(row, config_.topic_log_max);
}

void Lanes::hold(const feed::Topic& topic) noexcept {
    feed::Lane& lane = *topic.lane(LaneKind::envelope);
    if (lane.keyed()) return;
    lane.keep_history({.records = UINT64_MAX, .bytes = config_.topic_log_max});
}

void Lanes::let_go(const feed::Topic& topic) noexcept {
    feed::Lane& lane = *topic.lane(LaneKind::envelope);
    if (lane.keyed()) return;
    const TopicRule& rule = rule_of(topic);
    feed::Lane::History history;
    if (rule.history != 0) history = {.records = rule.history, .bytes = rule.history_bytes};
    lane.keep_history(history);
}

void Lanes::sweep() noexcept {
    holding_.keep_if([this](std::uint32_t id) {
        const feed::Topic* topic = topics_.get(id);
        bool holds = false;
        for (const LaneKind kind : all_lanes) {
            feed::Lane* lane = topic == nullptr ? nullptr : topic->lane(kind);
            if (lane == nullptr) continue;
            lane->release_if_drained();
            if (keeps_state(*topic, kind)) age(*topic, *lane);
            holds = holds || lane->held_bytes() != 0;
        }
        if (!holds) ages_.erase(id);
        return holds;
    });
}

Tick Lanes::age_span(std::uint64_t age_max) noexcept {
    return std::max<Tick>(ticks_of(age_max), Ages::count);
}

// Notes that this was the lane's next record, unless there is a note of nearly that time.
Lanes::Ages& Lanes::mark(const feed::Topic& topic, const feed::Lane& lane, Tick at) noexcept {
    Ages& ages = ages_[topic.id()];
    if (ages.epoch != topic.epoch) ages = Ages{.epoch = topic.epoch};
    const auto apart =
        static_cast<std::int32_t>(age_span(rule_of(topic).history_age) / Ages::count);
    const bool due =
        ages.size == 0 || static_cast<std::int32_t>(at - ages.marks[ages.size - 1].at) >= apart;
    if (due) {
        RC_CHECK(ages.size < ages.marks.size());
        ages.marks[ages.size++] = {.at = at, .next = lane.next()};
    }
    return ages;
}

void Lanes::restore_age(const feed::Topic& topic, const feed::Lane& lane, Tick at) noexcept {
    const std::uint64_t age_max = rule_of(topic).history_age;
    if (age_max == 0) return;
    const Tick age = std::min(sessions_.now() - at, age_span(age_max));
    static_cast<void>(mark(topic, lane, sessions_.now() - age));
}

// What was the next record at a moment that lies so far back that all before it are too old.
void Lanes::age(const feed::Topic& topic, feed::Lane& lane) noexcept {
    const std::uint64_t age_max = rule_of(topic).history_age;
    if (age_max == 0) return;
    const Tick now = sessions_.now();
    const Tick span = age_span(age_max);
    Ages& ages = mark(topic, lane, now);
    std::uint32_t gone = 0;
    while (gone < ages.size && now - ages.marks[gone].at >= span) {
        gone++;
    }
    if (gone == 0) return;
    lane.forget_before(ages.marks[gone - 1].next);
    std::copy(ages.marks.begin() + gone, ages.marks.begin() + ages.size, ages.marks.begin());
    ages.size -= gone;
}

}  // namespace ringcast::node
