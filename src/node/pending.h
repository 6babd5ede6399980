#pragma once

// Connections of one shard that nobody has been let in by yet, in the order in which they came, and
// those of one address in that order, too: so that the one that has been trying for longest can be
// found at once when there are too many. All of it O(1).
//
// One thread owns it.

#include <cstdint>

#include "base/index_table.h"
#include "base/slab.h"
#include "io/reactor.h"

namespace ringcast::node {

class PendingList {
  public:
    explicit PendingList(std::uint32_t capacity) noexcept : entries_(capacity) {}

    // The youngest of all. Precondition: it is not in the list.
    void add(io::ConnIndex conn) noexcept;
    // Whose it is: a hash of an address, not 0. It becomes the youngest of that address and keeps
    // its place among all. Precondition: it is in the list and has no key yet.
    void set_key(io::ConnIndex conn, std::uint64_t key) noexcept;
    // Precondition: it is in the list.
    void remove(io::ConnIndex conn) noexcept;

    [[nodiscard]] bool contains(io::ConnIndex conn) noexcept {
        return entries_.find(conn) != nullptr;
    }
    // no_conn: there is none.
    [[nodiscard]] io::ConnIndex oldest() const noexcept { return oldest_; }
    [[nodiscard]] io::ConnIndex oldest_of(std::uint64_t key) noexcept;
    [[nodiscard]] std::uint32_t count() const noexcept { return entries_.live_count(); }

  private:
    struct Entry {
        std::uint64_t key = 0;  // 0: not known, or nobody's
        io::ConnIndex older = io::no_conn;
        io::ConnIndex younger = io::no_conn;
        // A ring: the one before the oldest of a key is the youngest of it.
        io::ConnIndex older_of_key = io::no_conn;
        io::ConnIndex younger_of_key = io::no_conn;
    };

    void leave_key(io::ConnIndex conn, const Entry& entry) noexcept;

    Slab<Entry> entries_;
    IndexTable by_key_;  // the oldest of each
    io::ConnIndex oldest_ = io::no_conn;
    io::ConnIndex youngest_ = io::no_conn;
};

}  // namespace ringcast::node
