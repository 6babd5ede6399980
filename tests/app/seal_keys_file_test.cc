// The file of keys: who may read it, and that whatever is wrong is one line with its name.

#include "app/seal_keys_file.h"

#include <fstream>
#include <string>

#include <doctest/doctest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/temp_folder.h"

using namespace ringcast;
using app::read_seal_keys;

namespace {

constexpr const char* good =
    "prices p1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

class KeyFile {
  public:
    explicit KeyFile(const std::string& text, mode_t mode = 0600) {
        std::ofstream(name()) << text;
        REQUIRE(chmod(name().c_str(), mode) == 0);
    }
    [[nodiscard]] std::string name() const { return folder_.file("keys"); }
    // Behind the flag and the name.
    [[nodiscard]] std::string problem() const {
        SealKeys keys(1);
        const std::string line = read_seal_keys(name(), keys);
        CHECK(keys.empty());
        const std::string head = "--seal-keys-file " + name() + ": ";
        CHECK(line.starts_with(head));
        return line.substr(head.size());
    }

  private:
    test::TempFolder folder_;
};

}  // namespace

TEST_CASE("seal keys file: what nobody else may read is read") {
    for (const mode_t mode : {0600u, 0400u, 0640u, 0440u}) {
        const KeyFile file(good, mode);
        SealKeys keys;
        CHECK(read_seal_keys(file.name(), keys).empty());
        REQUIRE(keys.size() == 1);
        CHECK(keys.front().id == "p1");
    }
}

TEST_CASE("seal keys file: what others may read or write is refused, and so is what is no file") {
    for (const mode_t mode : {0604u, 0602u, 0601u, 0620u, 0660u, 0644u}) {
        CHECK(KeyFile(good, mode).problem() == "others may read or write it: chmod 600, or 640");
    }
    CHECK(KeyFile("prices p1\n").problem() == "line 1: a line is NAME ID KEY");
    CHECK(KeyFile("").problem() == "no key is in it");
    CHECK(KeyFile("# " + std::string(app::seal_keys_file_size_max, 'x')).problem() ==
          "larger than 256KiB");
    const test::TempFolder folder;
    SealKeys keys;
    CHECK(read_seal_keys(folder.path(), keys).ends_with(": it is no regular file"));
    CHECK(read_seal_keys(folder.file("none"), keys).ends_with(": No such file or directory"));
    REQUIRE(mkfifo(folder.file("fifo").c_str(), 0600) == 0);
    CHECK(read_seal_keys(folder.file("fifo"), keys).ends_with(": it is no regular file"));
    CHECK(read_seal_keys("a\nb", keys) == "--seal-keys-file a?b: No such file or directory");
    if (geteuid() != 0) return;
    const KeyFile other(good);
    REQUIRE(chown(other.name().c_str(), 1234, 0) == 0);
    CHECK(other.problem() == "it belongs to user 1234, not to this one or root");
}

TEST_CASE("seal keys file: it may belong to whom root is about to become, and to no third one") {
    if (geteuid() != 0) return;
    const passwd* nobody = getpwnam("nobody");
    REQUIRE(nobody != nullptr);
    const KeyFile file(good);
    REQUIRE(chown(file.name().c_str(), nobody->pw_uid, 0) == 0);
    SealKeys keys;
    CHECK(read_seal_keys(file.name(), keys, "nobody").empty());
    CHECK(keys.size() == 1);
    for (const char* user : {"", "daemon", "no-such-user"}) {
        CAPTURE(user);
        CHECK(read_seal_keys(file.name(), keys, user).find("it belongs to user") !=
              std::string::npos);
        CHECK(keys.empty());
    }
    REQUIRE(chmod(file.name().c_str(), 0644) == 0);
    CHECK(!read_seal_keys(file.name(), keys, "nobody").empty());
}
