// `ringcast pub` and `ringcast sub`: one blocking connection, for people and shell scripts.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "clock.h"
#include "process.h"
#include "report.h"
#include "subscription.h"
#include "verbs.h"
#include "ws_client.h"

namespace ringcast::tools {

namespace {

// What came, or why nothing did.
enum class Heard : std::uint8_t { message, timed_out, closed, broken };

class Dialog {
  public:
    explicit Dialog(const TalkOptions& options) noexcept : options_(options) {}
    ~Dialog() {
        if (fd_ >= 0) close(fd_);
    }
    Dialog(const Dialog&) = delete;
    Dialog& operator=(const Dialog&) = delete;

    // Connects and upgrades; false with a line on stderr if that fails.
    [[nodiscard]] bool open(const std::string& path) noexcept;
    [[nodiscard]] bool say(Opcode opcode, std::string_view payload) noexcept;
    // The next message, or part of one, into `text`. Pings are answered on the way.
    [[nodiscard]] Heard hear(std::string& text) noexcept;
    // Closes properly; 0 if the server confirmed with 1000, else its code, or -1 without any.
    [[nodiscard]] int farewell() noexcept;
    [[nodiscard]] int closed_with() const noexcept { return close_code_; }

  private:
    [[nodiscard]] bool dial() noexcept;
    [[nodiscard]] bool upgrade(const std::string& path) noexcept;
    [[nodiscard]] bool send_all(std::string_view bytes) noexcept;
    [[nodiscard]] Heard on_frame(const Frame& frame, std::string& text) noexcept;
    bool complain(const std::string& what) const noexcept;

