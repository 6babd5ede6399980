// ringcast-sim: runs worlds, one a seed, and stops at the first that breaks a rule.

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/plant.h"
#include "tests/sim/jobs.h"
#include "tests/sim/options.h"
#include "tests/sim/world.h"
#include "tests/support/sanitized.h"

namespace ringcast::sim {

namespace {

constexpr char usage[] =
    "usage: ringcast-sim --seed N | --seeds A..B | --regress FILE | --replay TAPE [--conns N] "
    "[--shards N] [--topics N] [--plant N] [--jobs N] [--record TAPE] [--ledger FILE] [--twice] "
    "[--trace] [--verbose]";
constexpr time_t seed_limit_s = 60;  // of CPU time; a world takes milliseconds
constexpr std::size_t tape_size_max = 16 << 20;

struct Arguments {
    std::uint64_t first = 1;
    std::uint64_t last = 0;             // below `first`: none
    std::vector<std::uint64_t> listed;  // from a file
    Wishes wishes;
    std::uint32_t jobs = 1;
    std::string ledger;
    std::string record;  // a file for the tape of the one seed
    std::string played;  // the file of `tape`
    std::string tape;    // instead of seeds
    std::string replay;  // the options but the seed, as they were given
    bool verbose = false;
    bool twice = false;
};

// What to print if a check of the server fails: made before, since a signal handler may not.
char last_words[512];

// Of --record. The world that is worth a tape may end in an abort, so it is written there as well.
int tape_file = -1;
const io::SimTape* recording = nullptr;

void write_tape() {
    if (recording == nullptr) return;
    Bytes rest = recording->recorded();
    while (!rest.empty()) {
        const ssize_t written = ::write(tape_file, rest.data(), rest.size());
        if (written <= 0) return;
        rest = rest.subspan(static_cast<std::size_t>(written));
    }
}

void on_death(int signal) {
    const char* why = signal == SIGPROF ? "FAILED: a world that does not end\n" : "FAILED: abort\n";
    [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, why, std::strlen(why));
    written = ::write(STDERR_FILENO, last_words, std::strlen(last_words));
    write_tape();
    _exit(1);
}

[[nodiscard]] bool parse(std::string_view text, std::uint64_t& value, std::uint64_t most) {
    if (text.empty() || text.size() > 20) return false;
    value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return false;
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (value > (most - digit) / 10) return false;
        value = value * 10 + digit;
    }
    return true;
}

[[noreturn]] void refuse(const std::string& what) {
    std::fprintf(stderr, "ringcast-sim: %s\n", what.c_str());
    std::exit(2);
}

[[nodiscard]] std::uint64_t value_of(std::string_view option,
                                     std::string_view text,
                                     std::uint64_t most) {
    std::uint64_t value = 0;
    if (!parse(text, value, most) || value == 0) {
        refuse(std::string(option) + " " + std::string(text) + ": wants a number from 1 to " +
               std::to_string(most));
    }
    return value;
}

void plant(std::uint32_t number) {
#ifdef RC_PLANTS
    planted = number;
#else
    refuse("--plant " + std::to_string(number) + ": not in this build (-Dplants=true)");
#endif
}

void read_range(std::string_view text, Arguments& arguments) {
    const std::size_t dots = text.find("..");
    const bool good = dots != std::string_view::npos &&
                      parse(text.substr(0, dots), arguments.first, UINT64_MAX - 9) &&
                      parse(text.substr(dots + 2), arguments.last, UINT64_MAX - 9) &&
                      arguments.first <= arguments.last;
    if (!good) refuse("--seeds " + std::string(text) + ": wants A..B with A <= B");
}

// Seeds that failed once: a number a line, whatever stands behind it is for people.
void read_regress(const std::string& path, Arguments& arguments) {
    std::FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) refuse("--regress " + path + ": " + std::strerror(errno));
    char line[256];
    int count = 0;
    while (std::fgets(line, sizeof(line), file) != nullptr) {
        count++;
        const std::string_view text(line);
        if (text.front() == '#' || text.front() == '\n') continue;
        std::uint64_t seed = 0;
        if (!parse(text.substr(0, text.find_first_of(" \n")), seed, UINT64_MAX - 9)) {
            refuse("--regress " + path + ":" + std::to_string(count) + ": begins with no seed");
        }
        arguments.listed.push_back(seed);
    }
    std::fclose(file);
    if (arguments.listed.empty()) refuse("--regress " + path + ": names no seed");
}

