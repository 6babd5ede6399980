#include "io/send.h"

#include <cstring>

#include <doctest/doctest.h>

#include "io/memfile.h"
#include "io/process.h"
#include "tests/io/harness.h"
#include "tests/support/wait.h"

namespace ringcast::io::test {

namespace {

// Both ends of a TCP connection, ours non-blocking.
struct Connection {
    Connection() {
        auto made = listen_tcp(parse_address("127.0.0.1:0").value(), {});
        REQUIRE(made.ok());
        const int listener = made.value().get();
        peer = std::make_unique<Peer>(local_address(listener).value());
        ours = Fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        REQUIRE(ours.valid());
    }
    std::unique_ptr<Peer> peer;
    Fd ours;
};

}  // namespace

TEST_CASE("send: large slices of the log go by pages, everything else is copied") {
    std::byte bytes[100]{};
    const ReactorOptions options{.log_file = 5, .sendfile_min = 100};
    CHECK(goes_by_pages({.bytes = bytes, .file_offset = 0}, options));
    CHECK_FALSE(goes_by_pages({.bytes = bytes, .file_offset = -1}, options));
    CHECK_FALSE(goes_by_pages({.bytes = Bytes(bytes, 99), .file_offset = 0}, options));
    CHECK_FALSE(
        goes_by_pages({.bytes = bytes, .file_offset = 0}, {.log_file = -1, .sendfile_min = 1}));
}

TEST_CASE("send: both ways take what fits, then nothing, then say that the peer is gone") {
    auto made = MemFile::create("log", 16 << 20);
    REQUIRE(made.ok());
    MemFile& file = made.value();
    const std::string all = stream_bytes(3, 0, file.size());
    std::memcpy(file.base(), all.data(), all.size());
    ignore_broken_pipes();
    for (const bool pages : {false, true}) {
        CAPTURE(pages);
        Connection connection;
        std::size_t sent = 0;
        const auto send_rest = [&] {
            Send send{.bytes = Bytes(file.base() + sent, file.size() - sent),
                      .file_offset = static_cast<std::int64_t>(sent)};
            if (pages) {
                send_pages(connection.ours.get(), file.fd(), send);
                CHECK(send.by_reference == (send.result > 0));
            } else {
                send_copy(connection.ours.get(), send);
                CHECK_FALSE(send.by_reference);
            }
            return send.result;
        };
        const std::int32_t first = send_rest();
        CHECK(first > 0);
        CHECK(static_cast<std::size_t>(first) < file.size());
        sent += static_cast<std::size_t>(first);
        int full = 0;
        while (sent < file.size()) {
            const std::int32_t taken = send_rest();
            REQUIRE(taken >= 0);
            if (taken == 0) {
                full++;
                connection.peer->drain();
            }
            sent += static_cast<std::size_t>(taken);
        }
        CHECK(full > 0);
        CHECK(ringcast::test::wait_until([&] {
            return connection.peer->drain() || connection.peer->received.size() == all.size();
        }));
        CHECK(connection.peer->received == all);
        sent = 0;
        connection.peer->reset();
        CHECK(send_rest() < 0);
        CHECK(send_rest() == -EPIPE);
    }
}

}  // namespace ringcast::io::test
