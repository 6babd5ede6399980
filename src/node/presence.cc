#include "node/presence.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/copy.h"
#include "base/plant.h"
#include "io/stint.h"
#include "node/replies.h"
#include "node/topic_rules.h"

namespace ringcast::node {

namespace {

constexpr std::size_t answer_clients_max = 1000;
constexpr std::size_t answer_size_max = std::size_t{256} * 1024;
constexpr std::size_t update_size_max = std::size_t{64} * 1024;
constexpr std::size_t room_bytes = 256;
constexpr std::size_t watcher_bytes = 64;
// A little less than the second of tick(), which may come a tick early or late.
constexpr std::uint64_t update_interval = 950 * units::ms;
constexpr Nanos run_time = nanos_per_ms / 4;

// What an event is written as, in front of the client's name and info.
struct EventHead {
    std::uint8_t event = 0;
    std::uint8_t client_size = 0;
    std::uint16_t info_size = 0;
};

// Between the two parts of a renaming's info: the new name, and the info of its token.
constexpr char rename_separator = '\n';
constexpr std::size_t event_info_max = scoped_name_size_max + 1 + wire::info_size_max;

// More than an entry takes in an answer or an update: names may be all quotation marks.
[[nodiscard]] std::size_t entry_size(std::string_view client, std::string_view info) noexcept {
    return 2 * client.size() + info.size() + 64;
}

[[nodiscard]] std::uint64_t seconds(std::int64_t wall_ns) noexcept {
    return wall_ns < 0 ? 0 : static_cast<std::uint64_t>(wall_ns / nanos_per_s);
}

[[nodiscard]] Parcel copy_of(std::string_view bytes) noexcept {
    Parcel parcel = Parcel::make(bytes.size());
    copy_bytes(parcel.bytes().data(), as_bytes(bytes).data(), bytes.size());
    return parcel;
}

// Of a scoped name.
[[nodiscard]] std::string_view id_of(std::string_view client) noexcept {
    return client.substr(client.find(name_separator) + 1);
}

[[nodiscard]] wire::Present present(std::string_view client,
                                    const Attendance::Entry& entry) noexcept {
    const std::string_view id = id_of(client);
    const std::string_view user = id.size() == client.size()
                                      ? std::string_view()
                                      : client.substr(0, client.find(name_separator));
    return {.client_id = id, .user = user, .since_s = entry.since_s, .info = entry.info};
}

}  // namespace

Presence::Presence(const Config& config,
                   std::uint32_t shard,
                   io::Reactor& reactor,
                   Mesh& mesh,
                   Sessions& sessions,
                   feed::TopicTable& topics,
                   Hub& hub,
                   Door& door) noexcept
    : config_(config),
      shard_(shard),
      reactor_(reactor),
      mesh_(mesh),
      sessions_(sessions),
      topics_(topics),
      hub_(hub),
      door_(door) {
    hub.set_reader_hook({.joined = &Presence::on_joined,
                         .left = &Presence::on_left,
                         .renamed = &Presence::on_renamed,
                         .context = this});
}

bool Presence::listed(std::string_view topic, std::uint64_t hash) noexcept {
    const feed::Topic* known = topics_.find(topic, hash);
    const std::uint16_t rule = known != nullptr ? known->rule : rule_number(config_, topic);
    return numbered_rule(config_, rule).presence;
}

std::uint64_t Presence::subscriptions_here(std::string_view topic, std::uint64_t hash) noexcept {
    const feed::Topic* known = topics_.find(topic, hash);
    std::uint64_t count = 0;
    for (const feed::LaneKind kind : all_lanes) {
        const feed::Lane* lane = known == nullptr ? nullptr : known->lane(kind);
        if (lane != nullptr) count += lane->size();
    }
    return count;
}

void Presence::on_joined(void* context,
                         io::ConnIndex conn,
                         const feed::Topic& topic,
                         const Resume& resume) noexcept {
    Presence& self = *static_cast<Presence*>(context);
    if (!numbered_rule(self.config_, topic.rule).presence) return;
    if (resume.presence && self.hub_.may(conn, Deed::presence, topic.name())) {
        Watchers& watchers = self.watchers_[std::string(topic.name())];
        if (watchers.empty()) self.tell_home(topic, Event::watch);
        const bool fresh = watchers.insert(conn).second;
        RC_CHECK(fresh);
        self.watchers_count_++;
    }
    const Identity* identity = self.sessions_[conn].identity.get();
    const bool told = identity != nullptr && !identity->claims.info.empty();
    self.tell_home(
        topic, Event::join, self.door_.name_of(conn), told ? identity->claims.info : resume.info);
    self.hub_.pause_without_credit(conn);
}

void Presence::on_left(void* context, io::ConnIndex conn, const feed::Topic& topic) noexcept {
    Presence& self = *static_cast<Presence*>(context);
    if (!numbered_rule(self.config_, topic.rule).presence) return;
    if (!RC_PLANT(33)) self.tell_home(topic, Event::leave, self.door_.name_of(conn));
    const auto found = self.watchers_.find(std::string(topic.name()));
    if (found == self.watchers_.end() || found->second.erase(conn) == 0) return;
    self.watchers_count_--;
    if (!found->second.empty()) return;
    self.watchers_.erase(found);
    self.tell_home(topic, Event::unwatch);
}

void Presence::on_renamed(void* context,
                          io::ConnIndex conn,
                          const feed::Topic& topic,
                          std::string_view former) noexcept {
    Presence& self = *static_cast<Presence*>(context);
    if (!numbered_rule(self.config_, topic.rule).presence) return;
    const Identity* identity = self.sessions_[conn].identity.get();
    std::string now = self.door_.name_of(conn) + rename_separator;
    if (identity != nullptr) now += identity->claims.info;
    self.tell_home(topic, Event::rename, former, now);
    self.hub_.pause_without_credit(conn);
}

void Presence::tell_home(const feed::Topic& topic,
                         Event event,
                         std::string_view client,
                         std::string_view info) noexcept {
    static_assert(scoped_name_size_max <= UINT8_MAX, "EventHead");
    RC_CHECK(client.size() <= scoped_name_size_max);
    RC_CHECK(info.size() <= (event == Event::rename ? event_info_max : wire::info_size_max));
    if (hub_.home_of(topic.hash) == shard_) {
        happen(room_of(topic.name()), shard_, event, client, info);
        return;
    }
    Batch& batch = batches_[std::string(topic.name())];
    batch.hash = topic.hash;
    const EventHead head{.event = static_cast<std::uint8_t>(event),
                         .client_size = static_cast<std::uint8_t>(client.size()),
                         .info_size = static_cast<std::uint16_t>(info.size())};
    batch.events.append(reinterpret_cast<const char*>(&head), sizeof(head));
    batch.events.append(client);
    batch.events.append(info);
}

void Presence::flush(std::string_view topic) noexcept {
    const auto found = batches_.find(std::string(topic));
    if (found == batches_.end()) return;
    post(found->first, found->second);
    batches_.erase(found);
}

void Presence::post(const std::string& topic, Batch& batch) noexcept {
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::presence;
    mail->from = shard_;
    mail->hash = batch.hash;
    mail->name = topic;
    mail->bytes[0] = copy_of(batch.events);
    mesh_.post(hub_.home_of(batch.hash), std::move(mail));
}

void Presence::receive(const Mail& mail) noexcept {
    if (mail.kind == MailKind::presence) {
        on_events(mail);
    } else {
        RC_CHECK(mail.kind == MailKind::presence_update);
        take_update(mail.name, mail.bytes[0].share(), mail.bytes[1].share());
    }
}

void Presence::on_events(const Mail& mail) noexcept {
    RC_CHECK(hub_.home_of(mail.hash) == shard_);
    std::string_view events = as_text(mail.bytes[0].bytes());
    while (!events.empty()) {
        EventHead head;
        RC_CHECK(events.size() >= sizeof(head));
        std::memcpy(&head, events.data(), sizeof(head));
        events.remove_prefix(sizeof(head));
        const std::string_view client = events.substr(0, head.client_size);
        events.remove_prefix(head.client_size);
        const std::string_view info = events.substr(0, head.info_size);
        events.remove_prefix(head.info_size);
        happen(room_of(mail.name), mail.from, static_cast<Event>(head.event), client, info);
    }
}

Presence::Room& Presence::room_of(std::string_view topic) noexcept {
    const std::string name(topic);
    const auto found = rooms_.find(name);
    if (found != rooms_.end()) return found->second;
    const TopicRule& rule = numbered_rule(config_, rule_number(config_, topic));
    RC_CHECK(rule.presence);
    const auto made = rooms_.try_emplace(name, rule.presence_max).first;
    made->second.name = made->first;
    held_ += room_bytes + name.size();
    return made->second;
}

// At home.
void Presence::happen(Room& room,
                      std::uint32_t shard,
                      Event event,
                      std::string_view client,
                      std::string_view info) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << shard;
    const std::uint64_t watching = room.watching;
    held_ -= room.list.held_bytes();
    switch (event) {
        case Event::join:
            room.list.join(client, info, seconds(reactor_.wall_now()));
            break;
        case Event::leave:
            room.list.leave(client);
            break;
        case Event::rename: {
            const std::size_t end = info.find(rename_separator);
            RC_CHECK(end != std::string_view::npos);
            room.list.rename(
                client, info.substr(0, end), info.substr(end + 1), seconds(reactor_.wall_now()));
            break;
        }
        case Event::watch:
            RC_CHECK((room.watching & bit) == 0);
            room.watching |= bit;
            break;
        case Event::unwatch:
            RC_CHECK((room.watching & bit) != 0);
            room.watching &= ~bit;
            break;
    }
    if ((watching == 0) != (room.watching == 0)) room.list.watch(room.watching != 0);
    held_ += room.list.held_bytes();
    settle(room);
}

