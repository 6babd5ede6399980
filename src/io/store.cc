#include "io/store.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <unordered_map>
#include <utility>

#include "base/check.h"

namespace ringcast::io {

namespace {

constexpr std::int64_t application_id = 0x52434442;  // "RCDB"
constexpr std::int64_t schema_version = 1;
constexpr std::size_t trim_rows = 2'000;           // looked at in one transaction, of each kind
constexpr std::string_view wal_kept = "67108864";  // bytes that the log keeps when it begins anew

// `first`: the records from here to `next` are whole. `seen`: the ids from here on are there.
// `bytes`: the payloads from `first` on. A hollow record has neither payload nor key.
//
// Records have a number of their own (seq), so that they are written one behind the other, whatever
// their topics, and read back that way. No AUTOINCREMENT: behind the highest is behind all.
constexpr std::string_view schema =
    "CREATE TABLE topic("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL,"
    " next INTEGER NOT NULL, first INTEGER NOT NULL, seen INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL);"
    "CREATE TABLE record("
    " seq INTEGER PRIMARY KEY, topic INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " wall_ns INTEGER NOT NULL, client TEXT NOT NULL, id TEXT NOT NULL, key TEXT,"
    " form INTEGER NOT NULL, payload BLOB);"
    "CREATE UNIQUE INDEX record_by_offset ON record(topic, offset);"
    "CREATE INDEX record_by_key ON record(topic, key, offset) WHERE key IS NOT NULL;";

enum Query : std::uint8_t {
    begin,
    commit,
    rollback,
    find_topic,
    add_topic,
    advance_topic,
    add_record,
    window_rows,
    id_rows,
    trim_topic,
    empty_records,
    empty_superseded,
    empty_deletions,
    drop_range,
    drop_hollow,
    all_topics,
    all_records,
    query_count
};

constexpr std::array<std::string_view, query_count> queries{
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SELECT id, epoch, next, first, seen, bytes FROM topic WHERE name = ?1",
    "INSERT INTO topic(name, epoch, next, first, seen, bytes) VALUES(?1, ?2, 1, 1, 1, 0)",
    "UPDATE topic SET next = ?2, bytes = ?3 WHERE id = ?1",
    "INSERT INTO record(topic, offset, wall_ns, client, id, key, form, payload)"
    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    "SELECT offset, length(payload), wall_ns FROM record"
    " WHERE topic = ?1 AND offset >= ?2 ORDER BY offset LIMIT ?3",
    "SELECT offset, wall_ns FROM record"
    " WHERE topic = ?1 AND offset >= ?2 AND offset < ?3 ORDER BY offset LIMIT ?4",
    "UPDATE topic SET first = ?2, seen = ?3, bytes = ?4 WHERE id = ?1",
    "UPDATE record SET payload = NULL, key = NULL WHERE topic = ?1 AND offset >= ?2 AND offset < "
    "?3",
    "UPDATE record SET payload = NULL, key = NULL WHERE seq IN (SELECT seq FROM record AS old"
    " WHERE topic = ?1 AND key IS NOT NULL AND offset < ?2 AND EXISTS (SELECT 1 FROM record"
    " WHERE topic = ?1 AND key = old.key AND offset > old.offset) LIMIT ?3)",
    "UPDATE record SET payload = NULL, key = NULL"
    " WHERE topic = ?1 AND key IS NOT NULL AND offset < ?2 AND form = ?3",
    "DELETE FROM record WHERE topic = ?1 AND offset < ?2",
    "DELETE FROM record WHERE topic = ?1 AND offset < ?2 AND key IS NULL",
    "SELECT name, epoch, next, first, id FROM topic ORDER BY id",
    "SELECT t.name, t.epoch, r.offset, r.wall_ns, r.client, r.id, r.key, r.form, r.payload,"
    " r.topic, t.first FROM record AS r LEFT JOIN topic AS t ON t.id = r.topic ORDER BY r.seq",
};

// A row of `topic`.
struct Place {
    std::int64_t id = 0;
    std::uint64_t epoch = 0;
    std::uint64_t next = 1;
    std::uint64_t first = 1;
    std::uint64_t seen = 1;
    std::uint64_t bytes = 0;

