// Addresses and networks as people write them.

#include "base/ip.h"

#include <string>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;

namespace {

Ip ip(std::string_view text) {
    Ip parsed;
    REQUIRE_MESSAGE(parse_ip(text, parsed), std::string(text));
    return parsed;
}

IpNetwork network(std::string_view text) {
    IpNetwork parsed;
    REQUIRE_MESSAGE(parse_network(text, parsed), std::string(text));
    return parsed;
}

}  // namespace

TEST_CASE("ip: what is an address, and what it is then") {
    const struct {
        const char* text;
        const char* same;  // null: it is none
    } rows[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"192.0.2.255", "192.0.2.255"},
        {"::", "::"},
        {"2001:DB8:0:0::1", "2001:db8::1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"::ffff:c000:201", "192.0.2.1"},
        {"::192.0.2.1", "::192.0.2.1"},
        {"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
        {"", nullptr},
        {" 192.0.2.1", nullptr},
        {"192.0.2.1 ", nullptr},
        {"192.0.2", nullptr},
        {"192.0.2.256", nullptr},
        {"192.0.2.01", nullptr},
        {"192.0.2.1.", nullptr},
        {"0x7f.0.0.1", nullptr},
        {"2130706433", nullptr},
        {"192.0.2.1:80", nullptr},
        {"[::1]", nullptr},
        {"::1%lo", nullptr},
        {"1:2:3:4:5:6:7:8:9", nullptr},
        {"1:2:3:4:5:6:7", nullptr},
        {"1::2::3", nullptr},
        {"12345::", nullptr},
        {"localhost", nullptr},
        {"unknown", nullptr},
        {"_hidden", nullptr},
        {"2001:0db8:0000:0000:0000:0000:0000:0000:0000:0001", nullptr},
    };
    for (const auto& row : rows) {
        const char* const text = row.text;
        const char* const same = row.same;
        CAPTURE(text);
        Ip parsed;
        REQUIRE(parse_ip(text, parsed) == (same != nullptr));
        if (same == nullptr) continue;
        CHECK(format_ip(parsed) == same);
        CHECK(ip(same) == parsed);
    }
    Ip parsed;
    CHECK_FALSE(parse_ip(std::string_view("127.0.0.1\0", 10), parsed));
}

TEST_CASE("ip: loopback and households") {
    for (const char* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"}) {
        CHECK(is_loopback(ip(text)));
    }
    for (const char* text : {"126.255.255.255", "128.0.0.0", "::", "::2", "1::1", "0.0.0.1"}) {
        CHECK_FALSE(is_loopback(ip(text)));
    }
    CHECK(household_of(ip("192.0.2.7")) == ip("192.0.2.7"));
    CHECK(household_of(ip("2001:db8:1:2:3:4:5:6")) == ip("2001:db8:1:2::"));
    CHECK(household_of(ip("2001:db8:1:2::")) == household_of(ip("2001:db8:1:2:ffff::")));
    CHECK_FALSE(household_of(ip("2001:db8:1:2::")) == household_of(ip("2001:db8:1:3::")));
}

TEST_CASE("ip: networks contain what their prefix says") {
    const struct {
        const char* network;
        const char* inside;
        const char* outside;
    } rows[] = {
        {"0.0.0.0/0", "203.0.113.9", "2001:db8::1"},
        {"::/0", "2001:db8::1", "203.0.113.9"},
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.0.0.0/8", "10.0.0.0", "9.255.255.255"},
        {"192.0.2.0/25", "192.0.2.127", "192.0.2.128"},
        {"192.0.2.128/25", "192.0.2.128", "192.0.2.127"},
        {"192.0.2.6/31", "192.0.2.7", "192.0.2.8"},
        {"192.0.2.6/32", "192.0.2.6", "192.0.2.7"},
        {"192.0.2.6", "192.0.2.6", "192.0.2.7"},
        {"10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"},
        {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
        {"2001:db8::1", "2001:db8::1", "2001:db8::2"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.network);
        const IpNetwork made = network(row.network);
        CHECK(contains(made, ip(row.inside)));
        CHECK_FALSE(contains(made, ip(row.outside)));
        const IpNetwork list[] = {network("198.51.100.0/24"), made};
        CHECK(any_contains(list, ip(row.inside)));
        CHECK_FALSE(any_contains(list, ip(row.outside)));
    }
    CHECK_FALSE(any_contains({}, ip("127.0.0.1")));
}

TEST_CASE("ip: what is no network") {
    for (const char* text : {"",
                             "/",
                             "10.0.0.0/",
                             "10.0.0.0/33",
                             "10.0.0.0/-1",
                             "10.0.0.0/8 ",
                             "10.0.0.1/8",
                             "10.0.0.0/08",
                             "10.0.0.0/256",
                             "10.0.0.0/+8",
                             "10/8",
                             "::/129",
                             "2001:db8::1/64",
                             "::ffff:10.0.0.0/104",
                             "::ffff:10.0.0.1",
                             "any",
                             "10.0.0.0/8/8"}) {
        CAPTURE(text);
        IpNetwork made;
        CHECK_FALSE(parse_network(text, made));
    }
}

TEST_CASE("ip: a network holds exactly the addresses with its first bits") {
    Random random(7);
    for (int i = 0; i < 20'000; i++) {
        Ip base{.v6 = random.chance(1, 2)};
        const std::size_t size = base.v6 ? 16 : 4;
        const auto bits = static_cast<std::uint8_t>(random.below(8 * size + 1));
        for (std::size_t bit = 0; bit < bits; bit++) {
            if (random.chance(1, 2))
                base.bytes[bit / 8] |= static_cast<std::uint8_t>(0x80 >> bit % 8);
        }
        const IpNetwork made = network(format_ip(base) + "/" + std::to_string(bits));
        REQUIRE(made == IpNetwork{.base = base, .bits = bits});
        Ip other = base;
        const std::size_t flipped = random.below(8 * size);
        other.bytes[flipped / 8] ^= static_cast<std::uint8_t>(0x80 >> flipped % 8);
        REQUIRE(contains(made, other) == (flipped >= bits));
    }
}
