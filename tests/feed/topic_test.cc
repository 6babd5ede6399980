// The table of topics against a std::map.

#include "feed/topic.h"

#include <map>
#include <string>

#include <doctest/doctest.h>
#include <malloc.h>

#include "base/hash.h"
#include "base/random.h"
#include "tests/feed/support.h"

using namespace ringcast;
using feed::Topic;
using feed::TopicTable;

namespace {

// The worst case for the index when `few` is set: hardly any two names differ in their hash.
std::uint64_t hash_of(const std::string& name, bool few) {
    const std::uint64_t hash = hash_bytes(as_bytes(name), 1);
    return few ? hash % 3 : hash;
}

void simulate(std::uint64_t seed) {
    CAPTURE(seed);
    Random random{seed};
    const bool few = seed % 5 == 0;
    TopicTable table;
    std::map<std::string, Topic*> model;
    for (int step = 0; step < 3000; step++) {
        const std::string name = test::random_text(random, 1 + random.below(8)) +
                                 std::to_string(random.below(few ? 20 : 300));
        Topic* const found = table.find(name, hash_of(name, few));
        REQUIRE((found != nullptr) == (model.count(name) == 1));
        if (found == nullptr) {
            Topic& topic = table.create(name, hash_of(name, few));
            REQUIRE(topic.next == 1);
            REQUIRE(topic.interest[feed::raw] == 0);
            topic.interest[feed::raw] = 1;
            topic.next = name.size();
            model[name] = &topic;
        } else {
            REQUIRE(found == model[name]);
            REQUIRE(found->name() == name);
            REQUIRE(found->next == name.size());
        }
        if (!model.empty() && random.chance(2, 5)) {
            auto gone = model.begin();
            std::advance(gone, static_cast<long>(random.below(model.size())));
            const std::uint32_t id = gone->second->id();
            table.erase(*gone->second);
            REQUIRE(table.get(id) == nullptr);
            model.erase(gone);
        }
        REQUIRE(table.count() == model.size());
    }
    std::size_t walked = 0;
    for (std::uint32_t id = 0; id < table.id_end(); id++) {
        Topic* const topic = table.get(id);
        if (topic == nullptr) continue;
        walked++;
        REQUIRE(topic->id() == id);
        REQUIRE(model[std::string(topic->name())] == topic);
    }
    CHECK(walked == model.size());
    CHECK(table.get(table.id_end()) == nullptr);
}

std::size_t allocated() {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

void ignore_tail(void*, feed::Reader, Bytes) noexcept {}

}  // namespace

TEST_CASE("topic: a table finds what was created and nothing else") {
    for (std::uint64_t seed = 1; seed <= 10; seed++)
        simulate(seed);
}

TEST_CASE("topic: a quiet topic with a name of 20 takes at most 200 bytes") {
    constexpr std::size_t count = 100'000;
    const std::size_t before = allocated();
    TopicTable table;
    for (std::size_t i = 0; i < count; i++) {
        std::string name = "sensors/room-" + std::to_string(1'000'000 + i);
        name.resize(20, 'x');
        table.create(name, hash_bytes(as_bytes(name), 1));
    }
    const std::size_t each = (allocated() - before) / count;
    MESSAGE("bytes a topic: " << each);  // 0 under a sanitizer: its allocator does not say
    CHECK(each <= 200);
    CHECK(table.held_bytes() >= each * count);
    CHECK(table.held_bytes() <= 200 * count);
}

TEST_CASE("topic: names of one byte and of 255 are kept, and a place is used again") {
    TopicTable table;
    const std::string longest(feed::topic_name_size_max, 'n');
    Topic& one = table.create("a", 7);
    Topic& other = table.create(longest, 7);  // same hash, other name
    CHECK(table.find("a", 7) == &one);
    CHECK(table.find(longest, 7) == &other);
    CHECK(table.find("b", 7) == nullptr);
    const std::uint32_t id = one.id();
    const std::size_t held = table.held_bytes();
    table.erase(one);
    CHECK(table.held_bytes() == held - 32);
    CHECK(table.find("a", 7) == nullptr);
    CHECK(table.create("b", 7).id() == id);
    CHECK(table.count() == 2);
}

TEST_CASE("topic: the memory of its lanes goes with a topic") {
    test::WatchedArena arena(16);
    feed::SegmentPool pool(arena.arena());
    TopicTable table;
    Topic& topic = table.create("prices", 1);
    topic.lanes[feed::envelope] = std::make_unique<feed::Lane>(
        pool, topic.next, 4096, feed::LaneSink{.save_tail = &ignore_tail});
    test::publish(*topic.lanes[feed::envelope], "hello");
    CHECK(pool.bytes_in_use() == feed::page_size);
    table.erase(topic);
    CHECK(pool.bytes_in_use() == 0);
}
