// A random walk against a model that keeps a set for each reader, and the rules one by one.

#include "feed/ack_window.h"

#include <map>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"

using namespace ringcast;
using feed::AckWindow;
using feed::Seq;

namespace {

constexpr AckWindow::Policy policy{.timeout = 10, .timeout_max = 30, .rounds = 3};

std::vector<Seq> open_of(const AckWindow& window, std::uint32_t row, Seq sent) {
    std::vector<Seq> seqs;
    window.each_open(row, sent, [&](Seq seq) {
        seqs.push_back(seq);
        return true;
    });
    return seqs;
}

std::vector<Seq> late_of(const AckWindow& window, std::uint32_t row) {
    std::vector<Seq> seqs;
    window.each_late(row, [&](Seq seq) {
        seqs.push_back(seq);
        return true;
    });
    return seqs;
}

void ignore(const AckWindow::Demand&) {}

// Every record with an odd number is a demand. Readers have a set each of what they have not
// confirmed; they get records one after the other, as far as limit() lets them.
class Walk {
  public:
    explicit Walk(std::uint64_t seed) : random_(seed) {}

    void step() {
        now_ += static_cast<Tick>(random_.between(0, 3));
        switch (random_.between(0, 8)) {
            case 0:
            case 1:
                publish();
                break;
            case 2:
                if (readers_.size() < 6) join();
                break;
            case 3:
                if (!readers_.empty() && random_.between(0, 9) == 0) leave();
                break;
            case 4:
            case 5:
                if (!readers_.empty()) confirm();
                break;
            case 6:
                if (!readers_.empty()) look();
                break;
            case 7:
                if (random_.between(0, 4) == 0) settle();
                break;
            default:
                for (std::uint32_t row = 0; row < readers_.size(); row++) {
                    read(row);
                }
        }
        check();
    }

    std::uint64_t agains = 0;
    std::uint64_t limited = 0;
    std::uint64_t told = 0;

  private:
    struct Reader {
        bool asks = false;
        Seq next = 1;
        std::set<Seq> open;  // demands that it has had and not confirmed
    };

    [[nodiscard]] std::uint32_t any_row() {
        return static_cast<std::uint32_t>(random_.between(0, readers_.size() - 1));
    }
    void publish() {
        for (std::uint64_t count = random_.between(1, 20); count > 0; count--) {
            if (next_ % 2 == 1) window_.demand(next_, expires_[next_] = now_ + 500);
            next_++;
        }
    }
    void join() {
        window_.add_row();
        Reader reader{.asks = random_.between(0, 3) != 0, .next = next_, .open = {}};
        if (reader.asks) {
            const auto row = static_cast<std::uint32_t>(readers_.size());
            CHECK(window_.ask(row, next_, {}, now_).empty());
        }
        readers_.push_back(reader);
    }
    void leave() {
        const std::uint32_t row = any_row();
        window_.remove_row(row);
        readers_[row] = readers_.back();
        readers_.pop_back();
    }
    void read(std::uint32_t row) {
        Reader& reader = readers_[row];
        const Seq limit = std::min(window_.limit(row), next_);
        if (limit < next_) limited++;
        const Seq until = std::min(limit, reader.next + random_.between(0, 100));
        for (; reader.next < until; reader.next++) {
            const auto known = expires_.find(reader.next);
            const bool alive = known != expires_.end() && known->first >= settled_;
            if (reader.asks && alive) reader.open.insert(reader.next);
        }
    }
    void confirm() {
        const std::uint32_t row = any_row();
        Reader& reader = readers_[row];
        const Seq seq = random_.between(reader.next > 140 ? reader.next - 140 : 1, reader.next + 3);
        if (random_.between(0, 5) == 0) {
            const auto end = reader.open.upper_bound(seq);
            const auto count = static_cast<std::uint32_t>(std::distance(reader.open.begin(), end));
            const bool possible = seq < reader.next;
            CHECK(window_.confirm(row, seq, true, reader.next) == (possible ? count : 0));
            if (possible) reader.open.erase(reader.open.begin(), end);
        } else {
            const bool was_open = seq < reader.next && reader.open.contains(seq);
            CHECK(window_.confirm(row, seq, false, reader.next) == (was_open ? 1 : 0));
            if (was_open) reader.open.erase(seq);
        }
    }
    void look() {
        const std::uint32_t row = any_row();
        Reader& reader = readers_[row];
        const std::vector<Seq> before = open_of(window_, row, reader.next);
        if (window_.look(row, reader.next, now_, policy) == AckWindow::Due::again) {
            const std::vector<Seq> late = late_of(window_, row);
            CHECK_FALSE(late.empty());
            for (const Seq seq : late) {
                CHECK(reader.open.contains(seq));
            }
            window_.sent_again(row, reader.next, now_, policy);
            agains++;
        }
        // What was given up is gone from the front.
        const std::vector<Seq> after = open_of(window_, row, reader.next);
        reader.open = {after.begin(), after.end()};
        CHECK(after.size() <= before.size());
    }
    void settle() {
        const Seq first = random_.between(0, 3) == 0 ? next_ - std::min<Seq>(next_ - 1, 300) : 0;
        const auto tell = [&](const AckWindow::Demand& demand) {
            CHECK(demand.missed > 0);
            told += demand.missed;
        };
        while (window_.settle(now_, first, tell)) {}
        for (const auto& [seq, expires] : expires_) {
            const bool over = seq < first || static_cast<std::int32_t>(now_ - expires) >= 0;
            if (!over) break;
            settled_ = std::max(settled_, seq + 1);
        }
        for (Reader& reader : readers_) {
            reader.open.erase(reader.open.begin(), reader.open.lower_bound(settled_));
        }
    }
    void check() {
        REQUIRE(window_.size() == readers_.size());
        for (std::uint32_t row = 0; row < readers_.size(); row++) {
            const Reader& reader = readers_[row];
            const std::vector<Seq> open = open_of(window_, row, reader.next);
            REQUIRE(std::set<Seq>(open.begin(), open.end()) == reader.open);
            REQUIRE(reader.open.size() <= AckWindow::span);
            if (!open.empty()) REQUIRE(window_.keep_from() <= open.front());
        }
    }

