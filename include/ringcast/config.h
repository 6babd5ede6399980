#pragma once

// Everything an operator can set. `number_flags` and `switch_flags` are the only source of names,
// units, ranges and defaults: the command line, --help and check() all read them.
//
// Numbers are plain 64-bit values in the unit that the table names: bytes, nanoseconds or a count.
// A field and its flag have one name: Config::ping_interval is --ping-interval.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/token.h"
#include "ringcast/topic_rule.h"
#include "ringcast/units.h"

namespace ringcast {

enum class Io : std::uint8_t { automatic, uring, epoll };

// What the process gives up once it serves (docs/SECURITY.md, "The process").
enum class Sandbox : std::uint8_t {
    off,
    automatic,  // what this kernel has; off in builds with sanitizers
    on,         // all of it, or the server does not start
};

struct Config {
    std::vector<std::string> listen = {"127.0.0.1:8080"};
    std::vector<std::string> tls_listen;  // none: there is no TLS
    std::vector<std::string> tls_cert;    // PEM files, each with its key at the same place of ...
    std::vector<std::string> tls_key;
    // Web pages that may connect, by their Origin. None: all, but with --dev only the server's own.
    std::vector<std::string> origin;
    // Networks (CIDR) of proxies that are believed whom they speak for, and which of `listen` begin
    // with a header of the PROXY protocol.
    std::vector<std::string> trusted_proxies;
    std::vector<std::string> proxy_protocol;
    Io io = Io::automatic;
    // Off for whoever uses the library: it cannot be undone, and holds for the whole process.
    Sandbox sandbox = Sandbox::off;
    SlowPolicy slow_policy = SlowPolicy::gap;
    std::vector<TopicRule> topic;  // the first that matches a name holds for it

    std::uint64_t shards = 0;
    std::string store;           // the file of durable topics; empty: there are none
    std::string seal_keys_file;  // for whoever builds the server: it is given the keys themselves
    std::string congestion;      // TCP_CONGESTION of clients' sockets; empty: the system's default
    std::string user;            // whom the process becomes if root started it; empty: it stays
    std::int64_t pin = -1;       // the first CPU; -1: shard i on CPU i when there is a CPU for each

    TokenAlgorithm auth_alg = TokenAlgorithm::none;
    std::string auth_key_file;   // read by whoever makes the server: it takes `auth_keys`
    std::string auth_jwks_file;  // the same
    std::string auth_issuer;     // empty: anything
    std::string auth_audience;   // empty: anything
    std::string auth_keys;       // what stands in the file, never a flag: see check_keys()

    bool dev = false;
    bool anonymous_publish = false;
    bool direct_descriptors = false;
    bool limit_loopback = false;
    bool sandbox_selftest = false;
    bool compression = false;
    bool compression_context = false;

    std::uint64_t connections_max = 0;
    std::uint64_t connections_per_address = 0;
    std::uint64_t connections_per_user = 0;
    std::uint64_t connects_per_second = 0;
    std::uint64_t connects_burst = 0;
    std::uint64_t pending_max = 0;
    std::uint64_t pending_per_address = 0;
    std::uint64_t ping_interval = 0;
    std::uint64_t pong_timeout = 0;
    std::uint64_t handshake_timeout = 0;
    std::uint64_t tls_handshakes_max = 0;
    std::uint64_t close_timeout = 0;
    std::uint64_t stall_timeout = 0;
    std::uint64_t drain_timeout = 0;
    std::uint64_t message_max = 0;
    std::uint64_t fragments_max = 0;
    std::uint64_t header_max = 0;
    std::uint64_t header_lines_max = 0;
    std::uint64_t topics_per_client_max = 0;
    std::uint64_t topic_name_max = 0;
    std::uint64_t topics_max = 0;
    std::uint64_t memory_max = 0;
    std::uint64_t log_memory = 0;
    std::uint64_t topic_log_max = 0;
    std::uint64_t store_size_max = 0;
    std::uint64_t dedup_window = 0;
    std::uint64_t dedup_max = 0;
    std::uint64_t ack_timeout = 0;
    std::uint64_t ack_timeout_max = 0;
    std::uint64_t ack_attempts = 0;
    std::uint64_t ack_expiry = 0;
    std::uint64_t session_time = 0;
    std::uint64_t session_memory = 0;
    std::uint64_t outbox_max = 0;
    std::uint64_t messages_per_second = 0;
    std::uint64_t messages_burst = 0;
    std::uint64_t control_per_second = 0;
    std::uint64_t mail_max = 0;
    std::uint64_t notsent_lowat = 0;
    std::uint64_t sendfile_min = 0;
    std::uint64_t compression_level = 0;
    std::uint64_t compression_min_size = 0;
    std::uint64_t auth_leeway = 0;

