#pragma once

// What can be set by name, beside the tables of ringcast/config.h: lists and words. The command
// line, the environment and the configuration file know these names from here. Main thread only.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "ringcast/config.h"

namespace ringcast::app {

struct ListFlag {
    const char* name;
    std::vector<std::string> Config::*member;
    const char* shown;
    const char* help;
};

struct WordFlag {
    const char* name;
    bool (*set)(Config& config, std::string_view text);  // false: not allowed
    bool integer;                                        // written without quotes in the file
    const char* shown;                                   // and what is allowed
    const char* help;
};

[[nodiscard]] bool set_io(Config& config, std::string_view text);
[[nodiscard]] bool set_slow_policy(Config& config, std::string_view text);
[[nodiscard]] bool set_pin(Config& config, std::string_view text);
[[nodiscard]] bool set_congestion(Config& config, std::string_view text);
[[nodiscard]] bool set_store(Config& config, std::string_view text);
[[nodiscard]] bool set_user(Config& config, std::string_view text);
[[nodiscard]] bool set_sandbox(Config& config, std::string_view text);
[[nodiscard]] bool set_auth_alg(Config& config, std::string_view text);
[[nodiscard]] bool set_auth_key_file(Config& config, std::string_view text);
[[nodiscard]] bool set_auth_jwks_file(Config& config, std::string_view text);
[[nodiscard]] bool set_auth_issuer(Config& config, std::string_view text);
[[nodiscard]] bool set_auth_audience(Config& config, std::string_view text);
[[nodiscard]] bool set_seal_keys_file(Config& config, std::string_view text);

inline constexpr std::array<ListFlag, 7> list_flags{{
    {"listen",
     &Config::listen,
     "ADDR:PORT",
     "where to listen; may be repeated; port 0 lets the system choose; none: only where "
     "--tls-listen says [127.0.0.1:8080]"},
    {"tls-listen",
     &Config::tls_listen,
     "ADDR:PORT",
     "where to listen for TLS (wss://); may be repeated; needs --tls-cert [none]"},
    {"tls-cert",
     &Config::tls_cert,
     "FILE",
     "PEM: a certificate and what leads to its issuer; may be repeated, then the name that a "
     "client asks for chooses, and the first is for who asks for none; SIGHUP reads them again"},
    {"tls-key", &Config::tls_key, "FILE", "PEM: the key of each certificate, in the same order"},
    {"origin",
     &Config::origin,
     "ORIGIN",
     "web pages that may connect, e.g. https://example.com; may be repeated [all; with --dev the "
     "server's own]"},
    {"trusted-proxies",
     &Config::trusted_proxies,
     "CIDR",
     "networks of proxies whose X-Forwarded-For is believed, e.g. 10.0.0.0/8; may be repeated "
     "[none]"},
    {"proxy-protocol",
     &Config::proxy_protocol,
     "ADDR:PORT",
     "which --listen addresses begin with a PROXY protocol header (1 or 2), from --trusted-proxies "
     "alone; may be repeated [none]"},
}};

// Of `serve`, `gen-token` and `check-token`.
inline constexpr std::array<WordFlag, 5> auth_flags{{
    {"auth-alg",
     &set_auth_alg,
     false,
     "HS256|RS256|ES256|EdDSA",
     "how tokens are signed; with it clients need one, and may what it says [no tokens]"},
    {"auth-key-file",
     &set_auth_key_file,
     false,
     "FILE",
     "HS256: secrets, one a line, of 32 characters at least; the first signs; read again on "
     "SIGHUP"},
    {"auth-jwks-file",
     &set_auth_jwks_file,
     false,
     "FILE",
     "the others: public keys as JWKS; read again on SIGHUP"},
    {"auth-issuer", &set_auth_issuer, false, "TEXT", "iss that tokens must have [any]"},
    {"auth-audience", &set_auth_audience, false, "TEXT", "aud that they must have [any]"},
}};

inline constexpr std::array<WordFlag, 8> word_flags{{
    {"io",
     &set_io,
     false,
     "auto|epoll|uring",
     "how to talk to the kernel; auto: io_uring where it may be used [auto]"},
    {"slow-policy",
     &set_slow_policy,
     false,
     "close|gap",
     "a client that fell off the log skips and is told, or is closed [gap]"},
    {"pin",
     &set_pin,
     true,
     "-1 to 4095",
     "CPU of the first shard; -1: shard i on CPU i when there are enough [-1]"},
    {"congestion",
     &set_congestion,
     false,
     "NAME",
     "congestion control of clients' connections, e.g. cubic [the system's]"},
    {"store",
     &set_store,
     false,
     "FILE",
     "where topics whose rule says durable are kept; made if it is not there [none]"},
    {"user",
     &set_user,
     false,
     "NAME",
     "whom to become, if started as root, once the ports are open [nobody else]"},
    {"sandbox",
     &set_sandbox,
     false,
     "auto|off|on",
     "what the process gives up before it serves: files, programs, new connections; auto: as far "
     "as the kernel can, on: or it does not start [auto]"},
    {"seal-keys-file",
     &set_seal_keys_file,
     false,
     "FILE",
     "keys of topics whose rule says seal, NAME ID KEY a line; nobody else may read it; read again "
     "on SIGHUP [none]"},
}};

// Each sets one thing; what it returns is empty, or says what was given and what is allowed.
[[nodiscard]] std::string set_number(Config& config, const NumberFlag& flag, std::string_view text);
[[nodiscard]] std::string set_word(Config& config, const WordFlag& flag, std::string_view text);

// Whatever was given: a line break in it must not begin another line.
[[nodiscard]] std::string as_line(std::string text);

}  // namespace ringcast::app
