#include "io/page_sender.h"

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "io/memfile.h"
#include "io/process.h"
#include "tests/io/harness.h"
#include "tests/support/descriptors.h"
#include "tests/support/wait.h"

namespace ringcast::io::test {

namespace {

constexpr std::size_t file_size = 8 << 20;

// A log file full of bytes, and a fan-out: each connection gets the same slice of it.
struct FanOut {
    explicit FanOut(std::size_t count)
        : file(MemFile::create("log", file_size).value()), sender(file.fd()) {
        all = stream_bytes(7, 0, file_size);
        std::memcpy(file.base(), all.data(), all.size());
        auto made = listen_tcp(parse_address("127.0.0.1:0").value(), {});
        REQUIRE(made.ok());
        for (std::size_t i = 0; i < count; i++) {
            peers.push_back(std::make_unique<Peer>(local_address(made.value().get()).value()));
            constexpr int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
            ours.emplace_back(::accept4(made.value().get(), nullptr, nullptr, flags));
            REQUIRE(ours.back().valid());
            cursors.push_back(0);
        }
    }

    // One slice for one connection, from its cursor on; `again`: the next call is for the same one.
    std::int32_t send(std::size_t i, std::size_t size, bool again = false) {
        Send send{.bytes = Bytes(file.base() + cursors[i], size),
                  .file_offset = static_cast<std::int64_t>(cursors[i])};
        sender.send(ours[i].get(), send, again);
        CHECK(send.by_reference == (send.result > 0));
        if (send.result > 0) cursors[i] += static_cast<std::size_t>(send.result);
        return send.result;
    }

    // One batch with the same slice for everybody; small enough to be taken whole.
    void send_to_all(std::size_t size) {
        for (std::size_t i = 0; i < ours.size(); i++) {
            REQUIRE(static_cast<std::size_t>(send(i, size, i + 1 < ours.size())) == size);
        }
    }

    // Whether everybody got all that was sent, and nothing else.
    bool arrived() {
        bool whole = true;
        for (std::size_t i = 0; i < peers.size(); i++) {
            static_cast<void>(peers[i]->drain());
            const std::string& got = peers[i]->received;
            REQUIRE(got == std::string_view(all).substr(0, got.size()));
            whole = whole && got.size() == cursors[i];
        }
        return whole;
    }

