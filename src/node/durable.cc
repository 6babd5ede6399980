#include "node/durable.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ringcast::node {

namespace {

constexpr std::uint64_t trim_interval = 1024;  // records of a topic
constexpr std::size_t trims_per_batch = 4;     // a transaction each, in front of the batch

[[nodiscard]] std::string key_of(const Durable::Pending& record) noexcept {
    std::string key = std::to_string(record.topic.size()) + ' ' +
                      std::to_string(record.client.size()) + ' ' + record.topic;
    return key + record.client + record.id;
}

[[nodiscard]] bool can_repeat(const Durable::Pending& record) noexcept {
    return !record.client.empty() && !record.id.empty();
}

[[nodiscard]] Bytes payload_of(const Durable::Pending& record) noexcept {
    return Bytes(record.payload.bytes()).first(record.size);
}

// io::StoreRecord::finish. A cipher of its own: workers come and go.
[[nodiscard]] Bytes seal(void* context, std::uint64_t offset) noexcept {
    auto& record = *static_cast<Durable::Pending*>(context);
    const wire::SealPlace place{
        .topic = record.topic, .epoch = record.epoch, .offset = offset, .key = record.key};
    record.box = Parcel::make(record.ticket->size_for(record.size));
    wire::SealCipher cipher;
    record.ticket->seal(cipher, place, record.sealed_form, payload_of(record), record.box.bytes());
    return record.box.bytes();
}

}  // namespace

Publication Durable::Pending::publication() const noexcept {
    const bool json = form == io::StoreForm::json || form == io::StoreForm::deletion;
    return {.topic = topic,
            .id = id,
            .key = key,
            .payload = box.empty() ? payload_of(*this) : Bytes(box.bytes()),
            .json = json,
            .text = form != io::StoreForm::binary,
            .sealed = !box.empty(),
            .ack = !client.empty()};
}

// A batch on its way to the store and back.
class Durable::Commit final : public Job {
  public:
    Commit(Durable& durable, Batch batch, Nanos wall_now) noexcept
        : Job(durable.shard_, store_strand),
          durable_(durable),
          store_(durable.store_),
          batch_(std::move(batch)),
          wall_now_(wall_now) {}

    // What is to go goes first: it may be the room that the rest needs.
    void run(std::span<const std::unique_ptr<Job>> group) noexcept override {
        for (const std::unique_ptr<Job>& job : group) {
            static_cast<Commit&>(*job).trim();
        }
        if (append(group)) return;
        // Nobody is refused for what another shard's batch lacks.
        for (std::size_t at = 0; at < group.size() && group.size() > 1; at++) {
            static_cast<void>(append(group.subspan(at, 1)));
        }
    }
    void done() noexcept override { durable_.finish(*this); }

    [[nodiscard]] Batch& batch() noexcept { return batch_; }
    [[nodiscard]] io::StoreFault fault() const noexcept { return fault_; }
    [[nodiscard]] const std::string& why() const noexcept { return why_; }

  private:
    // Leaves the orders of which there is more to do.
    void trim() noexcept {
        std::erase_if(batch_.trims, [this](const Order& order) {
            auto more = store_.trim(order.topic, order.keep, wall_now_);
            return !more.ok() || !more.value();
        });
    }
    // One transaction for all of them.
    [[nodiscard]] bool append(std::span<const std::unique_ptr<Job>> group) noexcept {
        std::vector<io::StoreRecord> records;
        for (const std::unique_ptr<Job>& job : group) {
            for (const std::unique_ptr<Pending>& pending :
                 static_cast<Commit&>(*job).batch_.records) {
                records.push_back(view(*pending));
            }
        }
        if (records.empty()) return true;
        std::vector<io::StoreRecord*> all;
        all.reserve(records.size());
        for (io::StoreRecord& record : records) {
            all.push_back(&record);
        }
        const auto appended = store_.append(all);
        std::size_t next = 0;
        for (const std::unique_ptr<Job>& job : group) {
            auto& commit = static_cast<Commit&>(*job);
            if (commit.batch_.records.empty()) continue;
            commit.fault_ = appended.ok() ? io::StoreFault::none : io::fault_of(appended.error());
            commit.why_ = appended.ok() ? std::string() : store_.why();
            for (const std::unique_ptr<Pending>& pending : commit.batch_.records) {
                pending->offset = records[next++].offset;
            }
        }
        return appended.ok();
    }
    [[nodiscard]] static io::StoreRecord view(Pending& pending) noexcept {
        const bool seals = pending.ticket.has_value();
        return {.topic = pending.topic,
                .epoch = pending.epoch,
                .wall_ns = pending.wall_ns,
                .client = pending.client,
                .id = pending.id,
                .key = pending.key,
                .payload = seals ? Bytes() : payload_of(pending),
                .form = seals ? io::StoreForm::sealed : pending.form,
                .finish = seals ? &seal : nullptr,
                .context = &pending};
    }

