#include "payload.h"

#include <string>

#include <doctest/doctest.h>

using namespace ringcast::tools;

namespace {

std::string made(const Stamp& stamp, std::size_t size) {
    std::string text(size, '\0');
    write_payload(stamp, text);
    return text;
}

}  // namespace

TEST_CASE("payload: what was written is found again, at every size and inside other text") {
    const Stamp stamps[] = {{0, 0, 0},
                            {1, 2, 3},
                            {topics_max - 1, (1ULL << 48) - 1, (1LL << 60) - 1},
                            {7, 123'456'789, 1'700'000'000'000'000'000 >> 2}};
    for (const Stamp& stamp : stamps) {
        for (std::size_t size = payload_size_min; size < 100; size++) {
            CAPTURE(size);
            const std::string text = made(stamp, size);
            Stamp found;
            CHECK(find_payload(text, size, found) == Finding::sound);
            CHECK(found == stamp);
            const std::string wrapped = R"({"topic":"rc1","payload":")" + text + "\"}";
            found = {};
            CHECK(find_payload(wrapped, size, found) == Finding::sound);
            CHECK(found == stamp);
        }
    }
}

TEST_CASE("payload: a change of any character is noticed") {
    const Stamp stamp = {5, 70'000, 987'654'321'000};
    for (const std::size_t size : {32U, 33U, 40U, 257U}) {
        const std::string good = made(stamp, size);
        for (std::size_t i = 0; i < size; i++) {
            for (const char c : {'0', 'b', 'Z', '_', '\n', '\x80'}) {
                CAPTURE(size);
                CAPTURE(i);
                std::string bad = good;
                if (bad[i] == c) continue;
                bad[i] = c;
                Stamp found;
                const Finding finding = find_payload(bad, size, found);
                CHECK(finding == (i < 3 ? Finding::none : Finding::corrupt));
            }
        }
    }
}

TEST_CASE("payload: a cut one is corrupt, and other text is none") {
    Stamp found;
    const std::string good = made({1, 1, 1}, 64);
    CHECK(find_payload(good.substr(0, 63), 64, found) == Finding::corrupt);
    CHECK(find_payload("", 64, found) == Finding::none);
    CHECK(find_payload(R"({"type":"subscribed"})", 64, found) == Finding::none);
}

TEST_CASE("payload: it needs no escape inside a JSON string") {
    for (std::uint64_t seq = 0; seq < 200; seq++) {
        for (const char c : made({3, seq, static_cast<ringcast::Nanos>(seq) << 40}, 200)) {
            const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                               (c >= 'a' && c <= 'z') || c == '-' || c == '_';
            REQUIRE(plain);
        }
    }
}
