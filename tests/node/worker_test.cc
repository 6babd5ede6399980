#include "node/worker.h"

#include <atomic>
#include <deque>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "base/random.h"
#include "tests/support/fake_reactor.h"
#include "tests/support/fake_worker.h"
#include "tests/support/wait.h"

using namespace ringcast;
using namespace ringcast::node;
using ringcast::test::FakeReactor;
using ringcast::test::FakeWorker;
using ringcast::test::VirtualClock;

namespace {

// What jobs say of themselves. `run` is written by workers, one at a time in a strand.
struct Diary {
    std::vector<int> run;
    std::vector<std::size_t> groups;
    std::vector<int> done;
};

struct Note final : Job {
    Note(Diary& its_diary, int its_name, Strand its_strand)
        : Job(0, its_strand), diary(its_diary), name(its_name) {}
    void run(std::span<const std::unique_ptr<Job>> group) noexcept override {
        diary.groups.push_back(group.size());
        for (const std::unique_ptr<Job>& job : group) {
            diary.run.push_back(static_cast<Note&>(*job).name);
        }
    }
    void done() noexcept override { diary.done.push_back(name); }

    Diary& diary;
    int name;
};

// Says that it runs, and goes on when it is let go.
struct Slow final : Job {
    explicit Slow(Strand strand = no_strand) : Job(0, strand) {}
    struct Gate {
        std::binary_semaphore begun{0};
        std::binary_semaphore go{0};
    };
    void run(std::span<const std::unique_ptr<Job>> /*group*/) noexcept override {
        gate->begun.release();
        gate->go.acquire();
    }
    void done() noexcept override {}

    Gate* gate = nullptr;
};

struct Idle final : Job {
    Idle() : Job(0) {}
    void run(std::span<const std::unique_ptr<Job>> /*group*/) noexcept override {}
    void done() noexcept override {}
};

// What the jobs of several shards have in common.
struct Crowd {
    static constexpr std::uint32_t shards = 3;
    std::atomic<int> inside{0};
    std::vector<std::vector<int>> order{shards};  // written inside the strand alone
};

struct Count final : Job {
    Count(Crowd& all, std::vector<int>& its_answers, std::uint32_t its_shard, int its_name)
        : Job(its_shard, its_name % 2 == 0 ? Strand{5} : no_strand),
          shared(all),
          answers(its_answers),
          name(its_name) {}
    void run(std::span<const std::unique_ptr<Job>> group) noexcept override {
        if (strand() == no_strand) return;
        one_at_a_time = shared.inside.fetch_add(1) == 0;
        for (const std::unique_ptr<Job>& job : group) {
            shared.order[job->shard()].push_back(static_cast<Count&>(*job).name);
        }
        shared.inside.fetch_sub(1);
    }
    void done() noexcept override {
        if (!one_at_a_time) broken = true;
        if (strand() != no_strand) answers.push_back(name);
    }
    Crowd& shared;
    std::vector<int>& answers;
    int name;
    bool one_at_a_time = true;
    bool broken = false;
};

struct Queued {
    Strand strand;
    int name;
};

bool push(JobQueue& queue, Diary& diary, int name, Strand strand) {
    std::unique_ptr<Job> job = std::make_unique<Note>(diary, name, strand);
    const bool taken = queue.push(job);
    CHECK(taken == (job == nullptr));
    return taken;
}

}  // namespace

TEST_CASE("job queue: jobs run in order, a strand's together, and none overtakes its strand") {
    for (std::uint64_t seed = 1; seed <= 50; seed++) {
        CAPTURE(seed);
        Random random(seed);
        Diary diary;
        constexpr std::size_t jobs_max = 12;
        JobQueue queue(jobs_max);
        std::deque<Queued> model;       // waiting
        std::vector<JobGroup> running;  // taken out, in no order
        std::size_t busy[4] = {};       // groups running of a strand
        std::size_t count = 0;
        for (int step = 0; step < 400; step++) {
            const auto strand = static_cast<Strand>(random.below(4));
            if (random.chance(1, 2)) {
                const std::size_t taken = model.size() + count;
                REQUIRE(queue.size() == taken);
                REQUIRE(push(queue, diary, step, strand) == (taken < jobs_max));
                if (taken < jobs_max) model.push_back({strand, step});
            } else if (random.chance(1, 2) && !running.empty()) {
                std::swap(running[random.below(running.size())], running.back());
                const Strand left = running.back().front()->strand();
                queue.finish(running.back().size());
                queue.release(left);
                count -= running.back().size();
                busy[left]--;
                running.pop_back();
            } else {
                std::vector<int> expected;
                Strand first = 0;
                for (auto at = model.begin(); at != model.end();) {
                    const bool starts =
                        expected.empty() && (at->strand == 0 || busy[at->strand] == 0);
                    const bool joins = !expected.empty() && first != 0 && at->strand == first;
                    if (starts) first = at->strand;
                    if (starts || joins) expected.push_back(at->name);
                    at = starts || joins ? model.erase(at) : at + 1;
                }
                JobGroup group = queue.next();
                REQUIRE(group.size() == expected.size());
                for (std::size_t i = 0; i < group.size(); i++) {
                    REQUIRE(static_cast<Note&>(*group[i]).name == expected[i]);
                }
                if (group.empty()) continue;
                count += group.size();
                busy[first]++;
                REQUIRE((first == 0 || busy[first] == 1));
                running.push_back(std::move(group));
            }
        }
    }
}

