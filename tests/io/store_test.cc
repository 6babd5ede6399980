#include "io/store.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/io/inject.h"
#include "tests/support/temp_folder.h"

namespace ringcast::io::test {

using ringcast::test::TempFolder;

namespace {

struct Kept {
    std::uint64_t epoch = 0;
    std::uint64_t offset = 0;
    Nanos wall_ns = 0;
    std::string client = {};
    std::string id = {};
    std::string key = {};
    std::string payload = {};
    StoreForm form = StoreForm::json;
    bool hollow = false;

    friend bool operator==(const Kept&, const Kept&) = default;
};

struct Place {
    std::uint64_t epoch = 0;
    std::uint64_t next = 1;
    std::uint64_t first = 1;

    friend bool operator==(const Place&, const Place&) = default;
};

// Everything in a store.
struct Content final : StoreVisitor {
    std::map<std::string, Place> topics;
    std::map<std::string, std::vector<Kept>> records;

    void topic(const StoreTopic& topic) noexcept override {
        topics[std::string(topic.name)] = {
            .epoch = topic.epoch, .next = topic.next, .first = topic.first};
    }
    void record(const StoreRecord& record) noexcept override {
        records[std::string(record.topic)].push_back(
            {.epoch = record.epoch,
             .offset = record.offset,
             .wall_ns = record.wall_ns,
             .client = std::string(record.client),
             .id = std::string(record.id),
             .key = std::string(record.key),
             .payload = std::string(as_text(record.payload)),
             .form = record.form,
             .hollow = record.hollow});
    }
};

[[nodiscard]] std::unique_ptr<Store> open(const std::string& path, std::uint64_t size_max = 0) {
    std::string why;
    auto store = open_store({.path = path, .size_max = size_max}, why);
    CAPTURE(why);
    REQUIRE(store.ok());
    return std::move(store).value();
}

[[nodiscard]] Error refusal(const StoreOptions& options, std::string& why) {
    auto store = open_store(options, why);
    REQUIRE(!store.ok());
    CHECK(why.starts_with(options.path + ": "));
    return store.error();
}

[[nodiscard]] Content content_of(Store& store) {
    Content content;
    REQUIRE(store.load_topics(content).ok());
    const auto loaded = store.load_records(content);
    CAPTURE(store.why());
    REQUIRE(loaded.ok());
    return content;
}

[[nodiscard]] Result<Done> append_one(Store& store, StoreRecord& record) {
    std::array<StoreRecord*, 1> batch{&record};
    return store.append(batch);
}

void append_some(Store& store, const std::string& topic, int count, std::size_t size = 10) {
    const std::string payload(size, 'x');
    for (int i = 0; i < count; i++) {
        StoreRecord record{.topic = topic, .epoch = 7, .id = "i", .payload = as_bytes(payload)};
        REQUIRE(append_one(store, record).ok());
    }
}

void change(const std::string& path, const std::string& sql) {
    Database database;
    REQUIRE(database.open(path).ok());
    REQUIRE(database.execute(sql).ok());
}

}  // namespace

TEST_CASE("store: a payload that is made of its number is what is stored") {
    const TempFolder folder;
    auto store = open(folder.file("a.db"));
    append_some(*store, "a", 2);
    std::string made;
    StoreRecord record{.topic = "a", .epoch = 7, .form = StoreForm::sealed};
    record.context = &made;
    record.finish = [](void* context, std::uint64_t offset) noexcept {
        auto& text = *static_cast<std::string*>(context);
        text = "number " + std::to_string(offset);
        return as_bytes(text);
    };
    REQUIRE(append_one(*store, record).ok());
    const Kept kept = content_of(*store).records["a"].back();
    CHECK(kept.payload == "number 3");
    CHECK(kept.form == StoreForm::sealed);
}

TEST_CASE("store: numbers go up by one in each topic, and all is there when it is opened again") {
    const TempFolder folder;
    const std::string path = folder.file("a.db");
    {
        auto store = open(path);
        CHECK(content_of(*store).topics.empty());
        StoreRecord one{.topic = "a",
                        .epoch = UINT64_MAX,
                        .wall_ns = 1'700'000'000'000'000'001,
                        .client = "client",
                        .id = std::string_view("i\0d", 3),
                        .key = "key",
                        .payload = as_bytes("[1]"),
                        .form = StoreForm::json};
        StoreRecord two{.topic = "b", .epoch = 5, .payload = {}, .form = StoreForm::binary};
        StoreRecord three{
            .topic = "a", .epoch = UINT64_MAX, .payload = as_bytes("t"), .form = StoreForm::text};
        std::array<StoreRecord*, 3> batch{&one, &two, &three};
        REQUIRE(store->append(batch).ok());
        CHECK(one.offset == 1);
        CHECK(two.offset == 1);
        CHECK(three.offset == 2);
    }
    auto store = open(path);
    StoreRecord four{.topic = "a", .epoch = UINT64_MAX, .form = StoreForm::deletion};
    REQUIRE(append_one(*store, four).ok());
    CHECK(four.offset == 3);

    Content content = content_of(*store);
    CHECK(content.topics.size() == 2);
    CHECK(content.topics["a"] == Place{.epoch = UINT64_MAX, .next = 4, .first = 1});
    CHECK(content.topics["b"] == Place{.epoch = 5, .next = 2, .first = 1});
    const std::vector<Kept> a{
        {.epoch = UINT64_MAX,
         .offset = 1,
         .wall_ns = 1'700'000'000'000'000'001,
         .client = "client",
         .id = std::string("i\0d", 3),
         .key = "key",
         .payload = "[1]"},
        {.epoch = UINT64_MAX, .offset = 2, .payload = "t", .form = StoreForm::text},
        {.epoch = UINT64_MAX, .offset = 3, .form = StoreForm::deletion}};
    CHECK(content.records["a"] == a);
    CHECK(content.records["b"] ==
          std::vector<Kept>{{.epoch = 5, .offset = 1, .form = StoreForm::binary}});
}

TEST_CASE("store: a batch is written whole or not at all, and leaves its numbers to the next") {
    const TempFolder folder;
    auto store = open(folder.file("a.db"));
    append_some(*store, "a", 2);
    StoreRecord good{.topic = "a", .epoch = 7};
    StoreRecord wrong{.topic = "a", .epoch = 8};  // the place of another store
    std::array<StoreRecord*, 2> batch{&good, &wrong};
    const auto done = store->append(batch);
    REQUIRE(!done.ok());
    CHECK(fault_of(done.error()) == StoreFault::other);
    CHECK(store->why() == folder.file("a.db") + ": topic 'a' has another epoch");
    CHECK(content_of(*store).topics["a"].next == 3);
    REQUIRE(append_one(*store, good).ok());
    CHECK(good.offset == 3);
}

// What the store must hold, in the plainest way.
struct Model {
    struct Topic {
        Keep keep;
        Place place;
        std::uint64_t seen = 1;
        std::vector<Kept> records;  // all that are left
    };
    std::map<std::string, Topic> topics;

