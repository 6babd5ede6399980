// `ringcast pub` and `ringcast sub`: for people and shell scripts.

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

#include <poll.h>
#include <unistd.h>

#include "checker.h"
#include "clock.h"
#include "dialog.h"
#include "lines.h"
#include "process.h"
#include "report.h"
#include "sealed.h"
#include "subscription.h"
#include "verbs.h"

namespace ringcast::tools {

namespace {

constexpr std::size_t unsent_max = 256 * 1024;       // then stdin has to wait
constexpr std::size_t line_max = frame_payload_max;  // of stdin
constexpr Nanos asking_gap = 250 * nanos_per_ms;     // servers count pings
constexpr Nanos looking_gap = 500 * nanos_per_ms;    // for Ctrl-C between two looks
constexpr double welcome_patience_s = 2;

void complain(const TalkOptions& options, const std::string& what) noexcept {
    std::fprintf(stderr, "ringcast: %s: %s\n", options.url_text.c_str(), what.c_str());
}

// The rate that the welcome on /ws allows, 0 if it allows any. Other servers tell none.
double welcome_rate(TalkOptions options) noexcept {
    options.timeout_s = std::min(options.timeout_s, welcome_patience_s);
    Dialog dialog(options);
    std::string text;
    std::uint64_t rate = 0;
    if (!dialog.open(topic_path(options.url, "/ws", "")) ||
        dialog.hear(text, Wait::yes) != Heard::message ||
        !json_number(text, "messages_per_second", rate)) {
        std::fprintf(stderr, "ringcast: the server tells no rate; --rate sets one\n");
        return 0;
    }
    static_cast<void>(dialog.farewell());
    return static_cast<double>(rate);
}

// Publishes the lines of stdin. Watches the connection meanwhile: a pause may last, and a server
// that closes has a reason. A pong says that all before its ping was read.
class LinePublisher {
  public:
    LinePublisher(const TalkOptions& options, Dialog& dialog, double rate) noexcept
        : options_(options), dialog_(dialog), pace_(rate) {}

    int run() noexcept;

  private:
    // False when the connection is at its end.
    [[nodiscard]] bool loop() noexcept;
    [[nodiscard]] bool listen() noexcept;
    [[nodiscard]] bool watch(Nanos now) noexcept;
    void speak(Nanos now) noexcept;
    void ask(Nanos now) noexcept;
    void read_input() noexcept;
    [[nodiscard]] bool wants_input() const noexcept;
    [[nodiscard]] Nanos wait_time(Nanos now) const noexcept;

