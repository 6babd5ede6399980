#pragma once

// Mail between shards: the only thing two shards have in common.
//
// Every shard has a box with two lock-free queues that all others push into and it alone empties.
// *Requests* make their receiver post: a publication becomes a record for every shard that reads
// its topic. *News* is all the rest: whoever takes it posts nothing, or once per connection. Mail
// of one channel from one shard to another stays in order, which is what makes a topic's order the
// same everywhere: its home shard numbers the records and posts them.
//
// Nothing is dropped, and post() never fails or waits. Mail is bounded by credits instead, counted
// for each sender, receiver and channel: `mail_max` units, one for a mail and one more for each
// 4 KiB of its bytes. A shard that is out of credit makes no mail until half of it is done:
// - its clients whose messages make mail are not read from (node/hub.h), so TCP slows them down;
// - when it lacks credit for news, it leaves the requests of others in its box (take_request()),
//   so these run out of credit for requests, and do not read their publishers either.
// So from one shard to another there are never more than mail_max units, the last mail that went
// over, and what the reads under way held when it ran out: one receive buffer a client.
//
// Nobody waits for himself. A request may wait for credit for news; news waits for nothing: every
// shard takes it in every turn, whatever it lacks itself, and that alone gives the credit back. So
// two shards that publish to each other and are both out of credit for requests, for news, or for
// both, go on: the news between them is taken, then their requests, then their clients are read.
// With one kind of credit they could stand still: each with the other's requests in its box, which
// wait for credit that just these requests use up.
//
// post() may be called by the thread of shard `from` only, and by a worker that answers that shard
// in its own name (`finished`), or whoever tells it something so (`policy`, `keys`, `seal_keys`);
// the rest by the owner of the box only.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/seal_keys.h"

#include "base/bytes.h"
#include "base/mpsc.h"
#include "io/reactor.h"
#include "node/budget.h"
#include "node/job.h"
#include "node/owed.h"

namespace ringcast::node {

constexpr std::uint32_t shard_count_max = 64;  // a bit each in feed::Topic::interest
constexpr std::size_t mail_unit = 4096;        // bytes that cost as much credit as a mail

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
    started,   // from home: the answer to interest, with history; every later record follows, or
               // there is more, which must be asked for
    watch,     // to all: this shard has its first reader of a pattern / has lost its last
    watched,   // the answer: whoever makes a topic there that matches says so from now on
    list,      // to all: which topics match a pattern of this client, from this place on
    listed,    // the answer: some of them, and where to go on
    appeared,  // from home: a topic was made that somebody there may wait for; its records follow
    outcome,   // to the shard of a client: what came of its message (node/outcome.h)
    claim,     // to the registry's home: a client connected under an id of its own choice
    release,   // to the registry's home: it is gone
    evict,     // to the shard of an older client of the same id
    park,      // to the registry's home: what a client owes whose connection is gone
    resume,    // from there: what a client owes that is back
    missed,    // to a topic's home: records were not acknowledged in time
    settling,  // to all, when stopping: what was asked of them before is before this
    settled,   // to all: what was published before the stop is before this
    counters,  // to shard 0: a snapshot, for the host.server feed
    question,  // to a topic's home: what node/inquiries.h asks
    answer,    // from home: a whole frame for the client that asked
    presence,  // to a topic's home: subscriptions that began and ended (node/presence.h)
    presence_update,  // from home: whole frames for this shard's clients that want to know
    finished,         // from a worker: what this shard had it do is done
    policy,           // from whoever runs the server: node/slow_policies.h
    keys,             // ... of tokens, from now on
    seal_keys,        // ... and: node/sealer.h
};

enum class Channel : std::uint8_t { request, news };

[[nodiscard]] constexpr Channel channel_of(MailKind kind) noexcept {
    switch (kind) {
        case MailKind::publish:
        case MailKind::interest:
        case MailKind::watch:
        case MailKind::list:
        case MailKind::settling:
        case MailKind::question:
        case MailKind::presence:
            return Channel::request;
        case MailKind::record:
        case MailKind::started:
        case MailKind::watched:
        case MailKind::listed:
        case MailKind::appeared:
        case MailKind::outcome:
        case MailKind::claim:
        case MailKind::release:
        case MailKind::evict:
        case MailKind::park:
        case MailKind::resume:
        case MailKind::missed:
        case MailKind::policy:
        case MailKind::keys:
        case MailKind::seal_keys:
        case MailKind::settled:
        case MailKind::counters:
        case MailKind::answer:
        case MailKind::presence_update:
        case MailKind::finished:
            break;
    }
    return Channel::news;
}

