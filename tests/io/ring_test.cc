#include "io/ring.h"

#include <csignal>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "tests/io/harness.h"
#include "tests/io/inject.h"

namespace ringcast::io::test {

namespace {

constexpr std::uint64_t seen_tag = 1'000'000;

void add_nop(Ring& ring, std::uint64_t user_data) {
    io_uring_sqe& sqe = ring.next_sqe();
    io_uring_prep_nop(&sqe);
    sqe.user_data = user_data;
}

// Submits `count` and takes all completions; whether each came exactly once.
[[nodiscard]] bool all_come_back(Ring& ring, std::uint64_t count) {
    std::set<std::uint64_t> missing;
    for (std::uint64_t i = 0; i < count; i++) {
        missing.insert(i);
        add_nop(ring, i);
    }
    for (int turn = 0; turn < 1000 && !missing.empty(); turn++) {
        ring.submit_and_sleep(nanos_per_ms);
        Completion done;
        while (ring.next(done)) {
            if (missing.erase(done.user_data) != 1) return false;
        }
    }
    return missing.empty();
}

}  // namespace

TEST_CASE("ring: more submissions than it has room for, more completions than it holds") {
    if (no_uring()) return;
    Ring ring;
    REQUIRE(ring.start(8, 16).ok());
    CHECK(ring.idle());
    CHECK(all_come_back(ring, 5));
    CHECK(all_come_back(ring, 1000));
    CHECK(ring.idle());
}

TEST_CASE("ring: fresh completions are read at once, older ones keep their order") {
    if (no_uring()) return;
    for (const std::uint64_t older : {0U, 1U, 5U, 15U, 16U, 17U, 40U, 100U}) {
        for (const std::uint64_t pending : {0U, 3U}) {
            CAPTURE(older);
            CAPTURE(pending);
            Ring ring;
            REQUIRE(ring.start(16, 16).ok());
            for (std::uint64_t i = 0; i < older; i++)
                add_nop(ring, i);
            ring.submit();
            for (std::uint64_t i = 0; i < pending; i++)
                add_nop(ring, older + i);
            const Ring::Mark mark = ring.mark_with_room(4);
            for (std::uint64_t i = 0; i < 4; i++)
                add_nop(ring, 500 + i);
            ring.submit();
            std::vector<std::uint64_t> fresh;
            ring.visit(mark, seen_tag, [&fresh](const Completion& done) noexcept {
                if (done.user_data < 500) return false;
                fresh.push_back(done.user_data);
                return true;
            });
            CHECK(fresh == std::vector<std::uint64_t>{500, 501, 502, 503});
            std::vector<std::uint64_t> rest;
            Completion done;
            while (ring.next(done)) {
                if (done.user_data != seen_tag) rest.push_back(done.user_data);
            }
            REQUIRE(rest.size() == older + pending);
            for (std::uint64_t i = 0; i < rest.size(); i++)
                CHECK(rest[i] == i);
            CHECK(ring.idle());
        }
    }
}

TEST_CASE("ring: a completion that the kernel dropped ends the process, whoever is told of it") {
    if (no_uring()) return;
    const auto dies = [](auto body) {
        const pid_t child = ::fork();
        if (child == 0) {
            std::signal(SIGABRT, SIG_DFL);  // doctest would report it, as a failure
            Ring ring;
            if (!ring.start(8, 16).ok()) ::_exit(2);
            body(ring);
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    };
    CHECK_FALSE(dies([](Ring& ring) { ring.submit_and_sleep(0); }));
    const auto drop = [](Ring& ring) { *ring.raw().cq.koverflow = 1; };
    CHECK(dies([&](Ring& ring) {
        drop(ring);
        ring.submit_and_sleep(0);
    }));
    CHECK(dies([&](Ring& ring) {
        drop(ring);
        ring.submit_and_sleep(nanos_per_ms);
    }));
    CHECK(dies([&](Ring& ring) {
        drop(ring);
        add_nop(ring, 1);
        ring.submit();
    }));
    CHECK(dies([](Ring& ring) {
        Injector calls(SYS_io_uring_enter);
        if (!calls.usable()) std::abort();
        calls.fail(1, EBADR);
        add_nop(ring, 1);
        ring.submit();
    }));
}

TEST_CASE("ring: EINTR, EAGAIN and EBUSY lose no submission (K11)") {
    if (no_uring()) return;
    CHECK(in_child([] {
        Injector calls(SYS_io_uring_enter);
        if (!calls.usable()) return skip("injected errors: no seccomp listener");
        Ring ring;
        REQUIRE(ring.start(8, 16).ok());
        for (const int error : {EINTR, EAGAIN, EBUSY}) {
            for (const int times : {1, 2, 7}) {
                calls.fail(times, error);
                REQUIRE(all_come_back(ring, 30));
                calls.fail(times, error);
                add_nop(ring, 7);
                ring.submit();
                REQUIRE(calls.left() == 0);
                Completion done;
                REQUIRE(ring.next(done));
                REQUIRE(done.user_data == 7);
            }
        }
        return true;
    }));
}

}  // namespace ringcast::io::test
