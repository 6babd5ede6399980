// The table of keys against a std::map, and its list of tombstones against a std::list.

#include "feed/key_table.h"

#include <algorithm>
#include <list>
#include <map>
#include <string>

#include <doctest/doctest.h>
#include <malloc.h>

#include "base/random.h"
#include "tests/feed/support.h"

using namespace ringcast;
using feed::KeyId;
using feed::KeyTable;

namespace {

KeyId find(const KeyTable& table, const std::string& name) {
    return table.find(as_bytes(name), table.hash_of(as_bytes(name)));
}

KeyId create(KeyTable& table, const std::string& name) {
    return table.create(as_bytes(name), table.hash_of(as_bytes(name)));
}

void simulate(std::uint64_t seed) {
    CAPTURE(seed);
    Random random{seed};
    KeyTable table{seed};
    std::map<std::string, KeyId> model;
    std::list<KeyId> buried;  // oldest first
    for (int step = 0; step < 3000; step++) {
        const std::string name = std::to_string(random.below(200));
        const KeyId found = find(table, name);
        REQUIRE((found == KeyTable::none) == (model.count(name) == 0));
        if (found == KeyTable::none) {
            const KeyId id = create(table, name);
            REQUIRE(table[id].seq == 0);
            table[id].seq = static_cast<feed::Seq>(step) + 1;
            model[name] = id;
        } else {
            REQUIRE(found == model[name]);
            REQUIRE(as_text(table[found].name()) == name);
            const bool is_buried = table[found].tombstone;
            REQUIRE(is_buried == (std::find(buried.begin(), buried.end(), found) != buried.end()));
            const std::uint64_t dice = random.below(4);
            if (dice < 2 && is_buried) table.revive(found);
            if (dice < 2 && !is_buried) table.bury(found);
            if (dice == 2) {
                table.erase(found);
                REQUIRE(table[found].seq == 0);
                model.erase(name);
            }
            if (dice < 3) buried.remove(found);
            if (dice < 2 && !is_buried) buried.push_back(found);
        }
        REQUIRE(table.count() == model.size());
        REQUIRE(table.tombstones() == buried.size());
        REQUIRE(table.oldest_tombstone() == (buried.empty() ? KeyTable::none : buried.front()));
    }
}

std::size_t allocated() {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

}  // namespace

TEST_CASE("key table: it finds what was created, and tombstones keep their order") {
    for (std::uint64_t seed = 1; seed <= 20; seed++)
        simulate(seed);
}

TEST_CASE("key table: names of no byte and of 255 are kept, and a place is used again") {
    KeyTable table{1};
    const std::string longest(feed::key_size_max, 'k');
    const KeyId empty = create(table, "");
    const KeyId other = create(table, longest);
    CHECK(find(table, "") == empty);
    CHECK(find(table, longest) == other);
    table.erase(empty);
    CHECK(find(table, "") == KeyTable::none);
    CHECK(create(table, "b") == empty);
}

TEST_CASE("key table: a key with a name of 20 takes at most 120 bytes, and says so") {
    constexpr std::size_t count = 100'000;
    const std::size_t before = allocated();
    KeyTable table{1};
    for (std::size_t i = 0; i < count; i++)
        create(table, "instrument/" + std::to_string(100'000'000 + i));
    const std::size_t each = (allocated() - before) / count;
    MESSAGE("bytes a key: " << each);  // 0 under a sanitizer: its allocator does not say
    CHECK(each <= 120);
    CHECK(table.heap_bytes() / count <= 120);
    if (each > 0) CHECK(table.heap_bytes() / count + 2 >= each);
}