    static void trim(Topic& topic, Nanos now) {
        const Keep& keep = topic.keep;
        Place& place = topic.place;
        for (const Kept& record : topic.records) {
            if (record.offset < place.first) continue;
            std::uint64_t bytes = 0;
            for (const Kept& other : topic.records)
                if (other.offset >= record.offset) bytes += other.payload.size();
            const bool old = keep.age != never && record.wall_ns < now - keep.age;
            if (place.next - record.offset <= keep.records && bytes <= keep.bytes && !old) break;
            place.first = record.offset + 1;
        }
        for (const Kept& record : topic.records) {
            if (record.offset < topic.seen || record.offset >= place.first) continue;
            const bool old = keep.ids_age != never && record.wall_ns < now - keep.ids_age;
            if (place.next - record.offset <= keep.ids && !old) break;
            topic.seen = record.offset + 1;
        }
        std::map<std::string, std::uint64_t> latest;
        for (const Kept& record : topic.records)
            if (!record.key.empty()) latest[record.key] = record.offset;
        std::erase_if(topic.records, [&](Kept& record) {
            if (record.offset >= place.first) return false;
            const bool stays = keep.keyed && !record.key.empty() &&
                               latest[record.key] == record.offset &&
                               record.form != StoreForm::deletion;
            if (stays) return false;
            record.hollow = true;
            record.key.clear();
            record.payload.clear();
            return record.offset < topic.seen;
        });
    }
};

[[nodiscard]] Keep keep_of(Random& random, bool keyed) {
    return {.records = random.chance(1, 2) ? UINT64_MAX : random.below(30),
            .bytes = random.chance(1, 2) ? UINT64_MAX : random.below(500),
            .age = random.chance(1, 2) ? never : static_cast<Nanos>(random.below(500)),
            .keyed = keyed,
            .ids = random.below(60),
            .ids_age = random.chance(1, 2) ? never : static_cast<Nanos>(random.below(1000))};
}

TEST_CASE("store: whatever is appended, trimmed and opened again, it holds what the rules say") {
    for (std::uint64_t seed = 1; seed <= 25; seed++) {
        CAPTURE(seed);
        Random random(seed);
        const TempFolder folder(TempFolder::On::memory);
        auto store = open(folder.file("a.db"));
        Model model;
        for (const char* name : {"a", "b", "c"}) {
            model.topics[name].place.epoch = random.next() | 1;
            model.topics[name].keep = keep_of(random, random.chance(1, 2));
        }
        Nanos now = 1'000'000;
        for (int step = 0; step < 120; step++) {
            now += static_cast<Nanos>(random.below(20));
            auto at = model.topics.begin();
            std::advance(at, random.below(3));
            Model::Topic& topic = at->second;
            if (random.chance(2, 3)) {
                std::vector<Kept> made(1 + random.below(5));
                std::vector<StoreRecord> records;
                std::vector<StoreRecord*> batch;
                records.reserve(made.size());
                for (Kept& record : made) {
                    record = {.epoch = topic.place.epoch,
                              .offset = topic.place.next++,
                              .wall_ns = now,
                              .client = "c" + std::to_string(random.below(3)),
                              .id = std::to_string(step),
                              .key = topic.keep.keyed ? "k" + std::to_string(random.below(6)) : "",
                              .payload = std::string(random.below(40), 'p'),
                              .form = static_cast<StoreForm>(random.below(4))};
                    records.push_back({.topic = at->first,
                                       .epoch = record.epoch,
                                       .wall_ns = record.wall_ns,
                                       .client = record.client,
                                       .id = record.id,
                                       .key = record.key,
                                       .payload = as_bytes(record.payload),
                                       .form = record.form});
                    batch.push_back(&records.back());
                }
                REQUIRE(store->append(batch).ok());
                for (std::size_t i = 0; i < made.size(); i++) {
                    REQUIRE(records[i].offset == made[i].offset);
                }
                topic.records.insert(topic.records.end(), made.begin(), made.end());
            } else if (random.chance(3, 4)) {
                const auto more = store->trim(at->first, topic.keep, now);
                REQUIRE(more.ok());
                Model::trim(topic, now);
            } else {
                store.reset();
                store = open(folder.file("a.db"));
            }
        }
        Content content = content_of(*store);
        for (const auto& [name, topic] : model.topics) {
            if (topic.place.next == 1) continue;
            const std::string& which = name;
            CAPTURE(which);
            CHECK(content.topics[name] == topic.place);
            CHECK(content.records[name] == topic.records);
        }
    }
}

TEST_CASE("store: a trim looks at a bounded part, says so, and comes to its end") {
    const TempFolder folder;
    auto store = open(folder.file("a.db"));
    std::vector<StoreRecord> records(25'000, StoreRecord{.topic = "a", .epoch = 7});
    std::vector<StoreRecord*> batch;
    for (StoreRecord& record : records) {
        batch.push_back(&record);
    }
    REQUIRE(store->append(batch).ok());
    CHECK(store->trim("none", {}, 0).value() == false);
    int calls = 1;
    while (store->trim("a", {.records = 3, .ids = 5}, 0).value()) {
        calls++;
    }
    CHECK(calls == 13);
    Content content = content_of(*store);
    CHECK(content.topics["a"] == Place{.epoch = 7, .next = 25'001, .first = 24'998});
    REQUIRE(content.records["a"].size() == 5);
    CHECK(content.records["a"][1].hollow);
    CHECK(!content.records["a"][2].hollow);
}

TEST_CASE("store: a full one says so, keeps what it has, and goes on when there is room again") {
    const TempFolder folder;
    auto store = open(folder.file("a.db"), 256 * 1024);
    const std::string payload(2000, 'x');
    std::uint64_t last = 0;
    for (;;) {
        StoreRecord record{.topic = "a", .epoch = 7, .payload = as_bytes(payload)};
        const auto done = append_one(*store, record);
        if (!done.ok()) {
            CHECK(fault_of(done.error()) == StoreFault::full);
            CHECK(done.error().code == Errc::os);
            CHECK(done.error().os == ENOSPC);
            CHECK(store->why() == folder.file("a.db") + ": database or disk is full");
            break;
        }
        last = record.offset;
    }
    REQUIRE(last > 50);
    CHECK(content_of(*store).topics["a"].next == last + 1);
    CHECK(!store->trim("a", {.records = 10}, 0).value());
    StoreRecord record{.topic = "a", .epoch = 7, .payload = as_bytes(payload)};
    REQUIRE(append_one(*store, record).ok());
    CHECK(record.offset == last + 1);
}

namespace {

void write_file(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
}

// Puts a disk of its own over a folder, for this process alone. False where that is forbidden.
[[nodiscard]] bool mount_disk(const std::string& folder, const char* size) {
    const std::string user = std::to_string(::getuid());
    const std::string group = std::to_string(::getgid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "0 " + user + " 1");
    write_file("/proc/self/gid_map", "0 " + group + " 1");
    return ::mount("none", folder.c_str(), "tmpfs", 0, size) == 0;
}

}  // namespace

TEST_CASE("store: on a full disk it says so, and goes on when something was deleted") {
    const TempFolder folder;
    constexpr const char* size = "size=1m";
    if (!in_child([&] { return mount_disk(folder.path(), size); })) {
        skip("a full disk: no user namespaces");
        return;
    }
    const auto body = [&] {
        REQUIRE(mount_disk(folder.path(), size));
        const std::string path = folder.file("a.db");
        write_file(folder.file("other"), std::string(300'000, 'x'));
        const auto store = open(path);
        const std::string payload(5000, 'x');
        StoreRecord record{.topic = "a", .epoch = 7, .payload = as_bytes(payload)};
        std::uint64_t last = 0;
        int refusals = 0;
        while (refusals < 3) {  // again and again, for the log begins anew once it is in the file
            const auto done = append_one(*store, record);
            if (done.ok()) last = record.offset;
            if (done.ok()) continue;
            REQUIRE(done.error() == store_error(StoreFault::full));
            REQUIRE(store->why() == path + ": database or disk is full");
            refusals++;
        }
        REQUIRE(last > 20);
        REQUIRE(content_of(*store).topics["a"].next == last + 1);
        REQUIRE(::unlink(folder.file("other").c_str()) == 0);
        REQUIRE(append_one(*store, record).ok());
        return record.offset == last + 1;
    };
    CHECK(in_child(body));
}

// The limit of the process stands for the disk: the kernel refuses to let any file grow.
TEST_CASE("store: a write that the kernel refuses is an error with its reason, and no more") {
    const TempFolder folder;
    const std::string path = folder.file("a.db");
    const auto body = [&] {
        const auto store = open(path);
        ::signal(SIGXFSZ, SIG_IGN);
        rlimit limit{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
        limit.rlim_cur = 300'000;
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
        const std::string payload(5000, 'x');
        StoreRecord record{.topic = "a", .epoch = 7, .payload = as_bytes(payload)};
        std::uint64_t last = 0;
        for (;;) {
            const auto done = append_one(*store, record);
            if (!done.ok()) {
                REQUIRE(fault_of(done.error()) == StoreFault::io);
                REQUIRE(done.error().code == Errc::os);  // EIO where SQLite forgot the reason
                REQUIRE(store->why().starts_with(path + ": disk I/O error"));
                break;
            }
            last = record.offset;
            REQUIRE(last < 1000);
        }
        limit.rlim_cur = limit.rlim_max;
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
        REQUIRE(append_one(*store, record).ok());
        return record.offset == last + 1;
    };
    CHECK(in_child(body));
    CHECK(content_of(*open(path)).topics.size() == 1);
}

TEST_CASE("store: two cannot have the same file, in one process or in two") {
    const TempFolder folder;
    const std::string path = folder.file("a.db");
    auto store = open(path);
    const auto refused = [&] {
        std::string why;
        const Error error = refusal({.path = path}, why);
        return error == store_error(StoreFault::locked) && why == path + ": database is locked";
    };
    CHECK(refused());
    CHECK(in_child(refused));
    append_some(*store, "a", 1);  // it is no worse for that
    store.reset();
    CHECK(in_child([&] { return content_of(*open(path)).topics.size() == 1; }));
}

TEST_CASE("store: a file that may only be read is refused") {
    const TempFolder folder;
    const std::string path = folder.file("a.db");
    open(path).reset();
    REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
    REQUIRE(::chmod(path.c_str(), 0444) == 0);
    const auto body = [&] {
        if (::geteuid() == 0) REQUIRE(::seteuid(65534) == 0);  // root may write everything
        std::string why;
        const Error error = refusal({.path = path}, why);
        return error == store_error(StoreFault::read_only) && why == path + ": it may be read only";
    };
    CHECK(in_child(body));
}

TEST_CASE("store: files that are none, not ours, or of another version are told apart") {
    const TempFolder folder;
    std::string why;
    const std::string path = folder.file("a.db");
    CHECK(fault_of(refusal({.path = folder.path()}, why)) == StoreFault::no_file);
    CHECK(fault_of(refusal({.path = folder.file("none/a.db")}, why)) == StoreFault::no_file);

    std::ofstream(folder.file("text")) << std::string(5000, 'x');
    CHECK(fault_of(refusal({.path = folder.file("text")}, why)) == StoreFault::corrupt);
    CHECK(why == folder.file("text") + ": file is not a database");

    change(folder.file("foreign"), "CREATE TABLE theirs(x)");
    CHECK(fault_of(refusal({.path = folder.file("foreign")}, why)) == StoreFault::foreign);
    CHECK(why.ends_with("it is a database of some other program"));
    change(folder.file("foreign"), "INSERT INTO theirs VALUES(1)");  // nothing was done to it

    open(path).reset();
    change(path, "PRAGMA user_version = 2");
    CHECK(fault_of(refusal({.path = path}, why)) == StoreFault::version);
    CHECK(why.ends_with("its layout is version 2, this server knows version 1"));
}

TEST_CASE("store: what is missing or makes no sense is found when it is loaded") {
    struct Row {
        const char* sql;
        const char* why;
    };
    for (const Row row : {
             Row{"DELETE FROM record WHERE offset = 3", "record 4 of topic 'a'"},
             {"DELETE FROM record WHERE offset = 5", "the end of topic 'a' is missing"},
             {"DELETE FROM record", "the end of topic 'a' is missing"},
             {"UPDATE topic SET next = 4", "the end of topic 'a' is missing"},
             {"UPDATE record SET form = 9 WHERE offset = 2", "record 2 of topic 'a'"},
             {"UPDATE record SET payload = NULL WHERE offset = 2", "record 2 of topic 'a'"},
             {"UPDATE record SET topic = 9 WHERE offset = 1", "record 1 of topic ''"},
             {"UPDATE topic SET epoch = 0", "the place of a topic makes no sense"},
             {"UPDATE topic SET first = 7", "the place of a topic makes no sense"},
             {"DROP TABLE record", "no such table"},
         }) {
        CAPTURE(row.sql);
        const TempFolder folder;
        const std::string path = folder.file("a.db");
        {
            auto store = open(path);
            append_some(*store, "a", 5);
        }
        change(path, row.sql);
        std::string why;
        auto opened = open_store({.path = path}, why);
        if (opened.ok()) {
            Content content;
            const auto topics = opened.value()->load_topics(content);
            const auto records = opened.value()->load_records(content);
            CHECK((!topics.ok() || !records.ok()));
            const Error error = topics.ok() ? records.error() : topics.error();
            if (topics.ok()) why = opened.value()->why();
            CHECK(fault_of(error) == StoreFault::corrupt);
            if (!topics.ok()) continue;  // its words were those of the records since
        }
        CHECK(why.find(row.why) != std::string::npos);
    }
}

TEST_CASE("store: whatever bytes change, it is an error or in order, never a crash") {
    const TempFolder folder(TempFolder::On::memory);
    const std::string path = folder.file("a.db");
    {
        auto store = open(path);
        for (int i = 0; i < 20; i++) {
            append_some(*store, "topic " + std::to_string(i % 3), 1 + i % 4, 300);
        }
    }
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    int faults = 0;
    for (std::uint64_t seed = 1; seed <= 150; seed++) {
        CAPTURE(seed);
        Random random(seed);
        std::string changed = bytes;
        for (std::uint64_t i = random.below(20) + 1; i > 0; i--) {
            changed[random.below(changed.size())] = static_cast<char>(random.next());
        }
        const std::string copy = folder.file("copy.db");
        std::ofstream(copy, std::ios::binary) << changed;
        std::string why;
        auto opened = open_store({.path = copy}, why);
        bool ok = opened.ok();
        if (ok) {
            Content content;
            ok = opened.value()->load_topics(content).ok() &&
                 opened.value()->load_records(content).ok();
            if (!ok) why = opened.value()->why();
            StoreRecord record{.topic = "topic 0", .epoch = 7};
            static_cast<void>(append_one(*opened.value(), record));
            static_cast<void>(opened.value()->trim("topic 0", {.records = 1, .keyed = true}, 0));
        }
        CHECK(why.starts_with(ok ? "" : copy + ": "));
        faults += ok ? 0 : 1;
    }
    CHECK(faults > 10);
}

namespace {

struct Report {
    std::uint64_t topic;
    std::uint64_t offset;
    std::uint64_t id;
};

constexpr std::array<const char*, 3> crash_topics{"one", "two", "three"};

// Appends until it is killed, and reports each batch behind its commit.
[[noreturn]] void append_forever(const std::string& path, int out, std::uint64_t round) {
    std::string why;
    auto opened = open_store({.path = path}, why);
    if (!opened.ok()) ::_exit(1);
    Random random(round);
    for (std::uint64_t id = round << 32;;) {
        std::vector<StoreRecord> records(1 + random.below(30));
        std::vector<std::string> ids(records.size());
        std::vector<Report> reports(records.size());
        std::vector<StoreRecord*> batch;
        const std::string payload(random.below(3000), 'x');
        for (std::size_t i = 0; i < records.size(); i++) {
            reports[i] = {.topic = random.below(3), .offset = 0, .id = id};
            ids[i] = std::to_string(id++);
            records[i] = {.topic = crash_topics[reports[i].topic],
                          .epoch = 9,
                          .id = ids[i],
                          .payload = as_bytes(payload)};
            batch.push_back(&records[i]);
        }
        if (!opened.value()->append(batch).ok()) ::_exit(2);
        for (std::size_t i = 0; i < records.size(); i++) {
            reports[i].offset = records[i].offset;
        }
        const std::size_t size = reports.size() * sizeof(Report);
        if (::write(out, reports.data(), size) != static_cast<ssize_t>(size)) ::_exit(3);
    }
}

[[nodiscard]] bool read_report(int in, Report& report) {
    auto* target = reinterpret_cast<char*>(&report);
    std::size_t got = 0;
    while (got < sizeof report) {
        const ssize_t count = ::read(in, target + got, sizeof report - got);
        if (count <= 0) return false;
        got += static_cast<std::size_t>(count);
    }
    return true;
}

}  // namespace

// What the disk keeps when the power fails is its own promise; what a process had written when it
// was killed is the kernel's.
TEST_CASE(
    "store: whatever was reported before a kill -9 is there, with no number twice or left out") {
    const TempFolder folder;
    const std::string path = folder.file("a.db");
    std::map<std::uint64_t, Report> reported;  // by id
    Random random(1);
    for (std::uint64_t round = 1; round <= 50; round++) {
        CAPTURE(round);
        std::array<int, 2> pipe{};
        REQUIRE(::pipe(pipe.data()) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(pipe[0]);
            append_forever(path, pipe[1], round);
        }
        ::close(pipe[1]);
        Report report{};
        for (std::uint64_t left = 1 + random.below(150); left > 0; left--) {
            REQUIRE(read_report(pipe[0], report));
            reported[report.id] = report;
        }
        REQUIRE(::kill(child, SIGKILL) == 0);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        while (read_report(pipe[0], report)) {
            reported[report.id] = report;
        }
        ::close(pipe[0]);

        Content content = content_of(*open(path));  // numbers without a hole: load_records()
        std::set<std::string> ids;
        std::size_t found = 0;
        for (std::uint64_t topic = 0; topic < crash_topics.size(); topic++) {
            for (const Kept& record : content.records[crash_topics[topic]]) {
                REQUIRE(ids.insert(record.id).second);
                const auto at = reported.find(std::stoull(record.id));
                if (at == reported.end()) continue;  // it was killed before it could tell
                found++;
                REQUIRE(at->second.topic == topic);
                REQUIRE(at->second.offset == record.offset);
            }
        }
        REQUIRE(found == reported.size());
    }
    CHECK(reported.size() > 1000);
}

}  // namespace ringcast::io::test
