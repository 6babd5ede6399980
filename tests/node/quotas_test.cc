#include "node/quotas.h"

#include <doctest/doctest.h>

using namespace ringcast;
using namespace ringcast::node;

TEST_CASE("quotas: defaults, and what stands for those that are 0") {
    Config config;
    const Quotas quotas(config, 20'000, 1);
    CHECK(quotas.per_address == 100);
    CHECK(quotas.per_user == 10);
    CHECK(quotas.pending_per_address == 50);
    CHECK(quotas.pending_max == 10'000);
    CHECK(quotas.connects.interval == nanos_per_s / 20);
    CHECK(Quotas::pending_max_of(config, 100) == 4096);
    config.pending_max = 7;
    CHECK(Quotas::pending_max_of(config, 20'000) == 7);
}

TEST_CASE("quotas: their memory is bounded by the connections, twenty bytes each or little more") {
    CHECK(Quotas::bytes(100) <= 100 << 10);
    for (const std::uint64_t connections : {10'000U, 100'000U, 1'000'000U}) {
        CHECK(Quotas::bytes(connections) <= 40 * connections + (100 << 10));
    }
    CHECK(Quotas::bytes(UINT32_MAX) <= std::uint64_t{2} << 30);
}
