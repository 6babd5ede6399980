#include "node/hub.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/copy.h"
#include "base/hash.h"
#include "base/plant.h"
#include "node/backlog.h"
#include "node/outcome.h"
#include "node/replies.h"
#include "wire/frame.h"

namespace ringcast::node {

using feed::LaneKind;

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
         Counters& counters,
         const Access& access,
         const Storage* storage) noexcept
    : config_(config),
      shard_(shard),
      hash_seed_(hash_seed),
      reactor_(reactor),
      mesh_(mesh),
      sessions_(sessions),
      topics_(topics),
      counters_(counters),
      access_(access),
      lanes_(config, hash_seed, sessions, topics, pool, pump),
      home_(config,
            shard,
            hash_seed,
            reactor,
            mesh,
            sessions,
            topics,
            lanes_,
            feed::Log::record_size_max(pool),
            parser,
            counters,
            storage),
      acks_(config, shard, reactor, mesh, sessions, topics, home_, counters),
      patterns_(shard, hash_seed, reactor, mesh, sessions, home_) {}

std::uint64_t Hub::hash_of(std::string_view name) const noexcept {
    return hash_bytes(as_bytes(name), hash_seed_);
}

std::uint64_t Hub::request_key(std::uint32_t topic, LaneKind kind) noexcept {
    return std::uint64_t{topic} * 2 + index_of(kind);
}

// Its subscription to this lane of a topic, or no_link.
std::uint32_t Hub::link_of(Session& session, std::uint32_t topic, LaneKind kind) noexcept {
    for (std::uint32_t link = 0; link < session.subscriptions.size(); link++) {
        const Subscription& at = session.subscriptions[link];
        if (at.topic == topic && at.lane == kind) return link;
    }
    return no_link;
}

feed::Topic& Hub::topic_of(const Subscription& subscription) noexcept {
    feed::Topic* topic = topics_.get(subscription.topic);
    RC_CHECK(topic != nullptr);  // a subscription keeps its topic
    return *topic;
}

feed::Topic* Hub::find_or_create(std::string_view name, std::uint64_t hash) noexcept {
    if (home_.is_here(hash)) return home_.find_or_create(name, hash);
    feed::Topic* topic = topics_.find(name, hash);
    return topic != nullptr ? topic : &lanes_.create(name, hash);
}

feed::Lane* Hub::started(const feed::Topic& topic, LaneKind kind) noexcept {
    feed::Lane* lane = topic.lane(kind);
    if (lane == nullptr) return nullptr;
    // History comes in pieces: until the last one is here, the lane has no readers.
    const auto request = requests_.find(request_key(topic.id(), kind));
    return request == requests_.end() || request->second.live ? lane : nullptr;
}

bool Hub::is_full(io::ConnIndex conn) noexcept {
    const std::uint32_t patterns = patterns_.count_of(conn);
    return sessions_[conn].subscriptions.size() + patterns >= config_.topics_per_client_max;
}

Hub::Subscribing Hub::subscribe(io::ConnIndex conn,
                                std::string_view name,
                                LaneKind kind,
                                std::string_view id,
                                const Resume& resume) noexcept {
    Session& session = sessions_[conn];
    RC_CHECK(session.state == State::open);
    const std::uint64_t hash = hash_of(name);
    feed::Topic* topic = topics_.find(name, hash);
    if (topic != nullptr) {
        if (topic->appearing) appear(*topic);  // this client may be one of those who wait for it
        const std::uint32_t known = link_of(session, topic->id(), kind);
        if (known != no_link) return ask_again(conn, known, id, resume);
    }
    if (is_full(conn)) return Subscribing::too_many_of_client;
    const bool fresh = topic == nullptr;
    if (fresh) topic = find_or_create(name, hash);
    if (topic == nullptr) {
        tell(sessions_,
             reactor_,
             conn,
             {.verdict = Verdict::too_many_topics, .id = id, .topic = name});
        return Subscribing::asked;
    }

    const std::uint32_t link =
        session.subscriptions.add({.topic = topic->id(), .row = no_row, .lane = kind});
    if (topic->lane(kind) == nullptr && home_.is_here(hash)) home_.open_lane(*topic, kind);
    if (started(*topic, kind) != nullptr) {
        join(conn, link, *topic, kind, id, resume);
        const bool announced = topic->appearing || home_.readers_abroad(*topic) != 0;
        if (fresh && announced) pause_without_credit(conn);
    } else {
        ask_home(*topic,
                 kind,
                 {.conn = conn, .serial = session.serial, .id = std::string(id), .resume = resume});
        pause_without_credit(conn);
    }
    return Subscribing::asked;
}

