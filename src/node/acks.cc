#include "node/acks.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "io/stint.h"
#include "node/mesh.h"
#include "wire/envelope_writer.h"

namespace ringcast::node {

using feed::AckWindow;
using feed::LaneKind;
using feed::Seq;

namespace {

constexpr Nanos look_time = nanos_per_ms / 4;               // of a turn
constexpr std::size_t again_max = std::size_t{256} * 1024;  // bytes to one client at a time
constexpr std::uint64_t scan_max = 4096;                    // records, when somebody begins
constexpr std::uint32_t looks_per_timeout = 4;
constexpr std::uint32_t searched_max = 256;  // records, for one with an id

}  // namespace

Acks::Acks(const Config& config,
           std::uint32_t shard,
           io::Reactor& reactor,
           Mesh& mesh,
           Sessions& sessions,
           feed::TopicTable& topics,
           Home& home,
           Counters& counters) noexcept
    : config_(config),
      shard_(shard),
      reactor_(reactor),
      mesh_(mesh),
      sessions_(sessions),
      topics_(topics),
      home_(home),
      counters_(counters),
      policy_{.timeout = std::max<Tick>(ticks_of(config.ack_timeout), 1),
              .timeout_max = std::max<Tick>(ticks_of(config.ack_timeout_max), 1),
              .rounds = static_cast<std::uint32_t>(config.ack_attempts)},
      period_(std::max<Tick>(policy_.timeout / looks_per_timeout, 1)) {}

std::uint32_t Acks::ask(io::ConnIndex conn, const feed::Topic& topic, std::uint32_t row) noexcept {
    feed::Lane& lane = *topic.lane(LaneKind::envelope);
    RC_CHECK(!lane.keyed());
    if (lane.acks() != nullptr && lane.acks()->asks(row)) return 0;
    std::vector<Seq> open = take_owed(conn, topic);
    const Seq from = lane.row(row).seq;
    // What comes anyway, with what is behind `from`.
    open.erase(std::lower_bound(open.begin(), open.end(), from), open.end());
    if (lane.acks() == nullptr) {
        lane.open_acks().set_known_from(lane.next());
        if (asked_.empty()) due_ = sessions_.now() + period_;
        const bool listed = std::find(asked_.begin(), asked_.end(), topic.id()) != asked_.end();
        if (!listed) asked_.push_back(topic.id());
    }
    find_demands(lane, open.empty() ? from : open.front());
    const std::size_t count = open.size();
    Owed missed{.topic = std::string(topic.name()), .epoch = topic.epoch, .open = {}};
    missed.open = lane.ask_acks(row, open, sessions_.now());
    miss(missed);
    return static_cast<std::uint32_t>(count - missed.open.size());
}

// What its session owes of the topic; of another epoch that is missed.
std::vector<Seq> Acks::take_owed(io::ConnIndex conn, const feed::Topic& topic) noexcept {
    std::vector<Seq> open;
    std::vector<Owed>* left = sessions_[conn].owed.get();
    if (left == nullptr) return open;
    for (std::size_t i = left->size(); i-- > 0;) {
        Owed& each = (*left)[i];
        if (each.topic != topic.name()) continue;
        if (each.epoch == topic.epoch) {
            open = std::move(each.open);
        } else {
            miss(each);
        }
        left->erase(left->begin() + static_cast<std::ptrdiff_t>(i));
    }
    return open;
}

// Demands that are in the log from before anybody asked, or that everybody had acknowledged.
void Acks::find_demands(feed::Lane& lane, Seq from) noexcept {
    AckWindow& window = *lane.acks();
    const Seq end = window.known_from();
    Seq seq = std::max(from, lane.log().first());
    if (seq >= end) return;
    seq = std::max(seq, end - std::min(end, scan_max));
    window.set_known_from(seq);
    std::vector<Seq> found;
    for (; seq < end; seq++) {
        if (wire::wants_ack(lane.log().rest_of(seq, 0))) found.push_back(seq);
    }
    window.demand_older(found, sessions_.now() + ticks_of(config_.ack_expiry));
}

feed::Lane* Acks::lane_of(const Subscription& at) noexcept {
    if (at.row == no_row || at.lane != LaneKind::envelope) return nullptr;
    feed::Topic* topic = topics_.get(at.topic);
    RC_CHECK(topic != nullptr);  // a subscription keeps its topic
    feed::Lane* lane = topic->lane(LaneKind::envelope);
    const bool asks = lane->acks() != nullptr && lane->acks()->asks(at.row);
    return asks ? lane : nullptr;
}

bool Acks::acknowledge(io::ConnIndex conn, const wire::Inbound& inbound) noexcept {
    Session& session = sessions_[conn];
    std::uint32_t left = searched_max;
    for (std::uint32_t link = 0; link < session.subscriptions.size() && left > 0; link++) {
        const Subscription at = session.subscriptions[link];
        if (lane_of(at) == nullptr) continue;
        if (!inbound.topic.empty() && topics_.get(at.topic)->name() != inbound.topic) continue;
        if (confirm(conn, at, inbound, left)) return true;
    }
    return false;
}

bool Acks::confirm(io::ConnIndex conn,
                   const Subscription& at,
                   const wire::Inbound& inbound,
                   std::uint32_t& left) noexcept {
    feed::Lane& lane = *lane_of(at);
    AckWindow& window = *lane.acks();
    const Seq sent = lane.row(at.row).seq;
    Seq seq = inbound.ack.offset;
    if (!inbound.ack.has_offset) {
        seq = UINT64_MAX;
        window.each_open(at.row, sent, [&](Seq open) noexcept {
            const bool here =
                lane.log().holds(open) && wire::has_id(lane.log().rest_of(open, 0), inbound.id);
            if (here) seq = open;
            left--;
            return !here && left > 0;
        });
    }
    const std::uint32_t count = window.confirm(at.row, seq, inbound.ack.all_before, sent);
    counters_.acks += count;
    // The window may have held it back.
    if (count != 0 && sent != lane.next()) sessions_.mark_ready(conn);
    return count != 0;
}

std::vector<Owed> Acks::owed(io::ConnIndex conn) noexcept {
    Session& session = sessions_[conn];
    std::vector<Owed> all;
    if (session.owed != nullptr) {  // of topics that it has not asked for again
        all = std::move(*session.owed);
        session.owed.reset();
    }
    for (std::uint32_t link = 0; link < session.subscriptions.size(); link++) {
        Owed owed = owed_by(session.subscriptions[link]);
        if (!owed.open.empty()) all.push_back(std::move(owed));
    }
    return all;
}

Owed Acks::owed_by(const Subscription& at) noexcept {
    const feed::Lane* lane = lane_of(at);
    if (lane == nullptr) return {};
    const feed::Topic& topic = *topics_.get(at.topic);
    Owed owed{.topic = std::string(topic.name()), .epoch = topic.epoch, .open = {}};
    // What was begun counts: the rest of it goes nowhere.
    const feed::Subscriber& row = lane->row(at.row);
    lane->acks()->each_open(at.row, row.seq + (row.sent != 0 ? 1 : 0), [&](Seq seq) noexcept {
        owed.open.push_back(seq);
        return owed.open.size() < AckWindow::span;  // it may have been let past its limit
    });
    return owed;
}

void Acks::keep(io::ConnIndex conn, const Subscription& at) noexcept {
    Owed owed = owed_by(at);
    if (owed.open.empty()) return;
    std::unique_ptr<std::vector<Owed>>& all = sessions_[conn].owed;
    if (all == nullptr) all = std::make_unique<std::vector<Owed>>();
    all->push_back(std::move(owed));
}

void Acks::miss(const Owed& owed) noexcept {
    if (owed.open.empty()) return;
    std::vector<Missed> all;
    for (const Seq seq : owed.open) {
        all.push_back({.offset = seq, .clients = 1});
    }
    tell_missed(owed.topic, owed.epoch, all);
}

void Acks::tell_missed(std::string_view topic,
                       std::uint64_t epoch,
                       std::span<const Missed> all) noexcept {
    if (all.empty()) return;
    const std::uint64_t hash = home_.hash_of(topic);
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::missed;
    mail->from = shard_;
    mail->hash = hash;
    mail->epoch = epoch;
    mail->name = topic;
    mail->missed.assign(all.begin(), all.end());
    for (const Missed& each : all) {
        counters_.acks_missed += each.clients;
    }
    mesh_.post(home_.of(hash), std::move(mail));
}

bool Acks::run() noexcept {
    if (asked_.empty()) {
        looking_ = false;
        held_ = 0;
        return false;
    }
    if (!looking_) {
        if (static_cast<std::int32_t>(sessions_.now() - due_) < 0) return false;
        due_ = sessions_.now() + period_;
        looking_ = true;
        next_ = 0;
        row_ = 0;
        counting_ = 0;
    }
    io::Stint stint(reactor_, look_time);
    while (next_ < asked_.size()) {
        feed::Topic* topic = topics_.get(asked_[next_]);
        feed::Lane* lane = topic == nullptr ? nullptr : topic->lane(LaneKind::envelope);
        if (lane == nullptr || lane->acks() == nullptr) {  // its last reader left
            forget_next();
            continue;
        }
        for (; row_ < lane->size(); row_++) {
            if (stint.over()) return true;
            const feed::Subscriber& at = lane->row(row_);
            if (lane->acks()->look(row_, at.seq, sessions_.now(), policy_) ==
                AckWindow::Due::again) {
                send_again(*lane, row_);
                if (stint.over(io::Stint::units_per_look)) {
                    row_++;
                    return true;
                }
            }
            // The window may have opened without an answer.
            const bool behind = at.limited && at.seq != lane->next();
            if (behind && lane->acks()->limit(row_) > at.seq) sessions_.mark_ready(at.reader);
        }
        if (settle(*topic, *lane)) return true;
        counting_ += lane->acks()->held_bytes();
        row_ = 0;
        if (lane->acks()->anyone_asks()) {
            next_++;
        } else {
            lane->close_acks();
            forget_next();
        }
    }
    looking_ = false;
    held_ = counting_;
    return false;
}

void Acks::send_again(feed::Lane& lane, std::uint32_t row) noexcept {
    const io::ConnIndex conn = lane.row(row).reader;
    if ((sessions_.gate_of(conn) & gate::keeps_back) != 0) return;  // it would not come sooner
    std::size_t size = 0;
    lane.acks()->each_late(row, [&](Seq seq) noexcept {
        if (!lane.log().holds(seq)) return true;  // settle() sees to it
        const Bytes record = lane.log().rest_of(seq, 0);
        if (size != 0 && size + record.size() > again_max) return false;
        size += record.size();
        counters_.sent_again++;
        sessions_.push_unlimited(conn, record);
        return true;
    });
    lane.acks()->sent_again(row, lane.row(row).seq, sessions_.now(), policy_);
}

void Acks::forget_next() noexcept {
    asked_[next_] = asked_.back();
    asked_.pop_back();
    row_ = 0;
}

// What nobody owes any more goes. True: there is more of that.
bool Acks::settle(const feed::Topic& topic, feed::Lane& lane) noexcept {
    std::vector<Missed> missed;
    const bool more = lane.acks()->settle(
        sessions_.now(), lane.log().first(), [&](const AckWindow::Demand& demand) {
            missed.push_back({.offset = demand.seq, .clients = demand.missed});
        });
    tell_missed(topic.name(), topic.epoch, missed);
    return more;
}

void Acks::end(const feed::Topic& topic) noexcept {
    feed::Lane* lane = topic.lane(LaneKind::envelope);
    if (lane == nullptr || lane->acks() == nullptr) return;
    RC_CHECK(!lane->acks()->anyone_asks());
    while (settle(topic, *lane)) {
    }
    lane->close_acks();
}

}  // namespace ringcast::node