struct Mail : MpscNode {
    MailKind kind = MailKind::publish;
    std::uint8_t lane = 0;     // feed::LaneKind; outcome: the Verdict; question: the Question
    bool flag = false;         // interest, watch: wanted or not; started: granted; publish: text;
                               // claim: it comes back; policy: close
    bool json = false;         // publish: the payload is JSON text that was validated
    bool ack = false;          // publish: the sender wants to know
    bool report = false;       // publish: ... who does not acknowledge it, too
    bool more = false;         // started, listed: there is more than this
    bool tombstone = false;    // record, of a topic with keys: its key is gone
    std::uint32_t from = 0;    // shard
    std::uint32_t conn = 0;    // the client concerned, with its serial
    std::uint64_t serial = 0;  // interest, started: how many pieces of history there were
    std::uint64_t hash = 0;    // of the topic's name; outcome: how many missed it
    std::uint64_t offset = 0;  // question: the first wanted record; answer: a count; list, listed:
                               // the number of the topic to go on with; claim: when the client was
                               // accepted
    std::uint64_t epoch = 0;   // question: how many records; list, listed: for which wish
    std::uint64_t forgotten = 0;  // started, with keys: the last tombstone that is forgotten
    std::string name;             // topic, pattern or client id; keys: their text
    std::string id;               // of the client's message
    std::string key;              // publish; record, of a topic with keys
    std::string client;           // publish with ack: who that is
    std::array<std::uint64_t, 2> sender_key{};  // publish with ack: Publication::sender_key
    Parcel bytes[2];                            // one per lane; started: history; listed: names
    std::unique_ptr<Job> job;                   // finished
    std::unique_ptr<SealKeys> seal_keys;        // seal_keys
    std::vector<Owed> owed;                     // park, resume
    std::vector<Missed> missed;                 // missed
};

// What two shards write at once lies a cache line apart.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
class Mesh {
  public:
    Mesh(std::uint32_t shard_count, std::uint64_t mail_max);
    Mesh(const Mesh&) = delete;
    Mesh& operator=(const Mesh&) = delete;
    ~Mesh();

    // Called by each shard once its reactor exists, before any mail may be posted to it.
    void attach(std::uint32_t shard, io::Reactor& reactor) noexcept;

    void post(std::uint32_t to, std::unique_ptr<Mail> mail) noexcept;
    // The next news for `shard`, or null.
    [[nodiscard]] std::unique_ptr<Mail> take(std::uint32_t shard) noexcept;
    // The next request; null also while `shard` lacks the credit for what might follow from it.
    [[nodiscard]] std::unique_ptr<Mail> take_request(std::uint32_t shard) noexcept;

    // Before shard `shard` sleeps: false if there is mail after all that it may take. After waking:
    // awake().
    [[nodiscard]] bool prepare_sleep(std::uint32_t shard) noexcept;
    void awake(std::uint32_t shard) noexcept;

    // Too much mail is under way from `from` to any shard: stop reading clients that make more. If
    // so, that shard is woken when enough of it is done.
    [[nodiscard]] bool out_of_credit(std::uint32_t from) noexcept;

    // Any thread: ends the sleep of every shard.
    void wake_all() noexcept;

    [[nodiscard]] std::uint32_t shard_count() const noexcept { return shard_count_; }

    // Connections of all shards together: one relaxed counter, touched once a connection, so that
    // the limit holds however unevenly the kernel spreads the clients.
    [[nodiscard]] bool admit(std::uint64_t limit) noexcept;
    void leave() noexcept;
    // Topics of all shards together, each counted by its home. None while memory is short.
    [[nodiscard]] bool admit_topic(std::uint64_t limit) noexcept;
    void leave_topic() noexcept;

    // Memory of all shards together; endless until it is given a room.
    [[nodiscard]] Budget& budget() noexcept { return budget_; }

  private:
    struct alignas(64) Box;
    struct alignas(64) Credit;
    [[nodiscard]] Credit& credit(std::uint32_t from, std::uint32_t to, Channel channel) noexcept;
    [[nodiscard]] bool out_of_credit(std::uint32_t from, Channel channel) noexcept;
    [[nodiscard]] std::unique_ptr<Mail> pop(std::uint32_t shard, Channel channel) noexcept;

    std::uint32_t shard_count_;
    std::uint64_t mail_max_;
    Budget budget_;
    std::unique_ptr<Box[]> boxes_;
    std::unique_ptr<Credit[]> credits_;
    alignas(64) std::atomic<std::uint64_t> connections_{0};
    alignas(64) std::atomic<std::uint64_t> topics_{0};
};

}  // namespace ringcast::node
