#include "base/mpsc.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <semaphore>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace ringcast {

// Does by hand what otherwise takes an unlucky moment.
struct MpscHalves {
    static MpscNode* announce(MpscQueue& queue, MpscNode& node) { return queue.announce(node); }
    static void link(MpscNode* former, MpscNode& node) { MpscQueue::link(former, node); }
    static void push_stub(MpscQueue& queue) { queue.push(queue.stub_); }
};

}  // namespace ringcast

using ringcast::MpscHalves;
using ringcast::MpscNode;
using ringcast::MpscQueue;

namespace {

struct Letter : MpscNode {
    std::uint32_t producer = 0;
    std::uint32_t number = 0;
};

const Letter* pop_letter(MpscQueue& queue) {
    return static_cast<const Letter*>(queue.pop());
}

}  // namespace

TEST_CASE("mpsc: what is pushed comes out in order, and an emptied queue works on") {
    MpscQueue queue;
    std::array<Letter, 5> letters;
    for (int round = 0; round < 3; round++) {
        CHECK(queue.empty());
        CHECK(queue.pop() == nullptr);
        for (std::size_t i = 0; i < letters.size(); i++) {
            queue.push(letters[i]);
            CHECK_FALSE(queue.empty());
            if (i == 1) CHECK(queue.pop() == &letters[0]);  // pops between pushes
        }
        for (std::size_t i = 1; i < letters.size(); i++) {
            CHECK(queue.pop() == &letters[i]);
        }
    }
    CHECK(queue.pop() == nullptr);
}

TEST_CASE("mpsc: a popped node may be pushed again at once") {
    MpscQueue queue;
    Letter letter;
    for (int round = 0; round < 10; round++) {
        queue.push(letter);
        CHECK(queue.pop() == &letter);
        CHECK(queue.empty());
    }
}

TEST_CASE("mpsc: a half-pushed node hides itself and all behind it, and forbids sleep") {
    MpscQueue queue;
    std::array<Letter, 3> letters;
    queue.push(letters[0]);
    MpscNode* former = MpscHalves::announce(queue, letters[1]);
    queue.push(letters[2]);
    for (int round = 0; round < 3; round++) {
        // Not even the first: it would be the end of the list that letters[1] is to be linked to.
        CHECK(queue.pop() == nullptr);
        CHECK_FALSE(queue.empty());
        CHECK_FALSE(queue.prepare_sleep());
    }
    MpscHalves::link(former, letters[1]);
    for (Letter& letter : letters) {
        CHECK(queue.pop() == &letter);
    }
    CHECK(queue.pop() == nullptr);
    CHECK(queue.empty());
}

TEST_CASE("mpsc: a push that begins while pop gives the list a new end is not overlooked") {
    MpscQueue queue;
    std::array<Letter, 3> letters;
    queue.push(letters[0]);
    queue.push(letters[1]);
    CHECK(queue.pop() == &letters[0]);
    // pop() has seen that the next is also the last; now a producer comes before its stub.
    MpscNode* former = MpscHalves::announce(queue, letters[2]);
    MpscHalves::push_stub(queue);
    CHECK(queue.pop() == nullptr);
    CHECK_FALSE(queue.empty());
    MpscHalves::link(former, letters[2]);
    CHECK(queue.pop() == &letters[1]);
    CHECK(queue.pop() == &letters[2]);
    CHECK(queue.empty());
}

TEST_CASE("mpsc: one push of a sleep is told to wake the consumer") {
    MpscQueue queue;
    std::array<Letter, 3> letters;
    CHECK_FALSE(queue.push_and_needs_wake(letters[0]));  // it is awake
    CHECK_FALSE(queue.prepare_sleep());                  // there is something
    CHECK_FALSE(queue.push_and_needs_wake(letters[1]));  // so it stayed awake
    CHECK(queue.pop() == &letters[0]);
    CHECK(queue.pop() == &letters[1]);
    CHECK(queue.prepare_sleep());
    CHECK(queue.push_and_needs_wake(letters[1]));
    CHECK_FALSE(queue.push_and_needs_wake(letters[2]));
    queue.awake();
    CHECK(queue.pop() == &letters[1]);
    CHECK(queue.pop() == &letters[2]);
}

TEST_CASE("mpsc: nothing is lost and each producer's order is kept, with a consumer that sleeps") {
    constexpr std::uint32_t producer_count = 3;
    constexpr std::uint32_t letter_count = 40'000;
    MpscQueue queue;
    // A lost wake-up would hang here: the consumer sleeps without a time-out.
    std::counting_semaphore<> wake_ups(0);
    std::vector<std::vector<Letter>> letters(producer_count);
    std::array<std::atomic<std::uint32_t>, producer_count> received{};
    std::vector<std::thread> producers;
    for (std::uint32_t p = 0; p < producer_count; p++) {
        letters[p] = std::vector<Letter>(letter_count);
        producers.emplace_back([&queue, &wake_ups, &own = letters[p], &taken = received[p], p] {
            for (std::uint32_t i = 0; i < letter_count; i++) {
                own[i].producer = p;
                own[i].number = i;
                if (queue.push_and_needs_wake(own[i])) wake_ups.release();
                // Bursts of uneven length, and a wait after each, so that the queue runs empty.
                if (i % 97 != i % 89) continue;
                while (taken.load() <= i) {
                    std::this_thread::yield();
                }
            }
        });
    }
    bool in_order = true;
    for (std::uint32_t left = producer_count * letter_count; left != 0;) {
        if (const Letter* letter = pop_letter(queue)) {
            in_order = in_order && letter->number == received[letter->producer].load();
            received[letter->producer]++;
            left--;
        } else if (queue.prepare_sleep()) {
            wake_ups.acquire();
            queue.awake();
        }
    }
    for (std::thread& producer : producers) {
        producer.join();
    }
    CHECK(in_order);
    CHECK(queue.empty());
}

TEST_CASE("mpsc: two threads that sleep whenever they have nothing pass one letter for ever") {
    struct Side {
        MpscQueue queue;
        std::binary_semaphore wake_up{0};

        void send(MpscNode& node) {
            if (queue.push_and_needs_wake(node)) wake_up.release();
        }
        MpscNode& receive() {
            for (;;) {
                if (MpscNode* node = queue.pop()) return *node;
                if (!queue.prepare_sleep()) continue;
                wake_up.acquire();
                queue.awake();
            }
        }
    };
    constexpr int round_count = 20'000;
    Side left;
    Side right;
    std::thread echo([&] {
        for (int i = 0; i < round_count; i++) {
            left.send(right.receive());
        }
    });
    Letter letter;
    for (int i = 0; i < round_count; i++) {
        right.send(letter);
        REQUIRE(&left.receive() == &letter);
    }
    echo.join();
}