// It waits to be told, or nobody needs it any more, or neither.
void Presence::settle(Room& room) noexcept {
    if (room.waits) return;
    if (room.list.changed()) {
        room.waits = true;
        changed_.push_back(&room);
        return;
    }
    if (room.list.count() != 0 || room.watching != 0) return;
    RC_CHECK(room.list.held_bytes() == 0);
    held_ -= room_bytes + room.name.size();
    rooms_.erase(std::string(room.name));
}

void Presence::tick() noexcept {
    std::size_t kept = 0;
    for (Room* room : changed_) {
        if (sessions_.now() - room->told < ticks_of(update_interval)) {
            changed_[kept++] = room;
        } else {
            telling_.push_back(room);
        }
    }
    changed_.resize(kept);
}

bool Presence::run() noexcept {
    if (!batches_.empty()) {
        for (auto& [topic, batch] : batches_) {
            post(topic, batch);
        }
        batches_.clear();
    }
    if (telling_.empty() && deliveries_.empty()) return false;
    io::Stint stint(reactor_, run_time);
    bool over = false;
    while (!over && !telling_.empty()) {
        Room& room = *telling_.front();
        telling_.pop_front();
        room.waits = false;
        if (room.list.changed()) tell(room);
        settle(room);
        over = stint.over(io::Stint::units_per_look);
    }
    while (!over && !deliveries_.empty()) {
        Delivery& delivery = deliveries_.front();
        while (!over && delivery.next < delivery.conns.size()) {
            const std::size_t size = hand_over(delivery, delivery.conns[delivery.next++]);
            over = stint.over(1 + static_cast<std::uint32_t>(size / 8192));
        }
        if (delivery.next == delivery.conns.size()) deliveries_.pop_front();
    }
    return !telling_.empty() || !deliveries_.empty();
}