void read_tape(const std::string& path, Arguments& arguments) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) refuse("--replay " + path + ": " + std::strerror(errno));
    char part[4096];
    for (std::size_t size = 1; size > 0 && arguments.tape.size() <= tape_size_max;) {
        size = std::fread(part, 1, sizeof(part), file);
        arguments.tape.append(part, size);
    }
    const bool whole = std::ferror(file) == 0;
    std::fclose(file);
    if (!whole) refuse("--replay " + path + ": cannot be read");
    if (arguments.tape.size() > tape_size_max) refuse("--replay " + path + ": too long for a tape");
    arguments.played = path;
    arguments.listed.push_back(0);  // whose place the tape takes
}

void read_seed(std::string_view text, Arguments& arguments) {
    if (!parse(text, arguments.first, UINT64_MAX - 9)) {
        refuse("--seed " + std::string(text) + ": wants a number");
    }
    arguments.last = arguments.first;
}

// An option without a value. False: it is none of these.
[[nodiscard]] bool read_switch(std::string_view option, Arguments& arguments) {
    if (option == "--verbose") {
        arguments.verbose = true;
    } else if (option == "--trace") {
        arguments.wishes.trace = true;
    } else if (option == "--twice") {
        arguments.twice = true;
    } else {
        return false;
    }
    return true;
}