    const TalkOptions& options_;
    int fd_ = -1;
    int close_code_ = -1;
    std::uint32_t mask_key_ = 0x2545f491;
    std::string pending_;  // received, not looked at
    std::string partial_;  // of a fragmented message
};

bool Dialog::complain(const std::string& what) const noexcept {
    std::fprintf(stderr, "ringcast: %s: %s\n", options_.url_text.c_str(), what.c_str());
    return false;
}

bool Dialog::dial() noexcept {
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const std::string port = std::to_string(options_.url.port);
    const int failed = getaddrinfo(options_.url.host.c_str(), port.c_str(), &hints, &found);
    if (failed != 0) return complain(gai_strerror(failed));
    const auto seconds = static_cast<time_t>(options_.timeout_s);
    const auto micros = static_cast<suseconds_t>((options_.timeout_s - double(seconds)) * 1e6);
    const timeval limit = {.tv_sec = seconds, .tv_usec = micros};
    int error = 0;
    for (const addrinfo* at = found; at != nullptr && fd_ < 0; at = at->ai_next) {
        fd_ = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(fd_, at->ai_addr, at->ai_addrlen) == 0) break;
        error = errno;
        close(fd_);
        fd_ = -1;
    }
    freeaddrinfo(found);
    if (fd_ < 0) return complain(os_text(error));
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

bool Dialog::upgrade(const std::string& path) noexcept {
    std::byte nonce[16];
    const std::uint64_t time = static_cast<std::uint64_t>(clock_now()) * 0x9e3779b97f4a7c15;
    store_be64(nonce, time);
    store_be64(nonce + 8, time * 0x9e3779b97f4a7c15);
    const std::string key = base64(nonce);
    const std::string host = options_.url.host + ":" + std::to_string(options_.url.port);
    if (!send_all(upgrade_request(host, path, key))) return complain(os_text(errno));
    for (;;) {  // bounded: check_upgrade refuses long heads
        char buffer[4096];
        const ssize_t count = recv(fd_, buffer, sizeof buffer, 0);
        if (count <= 0) return complain("no answer to the handshake");
        pending_.append(buffer, static_cast<std::size_t>(count));
        const UpgradeAnswer answer = check_upgrade(pending_, accept_value(key));
        if (answer.result == Upgrade::need_more) continue;
        if (answer.result == Upgrade::refused) {
            return complain("the server answered " + std::to_string(answer.status));
        }
        if (answer.result == Upgrade::bad) return complain("the answer is no WebSocket handshake");
        pending_.erase(0, answer.size);
        return true;
    }
}

bool Dialog::open(const std::string& path) noexcept {
    return dial() && upgrade(path);
}

bool Dialog::send_all(std::string_view bytes) noexcept {
    while (!bytes.empty()) {
        const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

bool Dialog::say(Opcode opcode, std::string_view payload) noexcept {
    std::string frame;
    mask_key_ = mask_key_ * 1664525 + 1013904223;
    append_frame(frame, opcode, as_bytes(payload), mask_key_);
    return send_all(frame);
}

Heard Dialog::on_frame(const Frame& frame, std::string& text) noexcept {
    switch (frame.opcode) {
        case Opcode::ping:
            return say(Opcode::pong, as_text(frame.payload)) ? Heard::timed_out : Heard::broken;
        case Opcode::pong:
            return Heard::timed_out;
        case Opcode::close:
            close_code_ = close_code(frame.payload);
            return Heard::closed;
        case Opcode::continuation:
        case Opcode::text:
        case Opcode::binary:
            break;
    }
    partial_ += as_text(frame.payload);
    if (!frame.fin) return Heard::timed_out;
    text.swap(partial_);
    partial_.clear();
    return Heard::message;
}

Heard Dialog::hear(std::string& text) noexcept {
    for (;;) {  // ends with a message, the end of the stream, or the socket's time-out
        Frame frame;
        const Parse result = parse_frame(as_bytes(pending_), frame);
        if (result == Parse::bad) return Heard::broken;
        if (result == Parse::frame) {
            const Heard heard = on_frame(frame, text);
            pending_.erase(0, frame.size);
            if (heard != Heard::timed_out) return heard;
            continue;
        }
        char buffer[65536];
        const ssize_t count = recv(fd_, buffer, sizeof buffer, 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Heard::timed_out;
        if (count <= 0) return Heard::broken;
        pending_.append(buffer, static_cast<std::size_t>(count));
    }
}

int Dialog::farewell() noexcept {
    std::string goodbye;
    append_close(goodbye, 1000);
    if (close_code_ < 0 && !send_all(goodbye)) return -1;
    std::string ignored;
    const Nanos deadline = clock_now() + static_cast<Nanos>(options_.timeout_s * 1e9);
    while (close_code_ < 0 && clock_now() < deadline) {
        if (hear(ignored) != Heard::message) break;
    }
    return close_code_ == 1000 ? 0 : close_code_;
}

bool publish_lines(Dialog& dialog, Opcode opcode) noexcept {
    std::string line;
    while (std::getline(std::cin, line)) {
        if (!dialog.say(opcode, line)) return false;
    }
    return true;
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

std::string raw_path(const TalkOptions& options) noexcept {
    std::string path = "/raw";
    for (std::size_t i = 0; i < options.topics.size(); i++) {
        path += (i == 0 ? "?topic=" : "&topic=") + percent_encoded(options.topics[i]);
    }
    return path;
}

}  // namespace

int publish(const TalkOptions& options) noexcept {
    const Opcode opcode = options.binary ? Opcode::binary : Opcode::text;
    std::string message = options.message;
    if (!options.file.empty() && !read_whole(options.file, message)) {
        std::fprintf(stderr, "ringcast: --file: cannot read %s\n", options.file.c_str());
        return exit_usage;
    }
    Dialog dialog(options);
    if (!dialog.open(topic_path(options.url, "/raw?publish={topic}", options.topics[0]))) {
        return exit_failed;
    }
    const bool one = options.has_message || !options.file.empty();
    const bool said = one ? dialog.say(opcode, message) : publish_lines(dialog, opcode);
    const int code = dialog.farewell();
    if (said && code == 0) return exit_ok;
    if (code > 0) {
        std::fprintf(stderr, "ringcast: the server closed with code %d\n", code);
    } else {
        std::fprintf(stderr, "ringcast: the connection broke; not everything may be published\n");
    }
    return exit_failed;
}

int subscribe(const TalkOptions& options) noexcept {
    Dialog dialog(options);
    if (!dialog.open(topic_path(options.url, options.json ? "/ws" : raw_path(options), ""))) {
        return exit_failed;
    }
    for (std::size_t i = 0; options.json && i < options.topics.size(); i++) {
        const std::string request = R"({"type":"subscribe","id":")" + std::to_string(i) +
                                    R"(","topic":)" + json_text(options.topics[i]) + "}";
        if (!dialog.say(Opcode::text, request)) return exit_failed;
    }
    std::string text;
    std::uint64_t printed = 0;
    while (!interrupted() && (options.count == 0 || printed < options.count)) {
        const Heard heard = dialog.hear(text);
        if (heard == Heard::message && print_message(text, options.json)) printed++;
        if (heard == Heard::closed) {
            std::fprintf(
                stderr, "ringcast: the server closed with code %d\n", dialog.closed_with());
            static_cast<void>(dialog.farewell());
            return exit_failed;
        }
        if (heard == Heard::broken) {
            std::fprintf(stderr, "ringcast: the connection broke\n");
            return exit_failed;
        }
    }
    return dialog.farewell() == 0 ? exit_ok : exit_failed;
}

}  // namespace ringcast::tools
