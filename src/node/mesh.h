#pragma once

// Mail between shards: the only thing two shards have in common.
//
// Every shard has one box, a lock-free queue that all others push into and it alone empties. Mail
// from one shard to another stays in order, which is what makes a topic's order the same
// everywhere: its home shard numbers the records and posts them.
//
// Nothing is dropped. Mail is bounded by credits instead: a shard that has more than `mail_max`
// messages under way to another pauses the publishers it reads from (node/hub.h) until half of them
// are done.
//
// post() may be called by the thread of shard `from` only; take() by the owner of the box only.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/mpsc.h"
#include "io/reactor.h"

namespace ringcast::node {

constexpr std::uint32_t shard_count_max = 64;  // a bit each in feed::Topic::interest

// Bytes that several shards read: encoded once, freed by whoever is last.
class Parcel {
  public:
    // Room for `size` bytes; fill it through bytes() before it is shared.
    [[nodiscard]] static Parcel make(std::size_t size) noexcept;
    Parcel() noexcept = default;
    Parcel(Parcel&& other) noexcept;
    Parcel& operator=(Parcel&& other) noexcept;
    Parcel(const Parcel&) = delete;
    Parcel& operator=(const Parcel&) = delete;
    ~Parcel();

    // Another owner of the same bytes.
    [[nodiscard]] Parcel share() const noexcept;
    [[nodiscard]] MutBytes bytes() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }

  private:
    struct Block;
    Block* block_ = nullptr;
};

enum class MailKind : std::uint8_t {
    publish,   // to a topic's home: number this and pass it on
    record,    // from home: append this
    interest,  // to home: this shard has its first reader of a lane / has lost its last
    started,   // from home: the answer to interest; every later record follows
    refused,   // to the shard of a client: what it asked for cannot be done
    claim,     // to the registry's home: a client connected under an id of its own choice
    release,   // to the registry's home: it is gone
    evict,     // to the shard of an older client of the same id
    settled,   // to all, when stopping: what was published before is behind this
    counters,  // to shard 0: a snapshot, for the host.server feed
};

struct Mail : MpscNode {
    MailKind kind = MailKind::publish;
    std::uint8_t lane = 0;   // feed::LaneKind
    bool flag = false;       // interest: wanted or not; started: granted or not; publish: text
    bool json = false;       // publish: the payload is JSON text that was validated
    std::uint32_t from = 0;  // shard
    std::uint32_t conn = 0;  // the client concerned, with its serial
    std::uint64_t serial = 0;
    std::uint64_t hash = 0;  // of the topic's name
    std::uint64_t offset = 0;
    std::uint64_t epoch = 0;
    std::string name;  // topic or client id
    std::string id;    // of the client's message
    std::string key;   // publish
    Parcel bytes[2];   // one per lane
};

class Mesh {
  public:
    Mesh(std::uint32_t shard_count, std::uint64_t mail_max);
    Mesh(const Mesh&) = delete;
    Mesh& operator=(const Mesh&) = delete;
    ~Mesh();

    // Called by each shard once its reactor exists, before any mail may be posted to it.
    void attach(std::uint32_t shard, io::Reactor& reactor) noexcept;

    void post(std::uint32_t to, std::unique_ptr<Mail> mail) noexcept;
    // The next mail of `shard`, or null.
    [[nodiscard]] std::unique_ptr<Mail> take(std::uint32_t shard) noexcept;

    // Before shard `shard` sleeps: false if there is mail after all. After waking: awake().
    [[nodiscard]] bool prepare_sleep(std::uint32_t shard) noexcept;
    void awake(std::uint32_t shard) noexcept;

    // Too much mail is under way from `from` to any shard: stop reading publishers. If so, that
    // shard is woken when enough of it is done.
    [[nodiscard]] bool out_of_credit(std::uint32_t from) noexcept;

    [[nodiscard]] std::uint32_t shard_count() const noexcept { return shard_count_; }

    // Connections of all shards together: one relaxed counter, touched once a connection, so that
    // the limit holds however unevenly the kernel spreads the clients.
    [[nodiscard]] bool admit(std::uint64_t limit) noexcept;
    void leave() noexcept;

  private:
    struct alignas(64) Box;
    struct alignas(64) Credit;
    [[nodiscard]] Credit& credit(std::uint32_t from, std::uint32_t to) noexcept;

    std::uint32_t shard_count_;
    std::uint64_t mail_max_;
    std::unique_ptr<Box[]> boxes_;
    std::unique_ptr<Credit[]> credits_;
    alignas(64) std::atomic<std::uint64_t> connections_{0};
};

}  // namespace ringcast::node
