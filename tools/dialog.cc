#include "dialog.h"

#include <algorithm>
#include <cerrno>

#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "clock.h"
#include "process.h"

namespace ringcast::tools {

Dialog::~Dialog() {
    stream_.reset();
    if (fd_ >= 0) close(fd_);
}

bool Dialog::fail(const std::string& problem) noexcept {
    problem_ = problem;
    return false;
}

bool Dialog::dial() noexcept {
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const std::string port = std::to_string(options_.url.port);
    const int failed = getaddrinfo(options_.url.host.c_str(), port.c_str(), &hints, &found);
    if (failed != 0) return fail(gai_strerror(failed));
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
    if (fd_ < 0) return fail(os_text(error));
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

bool Dialog::ready_for(short events) const noexcept {
    pollfd waits{.fd = fd_, .events = events, .revents = 0};
    return poll(&waits, 1, static_cast<int>(options_.timeout_s * 1000)) > 0;
}

bool Dialog::secure() noexcept {
    if (!options_.url.secure) return true;
    if (!tls_.open(options_.tls)) return fail(tls_.problem());
    stream_ = std::make_unique<TlsStream>(tls_, fd_, options_.url.host);
    for (;;) {  // each round a flight of the handshake, or the time-out
        const TlsStream::Shaken shaken = stream_->shake();
        if (shaken == TlsStream::Shaken::done) return true;
        if (shaken == TlsStream::Shaken::failed) return fail(stream_->problem());
        const bool reads = shaken == TlsStream::Shaken::wants_read;
        if (!ready_for(reads ? POLLIN : POLLOUT)) return fail("no answer to the TLS handshake");
    }
}

ssize_t Dialog::get(char* buffer, std::size_t size, Wait wait) noexcept {
    if (stream_ == nullptr) return recv(fd_, buffer, size, wait == Wait::yes ? 0 : MSG_DONTWAIT);
    for (;;) {  // until something came that is not TLS's own, or the time is up
        const ssize_t count = stream_->read(buffer, size);
        if (count >= 0 || errno != EAGAIN || wait == Wait::no) return count;
        if (!ready_for(POLLIN)) {
            errno = EAGAIN;
            return -1;
        }
    }
}

ssize_t Dialog::put(std::string_view bytes, Wait wait) noexcept {
    if (stream_ == nullptr) {
        const int flags = MSG_NOSIGNAL | (wait == Wait::yes ? 0 : MSG_DONTWAIT);
        return ::send(fd_, bytes.data(), bytes.size(), flags);
    }
    const ssize_t count = stream_->write(bytes.data(), bytes.size());
    if (count >= 0 || errno != EAGAIN || wait == Wait::no) return count;
    if (ready_for(POLLOUT)) errno = EINTR;  // once more
    return -1;
}

bool Dialog::upgrade(const std::string& path) noexcept {
    std::byte nonce[16];
    const std::uint64_t time = static_cast<std::uint64_t>(clock_now()) * 0x9e3779b97f4a7c15;
    store_be64(nonce, time);
    store_be64(nonce + 8, time * 0x9e3779b97f4a7c15);
    const std::string key = base64(nonce);
    const std::string host = options_.url.host + ":" + std::to_string(options_.url.port);
    out_ = upgrade_request(host, path, key);
    if (!send(Wait::yes)) return fail("the connection broke");
    for (;;) {  // bounded: check_upgrade refuses long heads
        char buffer[4096];
        const ssize_t count = get(buffer, sizeof buffer, Wait::yes);
        if (count <= 0) return fail("no answer to the handshake");
        pending_.append(buffer, static_cast<std::size_t>(count));
        const UpgradeAnswer answer = check_upgrade(pending_, accept_value(key));
        if (answer.result == Upgrade::need_more) continue;
        if (answer.result == Upgrade::refused) {
            return fail("the server answered " + std::to_string(answer.status));
        }
        if (answer.result == Upgrade::bad) return fail("the answer is no WebSocket handshake");
        pending_.erase(0, answer.size);
        return true;
    }
}

bool Dialog::open(const std::string& path) noexcept {
    return dial() && secure() && upgrade(path);
}

void Dialog::say(Opcode opcode, std::string_view payload) noexcept {
    mask_key_ = mask_key_ * 1664525 + 1013904223;
    append_frame(out_, opcode, as_bytes(payload), mask_key_);
}

bool Dialog::send(Wait wait) noexcept {
    while (sent_ < out_.size()) {
        const ssize_t count = put(std::string_view(out_).substr(sent_), wait);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) return wait == Wait::no;
        if (count < 0) return false;
        sent_ += static_cast<std::size_t>(count);
    }
    out_.clear();
    sent_ = 0;
    return true;
}

Heard Dialog::on_frame(const Frame& frame, std::string& text) noexcept {
    switch (frame.opcode) {
        case Opcode::ping:
            say(Opcode::pong, as_text(frame.payload));
            return Heard::nothing;
        case Opcode::pong:
            text = as_text(frame.payload);
            return Heard::pong;
        case Opcode::close:
            close_code_ = close_code(frame.payload);
            close_reason_ =
                as_text(frame.payload).substr(std::min<std::size_t>(frame.payload.size(), 2));
            return Heard::closed;
        case Opcode::continuation:
        case Opcode::text:
        case Opcode::binary:
            break;
    }
    partial_ += as_text(frame.payload);
    if (!frame.fin) return Heard::nothing;
    text.swap(partial_);
    partial_.clear();
    return Heard::message;
}

Heard Dialog::hear(std::string& text, Wait wait) noexcept {
    for (;;) {  // ends with a message, the end of the stream, or when the socket has no more
        Frame frame;
        const Parse result = parse_frame(as_bytes(pending_), frame);
        if (result == Parse::bad) return Heard::broken;
        if (result == Parse::frame) {
            const Heard heard = on_frame(frame, text);
            pending_.erase(0, frame.size);
            if (heard != Heard::nothing) return heard;
            if (!send(wait)) return Heard::broken;
            continue;
        }
        char buffer[65536];
        const ssize_t count = get(buffer, sizeof buffer, wait);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Heard::nothing;
        if (count <= 0) return Heard::broken;
        pending_.append(buffer, static_cast<std::size_t>(count));
    }
}

bool Dialog::farewell() noexcept {
    const bool first = close_code_ < 0;
    append_close(out_, 1000);
    // A connection that takes nothing any more may still hold why.
    static_cast<void>(send(Wait::yes));
    std::string ignored;
    const Nanos deadline = clock_now() + static_cast<Nanos>(options_.timeout_s * 1e9);
    while (close_code_ < 0 && clock_now() < deadline) {
        if (hear(ignored, Wait::yes) == Heard::broken) break;
    }
    return first && close_code_ == 1000;
}

std::string Dialog::end_text() const noexcept {
    if (close_code_ < 0) return "the connection broke";
    std::string text = "the server closed with code " + std::to_string(close_code_);
    if (!close_reason_.empty()) text += ": " + close_reason_;
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';  // it is for a terminal
    }
    return text;
}

}  // namespace ringcast::tools
