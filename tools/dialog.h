#pragma once

// One WebSocket connection for people and shell scripts. Frames leave in the order in which they
// were given, also the answers to pings; everything either waits (at most --timeout) or, for a loop
// that watches other things too, does what the socket allows at once.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "options.h"
#include "tls.h"
#include "ws_client.h"

namespace ringcast::tools {

// What came, or why nothing did.
enum class Heard : std::uint8_t { message, pong, nothing, closed, broken };
enum class Wait : std::uint8_t { no, yes };

class Dialog {
  public:
    explicit Dialog(const TalkOptions& options) noexcept : options_(options) {}
    ~Dialog();
    Dialog(const Dialog&) = delete;
    Dialog& operator=(const Dialog&) = delete;

    // Connects and upgrades; if that fails false, and why in problem().
    [[nodiscard]] bool open(const std::string& path) noexcept;
    // Queues a message; nothing leaves before send().
    void say(Opcode opcode, std::string_view payload) noexcept;
    // False if the connection is broken, or took nothing for too long.
    [[nodiscard]] bool send(Wait wait) noexcept;
    // The next message or pong into `text`. Pings are answered on the way.
    [[nodiscard]] Heard hear(std::string& text, Wait wait) noexcept;
    // Says goodbye and waits until the server has too: true if it did, and wished nothing else.
    [[nodiscard]] bool farewell() noexcept;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] std::size_t unsent() const noexcept { return out_.size() - sent_; }
    // How it ended, for people.
    [[nodiscard]] std::string end_text() const noexcept;
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

  private:
    [[nodiscard]] bool dial() noexcept;
    [[nodiscard]] bool upgrade(const std::string& path) noexcept;
    [[nodiscard]] bool secure() noexcept;
    // False after --timeout.
    [[nodiscard]] bool ready_for(short events) const noexcept;
    // As recv() and send().
    [[nodiscard]] ssize_t get(char* buffer, std::size_t size, Wait wait) noexcept;
    [[nodiscard]] ssize_t put(std::string_view bytes, Wait wait) noexcept;
    [[nodiscard]] Heard on_frame(const Frame& frame, std::string& text) noexcept;
    [[nodiscard]] bool fail(const std::string& problem) noexcept;

    const TalkOptions& options_;
    int fd_ = -1;
    TlsClient tls_;
    std::unique_ptr<TlsStream> stream_;  // null: not encrypted
    int close_code_ = -1;
    std::uint32_t mask_key_ = 0x2545f491;
    std::string close_reason_;
    std::string problem_;
    std::string out_;  // frames on their way
    std::size_t sent_ = 0;
    std::string pending_;  // received, not looked at
    std::string partial_;  // of a fragmented message
};

}  // namespace ringcast::tools
