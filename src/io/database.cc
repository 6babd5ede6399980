#include "io/database.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sqlite3.h>

#include "base/check.h"

namespace ringcast::io {

namespace {

[[nodiscard]] StoreFault fault_of_code(int code) noexcept {
    switch (code & 0xff) {  // the primary code: extended ones only say more of the same
        case SQLITE_FULL:
            return StoreFault::full;
        case SQLITE_READONLY:
            return StoreFault::read_only;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return StoreFault::locked;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return StoreFault::corrupt;
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
            return StoreFault::no_file;
        case SQLITE_IOERR:
            return StoreFault::io;
        default:
            return StoreFault::other;
    }
}

}  // namespace

Error store_error(StoreFault fault, int os) noexcept {
    Error error{.code = Errc::bad_request, .detail = static_cast<std::uint16_t>(fault)};
    int assumed = 0;  // what the kernel would have said
    switch (fault) {
        case StoreFault::full:
            assumed = ENOSPC;
            break;
        case StoreFault::read_only:
            assumed = EROFS;
            break;
        case StoreFault::no_file:
            assumed = os != 0 ? os : ENOENT;
            break;
        case StoreFault::io:
            assumed = os != 0 ? os : EIO;
            break;
        case StoreFault::locked:
            error.code = Errc::busy;
            break;
        case StoreFault::none:
        case StoreFault::corrupt:
        case StoreFault::foreign:
        case StoreFault::version:
        case StoreFault::other:
            break;
    }
    if (assumed != 0) error.code = Errc::os;
    error.os = assumed;
    return error;
}

Statement::Statement(Statement&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)),
      handle_(std::exchange(other.handle_, nullptr)),
      bind_code_(std::exchange(other.bind_code_, 0)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
    std::swap(database_, other.database_);
    std::swap(handle_, other.handle_);
    std::swap(bind_code_, other.bind_code_);
    return *this;
}

Statement::~Statement() {
    // Its code is that of the last step, which was handled then.
    static_cast<void>(sqlite3_finalize(handle_));
}

void Statement::note(int code) noexcept {
    if (bind_code_ == SQLITE_OK) bind_code_ = code;
}

void Statement::bind(int parameter, std::int64_t value) noexcept {
    note(sqlite3_bind_int64(handle_, parameter, value));
}

// A null pointer would bind NULL, whatever the size: SQLite tells them apart, and so do we.
void Statement::bind(int parameter, std::string_view text) noexcept {
    const char* data = text.data() == nullptr ? "" : text.data();
    note(sqlite3_bind_text64(handle_, parameter, data, text.size(), nullptr, SQLITE_UTF8));
}

void Statement::bind(int parameter, Bytes blob) noexcept {
    const void* data = blob.data() == nullptr ? "" : static_cast<const void*>(blob.data());
    note(sqlite3_bind_blob64(handle_, parameter, data, blob.size(), nullptr));
}

void Statement::bind_null(int parameter) noexcept {
    note(sqlite3_bind_null(handle_, parameter));
}

Result<bool> Statement::step() noexcept {
    RC_CHECK(handle_ != nullptr);
    const int code = bind_code_ != SQLITE_OK ? bind_code_ : sqlite3_step(handle_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) {
        reset();
        return false;
    }
    const Error error = database_->fail(code);
    reset();
    return error;
}

Result<Done> Statement::run() noexcept {
    while (RC_TRY(step())) {
    }
    return Done{};
}

void Statement::reset() noexcept {
    static_cast<void>(sqlite3_reset(handle_));  // the code of the last step once more
    bind_code_ = SQLITE_OK;
}

std::int64_t Statement::number(int column) const noexcept {
    return sqlite3_column_int64(handle_, column);
}

std::string_view Statement::text(int column) const noexcept {
    return as_text(blob(column));
}

Bytes Statement::blob(int column) const noexcept {
    // The pointer first: it may change what the size counts.
    const void* data = sqlite3_column_blob(handle_, column);
    const int size = sqlite3_column_bytes(handle_, column);
    return {static_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
}

bool Statement::is_null(int column) const noexcept {
    return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

Database::~Database() {
    if (handle_ == nullptr) return;
    const int code = sqlite3_close(handle_);
    RC_CHECK(code == SQLITE_OK);  // else a statement is still there
}

Result<Done> Database::open(const std::string& path) noexcept {
    RC_CHECK(handle_ == nullptr);
    path_ = path;
    constexpr int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    const int code = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr);
    if (code != SQLITE_OK) return fail(code);
    // A file that may only be read is opened all the same.
    if (sqlite3_db_readonly(handle_, "main") == 1) {
        return fail(StoreFault::read_only, "it may be read only");
    }
    return Done{};
}

Result<Statement> Database::prepare(std::string_view sql) noexcept {
    sqlite3_stmt* handle = nullptr;
    const int code = sqlite3_prepare_v3(handle_,
                                        sql.data(),
                                        static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT,
                                        &handle,
                                        nullptr);
    if (code != SQLITE_OK) return fail(code);
    return Statement(*this, handle);
}

Result<Done> Database::execute(const std::string& sql) noexcept {
    const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return fail(code);
    return Done{};
}

Result<std::int64_t> Database::ask(std::string_view sql) noexcept {
    auto prepared = prepare(sql);
    if (!prepared.ok()) return prepared.error();
    Statement& statement = prepared.value();
    if (!RC_TRY(statement.step())) return fail(StoreFault::corrupt, "no answer where one must be");
    return statement.number(0);
}

Result<std::string> Database::ask_text(std::string_view sql) noexcept {
    auto prepared = prepare(sql);
    if (!prepared.ok()) return prepared.error();
    Statement& statement = prepared.value();
    if (!RC_TRY(statement.step())) return fail(StoreFault::corrupt, "no answer where one must be");
    return std::string(statement.text(0));
}

bool Database::in_transaction() const noexcept {
    return sqlite3_get_autocommit(handle_) == 0;
}

std::uint64_t Database::changes() const noexcept {
    return static_cast<std::uint64_t>(sqlite3_changes64(handle_));
}

void Database::checkpoint() noexcept {
    static_cast<void>(
        sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr));
}

Error Database::fail(int code) noexcept {
    const StoreFault fault = fault_of_code(code);
    // Without a handle there was no memory even for that.
    const int os = handle_ == nullptr ? 0 : sqlite3_system_errno(handle_);
    why_ = path_ + ": ";
    why_ += handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_);
    const bool of_kernel = fault == StoreFault::io || fault == StoreFault::no_file;
    const char* reason = of_kernel && os != 0 ? strerrordesc_np(os) : nullptr;
    if (reason != nullptr) why_ += " (" + std::string(reason) + ")";
    return store_error(fault, os);
}

Error Database::fail(StoreFault fault, std::string_view words) noexcept {
    why_ = path_ + ": ";
    why_ += words;
    return store_error(fault);
}

}  // namespace ringcast::io