TEST_CASE("fake worker: runs when it is told, and answers when it is told") {
    Diary diary;
    FakeWorker worker(3);
    for (int name = 1; name <= 3; name++) {
        std::unique_ptr<Job> job = std::make_unique<Note>(diary, name, Strand{1});
        REQUIRE(worker.submit(job));
    }
    std::unique_ptr<Job> over = std::make_unique<Note>(diary, 4, Strand{1});
    CHECK(!worker.submit(over));
    CHECK(over != nullptr);
    CHECK(worker.run_next() == 3);
    CHECK(diary.run == std::vector{1, 2, 3});
    CHECK(diary.done.empty());
    CHECK(worker.submit(over));  // there is room as soon as they have run
    worker.settle();
    CHECK(diary.done == std::vector{1, 2, 3, 4});
    CHECK(diary.groups == std::vector<std::size_t>{3, 1});
}

TEST_CASE("worker: a full pool says no, at once, and what it took comes back as mail") {
    VirtualClock clock;
    FakeReactor reactor(clock, 1);
    Mesh mesh(1, 10);
    mesh.attach(0, reactor);
    WorkerPool pool(mesh, 1, 2);
    Slow::Gate gate;
    Diary diary;

    auto slow = std::make_unique<Slow>();
    slow->gate = &gate;
    std::unique_ptr<Job> job = std::move(slow);
    REQUIRE(pool.submit(job));
    gate.begun.acquire();
    job = std::make_unique<Note>(diary, 1, no_strand);
    CHECK(pool.submit(job));
    CHECK(job == nullptr);
    job = std::make_unique<Note>(diary, 2, no_strand);
    CHECK(!pool.submit(job));
    CHECK(job != nullptr);

    CHECK(mesh.take(0) == nullptr);
    REQUIRE(mesh.prepare_sleep(0));
    gate.go.release();
    REQUIRE(test::wait_until([&] { return reactor.wakes() > 0; }));  // who sleeps is woken
    mesh.awake(0);
    for (int mails = 0; mails < 2;) {
        const auto mail = mesh.take(0);
        if (mail == nullptr) {
            std::this_thread::yield();
            continue;
        }
        REQUIRE(mail->kind == MailKind::finished);
        REQUIRE(mail->job != nullptr);
        mail->job->done();
        mails++;
    }
    CHECK(diary.done == std::vector{1});
    CHECK(pool.submit(job));
    pool.stop();
    CHECK(diary.run == std::vector{1, 2});
}

TEST_CASE("worker: a stop runs what was taken, answers it, and takes nothing more") {
    VirtualClock clock;
    FakeReactor reactor(clock, 1);
    Mesh mesh(1, 1000);
    mesh.attach(0, reactor);
    Diary diary;
    WorkerPool pool(mesh, 2, 1'000'000);
    std::size_t idle = 0;
    Slow::Gate gate;
    auto slow = std::make_unique<Slow>();
    slow->gate = &gate;
    std::unique_ptr<Job> job = std::move(slow);
    REQUIRE(pool.submit(job));
    gate.begun.acquire();
    for (int name = 0; name < 20; name++) {
        job = std::make_unique<Note>(diary, name, Strand{3});
        REQUIRE(pool.submit(job));
    }
    std::thread stopper([&] { pool.stop(); });
    // Once it is stopping it says no; the ones before are taken, and run.
    REQUIRE(test::wait_until([&] {
        job = std::make_unique<Idle>();
        const bool taken = pool.submit(job);
        if (taken) idle++;
        return !taken;
    }));
    gate.go.release();
    stopper.join();
    CHECK(diary.run.size() == 20);
    std::size_t mails = 0;
    while (const auto mail = mesh.take(0)) {
        mail->job->done();
        mails++;
    }
    CHECK(mails == 21 + idle);
    CHECK(diary.done == diary.run);
    for (int name = 0; name < 20; name++) {
        CHECK(diary.done[static_cast<std::size_t>(name)] == name);
    }
}

// Three shards, each with a thread, ask three workers for more than they take.
TEST_CASE(
    "worker: jobs of many threads run once, a strand's never at the same time or out of order") {
    Crowd shared;
    constexpr std::uint32_t shards = Crowd::shards;
    constexpr int total = 2000;  // of each shard
    VirtualClock clock;
    Mesh mesh(shards, 1000);
    std::vector<std::unique_ptr<FakeReactor>> reactors;
    for (std::uint32_t shard = 0; shard < shards; shard++) {
        reactors.push_back(std::make_unique<FakeReactor>(clock, shard + 1));
        mesh.attach(shard, *reactors[shard]);
    }
    WorkerPool pool(mesh, 3, 16);
    std::vector<std::vector<int>> answers(shards);
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> broken{0};
    std::vector<std::thread> threads;
    for (std::uint32_t shard = 0; shard < shards; shard++) {
        threads.emplace_back([&, shard] {
            int asked = 0;
            for (int answered = 0; answered < total;) {
                if (asked < total) {
                    std::unique_ptr<Job> job =
                        std::make_unique<Count>(shared, answers[shard], shard, asked);
                    pool.submit(job) ? asked++ : static_cast<int>(refused.fetch_add(1));
                }
                while (const auto mail = mesh.take(shard)) {
                    mail->job->done();
                    if (static_cast<Count&>(*mail->job).broken) broken.fetch_add(1);
                    answered++;
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    pool.stop();
    CHECK(broken.load() == 0);
    for (std::uint32_t shard = 0; shard < shards; shard++) {
        std::vector<int> expected;
        for (int name = 0; name < total; name += 2)
            expected.push_back(name);
        CHECK(shared.order[shard] == expected);
        CHECK(answers[shard] == expected);
        CHECK(!mesh.out_of_credit(shard));
    }
}