// Gives subscription `link` its row, and tells the client where that is and what it missed.
void Hub::join(io::ConnIndex conn,
               std::uint32_t link,
               feed::Topic& topic,
               LaneKind kind,
               std::string_view id,
               const Resume& resume) noexcept {
    feed::Lane& lane = *topic.lane(kind);
    Subscription& at = sessions_[conn].subscriptions[link];
    RC_CHECK(at.row == no_row);
    const feed::Seq next = lane.next();
    const Begin begin = begin_of(topic, lane, resume);
    at.row = lane.subscribe(conn, link, begin.seq);
    set_pace(conn, topic, lane, at.row, resume.interval);
    // Who has a rate gets the latest of each key, which is not there in the packed form.
    const SharedDeflate& deflate = sessions_[conn].deflate;
    if (resume.interval == 0 && deflate.agreed &&
        deflate.server_window_bits >= Packer::lane_window_bits) {
        lanes_.read_packed(topic, kind, at.row);
    }
    const bool acks = resume.acks && kind == LaneKind::envelope && !lane.keyed();
    const std::uint32_t open = acks ? acks_.ask(conn, topic, at.row) : 0;
    if (lane.row(at.row).seq != next) sessions_.mark_ready(conn);  // behind the answer
    if (reader_hook_.joined != nullptr) {
        reader_hook_.joined(reader_hook_.context, conn, topic, resume);
    }
    if (kind != LaneKind::envelope) return;
    // A pattern resumes nothing, though what it brings may begin with what is there.
    const std::string_view pattern =
        at.brought ? patterns_.covering(conn, topic.name()).pattern : std::string_view();
    RC_CHECK(at.brought != pattern.empty());
    const bool recovered = begin.recovered && !at.brought;
    const bool from_there = begin.recovered || (at.brought && resume.wanted);
    counters_.recovered += recovered ? 1 : 0;
    reply(sessions_,
          conn,
          wire::Subscribed{.id = id,
                           .wall_ns = reactor_.wall_now(),
                           .topic = topic.name(),
                           .offset = from_there       ? resume.offset
                                     : begin.snapshot ? 0
                                                      : next - 1,
                           .epoch = topic.epoch,
                           .recovered = recovered,
                           .keyed = lane.keyed(),
                           .snapshot = begin.snapshot,
                           .head = next - 1,
                           .acks = acks,
                           .session = acks ? resume.session : std::string_view(),
                           .open = open,
                           .pattern = pattern});
    if (begin.reason != nullptr) tell_gap(conn, topic.name(), begin, next);
}

// What it missed on its way to record `next`.
void Hub::tell_gap(io::ConnIndex conn,
                   std::string_view topic,
                   const Begin& begin,
                   feed::Seq next) noexcept {
    counters_.gaps++;
    reply(sessions_,
          conn,
          wire::Gap{.wall_ns = reactor_.wall_now(),
                    .topic = topic,
                    .from = begin.from,
                    .to = next - 1,
                    .reason = begin.reason,
                    .next = next});
}

// With keys: no more than a batch in `interval`; 0: whatever comes.
void Hub::set_pace(io::ConnIndex conn,
                   const feed::Topic& topic,
                   feed::Lane& lane,
                   std::uint32_t row,
                   Tick interval) noexcept {
    if (!lane.keyed()) return;
    const std::uint64_t serial = sessions_[conn].serial;
    pacer_.remove(serial, topic.id());
    lane.hold(row, false);
    lane.set_latest_only(row, interval != 0);
    if (interval == 0) return;
    pacer_.add({.interval = interval, .conn = conn, .topic = topic.id(), .serial = serial},
               sessions_.now());
}

void Hub::ask_home(feed::Topic& topic, LaneKind kind, Waiter waiter) noexcept {
    const auto [request, fresh] = requests_.try_emplace(request_key(topic.id(), kind));
    request->second.waiters.push_back(std::move(waiter));
    if (fresh) tell_home(topic, kind, true);
}

// `from`, `chunk`: with which record history goes on, and how many pieces of it are here.
void Hub::tell_home(const feed::Topic& topic,
                    LaneKind kind,
                    bool wanted,
                    feed::Seq from,
                    std::uint64_t chunk) noexcept {
    RC_CHECK(!home_.is_here(topic.hash));
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::interest;
    mail->flag = wanted;
    mail->lane = static_cast<std::uint8_t>(kind);
    mail->from = shard_;
    mail->hash = topic.hash;
    mail->offset = from;
    mail->epoch = topic.epoch;
    mail->serial = chunk;
    mail->name = topic.name();
    mesh_.post(home_.of(topic.hash), std::move(mail));
}