    Durable& durable_;
    io::Store& store_;
    Batch batch_;
    Nanos wall_now_;
    io::StoreFault fault_ = io::StoreFault::none;
    std::string why_;
};

Durable::Durable(std::uint32_t shard,
                 const Limits& limits,
                 Worker& worker,
                 io::Store& store,
                 Owner& owner) noexcept
    : shard_(shard), limits_(limits), worker_(worker), store_(store), owner_(owner) {
    RC_CHECK(limits.records > 0);
    RC_CHECK(limits.bytes > 0);
}

Durable::~Durable() = default;

Durable::Taken Durable::take(Pending record, const io::Keep& keep) noexcept {
    RC_CHECK(!record.topic.empty());
    RC_CHECK(record.senders.size() == 1);
    const bool indexed = can_repeat(record);
    const std::string key = indexed ? key_of(record) : std::string();
    const auto found = indexed ? index_.find(key) : index_.end();
    if (found != index_.end()) {
        if (repeats_ >= limits_.records) return Taken::busy;
        repeats_++;
        found->second->senders.push_back(record.senders.front());
        return Taken::repeated;
    }
    const bool first = collected_.records.empty();
    if (collected_.records.size() >= limits_.records) return Taken::busy;
    if (!first && collected_.bytes + record.size > limits_.bytes) return Taken::busy;

    kept_[record.topic].keep = keep;
    collected_.bytes += record.size;
    collected_.records.push_back(std::make_unique<Pending>(std::move(record)));
    if (indexed) index_.emplace(key, collected_.records.back().get());
    return Taken::waiting;
}

void Durable::trim(std::string_view topic, const io::Keep& keep) noexcept {
    RC_CHECK(!topic.empty());
    const std::string name(topic);
    Kept& kept = kept_[name];
    kept.keep = keep;
    make_due(name, kept);
}

void Durable::make_due(const std::string& topic, Kept& kept) noexcept {
    if (kept.due) return;
    kept.due = true;
    due_.push_back(topic);
}

void Durable::flush(Nanos wall_now) noexcept {
    if (busy_ || (collected_.records.empty() && due_.empty())) return;
    while (!due_.empty() && collected_.trims.size() < trims_per_batch) {
        Kept& kept = kept_[due_.front()];
        kept.due = false;
        kept.grown = 0;
        collected_.trims.push_back({.topic = std::move(due_.front()), .keep = kept.keep});
        due_.pop_front();
    }
    const std::size_t count = collected_.records.size();
    auto commit = std::make_unique<Commit>(*this, std::exchange(collected_, {}), wall_now);
    Commit& made = *commit;
    std::unique_ptr<Job> job = std::move(commit);
    if (worker_.submit(job)) {
        busy_ = true;
        under_way_ = count;
        return;
    }
    forget(made.batch());
    refuse(made.batch(), Refusal::busy);
}

// Its records no longer wait, and its trims are to be done again. Before any callback: what is
// taken from inside one is new.
void Durable::forget(const Batch& batch) noexcept {
    for (const std::unique_ptr<Pending>& record : batch.records) {
        RC_CHECK(repeats_ >= record->senders.size() - 1);
        repeats_ -= record->senders.size() - 1;
        if (can_repeat(*record)) index_.erase(key_of(*record));
    }
    for (const Order& order : batch.trims) {
        make_due(order.topic, kept_[order.topic]);
    }
}

void Durable::refuse(Batch& batch, Refusal refusal) noexcept {
    for (const std::unique_ptr<Pending>& record : batch.records) {
        owner_.refused(*record, refusal);
    }
}

void Durable::finish(Commit& commit) noexcept {
    RC_CHECK(busy_);
    RC_CHECK(under_way_ == commit.batch().records.size());
    busy_ = false;
    under_way_ = 0;
    forget(commit.batch());
    const bool committed = commit.fault() == io::StoreFault::none;
    for (const std::unique_ptr<Pending>& record : commit.batch().records) {
        Kept& kept = kept_[record->topic];
        kept.grown++;
        // Where a batch failed there may be nothing but old records in the way.
        if (kept.grown >= trim_interval || commit.fault() == io::StoreFault::full) {
            make_due(record->topic, kept);
        }
        if (committed) owner_.committed(*record);
    }
    if (committed) return;
    owner_.store_failed(commit.why());
    const bool full = commit.fault() == io::StoreFault::full;
    refuse(commit.batch(), full ? Refusal::full : Refusal::broken);
}

}  // namespace ringcast::node