// What belongs to a world, and so to the line that replays it.
void read_wish(std::string_view option, std::string_view text, Arguments& arguments) {
    if (option == "--plant") {
        plant(static_cast<std::uint32_t>(value_of(option, text, plants_max)));
    } else if (option == "--conns") {
        arguments.wishes.connections = static_cast<std::uint32_t>(value_of(option, text, 100'000));
    } else if (option == "--shards") {
        arguments.wishes.shards = static_cast<std::uint32_t>(value_of(option, text, 64));
    } else if (option == "--topics") {
        arguments.wishes.topics = static_cast<std::uint32_t>(value_of(option, text, 10));
    } else {
        refuse("unknown option " + std::string(option));
    }
    arguments.replay += " " + std::string(option) + " " + std::string(text);
}

[[nodiscard]] std::FILE* open_ledger(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "a");
    if (file == nullptr) refuse("--ledger " + path + ": " + std::strerror(errno));
    return file;
}

// What one option says of another. Files that will be written are opened before hours of seeds.
void check_together(const Arguments& arguments) {
    if (!arguments.ledger.empty()) std::fclose(open_ledger(arguments.ledger));
    const Wishes& wishes = arguments.wishes;
    const bool taped = !arguments.record.empty() || !arguments.played.empty();
    if (!arguments.record.empty() && !arguments.played.empty()) {
        refuse("--record wants a seed: --replay has a tape already");
    }
    if (taped && (wishes.connections | wishes.shards | wishes.topics) != 0) {
        refuse("--conns, --shards and --topics are not on a tape: not with --record or --replay");
    }
    if (arguments.record.empty()) return;
    if (arguments.first != arguments.last) refuse("--record wants --seed N: one world a tape");
    tape_file = ::open(arguments.record.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (tape_file < 0) refuse("--record " + arguments.record + ": " + std::strerror(errno));
}

[[nodiscard]] Arguments read_arguments(int count, char** words) {
    Arguments arguments;
    bool seeded = false;
    for (int i = 1; i < count; i++) {
        const std::string_view option = words[i];
        if (option == "--help") {
            std::puts(usage);
            std::exit(0);
        }
        if (read_switch(option, arguments)) continue;
        if (i + 1 == count) refuse(std::string(option) + ": unknown, or wants a value");
        const std::string_view text = words[++i];
        const bool seeds = option == "--seed" || option == "--seeds" || option == "--regress" ||
                           option == "--replay";
        if (seeds && seeded) refuse("--seed, --seeds, --regress and --replay: one of them, once");
        seeded = seeded || seeds;
        if (option == "--seed") {
            read_seed(text, arguments);
        } else if (option == "--seeds") {
            read_range(text, arguments);
        } else if (option == "--regress") {
            read_regress(std::string(text), arguments);
        } else if (option == "--jobs") {
            arguments.jobs = static_cast<std::uint32_t>(value_of(option, text, jobs_max));
        } else if (option == "--ledger") {
            arguments.ledger = text;
        } else if (option == "--replay") {
            read_tape(std::string(text), arguments);
        } else if (option == "--record") {
            arguments.record = text;
        } else {
            read_wish(option, text, arguments);
        }
    }
    if (!seeded) refuse(usage);
    check_together(arguments);
    return arguments;
}

[[nodiscard]] double seconds_now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

struct Totals : Figures {
    std::uint64_t seeds = 0;
    std::uint64_t repeated = 0;

    void add(const Outcome& outcome) {
        seeds++;
        Figures::add(outcome);
    }
    void add(const Totals& other) {
        seeds += other.seeds;
        repeated += other.repeated;
        Figures::add(other);
    }
};

// What the jobs share: whoever is free takes the next seed.
struct Progress {
    std::atomic<std::uint64_t> next{0};
    std::array<Totals, jobs_max> totals;
};

struct Task {
    const Arguments& arguments;
    Progress& progress;
};

// 0: no limit. Not of real time, in which a process may be stopped for a minute.
void limit_time(time_t seconds) {
    const itimerval limit{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
    RC_CHECK(::setitimer(ITIMER_PROF, &limit, nullptr) == 0);
}

// With a tape: records it, or plays it whatever the seed.
[[nodiscard]] Outcome run_seed(std::uint64_t seed, const Arguments& arguments, io::SimTape* tape) {
    const bool plays = tape != nullptr && tape->plays();
    const std::string number = std::to_string(seed);
    std::snprintf(last_words,
                  sizeof(last_words),
                  "%s%s\nreplay: ringcast-sim %s %s%s\n",
                  plays ? "tape " : "seed ",
                  plays ? arguments.played.c_str() : number.c_str(),
                  plays ? "--replay" : "--seed",
                  plays ? arguments.played.c_str() : number.c_str(),
                  arguments.replay.c_str());
    Wishes wishes = arguments.wishes;
    wishes.tape = tape;
    limit_time(seed_limit_s);
    World world(Options::draw(seed, wishes));
    Outcome outcome = world.run();
    limit_time(0);
    return outcome;
}

void write_ledger(const Arguments& arguments, const Totals& totals, bool failed) {
    if (arguments.ledger.empty()) return;
    std::FILE* file = open_ledger(arguments.ledger);
    std::fprintf(file,
                 "seeds %llu..%llu%s: %llu run, %llu events, %llu faults, %llu deliveries, %s\n",
                 static_cast<unsigned long long>(arguments.first),
                 static_cast<unsigned long long>(arguments.last),
                 arguments.replay.c_str(),
                 static_cast<unsigned long long>(totals.seeds),
                 static_cast<unsigned long long>(totals.events),
                 static_cast<unsigned long long>(totals.faults),
                 static_cast<unsigned long long>(totals.deliveries),
                 failed ? "the last one failed" : "0 violations");
    std::fclose(file);
}

// True: the world of that seed, or of the tape, holds.
[[nodiscard]] bool check_seed(std::uint64_t seed, const Arguments& arguments, Totals& totals) {
    io::SimTape tape;
    if (!arguments.played.empty()) tape = io::SimTape(as_bytes(arguments.tape));
    if (tape_file >= 0) recording = &tape;
    const bool plays = tape.plays();
    const bool twice = !plays && (arguments.twice || seed % 20 == 0);
    const bool taped = plays || twice || recording != nullptr;
    Outcome outcome = run_seed(seed, arguments, taped ? &tape : nullptr);
    write_tape();
    recording = nullptr;
    totals.add(outcome);
    if (outcome.failure.empty() && twice) {
        totals.repeated++;
        io::SimTape again(tape.recorded());
        if (run_seed(seed, arguments, &again).hash != outcome.hash) {
            outcome.failure = "a seed and its tape took two ways: something is not of the seed";
        }
    }
    if (arguments.verbose) {
        std::printf("seed %llu hash %016llx events %llu turns %llu deliveries %llu\n",
                    static_cast<unsigned long long>(seed),
                    static_cast<unsigned long long>(outcome.hash),
                    static_cast<unsigned long long>(outcome.events),
                    static_cast<unsigned long long>(outcome.turns),
                    static_cast<unsigned long long>(outcome.deliveries));
    }
    if (outcome.failure.empty()) return true;
    std::fprintf(stderr, "FAILED: %s\n%s", outcome.failure.c_str(), last_words);
    return false;
}

[[nodiscard]] bool work(std::uint32_t job, void* context) {
    const Task& task = *static_cast<const Task*>(context);
    const Arguments& arguments = task.arguments;
    const std::uint64_t listed = arguments.listed.size();
    const bool ranged = arguments.first <= arguments.last;
    const std::uint64_t count = listed + (ranged ? arguments.last - arguments.first + 1 : 0);
    while (true) {
        const std::uint64_t index = task.progress.next.fetch_add(1);
        if (index >= count) return true;
        const std::uint64_t seed =
            index < listed ? arguments.listed[index] : arguments.first + (index - listed);
        if (!check_seed(seed, arguments, task.progress.totals[job])) return false;
    }
}

int run(int count, char** words) {
    const Arguments arguments = read_arguments(count, words);
    std::signal(SIGABRT, on_death);
    std::signal(SIGPROF, on_death);
    // The sanitizer tells more of these, and then aborts.
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
        if (RC_TEST_ADDRESS_SANITIZER == 0) std::signal(number, on_death);
    }
    if (arguments.verbose)
        std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // whole lines of each job
    const double begin = seconds_now();
    Task task{arguments, *new (shared(sizeof(Progress))) Progress};
    const bool holds = run_jobs(arguments.jobs, &work, &task);
    Totals totals;
    for (const Totals& each : task.progress.totals) {
        totals.add(each);
    }
    const double span = seconds_now() - begin;
    std::printf(
        "%llu seeds (%llu run twice), %llu connections, %llu events, %llu faults, "
        "%llu deliveries checked, %llu gaps, %llu slices by reference, "
        "%llu records on disk\n"
        "%.1f s: %.0f seeds, %.0f events, %.0f deliveries a second\n",
        static_cast<unsigned long long>(totals.seeds),
        static_cast<unsigned long long>(totals.repeated),
        static_cast<unsigned long long>(totals.connections),
        static_cast<unsigned long long>(totals.events),
        static_cast<unsigned long long>(totals.faults),
        static_cast<unsigned long long>(totals.deliveries),
        static_cast<unsigned long long>(totals.gaps),
        static_cast<unsigned long long>(totals.by_reference),
        static_cast<unsigned long long>(totals.committed),
        span,
        static_cast<double>(totals.seeds) / span,
        static_cast<double>(totals.events) / span,
        static_cast<double>(totals.deliveries) / span);
    write_ledger(arguments, totals, !holds);
    return holds ? 0 : 1;
}

}  // namespace

}  // namespace ringcast::sim

int main(int count, char** words) {
    return ringcast::sim::run(count, words);
}