Hub::Unsubscribing Hub::unsubscribe(io::ConnIndex conn,
                                    std::string_view name,
                                    LaneKind kind) noexcept {
    const feed::Topic* topic = topics_.find(name, hash_of(name));
    if (topic == nullptr) return Unsubscribing::not_subscribed;
    const std::uint32_t link = link_of(sessions_[conn], topic->id(), kind);
    if (link == no_link) return Unsubscribing::not_subscribed;
    if (!patterns_.covering(conn, name).pattern.empty()) return Unsubscribing::covered;
    leave(conn, link);
    return Unsubscribing::done;
}

void Hub::forget(io::ConnIndex conn) noexcept {
    Session* session = sessions_.find(conn);
    if (session == nullptr) return;
    patterns_.forget(conn);
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
        take_row(conn, link);
    } else {
        stop_waiting(topic, at.lane, session.serial);
    }
    session.subscriptions.remove(link);
    relink(session, link);
    settle(topic, at.lane);
}

// The subscription stands, but reads nothing any more.
void Hub::take_row(io::ConnIndex conn, std::uint32_t link) noexcept {
    Session& session = sessions_[conn];
    Subscription& at = session.subscriptions[link];
    feed::Topic& topic = topic_of(at);
    if (reader_hook_.left != nullptr) reader_hook_.left(reader_hook_.context, conn, topic);
    feed::Lane& lane = *topic.lane(at.lane);
    lane.unsubscribe(at.row);
    if (at.row < lane.size()) {
        const feed::Subscriber& moved = lane.row(at.row);
        if (!RC_PLANT(6)) sessions_[moved.reader].subscriptions[moved.link].row = at.row;
    }
    at.row = no_row;
    pacer_.remove(session.serial, at.topic);
}

// Gives a lane up that nobody reads, unless its answer is under way: then home is still to count
// us, or has just begun to.
void Hub::settle(feed::Topic& topic, LaneKind kind) noexcept {
    if (requests_.contains(request_key(topic.id(), kind))) return;
    const feed::Lane* lane = topic.lane(kind);
    if (lane != nullptr && lane->size() == 0) {
        give_up(topic, kind);
    } else if (lane == nullptr) {
        drop_if_unused(topic);
    }
}

// The request stands, but its answer is not for this client: it may ask again before that is here,
// under another id.
void Hub::stop_waiting(const feed::Topic& topic, LaneKind kind, std::uint64_t serial) noexcept {
    const auto found = requests_.find(request_key(topic.id(), kind));
    RC_CHECK(found != requests_.end());
    for (Waiter& waiter : found->second.waiters) {
        if (waiter.serial == serial) waiter.conn = io::no_conn;
    }
}

// The last reader of a lane left this shard.
void Hub::give_up(feed::Topic& topic, LaneKind kind) noexcept {
    if (kind == LaneKind::envelope) acks_.end(topic);
    if (home_.is_here(topic.hash)) {
        home_.close_lane(topic, kind);
        return;
    }
    RC_CHECK(topic.lane(kind)->size() == 0);
    topic.lanes[index_of(kind)].reset();
    tell_home(topic, kind, false);
    drop_if_unused(topic);
}

// Home keeps a topic for a while; any other shard forgets it with its readers.
void Hub::drop_if_unused(feed::Topic& topic) noexcept {
    if (home_.is_here(topic.hash)) return;
    for (const LaneKind kind : all_lanes) {
        if (topic.lane(kind) != nullptr) return;
        if (requests_.contains(request_key(topic.id(), kind))) return;
    }
    topics_.erase(topic);
}

void Hub::publish(io::ConnIndex from, const Publication& publication) noexcept {
    const std::uint64_t hash = hash_of(publication.topic);
    const std::uint64_t serial = from == io::no_conn ? 0 : sessions_[from].serial;
    if (from == io::no_conn && mesh_.out_of_credit(shard_)) return;
    Publication known = publication;
    if (publication.ack) {
        known.sender_key = {hash_of(publication.client), hash_of(publication.id)};
    }
    if (!home_.is_here(hash)) {
        post_publication(from, known, hash, serial);
        return;
    }
    const feed::Topic* topic =
        home_.publish(known, hash, {.conn = from, .serial = serial, .shard = shard_});
    if (topic == nullptr) return;
    if (home_.readers_abroad(*topic) != 0 || topic->appearing) pause_without_credit(from);
}

