// What stands between us and the kernel: interrupted calls, filters, restrictions.

#include <cstring>

#include "tests/kernel_facts/facts.h"

namespace ringcast::io::facts {

TEST_CASE("K11: a submission that meets EINTR or EBUSY stays unsubmitted until it is tried again") {
    const bool can = in_child([] {
        test::Injector calls(SYS_io_uring_enter);
        return calls.usable() && Uring().usable();
    });
    if (!can) SKIP_FACT("no io_uring, or no seccomp listener");
    CHECK(in_child([] {
        test::Injector calls(SYS_io_uring_enter);
        for (const int error : {EINTR, EBUSY}) {
            Uring uring;
            REQUIRE(uring.usable());
            io_uring_prep_nop(uring.sqe(1));
            calls.fail(1, error);
            REQUIRE(io_uring_submit(&uring.ring) == -error);
            REQUIRE(io_uring_sq_ready(&uring.ring) == 1);
            // Whoever only waits now waits for ever.
            io_uring_cqe* cqe = nullptr;
            __kernel_timespec timeout{.tv_sec = 0, .tv_nsec = 30'000'000};
            REQUIRE(io_uring_wait_cqe_timeout(&uring.ring, &cqe, &timeout) == -ETIME);
            REQUIRE(io_uring_submit(&uring.ring) == 1);
            REQUIRE(uring.take().size() == 1);
        }
        return true;
    }));
}

TEST_CASE("K13: a seccomp filter that forbids openat does not forbid it to io_uring") {
    const bool can =
        in_child([] { return Uring().usable() && test::forbid_call(SYS_openat, EPERM); });
    if (!can) SKIP_FACT("no io_uring, or no seccomp");
    CHECK(in_child([] {
        Uring uring;
        REQUIRE(test::forbid_call(SYS_openat, EPERM));
        REQUIRE(::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY) == -1);
        REQUIRE(errno == EPERM);
        io_uring_prep_openat(uring.sqe(1), AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
        REQUIRE(uring.take().at(0).res >= 0);
        return true;
    }));
}

TEST_CASE("K13: a ring can be restricted to the operations it needs") {
    Uring uring(64, IORING_SETUP_R_DISABLED);
    NEED_URING(uring);
    io_uring_restriction rules[2];
    std::memset(rules, 0, sizeof(rules));
    rules[0].opcode = IORING_RESTRICTION_SQE_OP;
    rules[0].sqe_op = IORING_OP_NOP;
    rules[1].opcode = IORING_RESTRICTION_SQE_OP;
    rules[1].sqe_op = IORING_OP_SEND;
    const int fd = uring.ring.ring_fd;
    REQUIRE(::syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, rules, 2) == 0);
    REQUIRE(::syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0);
    io_uring_prep_nop(uring.sqe(1));
    CHECK(uring.take().at(0).res == 0);
    io_uring_prep_openat(uring.sqe(2), AT_FDCWD, "/dev/null", O_RDONLY, 0);
    CHECK(uring.take().at(0).res == -EACCES);
}

}  // namespace ringcast::io::facts
