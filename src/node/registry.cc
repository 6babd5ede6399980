#include "node/registry.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/plant.h"
#include "node/close_codes.h"

namespace ringcast::node {

Registry::Registry(const Config& config,
                   std::uint32_t shard,
                   std::uint64_t hash_seed,
                   Mesh& mesh,
                   Sessions& sessions) noexcept
    : shard_(shard),
      hash_seed_(hash_seed),
      mesh_(mesh),
      sessions_(sessions),
      session_time_(ticks_of(config.session_time)),
      parking_(config.session_memory / mesh.shard_count()) {
    RC_CHECK(shard < mesh.shard_count());
}

std::uint32_t Registry::home_of(std::string_view id) const noexcept {
    return static_cast<std::uint32_t>(hash_bytes(as_bytes(id), hash_seed_) % mesh_.shard_count());
}

void Registry::claim(io::ConnIndex conn) noexcept {
    const Session& session = sessions_[conn];
    RC_CHECK(session.client_id != nullptr);
    const std::string id = scoped_name(session, *session.client_id);
    post(home_of(id), mail_of(MailKind::claim, holder_of(conn), id));
}

void Registry::rename(io::ConnIndex conn, std::string_view former) noexcept {
    post(home_of(former), mail_of(MailKind::release, holder_of(conn), former));
    claim(conn);
}

void Registry::enter(io::ConnIndex conn, bool back) noexcept {
    const std::string& name = *sessions_[conn].session_name;
    auto mail = mail_of(MailKind::claim, holder_of(conn), name);
    mail->flag = back;
    if (back) sessions_.pause(conn, pause::session);
    post(home_of(name), std::move(mail));
}

void Registry::release(io::ConnIndex conn, std::vector<Owed> owed) noexcept {
    const Session& session = sessions_[conn];
    const Holder who = holder_of(conn);
    if (session.unproven) return;  // it claimed nothing yet
    if (session.client_id != nullptr) {
        const std::string id = scoped_name(session, *session.client_id);
        post(home_of(id), mail_of(MailKind::release, who, id));
    }
    if (session.session_name == nullptr) return;
    const std::string& name = *session.session_name;
    if (!owed.empty()) {
        auto mail = mail_of(MailKind::park, who, name);
        mail->owed = std::move(owed);
        post(home_of(name), std::move(mail));
    }
    post(home_of(name), mail_of(MailKind::release, who, name));
}

Registry::Holder Registry::holder_of(io::ConnIndex conn) noexcept {
    const Session& session = sessions_[conn];
    return {.shard = shard_,
            .conn = conn,
            .serial = session.serial,
            .accepted_at = session.accepted_at};
}

bool Registry::is_older(const Holder& who, const Holder& than) noexcept {
    if (who.accepted_at != than.accepted_at) return who.accepted_at < than.accepted_at;
    return who.shard == than.shard && who.serial < than.serial;
}

std::size_t Registry::size() const noexcept {
    return static_cast<std::size_t>(std::count_if(
        holders_.begin(), holders_.end(), [](const auto& each) { return !each.second.vacant; }));
}

std::unique_ptr<Mail> Registry::mail_of(MailKind kind,
                                        const Holder& who,
                                        std::string_view id) const noexcept {
    auto mail = std::make_unique<Mail>();
    mail->kind = kind;
    mail->from = shard_;
    mail->conn = who.conn;
    mail->serial = who.serial;
    mail->offset = static_cast<std::uint64_t>(who.accepted_at);
    mail->name = id;
    return mail;
}

void Registry::post(std::uint32_t to, std::unique_ptr<Mail> mail) noexcept {
    if (to == shard_) {
        receive(*mail);
    } else {
        mesh_.post(to, std::move(mail));
    }
}

void Registry::receive(Mail& mail) noexcept {
    const Holder who{.shard = mail.from,
                     .conn = mail.conn,
                     .serial = mail.serial,
                     .accepted_at = static_cast<Nanos>(mail.offset)};
    if (mail.kind == MailKind::evict) {
        on_evict(mail);
    } else if (mail.kind == MailKind::resume) {
        on_resume(mail);
    } else if (mail.kind == MailKind::park) {
        parking_.put(mail.name, std::move(mail.owed), sessions_.now() + session_time_);
    } else if (mail.kind == MailKind::release) {
        on_release(who, mail.name);
    } else {
        RC_CHECK(mail.kind == MailKind::claim);
        on_claim(who, mail.name, mail.flag);
    }
}

// Unless it has another name by now, and left this one to whoever has it.
void Registry::on_evict(const Mail& mail) noexcept {
    const Session* session = sessions_.find(mail.conn, mail.serial);
    if (session == nullptr) return;
    const bool by_id =
        session->client_id != nullptr && mail.name == scoped_name(*session, *session->client_id);
    const bool by_session = session->session_name != nullptr && mail.name == *session->session_name;
    if (!by_id && !by_session) return;
    sessions_.close(mail.conn, close_codes::replaced, "a newer connection has this client id");
}

void Registry::on_claim(const Holder& who, const std::string& id, bool back) noexcept {
    const auto [place, fresh] = holders_.try_emplace(id);
    Entry& entry = place->second;
    if (fresh) {
        entry.holder = who;
        if (back) give_back(who, id);
        return;
    }
    if (entry.vacant) {
        entry.vacant = false;
        entry.holder = who;
        entry.waits = back;
        return;
    }
    const bool late = is_older(who, entry.holder) && !RC_PLANT(30);
    const Holder older = late ? who : std::exchange(entry.holder, who);
    entry.before.push_back(older);
    if (!late) entry.waits = back;
    post(older.shard, mail_of(MailKind::evict, older, id));
}

void Registry::on_release(const Holder& who, const std::string& id) noexcept {
    const auto found = holders_.find(id);
    if (found == holders_.end()) return;
    Entry& entry = found->second;
    entry.before.erase(std::remove(entry.before.begin(), entry.before.end(), who),
                       entry.before.end());
    if (entry.waits && entry.before.empty()) {
        entry.waits = false;
        give_back(entry.holder, id);
    }
    // Not if a newer one has it by now.
    if (!entry.vacant && entry.holder == who) entry.vacant = true;
    if ((entry.vacant && entry.before.empty()) || RC_PLANT(21)) holders_.erase(found);
}

void Registry::give_back(const Holder& who, const std::string& id) noexcept {
    auto mail = mail_of(MailKind::resume, who, id);
    mail->owed = parking_.take(id);
    post(who.shard, std::move(mail));
}

void Registry::on_resume(Mail& mail) noexcept {
    Session* session = sessions_.find(mail.conn, mail.serial);
    // It is gone again, and another one may come.
    if (session == nullptr || session->state == State::draining) {
        if (mail.owed.empty()) return;
        auto back = mail_of(MailKind::park, {}, mail.name);
        back->owed = std::move(mail.owed);
        post(home_of(mail.name), std::move(back));
        return;
    }
    if (!mail.owed.empty()) {
        session->owed = std::make_unique<std::vector<Owed>>(std::move(mail.owed));
        sessions_.recount(mail.conn);
    }
    sessions_.resume(mail.conn, pause::session);
}

}  // namespace ringcast::node
