#include "io/waker.h"

#include <thread>

#include <doctest/doctest.h>
#include <poll.h>

namespace ringcast::io::test {

TEST_CASE("waker: is readable after a wake from any thread, and not before") {
    Waker waker;
    REQUIRE(waker.start().ok());
    pollfd event{.fd = waker.fd(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&event, 1, 0) == 0);
    std::thread other([&waker] { waker.wake(); });
    CHECK(::poll(&event, 1, 10'000) == 1);
    other.join();
    CHECK(event.revents == POLLIN);
}

}  // namespace ringcast::io::test
