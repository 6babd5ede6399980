#include "io/memfile.h"

#include <cstring>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ringcast::io::test {

namespace {

[[nodiscard]] std::size_t blocks_of(const MemFile& file) {
    struct stat stat {};
    REQUIRE(::fstat(file.fd(), &stat) == 0);
    return static_cast<std::size_t>(stat.st_blocks) * 512;
}

}  // namespace

TEST_CASE("memfile: memory and file are the same bytes") {
    auto made = MemFile::create("test", 100'000);
    REQUIRE(made.ok());
    MemFile& file = made.value();
    CHECK(file.size() == 102'400);  // whole pages
    CHECK((::fcntl(file.fd(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(blocks_of(file) == 0);  // nothing touched, nothing held
    std::memcpy(file.base() + 5000, "seen", 4);
    char text[4] = {};
    REQUIRE(::pread(file.fd(), text, 4, 5000) == 4);
    CHECK(std::memcmp(text, "seen", 4) == 0);
    REQUIRE(::pwrite(file.fd(), "back", 4, 9000) == 4);
    CHECK(std::memcmp(file.base() + 9000, "back", 4) == 0);
}

TEST_CASE("memfile: a hole reads as zero and holds no memory, its neighbours stay") {
    auto made = MemFile::create("test", 64 * 4096);
    REQUIRE(made.ok());
    MemFile file(std::move(made).value());
    std::memset(file.base(), 'x', file.size());
    CHECK(blocks_of(file) == file.size());
    MemFile::punch_hole(&file, 16 * 4096, 8 * 4096);
    CHECK(blocks_of(file) == 56 * 4096);
    for (std::size_t i = 0; i < file.size(); i++) {
        const bool hole = i >= 16 * 4096 && i < 24 * 4096;
        if (file.base()[i] != static_cast<std::byte>(hole ? 0 : 'x')) FAIL("wrong byte at " << i);
    }
    file.punch(0, file.size());
    CHECK(blocks_of(file) == 0);
    std::memset(file.base(), 'y', 10);
    CHECK(file.base()[9] == std::byte{'y'});
}

TEST_CASE("memfile: what cannot be is refused with the kernel's reason") {
    CHECK_FALSE(MemFile::create("too large", std::size_t{1} << 62).ok());
}

}  // namespace ringcast::io::test
