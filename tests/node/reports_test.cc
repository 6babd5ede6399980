#include "node/reports.h"

#include <map>
#include <string>

#include <doctest/doctest.h>

using namespace ringcast;
using namespace ringcast::node;

namespace {

Report report(feed::Seq offset, Tick ends) {
    Report made;
    made.hash = 7;
    made.epoch = 9;
    made.offset = offset;
    made.id = std::to_string(offset);
    made.ends = ends;
    return made;
}

std::map<std::string, std::uint64_t> swept(Reports& reports, Tick now) {
    std::map<std::string, std::uint64_t> told;
    reports.sweep(now, [&](const Report& each) { told[each.id] = each.clients; });
    return told;
}

}  // namespace

TEST_CASE("reports: what comes between two sweeps is one number, and none is told twice") {
    Reports reports;
    reports.open(report(1, 100));
    reports.open(report(2, 100));
    reports.missed(7, 9, 1, 3);
    reports.missed(7, 9, 1, 2);
    reports.missed(7, 9, 5, 1);   // nobody asked
    reports.missed(7, 10, 2, 1);  // another epoch
    CHECK(swept(reports, 10) == std::map<std::string, std::uint64_t>{{"1", 5}});
    CHECK(swept(reports, 11).empty());
    reports.missed(7, 9, 1, 1);
    CHECK(swept(reports, 12) == std::map<std::string, std::uint64_t>{{"1", 1}});
}

TEST_CASE("reports: one that ends is told for the last time") {
    Reports reports;
    reports.open(report(1, 100));
    reports.open(report(2, 200));
    reports.missed(7, 9, 1, 1);
    CHECK(swept(reports, 100).size() == 1);
    CHECK(reports.size() == 1);
    reports.missed(7, 9, 1, 1);
    CHECK(swept(reports, 101).empty());
    CHECK(swept(reports, 200).empty());
    CHECK(reports.size() == 0);
}

TEST_CASE("reports: there are so many at most") {
    Reports reports;
    for (feed::Seq offset = 1; offset <= Reports::reports_max; offset++) {
        CHECK_FALSE(reports.full(0, offset));
        Report next = report(offset, 100);
        next.serial = offset;
        reports.open(next);
    }
    CHECK(reports.full(0, 0));
    CHECK(swept(reports, 100).empty());
    CHECK_FALSE(reports.full(0, 0));
}

TEST_CASE("reports: one publisher has some of them at most, and is told a part at a time") {
    Reports reports;
    for (feed::Seq offset = 1; offset <= Reports::publisher_max; offset++) {
        CHECK_FALSE(reports.full(0, 0));
        reports.open(report(offset, 100));
        reports.missed(7, 9, offset, 1);
    }
    CHECK(reports.full(0, 0));
    CHECK_FALSE(reports.full(1, 0));
    CHECK_FALSE(reports.full(0, 1));
    CHECK(swept(reports, 100).size() == Reports::tells_max);
    CHECK(reports.size() == Reports::publisher_max - Reports::tells_max);
    CHECK(swept(reports, 100).size() == Reports::tells_max);
    CHECK(reports.size() == 0);
    CHECK_FALSE(reports.full(0, 0));
}