    Config() noexcept;
};

struct NumberFlag {
    const char* name;  // without the dashes
    std::uint64_t Config::*member;
    Unit unit;
    std::uint64_t fallback;
    std::uint64_t least;
    std::uint64_t most;
    const char* help;
};

struct SwitchFlag {
    const char* name;
    bool Config::*member;
    const char* help;
};

inline constexpr std::array<NumberFlag, 44> number_flags{{
    {"shards", &Config::shards, Unit::count, 0, 0, 64, "threads, one a core; 0 = as many as CPUs"},
    {"connections-max",
     &Config::connections_max,
     Unit::count,
     0,
     0,
     16'000'000,
     "clients at a time, then 503; 0 = what the file limit (it less 64, or 41 a shard) and a "
     "quarter "
     "of --memory-max allow"},
    {"connections-per-address",
     &Config::connections_per_address,
     Unit::count,
     100,
     0,
     16'000'000,
     "clients of one IPv4 address or IPv6 /64 at a time, then 429; 0 = no limit. This machine "
     "itself has none: --limit-loopback"},
    {"connections-per-user",
     &Config::connections_per_user,
     Unit::count,
     10,
     0,
     16'000'000,
     "clients of one user at a time; 0 = no limit"},
    {"connects-per-second",
     &Config::connects_per_second,
     Unit::count,
     20,
     0,
     1'000'000'000,
     "connections that one address may begin, then 429; 0 = no limit"},
    {"connects-burst",
     &Config::connects_burst,
     Unit::count,
     200,
     1,
     1'000'000'000,
     "how far one address may run ahead of that"},
    {"pending-max",
     &Config::pending_max,
     Unit::count,
     0,
     0,
     16'000'000,
     "clients that have not shaken hands, or not said who they are, at a time; past it the oldest "
     "is cut; 0 = half of --connections-max, 4096 at least"},
    {"pending-per-address",
     &Config::pending_per_address,
     Unit::count,
     50,
     0,
     16'000'000,
     "the same for one address; 0 = no limit"},
    {"ping-interval",
     &Config::ping_interval,
     Unit::nanos,
     25 * units::s,
     50 * units::ms,
     units::hour,
     "silence after which a client is pinged"},
    {"pong-timeout",
     &Config::pong_timeout,
     Unit::nanos,
     10 * units::s,
     50 * units::ms,
     units::hour,
     "silence after a ping that closes; any byte counts as life"},
    {"handshake-timeout",
     &Config::handshake_timeout,
     Unit::nanos,
     10 * units::s,
     50 * units::ms,
     units::hour,
     "from accept to the whole request, whatever trickles in"},
    {"tls-handshakes-max",
     &Config::tls_handshakes_max,
     Unit::count,
     256,
     1,
     65'535,
     "TLS handshakes under way at a time; who comes meanwhile waits for his turn"},
    {"close-timeout",
     &Config::close_timeout,
     Unit::nanos,
     5 * units::s,
     10 * units::ms,
     units::hour,
     "how long a closing client may take to close"},
    {"stall-timeout",
     &Config::stall_timeout,
     Unit::nanos,
     30 * units::s,
     50 * units::ms,
     units::hour,
     "a client whose socket takes no byte for so long is closed; ping-interval + pong-timeout "
     "of silence close it sooner"},
    {"drain-timeout",
     &Config::drain_timeout,
     Unit::nanos,
     5 * units::s,
     10 * units::ms,
     units::hour,
     "after SIGTERM, until the last connections are cut"},
    {"message-max",
     &Config::message_max,
     Unit::bytes,
     64 * units::kib,
     125,
     64 * units::mib,
     "largest inbound message"},
    {"fragments-max",
     &Config::fragments_max,
     Unit::count,
     1024,
     1,
     16'777'216,
     "fragments of one inbound message"},
    {"header-max",
     &Config::header_max,
     Unit::bytes,
     8 * units::kib,
     256,
     65'535,
     "bytes of a request's head"},
    {"header-lines-max",
     &Config::header_lines_max,
     Unit::count,
     64,
     8,
     255,
     "header lines of a request"},
    {"topics-per-client-max",
     &Config::topics_per_client_max,
     Unit::count,
     128,
     1,
     65'535,
     "subscriptions of one client"},
    {"topic-name-max",
     &Config::topic_name_max,
     Unit::bytes,
     255,
     1,
     255,
     "bytes of a topic's name"},
    {"topics-max",
     &Config::topics_max,
     Unit::count,
     1'000'000,
     1,
     100'000'000,
     "topics of the whole server; one without readers or messages is kept for a minute"},
    {"memory-max",
     &Config::memory_max,
     Unit::bytes,
     0,
     0,
     1'048'576 * units::gib,
     "memory of all together, but for the kernel's sockets; 0 = three quarters of the machine's, "
     "or "
     "of the cgroup's limit"},
    {"log-memory",
     &Config::log_memory,
     Unit::bytes,
     256 * units::mib,
     2 * units::mib,
     1024 * units::gib,
     "memory of all logs together; a shard's share is rounded down to a power of two"},
    {"topic-log-max",
     &Config::topic_log_max,
     Unit::bytes,
     64 * units::mib,
     64 * units::kib,
     1024 * units::gib,
     "memory of one topic's log on one shard; /ws and /raw have a log each"},
    {"store-size-max",
     &Config::store_size_max,
     Unit::bytes,
     0,
     0,
     1'048'576 * units::gib,
     "bytes of the --store file, beside some megabytes of its log; 0 = as the disk allows"},
    {"dedup-window",
     &Config::dedup_window,
     Unit::nanos,
     60 * units::s,
     10 * units::ms,
     24 * units::hour,
     "how long the ids of acknowledged publications are known, so that a repeat is not published"},
    {"dedup-max",
     &Config::dedup_max,
     Unit::count,
     1 << 16,
     0,
     1 << 24,
     "of these ids, how many a shard knows; the oldest go first"},
    {"ack-timeout",
     &Config::ack_timeout,
     Unit::nanos,
     5 * units::s,
     10 * units::ms,
     units::hour,
     "a record that a subscriber has not acknowledged for so long is sent again, each time after "
     "twice the wait"},
    {"ack-timeout-max",
     &Config::ack_timeout_max,
     Unit::nanos,
     30 * units::s,
     10 * units::ms,
     units::hour,
     "the longest of these waits"},
    {"ack-attempts", &Config::ack_attempts, Unit::count, 5, 0, 1000, "how often it is sent again"},
    {"ack-expiry",
     &Config::ack_expiry,
     Unit::nanos,
     120 * units::s,
     10 * units::ms,
     24 * units::hour,
     "how long after its publication at most"},
    {"session-time",
     &Config::session_time,
     Unit::nanos,
     60 * units::s,
     0,
     24 * units::hour,
     "how long what a client has not acknowledged is known after its connection is gone"},
    {"session-memory",
     &Config::session_memory,
     Unit::bytes,
     16 * units::mib,
     64 * units::kib,
     1024 * units::gib,
     "memory of that, for all clients; past it the sessions that would end first end at once"},
    {"outbox-max",
     &Config::outbox_max,
     Unit::bytes,
     16 * units::kib,
     1 * units::kib,
     16 * units::mib,
     "replies waiting for one client"},
    {"messages-per-second",
     &Config::messages_per_second,
     Unit::count,
     100,
     0,
     1'000'000'000,
     "inbound messages of one client; 0 = no limit"},
    {"messages-burst",
     &Config::messages_burst,
     Unit::count,
     200,
     1,
     1'000'000'000,
     "how far one client may run ahead of that"},
    {"control-per-second",
     &Config::control_per_second,
     Unit::count,
     10,
     1,
     1'000'000'000,
     "pings of one client that are answered"},
    {"notsent-lowat",
     &Config::notsent_lowat,
     Unit::bytes,
     16 * units::kib,
     0,
     1 * units::gib,
     "unsent bytes a socket may hold (TCP_NOTSENT_LOWAT); 0 = the kernel's own"},
    {"sendfile-min",
     &Config::sendfile_min,
     Unit::bytes,
     16 * units::kib,
     1,
     1 * units::gib,
     "slices of at least so many bytes go by page reference, not by copy"},
    {"mail-max",
     &Config::mail_max,
     Unit::count,
     8192,
     16,
     1 << 20,
     "messages (each begun 4 KiB is one) from one shard to another before publishers wait"},
    {"compression-level",
     &Config::compression_level,
     Unit::count,
     6,
     1,
     9,
     "of zlib: 1 is fastest, 9 smallest"},
    {"compression-min-size",
     &Config::compression_min_size,
     Unit::bytes,
     64,
     0,
     64 * units::mib,
     "smaller messages are not compressed"},
    {"auth-leeway",
     &Config::auth_leeway,
     Unit::nanos,
     5 * units::s,
     0,
     60 * units::s,
     "by how much the clocks of who makes tokens and of this machine may differ"},
}};

inline constexpr std::array<SwitchFlag, 7> switch_flags{{
    {"dev",
     &Config::dev,
     "loopback only: anonymous publish, host.* and demo.* topics, demo page, /echo"},
    {"anonymous-publish", &Config::anonymous_publish, "anybody may publish"},
    {"direct-descriptors",
     &Config::direct_descriptors,
     "connections past the file limit, by io_uring alone; large slices are copied"},
    {"limit-loopback",
     &Config::limit_loopback,
     "limits by address hold for this machine itself, too"},
    {"sandbox-selftest",
     &Config::sandbox_selftest,
     "start, try from inside what must be impossible, print what came of it, and end: 0 if all "
     "failed as it should"},
    {"compression",
     &Config::compression,
     "permessage-deflate for clients that offer it: topics' messages, compressed once for all"},
    {"compression-context",
     &Config::compression_context,
     "a client may refer to its earlier messages: up to 43KiB of memory for each"},
}};

constexpr std::int64_t pin_least = -1;
constexpr std::int64_t pin_most = 4095;

// One line about the first thing that is not allowed: its flag, what was given, what is allowed.
// Empty when all is. What depends on the machine shows only when the server is made.
[[nodiscard]] std::string check(const Config& config) noexcept;

// "25s", "300ms", "64KiB", "1.5MiB", "1000": the number in its unit, or false. A time must have a
// unit; a fraction (of at most six digits) a unit larger than the smallest.
[[nodiscard]] bool parse_number(std::string_view text, Unit unit, std::uint64_t& number) noexcept;
// The way back, for help and messages.
[[nodiscard]] std::string format_number(std::uint64_t number, Unit unit) noexcept;
[[nodiscard]] std::string range_of(const NumberFlag& flag) noexcept;  // "50ms to 1h"

inline Config::Config() noexcept {
    for (const NumberFlag& flag : number_flags) {
        this->*flag.member = flag.fallback;
    }
}

}  // namespace ringcast
