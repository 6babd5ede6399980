#include "node/mesh.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/fake_reactor.h"

using namespace ringcast;
using namespace ringcast::node;
using ringcast::test::FakeReactor;
using ringcast::test::VirtualClock;

namespace {

std::unique_ptr<Mail> mail_of(std::uint32_t from, std::uint64_t offset) {
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::record;
    mail->from = from;
    mail->offset = offset;
    mail->name = "topic";
    return mail;
}

// Two shards, with credit for ten mails each way.
struct Pair {
    Pair() {
        mesh.attach(0, zero);
        mesh.attach(1, one);
    }
    VirtualClock clock;
    FakeReactor zero{clock, 1};
    FakeReactor one{clock, 2};
    Mesh mesh{2, 10};
};

}  // namespace

TEST_CASE("mesh: mail from one shard to another stays in order, and none is lost") {
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        Random random(seed);
        Mesh mesh(3, 1000);
        std::uint64_t posted[3][3] = {};
        std::uint64_t taken[3][3] = {};
        for (int i = 0; i < 3000; i++) {
            const auto from = static_cast<std::uint32_t>(random.below(3));
            const auto to = static_cast<std::uint32_t>(random.below(3));
            if (random.chance(1, 2)) {
                mesh.post(to, mail_of(from, posted[from][to]++));
                continue;
            }
            const auto mail = mesh.take(to);
            if (mail != nullptr) REQUIRE(mail->offset == taken[mail->from][to]++);
        }
        for (std::uint32_t to = 0; to < 3; to++) {
            while (const auto mail = mesh.take(to)) {
                REQUIRE(mail->offset == taken[mail->from][to]++);
            }
            for (std::uint32_t from = 0; from < 3; from++) {
                CHECK(taken[from][to] == posted[from][to]);
            }
        }
    }
}

TEST_CASE("mesh: only mail for a shard that sleeps wakes it, once") {
    Pair pair;
    FakeReactor& one = pair.one;
    Mesh& mesh = pair.mesh;
    mesh.post(1, mail_of(0, 1));
    CHECK(one.wakes() == 0);
    CHECK(!mesh.prepare_sleep(1));
    CHECK(mesh.take(1) != nullptr);
    CHECK(mesh.take(1) == nullptr);
    REQUIRE(mesh.prepare_sleep(1));
    mesh.post(1, mail_of(0, 2));
    mesh.post(1, mail_of(0, 3));
    CHECK(one.wakes() == 1);
    mesh.awake(1);
    mesh.post(1, mail_of(0, 4));
    CHECK(one.wakes() == 1);
}

TEST_CASE("mesh: a sender out of credit waits until half of its mail is done, and is woken") {
    Pair pair;
    FakeReactor& zero = pair.zero;
    Mesh& mesh = pair.mesh;
    for (std::uint64_t i = 0; i < 10; i++) {
        mesh.post(1, mail_of(0, i));
        CHECK(!mesh.out_of_credit(0));
    }
    mesh.post(1, mail_of(0, 10));
    CHECK(mesh.out_of_credit(0));
    CHECK(!mesh.out_of_credit(1));  // the other direction has its own
    for (std::uint64_t left = 10; left > 5; left--) {
        CHECK(mesh.take(1) != nullptr);
        if (left > 6) CHECK(zero.wakes() == 0);
        CHECK(mesh.out_of_credit(0) == (left > 5));
    }
    CHECK(zero.wakes() == 0);
    CHECK(mesh.take(1) != nullptr);
    CHECK(zero.wakes() == 1);
    CHECK(!mesh.out_of_credit(0));
    CHECK(mesh.take(1) != nullptr);
    CHECK(zero.wakes() == 1);
}

TEST_CASE("mesh: requests wait while their receiver lacks credit for news, and news never waits") {
    Pair pair;
    FakeReactor& one = pair.one;
    Mesh& mesh = pair.mesh;
    const auto post_request = [&](std::uint64_t number) {
        auto mail = mail_of(0, number);
        mail->kind = MailKind::publish;
        mesh.post(1, std::move(mail));
    };
    post_request(1);
    CHECK(mesh.take(1) == nullptr);
    CHECK(!mesh.prepare_sleep(1));
    for (std::uint64_t i = 0; i < 11; i++)
        mesh.post(0, mail_of(1, i));  // what shard 1 owes nobody takes yet
    CHECK(mesh.take_request(1) == nullptr);
    REQUIRE(mesh.prepare_sleep(1));  // there is nothing that it may do
    post_request(2);
    CHECK(one.wakes() == 0);
    mesh.post(1, mail_of(0, 3));
    CHECK(one.wakes() == 1);
    mesh.awake(1);
    CHECK(mesh.take(1) != nullptr);
    for (int i = 0; i < 6; i++)
        CHECK(mesh.take(0) != nullptr);
    CHECK(one.wakes() == 2);
    for (const std::uint64_t number : {1u, 2u}) {
        const auto mail = mesh.take_request(1);
        REQUIRE(mail != nullptr);
        CHECK(mail->offset == number);
    }
    CHECK(mesh.take_request(1) == nullptr);
    CHECK(mesh.prepare_sleep(1));
    post_request(4);
    CHECK(one.wakes() == 3);
}