    [[nodiscard]] std::uint64_t row() const noexcept { return static_cast<std::uint64_t>(id); }
};

[[nodiscard]] std::int64_t as_signed(std::uint64_t value) noexcept {
    return static_cast<std::int64_t>(value);
}

// Final, so nobody deletes it as anything else.
class SqliteStore final : public Store {
  public:
    [[nodiscard]] Result<Done> open(const StoreOptions& options) noexcept;

    [[nodiscard]] Result<Done> append(std::span<StoreRecord* const> batch) noexcept override;
    [[nodiscard]] Result<bool> trim(std::string_view topic,
                                    const Keep& keep,
                                    Nanos wall_now) noexcept override;
    [[nodiscard]] Result<Done> load_topics(StoreVisitor& visitor) noexcept override;
    [[nodiscard]] Result<Done> load_records(StoreVisitor& visitor) noexcept override;
    [[nodiscard]] const std::string& why() const noexcept override { return database_.why(); }

  private:
    // Where each topic is before and behind what a batch appends to it.
    using Places = std::unordered_map<std::string_view, Place>;
    // The last offset that was loaded, of a topic's row.
    using Loaded = std::unordered_map<std::int64_t, std::uint64_t>;

    [[nodiscard]] Statement& statement(Query query) noexcept { return statements_[query]; }
    // Runs one that asks for numbers alone.
    [[nodiscard]] Result<Done> run(Query query,
                                   std::initializer_list<std::uint64_t> numbers) noexcept;
    [[nodiscard]] Result<Done> examine() noexcept;
    [[nodiscard]] Result<Done> create() noexcept;
    [[nodiscard]] Result<Done> limit(std::uint64_t size_max) noexcept;
    // Commits what worked, takes back what did not.
    template <typename T>
    [[nodiscard]] Result<T> conclude(Result<T> result) noexcept;
    void abandon() noexcept;

    [[nodiscard]] Result<bool> find(std::string_view topic, Place& place) noexcept;
    [[nodiscard]] Result<Done> find_or_add(const StoreRecord& record, Place& place) noexcept;
    [[nodiscard]] Result<Done> append_all(std::span<StoreRecord* const> batch) noexcept;
    [[nodiscard]] Result<Done> add(Place& place, StoreRecord& record) noexcept;
    [[nodiscard]] Result<bool> trim_inside(std::string_view topic,
                                           const Keep& keep,
                                           Nanos wall_now) noexcept;
    [[nodiscard]] Result<bool> move_window(Place& place, const Keep& keep, Nanos wall_now) noexcept;
    [[nodiscard]] Result<bool> move_ids(Place& place, const Keep& keep, Nanos wall_now) noexcept;
    [[nodiscard]] Result<bool> empty_range(const Place& place, std::uint64_t from) noexcept;
    [[nodiscard]] Result<bool> empty_keyed(const Place& place) noexcept;
    [[nodiscard]] Result<Done> load_record(StoreVisitor& visitor, Loaded& loaded) noexcept;
    [[nodiscard]] Result<Done> check_ends(const Loaded& loaded) noexcept;