void Presence::tell(Room& room) noexcept {
    std::vector<wire::Present> joined;
    std::vector<std::string_view> left;
    std::size_t size = 0;
    for (const auto& [client, is_there] : room.list.changes()) {
        if (!is_there) {
            if (!RC_PLANT(34)) left.push_back(id_of(client));
            size += entry_size(client, {});
            continue;
        }
        const Attendance::Entry& entry = room.list.entries().find(client)->second;
        joined.push_back(present(client, entry));
        size += entry_size(client, entry.info);
    }
    wire::PresenceUpdate update{.wall_ns = reactor_.wall_now(),
                                .topic = room.name,
                                .count = room.list.count(),
                                .truncated = true};
    const Parcel brief = frame_of(update);
    update.joined = joined;
    update.left = left;
    update.truncated = room.list.too_many_changes() || size > update_size_max;
    const Parcel frame = frame_of(update);
    for (std::uint32_t shard = 0; shard < mesh_.shard_count(); shard++) {
        if ((room.watching >> shard & 1) == 0) continue;
        if (shard == shard_) {
            take_update(std::string(room.name), frame.share(), brief.share());
            continue;
        }
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::presence_update;
        mail->from = shard_;
        mail->name = room.name;
        mail->bytes[0] = frame.share();
        mail->bytes[1] = brief.share();
        mesh_.post(shard, std::move(mail));
    }
    held_ -= room.list.held_bytes();
    room.list.forget_changes();
    held_ += room.list.held_bytes();
    room.told = sessions_.now();
}

