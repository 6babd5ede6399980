// Who has been trying for longest, of all and of one address.

#include "node/pending.h"

#include <algorithm>
#include <deque>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using namespace ringcast::node;

namespace {

struct Model {
    struct Entry {
        io::ConnIndex conn;
        std::uint64_t key;
        std::uint64_t keyed_at;
    };
    std::deque<Entry> entries;
    std::uint64_t clock = 0;

    [[nodiscard]] io::ConnIndex oldest() const {
        return entries.empty() ? io::no_conn : entries.front().conn;
    }
    [[nodiscard]] io::ConnIndex oldest_of(std::uint64_t key) const {
        const Entry* best = nullptr;
        for (const Entry& entry : entries) {
            if (entry.key != key) continue;
            if (best == nullptr || entry.keyed_at < best->keyed_at) best = &entry;
        }
        return best == nullptr ? io::no_conn : best->conn;
    }
    [[nodiscard]] std::deque<Entry>::iterator find(io::ConnIndex conn) {
        return std::find_if(
            entries.begin(), entries.end(), [&](const Entry& at) { return at.conn == conn; });
    }
};

}  // namespace

TEST_CASE("pending: a walk against a plain list") {
    constexpr std::uint32_t capacity = 40;
    Random random(21);
    PendingList list(capacity);
    Model model;
    for (int step = 0; step < 100'000; step++) {
        const auto conn = static_cast<io::ConnIndex>(random.below(capacity));
        const auto at = model.find(conn);
        const bool there = at != model.entries.end();
        REQUIRE(list.contains(conn) == there);
        if (!there) {
            list.add(conn);
            model.entries.push_back({.conn = conn, .key = 0, .keyed_at = 0});
        } else if (at->key == 0 && random.chance(2, 3)) {
            at->key = random.between(1, 5) << 40;  // many that want one slot of the table
            at->keyed_at = ++model.clock;
            list.set_key(conn, at->key);
        } else {
            list.remove(conn);
            model.entries.erase(at);
        }
        REQUIRE(list.count() == model.entries.size());
        REQUIRE(list.oldest() == model.oldest());
        for (std::uint64_t key = 1; key <= 6; key++) {
            REQUIRE(list.oldest_of(key << 40) == model.oldest_of(key << 40));
        }
    }
    while (list.oldest() != io::no_conn) {
        list.remove(list.oldest());
    }
    CHECK(list.count() == 0);
}
