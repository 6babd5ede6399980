#include "node/patterns.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "feed/pattern.h"
#include "node/replies.h"

namespace ringcast::node {

Patterns::Patterns(std::uint32_t shard,
                   std::uint64_t hash_seed,
                   io::Reactor& reactor,
                   Mesh& mesh,
                   Sessions& sessions,
                   Home& home) noexcept
    : shard_(shard),
      reactor_(reactor),
      mesh_(mesh),
      sessions_(sessions),
      home_(home),
      index_(hash_seed) {}

void Patterns::add(io::ConnIndex conn,
                   std::string_view pattern,
                   std::string_view id,
                   const Resume& resume) noexcept {
    RC_CHECK(sessions_[conn].state == State::open);
    RC_CHECK(!has(conn, pattern));
    std::uint32_t number = index_.find(pattern);
    if (number == feed::PatternIndex::none) {
        number = index_.add(pattern);
        if (number >= entries_.size()) entries_.resize(number + 1);
        watch(number, true);
    }
    Entry& entry = entries_[number];
    const auto place = static_cast<std::uint32_t>(entry.readers.size());
    entry.readers.push_back(conn);
    std::vector<Held>& held = held_[conn];
    held.push_back({.pattern = number,
                    .place = place,
                    .keeps = place == 0,
                    .wish = next_wish_++,
                    .id = std::string(id),
                    .resume = resume});
    charge(conn, bytes_of(held.back()), true);
    if (entry.unanswered == 0) begin(conn, held.back());
}

// The homes watch: from now on it counts. What they have they say behind that.
void Patterns::begin(io::ConnIndex conn, Held& held) noexcept {
    RC_CHECK(entries_[held.pattern].unanswered == 0);
    const std::string_view pattern = index_.text(held.pattern);
    reply(sessions_,
          conn,
          wire::PatternSubscribed{.id = held.id, .wall_ns = reactor_.wall_now(), .topic = pattern});
    held.id = {};
    for (std::uint32_t shard = 0; shard < mesh_.shard_count(); shard++) {
        ask(conn, pattern, held.wish, shard, 0);
    }
}

void Patterns::ask(io::ConnIndex conn,
                   std::string_view pattern,
                   std::uint64_t wish,
                   std::uint32_t shard,
                   std::uint64_t from) noexcept {
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::list;
    mail->from = shard_;
    mail->conn = conn;
    mail->serial = sessions_[conn].serial;
    mail->name = pattern;
    mail->offset = from;
    mail->epoch = wish;
    mesh_.post(shard, std::move(mail));
}

void Patterns::watch(std::uint32_t pattern, bool wanted) noexcept {
    home_.watch(index_.text(pattern), shard_, wanted);
    for (std::uint32_t shard = 0; shard < mesh_.shard_count(); shard++) {
        if (shard == shard_) continue;
        auto mail = std::make_unique<Mail>();
        mail->kind = MailKind::watch;
        mail->flag = wanted;
        mail->from = shard_;
        mail->name = index_.text(pattern);
        mesh_.post(shard, std::move(mail));
        if (wanted) entries_[pattern].unanswered++;
    }
}

void Patterns::on_watched(const Mail& mail) noexcept {
    const std::uint32_t pattern = index_.find(mail.name);
    RC_CHECK(pattern != feed::PatternIndex::none);  // kept by the request
    Entry& entry = entries_[pattern];
    RC_CHECK(entry.unanswered > 0);
    entry.unanswered--;
    if (entry.unanswered > 0) return;
    for (const io::ConnIndex conn : entry.readers) {
        begin(conn, held_by(conn, pattern));
    }
    drop_if_unused(pattern);
}

bool Patterns::remove(io::ConnIndex conn, std::string_view pattern) noexcept {
    const auto found = held_.find(conn);
    if (found == held_.end()) return false;
    std::vector<Held>& held = found->second;
    const auto at = std::find_if(held.begin(), held.end(), [&](const Held& each) {
        return index_.text(each.pattern) == pattern;
    });
    if (at == held.end()) return false;
    const std::uint32_t number = at->pattern;
    take_out(conn, *at);
    held.erase(at);
    if (held.empty()) held_.erase(found);
    drop_if_unused(number);
    return true;
}

void Patterns::forget(io::ConnIndex conn) noexcept {
    const auto found = held_.find(conn);
    if (found == held_.end()) return;
    const std::vector<Held> all = std::move(found->second);
    held_.erase(found);
    for (const Held& held : all) {
        take_out(conn, held);
        drop_if_unused(held.pattern);
    }
}

// Its place goes to the last reader.
void Patterns::take_out(io::ConnIndex conn, const Held& held) noexcept {
    std::vector<io::ConnIndex>& readers = entries_[held.pattern].readers;
    RC_CHECK(held.place < readers.size());
    const io::ConnIndex last = readers.back();
    if (held.place + 1 < readers.size()) {
        readers[held.place] = last;
        held_by(last, held.pattern).place = held.place;
    }
    readers.pop_back();
    charge(conn, bytes_of(held), false);
    if (!held.keeps || readers.empty()) return;
    Held& heir = held_by(readers.front(), held.pattern);
    const std::uint32_t before = bytes_of(heir);
    heir.keeps = true;
    charge(readers.front(), bytes_of(heir) - before, true);
}

void Patterns::drop_if_unused(std::uint32_t pattern) noexcept {
    if (!entries_[pattern].readers.empty() || entries_[pattern].unanswered > 0) return;
    watch(pattern, false);
    entries_[pattern] = {};
    index_.remove(pattern);
}

Patterns::Held& Patterns::held_by(io::ConnIndex conn, std::uint32_t pattern) noexcept {
    const auto found = held_.find(conn);
    RC_CHECK(found != held_.end());
    for (Held& held : found->second) {
        if (held.pattern == pattern) return held;
    }
    RC_CHECK(false);
    return found->second.front();
}

const Patterns::Held* Patterns::find(io::ConnIndex conn, std::string_view pattern) const noexcept {
    const auto found = held_.find(conn);
    if (found == held_.end()) return nullptr;
    for (const Held& held : found->second) {
        if (index_.text(held.pattern) == pattern) return &held;
    }
    return nullptr;
}

bool Patterns::counts(io::ConnIndex conn,
                      std::string_view pattern,
                      std::uint64_t wish) const noexcept {
    const Held* held = find(conn, pattern);
    return held != nullptr && held->wish == wish && entries_[held->pattern].unanswered == 0;
}

bool Patterns::has(io::ConnIndex conn, std::string_view pattern) const noexcept {
    return find(conn, pattern) != nullptr;
}

std::uint32_t Patterns::count_of(io::ConnIndex conn) const noexcept {
    const auto found = held_.find(conn);
    return found == held_.end() ? 0 : static_cast<std::uint32_t>(found->second.size());
}

std::vector<std::string> Patterns::of(io::ConnIndex conn) const noexcept {
    std::vector<std::string> patterns;
    const auto found = held_.find(conn);
    if (found == held_.end()) return patterns;
    for (const Held& held : found->second) {
        patterns.emplace_back(index_.text(held.pattern));
    }
    return patterns;
}

Patterns::Cover Patterns::covering(io::ConnIndex conn, std::string_view topic) const noexcept {
    const auto found = held_.find(conn);
    if (found == held_.end()) return {};
    for (const Held& held : found->second) {
        if (entries_[held.pattern].unanswered > 0) continue;
        const std::string_view pattern = index_.text(held.pattern);
        if (feed::matches(pattern, topic)) return {.pattern = pattern, .resume = &held.resume};
    }
    return {};
}

const std::vector<io::ConnIndex>& Patterns::readers_of(std::string_view topic) noexcept {
    readers_.clear();
    index_.match(topic, matching_);
    for (const std::uint32_t pattern : matching_) {
        const Entry& entry = entries_[pattern];
        // While a home has not answered nobody counts yet: all of a pattern begin together.
        if (entry.unanswered > 0) continue;
        readers_.insert(readers_.end(), entry.readers.begin(), entry.readers.end());
    }
    return readers_;
}

std::uint64_t Patterns::bytes_max(std::uint64_t shards, std::uint64_t name_size_max) noexcept {
    return reader_bytes + wire::info_size_max +
           pattern_bytes(shards, feed::PatternIndex::cost_max(name_size_max));
}

std::uint32_t Patterns::bytes_of(const Held& held) const noexcept {
    std::uint64_t bytes = reader_bytes + held.resume.info.size();
    if (held.keeps) {
        bytes += pattern_bytes(mesh_.shard_count(),
                               feed::PatternIndex::cost_of(index_.text(held.pattern)));
    }
    return static_cast<std::uint32_t>(bytes);
}

void Patterns::charge(io::ConnIndex conn, std::uint32_t bytes, bool more) noexcept {
    std::uint32_t& held = sessions_[conn].pattern_bytes;
    RC_CHECK(more || held >= bytes);
    held = more ? held + bytes : held - bytes;
    sessions_.recount(conn);
}

}  // namespace ringcast::node