    Random random_;
    AckWindow window_{0};
    std::vector<Reader> readers_;
    std::map<Seq, Tick> expires_;
    Seq next_ = 1;
    Seq settled_ = 0;
    Tick now_ = 0xffffff00;  // ticks wrap
};

}  // namespace

TEST_CASE("ack window: the model and it agree at every step") {
    std::uint64_t agains = 0;
    std::uint64_t limited = 0;
    std::uint64_t told = 0;
    for (std::uint64_t seed = 1; seed <= 60; seed++) {
        CAPTURE(seed);
        Walk walk(seed);
        for (int i = 0; i < 3000; i++) {
            walk.step();
        }
        agains += walk.agains;
        limited += walk.limited;
        told += walk.told;
    }
    CHECK(agains > 1000);
    CHECK(limited > 1000);
    CHECK(told > 1000);
}

TEST_CASE("ack window: what is not confirmed is out again, after a longer wait each time") {
    AckWindow window(1);
    CHECK(window.ask(0, 1, {}, 0).empty());
    window.demand(1, 1000);
    window.demand(2, 1000);
    std::vector<Tick> agains;
    for (Tick now = 0; now < 200; now++) {
        if (window.look(0, 3, now, policy) != AckWindow::Due::again) continue;
        agains.push_back(now);
        CHECK(late_of(window, 0) == std::vector<Seq>{1, 2});
        window.sent_again(0, 3, now, policy);
    }
    CHECK(agains == std::vector<Tick>{10, 30, 60});  // 10, 20, and 30 at most
    CHECK(open_of(window, 0, 3).empty());            // and then it is given up
    std::vector<std::uint32_t> missed;
    CHECK_FALSE(window.settle(
        200, 0, [&](const AckWindow::Demand& demand) { missed.push_back(demand.missed); }));
    CHECK(missed == std::vector<std::uint32_t>{1, 1});
    CHECK(window.keep_from() == UINT64_MAX);
}

TEST_CASE("ack window: an answer begins the rounds anew, and what is newer has a wait of its own") {
    AckWindow window(1);
    CHECK(window.ask(0, 1, {}, 0).empty());
    window.demand(1, 1000);
    CHECK(window.look(0, 2, 0, policy) == AckWindow::Due::nothing);
    window.demand(2, 1000);
    CHECK(window.look(0, 3, 10, policy) == AckWindow::Due::again);
    CHECK(late_of(window, 0) == std::vector<Seq>{1});  // 2 was not out when the wait began
    window.sent_again(0, 3, 10, policy);
    CHECK(window.confirm(0, 1, false, 3) == 1);
    CHECK(window.look(0, 3, 30, policy) == AckWindow::Due::again);
    CHECK(late_of(window, 0) == std::vector<Seq>{2});
}

