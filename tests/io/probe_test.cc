#include "io/probe.h"

#include <string_view>

#include <doctest/doctest.h>

#include "tests/io/harness.h"
#include "tests/io/inject.h"

namespace ringcast::io::test {

TEST_CASE("probe: says in one sentence which back end it is, and why") {
    const Probe probe = probe_uring();
    CHECK(std::string_view(probe.why).size() > 5);
    std::string why;
    auto any = make_reactor(Backend::automatic, {}, why);
    REQUIRE(any.ok());
    CHECK(std::string_view(any.value()->name()) == (probe.usable ? "uring" : "epoll"));
    CHECK(why == std::string(probe.usable ? "io_uring: " : "epoll: ") + probe.why);
    auto epoll = make_reactor(Backend::epoll, {}, why);
    REQUIRE(epoll.ok());
    CHECK(std::string_view(epoll.value()->name()) == "epoll");
    CHECK(why == "epoll: asked for");
}

TEST_CASE("probe: where io_uring is forbidden, automatic is epoll and uring is an error") {
    for (const int error : {EPERM, ENOSYS}) {
        const std::string word = ::strerrorname_np(error);
        CAPTURE(word);
        CHECK(in_child([&] {
            if (!forbid_call(SYS_io_uring_setup, error))
                return skip("forbidden io_uring: no seccomp");
            std::string why;
            auto reactor = make_reactor(Backend::automatic, {}, why);
            REQUIRE(reactor.ok());
            REQUIRE(std::string_view(reactor.value()->name()) == "epoll");
            REQUIRE(why.starts_with("epoll: io_uring_setup says"));
            REQUIRE(why.find(word) != std::string::npos);
            REQUIRE_FALSE(make_reactor(Backend::uring, {}, why).ok());
            REQUIRE(why.starts_with("io_uring cannot be used: io_uring_setup says"));
            return true;
        }));
    }
}

TEST_CASE("probe: a kernel without rings of buffers is told from one without io_uring") {
    if (no_uring()) return;
    CHECK(in_child([] {
        if (!forbid_call(SYS_io_uring_register, EINVAL)) return skip("an old io_uring: no seccomp");
        std::string why;
        auto reactor = make_reactor(Backend::automatic, {}, why);
        REQUIRE(reactor.ok());
        REQUIRE(std::string_view(reactor.value()->name()) == "epoll");
        REQUIRE(why == "epoll: multishot receive with a buffer ring says EINVAL");
        return true;
    }));
}

TEST_CASE("probe: direct descriptors beyond the limit are an error with uring, epoll otherwise") {
    if (no_uring()) return;
    const ReactorOptions options{.connections_max = 10'000'000, .direct_descriptors = true};
    std::string why;
    CHECK(make_reactor(Backend::uring, options, why).error().os == EMFILE);
    CHECK(why == "io_uring cannot be used: making the ring says EMFILE");
    auto reactor = make_reactor(Backend::automatic, options, why);
    REQUIRE(reactor.ok());
    CHECK(why == "epoll: making the ring says EMFILE");
}

}  // namespace ringcast::io::test
