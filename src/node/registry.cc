#include "node/registry.h"

#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/plant.h"
#include "node/close_codes.h"

namespace ringcast::node {

Registry::Registry(std::uint32_t shard,
                   std::uint64_t hash_seed,
                   Mesh& mesh,
                   Sessions& sessions) noexcept
    : shard_(shard), hash_seed_(hash_seed), mesh_(mesh), sessions_(sessions) {
    RC_CHECK(shard < mesh.shard_count());
}

void Registry::claim(io::ConnIndex conn) noexcept {
    const Session& session = sessions_[conn];
    RC_CHECK(session.client_id != nullptr);
    const std::string& id = *session.client_id;
    const auto home =
        static_cast<std::uint32_t>(hash_bytes(as_bytes(id), hash_seed_) % mesh_.shard_count());
    post(MailKind::claim, home, holder_of(conn), id);
}

void Registry::release(io::ConnIndex conn) noexcept {
    const Session& session = sessions_[conn];
    if (session.client_id == nullptr) return;
    const std::string& id = *session.client_id;
    const auto home =
        static_cast<std::uint32_t>(hash_bytes(as_bytes(id), hash_seed_) % mesh_.shard_count());
    post(MailKind::release, home, holder_of(conn), id);
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

void Registry::post(MailKind kind,
                    std::uint32_t to,
                    const Holder& who,
                    std::string_view id) noexcept {
    if (to == shard_) {
        handle(kind, who, id);
        return;
    }
    auto mail = std::make_unique<Mail>();
    mail->kind = kind;
    mail->from = shard_;
    mail->conn = who.conn;
    mail->serial = who.serial;
    mail->offset = static_cast<std::uint64_t>(who.accepted_at);
    mail->name = id;
    mesh_.post(to, std::move(mail));
}

void Registry::receive(const Mail& mail) noexcept {
    handle(mail.kind,
           {.shard = mail.from,
            .conn = mail.conn,
            .serial = mail.serial,
            .accepted_at = static_cast<Nanos>(mail.offset)},
           mail.name);
}

void Registry::handle(MailKind kind, const Holder& who, std::string_view id) noexcept {
    if (kind == MailKind::evict) {
        if (sessions_.find(who.conn, who.serial) == nullptr) return;
        sessions_.close(who.conn, close_codes::replaced, "a newer connection has this client id");
        return;
    }
    std::string key(id);
    if (kind == MailKind::release) {
        const auto found = holders_.find(key);
        // Not if a newer one has it by now.
        const bool same = found != holders_.end() && found->second.shard == who.shard &&
                          found->second.conn == who.conn && found->second.serial == who.serial;
        if (same || (found != holders_.end() && RC_PLANT(21))) holders_.erase(found);
        return;
    }
    RC_CHECK(kind == MailKind::claim);
    const auto [place, fresh] = holders_.try_emplace(std::move(key), who);
    if (fresh) return;
    const bool late = is_older(who, place->second) && !RC_PLANT(30);
    const Holder older = late ? who : std::exchange(place->second, who);
    post(MailKind::evict, older.shard, older, id);
}

}  // namespace ringcast::node