TEST_CASE("ack window: the reader waits at the record behind 64 that are out") {
    AckWindow window(1);
    CHECK(window.ask(0, 1, {}, 0).empty());
    for (Seq seq = 1; seq <= 130; seq++) {
        window.demand(seq * 10, 1000);
    }
    CHECK(window.limit(0) == 650);
    CHECK(window.confirm(0, 20, false, 650) == 1);
    CHECK(window.limit(0) == 650);  // the oldest is still out
    CHECK(window.confirm(0, 10, false, 650) == 1);
    CHECK(window.limit(0) == 670);
    CHECK(window.confirm(0, 660, false, 650) == 0);  // it has not had that
    CHECK(window.confirm(0, 20, false, 650) == 0);   // a second time
    CHECK(window.confirm(0, 645, true, 650) == 62);
    CHECK(window.limit(0) == 1290);
}

TEST_CASE("ack window: what a reader owed before is out at once, or missed") {
    AckWindow window(2);
    CHECK(window.ask(0, 1, {}, 0).empty());
    for (const Seq seq : std::vector<Seq>{5, 6, 7, 8}) {
        window.demand(seq, 1000);
    }
    const std::vector<Seq> owed{2, 5, 7};
    CHECK(window.ask(1, 8, owed, 50) == std::vector<Seq>{2});
    CHECK(open_of(window, 1, 8) == std::vector<Seq>{5, 7});
    CHECK(window.look(1, 8, 50, policy) == AckWindow::Due::again);
    CHECK(late_of(window, 1) == std::vector<Seq>{5, 7});
    CHECK(open_of(window, 1, 9) == std::vector<Seq>{5, 7, 8});
    CHECK(window.confirm(1, 6, false, 9) == 0);
    CHECK(window.confirm(1, 5, false, 9) == 1);
    CHECK(window.confirm(1, 7, false, 9) == 1);
}

TEST_CASE("ack window: who begins further back brings older demands along") {
    AckWindow window(1);
    CHECK(window.ask(0, 100, {}, 0).empty());
    window.set_known_from(100);
    window.demand(101, 1000);
    window.add_row();
    const std::vector<Seq> older{40, 60};
    window.demand_older(older, 1000);
    window.set_known_from(40);
    CHECK(window.ask(1, 41, {}, 0).empty());
    CHECK(open_of(window, 1, 102) == std::vector<Seq>{60, 101});
    CHECK(open_of(window, 0, 102) == std::vector<Seq>{101});
    CHECK_FALSE(window.settle(1, 0, ignore));
    CHECK(window.keep_from() == 60);  // nobody asked for 40
    CHECK(window.known_from() == 41);
    CHECK(window.confirm(1, 60, false, 102) == 1);
    CHECK_FALSE(window.settle(1, 0, ignore));
    CHECK(window.keep_from() == 101);
    CHECK(window.anyone_asks());
    window.remove_row(0);
    window.remove_row(0);
    CHECK_FALSE(window.anyone_asks());
    CHECK_FALSE(window.settle(1, 0, ignore));
    CHECK(window.demands().empty());
}

TEST_CASE("ack window: a gap is not sent again, and counts as missed") {
    AckWindow window(1);
    CHECK(window.ask(0, 1, {}, 0).empty());
    for (Seq seq = 1; seq <= 4; seq++) {
        window.demand(seq, 1000);
    }
    window.skip(0, 4);
    CHECK(open_of(window, 0, 5) == std::vector<Seq>{4});
    std::uint32_t missed = 0;
    CHECK_FALSE(
        window.settle(1, 0, [&](const AckWindow::Demand& demand) { missed += demand.missed; }));
    CHECK(missed == 3);
}

TEST_CASE("ack window: what expires goes a part at a time; who stops owes nothing") {
    AckWindow window(2);
    CHECK(window.ask(0, 1, {}, 0).empty());
    CHECK(window.ask(1, 1, {}, 0).empty());
    for (Seq seq = 1; seq <= 200; seq++) {
        window.demand(seq, 100);
    }
    window.stop(1);
    CHECK_FALSE(window.asks(1));
    CHECK(window.limit(1) == UINT64_MAX);
    std::uint32_t missed = 0;
    int parts = 1;
    const auto tell = [&](const AckWindow::Demand& demand) { missed += demand.missed; };
    while (window.settle(100, 0, tell)) {
        parts++;
    }
    CHECK(parts > 2);
    CHECK(missed == 200);
    CHECK(window.demands().empty());
}
