#include "node/pending.h"

#include "base/check.h"

namespace ringcast::node {

void PendingList::add(io::ConnIndex conn) noexcept {
    Entry& entry = entries_.emplace(conn);
    entry.older = youngest_;
    if (youngest_ != io::no_conn) {
        entries_[youngest_].younger = conn;
    } else {
        oldest_ = conn;
    }
    youngest_ = conn;
}

io::ConnIndex PendingList::oldest_of(std::uint64_t key) noexcept {
    const std::uint32_t found =
        by_key_.find(key, [&](std::uint32_t conn) { return entries_[conn].key == key; });
    return found == IndexTable::none ? io::no_conn : found;
}

void PendingList::set_key(io::ConnIndex conn, std::uint64_t key) noexcept {
    Entry& entry = entries_[conn];
    RC_CHECK(key != 0);
    RC_CHECK(entry.key == 0);
    const io::ConnIndex first = oldest_of(key);
    entry.key = key;
    if (first == io::no_conn) {
        entry.older_of_key = conn;
        entry.younger_of_key = conn;
        by_key_.insert(key, conn);
        return;
    }
    const io::ConnIndex last = entries_[first].older_of_key;
    entry.older_of_key = last;
    entry.younger_of_key = first;
    entries_[last].younger_of_key = conn;
    entries_[first].older_of_key = conn;
}

void PendingList::leave_key(io::ConnIndex conn, const Entry& entry) noexcept {
    const std::uint64_t key = entry.key;
    const bool first = oldest_of(key) == conn;
    if (first) by_key_.erase(key, [&](std::uint32_t at) { return at == conn; });
    const io::ConnIndex next = entry.younger_of_key;
    if (next == conn) return;  // the only one
    entries_[entry.older_of_key].younger_of_key = next;
    entries_[next].older_of_key = entry.older_of_key;
    if (first) by_key_.insert(key, next);
}

void PendingList::remove(io::ConnIndex conn) noexcept {
    const Entry& entry = entries_[conn];
    if (entry.key != 0) leave_key(conn, entry);
    if (entry.older != io::no_conn) {
        entries_[entry.older].younger = entry.younger;
    } else {
        oldest_ = entry.younger;
    }
    if (entry.younger != io::no_conn) {
        entries_[entry.younger].older = entry.older;
    } else {
        youngest_ = entry.older;
    }
    entries_.erase(conn);
}

}  // namespace ringcast::node
