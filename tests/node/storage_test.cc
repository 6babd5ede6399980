#include "node/storage.h"

#include <doctest/doctest.h>

using namespace ringcast;
using namespace ringcast::node;

TEST_CASE("storage: a line when it begins to fail, and one when it has worked for a while") {
    StoreState state;
    CHECK_FALSE(state.worked(1));
    CHECK(state.failed(2));
    CHECK_FALSE(state.failed(3));
    CHECK_FALSE(state.worked(4));
    CHECK_FALSE(state.failed(5));  // a disk that is nearly full takes small batches
    CHECK_FALSE(state.worked(4 + StoreState::quiet));
    CHECK(state.worked(5 + StoreState::quiet));
    CHECK_FALSE(state.worked(6 + StoreState::quiet));
    CHECK(state.failed(7 + StoreState::quiet));
}

TEST_CASE("storage: what stays of a topic is its history, and ids for repeats") {
    Config config;
    config.dedup_max = 100;
    config.dedup_window = 7 * units::s;
    TopicRule rule;
    io::Keep keep = keep_of(config, rule);
    CHECK(keep.records == 0);
    CHECK(keep.age == never);
    CHECK(keep.ids == 100);
    CHECK(keep.ids_age == 7 * nanos_per_s);
    CHECK_FALSE(keep.keyed);

    rule.history = 10;
    rule.history_age = 5 * units::s;
    keep = keep_of(config, rule);
    CHECK(keep.records == 10);
    CHECK(keep.bytes == rule.history_bytes);
    CHECK(keep.age == 5 * nanos_per_s);

    rule = TopicRule();
    rule.keyed = true;
    CHECK(keep_of(config, rule).keyed);
}