    const TalkOptions& options_;
    Dialog& dialog_;
    Lines lines_;
    Pace pace_;
    bool ended_ = false;  // stdin
    std::uint64_t said_ = 0;
    std::uint64_t confirmed_ = 0;
    bool asked_ = false;  // and no answer yet
    Nanos asked_at_ = 0;
    std::size_t unsent_ = 0;
    Nanos moved_at_ = 0;  // when the socket last took some
    std::string problem_;
};

bool LinePublisher::wants_input() const noexcept {
    return !ended_ && !lines_.has_line() && dialog_.unsent() < unsent_max;
}

void LinePublisher::read_input() noexcept {
    char buffer[65536];
    const ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (count > 0) {
        lines_.add({buffer, static_cast<std::size_t>(count)});
        if (lines_.size() > line_max) problem_ = "a line of stdin is too long for any message";
        return;
    }
    lines_.finish();
    ended_ = true;
}

void LinePublisher::speak(Nanos now) noexcept {
    std::string_view line;
    while (dialog_.unsent() < unsent_max && pace_.due() <= now && lines_.take(line)) {
        dialog_.say(options_.binary ? Opcode::binary : Opcode::text, line);
        pace_.take(now);
        said_++;
    }
}

void LinePublisher::ask(Nanos now) noexcept {
    if (asked_ || confirmed_ == said_ || now - asked_at_ < asking_gap) return;
    asked_ = true;
    asked_at_ = now;
    dialog_.say(Opcode::ping, std::to_string(said_));
}

bool LinePublisher::listen() noexcept {
    std::string text;
    for (;;) {  // ends when the socket has no more
        const Heard heard = dialog_.hear(text, Wait::no);
        if (heard == Heard::nothing) return true;
        if (heard == Heard::closed || heard == Heard::broken) return false;
        if (heard != Heard::pong) continue;
        std::uint64_t count = 0;
        std::from_chars(text.data(), text.data() + text.size(), count);
        asked_ = false;
        confirmed_ = std::max(confirmed_, std::min(count, said_));
    }
}

// Whether the connection still takes what is said.
bool LinePublisher::watch(Nanos now) noexcept {
    if (!dialog_.send(Wait::no)) return false;
    if (dialog_.unsent() != unsent_ || unsent_ == 0) moved_at_ = now;
    unsent_ = dialog_.unsent();
    if (now - moved_at_ < static_cast<Nanos>(options_.timeout_s * 1e9)) return true;
    problem_ = "the server reads no more";
    return false;
}

Nanos LinePublisher::wait_time(Nanos now) const noexcept {
    Nanos until = now + looking_gap;
    if (lines_.has_line() && dialog_.unsent() < unsent_max) until = std::min(until, pace_.due());
    if (!asked_ && confirmed_ < said_) until = std::min(until, asked_at_ + asking_gap);
    return std::max<Nanos>(until - now, 0);
}

bool LinePublisher::loop() noexcept {
    moved_at_ = clock_now();
    while (!interrupted() && problem_.empty()) {
        const Nanos now = clock_now();
        speak(now);
        ask(now);
        if (!watch(now)) return false;
        if (ended_ && !lines_.has_line() && dialog_.unsent() == 0) return true;
        const auto writable = static_cast<short>(dialog_.unsent() > 0 ? POLLOUT : 0);
        pollfd watched[] = {
            {.fd = dialog_.fd(), .events = static_cast<short>(POLLIN | writable), .revents = 0},
            {.fd = wants_input() ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0}};
        const Nanos wait = wait_time(now);
        const timespec span = {.tv_sec = wait / nanos_per_s, .tv_nsec = wait % nanos_per_s};
        if (ppoll(watched, 2, &span, nullptr) <= 0) continue;
        if (watched[0].revents != 0 && !listen()) return false;
        if (watched[1].revents != 0) read_input();
    }
    return true;
}

int LinePublisher::run() noexcept {
    const bool open = loop();
    // A server that reads no more would not hear a farewell either.
    const bool confirmed = (open || problem_.empty()) && dialog_.farewell();
    if (confirmed) confirmed_ = said_;
    if (confirmed && lines_.size() == 0) return exit_ok;
    if (problem_.empty()) problem_ = confirmed ? "interrupted" : dialog_.end_text();
    complain(options_, problem_);
    std::fprintf(stderr,
                 "ringcast: lines published: %s; sent, and perhaps published: %s\n",
                 grouped(confirmed_).c_str(),
                 grouped(said_ - confirmed_).c_str());
    return exit_failed;
}

int publish_one(const TalkOptions& options, Dialog& dialog, std::string_view message) noexcept {
    dialog.say(options.binary ? Opcode::binary : Opcode::text, message);
    if (dialog.farewell()) return exit_ok;
    complain(options, dialog.end_text() + "; the message may not be published");
    return exit_failed;
}

bool read_whole(const std::string& name, std::string& text) noexcept {
    const std::ifstream file(name, std::ios::binary);
    std::ostringstream buffer;
    buffer << file.rdbuf();
    text = buffer.str();
    return file.good();
}

// One line of output for one message; false if it is not for the user.
bool print_message(std::string_view text, bool json) noexcept {
    if (json && text.find("\"data_update\"") == text.npos && text.find("\"gap\"") == text.npos) {
        if (text.find("\"error\"") != text.npos) {
            std::fprintf(stderr, "ringcast: %.*s\n", static_cast<int>(text.size()), text.data());
        }
        return false;
    }
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fputc('\n', stdout);
    std::fflush(stdout);
    return true;
}

// Puts what was published in place of what came; false, and a complaint, if that cannot be.
bool open_text(const std::vector<ReaderKey>& keys, std::string& text) noexcept {
    SealedText sealed;
    if (!parse_sealed(text, sealed)) {
        std::fprintf(stderr, "ringcast: a message that is not sealed: left out\n");
        return false;
    }
    const std::string problem = open_sealed(sealed, keys, text);
    if (problem.empty()) return true;
    std::fprintf(stderr,
                 "ringcast: record %llu of %s: %s: left out\n",
                 static_cast<unsigned long long>(sealed.offset),
                 json_text(sealed.topic).c_str(),
                 json_text(problem).c_str());
    return false;
}

std::string raw_path(const TalkOptions& options) noexcept {
    std::string path = "/raw";
    for (std::size_t i = 0; i < options.topics.size(); i++) {
        path += (i == 0 ? "?topic=" : "&topic=") + percent_encoded(options.topics[i]);
    }
    return path;
}

}  // namespace

int publish(const TalkOptions& options) noexcept {
    std::string message = options.message;
    if (!options.file.empty() && !read_whole(options.file, message)) {
        std::fprintf(stderr, "ringcast: --file: cannot read %s\n", options.file.c_str());
        return exit_usage;
    }
    Dialog dialog(options);
    if (!dialog.open(topic_path(options.url, "/raw?publish={topic}", options.topics[0]))) {
        complain(options, dialog.problem());
        return exit_failed;
    }
    if (options.has_message || !options.file.empty()) return publish_one(options, dialog, message);
    const double rate = options.rate < 0 ? welcome_rate(options) : options.rate;
    return LinePublisher(options, dialog, rate).run();
}

int subscribe(const TalkOptions& options) noexcept {
    std::vector<ReaderKey> keys;
    if (!options.key_file.empty()) {
        const std::string problem = read_key_file(options.key_file, keys);
        if (!problem.empty()) {
            std::fprintf(stderr,
                         "ringcast: --key-file: %s: %s\n",
                         options.key_file.c_str(),
                         problem.c_str());
            return exit_usage;
        }
    }
    Dialog dialog(options);
    if (!dialog.open(topic_path(options.url, options.json ? "/ws" : raw_path(options), ""))) {
        complain(options, dialog.problem());
        return exit_failed;
    }
    for (std::size_t i = 0; options.json && i < options.topics.size(); i++) {
        const std::string request = R"({"type":"subscribe","id":")" + std::to_string(i) +
                                    R"(","topic":)" + json_text(options.topics[i]) + "}";
        dialog.say(Opcode::text, request);
    }
    bool open = dialog.send(Wait::yes);
    std::string text;
    std::uint64_t printed = 0;
    std::uint64_t unopened = 0;
    while (open && !interrupted() && (options.count == 0 || printed + unopened < options.count)) {
        const Heard heard = dialog.hear(text, Wait::yes);
        if (heard == Heard::message && !keys.empty() && !open_text(keys, text)) {
            unopened++;
        } else if (heard == Heard::message && print_message(text, options.json)) {
            printed++;
        }
        open = heard != Heard::closed && heard != Heard::broken;
    }
    if (dialog.farewell()) return unopened == 0 ? exit_ok : exit_check_failed;
    complain(options, dialog.end_text());
    return exit_failed;
}

}  // namespace ringcast::tools
