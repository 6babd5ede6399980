#include "node/mesh.h"

#include <cstdlib>
#include <new>
#include <utility>

#include "base/check.h"

namespace ringcast::node {

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
    MpscQueue queue;
    io::Reactor* reactor = nullptr;
};

// How much mail is under way from one shard to another. The sender adds, the receiver subtracts.
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

}  // namespace

Mesh::Mesh(std::uint32_t shard_count, std::uint64_t mail_max)
    : shard_count_(checked(shard_count)),
      mail_max_(mail_max),
      boxes_(std::make_unique<Box[]>(shard_count_)),
      credits_(std::make_unique<Credit[]>(std::size_t{shard_count_} * shard_count_)) {
    RC_CHECK(mail_max > 1);
}

// Not by take(): the reactors that it would wake are gone by now.
Mesh::~Mesh() {
    for (std::uint32_t shard = 0; shard < shard_count_; shard++) {
        while (MpscNode* node = boxes_[shard].queue.pop()) {
            delete static_cast<Mail*>(node);
        }
    }
}

void Mesh::attach(std::uint32_t shard, io::Reactor& reactor) noexcept {
    RC_CHECK(shard < shard_count_);
    boxes_[shard].reactor = &reactor;
}

Mesh::Credit& Mesh::credit(std::uint32_t from, std::uint32_t to) noexcept {
    RC_CHECK(from < shard_count_);
    RC_CHECK(to < shard_count_);
    return credits_[std::size_t{from} * shard_count_ + to];
}

void Mesh::post(std::uint32_t to, std::unique_ptr<Mail> mail) noexcept {
    RC_CHECK(mail != nullptr);
    credit(mail->from, to).under_way.fetch_add(1, std::memory_order_relaxed);
    Box& box = boxes_[to];
    if (box.queue.push_and_needs_wake(*mail.release()) && box.reactor != nullptr) {
        box.reactor->wake();
    }
}

std::unique_ptr<Mail> Mesh::take(std::uint32_t shard) noexcept {
    RC_CHECK(shard < shard_count_);
    MpscNode* node = boxes_[shard].queue.pop();
    if (node == nullptr) return nullptr;
    std::unique_ptr<Mail> mail(static_cast<Mail*>(node));

    Credit& used = credit(mail->from, shard);
    const std::uint64_t left = used.under_way.fetch_sub(1) - 1;
    // Sequentially consistent with out_of_credit(): either it sees this subtraction, or we see its
    // flag.
    if (left <= mail_max_ / 2 && used.awaited.load() && used.awaited.exchange(false)) {
        io::Reactor* sender = boxes_[mail->from].reactor;
        if (sender != nullptr) sender->wake();
    }
    return mail;
}

bool Mesh::prepare_sleep(std::uint32_t shard) noexcept {
    return boxes_[shard].queue.prepare_sleep();
}

void Mesh::awake(std::uint32_t shard) noexcept {
    boxes_[shard].queue.awake();
}

bool Mesh::out_of_credit(std::uint32_t from) noexcept {
    bool out = false;
    for (std::uint32_t to = 0; to < shard_count_; to++) {
        Credit& used = credit(from, to);
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

bool Mesh::admit(std::uint64_t limit) noexcept {
    if (connections_.fetch_add(1, std::memory_order_relaxed) < limit) return true;
    leave();
    return false;
}

void Mesh::leave() noexcept {
    const std::uint64_t before = connections_.fetch_sub(1, std::memory_order_relaxed);
    RC_CHECK(before > 0);
}

}  // namespace ringcast::node
