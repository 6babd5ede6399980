#pragma once

// An intrusive queue from many threads to one, and the handshake that lets the one sleep. The only
// lock-free one in the house. (Dmitry Vyukov, "Intrusive MPSC node-based queue", 1024cores.net.)
//
// push: any thread, wait-free, one exchange. pop, empty, prepare_sleep, awake: the consumer only.
// Order: first in, first out per producer; between producers, the order of their exchanges.
//
// Shape: a singly linked list from tail_ (oldest, the consumer's) to head_ (newest, shared). A push
// exchanges head_ and then links the former head to the new node. Between the two steps the queue
// is *half-pushed*: the node is in, but neither it nor anything pushed after it can be reached.
// pop() then says nullptr although empty() says false. The state lasts a few instructions, or as
// long as the kernel keeps that producer off its core; the consumer just comes back in its next
// turn, and prepare_sleep() refuses until the link is there.
//
// Whoever pushed a node owns nothing of it until the consumer popped it; after pop() the queue no
// longer refers to the node, so the consumer may free it or push it anywhere.

#include <atomic>

#include "base/check.h"

namespace ringcast {

struct MpscNode {
    std::atomic<MpscNode*> next{nullptr};
};

class MpscQueue {
  public:
    MpscQueue() noexcept = default;
    MpscQueue(const MpscQueue&) = delete;
    MpscQueue& operator=(const MpscQueue&) = delete;

    void push(MpscNode& node) noexcept {
        MpscNode* former = announce(node);
        link(former, node);  // between the two: half-pushed
    }

    // The oldest node; nullptr when there is none or it cannot be reached yet (half-pushed).
    [[nodiscard]] MpscNode* pop() noexcept {
        MpscNode* tail = tail_;
        MpscNode* next = tail->next.load(std::memory_order_acquire);  // pairs with link()
        if (tail == &stub_) {
            if (next == nullptr) return nullptr;
            tail_ = tail = next;
            next = tail->next.load(std::memory_order_acquire);
        }
        if (next == nullptr) {
            // `tail` is the last node we can reach. To hand it out, something must follow it, or
            // the list would have no end to link to: the stub, if no producer is at work there.
            // Relaxed: only the address is compared; a stale head just means "try again".
            if (head_.load(std::memory_order_relaxed) != tail) return nullptr;
            push(stub_);
            next = tail->next.load(std::memory_order_acquire);
            if (next == nullptr) return nullptr;  // a producer came between: half-pushed
        }
        tail_ = next;
        RC_DCHECK(tail != &stub_);
        return tail;
    }

    // False as soon as a push has begun, half-pushed included.
    [[nodiscard]] bool empty() const noexcept {
        return tail_ == &stub_ && head_.load(std::memory_order_seq_cst) == &stub_;
    }

    // The handshake (Dekker's): the producer writes head_ and then reads sleeping_; the consumer
    // writes sleeping_ and then reads head_. All four are seq_cst, so they have one total order and
    // at least one side sees the other's write: the consumer refuses to sleep, or the producer
    // wakes it. Not relaxed operations round a fence: the exchange in push() is a full barrier
    // already, so this way the producer pays one plain load, and ThreadSanitizer can follow it.

    // Consumer: announces that it will sleep. False: do not, the queue has something.
    [[nodiscard]] bool prepare_sleep() noexcept {
        sleeping_.store(true, std::memory_order_seq_cst);  // before the look at head_ in empty()
        if (empty()) return true;
        awake();
        return false;
    }

    // Consumer: back from sleep, for whatever reason.
    void awake() noexcept { sleeping_.store(false, std::memory_order_relaxed); }

    // Producer: pushes; true when the consumer sleeps and this caller must wake it. Of all that
    // push during one sleep exactly one is told so. The wake-up may reach a consumer that is awake
    // again (its deadline came at the same time), so it must be harmless then.
    [[nodiscard]] bool push_and_needs_wake(MpscNode& node) noexcept {
        push(node);
        if (!sleeping_.load(std::memory_order_seq_cst)) return false;  // after push()'s exchange
        return sleeping_.exchange(false, std::memory_order_seq_cst);
    }

  private:
    friend struct MpscHalves;  // the test of the half-pushed state

    // First half of push().
    [[nodiscard]] MpscNode* announce(MpscNode& node) noexcept {
        node.next.store(nullptr, std::memory_order_relaxed);  // published by the exchange
        // seq_cst: release, so that whoever links to us later does it after our reset of `next`;
        // acquire, so that we link after the reset of the former head's; and a place in the single
        // total order, for the handshake. On x86 every exchange is a full barrier anyhow.
        return head_.exchange(&node, std::memory_order_seq_cst);
    }

    // Second half. The release pairs with pop()'s acquire of `next`: what the producer wrote into
    // the node is visible to whoever pops it.
    static void link(MpscNode* former, MpscNode& node) noexcept {
        former->next.store(&node, std::memory_order_release);
    }

    // Producers, the consumer, and the flag that producers only read while nobody sleeps, each on a
    // cache line of their own.
    alignas(64) std::atomic<MpscNode*> head_{&stub_};
    alignas(64) MpscNode* tail_ = &stub_;
    MpscNode stub_;
    alignas(64) std::atomic<bool> sleeping_{false};
};

}  // namespace ringcast
