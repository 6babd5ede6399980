#pragma once

// A SQLite database and its statements, with Results instead of return codes. Only what the store
// needs (io/store.h).
//
// Every Error names its kind (StoreFault, in Error::detail), and why() says in words which file and
// what SQLite had to say about it. Codes: https://www.sqlite.org/rescode.html
//
// One thread at a time; which one may change from call to call (SQLITE_OPEN_NOMUTEX).

#include <cstdint>
#include <string>
#include <string_view>

#include "ringcast/error.h"

#include "base/bytes.h"

struct sqlite3;
struct sqlite3_stmt;

namespace ringcast::io {

// What is wrong with the file; Error::detail of whatever comes from here.
enum class StoreFault : std::uint16_t {
    none,
    full,       // the disk is full, or the file is as large as it may be
    read_only,  // it may not be written
    locked,     // another process has it
    corrupt,    // its bytes are not what was written
    foreign,    // it is a database, but none of ours
    version,    // it is ours, of another version
    no_file,    // it cannot be opened or made
    io,         // the kernel failed to read or write; Error::os says why, EIO if SQLite forgot
    other,      // memory, or a bug of ours
};

[[nodiscard]] constexpr StoreFault fault_of(Error error) noexcept {
    return static_cast<StoreFault>(error.detail);
}
// full, read_only, no_file and io: Errc::os with an errno; locked: busy; the rest: bad_request.
[[nodiscard]] Error store_error(StoreFault fault, int os = 0) noexcept;

class Database;

// A prepared statement: bind what it asks for, step() through its rows, reset() before it is bound
// anew. What was bound must live until then. Parameters count from 1, columns from 0.
class Statement {
  public:
    Statement() noexcept = default;
    Statement(Statement&& other) noexcept;
    Statement& operator=(Statement&& other) noexcept;
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement();

    void bind(int parameter, std::int64_t value) noexcept;
    void bind(int parameter, std::string_view text) noexcept;
    void bind(int parameter, Bytes blob) noexcept;
    void bind_null(int parameter) noexcept;

    // True: there is a row. False: there is none any more, and the statement is reset.
    [[nodiscard]] Result<bool> step() noexcept;
    // Steps to the end.
    [[nodiscard]] Result<Done> run() noexcept;
    void reset() noexcept;

    // Of the row; views are valid until the next step() or reset().
    [[nodiscard]] std::int64_t number(int column) const noexcept;
    [[nodiscard]] std::string_view text(int column) const noexcept;
    [[nodiscard]] Bytes blob(int column) const noexcept;
    [[nodiscard]] bool is_null(int column) const noexcept;

  private:
    friend class Database;
    Statement(Database& database, sqlite3_stmt* handle) noexcept
        : database_(&database), handle_(handle) {}
    void note(int code) noexcept;

    Database* database_ = nullptr;
    sqlite3_stmt* handle_ = nullptr;
    int bind_code_ = 0;  // of the first bind that failed since reset()
};

// Stays where it is, since its statements refer to it.
class Database {
  public:
    Database() noexcept = default;
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;
    ~Database();  // all its statements must be gone

    // Opens or makes the file. Once.
    [[nodiscard]] Result<Done> open(const std::string& path) noexcept;
    [[nodiscard]] Result<Statement> prepare(std::string_view sql) noexcept;
    // One or several statements whose rows nobody wants.
    [[nodiscard]] Result<Done> execute(const std::string& sql) noexcept;
    // The one number, or the one word, that a statement gives.
    [[nodiscard]] Result<std::int64_t> ask(std::string_view sql) noexcept;
    [[nodiscard]] Result<std::string> ask_text(std::string_view sql) noexcept;

    [[nodiscard]] bool in_transaction() const noexcept;
    // Rows that the last statement changed.
    [[nodiscard]] std::uint64_t changes() const noexcept;
    // Moves what the log in front of the file holds into the file, as far as that goes, so that the
    // log begins anew (https://www.sqlite.org/wal.html#ckpt). Failing costs nothing but room.
    void checkpoint() noexcept;

    // A fault of ours rather than SQLite's, in words that follow the file's name.
    [[nodiscard]] Error fail(StoreFault fault, std::string_view words) noexcept;
    // The last error in words: "<file>: <what>".
    [[nodiscard]] const std::string& why() const noexcept { return why_; }

  private:
    friend class Statement;
    [[nodiscard]] Error fail(int code) noexcept;

    sqlite3* handle_ = nullptr;
    std::string path_;
    std::string why_;
};

}  // namespace ringcast::io
