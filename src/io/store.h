#pragma once

// Where durable topics are kept: one file (SQLite, write-ahead log, synchronous=FULL). What
// append() has answered is there after a crash of the process or of the machine, as far as the disk
// keeps what it promises by fsync (https://www.sqlite.org/wal.html).
//
// The store numbers the records: each gets the next offset of its topic, in the transaction that
// writes it. So a number is taken if and only if its record is there, and one that failed leaves
// its number to the next.
//
// It blocks for as long as the disk takes: never on a shard's thread. One thread at a time; which
// one may change from call to call.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ringcast/error.h"

#include "base/bytes.h"
#include "base/time.h"
#include "io/database.h"

namespace ringcast::io {

// What a payload is. `deletion`: of a keyed topic, the key is no more.
// `sealed`: encrypted; what is in it, io cannot know.
enum class StoreForm : std::uint8_t { json, text, binary, deletion, sealed };

// Views: of the caller for append(), of the store until the visitor returns for load_records().
struct StoreRecord {
    std::string_view topic = {};  // 1 to 255 bytes
    std::uint64_t epoch = 0;      // of the topic: the same for all its records
    std::uint64_t offset = 0;     // filled in by append()
    Nanos wall_ns = 0;            // Unix time
    std::string_view client = {};
    std::string_view id = {};   // the client's, of the message
    std::string_view key = {};  // empty: none
    Bytes payload = {};
    StoreForm form = StoreForm::json;
    bool hollow = false;  // load_records(): only its ids are left, to recognise repeats
    // append(): asked for the payload when the number is known, and not before; its bytes live
    // until append() returns. A batch that is tried again asks again. Null: it is there.
    Bytes (*finish)(void* context, std::uint64_t offset) noexcept = nullptr;
    void* context = nullptr;
};

struct StoreTopic {
    std::string_view name;
    std::uint64_t epoch;
    std::uint64_t next;   // the offset of its next record
    std::uint64_t first;  // from here on every record is there and whole
};

// What stays of a topic. Its latest records, each of the three limits in force; and behind these,
// the ids alone of some more.
struct Keep {
    std::uint64_t records = UINT64_MAX;
    std::uint64_t bytes = UINT64_MAX;  // of payloads
    Nanos age = never;                 // by wall_ns
    bool keyed = false;     // beside those, the latest of each key unless it is a deletion
    std::uint64_t ids = 0;  // counted from the topic's head, as `records`
    Nanos ids_age = never;
};

class StoreVisitor {
  public:
    virtual void topic(const StoreTopic& topic) noexcept = 0;
    // Records of a topic come in the order of their offsets.
    virtual void record(const StoreRecord& record) noexcept = 0;

  protected:
    ~StoreVisitor() = default;
};

class Store {
  public:
    virtual ~Store() = default;

    // Writes all of them, in this order, or none: one transaction, durable on return. Topics are
    // made with their first record. A batch that failed may be repeated.
    [[nodiscard]] virtual Result<Done> append(std::span<StoreRecord* const> batch) noexcept = 0;
    // Drops what need not stay, a bounded part at a time. True: there is more, call again. The
    // topic's epoch and next offset stay. Nothing to do for a topic that is not there. What is
    // dropped is overwritten with zeros: in the file once the log before it has gone into it.
    [[nodiscard]] virtual Result<bool> trim(std::string_view topic,
                                            const Keep& keep,
                                            Nanos wall_now) noexcept = 0;

    // Every topic; and every record of all of them, in the order in which they were written. What
    // does not add up is a fault (corrupt). The visitor must not call the store.
    [[nodiscard]] virtual Result<Done> load_topics(StoreVisitor& visitor) noexcept = 0;
    [[nodiscard]] virtual Result<Done> load_records(StoreVisitor& visitor) noexcept = 0;

    // The last error in words: which file, and what is wrong with it.
    [[nodiscard]] virtual const std::string& why() const noexcept = 0;
};

struct StoreOptions {
    std::string path;
    // Bytes of the file, 0: no limit; past it appends fail as on a full disk (StoreFault::full).
    // The write-ahead log beside it, some megabytes, is not counted.
    std::uint64_t size_max = 0;
};

// Opens the file or makes it, for this process alone. `why`: what is wrong, in words.
[[nodiscard]] Result<std::unique_ptr<Store>> open_store(const StoreOptions& options,
                                                        std::string& why) noexcept;

}  // namespace ringcast::io
