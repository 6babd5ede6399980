#include "io/database.h"

#include <cerrno>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/temp_folder.h"

namespace ringcast::io::test {

using ringcast::test::TempFolder;

TEST_CASE("database: what is bound comes back, with every byte and none") {
    const TempFolder folder;
    Database database;
    REQUIRE(database.open(folder.file("a.db")).ok());
    REQUIRE(database.execute("CREATE TABLE t(number, text, blob)").ok());
    const std::string text("a\0b\xc3\xa9", 5);
    const std::vector<std::byte> blob{std::byte{0}, std::byte{0xff}, std::byte{7}};
    {
        auto prepared = database.prepare("INSERT INTO t VALUES(?1, ?2, ?3)");
        REQUIRE(prepared.ok());
        Statement insert = std::move(prepared).value();
        insert.bind(1, INT64_MIN);
        insert.bind(2, text);
        insert.bind(3, Bytes(blob));
        REQUIRE(insert.run().ok());
        CHECK(database.changes() == 1);
        insert.bind(1, std::int64_t{2});
        insert.bind(2, std::string_view{});  // no pointer: empty, not NULL
        insert.bind(3, Bytes{});
        REQUIRE(insert.run().ok());
        insert.bind_null(1);
        insert.bind_null(2);
        insert.bind_null(3);
        REQUIRE(insert.run().ok());
    }
    auto prepared = database.prepare("SELECT number, text, blob FROM t ORDER BY rowid");
    REQUIRE(prepared.ok());
    Statement rows = std::move(prepared).value();
    REQUIRE(rows.step().value());
    CHECK(rows.number(0) == INT64_MIN);
    CHECK(rows.text(1) == text);
    CHECK(as_text(rows.blob(2)) == as_text(blob));
    REQUIRE(rows.step().value());
    CHECK(rows.text(1).empty());
    CHECK(!rows.is_null(1));
    CHECK(rows.blob(2).empty());
    CHECK(!rows.is_null(2));
    REQUIRE(rows.step().value());
    for (int column = 0; column < 3; column++) {
        CHECK(rows.is_null(column));
    }
    CHECK(!rows.step().value());
    REQUIRE(rows.step().value());  // from the beginning: it was reset
    rows.reset();
    CHECK(database.ask("SELECT count(*) FROM t").value() == 3);
    CHECK(database.ask_text("SELECT text FROM t WHERE number = 2").value().empty());
}

TEST_CASE("database: an error names its kind, the file and SQLite's reason") {
    const TempFolder folder;
    Database database;
    const auto none = database.open(folder.file("none/a.db"));
    REQUIRE(!none.ok());
    CHECK(fault_of(none.error()) == StoreFault::no_file);
    CHECK(none.error().code == Errc::os);
    CHECK(none.error().os == ENOENT);
    CHECK(database.why().starts_with(folder.file("none/a.db") + ": unable to open database file"));

    Database other;
    REQUIRE(other.open(folder.file("b.db")).ok());
    const auto wrong = other.prepare("SELECT column_of_none FROM sqlite_schema");
    REQUIRE(!wrong.ok());
    CHECK(fault_of(wrong.error()) == StoreFault::other);
    CHECK(other.why() == folder.file("b.db") + ": no such column: column_of_none");
    const auto empty = other.ask("SELECT 1 WHERE 0");
    REQUIRE(!empty.ok());
    CHECK(fault_of(empty.error()) == StoreFault::corrupt);

    // A parameter that is not there is told by the step.
    auto prepared = other.prepare("SELECT ?1");
    REQUIRE(prepared.ok());
    prepared.value().bind(2, std::int64_t{1});
    CHECK(!prepared.value().step().ok());
    CHECK(prepared.value().step().ok());

    CHECK(!other.in_transaction());
    REQUIRE(other.execute("BEGIN").ok());
    CHECK(other.in_transaction());
    REQUIRE(other.execute("ROLLBACK").ok());
}

TEST_CASE("database: each kind of fault has one code") {
    struct Row {
        StoreFault fault;
        int os;
        Errc code;
        int expected;
    };
    for (const Row row : {Row{StoreFault::full, 0, Errc::os, ENOSPC},
                          {StoreFault::read_only, 0, Errc::os, EROFS},
                          {StoreFault::no_file, 0, Errc::os, ENOENT},
                          {StoreFault::no_file, EACCES, Errc::os, EACCES},
                          {StoreFault::io, 0, Errc::os, EIO},
                          {StoreFault::io, EFBIG, Errc::os, EFBIG},
                          {StoreFault::locked, EAGAIN, Errc::busy, 0},
                          {StoreFault::corrupt, 0, Errc::bad_request, 0},
                          {StoreFault::foreign, 0, Errc::bad_request, 0},
                          {StoreFault::version, 0, Errc::bad_request, 0},
                          {StoreFault::other, 0, Errc::bad_request, 0}}) {
        const Error error = store_error(row.fault, row.os);
        CHECK(fault_of(error) == row.fault);
        CHECK(error.code == row.code);
        CHECK(error.os == row.expected);
    }
    CHECK(fault_of(Error{}) == StoreFault::none);
}

}  // namespace ringcast::io::test