void Hub::post_publication(io::ConnIndex from,
                           const Publication& publication,
                           std::uint64_t hash,
                           std::uint64_t serial) noexcept {
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
    mail->ack = publication.ack;
    mail->report = publication.report;
    mail->client = publication.client;
    mail->sender_key = publication.sender_key;
    mail->offset = publication.payload.size();
    mail->bytes[0] = Parcel::make(publication.payload.size() + wire::payload_padding);
    copy_bytes(
        mail->bytes[0].bytes().data(), publication.payload.data(), publication.payload.size());
    mesh_.post(home_.of(hash), std::move(mail));
    pause_without_credit(from);
    if (publication.ack) await_outcome(sessions_, from);
}

void Hub::pause_without_credit(io::ConnIndex conn) noexcept {
    if (conn == io::no_conn || !mesh_.out_of_credit(shard_)) return;
    if ((sessions_[conn].pauses & pause::credit) == 0) counters_.publish_pauses++;
    sessions_.pause(conn, pause::credit);
}

void Hub::pace() noexcept {
    while (const Paced* paced = pacer_.next(sessions_.now())) {
        Session* session = sessions_.find(paced->conn, paced->serial);
        RC_CHECK(session != nullptr);  // whoever leaves is taken off
        for (std::uint32_t link = 0; link < session->subscriptions.size(); link++) {
            const Subscription& at = session->subscriptions[link];
            if (at.topic != paced->topic || at.lane != LaneKind::envelope) continue;
            feed::Lane& lane = *topic_of(at).lane(at.lane);
            lane.hold(at.row, false);
            if (lane.row(at.row).seq != lane.next()) sessions_.mark_ready(paced->conn);
        }
    }
}

void Hub::sweep() noexcept {
    lanes_.sweep();
    home_.sweep();
}

std::uint32_t Hub::receive(const Mail& mail) noexcept {
    switch (mail.kind) {
        case MailKind::publish:
            home_.on_publish(mail);
            return 1;
        case MailKind::record:
            on_record(mail);
            return 1;
        case MailKind::interest:
            home_.on_interest(mail);
            return 1;
        case MailKind::started:
            on_started(mail);
            return 1;
        case MailKind::watch:
            home_.on_watch(mail);
            return 1;
        case MailKind::watched:
            patterns_.on_watched(mail);
            return 1;
        case MailKind::list:
            return 1 + home_.on_list(mail) / 8;
        case MailKind::listed:
            return on_listed(mail);
        case MailKind::appeared:
            return on_appeared(mail);
        case MailKind::outcome:
            on_outcome(mail);
            return 1;
        case MailKind::missed:
            home_.on_missed(mail);
            return 1;
        case MailKind::park:
        case MailKind::resume:
        case MailKind::claim:
        case MailKind::release:
        case MailKind::evict:
        case MailKind::settling:
        case MailKind::settled:
        case MailKind::counters:
        case MailKind::question:
        case MailKind::answer:
        case MailKind::presence:
        case MailKind::presence_update:
        case MailKind::finished:
        case MailKind::policy:
        case MailKind::keys:
        case MailKind::seal_keys:
            break;
    }
    RC_CHECK(false);
    return 0;
}

void Hub::on_record(const Mail& mail) noexcept {
    feed::Topic* topic = topics_.find(mail.name, mail.hash);
    if (topic == nullptr) return;  // the last reader left while this was under way
    bool lost = false;
    for (const LaneKind kind : all_lanes) {
        const Parcel& parcel = mail.bytes[index_of(kind)];
        if (parcel.empty() || topic->lane(kind) == nullptr) continue;
        if (!topic->lane(kind)->keyed()) {
            lanes_.append(*topic, kind, parcel.bytes(), mail.offset);
            continue;
        }
        const bool taken = lanes_.append_keyed(*topic,
                                               {.seq = mail.offset,
                                                .key = as_bytes(mail.key),
                                                .bytes = parcel.bytes(),
                                                .tombstone = mail.tombstone});
        lost = lost || !taken;
    }
    if (lost) lose_lane(*topic, LaneKind::envelope);
}