    Database database_;
    std::array<Statement, query_count> statements_;
    Places places_;
};

Result<Done> SqliteStore::open(const StoreOptions& options) noexcept {
    static_cast<void>(RC_TRY(database_.open(options.path)));
    // Before the first look at the file, which takes the lock and keeps it until the end.
    static_cast<void>(RC_TRY(database_.execute("PRAGMA locking_mode = EXCLUSIVE")));
    static_cast<void>(RC_TRY(examine()));
    const std::string mode = RC_TRY(database_.ask_text("PRAGMA journal_mode = WAL"));
    if (mode != "wal") return database_.fail(StoreFault::other, "journal mode is " + mode);
    // ON and not FAST, which leaves pages that go back whole as they are: those of large payloads.
    const std::string settings =
        "PRAGMA secure_delete = ON;"
        "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
        "PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = " +
        std::string(wal_kept);
    static_cast<void>(RC_TRY(database_.execute(settings)));
    static_cast<void>(RC_TRY(limit(options.size_max)));
    static_cast<void>(RC_TRY(create()));
    for (std::size_t query = 0; query < query_count; query++) {
        statements_[query] = RC_TRY(database_.prepare(queries[query]));
    }
    return Done{};
}

Result<Done> SqliteStore::run(Query query, std::initializer_list<std::uint64_t> numbers) noexcept {
    int parameter = 1;
    for (const std::uint64_t number : numbers) {
        statement(query).bind(parameter++, as_signed(number));
    }
    return statement(query).run();
}

// Nothing is written into a file that is not ours.
Result<Done> SqliteStore::examine() noexcept {
    const std::int64_t owner = RC_TRY(database_.ask("PRAGMA application_id"));
    const std::int64_t version = RC_TRY(database_.ask("PRAGMA user_version"));
    const std::int64_t objects = RC_TRY(database_.ask("SELECT count(*) FROM sqlite_schema"));
    if (owner == 0 && version == 0 && objects == 0) return Done{};  // new, or never finished
    if (owner != application_id) {
        return database_.fail(StoreFault::foreign, "it is a database of some other program");
    }
    if (version != schema_version) {
        return database_.fail(StoreFault::version,
                              "its layout is version " + std::to_string(version) +
                                  ", this server knows version " + std::to_string(schema_version));
    }
    return Done{};
}

// A write in any case: it fails now, not with the first record, if nothing can be written.
Result<Done> SqliteStore::create() noexcept {
    const bool fresh = RC_TRY(database_.ask("PRAGMA application_id")) == 0;
    std::string text = "BEGIN IMMEDIATE;";
    if (fresh) text += schema;
    text += "PRAGMA application_id = " + std::to_string(application_id) + ";";
    text += "PRAGMA user_version = " + std::to_string(schema_version) + "; COMMIT";
    auto done = database_.execute(text);
    if (done.ok()) return Done{};
    if (database_.in_transaction()) static_cast<void>(database_.execute("ROLLBACK"));
    return done.error();
}

Result<Done> SqliteStore::limit(std::uint64_t size_max) noexcept {
    if (size_max == 0) return Done{};
    const std::int64_t page = RC_TRY(database_.ask("PRAGMA page_size"));
    RC_CHECK(page > 0);
    const std::uint64_t pages =
        std::clamp<std::uint64_t>(size_max / static_cast<std::uint64_t>(page), 1, INT32_MAX);
    return database_.execute("PRAGMA max_page_count = " + std::to_string(pages));
}

template <typename T>
Result<T> SqliteStore::conclude(Result<T> result) noexcept {
    if (result.ok()) {
        auto committed = statement(commit).run();
        if (committed.ok()) return result;
        abandon();
        return committed.error();
    }
    abandon();
    return result;
}

// On a full disk the room in the write-ahead log is worth
// having: what it holds is moved into the file as far as that has room.
void SqliteStore::abandon() noexcept {
    // Some errors end the transaction themselves.
    if (database_.in_transaction()) static_cast<void>(statement(rollback).run());
    database_.checkpoint();
}

Result<Done> SqliteStore::append(std::span<StoreRecord* const> batch) noexcept {
    RC_CHECK(!batch.empty());
    static_cast<void>(RC_TRY(statement(begin).run()));
    auto result = conclude(append_all(batch));
    places_.clear();
    return result;
}

Result<bool> SqliteStore::find(std::string_view topic, Place& place) noexcept {
    Statement& query = statement(find_topic);
    query.bind(1, topic);
    if (!RC_TRY(query.step())) return false;
    place = {.id = query.number(0),
             .epoch = static_cast<std::uint64_t>(query.number(1)),
             .next = static_cast<std::uint64_t>(query.number(2)),
             .first = static_cast<std::uint64_t>(query.number(3)),
             .seen = static_cast<std::uint64_t>(query.number(4)),
             .bytes = static_cast<std::uint64_t>(query.number(5))};
    query.reset();
    return true;
}

Result<Done> SqliteStore::find_or_add(const StoreRecord& record, Place& place) noexcept {
    if (RC_TRY(find(record.topic, place))) return Done{};
    Statement& query = statement(add_topic);
    query.bind(1, record.topic);
    query.bind(2, as_signed(record.epoch));
    static_cast<void>(RC_TRY(query.run()));
    const bool found = RC_TRY(find(record.topic, place));
    RC_CHECK(found);
    return Done{};
}

Result<Done> SqliteStore::append_all(std::span<StoreRecord* const> batch) noexcept {
    for (StoreRecord* record : batch) {
        RC_CHECK(!record->topic.empty());
        RC_CHECK(record->epoch != 0);
        const auto [at, added] = places_.try_emplace(record->topic);
        Place& place = at->second;
        if (added) static_cast<void>(RC_TRY(find_or_add(*record, place)));
        static_cast<void>(RC_TRY(add(place, *record)));
    }
    for (const auto& [name, place] : places_) {
        auto advanced = run(advance_topic, {place.row(), place.next, place.bytes});
        if (!advanced.ok()) return advanced.error();
    }
    return Done{};
}

Result<Done> SqliteStore::add(Place& place, StoreRecord& record) noexcept {
    if (place.epoch != record.epoch) {
        return database_.fail(StoreFault::other,
                              "topic '" + std::string(record.topic) + "' has another epoch");
    }
    record.offset = place.next++;
    if (record.finish != nullptr) record.payload = record.finish(record.context, record.offset);
    place.bytes += record.payload.size();
    Statement& query = statement(add_record);
    query.bind(1, place.id);
    query.bind(2, as_signed(record.offset));
    query.bind(3, record.wall_ns);
    query.bind(4, record.client);
    query.bind(5, record.id);
    if (record.key.empty()) {
        query.bind_null(6);
    } else {
        query.bind(6, record.key);
    }
    query.bind(7, static_cast<std::int64_t>(record.form));
    query.bind(8, record.payload);
    return query.run();
}

Result<bool> SqliteStore::trim(std::string_view topic, const Keep& keep, Nanos wall_now) noexcept {
    RC_CHECK(!topic.empty());
    static_cast<void>(RC_TRY(statement(begin).run()));
    return conclude(trim_inside(topic, keep, wall_now));
}

Result<bool> SqliteStore::trim_inside(std::string_view topic,
                                      const Keep& keep,
                                      Nanos wall_now) noexcept {
    Place place;
    if (!RC_TRY(find(topic, place))) return false;
    const std::uint64_t former_first = place.first;
    bool more = RC_TRY(move_window(place, keep, wall_now));
    more = RC_TRY(move_ids(place, keep, wall_now)) || more;
    auto emptied = keep.keyed ? empty_keyed(place) : empty_range(place, former_first);
    more = RC_TRY(std::move(emptied)) || more;
    const Query drop = keep.keyed ? drop_hollow : drop_range;
    static_cast<void>(RC_TRY(run(drop, {place.row(), place.seen})));
    static_cast<void>(RC_TRY(run(trim_topic, {place.row(), place.first, place.seen, place.bytes})));
    return more;
}

// Past the records that are too many, too large together, or too old. True: there may be more.
Result<bool> SqliteStore::move_window(Place& place, const Keep& keep, Nanos wall_now) noexcept {
    Statement& rows = statement(window_rows);
    rows.bind(1, place.id);
    rows.bind(2, as_signed(place.first));
    rows.bind(3, std::int64_t{trim_rows});
    std::size_t count = 0;
    while (RC_TRY(rows.step())) {
        const auto offset = static_cast<std::uint64_t>(rows.number(0));
        const bool goes = place.next - offset > keep.records || place.bytes > keep.bytes ||
                          (keep.age != never && rows.number(2) < wall_now - keep.age);
        if (!goes) {
            rows.reset();
            return false;
        }
        place.bytes -= std::min(place.bytes, static_cast<std::uint64_t>(rows.number(1)));
        place.first = offset + 1;
        count++;
    }
    return count == trim_rows;
}

// Past the ids that nobody needs any more; never into the records that stay.
Result<bool> SqliteStore::move_ids(Place& place, const Keep& keep, Nanos wall_now) noexcept {
    Statement& rows = statement(id_rows);
    rows.bind(1, place.id);
    rows.bind(2, as_signed(place.seen));
    rows.bind(3, as_signed(place.first));
    rows.bind(4, std::int64_t{trim_rows});
    std::size_t count = 0;
    while (RC_TRY(rows.step())) {
        const auto offset = static_cast<std::uint64_t>(rows.number(0));
        const bool goes = place.next - offset > keep.ids ||
                          (keep.ids_age != never && rows.number(1) < wall_now - keep.ids_age);
        if (!goes) {
            rows.reset();
            return false;
        }
        place.seen = offset + 1;
        count++;
    }
    return count == trim_rows;
}

// What left the window now, but for what goes with its ids.
Result<bool> SqliteStore::empty_range(const Place& place, std::uint64_t from) noexcept {
    from = std::max(from, place.seen);
    if (from < place.first) {
        static_cast<void>(RC_TRY(run(empty_records, {place.row(), from, place.first})));
    }
    return false;
}

// Superseded records first, all of them: a deletion that went before what it deletes would bring
// that back.
Result<bool> SqliteStore::empty_keyed(const Place& place) noexcept {
    static_cast<void>(RC_TRY(run(empty_superseded, {place.row(), place.first, trim_rows})));
    if (database_.changes() == trim_rows) return true;
    constexpr auto deletion = static_cast<std::uint64_t>(StoreForm::deletion);
    static_cast<void>(RC_TRY(run(empty_deletions, {place.row(), place.first, deletion})));
    return false;
}

Result<Done> SqliteStore::load_topics(StoreVisitor& visitor) noexcept {
    Statement& rows = statement(all_topics);
    while (RC_TRY(rows.step())) {
        const StoreTopic topic{.name = rows.text(0),
                               .epoch = static_cast<std::uint64_t>(rows.number(1)),
                               .next = static_cast<std::uint64_t>(rows.number(2)),
                               .first = static_cast<std::uint64_t>(rows.number(3))};
        if (topic.name.empty() || topic.epoch == 0 || topic.first == 0 ||
            topic.first > topic.next) {
            rows.reset();
            return database_.fail(StoreFault::corrupt, "the place of a topic makes no sense");
        }
        visitor.topic(topic);
    }
    return Done{};
}

Result<Done> SqliteStore::load_records(StoreVisitor& visitor) noexcept {
    Loaded loaded;
    Statement& rows = statement(all_records);
    while (RC_TRY(rows.step())) {
        auto done = load_record(visitor, loaded);
        if (!done.ok()) {
            rows.reset();
            return done.error();
        }
    }
    return check_ends(loaded);
}

Result<Done> SqliteStore::load_record(StoreVisitor& visitor, Loaded& loaded) noexcept {
    const Statement& row = statement(all_records);
    const auto offset = static_cast<std::uint64_t>(row.number(2));
    const auto first = static_cast<std::uint64_t>(row.number(10));
    const std::int64_t form = row.number(7);
    std::uint64_t& last = loaded[row.number(9)];
    const bool of_topic = !row.is_null(0);
    const bool in_order = offset > last && (offset <= first || offset == last + 1);
    const bool known = form >= 0 && form <= static_cast<std::int64_t>(StoreForm::sealed);
    const bool whole = !row.is_null(8) || offset < first;
    if (!of_topic || !in_order || !known || !whole) {
        return database_.fail(StoreFault::corrupt,
                              "record " + std::to_string(offset) + " of topic '" +
                                  std::string(row.text(0)) + "' is not as it was written");
    }
    last = offset;
    visitor.record({.topic = row.text(0),
                    .epoch = static_cast<std::uint64_t>(row.number(1)),
                    .offset = offset,
                    .wall_ns = row.number(3),
                    .client = row.text(4),
                    .id = row.text(5),
                    .key = row.text(6),
                    .payload = row.blob(8),
                    .form = static_cast<StoreForm>(form),
                    .hollow = row.is_null(8)});
    return Done{};
}

// Each topic ends where it says, so nothing is missing at its end either.
Result<Done> SqliteStore::check_ends(const Loaded& loaded) noexcept {
    Statement& rows = statement(all_topics);
    while (RC_TRY(rows.step())) {
        const auto next = static_cast<std::uint64_t>(rows.number(2));
        const auto found = loaded.find(rows.number(4));
        const std::uint64_t last = found == loaded.end() ? 0 : found->second;
        const bool empty = static_cast<std::uint64_t>(rows.number(3)) == next;
        if (last < next && (empty || last == next - 1)) continue;
        const std::string name(rows.text(0));
        rows.reset();
        return database_.fail(StoreFault::corrupt, "the end of topic '" + name + "' is missing");
    }
    return Done{};
}

}  // namespace

Result<std::unique_ptr<Store>> open_store(const StoreOptions& options, std::string& why) noexcept {
    auto store = std::make_unique<SqliteStore>();
    auto opened = store->open(options);
    if (!opened.ok()) {
        why = store->why();
        return opened.error();
    }
    return std::unique_ptr<Store>(std::move(store));
}

}  // namespace ringcast::io
