#include "node/pump.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/plant.h"
#include "node/close_codes.h"
#include "node/replies.h"

namespace ringcast::node {

namespace {

// In units of one small send (about 4 us): 2 to 2.5 ms of the kernel's time a turn, so that a turn
// with its reads and timers stays under 5 ms. One batch may go over it.
constexpr std::int64_t turn_budget = 512;
// Sends to sockets that no cache knows take five times as much and more, so time counts as well.
constexpr Nanos unit_time = 5'000;
constexpr std::int64_t walk_budget = 256;  // of one lane before the next one, if any, has its turn
// A MiB, which is what goes by page reference at once (io/page_sender.h), and a little more, so
// that 64 records of 16 KiB with their headers are one slice and not one with a crumb behind it.
constexpr std::size_t send_size_max = std::size_t{1024 + 64} * 1024;
constexpr std::size_t bytes_per_unit = std::size_t{32} * 1024;
constexpr std::size_t long_walk_min = std::size_t{8} * 1024 * 1024;  // some 2 ms of sends
constexpr std::uint64_t records_per_unit = 1024;                     // that are missed
constexpr std::uint32_t samples = 4;  // readers whose backlog is taken for everybody's

[[nodiscard]] std::int64_t cost_of(std::size_t size) noexcept {
    return 1 + static_cast<std::int64_t>(size / bytes_per_unit);
}

[[nodiscard]] feed::Lane& lane_of(feed::Topic& topic, feed::LaneKind kind) noexcept {
    feed::Lane* lane = topic.lane(kind);
    RC_CHECK(lane != nullptr);
    return *lane;
}

}  // namespace

Pump::Pump(const Config& config,
           io::Reactor& reactor,
           Sessions& sessions,
           feed::TopicTable& topics,
           Counters& counters) noexcept
    : reactor_(reactor),
      sessions_(sessions),
      topics_(topics),
      counters_(counters),
      policies_(config) {}

feed::Topic& Pump::topic_of(const Subscription& subscription) noexcept {
    feed::Topic* topic = topics_.get(subscription.topic);
    RC_CHECK(topic != nullptr);  // a subscription keeps its topic
    return *topic;
}

void Pump::mark(feed::Topic& topic, feed::LaneKind kind) noexcept {
    marked_++;
    feed::Lane& lane = lane_of(topic, kind);
    if (lane.walk.interval != 0) {
        mark_gathering(lane, {.topic = topic.id(), .kind = kind});
        return;
    }
    lane.walk.left = lane.size();
    if (lane.walk.queued) return;
    lane.walk.queued = true;
    lane.walk.fresh = true;
    walks_.push_back({.topic = topic.id(), .kind = kind});
}

// What comes behind a walk that has begun waits for the next one: else a lane in which there is
// always something to say would never gather.
void Pump::mark_gathering(feed::Lane& lane, const WalkEntry& entry) noexcept {
    const Nanos due = reactor_.now() + lane.walk.interval;
    if (!lane.walk.queued) {
        hold(lane, entry, due);
    } else if (!lane.walk.fresh && lane.walk.again_at == 0) {
        lane.walk.again_at = due;
    }
}

void Pump::hold(feed::Lane& lane, const WalkEntry& entry, Nanos due) noexcept {
    RC_CHECK(!lane.walk.queued);
    lane.walk.queued = true;
    lane.walk.fresh = true;
    lane.walk.left = lane.size();
    held_.push_back({.due = due, .walk = entry});
    std::push_heap(
        held_.begin(), held_.end(), [](const Held& a, const Held& b) { return a.due > b.due; });
}

void Pump::release_held() noexcept {
    while (!held_.empty() && held_.front().due <= reactor_.now()) {
        walks_.push_back(held_.front().walk);
        std::pop_heap(
            held_.begin(), held_.end(), [](const Held& a, const Held& b) { return a.due > b.due; });
        held_.pop_back();
    }
}

Nanos Pump::next_due() const noexcept {
    return held_.empty() || RC_PLANT(37) ? INT64_MAX : held_.front().due;
}

bool Pump::long_walk_ahead() noexcept {
    if (walks_.empty()) return false;
    feed::Topic* topic = topics_.get(walks_.front().topic);
    const feed::Lane* lane = topic == nullptr ? nullptr : topic->lane(walks_.front().kind);
    if (lane == nullptr || !lane->walk.fresh || lane->size() == 0) return false;
    // One that is slow, and so far behind, says nothing of the others: the least of a few counts.
    std::size_t least = SIZE_MAX;
    for (std::uint32_t i = 0; i < samples; i++) {
        const std::uint64_t row = (lane->walk.at + std::uint64_t{i} * lane->size() / samples);
        const auto at = static_cast<std::uint32_t>(row % lane->size());
        const std::uint8_t gate = sessions_.gate_of(lane->row(at).reader);
        if ((gate & gate::keeps_back) == 0) least = std::min(least, lane->peek(at).bytes.size());
    }
    return least != SIZE_MAX && least >= long_walk_min / lane->size();
}

bool Pump::idle() const noexcept {
    return walks_.empty() && visited_ == visiting_.size() && sessions_.ready().empty();
}

// Half a turn for either kind of work before one of them may use what the other left, and each is
// first in every other turn: so neither those who catch up nor the walks can starve the other, even
// where a single batch takes all the time.
void Pump::run() noexcept {
    release_held();
    budget_ = turn_budget;
    looked_ = began_ = reactor_.present();
    constexpr std::int64_t half = turn_budget / 2;
    walks_first_ = !walks_first_;
    if (walks_first_) {
        serve_walks(half);
        serve_ready(0);
    } else {
        serve_ready(walks_.empty() ? 0 : half);
    }
    serve_walks(0);
    serve_ready(0);
    flush();
}

void Pump::serve_walks(std::int64_t floor) noexcept {
    while (!spent(floor) && !walks_.empty()) {
        walk_front(floor);
    }
}

// Whether the budget is down to `floor`, once the pending batch has been answered: a socket that
// took less than it was offered gives back the rest.
bool Pump::spent(std::int64_t floor) noexcept {
    if (budget_ <= floor) flush();
    return budget_ <= floor;
}

// Visits sessions that may have something to send. Where the budget ends, the next turn goes on.
void Pump::serve_ready(std::int64_t floor) noexcept {
    while (!spent(floor)) {
        if (visited_ == visiting_.size()) {
            flush();  // whoever is in the batch may be ready again
            visiting_.clear();
            visited_ = 0;
            visiting_.swap(sessions_.ready());
            if (visiting_.empty()) return;
        }
        const io::ConnIndex conn = visiting_[visited_++];
        sessions_.gate_of(conn) &= static_cast<std::uint8_t>(~gate::ready);
        if (offer(conn)) sessions_.mark_ready(conn);  // until it has nothing more to offer
    }
}

// Puts at most one slice of this session into the batch. False: it has nothing to send now.
bool Pump::offer(io::ConnIndex conn) noexcept {
    Session* session = sessions_.find(conn);
    if (session == nullptr) return false;
    const std::uint8_t now = sessions_.gate_of(conn);
    if ((now & (gate::blocked | gate::in_batch)) != 0) return (now & gate::in_batch) != 0;
    if (session->state == State::draining) return false;

    if ((now & gate::torn) != 0) return offer_torn(conn, *session);
    if ((now & gate::outbox) != 0) {
        const Bytes pending = session->outbox.pending();
        add(conn, pending.first(std::min(pending.size(), send_size_max)), -1, Origin{});
        return true;
    }
    if (!session->body.empty()) {
        Origin origin;
        origin.body = true;
        add(conn, session->body.first(std::min(session->body.size(), send_size_max)), -1, origin);
        return true;
    }
    if (session->state == State::closing) {
        sessions_.flushed(conn);
        return false;
    }
    if (session->state != State::open) return false;
    if (offer_records(conn, *session)) return true;
    if ((now & gate::ends) != 0) sessions_.caught_up(conn);
    return false;
}

// Only the rest of the record that was begun: behind it other things may have to go first.
bool Pump::offer_torn(io::ConnIndex conn, Session& session) noexcept {
    const Subscription& at = session.subscriptions[session.torn];
    feed::Lane& lane = lane_of(topic_of(at), at.lane);
    feed::Slice slice = lane.peek(at.row);
    RC_CHECK(!slice.bytes.empty());
    const feed::Subscriber& reader = lane.row(at.row);
    slice.bytes = slice.bytes.first(lane.rest_of(at.row).size());
    slice.end = reader.seq + 1;
    add_record(conn, lane, at.row, slice);
    return true;
}

bool Pump::offer_records(io::ConnIndex conn, Session& session) noexcept {
    const std::uint32_t count = session.subscriptions.size();
    for (std::uint32_t i = 0; i < count; i++) {
        // Each time from another one, or a busy first topic would starve the others.
        const std::uint32_t link = (session.next_link + i) % count;
        const Subscription at = session.subscriptions[link];
        if (at.row == no_row) continue;
        feed::Topic& topic = topic_of(at);
        feed::Lane& lane = lane_of(topic, at.lane);
        if (lane.row(at.row).seq == lane.next()) continue;
        // Whoever ends gets the rest at once.
        if ((sessions_.gate_of(conn) & gate::ends) != 0) {
            lane.lift_limit(at.row);
        } else if (lane.row(at.row).held) {
            continue;
        }
        if (lane.lapped(at.row)) {
            session.next_link = static_cast<std::uint16_t>(link + 1);
            lapse(conn, topic, lane, at);
            return true;
        }
        const feed::Slice slice = lane.peek(at.row);
        if (slice.bytes.empty()) continue;  // it has to acknowledge something first
        session.next_link = static_cast<std::uint16_t>(link + 1);
        add_record(conn, lane, at.row, slice);
        return true;
    }
    return false;
}

// The reader fell off the tail. It is told what it missed and goes on at the head, or it is closed.
void Pump::lapse(io::ConnIndex conn,
                 feed::Topic& topic,
                 feed::Lane& lane,
                 const Subscription& at) noexcept {
    RC_CHECK(lane.row(at.row).sent == 0);
    budget_--;
    if (lane.keyed()) {
        restart(conn, topic, lane, at);
        return;
    }
    const bool told = at.lane == feed::LaneKind::envelope && policies_.of(topic) == SlowPolicy::gap;
    if (!told) {
        counters_.slow_closed++;
        sessions_.close(conn, close_codes::slow_consumer, "too slow: messages were missed");
        return;
    }
    const feed::Seq from = lane.row(at.row).seq;
    const feed::Seq next = lane.next();
    if (lane.acks() != nullptr) {  // each that it had to acknowledge is looked at
        budget_ -= static_cast<std::int64_t>((next - from) / records_per_unit);
    }
    lane.skip_to(at.row, next);
    counters_.gaps++;
    reply(sessions_,
          conn,
          wire::Gap{.wall_ns = reactor_.wall_now(),
                    .topic = topic.name(),
                    .from = RC_PLANT(5) ? from + 1 : from,
                    .to = next - 1,
                    .reason = "slow_consumer",
                    .next = next});
}

// It has not heard of the end of some keys, and those are forgotten: it begins with the latest of
// all keys anew, and has to forget what it knew.
void Pump::restart(io::ConnIndex conn,
                   const feed::Topic& topic,
                   feed::Lane& lane,
                   const Subscription& at) noexcept {
    lane.restart(at.row);
    counters_.gaps++;
    reply(sessions_,
          conn,
          wire::Subscribed{.wall_ns = reactor_.wall_now(),
                           .topic = topic.name(),
                           .offset = 0,
                           .epoch = topic.epoch,
                           .keyed = true,
                           .snapshot = true,
                           .head = lane.next() - 1});
}

void Pump::cut_short(io::ConnIndex conn) noexcept {
    Session& session = sessions_[conn];
    bool untold = false;
    for (std::uint32_t link = 0; session.state == State::open; link++) {
        if (link == session.subscriptions.size()) break;
        const Subscription at = session.subscriptions[link];
        if (at.row == no_row) continue;
        feed::Topic& topic = topic_of(at);
        const feed::Lane& lane = lane_of(topic, at.lane);
        const feed::Subscriber& reader = lane.row(at.row);
        const feed::Seq from = reader.seq + (reader.sent != 0 ? 1 : 0);  // what is begun is ended
        const feed::Seq next = lane.next();
        if (from == next) continue;
        untold = untold || at.lane == feed::LaneKind::raw;
        if (at.lane == feed::LaneKind::raw) continue;
        counters_.gaps++;
        reply(sessions_,
              conn,
              wire::Gap{.wall_ns = reactor_.wall_now(),
                        .topic = topic.name(),
                        .from = from,
                        .to = next - 1,
                        .reason = "restart",
                        .next = next});
    }
    if (untold) {
        sessions_.close(
            conn, close_codes::slow_consumer, "the server restarts: messages were missed");
    } else {
        sessions_.close_for_restart(conn);
    }
}

void Pump::walk_front(std::int64_t floor) noexcept {
    const WalkEntry entry = walks_.front();
    walks_.pop_front();
    feed::Topic* topic = topics_.get(entry.topic);
    feed::Lane* lane = topic == nullptr ? nullptr : topic->lane(entry.kind);
    if (lane == nullptr) return;  // its last reader left
    // Not always from the same reader on: in eight walks each is among the first eighth once.
    if (std::exchange(lane->walk.fresh, false) && lane->size() != 0) {
        lane->walk.at = (lane->walk.at + lane->size() / 8 * 5 + 1) % lane->size();
    }
    walk(*lane, floor);
    if (lane->walk.left == 0) {
        lane->walk.queued = false;
        const Nanos due = std::exchange(lane->walk.again_at, 0);
        if (due != 0) hold(*lane, entry, due);
        return;
    }
    walks_.push_back(entry);
}

void Pump::walk(feed::Lane& lane, std::int64_t floor) noexcept {
    const std::int64_t until = walks_.empty() ? floor : std::max(floor, budget_ - walk_budget);
    const feed::Seq next = lane.next();
    const std::uint32_t size = lane.size();
    lane.walk.left = std::min(lane.walk.left, size);
    std::uint8_t* gates = sessions_.gates();
    while (lane.walk.left > 0 && budget_ > until) {
        if (lane.walk.at >= size) lane.walk.at = 0;
        const std::uint32_t row = lane.walk.at++;
        lane.walk.left--;
        const feed::Subscriber& reader = lane.row(row);
        if (reader.seq == next || reader.held) continue;
        const std::uint8_t gate = gates[reader.reader];
        if ((gate & gate::keeps_back) != 0) {
            // Behind another slice of the same batch it must come again; all other gates open by
            // an event that makes the session ready.
            if ((gate & gate::in_batch) != 0) sessions_.mark_ready(reader.reader);
            continue;
        }
        if (lane.lapped(row)) {
            sessions_.mark_ready(reader.reader);
            continue;
        }
        const feed::Slice slice = lane.peek(row);
        if (slice.bytes.empty()) continue;  // it has to acknowledge something first
        add_record(reader.reader, lane, row, slice);
    }
    flush();
}

void Pump::add_record(io::ConnIndex conn,
                      feed::Lane& lane,
                      std::uint32_t row,
                      feed::Slice slice) noexcept {
    const Bytes bytes = slice.bytes.first(std::min(slice.bytes.size(), send_size_max));
    add(conn, bytes, slice.file_offset, Origin{.lane = &lane, .row = row, .slice = slice});
}

void Pump::add(io::ConnIndex conn,
               Bytes bytes,
               std::int64_t file_offset,
               const Origin& origin) noexcept {
    RC_CHECK(!bytes.empty());
    std::uint8_t& gate = sessions_.gate_of(conn);
    RC_CHECK((gate & (gate::in_batch | gate::blocked)) == 0);
    gate |= gate::in_batch;
    sends_[count_] = io::Send{.conn = conn, .bytes = bytes, .file_offset = file_offset};
    origins_[count_] = origin;
    count_++;
    budget_ -= cost_of(bytes.size());
    if (count_ == io::send_batch_max) flush();
}

void Pump::flush() noexcept {
    if (count_ == 0) return;
    reactor_.send(std::span(sends_.data(), count_));
    counters_.sends += count_;
    for (std::uint32_t i = 0; i < count_; i++) {
        settle(sends_[i], origins_[i]);
    }
    count_ = 0;
    for (const io::ConnIndex conn : failed_) {
        sessions_.abort(conn);
    }
    failed_.clear();
    // What one more batch like this would take counts already.
    const Nanos before = std::exchange(looked_, reactor_.present());
    const Nanos expected = (looked_ - began_) + (looked_ - before);
    budget_ = std::min(budget_, turn_budget - expected / unit_time);
}

void Pump::settle(const io::Send& send, const Origin& origin) noexcept {
    std::uint8_t& gate = sessions_.gate_of(send.conn);
    gate &= static_cast<std::uint8_t>(~gate::in_batch);
    if (send.result < 0) {
        failed_.push_back(send.conn);
        return;
    }
    const auto taken = static_cast<std::size_t>(send.result);
    RC_CHECK(taken <= send.bytes.size());
    budget_ += cost_of(send.bytes.size()) - cost_of(taken);
    counters_.sent_bytes += taken;
    if (origin.lane != nullptr) {
        settle_record(send, origin);
    } else {
        Session& session = sessions_[send.conn];
        if (origin.body) {
            session.body = session.body.subspan(taken);
        } else {
            session.outbox.consume(taken);
            if (session.outbox.empty()) {
                gate &= static_cast<std::uint8_t>(~gate::outbox);
                sessions_.resume(send.conn, pause::outbox);
            }
        }
    }
    if (taken < send.bytes.size() && !RC_PLANT(4)) {
        counters_.blocked++;
        sessions_.set_blocked(send.conn);
    }
}

void Pump::settle_record(const io::Send& send, const Origin& origin) noexcept {
    feed::Lane& lane = *origin.lane;
    const feed::Seq before = lane.row(origin.row).seq;
    const auto taken = RC_PLANT(3) ? send.bytes.size() : static_cast<std::size_t>(send.result);
    lane.advance(origin.row, origin.slice, taken, send.by_reference);
    const feed::Subscriber& after = lane.row(origin.row);
    counters_.delivered += after.seq - before;

    std::uint8_t& gate = sessions_.gate_of(send.conn);
    if (after.sent != 0) {
        gate |= gate::torn;
        sessions_[send.conn].torn = static_cast<std::uint16_t>(after.link);
    } else if ((gate & gate::torn) != 0) {
        gate &= static_cast<std::uint8_t>(~gate::torn);
        sessions_[send.conn].torn = no_link;
    }
    if (after.latest_only && after.seq == lane.next()) lane.hold(origin.row, true);
    // More to send at once: the slice was cut to size, or the log goes on in another segment. Or
    // this may have been the last that held up the end.
    const bool more = after.seq != lane.next();
    if (more || (gate & gate::ends) != 0) sessions_.mark_ready(send.conn);
}

}  // namespace ringcast::node
