// Topics that come by patterns: how they are brought, and how they go.

#include <algorithm>
#include <memory>
#include <string>

#include "base/check.h"
#include "feed/pattern.h"
#include "node/hub.h"
#include "node/replies.h"

namespace ringcast::node {

using feed::LaneKind;

Hub::Subscribing Hub::subscribe_pattern(io::ConnIndex conn,
                                        std::string_view pattern,
                                        std::string_view id,
                                        const Resume& resume) noexcept {
    RC_CHECK(sessions_[conn].role == Role::envelope);
    RC_CHECK(!resume.wanted);
    if (patterns_.has(conn, pattern)) return Subscribing::duplicate;
    if (is_full(conn)) return Subscribing::too_many_of_client;
    patterns_.add(conn, pattern, id, resume);
    pause_without_credit(conn);
    return Subscribing::asked;
}

bool Hub::unsubscribe_pattern(io::ConnIndex conn, std::string_view pattern) noexcept {
    if (!patterns_.remove(conn, pattern)) return false;
    // From behind: what moves to the place of a subscription that ends was looked at before.
    for (std::uint32_t link = sessions_[conn].subscriptions.size(); link-- > 0;) {
        const Subscription& at = sessions_[conn].subscriptions[link];
        if (!at.brought) continue;
        const std::string_view topic = topic_of(at).name();
        if (!feed::matches(pattern, topic)) continue;
        if (patterns_.covering(conn, topic).pattern.empty()) leave(conn, link);
    }
    pause_without_credit(conn);
    return true;
}

void Hub::renamed(io::ConnIndex conn, std::string_view former) noexcept {
    if (reader_hook_.renamed == nullptr) return;
    SubscriptionList& all = sessions_[conn].subscriptions;
    for (std::uint32_t link = 0; link < all.size(); link++) {
        if (all[link].row == no_row) continue;  // it joins under its new name
        reader_hook_.renamed(reader_hook_.context, conn, topic_of(all[link]), former);
    }
}

void Hub::look_again(io::ConnIndex conn) noexcept {
    const auto tell_end = [&](std::string_view topic) noexcept {
        tell_error(sessions_,
                   reactor_,
                   conn,
                   {.topic = topic,
                    .code = "forbidden",
                    .message = "this subscription has ended: the new token does not allow it"});
    };
    for (const std::string& pattern : patterns_.of(conn)) {
        if (access_.may_subscribe_to_all(sessions_[conn].identity.get(), pattern)) continue;
        const bool there = unsubscribe_pattern(conn, pattern);
        RC_CHECK(there);
        tell_end(pattern);
    }
    for (std::uint32_t link = sessions_[conn].subscriptions.size(); link-- > 0;) {
        const std::string name(topic_of(sessions_[conn].subscriptions[link]).name());
        if (may(conn, Deed::subscribe, name)) continue;
        leave(conn, link);
        tell_end(name);
    }
    pause_without_credit(conn);
}

void Hub::too_many(io::ConnIndex conn, std::string_view topic) noexcept {
    tell_error(sessions_,
               reactor_,
               conn,
               {.topic = topic,
                .code = "too_many_subscriptions",
                .message = "a pattern brings more than one client may have "
                           "(--topics-per-client-max)"});
}

// By name, what it has already. If a pattern brought it, it is the same subscription, but from now
// on one by name, and as it is asked for: where it can, from there on or with the latest of all
// keys; else it goes on.
Hub::Subscribing Hub::ask_again(io::ConnIndex conn,
                                std::uint32_t link,
                                std::string_view id,
                                const Resume& resume) noexcept {
    Session& session = sessions_[conn];
    Subscription& at = session.subscriptions[link];
    if (!at.brought) return Subscribing::duplicate;
    at.brought = false;
    feed::Topic& topic = topic_of(at);
    if (at.row == no_row) {
        for (Waiter& waiter : requests_[request_key(at.topic, at.lane)].waiters) {
            if (waiter.conn != conn || waiter.serial != session.serial) continue;
            waiter.id = id;
            waiter.resume = resume;
        }
        return Subscribing::asked;
    }
    const Begin begin = begin_of(topic, *topic.lane(at.lane), resume);
    if (begin.recovered || begin.snapshot) {
        acks_.keep(conn, at);
        take_row(conn, link);
        join(conn, link, topic, at.lane, id, resume);
    } else {
        go_on(conn, link, id, resume, begin);
    }
    return Subscribing::asked;
}

// Presence is told anew, since what the client says of itself may be another thing by name.
void Hub::go_on(io::ConnIndex conn,
                std::uint32_t link,
                std::string_view id,
                const Resume& resume,
                const Begin& begin) noexcept {
    const Subscription at = sessions_[conn].subscriptions[link];
    const feed::Topic& topic = topic_of(at);
    feed::Lane& lane = *topic.lane(at.lane);
    set_pace(conn, topic, lane, at.row, resume.interval);
    if (reader_hook_.left != nullptr) reader_hook_.left(reader_hook_.context, conn, topic);
    if (reader_hook_.joined != nullptr) {
        reader_hook_.joined(reader_hook_.context, conn, topic, resume);
    }
    const bool acks = resume.acks && !lane.keyed();
    if (!acks) lane.stop_acks(at.row);
    const std::uint32_t open = acks ? acks_.ask(conn, topic, at.row) : 0;
    const feed::Subscriber& row = lane.row(at.row);
    if (row.seq != lane.next()) sessions_.mark_ready(conn);
    // What is begun is ended in front of the answer.
    const feed::Seq next = row.sent == 0 ? row.seq : row.seq + 1;
    reply(sessions_,
          conn,
          wire::Subscribed{.id = id,
                           .wall_ns = reactor_.wall_now(),
                           .topic = topic.name(),
                           .offset = next - 1,
                           .epoch = topic.epoch,
                           .keyed = lane.keyed(),
                           .head = lane.next() - 1,
                           .acks = acks,
                           .session = acks ? resume.session : std::string_view(),
                           .open = open});
    if (begin.reason == nullptr) return;
    tell_gap(
        conn, topic.name(), {.reason = begin.reason, .from = std::min(begin.from, next)}, next);
}

// Subscribes everybody whose patterns cover a topic that was just made. From its first record on:
// home made this shard a reader before that. How many there were.
std::uint32_t Hub::appear(feed::Topic& topic) noexcept {
    RC_CHECK(started(topic, LaneKind::envelope) != nullptr);
    const std::vector<io::ConnIndex>& readers = patterns_.readers_of(topic.name());
    const bool keyed = topic.lane(LaneKind::envelope)->keyed();
    for (const io::ConnIndex conn : readers) {
        Session& session = sessions_[conn];
        if (session.state != State::open) continue;
        if (link_of(session, topic.id(), LaneKind::envelope) != no_link) continue;
        if (!may(conn, Deed::subscribe, topic.name())) continue;
        if (is_full(conn)) {
            too_many(conn, topic.name());
            continue;
        }
        const std::uint32_t link =
            session.subscriptions.add({.topic = topic.id(), .brought = true});
        Resume resume = *patterns_.covering(conn, topic.name()).resume;
        // With keys their latest records are what there is, from the first on.
        resume.wanted = !keyed || !resume.snapshot;
        resume.epoch = topic.epoch;
        join(conn, link, topic, LaneKind::envelope, {}, resume);
    }
    if (topic.appearing) {
        topic.appearing = false;
        lanes_.let_go(topic);
    }
    return 1 + static_cast<std::uint32_t>(readers.size());
}

// Home made a topic, and counts this shard as a reader of it. Whoever had asked for it by name
// begins with it, too, for home's answer to that comes behind its first records, perhaps.
std::uint32_t Hub::on_appeared(const Mail& mail) noexcept {
    feed::Topic* topic = topics_.find(mail.name, mail.hash);
    if (home_.is_here(mail.hash)) {
        if (topic == nullptr) return 1;
        const std::uint32_t work = topic->appearing ? appear(*topic) : 1;  // or done in passing
        settle(*topic, LaneKind::envelope);
        return work;
    }
    if (topic == nullptr) topic = &lanes_.create(mail.name, mail.hash);
    std::unique_ptr<feed::Lane>& lane = topic->lanes[index_of(LaneKind::envelope)];
    // At most history of a former topic of this name: home keeps a topic that somebody reads.
    RC_CHECK(lane == nullptr || lane->size() == 0);
    lane.reset();
    topic->epoch = mail.epoch;
    lanes_.open(*topic, LaneKind::envelope, mail.offset);
    const auto request = requests_.find(request_key(topic->id(), LaneKind::envelope));
    if (request != requests_.end()) {
        RC_CHECK(!request->second.live);
        request->second.live = true;
        const std::vector<Waiter> waiters = std::move(request->second.waiters);
        request->second.waiters.clear();
        end_waiting(*topic, LaneKind::envelope, waiters, Verdict::taken);
    }
    const std::uint32_t work = appear(*topic);
    settle(*topic, LaneKind::envelope);
    return work;
}

// Topics that were there before the pattern. The rest is asked for when these are in hand: so a
// client has few requests under way, however much there is.
std::uint32_t Hub::on_listed(const Mail& mail) noexcept {
    const Session* session = sessions_.find(mail.conn, mail.serial);
    if (session == nullptr || session->state != State::open) return 1;
    // Taken back meanwhile; and what is asked for again is listed again, by another wish.
    if (!patterns_.counts(mail.conn, mail.name, mail.epoch)) return 1;
    std::string_view names = as_text(mail.bytes[0].bytes());
    std::uint32_t work = 1;
    bool room = true;
    for (; room && !names.empty(); work++) {
        const std::string_view name = names.substr(0, names.find(name_end));
        names.remove_prefix(name.size() + 1);
        room = bring(mail.conn, name);
    }
    sessions_.recount(mail.conn);
    if (mail.more && room) patterns_.ask(mail.conn, mail.name, mail.epoch, mail.from, mail.offset);
    pause_without_credit(mail.conn);
    return work;
}

// False: the client has no room for it, and was told so.
bool Hub::bring(io::ConnIndex conn, std::string_view name) noexcept {
    Session& session = sessions_[conn];
    const std::uint64_t hash = hash_of(name);
    feed::Topic* topic = topics_.find(name, hash);
    if (topic != nullptr && topic->appearing) appear(*topic);
    if (topic != nullptr && link_of(session, topic->id(), LaneKind::envelope) != no_link) {
        return true;
    }
    if (topic == nullptr && home_.is_here(hash)) return true;  // it is gone again
    if (!may(conn, Deed::subscribe, name)) return true;        // it never hears of it
    if (is_full(conn)) {
        too_many(conn, name);
        return false;
    }
    if (topic == nullptr) topic = &lanes_.create(name, hash);
    const Resume& resume = *patterns_.covering(conn, name).resume;
    const std::uint32_t link = session.subscriptions.add({.topic = topic->id(), .brought = true});
    if (topic->lane(LaneKind::envelope) == nullptr && home_.is_here(hash)) {
        home_.open_lane(*topic, LaneKind::envelope);
    }
    if (started(*topic, LaneKind::envelope) != nullptr) {
        join(conn, link, *topic, LaneKind::envelope, {}, resume);
    } else {
        ask_home(*topic,
                 LaneKind::envelope,
                 {.conn = conn, .serial = session.serial, .id = {}, .resume = resume});
    }
    return true;
}

}  // namespace ringcast::node