// To be handed to this shard's watchers. Who has not got the one before by now gets its count.
void Presence::take_update(const std::string& topic, Parcel frame, Parcel brief) noexcept {
    for (Delivery& delivery : deliveries_) {
        if (delivery.topic == topic) delivery.frame = delivery.brief.share();
    }
    const auto found = watchers_.find(topic);
    if (found == watchers_.end()) return;  // the last one left while this was under way
    deliveries_.push_back({.topic = topic,
                           .frame = std::move(frame),
                           .brief = std::move(brief),
                           .conns = {found->second.begin(), found->second.end()}});
}

// Bytes that were queued.
std::size_t Presence::hand_over(const Delivery& delivery, io::ConnIndex conn) noexcept {
    const auto found = watchers_.find(delivery.topic);
    if (found == watchers_.end() || !found->second.contains(conn)) return 0;
    if (!hub_.may(conn, Deed::presence, delivery.topic)) return 0;  // by a newer token
    const bool reads = sessions_[conn].outbox.pending().size() <= config_.outbox_max;
    const Bytes bytes = (reads ? delivery.frame : delivery.brief).bytes();
    sessions_.push(conn, bytes);
    return bytes.size();
}

void Presence::hurry(io::ConnIndex conn) noexcept {
    for (Delivery& delivery : deliveries_) {
        const auto from = delivery.conns.begin() + static_cast<std::ptrdiff_t>(delivery.next);
        const auto found = std::find(from, delivery.conns.end(), conn);
        if (found == delivery.conns.end()) continue;
        static_cast<void>(hand_over(delivery, conn));
        *found = delivery.conns.back();
        delivery.conns.pop_back();
    }
}

Parcel Presence::answer(std::string_view topic, std::string_view id) noexcept {
    wire::Presence reply{.id = id, .wall_ns = reactor_.wall_now(), .topic = topic, .listed = true};
    const auto found = rooms_.find(std::string(topic));
    if (found == rooms_.end()) return frame_of(reply);
    const Attendance& list = found->second.list;
    std::vector<wire::Present> clients;
    std::size_t size = 0;
    for (const auto& [client, entry] : list.entries()) {
        size += entry_size(client, entry.info);
        if (clients.size() == answer_clients_max || size > answer_size_max) break;
        clients.push_back(present(client, entry));
    }
    reply.count = list.count();
    reply.clients = clients;
    reply.more = clients.size() < list.count();
    return frame_of(reply);
}

std::uint64_t Presence::held_bytes() const noexcept {
    return held_ + watchers_count_ * watcher_bytes;
}

}  // namespace ringcast::node