TEST_CASE("mesh: bytes cost credit as mail does, and each kind of mail has its own") {
    struct Row {
        MailKind kind;
        std::size_t size;
        std::uint64_t fit;
    };
    for (const Row row : {Row{MailKind::record, 0, 12},
                          {MailKind::record, mail_unit - 1, 12},
                          {MailKind::record, mail_unit, 6},
                          {MailKind::publish, 3 * mail_unit, 3},
                          {MailKind::publish, 100 * mail_unit, 0}}) {
        CAPTURE(row.size);
        Mesh mesh(2, 12);
        for (std::uint64_t i = 0; i <= row.fit; i++) {
            CHECK(!mesh.out_of_credit(0));
            auto mail = mail_of(0, i);
            mail->kind = row.kind;
            mail->bytes[i % 2] = Parcel::make(row.size);
            mesh.post(1, std::move(mail));
        }
        CHECK(mesh.out_of_credit(0));
        const bool requests = row.kind == MailKind::publish;
        while ((requests ? mesh.take_request(1) : mesh.take(1)) != nullptr) {
        }
        CHECK(!mesh.out_of_credit(0));
    }
}

TEST_CASE("mesh: what was never taken is freed, though the reactors are gone by then") {
    VirtualClock clock;
    auto zero = std::make_unique<FakeReactor>(clock, 1);
    auto one = std::make_unique<FakeReactor>(clock, 2);
    auto mesh = std::make_unique<Mesh>(2, 4);
    mesh->attach(0, *zero);
    mesh->attach(1, *one);
    for (std::uint64_t i = 0; i < 8; i++) {
        mesh->post(1, mail_of(0, i));
    }
    CHECK(mesh->out_of_credit(0));  // so that taking half of it would wake shard 0
    zero.reset();
    one.reset();
    mesh.reset();
}

TEST_CASE("mesh: the bytes of a parcel live as long as anybody has them") {
    Parcel kept;
    CHECK(kept.empty());
    CHECK(kept.bytes().empty());
    {
        Parcel parcel = Parcel::make(5);
        parcel.bytes()[4] = std::byte{42};
        kept = parcel.share();
        Parcel third = kept.share();
        const Parcel moved = std::move(third);
        CHECK(moved.bytes().data() == parcel.bytes().data());
        kept = moved.share();
    }
    REQUIRE(kept.bytes().size() == 5);
    CHECK(kept.bytes()[4] == std::byte{42});
    CHECK(Parcel::make(0).bytes().empty());
}

TEST_CASE("mesh: connections and topics of all shards together stay within their limits") {
    Mesh mesh(1, 4);
    CHECK(mesh.admit(2));
    CHECK(mesh.admit(2));
    CHECK(!mesh.admit(2));
    CHECK(!mesh.admit(2));
    mesh.leave();
    CHECK(mesh.admit(2));
    CHECK(!mesh.admit(2));
    // Topics have a count of their own.
    CHECK(mesh.admit_topic(1));
    CHECK(!mesh.admit_topic(1));
    mesh.leave_topic();
    CHECK(mesh.admit_topic(1));
}

TEST_CASE("mesh: two threads, parcels shared, credit kept, nothing lost") {
    constexpr std::uint64_t total = 20'000;
    constexpr std::uint64_t limit = 64;
    VirtualClock clock;
    FakeReactor zero(clock, 1);
    FakeReactor one(clock, 2);
    Mesh mesh(2, limit);
    mesh.attach(0, zero);
    mesh.attach(1, one);
    std::atomic<std::uint64_t> most{0};
    std::atomic<std::uint64_t> under_way{0};
    std::thread sender([&] {
        Parcel shared = Parcel::make(16);
        for (std::uint64_t i = 0; i < total; i++) {
            if (i % 7 == 0) {
                shared = Parcel::make(16);
                shared.bytes()[0] = static_cast<std::byte>(i & 0xff);
            }
            auto mail = mail_of(0, i);
            mail->bytes[0] = shared.share();
            mail->serial = std::to_integer<std::uint64_t>(shared.bytes()[0]);
            under_way.fetch_add(1);
            mesh.post(1, std::move(mail));
            while (mesh.out_of_credit(0)) {
                // Only the wake-up ends it in real life; the flag it follows is what counts here.
                std::this_thread::yield();
            }
        }
    });
    std::uint64_t next = 0;
    while (next < total) {
        const auto mail = mesh.take(1);
        if (mail == nullptr) {
            std::this_thread::yield();
            continue;
        }
        REQUIRE(mail->offset == next++);
        REQUIRE(std::to_integer<std::uint64_t>(mail->bytes[0].bytes()[0]) == mail->serial);
        const std::uint64_t now = under_way.fetch_sub(1);
        if (now > most.load()) most.store(now);
    }
    sender.join();
    CHECK(most.load() <= limit + 2);  // one over the limit, and one between the two counts
    CHECK(!mesh.out_of_credit(0));
}
