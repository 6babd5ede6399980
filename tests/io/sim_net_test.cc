#include "io/sim_net.h"

#include <array>
#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include "io/memfile.h"

namespace ringcast::io {

namespace {

constexpr Nanos delay = 1000;

void run(SimNet& net) {
    while (net.next_at() != never) {
        static_cast<void>(net.step());
    }
}

// A link whose client has been taken out of the backlog.
[[nodiscard]] LinkId connect(SimNet& net) {
    const LinkId link = net.dial(0, delay, 4096, 4096);
    run(net);
    REQUIRE(net.backlog(0).size() == 1);
    net.backlog(0).pop_front();
    return link;
}

[[nodiscard]] std::string read_all(SimNet& net, LinkId link) {
    std::string text;
    net.read(link, text, SIZE_MAX);
    return text;
}

void say(SimNet& net, LinkId link, std::string_view text) {
    static_cast<void>(net.transmit(link, server_side, as_bytes(text), -1, 0));
}

}  // namespace

TEST_CASE("sim net: bytes arrive in order, however they are cut and delayed") {
    for (std::uint64_t seed = 1; seed <= 50; seed++) {
        CAPTURE(seed);
        SimNet net(seed, 1);
        net.chances.split = 700;
        net.chances.slow = 200;
        const LinkId link = connect(net);
        Random random(seed);
        std::string said;
        std::string heard;
        for (int i = 0; i < 200; i++) {
            SimStream& stream = net.link(link).stream[server_side];
            const std::size_t size = random.below(stream.room() + 1);
            if (size > 0) {
                const std::string text(size, static_cast<char>('a' + i % 26));
                said += text;
                say(net, link, text);
            }
            if (net.next_at() != never) static_cast<void>(net.step());
            net.read(link, heard, random.below(300));
        }
        while (heard.size() < said.size()) {
            run(net);
            net.read(link, heard, SIZE_MAX);
        }
        CHECK(heard == said);
    }
}

TEST_CASE(
    "sim net: the peer reads pages as they are when it reads them, unless they were punched") {
    auto made = MemFile::create("test", 8 * 4096);
    REQUIRE(made.ok());
    MemFile file = std::move(made).value();
    for (const bool punched : {false, true}) {
        CAPTURE(punched);
        SimNet net(1, 1);
        const LinkId link = connect(net);
        std::memcpy(file.base(), "first", 5);
        CHECK(net.transmit(link, server_side, Bytes(file.base(), 5), file.fd(), 0));
        CHECK(net.pipes() == 1);
        if (punched) file.punch(0, 4096);
        std::memcpy(file.base(), "again", 5);
        run(net);
        CHECK(read_all(net, link) == (punched ? "first" : "again"));
        CHECK(net.pipes() == 0);
    }
}

TEST_CASE("sim net: a close is FIN behind everything, or RST where something was not read") {
    for (const bool unread : {false, true}) {
        CAPTURE(unread);
        SimNet net(1, 1);
        const LinkId link = connect(net);
        if (unread) CHECK(net.send(link, "late") == 4);
        run(net);
        say(net, link, "bye");
        net.disconnect(link, server_side, true);
        run(net);
        const std::string heard = read_all(net, link);
        if (!unread) CHECK(heard == "bye");  // an RST may overtake it
        CHECK(net.broken(link) == unread);
        CHECK(net.ended(link) == !unread);
    }
}

TEST_CASE("sim net: what a hole swallowed arrives when it is healed") {
    SimNet net(1, 1);
    const LinkId link = connect(net);
    net.hole(link);
    say(net, link, "hello");
    net.finish(link, server_side);
    run(net);
    CHECK(read_all(net, link).empty());
    CHECK(net.heal() == net.now());
    run(net);
    CHECK(read_all(net, link) == "hello");
    CHECK(net.ended(link));
}

TEST_CASE("sim net: nobody listens any more: a reset") {
    SimNet net(1, 1);
    net.stop_listening(0);
    const LinkId link = net.dial(0, delay, 100, 100);
    run(net);
    CHECK(net.broken(link));
}

}  // namespace ringcast::io