    MemFile file;
    PageSender sender;
    std::string all;
    std::vector<std::unique_ptr<Peer>> peers;
    std::vector<Fd> ours;
    std::vector<std::size_t> cursors;
};

}  // namespace

TEST_CASE("page sender: everybody gets the same slices, of any size and from any place") {
    FanOut fan(5);
    REQUIRE(fan.sender.shares());
    Random random(11);
    // One page, a part of one, what the pipe holds, one byte to either side, and more than that.
    const std::size_t sizes[] = {4096, 1, 5000, 1 << 20, (1 << 20) - 1, (1 << 20) + 1, 3 << 19, 0};
    for (std::size_t size : sizes) {
        if (size == 0) size = 1 + random.below(100'000);
        CAPTURE(size);
        std::vector<std::size_t> goals;
        for (const std::size_t cursor : fan.cursors) {
            goals.push_back(cursor + size);
        }
        for (bool done = false; !done;) {
            done = true;
            for (std::size_t i = 0; i < goals.size(); i++) {
                if (fan.cursors[i] == goals[i]) continue;
                const bool again = i + 1 < goals.size() && fan.cursors[i + 1] == fan.cursors[i];
                REQUIRE(fan.send(i, goals[i] - fan.cursors[i], again) >= 0);
                done = done && fan.cursors[i] == goals[i];
            }
            static_cast<void>(fan.arrived());
        }
        CHECK(ringcast::test::wait_until([&] { return fan.arrived(); }));
    }
}

TEST_CASE("page sender: a full socket takes a part, and the rest of the slice goes to nobody") {
    FanOut fan(4);
    std::size_t short_sends = 0;
    for (int round = 0; round < 8; round++) {
        for (std::size_t i = 0; i < 4; i++) {
            const std::size_t size = std::min<std::size_t>(1 << 20, file_size - fan.cursors[i]);
            if (size == 0) continue;
            const bool again = i + 1 < 4 && fan.cursors[i + 1] == fan.cursors[i];
            const std::int32_t sent = fan.send(i, size, again);
            REQUIRE(sent >= 0);
            short_sends += static_cast<std::size_t>(sent) < size ? 1 : 0;
            if (i == 0) static_cast<void>(fan.peers[0]->drain());  // the others do not read
        }
    }
    CHECK(short_sends > 0);
    CHECK(ringcast::test::wait_until([&] { return fan.arrived(); }));
}

TEST_CASE("page sender: pages that were punched out arrive as they were") {
    FanOut fan(3);
    constexpr std::size_t size = 64 * 1024;
    fan.send_to_all(size);
    MemFile::punch_hole(&fan.file, 0, size);
    std::memset(fan.file.base(), 'x', size);
    CHECK(ringcast::test::wait_until([&] { return fan.arrived(); }));
}

TEST_CASE("page sender: after a batch the same place is read anew") {
    FanOut fan(2);
    constexpr std::size_t size = 64 * 1024;
    fan.send_to_all(size);
    CHECK(ringcast::test::wait_until([&] { return fan.arrived(); }));
    // The log goes round: other bytes at the same place.
    MemFile::punch_hole(&fan.file, 0, size);
    std::memset(fan.file.base(), 'y', size);
    fan.all.replace(size, size, std::string(size, 'y'));
    for (std::size_t i = 0; i < 2; i++) {
        Send send{.bytes = Bytes(fan.file.base(), size), .file_offset = 0};
        fan.sender.send(fan.ours[i].get(), send, i == 0);
        REQUIRE(send.result == size);
        fan.cursors[i] += size;
    }
    CHECK(ringcast::test::wait_until([&] { return fan.arrived(); }));
}

TEST_CASE("page sender: a connection that is gone fails alone") {
    ignore_broken_pipes();
    FanOut fan(4);
    fan.peers[2]->reset();
    CHECK(ringcast::test::wait_until([&] {
        char byte = 0;
        return ::recv(fan.ours[2].get(), &byte, 1, MSG_PEEK) < 0 && errno != EAGAIN;
    }));
    constexpr std::size_t size = 64 * 1024;
    for (std::size_t i = 0; i < 4; i++) {
        const std::int32_t sent = fan.send(i, size, i < 3);
        CHECK((i == 2 ? sent < 0 : sent == size));
    }
    fan.peers[2]->received.clear();
    fan.cursors[2] = 0;
    CHECK(ringcast::test::wait_until([&] {
        bool all = true;
        for (const std::size_t i : {0U, 1U, 3U}) {
            static_cast<void>(fan.peers[i]->drain());
            all = all && fan.peers[i]->received == std::string_view(fan.all).substr(0, size);
        }
        return all;
    }));
}

TEST_CASE("page sender: where pipes cannot be had everything goes by sendfile") {
    CHECK(in_child([] {
        FanOut fan(3);
        ringcast::test::leave_descriptors(0);
        PageSender poor(fan.file.fd());
        REQUIRE_FALSE(poor.shares());
        constexpr std::size_t size = 64 * 1024;
        for (std::size_t i = 0; i < fan.ours.size(); i++) {
            Send send{.bytes = Bytes(fan.file.base(), size), .file_offset = 0};
            poor.send(fan.ours[i].get(), send, i + 1 < fan.ours.size());
            REQUIRE(static_cast<std::size_t>(send.result) == size);
            REQUIRE(send.by_reference);
            fan.cursors[i] = size;
        }
        return ringcast::test::wait_until([&] { return fan.arrived(); });
    }));
}

TEST_CASE("page sender: without a log there are no pipes") {
    CHECK_FALSE(PageSender(-1).shares());
}

}  // namespace ringcast::io::test
