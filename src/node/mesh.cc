#include "node/mesh.h"

#include <cstdlib>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/plant.h"

namespace ringcast::node {

namespace {

constexpr std::size_t channel_count = 2;

}  // namespace

struct Parcel::Block {
    std::atomic<std::uint32_t> owners{1};
    std::size_t size = 0;
};

Parcel Parcel::make(std::size_t size) noexcept {
    void* memory = std::malloc(sizeof(Block) + size);
    RC_CHECK(memory != nullptr);  // bounded by mail_max; see docs/DECISIONS.md, "Memory"
    Parcel parcel;
    parcel.block_ = new (memory) Block;
    parcel.block_->size = size;
    return parcel;
}

Parcel::Parcel(Parcel&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}

Parcel& Parcel::operator=(Parcel&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
}

Parcel::~Parcel() {
    if (block_ == nullptr) return;
    // Release pairs with the acquire of the last owner: its free() comes after all other reads.
    if (block_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(block_);
}

Parcel Parcel::share() const noexcept {
    RC_CHECK(block_ != nullptr);
    block_->owners.fetch_add(1, std::memory_order_relaxed);
    Parcel other;
    other.block_ = block_;
    return other;
}

MutBytes Parcel::bytes() const noexcept {
    if (block_ == nullptr) return {};
    return {reinterpret_cast<std::byte*>(block_ + 1), block_->size};
}

struct alignas(64) Mesh::Box {
    MpscQueue queues[channel_count];
    io::Reactor* reactor = nullptr;

    [[nodiscard]] MpscQueue& of(Channel channel) noexcept {
        return queues[static_cast<std::size_t>(channel)];
    }
};

// How much mail of a channel is under way from one shard to another, in units. The sender adds, the
// receiver subtracts.
struct alignas(64) Mesh::Credit {
    std::atomic<std::uint64_t> under_way{0};
    // The sender waits for this to fall to half the limit. Pairs with the receiver's exchange.
    std::atomic<bool> awaited{false};
};

namespace {

// Before anything is allocated by it.
[[nodiscard]] std::uint32_t checked(std::uint32_t shard_count) noexcept {
    RC_CHECK(shard_count > 0);
    RC_CHECK(shard_count <= shard_count_max);
    return shard_count;
}

void count_out(std::atomic<std::uint64_t>& counter) noexcept {
    const std::uint64_t before = counter.fetch_sub(1, std::memory_order_relaxed);
    RC_CHECK(before > 0);
}

[[nodiscard]] bool count_in(std::atomic<std::uint64_t>& counter, std::uint64_t limit) noexcept {
    if (counter.fetch_add(1, std::memory_order_relaxed) < limit) return true;
    count_out(counter);
    return false;
}

// The same at both ends: nobody writes into mail that is under way.
[[nodiscard]] std::uint64_t cost_of(const Mail& mail) noexcept {
    std::uint64_t cost = 1;
    for (const Parcel& parcel : mail.bytes) {
        cost += parcel.bytes().size() / mail_unit;
    }
    return cost;
}

}  // namespace

Mesh::Mesh(std::uint32_t shard_count, std::uint64_t mail_max)
    : shard_count_(checked(shard_count)),
      mail_max_(mail_max),
      budget_(shard_count_),
      boxes_(std::make_unique<Box[]>(shard_count_)),
      credits_(
          std::make_unique<Credit[]>(std::size_t{shard_count_} * shard_count_ * channel_count)) {
    RC_CHECK(mail_max > 1);
}

// Not by take(): the reactors that it would wake are gone by now.
Mesh::~Mesh() {
    for (std::uint32_t shard = 0; shard < shard_count_; shard++) {
        for (MpscQueue& queue : boxes_[shard].queues) {
            while (MpscNode* node = queue.pop()) {
                delete static_cast<Mail*>(node);
            }
        }
    }
}

void Mesh::attach(std::uint32_t shard, io::Reactor& reactor) noexcept {
    RC_CHECK(shard < shard_count_);
    boxes_[shard].reactor = &reactor;
}

Mesh::Credit& Mesh::credit(std::uint32_t from, std::uint32_t to, Channel channel) noexcept {
    RC_CHECK(from < shard_count_);
    RC_CHECK(to < shard_count_);
    const std::size_t pair = std::size_t{from} * shard_count_ + to;
    return credits_[pair * channel_count + static_cast<std::size_t>(channel)];
}

void Mesh::post(std::uint32_t to, std::unique_ptr<Mail> mail) noexcept {
    RC_CHECK(mail != nullptr);
    const Channel channel = channel_of(mail->kind);
    credit(mail->from, to, channel).under_way.fetch_add(cost_of(*mail), std::memory_order_relaxed);
    Box& box = boxes_[to];
    if (box.of(channel).push_and_needs_wake(*mail.release()) && box.reactor != nullptr) {
        if (!RC_PLANT(1)) box.reactor->wake();
    }
}

std::unique_ptr<Mail> Mesh::pop(std::uint32_t shard, Channel channel) noexcept {
    MpscNode* node = boxes_[shard].of(channel).pop();
    if (node == nullptr) return nullptr;
    std::unique_ptr<Mail> mail(static_cast<Mail*>(node));

    Credit& used = credit(mail->from, shard, channel);
    const std::uint64_t cost = cost_of(*mail);
    const std::uint64_t left = used.under_way.fetch_sub(cost) - cost;
    // Sequentially consistent with out_of_credit(): either it sees this subtraction, or we see its
    // flag.
    if (left <= mail_max_ / 2 && used.awaited.load() && used.awaited.exchange(false)) {
        io::Reactor* sender = boxes_[mail->from].reactor;
        if (sender != nullptr && !RC_PLANT(2)) sender->wake();
    }
    return mail;
}

std::unique_ptr<Mail> Mesh::take(std::uint32_t shard) noexcept {
    RC_CHECK(shard < shard_count_);
    return pop(shard, Channel::news);
}

std::unique_ptr<Mail> Mesh::take_request(std::uint32_t shard) noexcept {
    RC_CHECK(shard < shard_count_);
    if (boxes_[shard].of(Channel::request).empty()) return nullptr;
    if (out_of_credit(shard, Channel::news)) return nullptr;
    return pop(shard, Channel::request);
}

bool Mesh::prepare_sleep(std::uint32_t shard) noexcept {
    Box& box = boxes_[shard];
    if (!box.of(Channel::news).prepare_sleep()) return false;
    if (box.of(Channel::request).prepare_sleep()) return true;
    // Requests are there, but must wait: whoever gives the credit back wakes us.
    if (out_of_credit(shard, Channel::news)) return true;
    box.of(Channel::news).awake();
    return false;
}

void Mesh::awake(std::uint32_t shard) noexcept {
    for (MpscQueue& queue : boxes_[shard].queues) {
        queue.awake();
    }
}

bool Mesh::out_of_credit(std::uint32_t from) noexcept {
    return out_of_credit(from, Channel::news) || out_of_credit(from, Channel::request);
}

bool Mesh::out_of_credit(std::uint32_t from, Channel channel) noexcept {
    bool out = false;
    for (std::uint32_t to = 0; to < shard_count_; to++) {
        Credit& used = credit(from, to, channel);
        if (used.under_way.load(std::memory_order_relaxed) <= mail_max_) {
            // Below the limit, but if we are waiting then wait for half of it: no flutter.
            if (!used.awaited.load(std::memory_order_relaxed)) continue;
            out = true;
            continue;
        }
        used.awaited.store(true);
        if (used.under_way.load() <= mail_max_ / 2) {
            used.awaited.store(false);
            continue;
        }
        out = true;
    }
    return out;
}

void Mesh::wake_all() noexcept {
    for (std::uint32_t shard = 0; shard < shard_count_; shard++) {
        if (boxes_[shard].reactor != nullptr) boxes_[shard].reactor->wake();
    }
}

bool Mesh::admit(std::uint64_t limit) noexcept {
    return count_in(connections_, limit);
}

void Mesh::leave() noexcept {
    count_out(connections_);
}

bool Mesh::admit_topic(std::uint64_t limit) noexcept {
    if (budget_.pressure() >= Pressure::refuse) return false;
    return count_in(topics_, limit);
}

void Mesh::leave_topic() noexcept {
    count_out(topics_);
}

}  // namespace ringcast::node
