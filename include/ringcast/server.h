#pragma once

// The server as a library: build it from a Config, start it, stop it.
//
// create() binds the listeners and starts one thread per shard; when it returns, clients can
// connect. All members may be called from any one thread that is not a shard's.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/config.h"
#include "ringcast/error.h"
#include "ringcast/seal_keys.h"

namespace ringcast {

// Rare events only (start, stop, back end chosen), never one per message or connection. Called from
// any shard's thread; must not block for long.
enum class LogLevel : std::uint8_t { info, warning, error };
struct LogSink {
    void (*write)(void* context, LogLevel level, std::string_view line) noexcept = nullptr;
    void* context = nullptr;

    void say(LogLevel level, std::string_view line) const noexcept {
        if (write != nullptr) write(context, level, line);
    }
};

class Server {
  public:
    // Null, and one line in `error`, when it cannot run as configured: the one of check(), or what
    // this machine refuses. `keys`: of topics whose rule says `seal`; the server copies them.
    [[nodiscard]] static std::unique_ptr<Server> create(const Config& config,
                                                        LogSink log,
                                                        std::string& error,
                                                        const SealKeys& keys = {}) noexcept;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();  // stops at once if it still runs

    // The addresses really bound, e.g. "127.0.0.1:40213" where port 0 was asked for.
    [[nodiscard]] const std::vector<std::string>& addresses() const noexcept;
    [[nodiscard]] const std::vector<std::string>& tls_addresses() const noexcept;
    // "uring" or "epoll", and how many shards: for the line that says the server is ready.
    [[nodiscard]] std::string_view io_name() const noexcept;
    [[nodiscard]] std::uint32_t shard_count() const noexcept;

    // What happens to readers that fall off the log of a topic: "gap" or "close" for topics without
    // keys, "conflate" for those with keys, which have no other policy. Holds for topics whose
    // names match `pattern`, those that are there and those that come, until the server ends; of
    // several changes the newest holds, and it stands above rules and --slow-policy. Returns at
    // once: each shard does it with its next mail. Otherwise nothing has changed, and `error` has
    // one line: bad_request for what is not allowed, busy when there are too many patterns (256),
    // closed when the server has ended. Any thread, also a shard's, but one at a time.
    [[nodiscard]] Result<Done> set_policy(std::string_view pattern,
                                          std::string_view policy,
                                          std::string& error) noexcept;

    // With Config::sandbox_selftest: tries what the sandbox must make impossible, and what it must
    // not. A line each, and whether all is as it should be.
    [[nodiscard]] bool sandbox_selftest(std::string& table) noexcept;

    // Reads the certificates and keys of Config::tls_cert and tls_key again, for connections that
    // begin from now on; those that are there keep theirs. False: nothing has changed, and `error`
    // has one line that names the file. Nothing to do is good. The same thread as stop(). Keys of
    // tickets have nothing to do with it: the server changes them every four hours by itself.
    [[nodiscard]] bool reload_tls(std::string& error) noexcept;

    // The keys of tokens from now on, as check_keys() takes them for Config::auth_alg; whoever is
    // connected stays until its token ends. Returns at once: each shard has them with its next
    // mail. Otherwise the old ones hold, and `error` has one line: bad_request for keys that are
    // not good, or a server without tokens; closed when it has ended. As set_policy() otherwise.
    [[nodiscard]] Result<Done> reload_keys(std::string_view keys, std::string& error) noexcept;

    // These keys instead of those of before: what is published from now on is sealed with the first
    // one of its name. What is sealed already stays as it is. Returns at once: each shard does it
    // with its next mail. Otherwise nothing has changed, and `error` has one line: bad_request if a
    // rule needs a key that is not there, or an id is another key than before; closed when the
    // server has ended. Any thread, also a shard's, but one at a time.
    [[nodiscard]] Result<Done> set_seal_keys(const SealKeys& keys, std::string& error) noexcept;

    // No new clients; every client gets close code 1012; after Config::drain_timeout the rest is
    // cut. Returns at once. A second call cuts at once.
    void stop() noexcept;
    // All shards have ended.
    [[nodiscard]] bool finished() const noexcept;
    // Waits for finished().
    void join() noexcept;

  private:
    struct Impl;
    explicit Server(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ringcast
