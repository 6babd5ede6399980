#include "node/inquiries.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "node/history.h"
#include "node/replies.h"

namespace ringcast::node {

namespace {

constexpr Nanos run_time = nanos_per_ms / 4;
constexpr std::uint32_t units_per_answer = 64;  // microseconds of a large one
// An entry of the table with its bucket and its place, and a question with its texts.
constexpr std::size_t line_bytes = 320 + feed::topic_name_size_max + wire::id_size_max;
constexpr std::size_t inquiry_bytes =
    2 * sizeof(Inquiry) + feed::topic_name_size_max + wire::id_size_max + 32;

}  // namespace

Inquiries::Inquiries(const Config& config,
                     std::uint32_t shard,
                     io::Reactor& reactor,
                     Mesh& mesh,
                     Sessions& sessions,
                     feed::TopicTable& topics,
                     Hub& hub,
                     Presence& presence) noexcept
    : config_(config),
      shard_(shard),
      reactor_(reactor),
      mesh_(mesh),
      sessions_(sessions),
      topics_(topics),
      hub_(hub),
      presence_(presence),
      rate_(Rate::of(config.messages_per_second, config.messages_burst)) {}

bool Inquiries::may_ask(io::ConnIndex conn, const Line& line) noexcept {
    return !line.under_way && sessions_[conn].outbox.pending().size() <= config_.outbox_max;
}

bool Inquiries::ask(io::ConnIndex conn, Inquiry inquiry) noexcept {
    const Session& session = sessions_[conn];
    RC_CHECK(session.state == State::open);
    RC_CHECK(session.role == Role::envelope);
    const auto found = lines_.try_emplace(conn, Line{.serial = session.serial}).first;
    Line& line = found->second;
    RC_CHECK(line.serial == session.serial);
    if (line.waiting.empty() && may_ask(conn, line)) {
        start(conn, line, inquiry);
        if (!line.under_way) lines_.erase(found);
        return true;
    }
    if (line.waiting.size() >= waiting_max) return false;
    if (line.waiting.empty()) {
        places_.push_back({.conn = conn, .serial = session.serial});
        sessions_.pause(conn, pause::answers);
    }
    line.waiting.push_back(std::move(inquiry));
    waiting_++;
    return true;
}

void Inquiries::start(io::ConnIndex conn, Line& line, const Inquiry& inquiry) noexcept {
    RC_CHECK(!line.under_way);
    const std::uint64_t hash = hub_.hash_of(inquiry.topic);
    const std::uint32_t home = hub_.home_of(hash);
    if (inquiry.question == Question::presence) {
        if (!presence_.listed(inquiry.topic, hash)) {
            count_all(conn, line, inquiry);
            return;
        }
        presence_.flush(inquiry.topic);
    }
    if (home == shard_) {
        deliver(conn, answer(inquiry, hash).bytes());
        return;
    }
    line.under_way = true;
    post(conn, line, inquiry, inquiry.question, home);
    hub_.pause_without_credit(conn);
}

void Inquiries::post(io::ConnIndex conn,
                     const Line& line,
                     const Inquiry& inquiry,
                     Question question,
                     std::uint32_t to) noexcept {
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::question;
    mail->lane = static_cast<std::uint8_t>(question);
    mail->from = shard_;
    mail->conn = conn;
    mail->serial = line.serial;
    mail->hash = hub_.hash_of(inquiry.topic);
    mail->offset = inquiry.from;
    mail->epoch = inquiry.limit;
    mail->name = inquiry.topic;
    mail->id = inquiry.id;
    mesh_.post(to, std::move(mail));
}

void Inquiries::count_all(io::ConnIndex conn, Line& line, const Inquiry& inquiry) noexcept {
    line.under_way = true;
    line.counting = inquiry;
    line.count = 0;
    line.shards_left = mesh_.shard_count();
    for (std::uint32_t shard = 0; shard < mesh_.shard_count(); shard++) {
        if (shard != shard_) post(conn, line, inquiry, Question::count, shard);
    }
    hub_.pause_without_credit(conn);
    add_count(conn, line, presence_.subscriptions_here(inquiry.topic, hub_.hash_of(inquiry.topic)));
}

void Inquiries::add_count(io::ConnIndex conn, Line& line, std::uint64_t count) noexcept {
    RC_CHECK(line.shards_left > 0);
    line.count += count;
    line.shards_left--;
    if (line.shards_left > 0) return;
    line.under_way = false;
    deliver(conn,
            frame_of(wire::Presence{.id = line.counting.id,
                                    .wall_ns = reactor_.wall_now(),
                                    .topic = line.counting.topic,
                                    .count = line.count})
                .bytes());
}

Parcel Inquiries::answer(const Inquiry& inquiry, std::uint64_t hash) noexcept {
    RC_CHECK(hub_.home_of(hash) == shard_);
    switch (inquiry.question) {
        case Question::history:
            return history_frame(topics_.find(inquiry.topic, hash),
                                 {.id = inquiry.id,
                                  .topic = inquiry.topic,
                                  .from = inquiry.from,
                                  .limit = inquiry.limit},
                                 reactor_.wall_now());
        case Question::presence:
            return presence_.answer(inquiry.topic, inquiry.id);
        case Question::count:
            break;
    }
    RC_CHECK(false);
    return {};
}

void Inquiries::deliver(io::ConnIndex conn, Bytes frame) noexcept {
    sessions_[conn].messages.charge(
        rate_, reactor_.now(), static_cast<std::uint32_t>(frame.size() / answer_unit));
    presence_.hurry(conn);
    sessions_.push(conn, frame);
}

void Inquiries::receive(const Mail& mail) noexcept {
    if (mail.kind == MailKind::question) {
        on_question(mail);
    } else {
        RC_CHECK(mail.kind == MailKind::answer);
        on_answer(mail);
    }
}

void Inquiries::on_question(const Mail& mail) noexcept {
    auto reply = std::make_unique<Mail>();
    reply->kind = MailKind::answer;
    reply->from = shard_;
    reply->conn = mail.conn;
    reply->serial = mail.serial;
    reply->lane = mail.lane;
    const auto question = static_cast<Question>(mail.lane);
    if (question == Question::count) {
        reply->offset = presence_.subscriptions_here(mail.name, mail.hash);
    } else {
        reply->bytes[0] = answer({.question = question,
                                  .limit = static_cast<std::uint32_t>(mail.epoch),
                                  .from = mail.offset,
                                  .id = mail.id,
                                  .topic = mail.name},
                                 mail.hash);
    }
    mesh_.post(mail.from, std::move(reply));
}

void Inquiries::on_answer(const Mail& mail) noexcept {
    if (sessions_.find(mail.conn, mail.serial) == nullptr) return;
    const auto found = lines_.find(mail.conn);
    if (found == lines_.end()) return;  // it is leaving
    Line& line = found->second;
    RC_CHECK(line.serial == mail.serial);
    RC_CHECK(line.under_way);
    if (static_cast<Question>(mail.lane) == Question::count) {
        add_count(mail.conn, line, mail.offset);
    } else {
        line.under_way = false;
        deliver(mail.conn, mail.bytes[0].bytes());
    }
    if (!line.under_way && line.waiting.empty()) lines_.erase(found);
}

void Inquiries::forget(io::ConnIndex conn) noexcept {
    const auto found = lines_.find(conn);
    if (found == lines_.end()) return;
    waiting_ -= found->second.waiting.size();
    lines_.erase(found);
}

bool Inquiries::run() noexcept {
    if (places_.empty()) return false;
    io::Stint stint(reactor_, run_time);
    bool over = false;
    std::size_t kept = 0;
    for (const Place place : places_) {
        const bool stays = over || go_on(place, stint);
        over = over || stint.over();
        if (stays) places_[kept++] = place;
    }
    places_.resize(kept);
    return over;
}

// Asks the next question of a line, if it may. False: nobody waits there any more.
bool Inquiries::go_on(const Place& place, io::Stint& stint) noexcept {
    const auto found = lines_.find(place.conn);
    if (found == lines_.end() || found->second.serial != place.serial) return false;
    Line& line = found->second;
    if (!may_ask(place.conn, line)) return true;
    const Inquiry next = std::move(line.waiting.front());
    line.waiting.erase(line.waiting.begin());
    waiting_--;
    start(place.conn, line, next);
    static_cast<void>(stint.over(units_per_answer));
    if (!line.waiting.empty()) return true;
    if (!line.under_way) lines_.erase(found);
    sessions_.resume(place.conn, pause::answers);
    return false;
}

std::uint64_t Inquiries::held_bytes() const noexcept {
    return lines_.size() * line_bytes + waiting_ * inquiry_bytes;
}

}  // namespace ringcast::node
