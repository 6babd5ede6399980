// What a store has dropped is not in its file any more, whatever SQLite does by itself.

#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include <doctest/doctest.h>
#include <sqlite3.h>

#include "io/store.h"
#include "tests/support/temp_folder.h"

namespace ringcast::io::test {

using ringcast::test::TempFolder;

namespace {

// Some systems build SQLite so that it erases by default, others do not: this is one of the others.
int forget_nothing(sqlite3* database,
                   const char** /*problem*/,
                   const sqlite3_api_routines* /*routines*/) {
    return sqlite3_exec(database, "PRAGMA secure_delete = OFF", nullptr, nullptr, nullptr);
}

class WithoutErasing {
  public:
    WithoutErasing() { REQUIRE(sqlite3_auto_extension(entry()) == SQLITE_OK); }
    WithoutErasing(const WithoutErasing&) = delete;
    WithoutErasing& operator=(const WithoutErasing&) = delete;
    ~WithoutErasing() { sqlite3_cancel_auto_extension(entry()); }

  private:
    using Entry = void (*)();
    static Entry entry() { return reinterpret_cast<Entry>(&forget_nothing); }
};

[[nodiscard]] std::unique_ptr<Store> open(const std::string& path) {
    std::string why;
    auto store = open_store({.path = path}, why);
    REQUIRE_MESSAGE(store.ok(), why);
    return std::move(store).value();
}

void append(Store& store,
            const std::string& topic,
            const std::string& key,
            const std::string& payload,
            StoreForm form = StoreForm::json) {
    StoreRecord record{.topic = topic,
                       .epoch = 7,
                       .id = "i",
                       .key = key,
                       .payload = as_bytes(payload),
                       .form = form};
    std::array<StoreRecord*, 1> batch{&record};
    REQUIRE(store.append(batch).ok());
}

void trim(Store& store, const std::string& topic, const Keep& keep) {
    while (true) {
        auto more = store.trim(topic, keep, 0);
        REQUIRE(more.ok());
        if (!more.value()) return;
    }
}

// Of a store that is closed: its log has gone into the file.
[[nodiscard]] std::string bytes_of(const std::string& path) {
    CHECK(!std::ifstream(path + "-wal").good());
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

[[nodiscard]] bool holds(const std::string& bytes, const std::string& what) {
    return bytes.find(what) != std::string::npos;
}

// Within a page, or over several, which go back whole.
[[nodiscard]] std::string payload_of(const std::string& mark, std::size_t size) {
    std::string payload;
    while (payload.size() < size) {
        payload += mark + ";";
    }
    return payload;
}

}  // namespace

TEST_CASE("store: what was trimmed is overwritten in the file") {
    const WithoutErasing without;
    const TempFolder folder(TempFolder::On::memory);
    const std::string path = folder.file("store.db");
    for (const std::size_t size : {40u, 900u, 30'000u}) {
        const std::string mark = "payload-of-" + std::to_string(size);
        auto store = open(path);
        for (int i = 0; i < 60; i++) {
            append(*store, "t", {}, payload_of(mark, size));
        }
        append(*store, "t", {}, "\"the last one stays\"");
        store.reset();
        CHECK(holds(bytes_of(path), mark));
        store = open(path);
        trim(*store, "t", {.records = 1});
        store.reset();
        const std::string left = bytes_of(path);
        CHECK_FALSE(holds(left, mark));
        CHECK(holds(left, "the last one stays"));
    }
}

TEST_CASE("store: what a key had before, and what was deleted, is overwritten, too") {
    const WithoutErasing without;
    const TempFolder folder(TempFolder::On::memory);
    const std::string path = folder.file("store.db");
    auto store = open(path);
    append(*store, "k", "one", payload_of("superseded", 20'000));
    append(*store, "k", "one", payload_of("present", 20'000));
    append(*store, "k", "gone-key", payload_of("deleted", 500));
    append(*store, "k", "gone-key", "null", StoreForm::deletion);
    store.reset();
    for (const char* what : {"superseded", "present", "gone-key", "deleted"}) {
        CHECK(holds(bytes_of(path), what));
    }
    store = open(path);
    trim(*store, "k", {.records = 0, .keyed = true});
    store.reset();
    const std::string left = bytes_of(path);
    CHECK(holds(left, "present"));
    for (const char* what : {"superseded", "gone-key", "deleted"}) {
        CAPTURE(what);
        CHECK_FALSE(holds(left, what));
    }
}

}  // namespace ringcast::io::test
