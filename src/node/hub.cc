#include "node/hub.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/copy.h"
#include "base/hash.h"
#include "base/plant.h"
#include "node/replies.h"
#include "wire/frame.h"

namespace ringcast::node {

using feed::LaneKind;

namespace {

// A topic that nobody needs is kept so long, for those who come back soon.
constexpr std::uint64_t forget_after = 60 * units::s;
// Topics that a sweep looks at for that: well under a millisecond.
constexpr std::uint32_t forget_visits = 16 * 1024;

constexpr std::array<LaneKind, 2> all_lanes{LaneKind::envelope, LaneKind::raw};

[[nodiscard]] std::size_t index_of(LaneKind kind) noexcept {
    return static_cast<std::size_t>(kind);
}

[[nodiscard]] std::uint64_t request_key(std::uint32_t topic, LaneKind kind) noexcept {
    return std::uint64_t{topic} * 2 + index_of(kind);
}

[[nodiscard]] std::uint64_t bit_of(std::uint32_t shard) noexcept {
    return std::uint64_t{1} << shard;
}

// The subscription for which home has not answered yet, or no_link.
[[nodiscard]] std::uint32_t waiting_link(Session& session,
                                         std::uint32_t topic,
                                         LaneKind kind) noexcept {
    for (std::uint32_t link = 0; link < session.subscriptions.size(); link++) {
        const Subscription& at = session.subscriptions[link];
        if (at.topic == topic && at.lane == kind && at.row == no_row) return link;
    }
    return no_link;
}

}  // namespace

Hub::Hub(const Config& config,
         std::uint32_t shard,
         std::uint64_t hash_seed,
         io::Reactor& reactor,
         Mesh& mesh,
         Sessions& sessions,
         feed::TopicTable& topics,
         feed::SegmentPool& pool,
         Pump& pump,
         wire::EnvelopeParser& parser,
         Counters& counters) noexcept
    : config_(config),
      shard_(shard),
      hash_seed_(hash_seed),
      record_size_max_(feed::Log::record_size_max(pool)),
      reactor_(reactor),
      mesh_(mesh),
      sessions_(sessions),
      topics_(topics),
      pool_(pool),
      pump_(pump),
      parser_(parser),
      counters_(counters) {
    RC_CHECK(shard < mesh.shard_count());
    RC_CHECK(mesh.shard_count() <= 64);  // Topic::interest is a bit per shard
}

std::uint64_t Hub::hash_of(std::string_view name) const noexcept {
    return hash_bytes(as_bytes(name), hash_seed_);
}

feed::Topic& Hub::topic_of(const Subscription& subscription) noexcept {
    feed::Topic* topic = topics_.get(subscription.topic);
    RC_CHECK(topic != nullptr);  // a subscription keeps its topic
    return *topic;
}

std::uint32_t Hub::home_of(std::uint64_t hash) const noexcept {
    // The high half: the low bits choose the slot in the home's own table.
    return static_cast<std::uint32_t>((hash >> 32) % mesh_.shard_count());
}

feed::Topic* Hub::find_or_create(std::string_view name, std::uint64_t hash) noexcept {
    feed::Topic* topic = topics_.find(name, hash);
    if (topic == nullptr) {
        const bool home = home_of(hash) == shard_;
        if (home && !mesh_.admit_topic(config_.topics_max)) return nullptr;
        topic = &topics_.create(name, hash);
        if (home) topic->epoch = reactor_.random() | 1;  // 0 is never an epoch
    }
    topic->used = sessions_.now();
    return topic;
}

Hub::Subscribing Hub::subscribe(io::ConnIndex conn,
                                std::string_view name,
                                LaneKind kind,
                                std::string_view id) noexcept {
    Session& session = sessions_[conn];
    RC_CHECK(session.state == State::open);
    const std::uint64_t hash = hash_of(name);
    feed::Topic* topic = topics_.find(name, hash);
    for (std::uint32_t link = 0; topic != nullptr && link < session.subscriptions.size(); link++) {
        const Subscription& at = session.subscriptions[link];
        if (at.topic == topic->id() && at.lane == kind) return Subscribing::duplicate;
    }
    if (session.subscriptions.size() >= config_.topics_per_client_max) {
        return Subscribing::too_many_of_client;
    }
    if (topic == nullptr) topic = find_or_create(name, hash);
    if (topic == nullptr) {
        tell_refusal(conn, id, name, Refusal::too_many_topics);
        return Subscribing::asked;
    }

    const std::uint32_t link =
        session.subscriptions.add({.topic = topic->id(), .row = no_row, .lane = kind});
    if (topic->lane(kind) == nullptr && home_of(hash) == shard_) {
        topic->interest[index_of(kind)] |= bit_of(shard_);
        open_lane(*topic, kind, topic->next);
    }
    if (topic->lane(kind) != nullptr) {
        join(conn, link, *topic, kind, id);
    } else {
        ask_home(*topic, kind, {.conn = conn, .serial = session.serial, .id = std::string(id)});
        pause_without_credit(conn);
    }
    return Subscribing::asked;
}

void Hub::open_lane(feed::Topic& topic, LaneKind kind, feed::Seq next) noexcept {
    RC_CHECK(topic.lane(kind) == nullptr);
    topic.lanes[index_of(kind)] =
        std::make_unique<feed::Lane>(pool_,
                                     next,
                                     config_.topic_log_max,
                                     feed::LaneSink{.save_tail = &Hub::save_tail, .context = this});
}

void Hub::save_tail(void* context, feed::Reader reader, Bytes rest) noexcept {
    if (RC_PLANT(8)) rest = rest.first(1);
    static_cast<Hub*>(context)->sessions_.push_tail(reader, rest);
}

// Gives subscription `link` its row, at the head, and tells the client where that is.
void Hub::join(io::ConnIndex conn,
               std::uint32_t link,
               feed::Topic& topic,
               LaneKind kind,
               std::string_view id) noexcept {
    feed::Lane& lane = *topic.lane(kind);
    Subscription& at = sessions_[conn].subscriptions[link];
    RC_CHECK(at.row == no_row);
    at.row = lane.subscribe(conn, link, lane.log().next());
    if (kind != LaneKind::envelope) return;
    reply(sessions_,
          conn,
          wire::Subscribed{.id = id,
                           .wall_ns = reactor_.wall_now(),
                           .topic = topic.name(),
                           .offset = lane.log().next() - 1,
                           .epoch = topic.epoch,
                           .recovered = false});
}

void Hub::ask_home(feed::Topic& topic, LaneKind kind, Waiter waiter) noexcept {
    std::vector<Waiter>& waiters = requests_[request_key(topic.id(), kind)];
    waiters.push_back(std::move(waiter));
    if (waiters.size() > 1) return;
    tell_home(topic, kind, true);
}

void Hub::tell_home(const feed::Topic& topic, LaneKind kind, bool wanted) noexcept {
    RC_CHECK(home_of(topic.hash) != shard_);
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::interest;
    mail->flag = wanted;
    mail->lane = static_cast<std::uint8_t>(kind);
    mail->from = shard_;
    mail->hash = topic.hash;
    mail->name = topic.name();
    mesh_.post(home_of(topic.hash), std::move(mail));
}

bool Hub::unsubscribe(io::ConnIndex conn, std::string_view name, LaneKind kind) noexcept {
    Session& session = sessions_[conn];
    const feed::Topic* topic = topics_.find(name, hash_of(name));
    if (topic == nullptr) return false;
    for (std::uint32_t link = 0; link < session.subscriptions.size(); link++) {
        const Subscription& at = session.subscriptions[link];
        if (at.topic != topic->id() || at.lane != kind) continue;
        leave(conn, link);
        return true;
    }
    return false;
}

void Hub::forget(io::ConnIndex conn) noexcept {
    Session* session = sessions_.find(conn);
    if (session == nullptr) return;
    while (session->subscriptions.size() > 0) {
        leave(conn, session->subscriptions.size() - 1);
    }
}

// After SubscriptionList::remove(link): the last subscription moved there, and its row must know.
void Hub::relink(Session& session, std::uint32_t link) noexcept {
    const std::uint32_t size = session.subscriptions.size();
    if (link == size) return;
    const Subscription& moved = session.subscriptions[link];
    if (moved.row != no_row && !RC_PLANT(7)) {
        topic_of(moved).lane(moved.lane)->relink(moved.row, link);
    }
    if (session.torn == size) session.torn = static_cast<std::uint16_t>(link);
}

// Takes one subscription away. A begun record is finished from the outbox (save_tail).
void Hub::leave(io::ConnIndex conn, std::uint32_t link) noexcept {
    Session& session = sessions_[conn];
    const Subscription at = session.subscriptions[link];
    feed::Topic& topic = topic_of(at);
    if (at.row != no_row) {
        feed::Lane& lane = *topic.lane(at.lane);
        lane.unsubscribe(at.row);
        if (at.row < lane.size()) {
            const feed::Subscriber& moved = lane.row(at.row);
            if (!RC_PLANT(6)) sessions_[moved.reader].subscriptions[moved.link].row = at.row;
        }
        if (lane.walk.queued) lane.walk.left = lane.size();  // rows changed places: look again
    } else {
        stop_waiting(topic, at.lane, session.serial);
    }
    session.subscriptions.remove(link);
    relink(session, link);
    const feed::Lane* lane = topic.lane(at.lane);
    if (lane != nullptr && lane->size() == 0) give_up(topic, at.lane);
}

// The request stands, but its answer is not for this client: it may ask again before that is here,
// under another id.
void Hub::stop_waiting(const feed::Topic& topic, LaneKind kind, std::uint64_t serial) noexcept {
    const auto found = requests_.find(request_key(topic.id(), kind));
    RC_CHECK(found != requests_.end());
    for (Waiter& waiter : found->second) {
        if (waiter.serial == serial) waiter.conn = io::no_conn;
    }
}

// The last reader of a lane left this shard.
void Hub::give_up(feed::Topic& topic, LaneKind kind) noexcept {
    RC_CHECK(topic.lane(kind)->size() == 0);
    topic.lanes[index_of(kind)].reset();
    if (home_of(topic.hash) == shard_) {
        topic.interest[index_of(kind)] &= ~bit_of(shard_);
        topic.used = sessions_.now();
        return;
    }
    tell_home(topic, kind, false);
    drop_if_unused(topic);
}

// Home keeps a topic for a while (forget_some); any other shard forgets it with its readers.
void Hub::drop_if_unused(feed::Topic& topic) noexcept {
    if (home_of(topic.hash) == shard_) return;
    for (const LaneKind kind : all_lanes) {
        if (topic.lane(kind) != nullptr) return;
        if (requests_.contains(request_key(topic.id(), kind))) return;
    }
    topics_.erase(topic);
}

void Hub::publish(io::ConnIndex from, const Publication& publication) noexcept {
    const std::uint64_t hash = hash_of(publication.topic);
    const std::uint32_t home = home_of(hash);
    const std::uint64_t serial = from == io::no_conn ? 0 : sessions_[from].serial;
    if (from == io::no_conn && mesh_.out_of_credit(shard_)) return;
    if (home == shard_) {
        const feed::Topic* topic =
            take_in(publication, hash, {.conn = from, .serial = serial, .shard = shard_});
        if (topic != nullptr && readers_abroad(*topic) != 0) pause_without_credit(from);
        return;
    }
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::publish;
    mail->from = shard_;
    mail->conn = from;
    mail->serial = serial;
    mail->hash = hash;
    mail->name = publication.topic;
    mail->id = publication.id;
    mail->key = publication.key;
    mail->json = publication.json;
    mail->flag = publication.text;
    mail->offset = publication.payload.size();
    mail->bytes[0] = Parcel::make(publication.payload.size() + wire::payload_padding);
    copy_bytes(
        mail->bytes[0].bytes().data(), publication.payload.data(), publication.payload.size());
    mesh_.post(home, std::move(mail));
    pause_without_credit(from);
}

void Hub::pause_without_credit(io::ConnIndex conn) noexcept {
    if (conn == io::no_conn || !mesh_.out_of_credit(shard_)) return;
    if ((sessions_[conn].pauses & pause::credit) == 0) counters_.publish_pauses++;
    sessions_.pause(conn, pause::credit);
}

std::uint64_t Hub::readers_abroad(const feed::Topic& topic) const noexcept {
    return (topic.interest[0] | topic.interest[1]) & ~bit_of(shard_);
}

// Home: the topic that took the publication, or null: its sender is told why.
feed::Topic* Hub::take_in(const Publication& publication,
                          std::uint64_t hash,
                          const Sender& sender) noexcept {
    feed::Topic* topic = find_or_create(publication.topic, hash);
    if (topic == nullptr) {
        refuse(sender, publication, Refusal::too_many_topics);
        return nullptr;
    }
    if (!sequence(*topic, publication)) {
        refuse(sender, publication, Refusal::too_large);
        return nullptr;
    }
    return topic;
}

// Home: gives the record its number and sends it wherever it is read. False: it is too large.
bool Hub::sequence(feed::Topic& topic, const Publication& publication) noexcept {
    RC_CHECK(home_of(topic.hash) == shard_);
    auto form = wire::PayloadForm::json;
    if (!publication.json && topic.interest[index_of(LaneKind::envelope)] != 0) {
        form = parser_.payload_form(publication.payload, publication.text);
    }
    const Record record{.publication = publication,
                        .form = form,
                        .offset = topic.next,
                        .wall_ns = reactor_.wall_now()};
    std::array<std::size_t, 2> sizes{};
    for (const LaneKind kind : all_lanes) {
        if (topic.interest[index_of(kind)] == 0) continue;
        sizes[index_of(kind)] = encoded_size(record, kind);
        if (sizes[index_of(kind)] > record_size_max_) return false;
    }
    topic.next++;
    counters_.published++;

    std::array<Parcel, 2> parcels;
    for (const LaneKind kind : all_lanes) {
        const std::uint64_t interest = topic.interest[index_of(kind)];
        const std::size_t size = sizes[index_of(kind)];
        if (interest == 0) continue;
        if (interest == bit_of(shard_)) {
            // Nobody else reads it: encoded straight into the log.
            encode(record, kind, topic.lane(kind)->reserve(size));
            append(topic, kind, {}, record.offset);
            continue;
        }
        Parcel& parcel = parcels[index_of(kind)];
        parcel = Parcel::make(size);
        encode(record, kind, parcel.bytes());
        if ((interest & bit_of(shard_)) != 0) append(topic, kind, parcel.bytes(), record.offset);
    }
    post_records(topic, record.offset, parcels);
    return true;
}

void Hub::post_records(const feed::Topic& topic,
                       feed::Seq offset,
                       const std::array<Parcel, 2>& parcels) noexcept {
    std::uint64_t abroad = readers_abroad(topic);
    for (std::uint32_t shard = 0; abroad != 0; shard++, abroad >>= 1) {
        if ((abroad & 1) == 0) continue;
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::record;
        mail->from = shard_;
        mail->hash = topic.hash;
        mail->offset = offset;
        mail->name = topic.name();
        for (const LaneKind kind : all_lanes) {
            const std::size_t lane = index_of(kind);
            if ((topic.interest[lane] & bit_of(shard)) == 0) continue;
            if (RC_PLANT(17) && kind == LaneKind::raw) continue;
            mail->bytes[lane] = parcels[lane].share();
        }
        mesh_.post(shard, std::move(mail));
    }
}

// Adds a record to the lane of this shard; an empty one was encoded in place already.
void Hub::append(feed::Topic& topic, LaneKind kind, Bytes record, feed::Seq offset) noexcept {
    feed::Lane& lane = *topic.lane(kind);
    if (!record.empty()) {
        const MutBytes room = lane.reserve(record.size());
        copy_bytes(room.data(), record.data(), record.size());
    }
    const feed::Seq seq = lane.commit();
    RC_CHECK(seq == offset);  // one order everywhere, and no hole in it
    pump_.mark(topic, kind);
    holding_.add(topic.id());
}

void Hub::sweep() noexcept {
    sweep_logs();
    forget_some();
}

void Hub::sweep_logs() noexcept {
    holding_.keep_if([this](std::uint32_t id) {
        const feed::Topic* topic = topics_.get(id);
        bool holds = false;
        for (const LaneKind kind : all_lanes) {
            feed::Lane* lane = topic == nullptr ? nullptr : topic->lane(kind);
            if (lane == nullptr) continue;
            lane->release_if_drained();
            holds = holds || lane->log().held_bytes() != 0;
        }
        return holds;
    });
}

// A part of the table each time, in turns.
void Hub::forget_some() noexcept {
    const std::uint32_t end = topics_.id_end();
    const Tick now = sessions_.now();
    for (std::uint32_t visits = std::min(forget_visits, end); visits > 0; visits--) {
        if (forget_next_ >= end) forget_next_ = 0;
        feed::Topic* topic = topics_.get(forget_next_++);
        if (topic == nullptr || home_of(topic->hash) != shard_) continue;
        if ((topic->interest[0] | topic->interest[1]) != 0) continue;
        if (now - topic->used < ticks_of(forget_after)) continue;
        topics_.erase(*topic);
        mesh_.leave_topic();
    }
}

void Hub::receive(const Mail& mail) noexcept {
    switch (mail.kind) {
        case MailKind::publish:
            on_publish(mail);
            return;
        case MailKind::record:
            on_record(mail);
            return;
        case MailKind::interest:
            on_interest(mail);
            return;
        case MailKind::started:
            on_started(mail);
            return;
        case MailKind::refused:
            on_refused(mail);
            return;
        case MailKind::claim:
        case MailKind::release:
        case MailKind::evict:
        case MailKind::settling:
        case MailKind::settled:
        case MailKind::counters:
        case MailKind::finished:
            break;
    }
    RC_CHECK(false);
}

void Hub::on_publish(const Mail& mail) noexcept {
    const Publication publication{.topic = mail.name,
                                  .id = mail.id,
                                  .key = mail.key,
                                  .payload = Bytes(mail.bytes[0].bytes()).first(mail.offset),
                                  .json = mail.json,
                                  .text = mail.flag};
    static_cast<void>(take_in(
        publication, mail.hash, {.conn = mail.conn, .serial = mail.serial, .shard = mail.from}));
}

void Hub::on_record(const Mail& mail) noexcept {
    feed::Topic* topic = topics_.find(mail.name, mail.hash);
    if (topic == nullptr) return;  // the last reader left while this was under way
    for (const LaneKind kind : all_lanes) {
        const Parcel& parcel = mail.bytes[index_of(kind)];
        if (parcel.empty() || topic->lane(kind) == nullptr) continue;
        append(*topic, kind, parcel.bytes(), mail.offset);
    }
}

void Hub::on_interest(const Mail& mail) noexcept {
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
    if (topic != nullptr) {
        topic->interest[index_of(kind)] |= bit_of(mail.from);
        answer->flag = true;
        answer->offset = RC_PLANT(16) ? topic->next + 1 : topic->next;
        answer->epoch = topic->epoch;
    }
    mesh_.post(mail.from, std::move(answer));
}

// Home's answer: those who waited begin with the next record, or are told that they cannot.
void Hub::on_started(const Mail& mail) noexcept {
    const auto kind = static_cast<LaneKind>(mail.lane);
    feed::Topic* topic = topics_.find(mail.name, mail.hash);
    RC_CHECK(topic != nullptr);  // kept by the request
    const auto found = requests_.find(request_key(topic->id(), kind));
    RC_CHECK(found != requests_.end());
    const std::vector<Waiter> waiters = std::move(found->second);
    requests_.erase(found);

    if (mail.flag) {
        topic->epoch = mail.epoch;
        open_lane(*topic, kind, mail.offset);
    }
    for (const Waiter& waiter : waiters) {
        if (waiter.conn == io::no_conn) continue;  // it left meanwhile
        Session* session = sessions_.find(waiter.conn, waiter.serial);
        if (session == nullptr) continue;
        const std::uint32_t link = waiting_link(*session, topic->id(), kind);
        if (link == no_link) continue;
        if (mail.flag) {
            join(waiter.conn, link, *topic, kind, waiter.id);
        } else {
            session->subscriptions.remove(link);
            relink(*session, link);
            tell_refusal(waiter.conn, waiter.id, mail.name, Refusal::too_many_topics);
        }
    }
    if (mail.flag && topic->lane(kind)->size() == 0) {
        give_up(*topic, kind);
    } else {
        drop_if_unused(*topic);
    }
}

void Hub::on_refused(const Mail& mail) noexcept {
    if (sessions_.find(mail.conn, mail.serial) == nullptr) return;
    tell_refusal(mail.conn, mail.id, mail.name, static_cast<Refusal>(mail.offset));
}

void Hub::refuse(const Sender& sender, const Publication& publication, Refusal refusal) noexcept {
    if (sender.conn == io::no_conn) return;  // the server's own feed goes on with the next sample
    if (sender.shard == shard_) {
        tell_refusal(sender.conn, publication.id, publication.topic, refusal);
        return;
    }
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::refused;
    mail->from = shard_;
    mail->conn = sender.conn;
    mail->serial = sender.serial;
    mail->id = publication.id;
    mail->name = publication.topic;
    mail->offset = static_cast<std::uint64_t>(refusal);
    mesh_.post(sender.shard, std::move(mail));
}

// The same words and code wherever home is. A raw client cannot be told which of its messages it
// was, so it is closed.
void Hub::tell_refusal(io::ConnIndex conn,
                       std::string_view id,
                       std::string_view topic,
                       Refusal refusal) noexcept {
    const bool full = refusal == Refusal::too_many_topics;
    const std::string_view message =
        full ? "the server holds as many topics as it may (--topics-max)"
             : "the message does not fit into the log (--log-memory)";
    if (sessions_[conn].role != Role::envelope) {
        const std::uint16_t code =
            full ? wire::close_code::try_again_later : wire::close_code::too_big;
        sessions_.close(conn, code, message);
        return;
    }
    tell_error(sessions_,
               reactor_,
               conn,
               {.id = id,
                .topic = topic,
                .code = full ? "too_many_topics" : "too_large",
                .message = message});
}

}  // namespace ringcast::node
