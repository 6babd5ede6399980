#include "base/mpsc.h"

#include <array>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

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

TEST_CASE("mpsc: one push of a sleep is told to wake the consumer") {
    MpscQueue queue;
    std::array<Letter, 3> letters;
    CHECK_FALSE(queue.push_and_needs_wake(letters[0]));  // it is awake
    CHECK_FALSE(queue.prepare_sleep());                  // there is something
    CHECK(queue.pop() == &letters[0]);
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
    std::vector<std::thread> producers;
    for (std::uint32_t p = 0; p < producer_count; p++) {
        letters[p] = std::vector<Letter>(letter_count);
        producers.emplace_back([&queue, &wake_ups, &own = letters[p], p] {
            for (std::uint32_t i = 0; i < letter_count; i++) {
                own[i].producer = p;
                own[i].number = i;
                if (queue.push_and_needs_wake(own[i])) wake_ups.release();
                if (i % 64 == 0) std::this_thread::yield();  // lets the queue run empty
            }
        });
    }
    std::array<std::uint32_t, producer_count> next{};
    std::uint32_t received = 0;
    std::uint32_t slept = 0;
    bool in_order = true;
    while (received < producer_count * letter_count) {
        if (const Letter* letter = pop_letter(queue)) {
            in_order = in_order && letter->number == next[letter->producer];
            next[letter->producer]++;
            received++;
        } else if (queue.prepare_sleep()) {
            wake_ups.acquire();
            queue.awake();
            slept++;
        }
    }
    for (std::thread& producer : producers) {
        producer.join();
    }
    CHECK(in_order);
    CHECK(queue.empty());
    CHECK(slept > 0);
}
