#include "node/backlog.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/feed/support.h"

using namespace ringcast;
using namespace ringcast::node;

TEST_CASE("backlog: what is packed is unpacked, piece by piece, whatever lies where") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        INFO("seed " << seed);
        Random random(seed);
        test::WatchedArena arena(256);
        feed::SegmentPool pool(arena.arena());
        const feed::Seq first = random.between(1, 1000);
        feed::Log log(pool, first, 1 << 20, {});
        std::vector<std::string> texts;
        for (std::uint64_t i = random.below(200); i > 0; i--) {
            texts.push_back(std::string(random.between(1, 3000), static_cast<char>('a' + i % 26)));
            const MutBytes room = log.reserve(texts.back().size());
            std::copy(
                texts.back().begin(), texts.back().end(), reinterpret_cast<char*>(room.data()));
            static_cast<void>(log.commit());
        }
        const std::size_t size_max = random.between(1, 20'000);
        feed::Seq at = first;
        do {
            feed::Seq end = 0;
            const Parcel parcel = pack(log, at, size_max, end);
            REQUIRE(parcel.empty() == (at == log.next()));
            const bool bounded = parcel.bytes().size() <= size_max || end == at + 1;
            REQUIRE(bounded);
            Bytes packed = parcel.bytes();
            for (; at < end; at++)
                REQUIRE(as_text(unpack(packed)) == texts[at - first]);
            REQUIRE(unpack(packed).empty());
        } while (at < log.next());
    }
}