// There is no memory on this shard for what home took: its readers have to try elsewhere, since
// what they would be told from now on is not the state of the topic. With the last of them the lane
// is given up, and so may be the topic.
void Hub::lose_lane(feed::Topic& topic, LaneKind kind) noexcept {
    const auto request = requests_.find(request_key(topic.id(), kind));
    for (std::uint32_t left = topic.lane(kind)->size(); left > 0; left--) {
        const feed::Subscriber reader = topic.lane(kind)->row(0);
        leave(reader.reader, reader.link);
        sessions_.close(reader.reader,
                        wire::close_code::try_again_later,
                        "there is no memory for the keys of a topic");
    }
    // The topic was made while a request was under way: its answer ends this, so nobody joins now.
    if (request == requests_.end()) return;
    RC_CHECK(request->second.live);
    request->second.live = false;
    request->second.lost = true;
    topic.lanes[index_of(kind)].reset();
}

// Home's answer: history, if it keeps any, and when all of that is here those who waited begin, or
// are told that they cannot.
void Hub::on_started(const Mail& mail) noexcept {
    const auto kind = static_cast<LaneKind>(mail.lane);
    feed::Topic* topic = topics_.find(mail.name, mail.hash);
    RC_CHECK(topic != nullptr);  // kept by the request
    const auto found = requests_.find(request_key(topic->id(), kind));
    RC_CHECK(found != requests_.end());
    Request& request = found->second;
    RC_CHECK(mail.flag || !request.live);
    auto verdict = Verdict::taken;
    if (!mail.flag) {
        topic->lanes[index_of(kind)].reset();  // home has forgotten what it began to send
        verdict = Verdict::too_many_topics;
    } else if (request.lost) {
        tell_home(*topic, kind, false);
        verdict = Verdict::no_memory;
    } else if (!request.live && !take_history(*topic, kind, mail)) {
        topic->lanes[index_of(kind)].reset();
        if (!mail.more) tell_home(*topic, kind, false);  // what it began to send is not wanted
        verdict = Verdict::no_memory;
    } else if (!request.live && mail.more) {
        tell_home(*topic, kind, true, topic->lane(kind)->next(), mail.serial);
        return;
    }
    const std::vector<Waiter> waiters = std::move(found->second.waiters);
    requests_.erase(found);
    end_waiting(*topic, kind, waiters, verdict);
    settle(*topic, kind);
}

// False: there is no memory for it.
bool Hub::take_history(feed::Topic& topic, LaneKind kind, const Mail& mail) noexcept {
    std::unique_ptr<feed::Lane>& lane = topic.lanes[index_of(kind)];
    const bool fits = lane != nullptr && topic.epoch == mail.epoch && lane->next() == mail.offset;
    if (!fits) {
        lane.reset();  // home went on faster than we were told, or forgot all of it meanwhile
        topic.epoch = mail.epoch;
        lanes_.open(topic, kind, mail.offset);
    }
    Bytes packed = mail.bytes[0].bytes();
    if (lane->keyed()) {
        while (!packed.empty()) {
            if (!lanes_.append_keyed(topic, unpack_keyed(packed))) return false;
        }
        lane->set_forgotten(mail.forgotten);
        return true;
    }
    feed::Seq offset = mail.offset;
    for (Bytes record = unpack(packed); !record.empty(); record = unpack(packed)) {
        lanes_.append(topic, kind, record, offset++);
    }
    return true;
}

void Hub::end_waiting(feed::Topic& topic,
                      LaneKind kind,
                      const std::vector<Waiter>& waiters,
                      Verdict verdict) noexcept {
    for (const Waiter& waiter : waiters) {
        if (waiter.conn == io::no_conn) continue;  // it left meanwhile
        Session* session = sessions_.find(waiter.conn, waiter.serial);
        if (session == nullptr) continue;
        const std::uint32_t link = link_of(*session, topic.id(), kind);
        if (link == no_link || session->subscriptions[link].row != no_row) continue;
        if (verdict == Verdict::taken) {
            join(waiter.conn, link, topic, kind, waiter.id, waiter.resume);
            continue;
        }
        const bool brought = session->subscriptions[link].brought;
        session->subscriptions.remove(link);
        relink(*session, link);
        // The topic is gone, so nothing is missed of it.
        if (brought && verdict == Verdict::too_many_topics) continue;
        tell(sessions_,
             reactor_,
             waiter.conn,
             {.verdict = verdict, .id = waiter.id, .topic = topic.name()});
    }
}

void Hub::on_outcome(const Mail& mail) noexcept {
    tell_later(sessions_,
               reactor_,
               mail.conn,
               mail.serial,
               {.verdict = static_cast<Verdict>(mail.lane),
                .awaited = mail.ack,
                .id = mail.id,
                .topic = mail.name,
                .offset = mail.offset,
                .epoch = mail.epoch,
                .clients = mail.hash});
}

}  // namespace ringcast::node
