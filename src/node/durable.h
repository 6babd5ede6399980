#pragma once

// Publications of durable topics on their way to the disk, at their home shard.
//
// A publication is taken, waits in a batch for the one before it, and is written by a worker. Then
// its owner hears, in the order of the taking, that it is committed and under which number: only
// now may it be acknowledged or seen. Numbers are given with the commit (io/store.h). Had they been
// given before, a crash or a failure could let two records have the same one.
//
// One batch is under way, one is collected meanwhile: the slower the disk, the larger the batches.
// Those of all shards meet in one strand of the workers, so they share their commits. Both are
// bounded; past that, and when the workers have no room, the answer is busy.
//
// A record of a sealed topic is sealed by the worker, when the store has given it its number, so
// what it published is never on the disk. A batch may be tried twice, and then a record may get
// another number; each try seals it anew (node/sealer.h), since the bytes of the one before may lie
// on the disk, too.
//
// A batch that fails is refused whole, and what was collected meanwhile is tried next, with the
// numbers that the failed ones did not use.
//
// One thread owns it, that of its shard. The store is touched by workers alone.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "io/reactor.h"
#include "io/store.h"
#include "node/mesh.h"
#include "node/record.h"
#include "node/sealer.h"
#include "node/worker.h"

namespace ringcast::node {

constexpr Strand store_strand = 1;  // of every job that touches the store

class Durable {
  public:
    // Who waits for the answer; `shard`: where.
    struct Sender {
        io::ConnIndex conn = io::no_conn;
        std::uint64_t serial = 0;
        std::uint32_t shard = 0;
    };

    struct Pending {
        std::string topic;
        std::uint64_t epoch = 0;
        std::string client;  // with `id`: what a repeat is recognised by, unless one is empty
        std::string id;
        std::string key;
        Parcel payload;  // `size` bytes and wire::payload_padding behind them, or more
        std::size_t size = 0;
        io::StoreForm form = io::StoreForm::json;
        Nanos wall_ns = 0;
        bool report = false;          // its first sender wants to know who misses it
        std::uint64_t offset = 0;     // committed(): its number
        std::vector<Sender> senders;  // one, and those who repeated it before it was committed
        std::optional<SealTicket> ticket = {};  // it is sealed before it is written ...
        wire::PayloadForm sealed_form = wire::PayloadForm::json;  // ... in this form
        Parcel box = {};                                          // what that made of the payload

        // As its readers get it; views of this.
        [[nodiscard]] Publication publication() const noexcept;
    };

    struct Limits {  // of each of the two batches
        std::size_t records = 4096;
        std::size_t bytes = std::size_t{4} << 20;  // payloads; a record alone may be larger
    };

    enum class Taken : std::uint8_t {
        waiting,   // the owner will hear of it, once
        repeated,  // it waits already: its sender is answered with the others of that one
        busy,      // too much waits
    };

    // What became of a record that is not committed. It may be there all the same after a crash
    // (its bytes may have reached the disk), so whoever sends it again should use the same id.
    enum class Refusal : std::uint8_t {
        busy,    // the workers had no room
        full,    // the disk or the file is full
        broken,  // the disk, or the file, does not do
    };

    class Owner {
      public:
        // In the order in which they were taken.
        virtual void committed(const Pending& record) noexcept = 0;
        virtual void refused(const Pending& record, Refusal refusal) noexcept = 0;
        // Before refused(), once for each batch: which file and what is wrong, for the operator.
        virtual void store_failed(std::string_view why) noexcept = 0;

      protected:
        ~Owner() = default;
    };

    Durable(std::uint32_t shard,
            const Limits& limits,
            Worker& worker,
            io::Store& store,
            Owner& owner) noexcept;
    Durable(const Durable&) = delete;
    Durable& operator=(const Durable&) = delete;
    ~Durable();

    // `keep`: what stays of its topic in the store; the same each time.
    [[nodiscard]] Taken take(Pending record, const io::Keep& keep) noexcept;
    // Trims a topic in the store, soon. Every 1024 records of it this happens without being asked;
    // what is old goes only when somebody asks.
    void trim(std::string_view topic, const io::Keep& keep) noexcept;
    // Sends off what was collected, unless something is under way. At the end of each turn: answers
    // come as mail, so there is one behind each of them.
    void flush(Nanos wall_now) noexcept;

    // flush() has something to send off.
    [[nodiscard]] bool due() const noexcept {
        return !busy_ && (!collected_.records.empty() || !due_.empty());
    }
    // Memory of what is known of each topic.
    [[nodiscard]] std::uint64_t held_bytes() const noexcept { return kept_.size() * topic_bytes; }
    static constexpr std::uint64_t topic_bytes = 256;  // at most, with a name of 64 bytes

    // Nothing was taken that has no answer yet.
    [[nodiscard]] bool idle() const noexcept { return waiting() == 0; }
    [[nodiscard]] std::size_t waiting() const noexcept {
        return collected_.records.size() + under_way_;
    }

  private:
    class Commit;
    struct Order {
        std::string topic;
        io::Keep keep;
    };
    struct Batch {
        std::vector<std::unique_ptr<Pending>> records;
        std::vector<Order> trims;
        std::size_t bytes = 0;
    };
    struct Kept {
        io::Keep keep;
        std::uint64_t grown = 0;  // records since it was trimmed
        bool due = false;         // it is in due_
    };

    void make_due(const std::string& topic, Kept& kept) noexcept;
    void finish(Commit& commit) noexcept;
    void refuse(Batch& batch, Refusal refusal) noexcept;
    void forget(const Batch& batch) noexcept;

    std::uint32_t shard_;
    Limits limits_;
    Worker& worker_;
    io::Store& store_;
    Owner& owner_;
    Batch collected_;
    std::size_t under_way_ = 0;  // records of the batch under way
    bool busy_ = false;          // a batch is under way, perhaps without records
    std::size_t repeats_ = 0;    // senders beside the first ones
    std::unordered_map<std::string, Pending*> index_;  // what waits, by topic, client and id
    std::unordered_map<std::string, Kept> kept_;       // topics
    std::deque<std::string> due_;                      // of these: to be trimmed
};

}  // namespace ringcast::node
